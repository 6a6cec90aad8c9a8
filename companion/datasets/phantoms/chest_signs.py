"""Signs of tuberculosis on the chest radiograph: what diseased tissue lies where, and how far the rays run through it.

Positions in mm in the average patient, as in ``thorax``.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.datasets.phantoms.shapes import uniform
from companion.datasets.phantoms.thorax import FIELD, Anatomy
from companion.datasets.phantoms.thorax_lungs import outer
from companion.datasets.phantoms.thorax_projection import ball, inside, puff, stamp
from companion.datasets.phantoms.thorax_vessels import pool

SIGNS = ("consolidation", "cavity", "miliary", "effusion", "lymph nodes")

PUFFS, DOTS = 40, 6000
"""Clouds in one focus of consolidation; miliary nodules in both lungs, 2 to 4 mm across."""

PATTERNS = {"post-primary": (1.0, 0.45, 0.02, 0.18, 0.05), "miliary": (0.15, 0.0, 1.0, 0.1, 0.1),
            "pleural": (0.3, 0.1, 0.0, 1.0, 0.1), "primary": (0.5, 0.1, 0.03, 0.24, 1.0)}
"""Chance of each sign in each pattern of disease."""

TISSUE = 0.0213
"""Attenuation coefficient of exudate, caseous tissue and pleural fluid, in 1/mm at 60 keV."""

DENSITY = 1.6
"""Path length through the middle of a cloud against its radius."""

LEAST = {"consolidation": 4.0, "cavity": 0.0, "miliary": 0.3, "effusion": 4.0, "lymph nodes": 2.0}
"""Path length in mm from which on a pixel belongs to the mask of a sign."""

NODES = ((62.0, 0.0, -33.0), (12.0, 0.0, -46.0), (22.0, 0.0, 52.0))
"""Lymph nodes beside the trachea and at both hila, in mm."""


@dataclass(frozen=True)
class Signs:
    """The signs of N patients; what a patient does not have has size 0.

    Args:
        shown: (N, 5) bool, which of ``SIGNS``.
        puffs: (N, 2 PUFFS, 4) place and radius of the clouds of two foci of consolidation, in mm.
        cavities: (N, 2, 4) place and outer radius in mm, in the middle of each focus.
        walls: (N, 2) thickness in mm; dents: (N, 2, 2) phases of the cavities' outlines.
        dots: (N,) int64, seeds of the places of miliary nodules; dot: (N,) their largest radius in mm.
        effusion: (N, 2) height of the fluid at the right and left chest wall above the sinus, in mm.
        nodes: (N, 3) radii of lymph nodes in mm.
        contrast: (N,) attenuation of all signs against the natural one.
    """

    shown: Tensor
    puffs: Tensor
    cavities: Tensor
    walls: Tensor
    dents: Tensor
    dots: Tensor
    dot: Tensor
    effusion: Tensor
    nodes: Tensor
    contrast: Tensor

    def of(self, cases: Tensor) -> "Signs":
        """The signs of the patients with these numbers (M,), in that order."""
        return Signs(*(getattr(self, f.name)[cases] for f in fields(self)))

    def to(self, device: torch.device) -> "Signs":
        """The same signs on another device."""
        return Signs(*(getattr(self, f.name).to(device) for f in fields(self)))


def draw(chances: Tensor, severity: Tensor, generator: torch.Generator, contrast: float, extent: float) -> Signs:
    """Signs of n patients.

    Args:
        chances: (N, 5) of each sign; all 0 for a healthy patient.
        severity: (N,) around 1, scales sizes.
        contrast, extent: see ``chest.draw``.
    """
    n, device = len(severity), severity.device

    def between(low: float, high: float, *shape: int) -> Tensor:
        return uniform(n * int(torch.Size(shape).numel()), low, high, generator).view(n, *shape)

    shown, large = between(0, 1, len(SIGNS)) < chances, extent * severity
    shown[:, 1] &= shown[:, 0]                                                      # a cavity lies in a consolidation
    foci, count = _foci(between(0, 1, 2, 4)), 1 + (between(0, 1) < 0.45 * severity).long()
    present = shown[:, :1] & (torch.arange(2, device=device) < count[:, None])      # (N, 2)
    spread = torch.randn(n, 2, PUFFS, 3, generator=generator, device=device) * large.view(-1, 1, 1, 1) * 13
    spread[:, :, PUFFS // 2:] *= 1.6                                                # a dense middle, scattered around
    radii = between(0, 1, 2, PUFFS).square() * 11 + 5
    radii = radii * large.view(-1, 1, 1) * present[..., None]
    puffs = torch.cat([foci[:, :, None] + spread, radii[..., None]], -1)
    hole = present & shown[:, 1:2] & (between(0, 1, 2) < torch.tensor([1.0, 0.35], device=device))
    outside = between(9, 17, 2) * large[:, None] * hole
    sides = between(0, 1, 2) < 0.5
    sides[:, 1] = ~sides[:, 0] | (between(0, 1) < 0.25)
    fluid = between(22, 85, 2) * large[:, None] * sides * shown[:, 3:4]
    nodes = between(8, 15, 3) * large.view(-1, 1).sqrt() * shown[:, 4:5] * torch.tensor([1.0, 1, 0.8], device=device)
    return Signs(shown=shown, puffs=puffs.flatten(1, 2), cavities=torch.cat([foci, outside[..., None]], -1),
                 walls=outside * between(0.2, 0.38, 2), dents=between(0, 6.28, 2, 2), effusion=fluid, nodes=nodes,
                 dots=torch.randint(2 ** 40, (n,), generator=generator, device=device),
                 dot=between(1.6, 2.0) * extent * shown[:, 2], contrast=torch.full((n,), contrast, device=device))


def _foci(u: Tensor) -> Tensor:
    """Places of two foci (N, 2, 3) from numbers (N, 2, 4) between 0 and 1: upper zones, toward the back."""
    z = 58 + 44 * u[..., 0]
    side = torch.where(u[..., 3] < 0.58, -1.0, 1.0)                                 # the right lung somewhat more often
    side[:, 1] = torch.where(u[:, 1, 2] < 0.75, -side[:, 0], side[:, 0])
    z[:, 1] -= (side[:, 1] == side[:, 0]) * 60                                      # spread within the lung: lower
    x = side * torch.lerp(torch.full_like(z, 48.0), outer(z) - 28, u[..., 1])
    return torch.stack([z, 20 + 30 * u[..., 2], x], -1)


def layers(signs: Signs, anatomy: Anatomy, lung: Tensor, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """How far the rays run through the tissue of each sign, and the line integral that the signs add.

    Args:
        lung: (N, size, size) path length through lung in mm, without signs.
        z, x: ``thorax.positions`` of the pixels.

    Returns:
        (N, 5, size, size) in mm, cavities with their holes, and (N, size, size) without unit.
    """
    paths = lung.new_zeros(len(lung), len(SIGNS), *lung.shape[1:])
    hollow = torch.zeros_like(lung)
    for k, path in enumerate((_consolidation, _cavity, _miliary, _effusion, _nodes)):
        who = signs.shown[:, k].nonzero()[:, 0]
        if len(who):
            mine = signs.of(who), anatomy.of(who), lung[who], z[who], x[who]
            if path is _cavity:
                paths[who, k], hollow[who] = _cavity(*mine)
            else:
                paths[who, k] = path(*mine)
    paths[:, 0] *= 1 - 0.8 * hollow / (hollow + 12)                                 # no exudate in the hole
    aired = anatomy.lung.view(-1, 1, 1)
    solid = (paths.sum(1) - hollow).minimum(lung)
    return paths, ((TISSUE - aired) * solid - aired * hollow) * signs.contrast.view(-1, 1, 1)


def _consolidation(s: Signs, a: Anatomy, lung: Tensor, z: Tensor, x: Tensor) -> Tensor:
    case, number = (s.puffs[..., 3] > 0).nonzero(as_tuple=True)
    points, radii = a.placed(s.puffs[..., :3])[case, number], s.puffs[case, number, 3]
    filled = stamp(case, points, radii, torch.full_like(radii, DENSITY), len(z), z.shape[1], FIELD, puff)
    return lung * (1 - (-filled / (lung + 1e-3)).exp())                             # never more than there is lung


def _cavity(s: Signs, a: Anatomy, lung: Tensor, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Path lengths through the cavities with their holes, and through the holes."""
    whole, holes = torch.zeros_like(lung), torch.zeros_like(lung)
    for which in range(2):
        who = s.cavities[:, which, 3].nonzero()[:, 0]
        place, radius = s.cavities[who, which, :3, None, None], s.cavities[who, which, 3, None, None]
        q = _dented(z[who] - place[:, 0], x[who] - place[:, 2], s.dents[who, which, :, None, None])
        for total, r in ((whole, radius), (holes, radius - s.walls[who, which, None, None])):
            total[who] += 2 * (r.square() - q).clamp_min_(0).sqrt_()
    return (whole := whole.minimum(lung)), holes.minimum(whole)


