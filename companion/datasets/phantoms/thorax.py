"""Line integrals through a thorax without disease, the ground on which ``chest`` shows its signs.

Positions are in mm along (z, y, x) from the middle of the field: z to superior, y to posterior, x to the patient's
left, which is image right. All rays run along y. The parts are described for an average adult in full inspiration;
each patient stretches them by three factors, and has one of many skeletons and, for each lung, of many vessel trees.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.datasets.phantoms import thorax_bones, thorax_lungs, thorax_vessels
from companion.datasets.phantoms.shapes import uniform
from companion.datasets.phantoms.thorax_projection import axes, ball, stamp, warp

FIELD = 370.0
"""Extent of the square field along z and x, in mm."""

MUSCLE, FAT, BLOOD, LUNG, CALCIUM = 0.0215, 0.0188, 0.0218, 0.0049, 0.045
"""Attenuation coefficients in 1/mm at 60 keV; the last beyond what it replaces."""

SKELETONS, TREES = 16, 32
SPOTS = ((90.0, 0.0, -33.0), (90.0, 0.0, 33.0), (-20.0, 0.0, -70.0), (40.0, 0.0, 80.0))
"""Places of calcified spots, in cartilage of the first ribs, scars in the lungs; in mm."""


@dataclass(frozen=True)
class Anatomy:
    """N patients.

    Args:
        scale: (N, 3) size against the average along z, y, x.
        shift: (N, 3) of the patient in the field, in mm; 0 along y.
        fat: (N,) thickness of the fat under the skin, in mm.
        breasts: (N,) their thickness, in mm; 0 for none.
        lung: (N,) attenuation coefficient of the lung, in 1/mm.
        heart: (N,) its width against the average.
        aorta: (N,) how far the arch stands out, from 0 (young) to 1 (old).
        right, left: (N,) height of the dome of the diaphragm against the average, in mm.
        gas: (N,) size of the stomach's air bubble against the average.
        spots: (N, 4) radii of the calcified ``SPOTS`` in mm, 0 for none.
        skeleton: (N,) number of the bones; trees: (N, 2) of the vessels in the right and left lung.
    """

    scale: Tensor
    shift: Tensor
    fat: Tensor
    breasts: Tensor
    lung: Tensor
    heart: Tensor
    aorta: Tensor
    right: Tensor
    left: Tensor
    gas: Tensor
    spots: Tensor
    skeleton: Tensor
    trees: Tensor

    def of(self, cases: Tensor) -> "Anatomy":
        """The patients with these numbers (M,), in that order."""
        return Anatomy(*(getattr(self, f.name)[cases] for f in fields(self)))

    def to(self, device: torch.device) -> "Anatomy":
        """The same patients on another device."""
        return Anatomy(*(getattr(self, f.name).to(device) for f in fields(self)))

    def placed(self, points: Tensor) -> Tensor:
        """Points (N, P, 3) of the average patient where they are in the field, in mm."""
        return points * self.scale[:, None] + self.shift[:, None]


@dataclass(frozen=True)
class Scene:
    """What the rays meet, each (N, size, size).

    Args:
        integral: line integral of the attenuation coefficient, no unit.
        lung: path length through lung, in mm.
        chest: path length through the chest cavity, in mm.
    """

    integral: Tensor
    lung: Tensor
    chest: Tensor


def draw(n: int, generator: torch.Generator) -> Anatomy:
    """Anatomy of n patients, on the generator's device."""
    def between(low: float, high: float, *shape: int) -> Tensor:
        return uniform(n * math.prod(shape), low, high, generator).view(n, *shape)

    def number(count: int, *shape: int) -> Tensor:
        return torch.randint(count, (n, *shape), generator=generator, device=generator.device)

    shift = between(-8, 8, 3)
    shift[:, 1] = 0
    female = number(2)
    return Anatomy(scale=between(0.93, 1.07, 3), shift=shift, fat=between(4, 24), breasts=female * between(10, 36),
                   lung=between(0.0042, 0.0056), heart=between(0.9, 1.12), aorta=between(0, 1), right=between(-9, 9),
                   left=between(-9, 9), gas=between(0.5, 1.2), spots=between(-3.5, 2.6, 4).clamp_min(0),
                   skeleton=number(SKELETONS), trees=number(TREES, 2))


def render(anatomy: Anatomy, size: int) -> Scene:
    """The scene of each patient, ``size`` pixels wide and high."""
    z, x = positions(anatomy, size)
    a = Anatomy(*(getattr(anatomy, f.name).view(len(z), -1, 1, 1).squeeze(1) for f in fields(anatomy)))
    depth = a.scale[:, 1]
    chest, lung = thorax_lungs.lungs(z, x, a.heart, a.aorta, a.right, a.left)
    skin, flesh = thorax_lungs.body(z, x, a.fat)
    flesh = flesh.maximum(chest + 14 * (chest > 0))
    skin = skin.maximum(flesh) + thorax_lungs.breasts(z, x, a.breasts)
    flesh -= thorax_lungs.stomach_gas(z, x, a.left, a.gas)
    soft = FAT * skin + (MUSCLE - FAT) * flesh + (a.lung - MUSCLE) * lung
    integral = (soft + _atlas(anatomy, z, x, size)) * depth + CALCIUM * _spots(anatomy, size)
    return Scene(integral=integral, lung=lung * depth, chest=chest * depth)


def positions(anatomy: Anatomy, size: int) -> tuple[Tensor, Tensor]:
    """Where the pixels lie in the average patient, in mm: z (N, size, 1) and x (N, 1, size)."""
    z, x = axes(size, FIELD, anatomy.fat.device)
    shift, scale = anatomy.shift[..., None, None], anatomy.scale[..., None, None]
    return (z - shift[:, 0]) / scale[:, 0], (x - shift[:, 2]) / scale[:, 2]


def _atlas(anatomy: Anatomy, z: Tensor, x: Tensor, size: int) -> Tensor:
    """Line integral through bones and vessels beyond, and airways below, what is in their place."""
    side = size + 2 * math.ceil(0.07 * size)                                        # small patients show more of it
    frame = side, FIELD * side / size, z.device
    air = -MUSCLE * thorax_vessels.airways(*frame)
    bones = {i: air + thorax_bones.skeleton(i, *frame) for i in set(anatomy.skeleton.tolist())}
    images = torch.stack([bones[i] for i in anatomy.skeleton.tolist()])
    for name, numbers in zip(("right", "left"), anatomy.trees.T.tolist(), strict=True):
        trees = torch.stack([thorax_vessels.vessels(name, i, *frame) for i in numbers])
        images.add_(trees, alpha=BLOOD - LUNG)
    return warp(images, frame[1], z, x)


def _spots(a: Anatomy, size: int) -> Tensor:
    """Path length in mm through calcified spots."""
    points = a.placed(a.fat.new_tensor(SPOTS).expand(len(a.fat), -1, -1))
    case, number = (a.spots > 0).nonzero(as_tuple=True)
    radii = a.spots[case, number]
    return stamp(case, points[case, number], radii, torch.ones_like(radii), len(a.fat), size, FIELD, ball)
