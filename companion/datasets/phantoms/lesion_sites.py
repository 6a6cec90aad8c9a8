"""Where lesions of six types lie in chest and abdomen, how large they are and which CT value they have.

A site is judged by the distances of ``lung_geometry`` and ``abdomen_geometry``: a nodule lies in the lung, a lymph node
in the fat between the organs, a kidney lesion at the kidney's surface, and so on. Sizes and CT values are ours, within
what is usual; the long diameters of DeepLesion run from 0.2 to 343 mm with most between 8 and 40 mm (Yan et al., J Med
Imaging 5, 2018, 036501).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from companion.datasets.phantoms import lung_geometry
from companion.datasets.phantoms.abdomen_geometry import Anatomy, distances
from companion.datasets.phantoms.lung import Anatomy as Chest
from companion.datasets.phantoms.lung_tubes import trachea
from companion.datasets.phantoms.shapes import uniform

TYPES = ("lung nodule", "mediastinal node", "liver lesion", "kidney lesion", "bone lesion", "abdominal node")
CHEST, ABDOMEN = (0, 1, 4), (2, 3, 4, 5)
"""The types that occur in each region."""

LEVELS = {"chest": ((-60, 70), (-15, 65), (0, 0), (0, 0), (-60, 70), (0, 0)),
          "abdomen": ((0, 0), (0, 0), (-60, 30), (-95, -40), (-95, 0), (-95, -20))}
"""Lowest and highest level of each type in the average patient, in mm from the middle of the region's scan."""

MEDIAN = (13.0, 18.0, 22.0, 24.0, 14.0, 19.0)
"""Median diameter of each type in mm; its logarithm scatters by ``SPREAD``."""

SPREAD = 0.3

VALUES = (((20.0, 60.0), (-350.0, -150.0), 0.15, -850.0), ((30.0, 70.0), (30.0, 70.0), 0.0, -100.0),
          ((45.0, 90.0), (0.0, 12.0), 0.3, 112.0), ((0.0, 20.0), (60.0, 120.0), 0.4, 195.0),
          ((20.0, 70.0), (450.0, 800.0), 0.5, 170.0), ((65.0, 105.0), (65.0, 105.0), 0.0, -105.0))
"""CT values in HU of two variants of each type, share of the second one, and the CT value of what is around them;
solid and subsolid nodules, masses and cysts of the liver, cysts and masses of the kidney, lytic and sclerotic bone."""

TRIES = 256
SPARE = 2.0   # mm by which a site may miss what is asked of it


def diameters(types: Tensor, generator: torch.Generator, factor: float) -> Tensor:
    """Diameters in mm, of the shape of ``types``; 0 where the type is -1."""
    normal = torch.randn(types.shape, generator=generator, device=types.device)
    middle = torch.tensor(MEDIAN, device=types.device)[types]
    return (middle * (SPREAD * normal).exp()).clamp(9, 60) * factor * (types >= 0)


def values(types: Tensor, generator: torch.Generator, contrast: float) -> Tensor:
    """CT values in HU, of the shape of ``types``, with ``contrast`` times the natural difference to what is around."""
    parts = zip(*VALUES, strict=True)
    first, second, share, around = (torch.tensor(part, device=types.device)[types] for part in parts)
    chance, place = (uniform(types.numel(), 0, 1, generator).view(types.shape) for _ in range(2))
    low, high = torch.where((chance < share)[..., None], second, first).unbind(-1)
    return around + contrast * (low + (high - low) * place - around)


