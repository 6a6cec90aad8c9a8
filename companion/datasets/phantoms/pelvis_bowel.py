"""Loops of bowel for the phantom ``pelvis``: one large mosaic of loops, of which every patient shows another piece."""

import math
from functools import cache

import torch
from torch import Tensor

from companion.datasets.phantoms.shapes import grid, rotation, smooth_noise, uniform

REACH, STEP, REFINED = 150.0, 2.0, 3   # mm: half the side of the mosaic, distance of its points; then interpolated
CELLS, PITCH = 14, 23.0                # cells to each side, and their distance in mm
MISSING = 0.12                         # share of the cells that hold fat only


def loops(points: Tensor, turn: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Signed distance in mm to the nearest loop, and a number from 0 to 1 that says what is in it: each (N, H, W).

    Args:
        points: (N, H, W, 2) in mm.
        turn, shift: (N,) in radians and (N, 2) in mm, which piece of the mosaic; it is mirrored beyond its edges.
    """
    place = ((points.flatten(1, 2) @ rotation(turn) + shift[:, None]) / REACH).flip(-1)
    found = torch.nn.functional.grid_sample(mosaic().to(points)[None], place[None], mode="nearest",
                                            padding_mode="reflection", align_corners=True)[0]
    return tuple(found.view(2, *points.shape[:3]))


@cache
def mosaic() -> Tensor:
    """Distance in mm to the nearest loop and what is in it (2, 451, 451): stretched cells, rounded, with fat between.
    """
    count = int(2 * REACH / STEP) + 1
    generator = torch.Generator().manual_seed(0)
    y, x = (p + 2 * smooth_noise(torch.tensor([i]), (2 * REACH,) * 2, (count,) * 2, 12.0)[0]
            for i, p in enumerate(grid((count, count), (STEP, STEP)).unbind(-1)))
    first, second, content = torch.full_like(y, 1e6), torch.full_like(y, 1e6), torch.zeros_like(y)
    for cell in range(CELLS ** 2):
        *numbers, inside = uniform(5, 0, 1, generator)
        here = _distance(y, x, cell, *numbers)
        content = torch.where(here < first, inside, content)
        second = torch.minimum(second, torch.maximum(first, here))
        first = torch.minimum(first, here)
    gap, ball = (first - second) / 2 + 0.9, first - 14.5
    blend = (6 - (gap - ball).abs()).clamp_min(0)                                   # rounds the corners of the cells
    loop = torch.maximum(gap, ball) + blend.square() / 36
    loop = torch.where(content < MISSING, (1.8 - loop).clamp_min(0.9), loop)        # as far away, and no step
    content = (content - MISSING) / (1 - MISSING)
    fine, interpolate = (REFINED * (count - 1) + 1,) * 2, torch.nn.functional.interpolate
    return torch.cat([interpolate(loop[None, None], fine, mode="bicubic", align_corners=True)[0],
                      interpolate(content[None, None], fine)[0]])


def _distance(y: Tensor, x: Tensor, cell: int, down: Tensor, right: Tensor, turn: Tensor, stretch: Tensor) -> Tensor:
    """Distance to the middle of a cell, shorter along its long side; the last four are random, from 0 to 1."""
    row, column = divmod(cell, CELLS)
    y = y - PITCH * (row - (CELLS - 1) / 2 + 0.7 * (down - 0.5))
    x = x - PITCH * (column + 0.5 * (row % 2) - CELLS / 2 + 0.25 + 0.7 * (right - 0.5))
    c, s = (math.pi * turn).cos(), (math.pi * turn).sin()
    return torch.hypot((c * y + s * x) / (1 + 1.3 * stretch), c * x - s * y)
