"""What each layer of a network puts out, recorded by forward hooks. Book: Part 1, first notebook.

Layers are the leaf modules, in the order in which they run. Branches (skip connections, parallel paths) come one after
the other; what joins them is not recorded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

KINDS = {"Conv": "convolution", "ConvTranspose": "transposed convolution", "MaxPool": "max pooling",
         "AvgPool": "average pooling", "AdaptiveAvgPool": "average pooling", "Flatten": "flatten",
         "Linear": "fully connected", "BatchNorm": "batch normalisation", "Dropout": "dropout"}
"""The review's word for a module, by the start of its class's name; other classes keep their own name."""


class Layer(NamedTuple):
    """One step of the forward propagation.

    Attributes:
        kind: what it does, such as ``convolution``; ``function`` where no module did it.
        output: what it puts out for the first input of the mini-batch, (C, \\*spatial) or (C,).
        parameters: how many numbers it learns.
        gradient: Euclidean length of the gradient in its parameters; none where they hold none.
    """

    kind: str
    output: Tensor
    parameters: int
    gradient: float | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output, without the axis N."""
        return tuple(self.output.shape)


def layers(model: nn.Module, x: Tensor) -> list[Layer]:
    """Every leaf module in the order in which it runs on ``x`` (N, C, \\*spatial).

    Where a function, not a module, changes the shape between two modules, a layer of kind ``function`` says so. A
    module that runs twice counts its parameters once. The model runs in evaluation mode, and is then as it was before.
    """
    found: list[Layer] = []
    counted: set[nn.Module] = set()

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if found and inputs[0].shape[1:] != found[-1].output.shape:
            found.append(Layer("function", inputs[0][0], 0, None))
        own = [] if module in counted else list(module.parameters())
        counted.add(module)
        found.append(Layer(_kind(module), output[0], sum(p.numel() for p in own), _length(own)))

    with torch.no_grad(), _watched(model, record):
        model(x)
    return found


def _kind(module: nn.Module) -> str:
    name = type(module).__name__
    starts = [start for start in KINDS if name.startswith(start)]
    return KINDS[max(starts, key=len)] if starts else name


def _length(parameters: list[nn.Parameter]) -> float | None:
    gradients = [p.grad.flatten() for p in parameters if p.grad is not None]
    return torch.cat(gradients).norm().item() if gradients else None


@contextmanager
def _watched(model: nn.Module, record: Callable[..., None]) -> Iterator[None]:
    """Hooks on all leaf modules, and evaluation mode, for as long as the ``with`` block runs."""
    modes = {module: module.training for module in model.modules()}
    hooks = [m.register_forward_hook(record) for m in model.modules() if next(m.children(), None) is None]
    try:
        model.eval()
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
