"""Mini-batches of cases that lie in memory. Book: Part 2, the training loop."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from companion import distributed

Change = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""A change of a batch, such as an augmentation, from inputs, targets and the generator to draw from."""


class Batches:
    """Mini-batches of inputs and targets, to be gone through once an epoch.

    Under torchrun, each process gets its share of every batch; the batches are those of a single process.

    Args:
        inputs: (N, ...).
        targets: (N, ...), class numbers, masks or values.
        size: cases in a batch; the last one may be smaller.
        generator: with one, each epoch goes through the cases in a new random order: for training. Without, in the
            given order: for testing.
        change: applied to each batch, with the generator to draw from.

    Raises:
        ValueError: where there is no case, lengths differ, the size is below 1, a change lacks its generator; for
            training batches with fewer cases than processes.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, size: int, generator: torch.Generator | None = None,
                 change: Change | None = None):
        if not len(inputs):
            raise ValueError("there is no case to make batches of: look at how the set was loaded or selected")
        if len(inputs) != len(targets):
            raise ValueError(f"there are {len(inputs)} inputs, but {len(targets)} targets: one target for each input")
        if size < 1:
            raise ValueError(f"the batch size is {size}, but must be at least 1")
        if change and generator is None:
            raise ValueError("a change draws random numbers: give the generator to draw from")
        self.inputs, self.targets, self.size, self.generator, self.change = inputs, targets, size, generator, change
        least = (len(inputs) - 1) % size + 1
        if generator is not None and least < distributed.world():
            raise ValueError(f"the last batch has {least} cases for {distributed.world()} processes, but each needs "
                             "one: choose another batch size")

    def __len__(self) -> int:
        return -(-len(self.inputs) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n = len(self.inputs)
        order = torch.arange(n) if self.generator is None else torch.randperm(n, generator=self.generator)
        for chosen in order.to(self.inputs.device).split(self.size):
            inputs, targets = self.inputs[chosen], self.targets[chosen]
            if self.change:
                inputs, targets = self.change(inputs, targets, self.generator)
            yield distributed.share(inputs), distributed.share(targets)
