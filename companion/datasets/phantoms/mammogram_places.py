"""Where findings lie in a mammogram: each kind where it belongs, and apart from its neighbours."""

import torch
from torch import Tensor

from companion.datasets.phantoms.breast_geometry import Shape, gland_depth, muscle_depth, skin_depth
from companion.datasets.phantoms.shapes import uniform

TRIALS = 64
APART = 28.0
"""Least distance in mm between two findings of one breast, where it has room."""


def draw(shape: Shape, images: Tensor, kinds: Tensor, generator: torch.Generator) -> Tensor:
    """Places (M, 2) as (y, x) in mm of findings in the breasts with the given numbers.

    Lesions and summation lie in or near the gland, lymph nodes at the muscle's border high up, calcium of the skin
    near the outline, that of vessels in front of the muscle.

    Args:
        images: (M,) numbers of the breasts, ascending; kinds: (M,) numbers of ``mammogram_lesions.KINDS``.
    """
    m, own = len(kinds), shape.of(images)
    y = own.nipple[:, None] + uniform(m * TRIALS, -1.15, 0.72, generator).view(m, TRIALS) * own.length[:, None]
    x = uniform(m * TRIALS, 0.08, 0.97, generator).view(m, TRIALS) * own.length[:, None]
    weights = _weights(own, kinds, y, x)
    trials = torch.stack([y, x], -1)
    count = torch.bincount(images)
    rank = torch.arange(m, device=kinds.device) - (count.cumsum(0) - count)[images]   # within its breast
    placed = torch.full((len(count), int(count.max()), 2), 1e4, device=kinds.device)
    for turn in range(placed.shape[1]):                                              # one finding of each breast
        now = (rank == turn).nonzero()[:, 0]
        gap = torch.cdist(trials[now], placed[images[now]]).amin(-1)                 # to those placed before
        chances = weights[now] * torch.where(gap > APART, 1.0, 1e-4 * (gap / APART) ** 4) + 1e-12
        chosen = torch.multinomial(chances, 1, generator=generator)
        placed[images[now], turn] = trials[now].gather(1, chosen[..., None].expand(-1, 1, 2))[:, 0]
    return placed[images, rank]


def _weights(shape: Shape, kinds: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Chance of each kind at each trial (M, T), not normalised."""
    skin, muscle = skin_depth(shape, y, x), muscle_depth(shape, y, x)
    gland = gland_depth(shape, y, x, skin, muscle)
    free = torch.sigmoid((skin - 14) / 1.0) * torch.sigmoid((-muscle - 4) / 1.0)
    lesion = free * (torch.sigmoid(gland / 5) + 0.04)
    tissue = free * torch.sigmoid((gland - 6) / 2)
    node = torch.sigmoid((skin - 12) / 1.0) * (-(muscle / 9).square()).exp() * (y < 0.7 * shape.nipple[:, None])
    surface = (-((skin - 9) / 4).square()).exp() * torch.sigmoid((-muscle - 4) / 1.0)
    rows = torch.stack([lesion, lesion, lesion, lesion, tissue, node, surface, free, tissue], 1)
    return rows[torch.arange(len(kinds), device=kinds.device), kinds]
