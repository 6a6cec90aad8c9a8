"""Computed tomography: Hounsfield units and the display window. Book: Part 1, first notebook."""

import torch
from torch import Tensor


def hounsfield(stored: Tensor, slope: float, intercept: float) -> Tensor:
    """Stored values of a CT file to Hounsfield units (HU): slope x stored + intercept.

    Water is 0 HU, air -1000 HU. Slope and intercept are the file's own (DICOM PS3.3, C.11.1).

    Args:
        stored: integers of any shape.

    Returns:
        float32 tensor of the same shape, in HU.
    """
    return stored.to(torch.float32) * slope + intercept


def window(hu: Tensor, level: float, width: float) -> Tensor:
    """Hounsfield units to display brightness: black (0) below the window, white (1) above, linear between.

    The window runs from ``level - width / 2`` to ``level + width / 2``, as DICOM's LINEAR_EXACT (PS3.3, C.11.2.1.3.2).

    Args:
        hu: image of any shape, in HU.
        level, width: centre and extent of the window, in HU; the width is positive.

    Returns:
        Tensor of the same shape, in [0, 1].

    Raises:
        ValueError: where the width is not positive.
    """
    if width <= 0:
        raise ValueError(f"the window width is {width} HU, but must be positive")
    return ((hu - level) / width + 0.5).clamp(0, 1)
