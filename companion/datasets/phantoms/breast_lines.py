"""Thin structures in a projection image: ducts, vessels, ligaments, spicules, calcifications, spread over pixels.

Each is cut into points with a volume of their own, and each point goes to the four pixels around it in linear shares.
So the volume is exact in images of any resolution, and where two lines cross, their thicknesses add up, as in a
projection.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def deposit(points: Tensor, volumes: Tensor, images: Tensor, count: int, size: Sequence[int], step: float) -> Tensor:
    """Thickness in mm that the given volumes have along the ray through each pixel.

    Args:
        points: (M, P, 2) as (y, x) in mm from the upper left corner; those outside the image are left out.
        volumes: (M, P) in mm3.
        images: (M,) number of the image that each row belongs to, of ``count`` images.
        size: of the images in pixels; step: pixel size in mm.

    Returns:
        (count, H, W), in mm; its sum times step^2 is the volume in the image.
    """
    h, w = size
    place = points / step - 0.5
    low = place.floor()
    upper = place - low                                                            # share of the next pixel
    image = torch.zeros(count * (h + 2) * (w + 2), device=points.device)           # with a rim for what falls outside
    row, column = (low[..., 0] + 1).clamp(-1, h + 1), (low[..., 1] + 1).clamp(-1, w + 1)
    inside = (row >= 0) & (row <= h) & (column >= 0) & (column <= w)
    index = (row * (w + 2) + column).long() * inside + (images * (h + 2) * (w + 2))[:, None]
    thickness = volumes * inside / step ** 2
    for dy in (0, 1):
        part = thickness * (upper[..., 0] if dy else 1 - upper[..., 0])
        for dx in (0, 1):
            share = part * (upper[..., 1] if dx else 1 - upper[..., 1])
            image.scatter_add_(0, (index + dy * (w + 2) + dx).flatten(), share.flatten())
    return image.view(-1, h + 2, w + 2)[:, 1:-1, 1:-1]


def lines(curves: Tensor, radii: Tensor, step: float, *, longest: float, widest: float,
          sheet: float | None = None) -> tuple[Tensor, Tensor]:
    """Points and volumes, for ``deposit``, of curved lines.

    Args:
        curves: (N, S, 3, 2) start, control point and end, as (y, x) in mm.
        radii: (N, S, 2) at start and end, in mm; 0 for a line to leave out.
        step: pixel size in mm.
        longest, widest: length and radius in mm up to which the points lie no further apart than a pixel.
        sheet: depth in mm along the ray of sheets seen from their edge; by default the lines are round.

    Returns:
        Points (N, P, 2) in mm, volumes (N, P) in mm3.
    """
    count, tracks = math.ceil(longest / step) + 1, max(1, round(2 * widest / step))  # along, and side by side
    t = ((torch.arange(count, device=curves.device) + 0.5) / count)[:, None]
    start, control, end = (c[:, :, None] for c in curves.unbind(2))                 # (N, S, 1, 2)
    place = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t ** 2 * end         # (N, S, T, 2)
    way = 2 * (1 - t) * (control - start) + 2 * t * (end - control)
    length = way.norm(dim=-1)
    radius = torch.lerp(radii[..., :1], radii[..., 1:], t[:, 0])                    # (N, S, T)
    volume = (torch.pi * radius.square() if sheet is None else 2 * sheet * radius) * length / count
    across = torch.stack([-way[..., 1], way[..., 0]], -1) * (radius / length.clamp_min(1e-6))[..., None]
    offset = (2 * torch.arange(tracks, device=curves.device) + 1) / tracks - 1      # from -1 to 1
    weight = (1 - offset.square()).sqrt()
    points = place[:, :, :, None] + offset[:, None] * across[:, :, :, None]
    return points.flatten(1, 3), (volume[..., None] * (weight / weight.sum())).flatten(1)


def specks(places: Tensor, radii: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Points and volumes, for ``deposit``, of small balls.

    Args:
        places: (N, S, 2) as (y, x) in mm; radii: (N, S) in mm, 0 for none.
        step: pixel size in mm.

    Returns:
        Points (N, P, 2) in mm, volumes (N, P) in mm3.
    """
    side = 2 * round(0.6 / step) + 1
    axis = (2 * torch.arange(side, device=places.device) + 1) / side - 1
    offset = torch.cartesian_prod(axis, axis)
    weight = (1.05 - offset.square().sum(1)).clamp_min(0).sqrt()
    points = places[:, :, None] + radii[..., None, None] * offset
    volumes = 4 / 3 * torch.pi * radii[..., None] ** 3 * (weight / weight.sum())
    return points.flatten(1, 2), volumes.flatten(1)
