"""What can be seen to be wrong before hours of training: a network and its sets looked at, mistakes explained.

Book: Part 2, the training loop.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer
from torch.utils.data.distributed import DistributedSampler

from companion import distributed
from companion.hardware import Hardware

IGNORED = -100   # the class number that torch's cross entropy leaves out, unless told another


class TrainingError(RuntimeError):
    """The loss, or a parameter, is no longer a finite number."""


def ignored(loss: object) -> int:
    """The class number that a loss leaves out: its own ``ignore_index``, else torch's -100."""
    return getattr(loss, "ignore_index", IGNORED)


def counter(batches: object, loss: object) -> Callable[[Tensor], int | Tensor]:
    """A function that counts the targets which a loss is a mean over, up to a factor.

    These are the class numbers that it does not leave out. Where the whole set lies in memory and holds none of those,
    counting the cases does, and takes no time.
    """
    left_out = ignored(loss)
    targets = getattr(batches, "targets", None)
    if isinstance(targets, Tensor) and not (targets == left_out).any():
        return len
    return lambda targets: torch.count_nonzero(targets != left_out) if _are_numbers(targets) else len(targets)


def _are_numbers(targets: Tensor) -> bool:
    return not (targets.is_floating_point() or targets.dtype == torch.bool)


def require_whole(model: nn.Module, optimiser: Optimizer) -> None:
    """Raise a ``ValueError`` for a network that a checkpoint would not hold as a whole."""
    parameters = list(model.parameters())
    if any(isinstance(p, UninitializedParameter) for p in parameters):
        raise ValueError("the network has lazy layers that have seen no image yet, so their weights do not exist: call "
                         "it once on a batch before training into a folder")
    known = {id(p) for p in parameters}
    others = sum(id(p) not in known for group in optimiser.param_groups for p in group["params"])
    if others:
        raise ValueError(f"the optimiser changes {others} parameters that are not the network's, so a checkpoint would "
                         "lose them: make them part of the network, as an nn.Parameter of an nn.Module")


def require_sense(model: nn.Module, name: str, batches: object, loss: object, hardware: Hardware) -> None:
    """Raise a ``ValueError`` where a set, of this name, has no batch or can be seen not to fit network and loss.

    Cases and labels of a ``Batches`` and of a list are examined, those of other loaders only when their turn comes.
    """
    if _length(batches) == 0:
        raise ValueError(f"the {name} set gives no batch: it is empty, or smaller than the batch size where the "
                         "last batch is dropped")
    in_memory = hasattr(batches, "inputs") and hasattr(batches, "targets")
    shared = in_memory or isinstance(getattr(batches, "sampler", None), DistributedSampler)
    if distributed.world() > 1 and not shared:
        raise ValueError(f"the {name} set is a {type(batches).__name__}, which gives every case to each of the "
                         f"{distributed.world()} processes: take datasets.batches.Batches, or a DataLoader with a "
                         "DistributedSampler")
    if in_memory:
        _require_fit(model, name, batches.inputs, batches.targets, loss, hardware)
    elif isinstance(batches, (list, tuple)):
        targets = torch.cat([targets.flatten() for _, targets in batches])
        _require_fit(model, name, batches[0][0], targets, loss, hardware)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Add where to look to an error of a batch that could not be examined before training."""
    try:
        yield
    except TrainingError:
        raise
    except (RuntimeError, IndexError, TypeError) as error:
        error.add_note(f"This happened with a batch of the {name} set: each must be a pair of inputs that fit the "
                       "network and targets that fit the loss, such as class numbers below the number of outputs.")
        raise


def _length(batches: object) -> int | None:
    try:
        return len(batches)
    except TypeError:         # a stream has no length
        return None


@torch.no_grad()
def _require_fit(model: nn.Module, name: str, inputs: Tensor, targets: Tensor, loss: object,
                 hardware: Hardware) -> None:
    """Raise a ``ValueError`` unless a network takes the first inputs and has an output for each class number."""
    try:
        outputs = model.eval()(hardware.move(inputs[:2]))
    except (RuntimeError, IndexError) as error:
        shape = tuple(inputs[:2].shape)
        raise ValueError(f"the network can not take inputs of shape {shape} of the {name} set: {error}") from error
    if _are_numbers(targets) and outputs.dim() > 1 and outputs.shape[1] > 1:      # one output stands for yes or no
        labels = targets[targets != ignored(loss)]
        if len(labels) and not 0 <= labels.min() <= labels.max() < outputs.shape[1]:
            raise ValueError(f"the labels of the {name} set run from {labels.min()} to {labels.max()}, but the network "
                             f"has {outputs.shape[1]} outputs: labels must lie in 0 to {outputs.shape[1] - 1}")