def _dented(down: Tensor, across: Tensor, phases: Tensor) -> Tensor:
    """Squared distance in mm from the middle of a cavity (N, H, W), measured against its dented outline."""
    angle = torch.atan2(down.expand(-1, -1, across.shape[2]), across)
    outline = 1 + 0.10 * (2 * angle + phases[:, 0]).cos() + 0.07 * (3 * angle + phases[:, 1]).cos()
    return (down.square() + across.square()) / outline.square()


def _miliary(s: Signs, a: Anatomy, lung: Tensor, z: Tensor, x: Tensor) -> Tensor:
    points, radii = zip(*(_scattered(seed) for seed in s.dots.tolist()), strict=True)
    points, radii = torch.stack(points).to(z.device), torch.stack(radii).to(z.device) * s.dot[:, None]
    case = torch.arange(len(z), device=z.device).repeat_interleave(DOTS)
    dots = stamp(case, a.placed(points).flatten(0, 1), radii.flatten(), torch.ones_like(radii).flatten(), len(z),
                 z.shape[1], FIELD, ball)
    return dots.minimum(lung)


def _scattered(seed: int) -> tuple[Tensor, Tensor]:
    """Places (DOTS, 3) in both lungs and relative radii (DOTS,)."""
    generator = torch.Generator().manual_seed(seed)
    where = torch.cat([pool("right"), pool("left")])
    chosen = where[torch.randint(len(where), (DOTS,), generator=generator)]
    return chosen + 6 * torch.rand(DOTS, 3, generator=generator) - 3, 0.6 + 0.4 * torch.rand(DOTS, generator=generator)


def _effusion(s: Signs, a: Anatomy, lung: Tensor, z: Tensor, x: Tensor) -> Tensor:
    """Fluid that fills the sinus and climbs along the chest wall: a meniscus."""
    height = torch.where(x < 0, s.effusion[:, :1, None], s.effusion[:, 1:, None])
    level = -138 + height * (0.35 + 0.75 * ((x.abs() - 20) / 120).clamp(0, 1) ** 2.5)
    share = (0.5 + (level - z) / (10 + 0.12 * height)).clamp(0, 1)
    return lung * share * ((x.abs() - 40) / 30).clamp(0, 1) * (height > 0)


def _nodes(s: Signs, a: Anatomy, lung: Tensor, z: Tensor, x: Tensor) -> Tensor:
    total = torch.zeros_like(lung)
    for place, radius in zip(NODES, s.nodes.unbind(1), strict=True):
        r = radius.view(-1, 1, 1)
        total = total + 2 * r * inside(z, x, (place[0], place[2]), (1.15 * r + 0.1, r, 0.95 * r + 0.1)).sqrt()
    return total.minimum(lung)
