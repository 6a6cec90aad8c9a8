"""What parallel X-rays see of simple bodies: the length of their path through ellipsoids, tubes, balls and puffs.

The rays run through the body from back to front, along y; the image has the axes (z, x). All lengths are in mm. Round
bodies are stamped one by one, at a cost that follows their number and size, not the size of the image.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MAX_PAIRS = 100_000        # shadow-pixel pairs held at once: small enough for a processor's cache
THINNEST = 0.75            # radius of the smallest shadow in pixels; a thinner body keeps its volume

Profile = Callable[[Tensor, Tensor, float], Tensor]
"""Path length at a distance from the middle of a shadow, from (distance, radius, pixel size), all in mm."""

Ellipsoid = tuple[tuple, tuple, float]
"""Centre (z, x), radii (z, y, x) and slope, how far its middle line falls for each mm to the right (a shear)."""


def axes(size: int, field: float, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Positions of the pixels of a square field in mm: z (1, size, 1), falling downward, and x (1, 1, size)."""
    place = (torch.arange(size, device=device) - (size - 1) / 2) * field / size
    return -place.view(1, -1, 1), place.view(1, 1, -1)


def inside(z: Tensor, x: Tensor, centre: tuple, radii: tuple, slope: float = 0.0) -> Tensor:
    """1 - (z / rz)^2 - (x / rx)^2 from the centre, at least 0: the squared path through an ellipsoid over (2 ry)^2.

    Args:
        z, x: positions (N, H, 1) and (N, 1, W), or (P,) both.
        centre, radii, slope: see ``Ellipsoid``; numbers or tensors that broadcast.

    Returns:
        (N, H, W) or (P,).
    """
    across = x - centre[1]
    down = z - centre[0] + slope * across if slope else z - centre[0]
    return ((1 - (across / radii[2]).square()) - (down / radii[0]).square()).clamp_min_(0)


def chord(z: Tensor, x: Tensor, centre: tuple, radii: tuple, slope: float = 0.0) -> Tensor:
    """Path length through ellipsoids, 0 beside them; arguments as for ``inside``."""
    return 2 * radii[1] * inside(z, x, centre, radii, slope).sqrt_()


def union(z: Tensor, x: Tensor, bodies: Sequence[Ellipsoid], first: Tensor | float = 0.0) -> Tensor:
    """Path length through bodies that overlap along the ray: the 4-norm of their lengths, a soft maximum.

    Two equal lengths make 1.19 of one, as for bodies that share most of the ray; edges stay as sharp as they are.

    Args:
        bodies: ellipsoids, their radii along y plain numbers.
        first: path length through one more body (N, H, W).
    """
    total = torch.as_tensor(first, device=z.device) ** 4
    for centre, radii, slope in bodies:
        share = inside(z, x, centre, radii, slope)
        total = torch.addcmul(total, share, share, value=(2 * radii[1]) ** 4)
    return total.sqrt_().sqrt_()


def warp(images: Tensor, field: float, z: Tensor, x: Tensor) -> Tensor:
    """Images of a square field at other positions, by linear interpolation; 0 beside the field.

    Args:
        images: (N, S, S); field: their extent in mm.
        z, x: positions in mm, (N, H, 1) and (N, 1, W).

    Returns:
        (N, H, W).
    """
    side = images.shape[1]
    place = torch.arange(side, device=images.device) - (side - 1) / 2
    rows = (z * -(side / field) - place).abs_().neg_().add_(1).clamp_(0)            # (N, H, S)
    columns = (x * (side / field) - place[:, None]).abs_().neg_().add_(1).clamp_(0)     # (N, S, W)
    return rows @ (images @ columns)


