"""Branching trees of curved tubes, and their painting into volumes: vessels, airways, spicules.

``grow`` makes a tree that supplies given tips; ``strands`` paints thousands of thin curves at a cost that follows their
length, not the size of the volume, because each is strung from small balls that touch only the voxels around them.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MAX_PAIRS = 4_000_000  # ball-voxel pairs held at once, about 150 MB


def grow(root: Tensor, tips: Tensor, radius: float, reach: float = 0.4) -> tuple[Tensor, Tensor]:
    """Trees that start at a root, split in two again and again, and end at the tips.

    The tips are halved along their longest extent, each half gets a branch toward its middle, and so on. Radii follow
    Murray's law (1926): the cube of a branch's radius is the sum of the cubes of its daughters'.

    Args:
        root: (N, 3) in mm.
        tips: (N, T, 3) in mm, T a power of 2.
        radius: of the last branches, in mm.
        reach: how far a branch runs toward the middle of its tips, as a share of the way.

    Returns:
        Curves (N, 2 T - 2, 3, 3), each by start, control point and end, in mm, from the thickest to the thinnest level,
        and radii (N, 2 T - 2, 2) at start and end, in mm.

    Raises:
        ValueError: where T is not a power of 2.
    """
    n, t, axes = tips.shape
    if t < 2 or t & (t - 1):
        raise ValueError(f"there are {t} tips, but halving them needs a power of 2")
    start, heading = root[:, None], torch.zeros(n, 1, axes, device=tips.device)     # (N, G, 3)
    groups, curves, radii = tips[:, None], [], []                                   # (N, G, T / G, 3)
    for level in range(1, t.bit_length()):
        groups = _halve(groups)
        size = groups.shape[2]
        start, heading = (x.repeat_interleave(2, dim=1) for x in (start, heading))
        way = torch.lerp(groups.mean(2), groups[:, :, size // 3], 0.35) - start      # a little off the middle
        varied = reach * (0.5 + groups[:, :, 0, :1] % 1) if size > 1 else 1.0        # so do the lengths
        end = start + way * varied
        control = start + (end - start).norm(dim=-1, keepdim=True) * 0.35 * heading + 0.15 * (end - start)
        curves.append(torch.stack([start, control, end], dim=2))
        thick = radius * size ** (1 / 3)
        radii.append(torch.tensor([thick * 1.15, thick], device=tips.device).expand(n, 2 ** level, 2))
        heading, start = torch.nn.functional.normalize(end - control, dim=-1), end
    return torch.cat(curves, 1), torch.cat(radii, 1)


def _halve(groups: Tensor) -> Tensor:
    """Split each group of points (N, G, m, 3) in two along its longest extent: (N, 2 G, m / 2, 3)."""
    n, g, m, axes = groups.shape
    longest = (groups.amax(2) - groups.amin(2)).argmax(-1)                          # (N, G)
    along = groups.gather(3, longest[..., None, None].expand(n, g, m, 1))[..., 0]
    order = along.argsort(dim=2)[..., None].expand(n, g, m, axes)
    return groups.gather(2, order).reshape(n, 2 * g, m // 2, axes)


def strands(curves: Tensor, radii: Tensor, size: Sequence[int], spacing: Sequence[float],
            centre: Tensor | None = None, width: float | None = None) -> Tensor:
    """Share of each voxel that lies inside the curved tubes.

    A tube thinner than a voxel gets the share that its cross-section has of the voxel's, as partial volume does.

    Args:
        curves: (N, B, 3, 3) start, control point and end, in mm.
        radii: (N, B, 2) in mm at start and end; both 0 for a curve to leave out.
        size, spacing: of the volume, in voxels and in mm.
        centre: (N, 3) position in mm of the volume's centre; by default the origin.
        width: of the soft edge in mm; by default the largest spacing.

    Returns:
        (N, \\*size), from 0 to 1.
    """
    width = width or max(spacing)
    step = torch.tensor(spacing, device=curves.device, dtype=torch.float32)
    shape = torch.tensor(size, device=curves.device)
    if centre is not None:
        curves = curves - centre[:, None, None]
    case, place, radius = _balls(curves, radii, (shape - 1) * step / 2 + width / 2, min(spacing))
    share = torch.zeros(len(curves) * math.prod(size), device=curves.device)
    index = place / step + (shape - 1) / 2                                          # (B, 3), in voxels
    halves = ((radius[:, None] + width / 2) / step).add(0.5).floor().long()         # (B, 3), voxels to each side
    code = (halves * halves.new_tensor([2 ** 20, 2 ** 10, 1])).sum(1)
    for kind in code.unique().tolist():
        chosen = (code == kind).nonzero()[:, 0]
        for part in chosen.split(max(1, MAX_PAIRS // math.prod(2 * h + 1 for h in _unpack(kind)))):
            _splat(share, index[part], radius[part], case[part], _unpack(kind), size, step, width)
    return share.view(len(curves), *size)


def _balls(curves: Tensor, radii: Tensor, reach: Tensor, finest: float) -> tuple[Tensor, Tensor, Tensor]:
    """The curves inside the volume as balls: case (B,), place in mm from the centre (B, 3), radius in mm (B,)."""
    thick = radii.amax(-1)
    near = (curves.amin(2) - thick[..., None] < reach) & (curves.amax(2) + thick[..., None] > -reach)
    case, number = (near.all(-1) & (thick > 0)).nonzero(as_tuple=True)
    curve, ends = curves[case, number], radii[case, number]
    length = (curve[:, 1:] - curve[:, :-1]).norm(dim=-1).sum(1)
    count = (length / (0.4 * ends.amax(1)).clamp_min(0.6 * finest)).ceil().long() + 1
    which = torch.arange(len(case), device=case.device).repeat_interleave(count)
    first = (count.cumsum(0) - count)[which]
    t = ((torch.arange(len(which), device=case.device) - first) / (count[which] - 1).clamp_min(1))[:, None]
    place = (1 - t) ** 2 * curve[which, 0] + 2 * t * (1 - t) * curve[which, 1] + t ** 2 * curve[which, 2]
    radius = torch.lerp(ends[which, 0], ends[which, 1], t[:, 0])
    inside = (place.abs() < reach + radius[:, None]).all(-1)
    return case[which][inside], place[inside], radius[inside]


def _unpack(code: int) -> tuple[int, int, int]:
    return code >> 20, code >> 10 & 1023, code & 1023


def _splat(share: Tensor, index: Tensor, radius: Tensor, case: Tensor, half: Sequence[int], size: Sequence[int],
           step: Tensor, width: float) -> None:
    """Raise the shares of the voxels around each ball, in place; all balls reach ``half`` voxels to each side."""
    n = len(index)
    squares, flat = torch.zeros(n, 1, 1, 1, device=index.device), case.view(n, 1, 1, 1)
    for axis, (h, s) in enumerate(zip(half, size, strict=True)):                    # one axis at a time: 3 K, not K^3
        along = index[:, axis, None].round() + torch.arange(-h, h + 1, device=index.device)     # (B, K)
        gap = ((along - index[:, axis, None]) * step[axis]).square()
        gap = gap.masked_fill((along < 0) | (along > s - 1), math.inf)
        place = [-1 if a == axis else 1 for a in range(3)]
        squares = squares + gap.view(n, *place)                                    # (B, K, K, K) in the end
        flat = flat * s + along.clamp(0, s - 1).long().view(n, *place)
    value = (0.5 + (radius.view(n, 1, 1, 1) - squares.sqrt_()) / width).clamp_(0, 1)
    value *= _dimming(radius / width).view(n, 1, 1, 1)
    share.scatter_reduce_(0, flat.flatten(), value.flatten(), "amax")


def _dimming(thickness: Tensor) -> Tensor:
    """Factor that keeps the volume of strands thinner than the soft edge; thickness: radius / width of the edge.

    Below 1/2 the soft profile is a cone of height p = 1/2 + t and volume pi p^3 / 3, where pi t^2 is due; then linear.
    """
    t = thickness
    return torch.where(t < 0.5, 3 * t ** 2 / (0.5 + t) ** 3, (0.5 + 0.5 * t).clamp_max(1))
