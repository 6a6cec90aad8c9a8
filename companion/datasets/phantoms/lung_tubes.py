"""Vessels and airways of the lung phantom: a tree of arteries and one of veins for each lung, bronchi beside arteries.

Positions in mm along (z, y, x), as in ``lung_geometry``; curves and radii as in ``trees``.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from companion.datasets.phantoms.lung_geometry import distances
from companion.datasets.phantoms.trees import grow

TIPS, TIP_RADIUS = 1024, 0.62
"""Last arteries (and last veins) of one lung, and their radius in mm."""

TRACHEA = (((-2.0, 20.0, -2.0), (80.0, 8.0, 0.0), (190.0, -4.0, 0.0), 8.5),
           ((0.0, 20.0, -2.0), (-8.0, 20.0, -18.0), (-28.0, 18.0, -38.0), 7.0),
           ((0.0, 20.0, 0.0), (-6.0, 20.0, 20.0), (-30.0, 24.0, 42.0), 6.0))
"""Trachea and both main bronchi, each by start, control point and end of a curve, and inner radius; in mm."""

HILA = {"right": ((-30.0, 14.0, -46.0), (-48.0, 14.0, -38.0)), "left": ((-26.0, 16.0, 50.0), (-48.0, 18.0, 46.0))}
"""Where the arteries (with the bronchi) and the veins of each lung spring, in mm."""

Tubes = tuple[Tensor, Tensor]


def vessels_and_bronchi(scale: Tensor, seeds: Tensor) -> tuple[Tubes, Tubes]:
    """Arteries with veins, and bronchi (inner radii), of both lungs.

    Args:
        scale: (N, 3) size of the patient against the average.
        seeds: (N,) int64, for where the vessels end; the same tree on any device.

    Returns:
        twice curves (N, B, 3, 3) and radii (N, B, 2), in mm.
    """
    vessels, bronchi = [], []
    for number, (side, roots) in enumerate(HILA.items()):
        tips = (_tips(scale, seeds + 2 * number + kind, side) for kind in range(2))
        arteries, veins = (grow(scale * scale.new_tensor(root), ends, TIP_RADIUS)
                           for root, ends in zip(roots, tips, strict=True))
        vessels += [arteries, veins]
        bronchi.append(_beside(*arteries))
    return _joined(vessels), _joined(bronchi)


def trachea(scale: Tensor) -> Tubes:
    """Trachea and main bronchi: curves (N, 3, 3, 3) and inner radii (N, 3, 2), in mm."""
    curves = scale.new_tensor([c[:3] for c in TRACHEA]) * scale[:, None, None]
    return curves, scale.new_tensor([c[3:] * 2 for c in TRACHEA]).expand(len(scale), -1, 2)


def _joined(parts: Sequence[Tubes]) -> Tubes:
    curves, radii = zip(*parts, strict=True)
    return torch.cat(curves, 1), torch.cat(radii, 1)


def _tips(scale: Tensor, seeds: Tensor, side: str) -> Tensor:
    """Ends of one tree (N, TIPS, 3): chosen from the pool by chance and moved by up to 3 mm, on the CPU."""
    chosen = []
    for seed in seeds.tolist():
        generator, pool = torch.Generator().manual_seed(seed), _pool(side)
        order = torch.randperm(len(pool), generator=generator)[:TIPS]
        chosen.append(pool[order] + 6 * torch.rand(TIPS, 3, generator=generator) - 3)
    return torch.stack(chosen).to(scale.device) * scale[:, None]


@cache
def _pool(side: str) -> Tensor:
    """Evenly spread points in one average lung, 7 mm from its surface or deeper: the R3 low-discrepancy sequence."""
    golden = torch.tensor([0.8191725134, 0.6710436067, 0.5497004779])
    unit = torch.arange(6 * TIPS)[:, None] * golden % 1
    outer = -145.0 if side == "right" else 145.0
    points = torch.lerp(torch.tensor([-150.0, -100.0, 0.0]), torch.tensor([138.0, 100.0, outer]), unit)
    depth = distances(torch.ones(1, 3), torch.zeros(1), points[None])["lung"][0]
    return points[depth < -7]


def _beside(curves: Tensor, radii: Tensor) -> Tubes:
    """The bronchi that run next to the five thickest levels of arteries, 2 + 4 + 8 + 16 + 32 branches; inner radii."""
    curves, radii = curves[:, :62], radii[:, :62]
    parent = torch.cat([radii[:, :2, 0], radii[:, :30, 1].repeat_interleave(2, 1)], 1)
    gap = torch.stack([parent, radii.mean(-1), radii[..., 1]], -1) * 1.9            # (N, 62, 3): start, control, end
    return curves + gap[..., None] * curves.new_tensor([0.3, -0.6, 0.74]), radii * 0.62
