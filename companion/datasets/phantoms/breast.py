"""The breast in a mammogram, mediolateral oblique view: anatomy, X-ray projection, brightness on the screen.

What is modelled
    One compressed breast from the axilla to the fold below it: outline, skin, nipple; the pectoral muscle as a wedge;
    fat; gland behind the nipple in one of four density categories (BI-RADS a to d); ducts that converge on the nipple,
    Cooper's ligaments, vessels. The gland's texture is a Gaussian field with power-law spectrum, one part of it drawn
    out along lines toward the nipple, passed through smooth steps that make islands. For each ray the model knows the
    mm of skin, fat, gland and muscle; Beer and Lambert's law and photon noise follow; then what a workstation does:
    logarithm, compensation of the thin edge, sigmoid curve. Left and right breast of a patient are alike, not equal.

What is not
    The third dimension (tissue is drawn as thickness along the ray), the second view, the spectrum of the tube (one
    energy, 20 keV), scatter, blur of focus and detector, implants, scars, motion, compression paddle, markers.

Numbers and sources
    Attenuation at 20 keV: fat 0.0456, gland 0.0802 per mm (Johns and Yaffe, Physics in Medicine and Biology 32, 1987,
    675-695); muscle and skin a little above gland. Thickness about 56 mm (Yaffe et al., Medical Physics 36, 2009,
    5437-5443: mean 59, standard deviation 16, and a mean share of gland with skin of 19 %). Shares of the four
    categories 10, 40, 40, 10 % (D'Orsi et al., ACR BI-RADS Atlas, 5th edition, 2013). Texture: power near 1 / f^3
    (Burgess, Jacobson and Judy, Medical Physics 28, 2001, 419-437). Display: the SIGMOID curve of DICOM PS3.3,
    C.11.2.1.3.1. Anatomical distances are plausible and chosen by us.

Limits
    Pixels are 1.25 mm at the default size of the mammogram, ten times those of a detector. It is not clinical evidence.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from companion.datasets.phantoms.breast_geometry import HEIGHT, Shape, depths, positions
from companion.datasets.phantoms.breast_lines import deposit, lines
from companion.datasets.phantoms.breast_texture import FIELD, texture
from companion.datasets.phantoms.shapes import occupancy, uniform

FAT, GLAND, MUSCLE, SKIN = 0.0456, 0.0802, 0.0810, 0.0850
"""Attenuation coefficients at 20 keV in 1/mm."""

SKIN_WIDTH = 1.5
"""Of the skin, in mm."""

PHOTONS = 3e5
"""Photons counted per mm2 behind a breast of fat alone, at dose 1; the order of 0.1 mGy at the detector."""

LEVEL, WIDTH = 0.48, 1.35
"""Centre and width of the display curve, in line integral above that of the breast, were it all fat."""

PERIPHERY = 0.70
"""Share of the missing fat at the thin edge that the processing makes up for."""

CATEGORIES = ("a", "b", "c", "d")
"""Categories of BI-RADS density, almost entirely fatty, scattered gland, heterogeneously dense, extremely dense."""

PREVALENCE = (0.10, 0.40, 0.40, 0.10)
ISLANDS = (-2.0, -1.1, 0.4, 1.8)    # offset of the texture, in standard deviations: how much of it becomes gland
PEAK = ((0.22, 0.32), (0.26, 0.38), (0.30, 0.42), (0.36, 0.50))     # share of gland in an island, from and to
EXTENT = ((0.8, 1.0), (0.9, 1.1), (0.95, 1.15), (1.0, 1.2))         # of the region that holds it
DUCTS, VESSELS, LIGAMENTS = LINES = (12, 5, 56)
LIGAMENT_DEPTH = 2.5                # mm, along the ray


@dataclass(frozen=True)
class Anatomy:
    """N breasts.

    Args:
        shape: outline, muscle, region of the gland.
        left: (N,) bool, left breast or right.
        density: (N,) numbers of ``CATEGORIES``.
        peak: (N,) share of gland in its densest parts.
        lines: (N, 73, 3, 2) ducts, vessels, ligaments by start, control point and end, as (y, x) in mm; line_radii:
            (N, 73, 2) in mm at start and end.
        seeds: (N,) of texture and noise.
    """

    shape: Shape
    left: Tensor
    density: Tensor
    peak: Tensor
    lines: Tensor
    line_radii: Tensor
    seeds: Tensor

    def of(self, index: Tensor) -> "Anatomy":
        """The breasts with these numbers (M,), in that order."""
        return Anatomy(*(v.of(index) if isinstance(v, Shape) else v[index] for v in _values(self)))

    def to(self, device: torch.device) -> "Anatomy":
        """The same breasts on another device."""
        return Anatomy(*(v.to(device) for v in _values(self)))


def _values(anatomy: Anatomy) -> list:
    return [getattr(anatomy, f.name) for f in fields(anatomy)]


@dataclass(frozen=True)
class Scene:
    """What the rays pass, each (N, H, W) in mm, for breasts that point to the right.

    Args:
        depth: distance from the skin, positive inside; muscle_depth: from the pectoral muscle's border likewise.
        thickness: of all tissue along the ray, of which ``skin``, ``muscle``, ``gland``; the rest is fat.
    """

    depth: Tensor
    muscle_depth: Tensor
    thickness: Tensor
    skin: Tensor
    muscle: Tensor
    gland: Tensor

    def line_integral(self) -> Tensor:
        """Attenuation along the ray, without unit (N, H, W)."""
        fat = self.thickness - self.skin - self.muscle - self.gland
        return FAT * fat + GLAND * self.gland + MUSCLE * self.muscle + SKIN * self.skin


def draw(n: int, generator: torch.Generator, density: int | None = None) -> Anatomy:
    """n breasts, the left and the right one of each patient in turn.

    Args:
        density: number of the category of all; by default drawn as ``PREVALENCE`` says, the same for both sides.

    Raises:
        ValueError: where the density is not 0 to 3.
    """
    if density not in (None, *range(len(CATEGORIES))):
        raise ValueError(f"the density is {density}, but must be 0, 1, 2 or 3 for the categories a to d")
    pairs = (n + 1) // 2
    drawn = torch.multinomial(torch.tensor(PREVALENCE, device=generator.device).expand(pairs, -1), 1,
                              generator=generator)[:, 0].repeat_interleave(2)[:n]
    density = drawn if density is None else torch.full_like(drawn, density)
    shape = _shape(pairs, density, generator)
    drawn = [_ducts(shape, generator), _vessels(shape, generator), _ligaments(shape, generator)]
    curves, radii = (torch.cat(p, 1) for p in zip(*drawn, strict=True))
    low, high = torch.tensor(PEAK, device=density.device)[density].unbind(1)
    return Anatomy(shape=shape, left=torch.arange(n, device=density.device) % 2 == 0, density=density,
                   peak=low + (high - low) * uniform(n, 0, 1, generator), lines=curves, line_radii=radii,
                   seeds=torch.randint(2 ** 40, (n,), generator=generator, device=density.device))


def _shape(pairs: int, density: Tensor, generator: torch.Generator) -> Shape:
    n = len(density)

    def both(mean: float, spread: float, apart: float) -> Tensor:
        """Normal, cut off at two standard deviations, alike on both sides but for ``apart``."""
        own = torch.randn(pairs, generator=generator, device=generator.device).clamp(-2, 2)
        side = torch.randn(n, generator=generator, device=generator.device).clamp(-2, 2)
        return mean + spread * own.repeat_interleave(2)[:n] + apart * side

    low, high = torch.tensor(EXTENT, device=density.device)[density].unbind(1)
    length, nipple = both(100, 11, 2.5), both(137, 9, 3)
    return Shape(nipple=nipple, length=length, up=both(280, 25, 4), down=length * both(0.72, 0.05, 0.02),
                 axilla=both(6, 3, 1), fold=both(9, 4, 2), thickness=both(56, 9, 1.5), muscle_width=both(58, 8, 3),
                 muscle_height=nipple * both(0.92, 0.09, 0.03), muscle_bow=both(4, 3, 1),
                 muscle_share=both(0.29, 0.04, 0.015), extent=low + (high - low) * uniform(n, 0, 1, generator),
                 tilt=both(0.45, 0.12, 0.05), cover=both(10, 2, 1))


def _ducts(shape: Shape, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ducts that fan out behind the nipple."""
    n, device, s = len(shape.nipple), shape.nipple.device, shape.beside(1)
    angle = 0.7 * s.tilt + torch.linspace(-1, 1, DUCTS, device=device) + 0.12 * torch.randn(
        n, DUCTS, generator=generator, device=device)
    toward = torch.stack([-angle.sin(), -angle.cos()], -1)
    start = torch.stack([s.nipple, s.length - 2], -1)
    far = (uniform(n * DUCTS, 0.35, 0.8, generator).view(n, DUCTS) * s.length)[..., None]
    radii = torch.tensor([0.8, 0.25], device=device).expand(n, DUCTS, 2)
    return _bent(start + 3 * toward, start + far * toward, 0.08, generator), radii


