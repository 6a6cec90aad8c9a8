"""Masses of the liver in five categories: size, shape, and how contrast agent passes through them.

A mass has an inner and an outer part. The outer part is a capsule in hepatocellular carcinoma, a rim in other malignant
tumours, and in hemangiomas the nodules at the edge that grow inward until they fill it. Each part has a CT value in
each of the four phases of ``abdomen.PHASES``; ``CURVES`` has their mean difference to the liver around them.

Numbers and sources
    Categories after Yasaka et al., Radiology 286, 2018, 887-896. Classic hepatocellular carcinoma: brighter than liver
    in the arterial phase, darker later, capsule (LI-RADS v2018, American College of Radiology). Metastases: dark with a
    rim, a minority bright in the arterial phase. Hemangiomas: nodules at the edge as bright as blood, filling inward
    (Leslie et al., AJR 164, 1995, 625-629); small ones fill at once. Cysts: water in all phases. Sizes: the masses of
    Yasaka et al. measure 26.9 mm on average, with a standard deviation of 25.9 mm; the medians of each category, the
    means and the scatter of the curves and the shares of the variants are ours, within what is usual.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.datasets.phantoms import abdomen
from companion.datasets.phantoms.abdomen_geometry import Anatomy
from companion.datasets.phantoms.shapes import grid, rotation, uniform

CATEGORIES = ("classic HCC", "other malignant", "indeterminate or mass-like", "hemangioma", "cyst")

MEDIAN = (26.0, 26.0, 16.0, 22.0, 17.0)
"""Median diameter of each category in mm; its logarithm scatters by ``SPREAD``."""

SPREAD = 0.45

CURVES = (((-10, 40, 2, -19), (-10, 25, 8, 12), (5, 15, 8, 7)),
          ((-13, -16, -36, -26), (-12, 12, -16, -16), (5, 12, 13, 12)),
          ((-4, 7, 0, -6), (-4, 7, 0, -6), (4, 9, 6, 6)),
          ((-15, -25, -45, -28), (-15, 0, 0, 0), (4, 6, 8, 8)),
          ((-53, -65, -107, -93), (-53, -65, -107, -93), (4, 4, 4, 4)))
"""Mean difference to the liver in HU of the inner and the outer part, and its standard deviation, for each category in
each phase. In hemangiomas the outer part follows the blood, and cysts have the value of water instead."""

VARIANTS = 0.2
"""Share of other malignant masses and of indeterminate ones that are bright in the arterial phase; half as many of the
other malignant ones fill late, as scars do."""


@dataclass(frozen=True)
class Masses:
    """Up to K masses in each of N patients.

    Args:
        categories: (N, K) numbers of ``CATEGORIES``, -1 where there is none.
        centres: (N, K, 3) in the patient, in mm along z, y, x.
        radii: (N, K, 3) half axes in mm, 0 where there is none; angles: (N, K, 3) of the axes.
        waves: (N, K, 4, 3) and phases: (N, K, 4), of the unevenness of surface and inside.
        rough: (N, K) unevenness of the surface against the radius; edge: (N, K) width of the soft margin in mm.
        mottle: (N, K) unevenness inside, in HU.
        inner, outer: (N, K, 4) CT value of each part in each phase, in HU.
        reach: (N, K, 4) thickness of the outer part against the radius; patchy: (N, K) how unevenly it is thick.
    """

    categories: Tensor
    centres: Tensor
    radii: Tensor
    angles: Tensor
    waves: Tensor
    phases: Tensor
    rough: Tensor
    edge: Tensor
    mottle: Tensor
    inner: Tensor
    outer: Tensor
    reach: Tensor
    patchy: Tensor

    def of(self, index: Tensor) -> "Masses":
        """The masses of the patients with these numbers (M,), in that order."""
        return Masses(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device) -> "Masses":
        """The same masses on another device."""
        return Masses(*(getattr(self, f.name).to(device) for f in fields(self)))

    def millilitres(self) -> Tensor:
        """Volume of each mass in ml (N, K), that of its ellipsoid; the uneven surface changes it by a few per cent."""
        return 4 / 3 * math.pi * self.radii.prod(-1) / 1000


def draw(anatomy: Anatomy, categories: Tensor, generator: torch.Generator, *, contrast: float = 1.0,
         diameter: float = 1.0) -> Masses:
    """Masses of the given categories (N, K), -1 for none, in the livers of the given patients.

    Args:
        contrast: difference of mass to liver against the natural one.
        diameter: of the masses against the natural one.
    """
    n, k = categories.shape

    def between(low: float, high: float, *shape: int) -> Tensor:
        return uniform(n * k * math.prod(shape), low, high, generator).view(n, k, *shape)

    normal = torch.randn(n, k, generator=generator, device=categories.device)
    middle = categories.new_tensor(MEDIAN, dtype=torch.float32)[categories]
    radius = (middle * (SPREAD * normal).exp()).clamp(7, 75) / 2 * diameter * (categories >= 0)
    stretch = between(-0.14, 0.14, 3).exp()
    radii = radius[..., None] * stretch / stretch.prod(-1, keepdim=True) ** (1 / 3)
    smooth, malignant = categories >= 3, categories < 2
    inner, outer, reach = _uptake(anatomy, categories, radius, generator)
    liver = abdomen.values(anatomy, abdomen.PHASES)[:, None, :, 0]
    return Masses(
        categories=categories, centres=_places(anatomy, radius, generator), radii=radii, angles=between(0, 6.3, 3),
        waves=torch.nn.functional.normalize(between(-1, 1, 4, 3), dim=-1) * between(2, 5, 4, 1),
        phases=between(0, 2 * math.pi, 4), rough=torch.where(smooth, 0.08, 0.2) * between(0.5, 1.5),
        edge=torch.where(smooth, 1.0, 3.0) * between(0.5, 1.5),
        mottle=torch.where(malignant, 14.0, 3.0) * between(0, 1),
        inner=liver + contrast * (inner - liver), outer=liver + contrast * (outer - liver), reach=reach,
        patchy=torch.where(categories == 3, 2.5, 0.3) * between(0.7, 1.3))


def _uptake(anatomy: Anatomy, categories: Tensor, radius: Tensor,
            generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """CT values of the inner and outer part in each phase, and the reach of the outer one, each (N, K, 4)."""
    hu = dict(zip(abdomen.TISSUES, abdomen.values(anatomy, abdomen.PHASES).unbind(-1), strict=True))
    shape = (*categories.shape, 1)
    chance, level = (uniform(categories.numel(), 0, 1, generator).view(shape) for _ in range(2))
    table = torch.tensor(CURVES, device=radius.device, dtype=torch.float32)[categories]          # (N, K, 3, 4)
    scatter = torch.randn((*shape[:2], 2, 4), generator=generator, device=radius.device) * table[:, :, 2:]
    scatter = 0.7 * scatter[:, :, :1] + 0.7 * scatter                                 # both parts vary together
    kind, liver = categories[..., None], hu["liver"][:, None]
    bright = ((kind == 1) & (chance < VARIANTS)) | ((kind == 2) & (chance < VARIANTS))
    scar = (kind == 1) & (chance > 1 - VARIANTS / 2)
    arterial, delayed = radius.new_tensor((0, 1, 0, 0)), radius.new_tensor((0, 0, 0, 1))
    extra = bright * 42 * arterial + scar * 34 * delayed
    inner, outer = (liver + part + more + extra for part, more in zip(table[:, :, :2].unbind(2), scatter.unbind(2),
                                                                      strict=True))
    water = 10 * level - 1 + 0 * liver
    blood = 0.7 * hu["portal"][:, None] + 0.3 * hu["aorta"][:, None] + scatter[:, :, 1]
    inner, outer = (torch.where(kind == 4, water, part) for part in (inner, torch.where(kind == 3, blood, outer)))
    thick = 1.8 / radius.clamp_min(1)[..., None] * (level < 0.7)
    filling = radius.new_tensor((0, 0.25, 0.6, 1.0)) * (0.5 + level)
    filling = torch.where((radius[..., None] < 9) & (chance < 0.5), 4.0, filling)    # small hemangiomas at once
    reach = torch.where(kind == 0, thick, torch.where(kind == 1, 0.15 + 0.25 * level, 0.0 * level))
    return inner, outer, torch.where(kind == 3, filling, reach.expand(*shape[:2], 4))


def _places(anatomy: Anatomy, radius: Tensor, generator: torch.Generator) -> Tensor:
    """Centres (N, K, 3) in mm, inside of the liver by most of the radius and apart from each other if they can be."""
    points, deep = abdomen.depths(radius.device)
    tries = torch.randint(len(points), (*radius.shape, 160), generator=generator, device=radius.device)
    found = torch.zeros(*radius.shape, 3, device=radius.device)
    for k in range(radius.shape[1]):
        place, depth = points[tries[:, k]], deep[tries[:, k]]                        # (N, 160, 3), (N, 160)
        short = (0.8 * radius[:, k, None] + 1 - depth).clamp_min(0)
        for other in range(k):
            apart = (place - found[:, other, None]).norm(dim=-1) - radius[:, k, None] - radius[:, other, None]
            short = short + (6 - apart).clamp_min(0) * (radius[:, other, None] > 0)
        found[:, k] = place.gather(1, short.argmin(1)[:, None, None].expand(-1, 1, 3))[:, 0]
    return anatomy.place(found)


def paint(images: Tensor, room: Tensor, masses: Masses, centre: Tensor, phases: Sequence[int],
          spacing: Sequence[float]) -> tuple[Tensor, Tensor]:
    """The images with the masses, and which mass fills each voxel.

    Args:
        images: (N, phases, D, H, W) in HU; room: (N, D, H, W) share of each voxel that may be mass, the liver.
        centre: (N, 3) position of the images' middle, in mm.
        phases: numbers of ``abdomen.PHASES``.
        spacing: of the voxels along z, y, x, in mm.

    Returns:
        The images; (N, D, H, W) int64, the number of the mass from 1, 0 outside of all.
    """
    images, number = images.clone(), torch.zeros_like(room, dtype=torch.long)
    for k in (masses.radii.amax((0, 2)) > 0).nonzero()[:, 0].tolist():
        case, voxel, offset = _near(masses.centres[:, k] - centre, masses.radii[:, k], room.shape[1:], spacing)
        share, value = _look(masses, case, k, offset, phases, spacing)
        share = share * room.flatten(1)[case, voxel]
        flat = images.flatten(2)
        before = flat[case, :, voxel]
        flat[case, :, voxel] = before + share[:, None] * (value - before)
        images = flat.view_as(images)
        inside = share >= 0.5
        number.flatten(1)[case[inside], voxel[inside]] = k + 1
    return images, number


def _near(place: Tensor, radii: Tensor, size: Sequence[int], spacing: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
    """The voxels that a mass may touch: case (V,), number in the image (V,), offset from the mass's centre (V, 3)."""
    points = grid(size, spacing, place.device).flatten(0, -2)                         # (voxels, 3)
    there = (radii.amax(1) > 0).nonzero()[:, 0]
    square = points.square().sum(1) - 2 * place[there] @ points.T + place[there].square().sum(1, keepdim=True)
    case, voxel = (square < (radii[there].amax(1, keepdim=True) * 1.3 + 2).square()).nonzero(as_tuple=True)
    case = there[case]
    return case, voxel, points[voxel] - place[case]