def even(lines: Tensor, step: float) -> tuple[Tensor, Tensor, Tensor]:
    """Points along lines at even distances, each in the middle of its step.

    Args:
        lines: (S, P, 3) corners of S lines.
        step: wanted distance of the points, in mm.

    Returns:
        number of each point's line (M,), points (M, 3), lengths of their steps (M,).
    """
    parts = (lines[:, 1:] - lines[:, :-1]).norm(dim=-1)
    gone = torch.nn.functional.pad(parts.cumsum(1), (1, 0))                         # (S, P)
    count = (gone[:, -1] / step).ceil().long().clamp_min(1)
    line = torch.arange(len(lines), device=lines.device).repeat_interleave(count)
    first = (count.cumsum(0) - count)[line]
    wanted = (torch.arange(len(line), device=lines.device) - first + 0.5) / count[line] * gone[line, -1]
    corner = ((gone[line] <= wanted[:, None]).sum(1) - 1).clamp(max=parts.shape[1] - 1)
    share = (wanted - gone[line, corner]) / parts[line, corner].clamp_min(1e-6)
    return line, torch.lerp(lines[line, corner], lines[line, corner + 1], share[:, None]), (gone[:, -1] / count)[line]


def stamp(case: Tensor, points: Tensor, radii: Tensor, weights: Tensor, n: int, size: int, field: float,
          profile: Profile) -> Tensor:
    """The sum of many round shadows, each with its own image, place, radius and weight.

    Args:
        case: (P,) number of each shadow's image, below n.
        points: (P, 3) places (z, y, x) in mm; y is not used.
        radii, weights: (P,).
        size, field: pixels on each side of the image, and its extent in mm.
        profile: of a shadow; 0 from one radius and half a pixel on.

    Returns:
        (n, size, size).
    """
    pixel = field / size
    half = (radii / pixel).clamp_min(THINNEST).ceil().long()
    margin = 2 * int(half.max()) + 1 if len(half) else 0                            # for those with a middle outside
    side = size + 2 * margin
    column, row = points[:, 2] / pixel + (side - 1) / 2, (side - 1) / 2 - points[:, 0] / pixel
    low, high = torch.minimum(row, column).round(), torch.maximum(row, column).round()
    seen = (low >= half) & (high < side - half)
    image = torch.zeros(n * side * side, device=points.device)
    for h in half.unique().tolist():
        for part in ((half == h) & seen).nonzero()[:, 0].split(max(1, MAX_PAIRS // (2 * h + 1) ** 2)):
            flat, distance = _around(row[part], column[part], case[part], h, side)
            value = profile(distance.mul_(pixel), radii[part].view(-1, 1, 1), pixel).mul_(weights[part].view(-1, 1, 1))
            image.index_add_(0, flat.flatten(), value.flatten())
    return image.view(n, side, side)[:, margin:margin + size, margin:margin + size]


def _around(row: Tensor, column: Tensor, case: Tensor, half: int, side: int) -> tuple[Tensor, Tensor]:
    """Numbers of the pixels around each place in images of side x side, and their distances in pixels."""
    steps = torch.arange(-half, half + 1, device=row.device)
    r, c = row.round(), column.round()
    down, across = (((a - b)[:, None] + steps).square() for a, b in ((r, row), (c, column)))     # (P, K)
    middle = (case * side + r.long()) * side + c.long()
    return (middle[:, None, None] + (steps[:, None] * side + steps),
            (down[:, :, None] + across[:, None]).sqrt_())                           # (P, K, K)


def disc(distance: Tensor, radius: Tensor, pixel: float) -> Tensor:
    """Profile of a uniform disc of height 1.

    Discs with weight s, strung along a line at steps of s mm, add up to the path length through a tube of that radius.
    """
    wide = radius.clamp_min(THINNEST * pixel)
    height = radius.square() / (wide.square() + pixel ** 2 / 12)                    # the soft rim adds to the area
    return (distance / -pixel).add_(wide / pixel + 0.5).clamp_(0, 1).mul_(height)


def ball(distance: Tensor, radius: Tensor, pixel: float) -> Tensor:
    """Profile of a ball; the path length through its middle is two radii."""
    wide = radius.clamp_min(THINNEST * pixel)
    return 2 * radius ** 3 / wide ** 2 * (1 - (distance / wide).square()).clamp_(0).sqrt_()


def puff(distance: Tensor, radius: Tensor, pixel: float) -> Tensor:
    """Profile of a cloud that thins out from its middle, where the path is one radius long, to its rim."""
    wide = radius.clamp_min(THINNEST * pixel)
    return radius ** 3 / wide ** 2 * (1 - (distance / wide).square()).clamp_(0).square_()