def _vessels(shape: Shape, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Vessels that come from the axilla."""
    n, s = len(shape.nipple), shape.beside(1)

    def some(low: float, high: float) -> Tensor:
        return uniform(n * VESSELS, low, high, generator).view(n, VESSELS)

    high = torch.stack([some(-30, -4), some(10, 85)], -1)
    low = torch.stack([s.nipple + some(-60, 55), s.length + some(-57, -14)], -1)
    return _bent(high, low, 0.16, generator), torch.stack([some(0.9, 1.5), some(0.3, 0.7)], -1)


def _ligaments(shape: Shape, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cooper's ligaments: thin arcs from the gland to the skin."""
    n, device = len(shape.nipple), shape.nipple.device
    angle = uniform(n * LIGAMENTS, -1.25, 1.4, generator).view(n, LIGAMENTS)
    s = shape.beside(1)
    radius = torch.where(angle < 0, s.up, s.down)
    outer = torch.stack([s.nipple + radius * angle.sin(), (s.length + 15) * angle.cos() - 15], -1)
    middle = torch.stack([s.nipple - 0.1 * s.length, 0.5 * s.length], -1)
    share = uniform(n * LIGAMENTS, 0.12, 0.42, generator).view(n, LIGAMENTS, 1)
    inner = outer + share * (middle - outer)
    slip = 6 * torch.randn(n, LIGAMENTS, 2, generator=generator, device=device)
    curves = _bent(inner + slip, outer + 0.04 * (middle - outer), 0.12, generator)
    thick = uniform(n * LIGAMENTS, 0.2, 0.45, generator).view(n, LIGAMENTS, 1)
    return curves, torch.cat([thick, 0.6 * thick], -1)


def _bent(start: Tensor, end: Tensor, bow: float, generator: torch.Generator) -> Tensor:
    """Curves (N, S, 3, 2) from start to end (N, S, 2), bent sideways by about ``bow`` of their length."""
    way = end - start
    side = torch.stack([-way[..., 1], way[..., 0]], -1)
    bend = bow * torch.randn(*way.shape[:-1], 1, generator=generator, device=way.device)
    return torch.stack([start.expand_as(end), (start + end) / 2 + bend * side, end], -2)


def render(anatomy: Anatomy, size: Sequence[int]) -> Scene:
    """The tissue that each ray passes, in images of the given size that are 240 mm high."""
    s = anatomy.shape.beside(2)
    skin, nipple, muscle, region = depths(anatomy.shape, size, anatomy.seeds.device).unbind(1)
    full = _rounded(skin, s.thickness)
    inner = _rounded(skin - SKIN_WIDTH, s.thickness - 2 * SKIN_WIDTH)
    deep = muscle.clamp_min(0)
    edge = occupancy(-muscle, max(HEIGHT / size[0], 2.0))
    flesh = s.muscle_share * inner * (0.62 * edge + 0.38 * deep / (deep + 14))      # thicker away from its border
    room = inner - flesh
    gland = (_share(anatomy, region, size) * room + _drawn(anatomy, size)).minimum(room)
    bump = (16 * (nipple.clamp(0, 5) / 5).sqrt() - full).clamp_min(0)
    return Scene(depth=torch.maximum(skin, nipple), muscle_depth=muscle, thickness=full + bump, skin=full - inner,
                 muscle=flesh, gland=gland + bump)


def _rounded(depth: Tensor, thickness: Tensor) -> Tensor:
    """Thickness in mm of a compressed breast, whose free edge is round, at a distance from the skin."""
    share = (depth / (0.42 * thickness)).clamp(0, 1)
    return thickness * (share * (2 - share)).sqrt()


def _share(anatomy: Anatomy, region: Tensor, size: Sequence[int]) -> Tensor:
    """Share of gland along each ray (N, H, W): islands in its region, a fine web, a little everywhere."""
    even = texture(anatomy.seeds, size[0], region.device)
    even = even[:, :, torch.arange(size[1], device=region.device) % even.shape[2]]
    radial = _radial(anatomy, size)
    bias = torch.tensor(ISLANDS, device=region.device)[anatomy.density].view(-1, 1, 1)
    inside = torch.sigmoid((region + 6 * even) / 4.5)
    islands = torch.sigmoid(1.5 * (0.9 * even + 0.7 * radial + bias))
    web = 1 / (1 + (radial / 0.15).square())
    share = anatomy.peak.view(-1, 1, 1) * inside * islands
    share = share + (0.02 + 0.04 * inside) * web + 0.05 + 0.02 * (radial + even).clamp(-2, 4)
    return share.clamp(0, 0.95)


def _drawn(anatomy: Anatomy, size: Sequence[int]) -> Tensor:
    """Thickness of ducts, vessels and ligaments (N, H, W) in mm."""
    step, (curves, radii), n = HEIGHT / size[0], (anatomy.lines, anatomy.line_radii), len(anatomy.seeds)
    kinds = ({"longest": 100.0, "widest": 0.8}, {"longest": 180.0, "widest": 1.5},
             {"longest": 40.0, "widest": 0.45, "sheet": LIGAMENT_DEPTH})
    parts = [lines(c, r, step, **kind) for c, r, kind in zip(
        curves.split(LINES, 1), radii.split(LINES, 1), kinds, strict=True)]
    points, volumes = (torch.cat(p, 1) for p in zip(*parts, strict=True))
    return deposit(points, volumes, torch.arange(n, device=points.device), n, size, step)


def _radial(anatomy: Anatomy, size: Sequence[int]) -> Tensor:
    """Texture (N, H, W) drawn out along the lines that converge on the nipple; made at half the resolution."""
    half, s = [math.ceil(side / 2) for side in size], anatomy.shape.beside(2)
    plain = texture(anatomy.seeds + 1, half[0], anatomy.seeds.device)
    y, x = positions(half, plain.device)
    down, back = y - s.nipple, s.length - x
    across, along = FIELD[1] / 2, FIELD[0] / 2
    place = torch.stack([torch.hypot(down, back) / (3.5 * across) - 0.9, torch.atan2(down, back) * 45 / along], -1)
    drawn = grid_sample(plain[:, None], place, align_corners=False, padding_mode="reflection")
    return interpolate(drawn, size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def noise(anatomy: Anatomy, integral: Tensor, dose: float) -> Tensor:
    """Photon noise of the line integrals (N, H, W), from each breast's seed; dose 1 is the usual one.

    The counts are so many that their Poisson scatter is Gaussian: the logarithm of n counts scatters by 1 / sqrt(n).
    """
    step = HEIGHT / integral.shape[1]
    white = torch.stack([torch.randn(integral.shape[1:], generator=torch.Generator().manual_seed(s + 2))
                         for s in anatomy.seeds.tolist()]).to(integral.device)
    sent = FAT * anatomy.shape.thickness.view(-1, 1, 1) + math.log(dose * PHOTONS * step ** 2)
    return white * ((integral - sent) / 2).exp()


def brightness(integral: Tensor, scene: Scene, thickness: Tensor) -> Tensor:
    """Line integrals (N, H, W) to what the screen shows, 0 black to 1 white.

    Args:
        thickness: (N, 1, 1) of each breast where it is thickest, in mm.
    """
    edge = FAT * PERIPHERY * (thickness - scene.thickness)
    return torch.sigmoid(4 * (integral + edge - FAT * thickness - LEVEL) / WIDTH)
