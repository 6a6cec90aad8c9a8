"""CT of the lung without nodules, the ground on which ``nodule`` paints: parenchyma, vessels, airways, chest wall.

Every structure is a function of the position in the patient, so a crop shows what a scan of the whole chest shows at
the same place.

What is modelled
    Lung tissue that gets denser toward the back, arteries with the bronchi beside them, veins, major fissures, pleura,
    ribs, costal cartilage, muscle, fat, skin, scapulae, sternum, spine, heart, great vessels, diaphragm with the
    liver, stomach gas; partial volume at edges; noise with the grain of a reconstruction kernel.

What is not
    Lobes and segments with their own trees, breathing and heart motion, streaks, emphysema and other diffuse disease,
    shoulders, neck, breasts, contrast agent, the scanner's own point spread beyond one voxel.

Numbers and sources
    Lung in full inspiration around -850 HU, blood 40, muscle 55, fat -100 HU (Hounsfield scale: water 0, air -1000;
    Prokop and Galanski, Spiral and Multislice CT of the Body, 2003). One last artery for each secondary pulmonary
    lobule of 10 to 25 mm, next to its bronchiole, no visible vessel in the outermost millimetres (Webb, Radiology 239,
    2006, 322-338). Radii by Murray's law (PNAS 12, 1926, 207-214). Noise: spectrum a ramp times the fall of the kernel
    (Kijewski and Judy, Phys Med Biol 32, 1987, 565-575), 25 HU at the standard dose here, as in thin slices of
    low-dose screening. Sizes of the parts are rounded from anatomy atlases.

Limits
    Made to teach and to test methods. It is not clinical evidence: a network that does well here has not been shown to
    do well on patients.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from companion.datasets.phantoms import trees
from companion.datasets.phantoms.lung_geometry import HILA, SPAN, TRACHEA, distances
from companion.datasets.phantoms.shapes import grid, occupancy, paint, uniform

BLOOD, MUSCLE, FAT, AIR = 40.0, 55.0, -100.0, -1000.0  # HU
TIPS, TIP_RADIUS = 1024, 0.62                          # last arteries of one lung, and their radius in mm
COARSE = 3.0                                           # mm between the points at which the geometry is evaluated


@dataclass(frozen=True)
class Anatomy:
    """N patients.

    Args:
        scale: (N, 3) size against the average along z, y, x.
        fat: (N,) thickness of the fat under the skin, in mm.
        air: (N,) lung tissue at mid-height, in HU.
        slope: (N,) how much denser the lung gets toward the back, in HU per mm.
        ribs: (N,) position of the ribs, in mm along the body.
        seeds: (N,) int64, for the places where the vessels end.
        waves, phases: (N, 24, 3) and (N, 24), wave vectors (per mm) and phases of the lung's texture.
    """

    scale: Tensor
    fat: Tensor
    air: Tensor
    slope: Tensor
    ribs: Tensor
    seeds: Tensor
    waves: Tensor
    phases: Tensor

    def of(self, patients: Tensor) -> "Anatomy":
        """The patients with these numbers (M,), in that order."""
        return Anatomy(*(getattr(self, f.name)[patients] for f in fields(self)))

    def to(self, device: torch.device) -> "Anatomy":
        """The same patients on another device."""
        return Anatomy(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class Scene:
    """Layers of an image, each (N, D, H, W): ``tissue`` and ``outside`` in HU, the others shares from 0 to 1."""

    tissue: Tensor
    vessels: Tensor
    walls: Tensor
    lumen: Tensor
    lung: Tensor
    outside: Tensor

    def image(self, tissue: Tensor | None = None) -> Tensor:
        """The layers on top of each other, in HU; ``tissue`` takes the place of the healthy lung tissue."""
        image = paint(self.tissue if tissue is None else tissue, self.vessels, BLOOD)
        image = paint(self.outside, self.lung, image)
        return paint(paint(image, self.walls, MUSCLE), self.lumen, AIR + 20)


def draw(n: int, generator: torch.Generator) -> Anatomy:
    """Anatomy of n patients, on the generator's device."""
    def between(low: float, high: float, *shape: int) -> Tensor:
        return uniform(n * math.prod(shape), low, high, generator).view(n, *shape)

    directions = torch.nn.functional.normalize(between(-1, 1, 24, 3), dim=-1)
    return Anatomy(scale=between(0.92, 1.08, 3), fat=between(6, 26), air=between(-885, -825), slope=between(0.1, 0.4),
                   ribs=between(0, 26), seeds=torch.randint(2 ** 40, (n,), generator=generator,
                                                        device=generator.device),
                   waves=directions * 2 * math.pi / between(12, 45, 24, 1), phases=between(0, 2 * math.pi, 24))


