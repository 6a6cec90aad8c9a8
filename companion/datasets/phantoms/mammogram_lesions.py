"""Shapes of what is found in a mammogram: masses, calcifications, and what can be mistaken for a mass.

All findings are made of the same parts: up to three rounded bodies (one of which may be taken away, as the fat in a
lymph node), thin lines that radiate, and small balls of calcium. ``KINDS`` names what is drawn, ``draw`` its looks.

Sources: shape, margin and density of masses, form and distribution of calcifications, and their likelihood of cancer as
in the fifth edition of BI-RADS (D'Orsi et al., ACR, 2013): oval, circumscribed, low density benign; irregular,
spiculated, high density malignant; round, scattered, ring-shaped or along vessels benign; fine pleomorphic, fine linear
or branching malignant. The chances and sizes themselves are chosen, not fitted; the kinds overlap on purpose.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.datasets.phantoms.shapes import rotation, uniform

KINDS = ("benign mass", "malignant mass", "benign calcifications", "malignant calcifications", "summation",
         "lymph node", "skin calcifications", "vessel calcifications", "plain tissue")
"""The first two are masses, the first four lesions; the others may be taken for one. Summation is tissue that overlaps
in the projection, plain tissue adds nothing to what is there."""

MASSES, LESIONS = 2, 4
BODIES, WAVES, SPICULES, SPECKS = 3, 7, 30, 48
DIRECTIONS = 256                    # in which a margin is computed
MEDIAN = (14.0, 16.0, 22.0, 14.0, 20.0, 13.0, 16.0, 30.0, 16.0)       # diameter of each kind in mm
SPREAD = (0.32, 0.32, 0.25, 0.30, 0.25, 0.20, 0.25, 0.15, 0.30)       # standard deviation of its logarithm


@dataclass(frozen=True)
class Lesion:
    """M findings, in mm from their own middle, as (y, x) with x toward the nipple.

    Args:
        kinds: (M,) numbers of ``KINDS``; diameters: (M,).
        places, radii: (M, 3, 2) of the bodies along y and x before they are turned; radius 0 for none.
        turns: (M, 3) in radians; heights: (M, 3) thickness along the ray in the middle, negative to take away.
        edges: (M, 3) softness of the margin: 0 for that of a ball, 1 for one that fades out.
        waves: (M, 7, 2) cosine and sine parts of the margin's 2nd to 8th undulation, as a share of the radius.
        attenuation: (M,) coefficient of the bodies, in 1/mm.
        spicules: (M, 30, 3, 2) start, control point and end; spicule_radii: (M, 30, 2), 0 for none.
        specks: (M, 48, 2) places of the calcium; speck_radii: (M, 48), 0 for none.
    """

    kinds: Tensor
    diameters: Tensor
    places: Tensor
    radii: Tensor
    turns: Tensor
    heights: Tensor
    edges: Tensor
    waves: Tensor
    attenuation: Tensor
    spicules: Tensor
    spicule_radii: Tensor
    specks: Tensor
    speck_radii: Tensor

    def of(self, index: Tensor) -> "Lesion":
        """The findings with these numbers, in that order."""
        return Lesion(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device) -> "Lesion":
        """The same findings on another device."""
        return Lesion(*(getattr(self, f.name).to(device) for f in fields(self)))


def draw(kinds: Tensor, generator: torch.Generator, diameter: float = 1.0) -> Lesion:
    """The looks of findings of the given kinds (M,), whose diameters in mm are log-normal, times ``diameter``."""
    m, device = len(kinds), kinds.device
    median, spread = torch.tensor([MEDIAN, SPREAD], device=device)[:, kinds]
    across = median * (spread * torch.randn(m, generator=generator, device=device).clamp(-2, 2)).exp() * diameter
    margin = uniform(m, 0, 1, generator)
    malignant = kinds == 1
    spiked = torch.where(malignant, margin < 0.6, (kinds == 0) & (margin < 0.04))
    rough = torch.where(malignant, margin < 0.93, (kinds == 0) & (margin < 0.14))
    bodies = _bodies(kinds, across, rough, generator)
    spicules, thick = _spicules(across, spiked, generator)
    specks, sizes = _specks(kinds, across, generator)
    amplitude = torch.where(rough, 0.10, torch.where(margin < 0.45, 0.05, 0.015))
    order = torch.arange(2, 2 + WAVES, device=device)
    fall = torch.where(rough[:, None], (2 / order.clamp_min(3)) ** 0.7, (2 / order) ** 1.5 * (order < 6))
    waves = torch.randn(m, WAVES, 2, generator=generator, device=device) * (amplitude[:, None] * fall)[..., None]
    waves = waves * ((kinds < 2) | (kinds == 4))[:, None, None]
    low, high = torch.where(malignant, 0.0820, 0.0770), torch.where(malignant, 0.0860, 0.0805)
    return Lesion(kinds=kinds, diameters=across, **bodies, waves=waves,
                  attenuation=low + (high - low) * uniform(m, 0, 1, generator), spicules=spicules, spicule_radii=thick,
                  specks=specks, speck_radii=sizes)


def _bodies(kinds: Tensor, across: Tensor, rough: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Round or oval masses; a bean with fat in its notch for lymph nodes; crossing bands for summation."""
    m, device = len(kinds), kinds.device
    kind, r = kinds[:, None], across[:, None] / 2

    def some(low: float, high: float) -> Tensor:
        return uniform(m * BODIES, low, high, generator).view(m, BODIES)

    mass, node, band = kind < 2, kind == 5, kind == 4
    first = torch.arange(BODIES, device=device) == 0
    second = torch.arange(BODIES, device=device) == 1
    oval, slim = some(0.65, 0.97), some(0.22, 0.42)
    short = torch.where(band, slim, torch.where(node, torch.where(first, 0.6, 0.45), oval))
    long = torch.where(node & second, 0.62 * r, r * (band * 0.25 + 1) / torch.where(band, 1.0, short.sqrt()))
    present = (mass & first) | (node & (first | second)) | band
    radii = torch.stack([short * long, long], -1) * present[..., None]
    turns = torch.where(node, some(-0.9, 0.9)[:, :1], some(0, math.pi))
    along = torch.stack([torch.where(node & second, 0.42 * r, 0.0), 0 * short], -1)
    offset = (rotation(turns.flatten()).view(m, BODIES, 2, 2).transpose(-1, -2) @ along[..., None])[..., 0]
    scatter = torch.stack([some(-0.35, 0.35), some(-0.35, 0.35)], -1) * (band * r)[..., None]
    flat = torch.where(kind == 1, some(0.9, 1.15), torch.where(band, some(0.30, 0.55), some(0.55, 0.85)))
    heights = 2 * r * flat * short.clamp_min(0.5) * torch.where(node & second, -0.85, 1.0)
    edges = torch.where(rough[:, None] & (kind == 1), some(0.1, 0.7), torch.where(band, some(0.5, 1.0), 0.0))
    edges = torch.where((kind == 0) & rough[:, None] | node & second, some(0.2, 0.6), edges)
    return {"places": offset + scatter, "radii": radii, "turns": turns, "heights": heights, "edges": edges}


