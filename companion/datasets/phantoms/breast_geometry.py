"""Geometry of the mammogram phantom: how far a point lies from the skin, the pectoral muscle and the gland's border.

Points are (y, x) in mm from the upper corner at the chest wall: y downward, x toward the nipple. The functions take
the shape of each breast and points of any batch that broadcasts to it, so they serve pixels and single places alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

HEIGHT = 240.0
"""Height of the image in mm, that of a large detector (18 x 24 cm)."""

COARSE = 5.0
"""Distance in mm between the places at which the depths of an image are computed; pixels are interpolated."""

BEHIND = 15.0   # mm from the chest wall's edge back to the middle of the breast's ellipse


@dataclass(frozen=True)
class Shape:
    """N breasts; all (N,), in mm where nothing else is said.

    Args:
        nipple: row of the nipple; length: from the chest wall to the nipple.
        up, down: vertical radii of the outline above and below the nipple.
        axilla: how far the outline is drawn in below the arm, at its deepest.
        fold: reach of the skin below the breast.
        thickness: of the compressed breast.
        muscle_width: of the pectoral muscle at the upper edge; muscle_height: where it meets the chest wall.
        muscle_bow: of its border, positive where convex; muscle_share: of the thickness, from 0 to 1.
        extent: of the gland against its natural size; tilt: of its axis toward the axilla, in radians.
        cover: fat between skin and gland.
    """

    nipple: Tensor
    length: Tensor
    up: Tensor
    down: Tensor
    axilla: Tensor
    fold: Tensor
    thickness: Tensor
    muscle_width: Tensor
    muscle_height: Tensor
    muscle_bow: Tensor
    muscle_share: Tensor
    extent: Tensor
    tilt: Tensor
    cover: Tensor

    def of(self, index: Tensor) -> "Shape":
        """The breasts with these numbers (M,), in that order."""
        return Shape(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device) -> "Shape":
        """The same breasts on another device."""
        return Shape(*(getattr(self, f.name).to(device) for f in fields(self)))

    def beside(self, axes: int) -> "Shape":
        """The same with ``axes`` axes of length 1 behind, to be combined with points."""
        return Shape(*(getattr(self, f.name).view(-1, *[1] * axes) for f in fields(self)))


def skin_depth(shape: Shape, y: Tensor, x: Tensor) -> Tensor:
    """Distance from the skin in mm, positive inside, without the nipple; y, x: (N, ...) or (1, ...)."""
    s = shape.beside(y.dim() - 1)
    drawn_in = s.axilla * (-((y - 0.35 * s.nipple) / 38).square()).exp() - 4 * (-((y - s.nipple) / 13).square()).exp()
    radius = torch.where(y < s.nipple, s.up, s.down)
    body = _depth((y - s.nipple) / radius, (x + BEHIND + drawn_in) / (s.length + BEHIND), radius, s.length + BEHIND)
    below = _depth((y - s.nipple - s.down - 22) / 34, (x + BEHIND) / (s.fold + BEHIND), 34.0, s.fold + BEHIND)
    return 5 * torch.logaddexp(body / 5, below / 5)


def _depth(v: Tensor, u: Tensor, radius_v: Tensor | float, radius_u: Tensor | float) -> Tensor:
    """Approximate distance from an ellipse's border, positive inside, of points given as shares of its radii."""
    reach = (v.square() + u.square()).sqrt().clamp_min(1e-3)
    slope = ((v / radius_v).square() + (u / radius_u).square()).sqrt().clamp_min(1e-6)
    return reach * (1 - reach) / slope


def nipple_depth(shape: Shape, y: Tensor, x: Tensor) -> Tensor:
    """Distance from the nipple's border in mm, positive inside; it is 10 mm across and stands out by 6."""
    s = shape.beside(y.dim() - 1)
    return 5 - ((y - s.nipple).square() + (x - s.length - 3.0).square()).sqrt()


def muscle_depth(shape: Shape, y: Tensor, x: Tensor) -> Tensor:
    """Distance from the pectoral muscle's border in mm, positive in the muscle."""
    s = shape.beside(y.dim() - 1)
    t = (y / s.muscle_height).clamp(0, 1)
    inside = (1 - y / s.muscle_height - x / s.muscle_width) / torch.hypot(1 / s.muscle_height, 1 / s.muscle_width)
    return inside + s.muscle_bow * 4 * t * (1 - t)


def gland_depth(shape: Shape, y: Tensor, x: Tensor, skin: Tensor, muscle: Tensor) -> Tensor:
    """Distance from the border of the region that holds the gland, in mm, positive inside.

    A cone behind the nipple that leans toward the axilla, with fat between it and skin and muscle.

    Args:
        skin, muscle: the depths there, from the functions above.
    """
    s = shape.beside(y.dim() - 1)
    a, b = s.length - x - 0.42 * s.length, y - s.nipple + 0.10 * s.length
    along, across = a * s.tilt.cos() - b * s.tilt.sin(), a * s.tilt.sin() + b * s.tilt.cos()
    long, wide = 0.52 * s.extent * s.length, 0.46 * s.extent * s.length
    cone = _depth(along / long, across / wide, long, wide)
    near = (torch.hypot(y - s.nipple, x - s.length) / 28).clamp_max(1)
    limits = torch.stack([cone, skin - s.cover * near, -muscle - 5])
    return -4 * (-limits / 4).logsumexp(0)


def positions(size: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """y (1, H, 1) and x (1, 1, W) of the middles of the pixels in mm, for an image ``HEIGHT`` mm high."""
    y, x = ((torch.arange(s, device=device) + 0.5) * HEIGHT / size[0] for s in size)
    return y[None, :, None], x[None, None]


def depths(shape: Shape, size: Sequence[int], device: torch.device) -> Tensor:
    """The four depths over an image, (N, 4, H, W) in mm: skin, nipple, muscle, region of the gland."""
    extent = (HEIGHT, HEIGHT * size[1] / size[0])
    axes = [torch.linspace(0, e, math.ceil(e / COARSE) + 1, device=device) for e in extent]
    y, x = (p[None] for p in torch.meshgrid(*axes, indexing="ij"))
    skin, muscle = skin_depth(shape, y, x), muscle_depth(shape, y, x)
    values = torch.stack([skin, nipple_depth(shape, y, x), muscle, gland_depth(shape, y, x, skin, muscle)], 1)
    rows, columns = (_between(s, len(a), device) for s, a in zip(size, axes, strict=True))
    return rows @ (values @ columns.T)


def _between(size: int, count: int, device: torch.device) -> Tensor:
    """Matrix (size, count) that interpolates linearly from ``count`` places, edge to edge, to the middles of pixels."""
    place = (torch.arange(size, device=device)[:, None] + 0.5) * (count - 1) / size
    return (1 - (place - torch.arange(count, device=device)).abs()).clamp_min(0)