def render(anatomy: Anatomy, centre: Tensor, size: Sequence[int] = (48, 48, 48),
           spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Scene:
    """The layers of one crop for each patient, without noise.

    Args:
        centre: (N, 3) position of the crop's middle in the scan, in mm along z, y, x.
        size, spacing: of the crop, in voxels and in mm.
    """
    far = _fields(anatomy, centre, size, spacing)
    width = max(spacing)
    (vessels, vessel_radii), (airways, airway_radii) = tubes(anatomy)
    crop = {"size": size, "spacing": spacing, "centre": centre}
    fissure = 0.3 * occupancy(far["fissure"].abs() - 0.4, width)
    return Scene(tissue=paint(far["tissue"], fissure, 0.0), vessels=trees.strands(vessels, vessel_radii, **crop),
                 walls=trees.strands(airways, airway_radii * 1.25 + 0.3, **crop),
                 lumen=trees.strands(airways, airway_radii, **crop), lung=occupancy(far["lung"], width),
                 outside=_outside(far, anatomy, width))


def noise(seeds: Tensor, size: Sequence[int], spacing: Sequence[float], device: torch.device) -> Tensor:
    """Noise of a CT reconstruction with standard deviation 1: coarse-grained in the axial plane, smooth along z.

    Args:
        seeds: (N,) int64, one per image, so that an image has the same noise in any batch and on any device.

    Returns:
        (N, \\*size).
    """
    white = torch.stack([torch.randn(tuple(size), generator=torch.Generator().manual_seed(s))
                         for s in seeds.tolist()]).to(device)
    fy, fx = (torch.fft.fftfreq(s, d, device=device) for s, d in zip(size[1:], spacing[1:], strict=True))
    f = torch.hypot(fy[:, None], fx[: size[2] // 2 + 1].abs())                      # cycles per mm
    shape = (f + 0.02).sqrt() * torch.exp(-(f / 0.45).square())
    full = (torch.hypot(fy[:, None], fx) + 0.02) * torch.exp(-2 * (torch.hypot(fy[:, None], fx) / 0.45).square())
    grain = torch.fft.irfft2(torch.fft.rfft2(white) * shape, s=tuple(size[1:])) / full.mean().sqrt()
    above, below = grain.roll(1, 1), grain.roll(-1, 1)
    return (0.5 * above + grain + 0.5 * below) / math.sqrt(1.5)


def tubes(anatomy: Anatomy) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Vessels and airways of both lungs, as curves (N, B, 3, 3) and radii (N, B, 2) in mm; inner radii of airways."""
    arteries, veins, airways = [], [], []
    for number, side in enumerate(("right", "left")):
        artery_root, vein_root = (anatomy.scale * anatomy.scale.new_tensor(h) for h in HILA[side])
        arteries.append(trees.grow(artery_root, _tips(anatomy, 2 * number, side), TIP_RADIUS))
        veins.append(trees.grow(vein_root, _tips(anatomy, 2 * number + 1, side), TIP_RADIUS))
        airways.append(_beside(*arteries[-1]))
    airways.append(_trachea(anatomy))
    return tuple(tuple(torch.cat(parts, 1) for parts in zip(*group, strict=True))
                 for group in (arteries + veins, airways))


def _tips(anatomy: Anatomy, tree: int, side: str) -> Tensor:
    """Points spread over one lung (N, TIPS, 3): a low-discrepancy sequence (R3), shifted and jittered by chance."""
    golden = torch.tensor([0.8191725134, 0.6710436067, 0.5497004779])
    unit = torch.stack([_jitter(seed + tree) for seed in anatomy.seeds.tolist()])   # (N, 4 TIPS, 3)
    unit = ((unit + torch.arange(4 * TIPS)[:, None] * golden) % 1).to(anatomy.scale.device)
    low, high = ((-150, -100, -145), (138, 100, 5)) if side == "right" else ((-150, -100, -5), (138, 100, 145))
    points = anatomy.scale[:, None] * torch.lerp(unit.new_tensor(low), unit.new_tensor(high), unit)
    outside = distances(anatomy.scale, anatomy.fat, points)["lung"] > -4
    order = outside.int().argsort(dim=1, stable=True)[:, :TIPS, None].expand(-1, -1, 3)
    return points.gather(1, order)


def _jitter(seed: int) -> Tensor:
    """A shift for all points and a small one for each; on the CPU, so that every device gets the same tree."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(3, generator=generator) + 0.02 * torch.randn(4 * TIPS, 3, generator=generator)


def _beside(curves: Tensor, radii: Tensor) -> tuple[Tensor, Tensor]:
    """The bronchi that run next to the five thickest levels of arteries; inner radii."""
    levels = [0, 2, 6, 14, 30, 62]
    thick = torch.cat([radii[:, a:b] for a, b in zip(levels[:-1], levels[1:], strict=True)], 1)
    curves = curves[:, :62]
    parent = torch.cat([thick[:, :2, 0], thick[:, :30, 1].repeat_interleave(2, 1)], 1)
    gap = torch.stack([parent, thick.mean(-1), thick[..., 1]], -1) * 1.9            # (N, 62, 3): start, middle, end
    return curves + gap[..., None] * curves.new_tensor([0.3, -0.6, 0.74]), thick * 0.62


def _trachea(anatomy: Anatomy) -> tuple[Tensor, Tensor]:
    """Trachea and main bronchi of each patient; inner radii."""
    curves = torch.stack([anatomy.scale.new_tensor(c[:3]) for c in TRACHEA]) * anatomy.scale[:, None, None]
    return curves, anatomy.scale.new_tensor([c[3] for c in TRACHEA])[:, None].expand(len(curves), -1, 2)


def _fields(anatomy: Anatomy, centre: Tensor, size: Sequence[int], spacing: Sequence[float]) -> dict[str, Tensor]:
    """Distances and the lung tissue's HU at each voxel, evaluated on a coarse grid and interpolated between."""
    counts = [max(2, math.ceil((s - 1) * d / COARSE) + 1) for s, d in zip(size, spacing, strict=True)]
    steps = [(s - 1) * d / (c - 1) for s, d, c in zip(size, spacing, counts, strict=True)]
    points = grid(counts, steps, centre.device).flatten(0, 2) + centre[:, None]     # (N, P, 3)
    coarse = distances(anatomy.scale, anatomy.fat, points)
    waves = torch.cos(points @ anatomy.waves.transpose(1, 2) + anatomy.phases[:, None]).mean(-1)
    coarse["tissue"] = anatomy.air[:, None] + anatomy.slope[:, None] * points[..., 1] + 85 * waves
    stacked = torch.stack(list(coarse.values()), 1).unflatten(2, counts)            # (N, fields, *counts)
    fine = interpolate(stacked, size=tuple(size), mode="trilinear", align_corners=True)
    return dict(zip(coarse, fine.unbind(1), strict=True))


def _outside(far: dict[str, Tensor], anatomy: Anatomy, width: float) -> Tensor:
    """HU of everything that is not lung: fat, then what lies in it, part by part."""
    chest, shape = far["cavity"], (-1, 1, 1, 1)
    rib = (far["height"] + anatomy.ribs.view(shape)) / 26
    rib = torch.hypot((chest - 6) / 4, (rib - rib.round()) * 24 / 6.5) * 4.5 - 4.5
    rib = torch.maximum(rib, -far["side"].abs() + 16)
    muscle = torch.maximum(far["skin"] + anatomy.fat.view(shape) + 2, -chest)
    image = torch.full_like(chest, FAT)
    for distance, value in (
            (muscle, MUSCLE), ((chest - 17).abs() - 0.8, FAT), (torch.maximum(far["belly"], chest), 60), (far["gas"], -950), (far["heart"], BLOOD), (rib, 700),
            (rib + 1.6, 180), (far["scapula"], 550), (far["sternum"], 450), (far["sternum"] + 1.6, 130),
            (far["arch"], 420), (far["spine"], 450), (far["spine"] + 1.5, 170),
            (torch.maximum(far["spine"], far["disc"]), 80), (far["canal"], 15)):
        image = paint(image, occupancy(distance, width), value)
    skin = paint(image, occupancy(-far["skin"] - 1.5, width), 20.0)
    return paint(skin, occupancy(-far["skin"], width), AIR)
