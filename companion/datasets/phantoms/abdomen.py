"""CT of the upper abdomen before and after contrast agent, without masses, the ground on which ``liver`` paints.

Every structure is a function of the position in the patient, so a crop, a section and a volume show the same.

What is modelled
    Liver with portal and hepatic veins, gallbladder, spleen, stomach with fluid and air, kidneys with cortex, medulla
    and sinus, adrenals, pancreas, bowel with gas and stool, aorta, inferior vena cava and their large branches, small
    vessels in the fat, bases of the lungs, diaphragm with its crura, heart, ribs, spine, muscles, fat, skin. Four
    phases of contrast agent, each tissue with its own course. Partial volume at edges.

What is not
    Segments of the liver, bile ducts, hepatic arteries in the liver, fatty liver and cirrhosis, motion of the bowel,
    vessels in the lung, layers of the abdominal wall, mottled spleen in the arterial phase, streaks, the scanner's own
    point spread beyond one voxel. A section has no thickness: it is the plane through the middle of the slice.

Numbers and sources
    CT values without contrast agent as usual on the Hounsfield scale (water 0, air -1000; liver 50 to 66, blood 40, fat
    -105). Enhancement for about 0.5 g of iodine per kg at 35 to 40 s (arterial), 70 s (portal) and 180 s (delayed):
    aorta near 300 HU in the arterial phase, liver about 50 HU brighter in the portal one (Bae, Radiology 256, 2010,
    32-61), cortex of the kidney long before its medulla. It scatters by 20 % between patients (heart, weight), and the
    arterial phase comes early or late. Radii of vessels by Murray's law (PNAS 12, 1926, 207-214). Sizes of the parts
    are in ``abdomen_parts``; the average liver holds about 1.6 l.

Limits
    Made to teach and to test methods. It is not clinical evidence: a network that does well here has not been shown to
    do well on patients.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from companion.datasets.phantoms.abdomen_geometry import Anatomy, Field, distances, field
from companion.datasets.phantoms.abdomen_parts import ARTERIES, RENAL, VEINS, Curve
from companion.datasets.phantoms.shapes import occupancy, uniform
from companion.datasets.phantoms.trees import grow, strands

PHASES = ("unenhanced", "arterial", "portal", "delayed")

TISSUES = {
    "liver": (58, 70, 112, 98), "spleen": (48, 125, 120, 100), "kidney": (33, 185, 195, 165),
    "medulla": (33, 75, 165, 170), "aorta": (40, 310, 155, 115), "portal": (40, 115, 170, 122),
    "hepatic": (40, 50, 165, 120), "cava": (40, 80, 148, 118), "heart": (40, 240, 150, 115),
    "pancreas": (42, 105, 95, 78), "stomach": (38, 78, 88, 80), "bowel": (32, 62, 78, 68), "muscle": (55, 58, 65, 66),
    "adrenal": (25, 55, 68, 52), "fat": (-105,) * 4, "sinus": (-90,) * 4, "lung": (-860,) * 4, "gas": (-970,) * 4,
    "fluid": (15,) * 4, "stool": (30,) * 4, "bile": (8,) * 4, "skin": (20,) * 4, "air": (-1000,) * 4,
    "cartilage": (110,) * 4, "shell": (420,) * 4, "marrow": (170,) * 4, "disc": (85,) * 4, "canal": (20,) * 4}
"""CT value in HU of each tissue of the average patient in each of ``PHASES``."""

EVERYWHERE = (slice(None),) * 3

FRONT = (("canal", "canal", 0), ("disc", "disc", 0), ("marrow", "spine", 1.5), ("shell", "spine", 0),
         ("shell", "arch", 0), ("cava", "cava", 0), ("aorta", "aorta", 0), ("bile", "bladder", 1.2),
         ("muscle", "bladder", 0), ("gas", "air", 0), ("fluid", "stomach", 3.5), ("stomach", "stomach", 0))
BACK = (("liver", "liver", 0), ("muscle", "gullet", 0), ("spleen", "spleen", 0), ("sinus", "sinus", 0),
        ("medulla", "medulla", 0), ("kidney", "kidney", 0), ("adrenal", "adrenal", 0), ("muscle", "crura", 0),
        ("pancreas", "pancreas", 0), ("gas", "gas", 0), ("stool", "stool", 0), ("bowel", "bowel", 0),
        ("heart", "heart", 0), ("lung", "lung", 0), ("muscle", "fold", 0), ("muscle", "psoas", 0),
        ("muscle", "back", 0), ("fat", "seam", 0), ("muscle", "straight", 0), ("muscle", "wall", 0))
"""Tissue, part of ``abdomen_geometry.distances`` and mm under its surface, from the front to the back; what comes first
hides what comes later. Branching vessels lie between ``FRONT`` and ``BACK``."""


@dataclass(frozen=True)
class Scene:
    """Images without noise (N, phases, D, H, W) in HU, and the share of each voxel in the liver (N, D, H, W)."""

    images: Tensor
    liver: Tensor


def draw(n: int, generator: torch.Generator) -> Anatomy:
    """Anatomy of n patients, on the generator's device."""
    def between(low: float, high: float, *shape: int) -> Tensor:
        return uniform(n * math.prod(shape), low, high, generator).view(n, *shape)

    directions = torch.nn.functional.normalize(between(-1, 1, 3, 3), dim=-1)
    low, high = torch.tensor(((-105.0, -62, -60), (-35.0, 10, 75)), device=generator.device)
    points, deep = depths(generator.device)
    ends = torch.randint(int((deep > 6).sum()), (n, 48), generator=generator, device=generator.device)
    ends = points[deep > 6][ends]
    drawn = Anatomy(scale=between(0.92, 1.08, 3), fat=between(8, 32), ribs=between(0, 28),
                    waves=directions * 2 * math.pi / between(140, 260, 3, 1), phases=between(0, 2 * math.pi, 3),
                    bends=between(-3.5, 3.5, 3, 3), stomach=between(0.8, 1.15), spleen=between(0.85, 1.15),
                    left=between(0.85, 1.2), level=between(-62, -25), gas=between(-0.2, 0.8, 8), portal=ends[:, :32],
                    hepatic=ends[:, 32:], mesentery=low + (high - low) * between(0, 1, 16, 3),
                    parenchyma=between(50, 66), uptake=between(0.8, 1.2), late=between(-0.1, 0.25))
    return replace(drawn, **{name: drawn.place(getattr(drawn, name)) for name in ("portal", "hepatic", "mesentery")})