def _spicules(across: Tensor, spiked: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Fine lines that leave the margin in all directions, a little bent."""
    m, device = len(across), across.device

    def some(low: float, high: float) -> Tensor:
        return uniform(m * SPICULES, low, high, generator).view(m, SPICULES)

    angle, r = some(0, 2 * math.pi), across[:, None] / 2
    toward = torch.stack([angle.sin(), angle.cos()], -1)
    end = toward * (r * some(1.1, 2.0) + 2)[..., None]
    start = toward * (0.7 * r)[..., None]
    bend = torch.randn(m, SPICULES, 2, generator=generator, device=device) * 0.05 * r[..., None]
    curves = torch.stack([start, (start + end) / 2 + bend, end], 2)
    count = uniform(m, 16, SPICULES, generator)[:, None]
    present = spiked[:, None] & (torch.arange(SPICULES, device=device) < count)
    return curves, torch.stack([some(0.35, 0.8), some(0.08, 0.2)], -1) * present[..., None]


def _specks(kinds: Tensor, across: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Calcium of each kind: places (M, 48, 2) and radii (M, 48) in mm."""
    m, device = len(kinds), kinds.device
    form = _form(kinds, generator)
    number = torch.arange(SPECKS, device=device)
    ball = torch.randn(m, SPECKS, 2, generator=generator, device=device) * 0.27 * across[:, None, None]
    chance, size, angle = (uniform(m * SPECKS, 0, 1, generator).view(m, SPECKS) for _ in range(3))
    count = uniform(m, 0, 1, generator)[:, None]
    heading = uniform(m, -0.6, 0.6, generator)[:, None]
    near = 0.35 * torch.stack([(2 * math.pi * angle).sin(), (2 * math.pi * angle).cos()], -1)
    pleomorphic = 0.75 * torch.cat([ball[:, ::2], ball[:, ::2]], 1) + near * (number >= SPECKS // 2)[:, None]
    branching = _turned(_branches(across, number, size), heading)
    around = number % 10 * (2 * math.pi / 10)
    rings = 1.5 * ball[:, number // 10 * 10] + 0.85 * torch.stack([around.sin(), around.cos()], -1)
    rails = _turned(_rails(across, number), heading + 1.2)
    clump = 0.35 * ball
    places = torch.stack([ball, clump, pleomorphic, branching, rings, rails], 1)[torch.arange(m), form]
    radii = _speck_radii(number, count, chance, size)[torch.arange(m), form]
    extra = (kinds == 1) & (count[:, 0] > 0.75)                                     # calcium in a cancer
    popcorn = (kinds == 0) & (count[:, 0] > 0.85)                                   # or in a fibroadenoma
    calcified = (kinds == 2) | (kinds == 3) | (kinds == 6) | (kinds == 7) | extra | popcorn
    return places, radii * calcified[:, None]


def _speck_radii(number: Tensor, count: Tensor, chance: Tensor, size: Tensor) -> Tensor:
    """Radii in mm of the balls of each form (M, 6, 48), from random ``count`` (M, 1), ``chance``, ``size`` (M, 48)."""
    forms = ((number < 5 + 9 * count, 0.28 + 0.15 * size), (number < 4 + 4 * count, 0.5 + 0.7 * size),
             (number % 24 < 9 + 15 * count, 0.12 + 0.28 * size), (chance < 0.65 + 0.35 * count, 0.17 + 0.18 * size),
             (number < 10 * (1 + 3 * count).floor(), 0.26 + 0.05 * size), (chance < 0.75, 0.22 + 0.22 * size))
    return torch.stack([torch.where(present, radius, 0.0) for present, radius in forms], 1)


def _form(kinds: Tensor, generator: torch.Generator) -> Tensor:
    """0 round, 1 popcorn, 2 pleomorphic, 3 linear branching, 4 rings, 5 along a vessel (M,)."""
    either = uniform(len(kinds), 0, 1, generator)
    benign = torch.where(either < 0.8, 0, 2)                                        # some look suspicious
    malignant = torch.where(either < 0.55, 2, torch.where(either < 0.9, 3, 0))
    form = torch.where(kinds == 2, benign, torch.where(kinds == 3, malignant, torch.where(kinds == 0, 1, 2)))
    return torch.where(kinds == 6, 4, torch.where(kinds == 7, 5, form))


def _branches(across: Tensor, number: Tensor, jitter: Tensor) -> Tensor:
    """Balls along a duct that splits in three (M, S, 2)."""
    part, t = number % 4, (number // 4) / (SPECKS // 4 - 1)
    t = t + 0.05 * (jitter - 0.5)
    slope = torch.tensor([0.0, 0.55, -0.15, -0.6], device=number.device)[part]
    x = torch.where(part == 0, t - 1, t) * 0.62
    y = torch.where(part == 0, 0.12 * (3 * t).sin(), slope * t + 0.12 * (3 * t).sin() * (1 - t))
    return torch.stack([y, x], -1) * across[:, None, None]


def _rails(across: Tensor, number: Tensor) -> Tensor:
    """Balls in two parallel, winding rows: the walls of an artery (M, S, 2)."""
    side, t = (number % 2) * 2 - 1, (number // 2) / (SPECKS // 2 - 1) - 0.5
    x, y = t * across[:, None], 0.10 * across[:, None] * (7 * t).sin() + 0.9 * side
    return torch.stack([y, x], -1)


def _turned(places: Tensor, angle: Tensor) -> Tensor:
    return places @ rotation(angle[:, 0]).transpose(1, 2)


def bodies(lesion: Lesion, away_y: Tensor, away_x: Tensor) -> tuple[Tensor, Tensor]:
    """Thickness of the bodies along the rays in mm, and where the first of them is.

    Args:
        away_y: (M, K), away_x: (M, K), positions of the pixels from the finding's middle in mm.

    Returns:
        (M, K, K) float, not negative, and (M, K, K) bool.
    """
    shape = (-1, 1, 1)
    total, first = 0.0, None
    for i in range(BODIES):
        y = away_y[:, :, None] - lesion.places[:, i, 0].view(shape)
        x = away_x[:, None, :] - lesion.places[:, i, 1].view(shape)
        c, s = lesion.turns[:, i].cos().view(shape), lesion.turns[:, i].sin().view(shape)
        radii = lesion.radii[:, i].clamp_min(1e-3)
        v, u = (c * y - s * x) / radii[:, 0].view(shape), (s * y + c * x) / radii[:, 1].view(shape)
        square = v.square() + u.square()
        if i == 0:
            square = square / _margin(lesion.waves, v, u).square()
            first = (square < 1) & (lesion.radii[:, 0, 0] > 0).view(shape)
        ball = (1 - square).clamp_min(0)
        profile = ball.sqrt() * (1 + lesion.edges[:, i].view(shape) * (ball - 1))
        total = total + lesion.heights[:, i].view(shape) * profile
    return total.clamp_min(0), first


def _margin(waves: Tensor, v: Tensor, u: Tensor) -> Tensor:
    """Radius of the undulating margin in the direction of each pixel, as a share of the plain one's."""
    angles = torch.arange(DIRECTIONS, device=v.device) * (2 * math.pi / DIRECTIONS)
    turns = torch.arange(2, 2 + WAVES, device=v.device)[:, None] * angles
    table = (1 + waves.flatten(1) @ torch.stack([turns.cos(), turns.sin()], 1).flatten(0, 1)).clamp(0.65, 1.4)
    place = (torch.atan2(v, u) * (DIRECTIONS / (2 * math.pi))).round().long() % DIRECTIONS
    return table.gather(1, place.flatten(1)).view_as(v)


def reach(lesion: Lesion) -> Tensor:
    """Distance in mm from the finding's middle within which its bodies lie (M,)."""
    swell = (1 + lesion.waves.norm(dim=-1).sum(-1)).clamp_max(1.4)
    return (lesion.places.norm(dim=-1) + lesion.radii.amax(-1) * swell[:, None]).amax(-1)
