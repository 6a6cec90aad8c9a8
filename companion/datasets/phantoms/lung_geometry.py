"""Geometry of the thorax of the lung phantom: how far a point lies from lung, skin, spine, heart, liver and the rest.

An average adult in full inspiration, in mm from the middle of the scan, with axes (z, y, x): z to superior, y to
posterior, x to the patient's left. Each patient stretches it by three factors. Distances are negative inside, exact
near the surface of round shapes and approximate elsewhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from companion.datasets.phantoms.shapes import ellipsoid, grid, rotation

SPAN = (275.0, 270.0, 390.0)
"""Extent of a scan along z, y and x, in mm, for a patient of average size; its middle is the origin."""

COARSE = 4.0
"""Distance in mm between the points at which the geometry of an image is evaluated; voxels are interpolated."""

RODS = (((-200, 46, 20), (45, 46, 24), 12), ((45, 46, 24), (58, 26, 16), 12), ((58, 26, 16), (44, -18, -12), 13),
        ((44, -18, -12), (-40, -14, -2), 15), ((-30, -28, 14), (2, -8, 24), 14), ((2, -8, 24), (-2, 6, -34), 9),
        ((-60, -8, -26), (80, -12, -24), 9), ((80, -12, -24), (88, -24, 30), 6), ((52, 12, 8), (150, 2, 22), 5),
        ((-200, 30, 8), (190, 24, 2), 7))
"""Aorta (four), pulmonary trunk and right artery, superior vena cava and left vein, left carotid artery, oesophagus;
start, end and radius of straight tubes, in mm."""


@dataclass(frozen=True)
class Field:
    """Distances on a coarse grid over an image, smooth enough to be interpolated.

    Args:
        values: by name, each (N, \\*counts); see ``distances``.
        points: (N, \\*counts, 3) where, in mm.
        size: of the image along z, y, x, in voxels.
    """

    values: dict[str, Tensor]
    points: Tensor
    size: tuple[int, ...]

    def fine(self, values: Tensor) -> Tensor:
        """Values on the coarse grid (M, \\*counts) to values at the voxels (M, \\*size)."""
        return refine(values, self.size)


def field(scale: Tensor, fat: Tensor, centre: Tensor, size: Sequence[int], spacing: Sequence[float]) -> Field:
    """The distances over one image of each patient.

    Args:
        scale, fat: as in ``distances``.
        centre: (N, 3) position of the image's middle, in mm.
        size, spacing: of the image along z, y, x, in voxels and in mm.
    """
    points = coarse(size, spacing, COARSE, centre.device) + centre[:, None, None, None]
    values = distances(scale, fat, points.flatten(1, 3))
    return Field({name: v.view(points.shape[:-1]) for name, v in values.items()}, points, tuple(size))


def coarse(size: Sequence[int], spacing: Sequence[float], step: float, device: torch.device) -> Tensor:
    """Points at most ``step`` mm apart from the first voxel to the last along each axis: (\\*counts, 3) in mm."""
    counts = [max(2, math.ceil((s - 1) * d / step) + 1) for s, d in zip(size, spacing, strict=True)]
    return grid(counts, [(s - 1) * d / (c - 1) for s, d, c in zip(size, spacing, counts, strict=True)], device)


def refine(values: Tensor, size: Sequence[int]) -> Tensor:
    """Trilinear interpolation (M, \\*counts) to (M, \\*size) from corner to corner, one matrix for each axis."""
    z, y, x = (_between(s, c, values.device) for s, c in zip(size, values.shape[1:], strict=True))
    planes = y @ (values @ x.T)                                                     # (M, counts z, H, W)
    return (z @ planes.flatten(2)).view(len(values), *size)


def _between(size: int, count: int, device: torch.device) -> Tensor:
    """Matrix (size, count) that interpolates ``count`` values linearly to ``size`` ones over the same extent."""
    place = torch.arange(size, device=device)[:, None] * (count - 1) / max(size - 1, 1)
    return (1 - (place - torch.arange(count, device=device)).abs()).clamp_min(0)


def distances(scale: Tensor, fat: Tensor, points: Tensor) -> dict[str, Tensor]:
    """Signed distances to the parts of the thorax, in mm.

    Args:
        scale: (N, 3) size of the patient against the average, along z, y, x.
        fat: (N,) thickness of the fat under the skin, in mm.
        points: (N, P, 3) in mm.

    Returns:
        Tensors (N, P) by name. ``height`` is no distance but the way up across the ribs, in mm, ``fissure`` the signed
        distance to the major fissure, ``side`` the position x, and ``front`` is negative behind the rib cartilages.
    """
    q = points / scale[:, None]
    z, y, x = q.unbind(-1)
    chest, (heart, vessels), spine, belly = barrel(q, (186.0, 95.0, 140.0)), _heart(q), _spine(q), _belly(q)
    column = soft_min(spine["spine"], spine.pop("behind"), 6)
    middle = soft_min(soft_min(heart, vessels, 12), soft_min(_mediastinum(q), column, 10), 12)
    lung = torch.maximum(torch.maximum(chest, 2.5 - middle), 2.5 - belly)
    return {"lung": lung, "cavity": chest, "heart": torch.minimum(heart, vessels), "belly": belly, **spine,
            "skin": barrel(q, (330.0, 118.0, 166.0)) - fat[:, None], "gas": _round(q, (-124, -42, 74), (18, 20, 30)),
            "sternum": _sternum(chest, z, y, x), "scapula": _scapula(chest, q), "height": z - 0.45 * y,
            "fissure": (z + 12 - 0.8 * y + 0.002 * x.square()) / 1.28, "side": x, "front": -62 - y}


def barrel(q: Tensor, radii: tuple[float, float, float]) -> Tensor:
    """Distance to a chest-shaped barrel, flattened front and back and round at the top: (..., 3) to (...)."""
    rz, ry, rx = radii
    z, y, x = ((q - q.new_tensor((-60.0, 0, 0))).abs() / q.new_tensor(radii)).clamp_min(1e-4).unbind(-1)
    flat = (y * y * y.sqrt() + x * x * x.sqrt()) ** 0.4                             # corners squarer than an ellipse's
    reach = (flat.square() + z.square()).sqrt()
    slope = (flat / reach) * ((y / flat) ** 3 / ry ** 2 + (x / flat) ** 3 / rx ** 2).sqrt()
    return (reach - 1) / (slope.square() + (z / reach / rz).square()).sqrt()


def soft_min(a: Tensor, b: Tensor, blend: float) -> Tensor:
    """The smaller of two distances, rounded where both are within ``blend`` mm of each other (a fillet)."""
    overlap = (blend - (a - b).abs()).clamp_min(0) / blend
    return torch.minimum(a, b) - overlap.square() * blend / 4


def _round(q: Tensor, centre: tuple, radii: tuple, angles: tuple = (0.0, 0.0, 0.0)) -> Tensor:
    """Distance to one ellipsoid, the same for all patients."""
    turn = rotation(q.new_tensor([angles])).expand(len(q), 3, 3) if any(angles) else None
    return ellipsoid(q[:, :, None, None], q.new_tensor([centre]), q.new_tensor([radii]), turn)[..., 0, 0]


def _rod(q: Tensor, start: tuple, end: tuple, radius: float) -> Tensor:
    """Distance to a straight tube with round ends, the same for all patients."""
    a, along = q.new_tensor(start), q.new_tensor(end) - q.new_tensor(start)
    t = ((q - a) @ along / along.square().sum()).clamp(0, 1)
    return (q - a - t[..., None] * along).norm(dim=-1) - radius


def _heart(q: Tensor) -> tuple[Tensor, Tensor]:
    """Heart with its axis to the left, front and below; aorta, pulmonary trunk and superior vena cava."""
    heart = _round(q, (-72, -26, 24), (50, 44, 66), (0.25, 0.35, 0.3))
    vessels = _rod(q, *RODS[0])
    for rod in RODS[1:]:
        vessels = torch.minimum(vessels, _rod(q, *rod))
    return heart, vessels


def _mediastinum(q: Tensor) -> Tensor:
    """Fat and small organs between the lungs, above and behind the heart; the thymic fat behind the sternum."""
    return soft_min(_round(q, (60, 6, 0), (130, 42, 24)), _round(q, (30, -60, 2), (120, 36, 9)), 14)


def _belly(q: Tensor) -> Tensor:
    """Everything under the two domes of the diaphragm."""
    right, left = _round(q, (-166, 5, -68), (95, 98, 84)), _round(q, (-174, 5, 70), (95, 98, 84))
    return torch.minimum(right, left)


def _spine(q: Tensor) -> dict[str, Tensor]:
    """Vertebral bodies (with the discs between), and the bony arch around the canal with its spinous processes."""
    z, y, x = q.unbind(-1)
    back = y - 70 + 0.0006 * z.square()                                            # kyphosis
    flat = torch.stack([back, x], -1)
    body = ellipsoid(flat[:, :, None], flat.new_zeros(1, 2), flat.new_tensor([[14.0, 18.0]]))[..., 0]
    canal = (back - 23).hypot(x) - 8
    disc = ((z / 24) % 1 - 0.5).abs() * 24                                         # 12 at the middle of a disc
    process = torch.maximum((back - 46).abs() - 18, x.abs() - 3.5)
    wings = torch.maximum((back - 22 - 0.25 * x.abs()).abs() - 4.5, x.abs() - 32)
    level = disc - 8
    arch = torch.minimum(torch.maximum((canal - 3).abs() - 3, 10 - back), torch.maximum(torch.minimum(process, wings),
                                                                                       torch.maximum(level, -canal)))
    wall = ellipsoid(flat[:, :, None], flat.new_tensor([[24.0, 0.0]]), flat.new_tensor([[27.0, 33.0]]))[..., 0]
    return {"spine": body, "disc": 9.5 - disc, "arch": arch, "canal": canal, "behind": wall}


def _sternum(chest: Tensor, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """A plate in front of the chest."""
    plate = torch.maximum((chest - 8).abs() - 5, x.abs() - 17)
    return torch.maximum(torch.maximum(plate, (z + 5).abs() - 75), y + 10)


def _scapula(chest: Tensor, q: Tensor) -> Tensor:
    """A thin plate behind the ribs on each side, in the upper half."""
    mirrored = torch.stack([q[..., 0], q[..., 1], q[..., 2].abs()], -1)
    return torch.maximum((chest - 22).abs() - 2.5, _round(mirrored, (58, 74, 82), (62, 40, 38)))
