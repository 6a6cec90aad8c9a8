"""Where findings lie in the lung phantom: cancers above, metastases outside and below, plaques on the pleura.

Upper lobes hold more cancers (McWilliams et al., NEJM 369, 2013, 910-919); metastases lie in the outer and lower lung
(Snoeckx et al., Insights into Imaging 9, 2018, 73-86).
"""

import torch
from torch import Tensor

from companion.datasets.phantoms import lung
from companion.datasets.phantoms.lung_geometry import SPAN
from companion.datasets.phantoms.nodule_looks import NODULES
from companion.datasets.phantoms.shapes import uniform

TRIES = 128
APART = 45.0      # mm between the findings of a patient
ON_PLEURA = 0.2   # share of nodules that touch it

PULL = ((0.0, 0.0), (0.7, 0.1), (-0.6, 1.0), (0.0, -0.5), (0.0, -0.3), (0.3, 1.0), (-0.3, 9.0), (-0.3, 9.0))
"""How strongly each kind of ``nodule_looks.KINDS`` is drawn upward, per 80 mm, and to the pleura, per 25 mm."""


def draw(anatomy: lung.Anatomy, patients: Tensor, kinds: Tensor, diameters: Tensor,
         generator: torch.Generator) -> Tensor:
    """Positions (N, 3) in mm along z, y, x, for findings of the given patients, kinds and diameters, each (N,).

    Two findings of a patient are about ``APART`` or more from each other, unless too many are asked for.
    """
    points, weights = _tries(anatomy.of(patients), kinds, generator)
    rank = _rank(patients)
    taken = torch.full((len(anatomy.fat), int(rank.max()) + 1, 3), 1e6, device=points.device)
    positions = torch.empty_like(points[:, 0])
    for r in range(taken.shape[1]):
        now = rank == r
        gaps = torch.cdist(points[now], taken[patients[now]]).amin(-1)              # (M, TRIES)
        choice = torch.multinomial(weights[now] * (gaps > APART) + 1e-9 * weights[now] + 1e-20, 1, generator=generator)
        positions[now] = points[now].gather(1, choice[..., None].expand(-1, -1, 3))[:, 0]
        taken[patients[now], r] = positions[now]
    return _toward_pleura(anatomy.of(patients), positions, kinds, diameters, generator)


def _tries(anatomy: lung.Anatomy, kinds: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points (N, TRIES, 3) anywhere in the chest, and how well each suits its finding (N, TRIES)."""
    n = len(kinds)
    unit = uniform(n * TRIES * 3, -0.5, 0.5, generator).view(n, TRIES, 3)
    points = unit * unit.new_tensor(SPAN) * anatomy.scale[:, None]
    depth, out = lung.depth(anatomy, points)
    up, outward = points.new_tensor(PULL)[kinds].unbind(1)
    pull = up[:, None] * points[..., 0] / 80 - outward[:, None] * depth / 25
    sideways = out[..., 2].abs() + out[..., 1] > 0.7                                # away from heart and diaphragm
    return points, pull.clamp(-20, 20).exp() * (depth > 4) * (sideways | (kinds <= NODULES + 2)[:, None])


def _rank(patients: Tensor) -> Tensor:
    """How many earlier findings the patient of each finding has (N,)."""
    same = patients[:, None] == patients
    return same.tril(-1).sum(1)


def _toward_pleura(anatomy: lung.Anatomy, positions: Tensor, kinds: Tensor, diameters: Tensor,
                   generator: torch.Generator) -> Tensor:
    """Plaques and fat moved onto the nearest pleura, and a share of the nodules so that they touch it."""
    on = (uniform(len(kinds), 0, 1, generator) < ON_PLEURA) & (kinds < NODULES)
    depth = lung.depth(anatomy, positions[:, None])[0]
    depth = torch.where(on[:, None], 0.35 * diameters[:, None], depth)
    wanted = torch.where((kinds > NODULES + 2)[:, None], 0.5, depth)
    return lung.at_depth(anatomy, positions[:, None], wanted)[:, 0]
