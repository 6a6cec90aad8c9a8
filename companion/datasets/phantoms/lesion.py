"""CT sections of chest and abdomen with one to three lesions of any kind to detect, like DeepLesion. Book: Part 5.

The learner gets boxes that all carry the label 0, "lesion". Six hidden types (``lesion_sites.TYPES``) stand in
``parameters.types`` only, to judge categories that a network finds by itself.

What is modelled
    The chest of ``lung`` without contrast agent and the upper abdomen of ``abdomen`` in the portal phase. Nodules in
    the lung (solid, some subsolid), lymph nodes in the mediastinum, lesions of the liver (masses and cysts), of the
    kidneys (cysts and masses), of the vertebrae (lytic and sclerotic) and lymph nodes beside aorta and vena cava.

What is not
    Other organs and types (DeepLesion has eight, pelvis and soft tissue among them), contrast agent in the chest, the
    marks by which radiologists measured the lesions, lesions left unmarked, neighbouring slices, vessels and organs
    pushed aside. A lesion is cut by its plane near its middle, and the section has no thickness.

Numbers and sources
    Sizes and CT values in ``lesion_sites``, tissues in ``lung``, ``lung_wall`` and ``abdomen``. Hidden types as in
    Yan et al., Deep Lesion Graphs in the Wild, CVPR 2018. Noise 15 HU at the standard dose.

Limits
    Made to teach and to test methods; all is plausible and chosen by us. It is not clinical evidence: a sensitivity
    reached here says nothing about one on patients.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.datasets.cases import Cases
from companion.datasets.phantoms import abdomen, abdomen_geometry, lesion_sites, lung
from companion.datasets.phantoms.lesion_sites import ABDOMEN, CHEST, LEVELS, TYPES
from companion.datasets.phantoms.liver_masses import Masses, boxes, paint
from companion.datasets.phantoms.shapes import uniform

CHUNK_PIXELS = 500_000             # rendered at once, about 200 MB
NOISE = 15.0                       # HU, at dose 1
MOST = 3                           # lesions in a section
COUNTS = ("no lesion", "one lesion", "two lesions", "three lesions")


@dataclass(frozen=True)
class Sections:
    """N sections, each of another patient.

    Args:
        chest, abdomen: of the N patients.
        inside: (N,) True for a section of the chest, False for one of the abdomen.
        centres: (N, 3) position of the section's middle in the scan, in mm along z, y, x.
        types: (N, 3) hidden type of each lesion, numbers of ``lesion_sites.TYPES``, -1 where there is none.
        lesions: their shapes and CT values; the fields of ``Masses`` with one entry for each phase hold it four times.
        noise: (N,) standard deviation in HU; seeds: (N,) for its grain.
    """

    chest: lung.Anatomy
    abdomen: abdomen_geometry.Anatomy
    inside: Tensor
    centres: Tensor
    types: Tensor
    lesions: Masses
    noise: Tensor
    seeds: Tensor

    def of(self, index: Tensor) -> "Sections":
        """The sections with these numbers (M,), in that order."""
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        return Sections(**{k: v[index] if isinstance(v, Tensor) else v.of(index) for k, v in kept.items()})

    def to(self, device: torch.device) -> "Sections":
        """The same sections on another device."""
        return Sections(*(getattr(self, f.name).to(device) for f in fields(self)))


def draw(n: int, generator: torch.Generator, *, contrast: float = 1.0, dose: float = 1.0, diameter: float = 1.0,
         more: float = 0.35) -> Sections:
    """Sections whose first lesion is of each type in equal shares (to one case), with up to two more of any type.

    Args:
        contrast: difference of lesions to their surroundings against the natural one; larger is easier.
        dose: against the standard dose; the noise is 15 HU divided by its square root; larger is easier.
        diameter: of the lesions against the natural one; larger is easier.
        more: chance of a second and of a third lesion, where there is a site for it.

    Raises:
        ValueError: where n, contrast, dose or diameter is not positive, or more is no chance.
    """
    _check(more, number=n, contrast=contrast, dose=dose, diameter=diameter)
    chest, belly, device = lung.draw(n, generator), abdomen.draw(n, generator), generator.device
    first = torch.randperm(n, generator=generator, device=device) % len(TYPES)
    either = uniform(n, 0, 1, generator) < 0.5
    inside = (first <= 1) | ((first == 4) & either)
    types = torch.cat([first[:, None], _more(inside, more, generator)], 1)
    across = lesion_sites.diameters(types, generator, diameter)
    low, high = (torch.where(inside, torch.tensor(LEVELS["chest"], device=device)[first, end],
                             torch.tensor(LEVELS["abdomen"], device=device)[first, end]) for end in (0, 1))
    level = low + (high - low) * uniform(n, 0, 1, generator)
    centres = torch.stack([level, 0 * level, 0 * level], 1)
    found, types = lesion_sites.find(types, across / 2, level, (chest, belly), inside, generator)
    return Sections(chest=chest, abdomen=belly, inside=inside, centres=centres, types=types,
                    lesions=_shapes(types, across, found, generator, contrast),
                    noise=torch.full((n,), NOISE / dose ** 0.5, device=device),
                    seeds=torch.randint(2 ** 40, (n,), generator=generator, device=device))


def render(sections: Sections, size: Sequence[int] = (96, 96), spacing: Sequence[float] = (4.0, 4.0), *,
           lesions: bool = True, device: torch.device | None = None) -> Cases:
    """The images (N, 1, H, W) in HU, mask ``lesion``, and a box around each lesion with label 0.

    The label of a case is the number of its lesions.

    Args:
        size, spacing: rows and columns, in pixels and in mm.
        lesions: False leaves the lesions out and keeps all else, noise included.
        device: to render on; by default where the parameters are.
    """
    device, full, steps = device or sections.seeds.device, (1, *size), (max(spacing), *spacing)
    parts = [_images(sections.of(index).to(device), full, steps, lesions) for index in torch.arange(
        len(sections.seeds), device=sections.seeds.device).split(max(1, CHUNK_PIXELS // math.prod(size)))]
    images, number = (torch.cat(p) for p in zip(*parts, strict=True))
    corners, there = boxes(number[:, 0], MOST)
    return Cases(images=images, labels=there.sum(1), classes=COUNTS, unit="HU", spacing=tuple(spacing),
                 patients=torch.arange(len(images), device=device), masks={"lesion": number[:, 0] > 0},
                 boxes=[b[t] for b, t in zip(corners, there, strict=True)], parameters=sections,
                 box_labels=[torch.zeros(int(t.sum()), dtype=torch.long, device=device) for t in there])


def make(n: int, generator: torch.Generator, size: Sequence[int] = (96, 96), spacing: Sequence[float] = (4.0, 4.0),
         **knobs) -> Cases:
    """n sections with lesions: ``draw`` (which takes the knobs), then ``render``."""
    return render(draw(n, generator, **knobs), size, spacing)


def _check(more: float, **knobs: float) -> None:
    for name, value in knobs.items():
        if value <= 0:
            raise ValueError(f"the {name} is {value}, but must be positive")
    if not 0 <= more <= 1:
        raise ValueError(f"the chance of more lesions is {more}, but must lie between 0 and 1")


def _more(inside: Tensor, chance: float, generator: torch.Generator) -> Tensor:
    """Types of the second and the third lesion (N, 2), of those that the region has, or -1."""
    there, which = (uniform(2 * len(inside), 0, 1, generator).view(-1, 2) for _ in range(2))
    chest, belly = (torch.tensor(kinds, device=which.device)[(which * len(kinds)).long()] for kinds in (CHEST, ABDOMEN))
    wanted = (there < chance).long().cumprod(1) > 0                                 # no third one without a second
    return torch.where(wanted, torch.where(inside[:, None], chest, belly), -1)


def _shapes(types: Tensor, across: Tensor, places: Tensor, generator: torch.Generator, contrast: float) -> Masses:
    """The lesions as masses, each of one CT value, a little uneven."""
    n, k = types.shape

    def between(low: float, high: float, *shape: int) -> Tensor:
        return uniform(n * k * math.prod(shape), low, high, generator).view(n, k, *shape)

    there, none = types >= 0, torch.zeros(n, k, device=types.device)
    stretch = between(-0.18, 0.18, 3).exp()
    radii = across[..., None] / 2 * there[..., None] * stretch / stretch.prod(-1, keepdim=True) ** (1 / 3)
    hu = lesion_sites.values(types, generator, contrast)[..., None].expand(-1, -1, 4)
    return Masses(categories=torch.where(there, 0, -1), centres=places, radii=radii, angles=between(0, 6.3, 3),
                  waves=torch.nn.functional.normalize(between(-1, 1, 4, 3), dim=-1) * between(2, 5, 4, 1),
                  phases=between(0, 2 * math.pi, 4), rough=between(0.05, 0.25), edge=between(0.5, 2.0),
                  mottle=between(0, 10), inner=hu, outer=hu, reach=torch.zeros_like(hu), patchy=none)


def _images(sections: Sections, size: Sequence[int], spacing: Sequence[float], lesions: bool) -> tuple[Tensor, Tensor]:
    """Images in HU (N, 1, H, W), and the number of the lesion from 1 (N, 1, H, W)."""
    images = torch.empty(len(sections.seeds), *size, device=sections.centres.device)
    chest, belly = sections.inside.nonzero()[:, 0], (~sections.inside).nonzero()[:, 0]
    if len(chest):
        images[chest] = lung.render(sections.chest, chest, sections.centres[chest], size, spacing).image()
    if len(belly):
        scene = abdomen.render(sections.abdomen.of(belly), sections.centres[belly], ("portal",), size, spacing)
        images[belly] = scene.images[:, 0]
    number = torch.zeros_like(images, dtype=torch.long)
    if lesions:
        everywhere = torch.ones_like(images)
        painted, number = paint(images[:, None], everywhere, sections.lesions, sections.centres, [2], spacing)
        images = painted[:, 0]
    grain = lung.noise(sections.seeds, size, spacing, images.device)
    return (images + sections.noise.view(-1, 1, 1, 1) * grain).clamp_min(-1024), number