@lru_cache(maxsize=4)
def depths(device: torch.device) -> tuple[Tensor, Tensor]:
    """Points in the liver of the average patient (M, 3), and how deep they lie (M,), both in mm."""
    unit = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)).to(device)
    points = unit * unit.new_tensor((215, 175, 185)) + unit.new_tensor((-135, -90, -122))
    one, none = torch.ones(1, device=device), torch.zeros(1, 1, 3, device=device)
    average = Anatomy(scale=one.expand(1, 3), fat=one, ribs=one, waves=none, phases=none[..., 0], bends=none,
                      stomach=one, spleen=one, left=one, level=one, gas=one.expand(1, 8), portal=none, hepatic=none,
                      mesentery=none, parenchyma=one, uptake=one, late=one)
    deep = -distances(average, points[None])["liver"][0]
    return points[deep > 0], deep[deep > 0]


def values(anatomy: Anatomy, phases: Sequence[str]) -> Tensor:
    """CT values in HU of the tissues in the given phases: (N, phases, tissues), in the order of ``TISSUES``.

    Raises:
        ValueError: where a phase is none of ``PHASES``.
    """
    if unknown := set(phases) - set(PHASES):
        raise ValueError(f"there is no phase {sorted(unknown)[0]!r}: choose among {', '.join(PHASES)}")
    table = torch.tensor(list(TISSUES.values()), device=anatomy.late.device, dtype=torch.float32).T    # (4, tissues)
    plain, gain = table[:1].repeat(len(anatomy.late), 1), (table - table[:1]).repeat(len(anatomy.late), 1, 1)
    gain[:, 1] += anatomy.late[:, None] * (gain[:, 2] - gain[:, 1])
    plain[:, 0] = anatomy.parenchyma
    return plain[:, None] + anatomy.uptake[:, None, None] * gain[:, [PHASES.index(p) for p in phases]]


def render(anatomy: Anatomy, centre: Tensor, phases: Sequence[str], size: Sequence[int],
           spacing: Sequence[float]) -> Scene:
    """Images of N patients in the given phases, without noise.

    Args:
        centre: (N, 3) position of each image's middle in the patient, in mm along z, y, x.
        size, spacing: along z, y, x, in voxels and in mm; one slice where the first size is 1.
    """
    around, n = field(anatomy, centre, size, spacing), len(centre)
    hu, numbers = values(anatomy, phases)[..., None, None, None], list(TISSUES)
    images, left = torch.zeros(len(phases), n, *size, device=centre.device), torch.ones(n, *size, device=centre.device)
    liver = torch.zeros_like(left)
    for name, cases, box, share in _layers(anatomy, around, centre, size, spacing):
        place = (slice(None) if len(cases) == n else cases, *box)
        if name in ("liver", "cava"):
            liver[place] += share if name == "liver" else -share
        share = left[place] * share                                                # what no layer before it hides
        left[place] -= share
        for image, value in zip(images, hu[cases, :, numbers.index(name)].unbind(1), strict=True):
            image[place] += share * value
    images += left * hu[:, :, numbers.index("fat")].transpose(0, 1)
    return Scene(images.transpose(0, 1), liver.clamp_min(0))


