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

from companion.datasets.phantoms.lung_geometry import Field, distances, field
from companion.datasets.phantoms.lung_tubes import trachea, vessels_and_bronchi
from companion.datasets.phantoms.lung_wall import AIR, BLOOD, MUSCLE, surroundings
from companion.datasets.phantoms.shapes import occupancy, paint, uniform
from companion.datasets.phantoms.trees import strands


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

    def image(self, tissue: Tensor | None = None, solid: Tensor | float = 0.0, value: Tensor | float = 0.0) -> Tensor:
        """The layers on top of each other, in HU.

        Args:
            tissue: takes the place of the healthy lung tissue.
            solid: share of something solid in the lung, painted over the vessels with the HU ``value``.
        """
        image = self.tissue if tissue is None else tissue
        for share, hu in ((self.walls, MUSCLE), (self.lumen, AIR + 20), (self.vessels, BLOOD), (solid, value)):
            image = paint(image, share, hu)
        return paint(self.outside, self.lung, image)


def draw(n: int, generator: torch.Generator) -> Anatomy:
    """Anatomy of n patients, on the generator's device."""
    def between(low: float, high: float, *shape: int) -> Tensor:
        return uniform(n * math.prod(shape), low, high, generator).view(n, *shape)

    directions = torch.nn.functional.normalize(between(-1, 1, 24, 3), dim=-1)
    return Anatomy(scale=between(0.92, 1.08, 3), fat=between(6, 26), air=between(-885, -825), slope=between(0.1, 0.4),
                   ribs=between(0, 26), seeds=torch.randint(2 ** 40, (n,), generator=generator,
                                                        device=generator.device),
                   waves=directions * 2 * math.pi / between(12, 45, 24, 1), phases=between(0, 2 * math.pi, 24))


def render(anatomy: Anatomy, patients: Tensor, centre: Tensor, size: Sequence[int] = (48, 48, 48),
           spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> Scene:
    """The layers of N crops, without noise.

    Args:
        patients: (N,) the number of each crop's patient in ``anatomy``.
        centre: (N, 3) position of the crop's middle in the scan, in mm along z, y, x.
        size, spacing: of the crop, in voxels and in mm.
    """
    present, among = patients.unique(return_inverse=True)
    vessels, (bronchi, inner) = (tuple(t[among] for t in tubes) for tubes in vessels_and_bronchi(
        anatomy.scale[present], anatomy.seeds[present]))
    anatomy = anatomy.of(patients)
    around, width = field(anatomy.scale, anatomy.fat, centre, size, spacing), max(spacing)
    crop = {"size": size, "spacing": spacing, "centre": centre}
    windpipe, bore = trachea(anatomy.scale)
    outside = surroundings(around, anatomy.fat, anatomy.ribs, width)
    outside = paint(outside, strands(windpipe, bore * 1.2, **crop), MUSCLE)
    return Scene(tissue=_tissue(anatomy, around, width), vessels=strands(*vessels, **crop),
                 walls=strands(bronchi, inner * 1.25 + 0.3, **crop), lumen=strands(bronchi, inner, **crop),
                 lung=occupancy(around.fine(around.values["lung"]), width),
                 outside=paint(outside, strands(windpipe, bore, **crop), AIR + 20))


def _tissue(anatomy: Anatomy, around: Field, width: float) -> Tensor:
    """Lung tissue in HU (N, \\*size): denser toward the back, uneven, with the thin line of the major fissure."""
    points = around.points.flatten(1, 3)
    waves = torch.cos(points @ anatomy.waves.transpose(1, 2) + anatomy.phases[:, None]).mean(-1)
    tissue = anatomy.air[:, None] + anatomy.slope[:, None] * points[..., 1] + 85 * waves
    fissure = around.fine(around.values["fissure"])
    return paint(around.fine(tissue.view(around.points.shape[:-1])), 0.3 * occupancy(fissure.abs() - 0.4, width), 0.0)


def depth(anatomy: Anatomy, points: Tensor) -> tuple[Tensor, Tensor]:
    """How deep points lie in the lung, and which way out is nearest.

    Args:
        points: (N, P, 3) in mm, P points of each patient.

    Returns:
        depth (N, P) in mm, negative outside of the lung; unit vectors (N, P, 3) along which it falls fastest.
    """
    n, p = points.shape[:2]
    steps = torch.cat([torch.zeros(1, 3), torch.eye(3)]).to(points)
    around = (points[:, :, None] + steps).flatten(1, 2)                             # (N, 4 P, 3)
    inside = -distances(anatomy.scale, anatomy.fat, around)["lung"].view(n, p, 4)
    return inside[..., 0], torch.nn.functional.normalize(inside[..., :1] - inside[..., 1:], dim=-1)


def at_depth(anatomy: Anatomy, points: Tensor, wanted: Tensor) -> Tensor:
    """The points (N, P, 3) moved straight out or in until they lie ``wanted`` (N, P) mm deep in the lung, or nearly."""
    for _ in range(4):
        found, out = depth(anatomy, points)
        points = points + (found - wanted)[..., None] * out
    return points


def noise(seeds: Tensor, size: Sequence[int], spacing: Sequence[float], device: torch.device) -> Tensor:
    """Noise of a CT reconstruction with standard deviation 1: coarse-grained in the axial plane, smooth along z.

    Args:
        seeds: (N,) int64, one per image, so that an image has the same noise in any batch and on any device.

    Returns:
        (N, \\*size).
    """
    white = torch.stack([torch.randn(tuple(size), generator=torch.Generator().manual_seed(s))
                         for s in seeds.tolist()]).to(device)
    z, y, x = (torch.fft.fftfreq(s, d, device=device) for s, d in zip(size, spacing, strict=True))   # cycles per mm
    f = torch.hypot(y[:, None], x)
    shape = (f + 0.02).sqrt() * torch.exp(-(f / 0.45).square()) * torch.exp(-(z / 0.35).square())[:, None, None]
    shape = shape / shape.square().mean().sqrt()
    return torch.fft.irfftn(torch.fft.rfftn(white, dim=(1, 2, 3)) * shape[..., : size[2] // 2 + 1], s=tuple(size),
                            dim=(1, 2, 3))
