"""The device to compute on, and seeds. Book: set-up cell of every notebook."""

import os

import torch


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
