"""Vessels and airways of the chest radiograph: a tree of arteries and one of veins for each lung, trachea and bronchi.

Positions in mm along (z, y, x), as in ``thorax``; curves and radii as in ``trees``.
"""

from functools import cache

import torch
from torch import Tensor

from companion.datasets.phantoms.thorax_lungs import lungs
from companion.datasets.phantoms.thorax_projection import disc, stamp
from companion.datasets.phantoms.trees import grow

TREES = {"right": (((10.0, 0.0, -36.0), 128, 0.95), ((-8.0, 0.0, -30.0), 64, 0.95)),
         "left": (((22.0, 0.0, 40.0), 128, 0.95), ((2.0, 0.0, 38.0), 64, 0.95))}
"""Arteries and veins, where they spring (mm), number of last branches, their radius (mm)."""

ARTERIES = {
    "right": ((((16, 0, -14), (20, 0, -34), (-6, 0, -43)), ((-6, 0, -43), (-22, 0, -48), (-44, 0, -52)),
               ((16, 0, -20), (26, 0, -36), (46, 0, -50))), ((8.5, 7.5), (7.2, 3.6), (5.5, 3.2))),
    "left": ((((26, 0, 26), (38, 0, 44), (14, 0, 50)), ((14, 0, 50), (-8, 0, 56), (-30, 0, 62)),
              ((28, 0, 34), (40, 0, 44), (56, 0, 54))), ((9.0, 7.0), (6.8, 3.4), (5.0, 3.0)))}
"""Large arteries at the hila, as start, control point and end of curves, and radii at both ends; in mm."""

AIRWAYS = ((((210, 0, 1), (110, 0, 0), (50, 10, -3)), ((50, 10, -6), (40, 10, -16), (12, 10, -34)),
            ((50, 10, 0), (38, 10, 18), (24, 12, 42))), ((8.5, 8.2), (6.8, 6.0), (6.2, 5.2)))
"""Trachea, right and left main bronchus, likewise."""

Tubes = tuple[Tensor, Tensor]


@cache
def vessels(side: str, number: int, size: int, field: float, device: torch.device) -> Tensor:
    """Path length in mm through the vessels of one lung, for one of many trees.

    Args:
        side: ``right`` or ``left``.
        number: of the tree, any integer; the same one gives the same vessels.
        size, field: pixels on each side of the image, and its extent in mm.

    Returns:
        (size, size), on the device; kept for the next call.
    """
    generator, where = torch.Generator().manual_seed(number), pool(side)
    parts = [_tensors(*ARTERIES[side])]
    for root, count, radius in TREES[side]:
        tips = where[torch.randint(len(where), (1, count), generator=generator)]
        parts.append(grow(torch.tensor([root]), tips, radius))
    curves, radii = zip(*parts, strict=True)
    return path((torch.cat(curves, 1).to(device), torch.cat(radii, 1).to(device)), size, field)[0]


@cache
def airways(size: int, field: float, device: torch.device) -> Tensor:
    """Path length in mm through trachea and main bronchi: (size, size), on the device; kept for the next call."""
    curves, radii = _tensors(*AIRWAYS)
    return path((curves.to(device), radii.to(device)), size, field)[0]


@cache
def pool(side: str) -> Tensor:
    """Evenly spread points (P, 3) in one lung of the average patient: the R3 low-discrepancy sequence."""
    golden = torch.tensor([0.8191725134, 0.6710436067, 0.5497004779])
    unit = torch.arange(12000)[:, None] * golden % 1
    sign = -1.0 if side == "right" else 1.0
    points = torch.lerp(torch.tensor([-140.0, -85.0, 20.0 * sign]), torch.tensor([140.0, 85.0, 142.0 * sign]), unit)
    chest, lung = lungs(points[:, 0], points[:, 2])
    return points[(lung > 25) & (points[:, 1].abs() < chest / 2 - 8)]


def path(tubes: Tubes, size: int, field: float) -> Tensor:
    """Path length in mm through curved tubes, curves (N, B, 3, 3) with radii (N, B, 2): (N, size, size)."""
    curves, radii = tubes
    count = _steps(curves, radii, field / size)
    parts = [_discs(curves, radii, count == k, k) for k in count.unique().tolist()]
    case, points, radius, weight = (torch.cat(p) for p in zip(*parts, strict=True))
    return stamp(case, points, radius, weight, len(curves), size, field, disc)


def _tensors(curves: tuple, radii: tuple) -> Tubes:
    """Tubes (1, B, 3, 3) and (1, B, 2)."""
    return torch.tensor(curves, dtype=torch.float32)[None], torch.tensor(radii)[None]


def _steps(curves: Tensor, radii: Tensor, pixel: float) -> Tensor:
    """Number of discs that each curve (N, B, 3, 3) needs (N, B): 2, 4, 8, ..."""
    seen = curves[..., ::2]                                                         # z and x, as the rays run along y
    length = (seen[:, :, 1:] - seen[:, :, :-1]).norm(dim=-1).sum(-1)
    return 2 ** (length / (0.3 * radii.amax(-1)).clamp_min(0.6 * pixel)).clamp_min(2).log2().round().long()


def _discs(curves: Tensor, radii: Tensor, chosen: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Image, place, radius and weight of the discs along the chosen curves, ``count`` on each."""
    case = chosen.nonzero()[:, 0]
    curve, ends = curves[chosen], radii[chosen]                                     # (B, 3, 3), (B, 2)
    t = (torch.arange(count, device=curves.device) + 0.5) / count
    share = torch.stack([(1 - t) ** 2, 2 * t * (1 - t), t ** 2], -1)               # (count, 3)
    slope = torch.stack([2 * (t - 1), 2 - 4 * t, 2 * t], -1) / count
    radius = ends[:, :1] * (1 - t) + ends[:, 1:] * t
    weight = (slope @ curve).norm(dim=-1)
    return case.repeat_interleave(count), (share @ curve).flatten(0, 1), radius.flatten(), weight.flatten()
