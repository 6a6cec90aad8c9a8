"""Ellipses whose image and whose line integrals are known in closed form: what the projector is measured against.

An ellipse is (x, y, a, b, turn, value): centre and half axes in mm, x to the right and y up from the centre of the
image, turned counter-clockwise by so many degrees, with one value inside.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Ellipse = tuple[float, float, float, float, float, float]

# Kak and Slaney (1988), table 3.1, in units of the head's half height
SHEPP_LOGAN = [
    (0.0, 0.0, 0.92, 0.69, 90, 2.0), (0.0, -0.0184, 0.874, 0.6624, 90, -0.98), (0.22, 0.0, 0.31, 0.11, 72, -0.02),
    (-0.22, 0.0, 0.41, 0.16, 108, -0.02), (0.0, 0.35, 0.25, 0.21, 90, 0.01), (0.0, 0.1, 0.046, 0.046, 0, 0.01),
    (0.0, -0.1, 0.046, 0.046, 0, 0.01), (-0.08, -0.605, 0.046, 0.023, 0, 0.01), (0.0, -0.605, 0.023, 0.023, 0, 0.01),
    (0.06, -0.605, 0.046, 0.023, 90, 0.01),
]


def scaled(ellipses: Sequence[Ellipse], factor: float) -> list[Ellipse]:
    """The same ellipses with all lengths multiplied."""
    return [(*(factor * length for length in e[:4]), *e[4:]) for e in ellipses]


def render(ellipses: Sequence[Ellipse], size: int, pixel: float, finer: int = 8) -> Tensor:
    """Image (H, W) in float64: the mean over each pixel, from ``finer`` x ``finer`` points in it."""
    x = (torch.arange(size * finer, dtype=torch.float64) - (size * finer - 1) / 2) * (pixel / finer)
    image = torch.zeros(size * finer, size * finer, dtype=torch.float64)
    for cx, cy, a, b, turn, value in ellipses:
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        dx, dy = x - cx, -x[:, None] - cy                                   # rows run downward
        image += value * (((dx * c + dy * s) / a) ** 2 + ((dy * c - dx * s) / b) ** 2 <= 1)
    return F.avg_pool2d(image[None], finer)[0]


def project(ellipses: Sequence[Ellipse], angles: Tensor, detectors: int, spacing: float, finer: int = 16) -> Tensor:
    """Line integrals (views, detectors) in float64, each the mean over ``finer`` rays in its cell.

    2 value a b sqrt(r^2 - t^2) / r^2 at the distance t from the centre's ray, where r is half the ellipse's shadow
    (Kak and Slaney, 1988, section 3.1).
    """
    cells = torch.arange(detectors * finer, dtype=torch.float64)
    position = (cells - (detectors * finer - 1) / 2) * (spacing / finer)
    total = torch.zeros(len(angles), detectors * finer, dtype=torch.float64)
    for cx, cy, a, b, turn, value in ellipses:
        view = torch.deg2rad(angles.double())[:, None]
        around = view - math.radians(turn)
        half = (a * around.cos()) ** 2 + (b * around.sin()) ** 2            # r^2
        t = position - cx * view.cos() - cy * view.sin()
        total += 2 * value * a * b * (half - t**2).clamp_min(0).sqrt() / half
    return F.avg_pool1d(total, finer)
