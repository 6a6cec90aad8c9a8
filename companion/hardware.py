"""The device to compute on, its number format and memory layout, and seeds. Book: set-up cell of every notebook."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Memory layout with the channels last by the number of axes, for images (N, C, H, W) and volumes (N, C, D, H, W)."""


def device() -> torch.device:
    """The device to use: ``COMPANION_DEVICE`` where set (such as ``cpu`` or ``cuda:1``), else a GPU, else the CPU.

    Raises:
        ValueError: where ``COMPANION_DEVICE`` names no device that torch knows.
    """
    name = os.environ.get("COMPANION_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"COMPANION_DEVICE is {name!r}, which torch does not know: use cpu, cuda or cuda:1") from error


def seed(number: int) -> torch.Generator:
    """Start every random stream at ``number`` and return a generator (CPU) to hand to functions that draw.

    Initial weights come from torch's own stream, data and augmentation from the generator.
    """
    torch.manual_seed(number)
    return torch.Generator().manual_seed(number)


@dataclass(frozen=True)
class Hardware:
    """How a network computes: it changes the speed and the last digits, not the method.

    Args:
        device: where the network and its batches lie.
        precision: number format of convolutions and matrix products under autocast, such as ``torch.bfloat16``; None
            for float32 throughout. The parameters stay float32.
        channels_last: whether images and kernels are stored with the channels last, which GPUs with tensor cores
            prefer. Shapes stay (N, C, H, W).
        compiled: whether ``torch.compile`` translates the network at its first batch: minutes once, then faster.
    """

    device: torch.device
    precision: torch.dtype | None = None
    channels_last: bool = False
    compiled: bool = False

    @classmethod
    def best(cls, place: torch.device | None = None) -> "Hardware":
        """What suits a device, by default ``device()``: bfloat16 and channels last on a GPU, float32 on the CPU."""
        place = place or device()
        on_gpu = place.type == "cuda"
        half = on_gpu and torch.cuda.is_bf16_supported()
        return cls(place, torch.bfloat16 if half else None, channels_last=on_gpu)

    def prepare(self, model: nn.Module) -> nn.Module:
        """Move a network here, lay out its kernels and compile it where asked, in place; returns it."""
        model.to(self.device)
        if self.channels_last:
            for parameter in model.parameters():
                parameter.data = self._laid_out(parameter.data)
        if self.compiled:
            model.compile()
        return model

    def move(self, tensor: Tensor) -> Tensor:
        """A batch, on the device and in the layout."""
        tensor = tensor.to(self.device, non_blocking=True)
        return self._laid_out(tensor) if self.channels_last else tensor

    def autocast(self) -> AbstractContextManager:
        """The context in which a network computes in ``precision``; without one it changes nothing."""
        return torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision is not None)

    def _laid_out(self, tensor: Tensor) -> Tensor:
        layout = LAYOUTS.get(tensor.dim())
        return tensor if layout is None else tensor.contiguous(memory_format=layout)