Layer = tuple[str, Tensor, tuple[slice, ...], Tensor]
"""Tissue, numbers of the cases (M,), part of the voxels, and share of each of them (M, \\*part)."""


def _layers(anatomy: Anatomy, around: Field, centre: Tensor, size: Sequence[int],
            spacing: Sequence[float]) -> Iterator[Layer]:
    """What hides what, from the front to the back."""
    far, width = around.values, spacing[-1]
    yield from _shape("air", -far["skin"], around, width)
    yield from _shape("skin", -far["skin"] - 1.5, around, width)
    yield from _ribs(around, anatomy.ribs, width)
    for name, part, under in FRONT:
        yield from _shape(name, far[part] + under, around, width)
    *vessels, mesentery = _vessels(anatomy)
    for name, curves, radii in vessels:
        yield from _tubes(name, strands(curves, radii, size, spacing, centre, width))
    for name, part, under in BACK:
        yield from _shape(name, far[part] + under, around, width)
    yield from _tubes(mesentery[0], strands(*mesentery[1:], size, spacing, centre, width))


def _shape(name: str, distance: Tensor, around: Field, width: float) -> Iterator[Layer]:
    """One part, in the cases and the voxels that it may touch."""
    cases = (distance.flatten(1).amin(1) < width).nonzero()[:, 0]
    if len(cases):
        box = around.box(distance[cases], width)
        yield name, cases, box, occupancy(around.fine(distance[cases], box), width)


def _tubes(name: str, share: Tensor) -> Iterator[Layer]:
    cases = share.flatten(1).amax(1).nonzero()[:, 0]
    if len(cases):
        yield name, cases, EVERYWHERE, share[cases]


def _vessels(anatomy: Anatomy) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Renal veins, arteries, hepatic veins, portal vein, and the small vessels of the bowel: tissue, curves, radii."""
    renal, arteries, (trunk, thick) = (_placed(anatomy, table) for table in (RENAL, ARTERIES, VEINS))
    roots = anatomy.scale.new_tensor([[[44.0, 8, -25], [-70.0, -8, 4]]]).expand(len(trunk), 2, 3)
    mouth, root = anatomy.place(roots).unbind(1)
    tree, thin = grow(trunk[:, 0, 2], anatomy.portal, 1.8)
    yield "cava", *renal
    yield "aorta", *arteries
    yield "hepatic", *grow(mouth, anatomy.hepatic, 2.3)
    yield "portal", torch.cat([trunk, tree], 1), torch.cat([thick, thin], 1)
    yield "portal", *grow(root, anatomy.mesentery, 0.9)


def _placed(anatomy: Anatomy, table: Sequence[Curve]) -> tuple[Tensor, Tensor]:
    """Curves of the average patient (N, B, 3, 3) in these patients, and their radii (N, B, 2), in mm."""
    points, radii = (anatomy.scale.new_tensor(part) for part in zip(*table, strict=True))
    count = len(anatomy.scale)
    return (anatomy.place(points.flatten(0, 1).expand(count, -1, 3)).unflatten(1, (-1, 3)), radii.expand(count, -1, 2))


def _ribs(around: Field, ribs: Tensor, width: float) -> Iterator[Layer]:
    """Ribs that fall toward the front and end there as cartilage, fewer from above to below."""
    cavity = around.values["cavity"].flatten(1)
    cases = ((cavity.amin(1) < 16 + width) & (cavity.amax(1) > -2)).nonzero()[:, 0]
    if not len(cases):
        return
    names = ("cavity", "height", "side", "front")
    chest, height, side, front = (around.fine(around.values[name][cases]) for name in names)
    turn = (height + ribs[cases, None, None, None]) / 28
    rib = torch.hypot((chest - 6) / 4, (turn - turn.round()) * 26 / 6.5) * 4.5 - 4.5
    rib = torch.maximum(torch.maximum(rib, 26 - side.abs()), front - 25)
    bony = occupancy(front + 5, 8.0)
    yield "marrow", cases, EVERYWHERE, occupancy(rib + 1.6, width) * bony
    yield "shell", cases, EVERYWHERE, occupancy(rib, width) * bony
    yield "cartilage", cases, EVERYWHERE, occupancy(rib, width)