def _look(masses: Masses, case: Tensor, k: int, offset: Tensor, phases: Sequence[int],
          spacing: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Share (V,) and CT value (V, phases) of mass k at the voxels."""
    own = torch.einsum("va,vab->vb", offset, rotation(masses.angles[:, k])[case]) / masses.radii[case, k]
    reach, radius = own.norm(dim=1), masses.radii[:, k].prod(1)[case] ** (1 / 3)
    out = own / reach.clamp_min(1e-3)[:, None]
    waves = torch.cos(torch.einsum("vwa,va->vw", masses.waves[case, k], out) + masses.phases[case, k])
    depth = (1 + masses.rough[case, k] * waves.mean(1) - reach) * radius      # mm under the surface
    share = (0.5 + depth / (masses.edge[case, k] + spacing[-1])).clamp(0, 1)
    mottle = torch.cos(torch.einsum("vwa,va->vw", masses.waves[case, k], 1.5 * own) - masses.phases[case, k]).mean(1)
    uneven = (1 + masses.patchy[case, k] * mottle)[:, None].clamp_min(0)
    edge = radius[:, None] * masses.reach[case, k][:, phases] * uneven
    outer = (0.5 + (edge - depth[:, None]) / 2).clamp(0, 1) * (masses.reach[case, k][:, phases] > 0)
    inner = masses.inner[case, k][:, phases]
    value = inner + outer * (masses.outer[case, k][:, phases] - inner)
    return share, value + (masses.mottle[case, k] * mottle)[:, None]


def boxes(number: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Boxes (N, most, 2 axes) around the voxels numbered from 1 to ``most``, and whether there are any (N, most).

    Args:
        number: (N, \\*size) int64, such as ``paint`` returns.
        most: how many numbers there are.
    """
    axes = number.dim() - 1
    masks = number[:, None] == torch.arange(1, most + 1, device=number.device).view(-1, *[1] * axes)
    lines = [masks.amax([a for a in range(2, axes + 2) if a != axis]).int() for axis in range(axes + 1, 1, -1)]
    low = [line.argmax(-1) for line in lines]                                       # column first
    high = [line.shape[-1] - line.flip(-1).argmax(-1) for line in lines]
    return torch.stack([*low, *high], -1).float(), masks.flatten(2).any(-1)
