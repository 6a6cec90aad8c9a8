"""Bones of the chest radiograph: ribs, clavicles, scapulae and spine, in mm along (z, y, x).

x runs to the patient's left, which is image right. Numbers are for an average adult in full inspiration.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from companion.datasets.phantoms.thorax_lungs import outer
from companion.datasets.phantoms.thorax_projection import axes, chord, disc, even, stamp

CORTEX, SPONGE = 0.0389, 0.0125
"""Compact and spongy bone beyond the muscle in their place, in 1/mm at 60 keV (0.0604 and 0.034 against 0.0215)."""

HOLLOW = 0.78
"""Radius of the spongy inside of a bone against its outer radius."""

HEADS = (127.0, 108, 88, 67, 45, 22, -3, -28, -54, -80, -106, -131)
"""Height of the 12 ribs at the spine, in mm."""

DROPS = (34.0, 48, 62, 74, 84, 92, 98, 102, 104, 92, 80, 60)
"""How far each rib falls from the spine to its front end, in mm."""

ENDS = (36.0, 42, 49, 58, 71, 88, 104, 116, 126, 134, 138, 130)
"""Distance of the front ends from the midline, in mm."""

SHARE = (1.0,) * 10 + (0.44, 0.3)
"""Length of each rib against the way to the front; the last two end in the flank."""

HALF_HEIGHTS = (5.0, 5.4, 5.6, 5.8, 6.0, 6.2, 6.3, 6.3, 6.2, 6.0, 5.2, 4.4)
"""Half the height of the ribs, in mm; they are 0.62 times as thick as high."""

OTHERS = (
    (((93, -70, 14), (95, -72, 24), (101, -70, 44), (111, -62, 70), (122, -50, 98), (129, -40, 122), (130, -30, 150)),
     6.2, 1.15),                                                                     # clavicle
    (((110, 70, 104), (84, 76, 113), (56, 80, 120), (26, 82, 127), (-4, 82, 136)), 1.6, 0.6),   # medial border
    (((-4, 82, 136), (26, 70, 143), (56, 50, 151), (88, 30, 162)), 3.6, 0.6),       # lateral border
    (((110, 70, 104), (119, 66, 118), (112, 55, 138), (104, 40, 158)), 1.8, 0.6),   # upper border
    (((94, 76, 108), (106, 72, 132), (122, 55, 158), (134, 40, 182)), 3.4, 0.6),    # spine of the scapula
    (((100, 20, 182), (100, 20, 188)), 23.0, 0.5),                                  # head of the humerus
    (((96, 20, 196), (60, 10, 205), (0, 0, 215)), 13.0, 0.8))                       # its shaft
"""The other bones as tubes on both sides, with corners of a line, radius in mm, depth against height."""


@cache
def skeleton(number: int, size: int, field: float, device: torch.device) -> Tensor:
    """Line integral through the bones of one of many skeletons, beyond that of muscle in their place.

    The skeletons differ in how steeply the ribs fall, where they are, and in how the shoulders are held.

    Args:
        number: of the skeleton, any integer; the same one gives the same bones.
        size, field: pixels on each side of the image, and its extent in mm.

    Returns:
        (size, size), on the device; kept for the next call.
    """
    slant, lift, *shoulder = torch.rand(5, generator=torch.Generator().manual_seed(number)).tolist()
    pixel = field / size
    tubes = [_tubes(_ribs(0.85 + 0.35 * slant, 8 * lift - 4), HALF_HEIGHTS, 0.62, pixel)]
    for corners, radius, depth in OTHERS:
        tubes.append(_tubes(_held(torch.tensor(corners), *shoulder)[None], (radius,), depth, pixel))
    points, radii, weights = (torch.cat(t).to(device) for t in zip(*tubes, strict=True))
    case = torch.zeros(len(points), dtype=torch.long, device=device)
    z, x = axes(size, field, device)
    return (stamp(case, points, radii, weights, 1, size, field, _shell) + _spine(z, x, pixel))[0]


def _ribs(slant: float, lift: float) -> Tensor:
    """The middle lines of the left ribs (12, 100, 3), from the spine to the front.

    Args:
        slant: how steeply they fall against the average; lift: how much higher they are, in mm.
    """
    t = torch.linspace(0, 1, 100) * torch.tensor(SHARE)[:, None]
    heads, drops, ends = (torch.tensor(v)[:, None] for v in (HEADS, DROPS, ENDS))
    widths = outer(heads - 0.42 * drops) + 4
    start = torch.where(t < 0.5, 15.0, ends)
    x = start + (widths - start) * (torch.pi * t).sin().clamp_min(0) ** 0.85
    fall = slant * drops * (0.62 * (1 - (torch.pi * t).cos()) / 2 + 0.38 * t)
    z = heads + lift + 5 * (-((t - 0.1) / 0.08).square()).exp() - fall              # first over the transverse process
    return torch.stack([z, 88 * (torch.pi * t).cos(), x], -1)


def _held(line: Tensor, tilt: float, apart: float, up: float) -> Tensor:
    """A line of the shoulder (P, 3), tilted, moved outward and up by shares from 0 to 1 of what is usual."""
    z, y, x = line.unbind(-1)
    away = ((x - 15) / 100).clamp(0, 1)                                             # the inner end stays
    return torch.stack([z + away * (10 * tilt - 7 + 10 * up - 5), y, x + away * (14 * apart - 6)], -1)


def _tubes(lines: Tensor, radii: Sequence[float], depth: float, pixel: float) -> tuple[Tensor, Tensor, Tensor]:
    """Points (P, 3), radii and weights (P,) of the discs that make up tubes (S, corners, 3) of both sides."""
    line, points, steps = even(lines, 0.3 * max(min(*radii, 6.0), pixel))
    both = torch.cat([points, points * torch.tensor([1.0, 1.0, -1.0])])
    return both, torch.tensor(radii)[line].repeat(2), depth * steps.repeat(2)


def _shell(distance: Tensor, radius: Tensor, pixel: float) -> Tensor:
    """Spongy bone in a shell of compact bone, the line integral for a weight of 1 mm."""
    spongy = disc(distance, HOLLOW * radius, pixel)
    return disc(distance, radius, pixel).mul_(CORTEX).add_(spongy, alpha=SPONGE - CORTEX)


def _spine(z: Tensor, x: Tensor, pixel: float) -> Tensor:
    """Line integral through vertebrae with end plates, pedicles and spinous processes, beyond that of muscle.

    Args:
        z, x: positions in the average patient's mm, (N, H, 1) and (N, 1, W).
        pixel: size in mm.

    Returns:
        (N, H, W).
    """
    pitch = 22.5 - 0.02 * z
    level = ((z / pitch) % 1 - 0.5) * pitch                                        # 0 in the middle of a vertebra
    width, soft = 15.5 - 0.018 * z, max(pixel, 2.0)
    across = (0.5 + (width - 2 * level.abs() / pitch - x.abs()) / soft).clamp(0, 1)
    rim = (1 - (x.abs() - width + 1).abs() / soft).clamp_min(0) / soft
    body = (0.5 + (pitch / 2 - 2.3 - level.abs()) / max(pixel, 1.5)).clamp(0, 1)
    plate = (1 - (level.abs() - pitch / 2 + 3).abs() / soft).clamp_min(0) / soft
    pedicle = chord(level, x.abs(), (3.0, 10.5), (5.0, 2.2, 3.2)) - chord(level, x.abs(), (3.0, 10.5), (3.4, 1.6, 1.9))
    process = chord(level, x, (-4.0, 0.0), (7.0, 3.0, 2.8))
    return across * (0.10 * body + 0.16 * plate) + body * 0.16 * rim + CORTEX * (0.5 * process + 1.1 * pedicle)