def find(types: Tensor, radii: Tensor, level: Tensor, patients: tuple[Chest, Anatomy], inside: Tensor,
         generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Sites in one plane of each patient.

    Args:
        types: (N, K) wanted, -1 for none; radii: (N, K) in mm.
        level: (N,) the plane, in mm.
        patients: their chests and abdomens; inside: (N,) True where the plane lies in the chest.

    Returns:
        Positions (N, K, 3) in mm, and the types (N, K), -1 where there is no site; the first one is always placed.
    """
    n = len(types)
    flat = uniform(n * TRIES * 2, -1, 1, generator).view(n, TRIES, 2) * radii.new_tensor((95.0, 140.0))
    points = torch.cat([level[:, None, None].expand(-1, TRIES, 1), flat], 2)
    lots = 0.01 * uniform(n * TRIES, 0, 1, generator).view(n, TRIES)                 # decide between good sites
    found, kept = torch.zeros(*types.shape, 3, device=points.device), types.clone()
    for region, index in (("chest", inside.nonzero()[:, 0]), ("abdomen", (~inside).nonzero()[:, 0])):
        if len(index):
            chest, belly = (part.of(index) for part in patients)
            far = _chest(chest, points[index]) if region == "chest" else distances(belly, points[index])
            found[index], kept[index] = _search(region, far, points[index], types[index], radii[index], lots[index])
    return found, kept


def _search(region: str, far: Mapping[str, Tensor], points: Tensor, types: Tensor, radii: Tensor,
            lots: Tensor) -> tuple[Tensor, Tensor]:
    """``find`` for the patients of one region, with the distances at the points (N, P, 3) and lots (N, P) to draw."""
    found, kept = torch.zeros(*types.shape, 3, device=points.device), types.clone()
    for slot in range(types.shape[1]):
        radius, miss = radii[:, slot, None], lots.clone()
        for kind in range(len(TYPES)):
            wanted = (types[:, slot] == kind)[:, None]
            miss = torch.where(wanted, lots + _misses(region, kind, far, radius), miss)
        for other in range(slot):
            apart = (points - found[:, other, None]).norm(dim=-1) - radius - radii[:, other, None]
            miss = miss + (8 - apart).clamp_min(0) * (kept[:, other] >= 0)[:, None]
        least, best = miss.min(1)
        found[:, slot] = points.gather(1, best[:, None, None].expand(-1, 1, 3))[:, 0]
        kept[:, slot] = torch.where((least > SPARE) & (slot > 0), -1, kept[:, slot])
    return found, kept


def _chest(chest: Chest, points: Tensor) -> dict[str, Tensor]:
    """Distances to the parts of the chest, and to trachea and main bronchi, (N, P) in mm."""
    curves, radii = trachea(chest.scale)
    t = torch.linspace(0, 1, 9, device=points.device)[:, None]
    a, b, c = (curves[:, :, k, None] for k in range(3))                             # (N, curves, 1, 3)
    along = ((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t ** 2 * c).flatten(1, 2)
    return {**lung_geometry.distances(chest.scale, chest.fat, points),
            "airway": torch.cdist(points, along).amin(2) - radii.max()}


def _misses(region: str, kind: int, far: Mapping[str, Tensor], radius: Tensor) -> Tensor:
    """By how many mm each point misses what a lesion of this type and radius (N, 1) asks of its site (N, P)."""
    rule = RULES.get((region, kind))
    if rule is None:
        return torch.full_like(far["spine"], 1e3)
    return torch.stack([part.clamp_min(0) for part in rule(far, radius)]).sum(0)


def _mediastinal(far: Mapping[str, Tensor], r: Tensor) -> tuple[Tensor, ...]:
    return (-0.2 * r - far["lung"], far["cavity"] + r + 8, 0.8 * r - far["heart"], r - far["spine"], r - far["belly"],
            far["side"].abs() - 60, r + 2 - far["arch"], 0.9 * r - far["airway"])


def _abdominal(far: Mapping[str, Tensor], r: Tensor) -> tuple[Tensor, ...]:
    close = torch.minimum(far["aorta"], far["cava"]) - r - 8
    names = ("aorta", "cava", "spine", "kidney", "liver", "stomach", "bowel", "pancreas", "spleen", "psoas", "crura")
    organs = [0.9 * r - far[name] for name in names]
    return (close, far["cavity"] + r + 10, *organs)


RULES: dict[tuple[str, int], Callable[[Mapping[str, Tensor], Tensor], tuple[Tensor, ...]]] = {
    ("chest", 0): lambda far, r: (far["lung"] + 0.8 * r,),
    ("chest", 1): _mediastinal,
    ("chest", 4): lambda far, r: (far["spine"] + 0.9 * r,),
    ("abdomen", 2): lambda far, r: (far["liver"] + r,),
    ("abdomen", 3): lambda far, r: ((far["kidney"] + 0.2 * r).abs() - 2, 0.8 * r - far["liver"],
                                    0.8 * r - far["spleen"], 0.6 * r - far["psoas"]),
    ("abdomen", 4): lambda far, r: (far["spine"] + 0.9 * r,),
    ("abdomen", 5): _abdominal,
}
"""What each type asks of its site in each region, as lengths in mm that should not be above 0."""
