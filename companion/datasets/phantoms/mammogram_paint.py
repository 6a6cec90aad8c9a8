"""The findings of the mammogram phantom in an image: what they add to the line integrals, and where they are."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from companion.datasets.phantoms.breast import FAT, GLAND, Scene
from companion.datasets.phantoms.breast_geometry import HEIGHT
from companion.datasets.phantoms.breast_lines import deposit, lines, specks
from companion.datasets.phantoms.mammogram_lesions import LESIONS, MASSES, Lesion, bodies, reach

CALCIUM = 1.0
"""Attenuation coefficient of calcifications at 20 keV in 1/mm, between calcium oxalate (about 0.9) and hydroxyapatite
(about 2.0), computed from the elements' coefficients (Hubbell and Seltzer, NIST Standard Reference Database 126)."""

SHEET = 2.2     # mm, depth of a spicule along the ray
SMALL = 11.0    # mm, reach up to which bodies are computed in a window of their own size


@dataclass(frozen=True)
class Painted:
    """Findings in I images.

    Args:
        added: (I, H, W) to the line integrals.
        masses, calcifications: (I, H, W) bool, of lesions alone.
        boxes: (F, 4) as (x0, y0, x1, y1) in pixels around the body of a mass or around a lesion's calcium; all 0 for
            what is no lesion.
    """

    added: Tensor
    masses: Tensor
    calcifications: Tensor
    boxes: Tensor


def paint(lesion: Lesion, images: Tensor, positions: Tensor, scene: Scene) -> Painted:
    """The findings in their images: bodies take the place of the tissue around them, calcium and spicules are added.

    A body takes at most 0.8 of the room that skin and muscle leave.

    Args:
        images: (F,) number of each finding's image; positions: (F, 2) in mm, as (y, x).
        scene: the breasts, all I of them.
    """
    count, *size = scene.gland.shape
    step, boxes = HEIGHT / size[0], torch.zeros(len(images), 4, device=positions.device)
    body, dense, masses = _bodies(lesion, images, positions, scene, boxes)
    rest = (scene.thickness - scene.skin - scene.muscle).clamp_min(1e-3)
    local = FAT + (GLAND - FAT) * scene.gland / rest
    added = (dense - body * local) * (0.8 * rest / body.clamp_min(1e-3)).clamp_max(1)
    place = positions[:, None, None]
    spiked = (lesion.spicule_radii > 0).flatten(1).any(1).nonzero()[:, 0]
    curves = lesion.spicules[spiked] + place[spiked]
    points, volumes = lines(curves, lesion.spicule_radii[spiked], step, longest=20.0, widest=0.8, sheet=SHEET)
    added += (GLAND - FAT) * deposit(points, volumes, images[spiked], count, size, step)
    calcium, marked = _calcium(lesion, images, positions, scene, boxes)
    inside = scene.depth > 0
    return Painted((added + (CALCIUM - GLAND) * calcium) * inside, masses, marked & inside, boxes)


def _bodies(lesion: Lesion, images: Tensor, positions: Tensor, scene: Scene,
            boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thickness of all bodies, the same times their attenuation, and the masses; sets the masses' boxes."""
    count, h, w = scene.gland.shape
    total = torch.zeros(2, count * h * w, device=positions.device)
    masses, inside = torch.zeros_like(total[0], dtype=torch.bool), scene.depth.flatten() > 0
    far = reach(lesion)
    for chosen in (((far > 0) & (far <= SMALL)).nonzero()[:, 0], (far > SMALL).nonzero()[:, 0]):
        some, step = lesion.of(chosen), HEIGHT / h
        row, column, away = _window(positions[chosen], far[chosen], step)
        visible = ((row >= 0) & (row < h))[:, :, None] & ((column >= 0) & (column < w))[:, None]
        flat = (images[chosen, None, None] * h + row.clamp(0, h - 1)[:, :, None]) * w + column.clamp(0, w - 1)[:, None]
        thick, first = bodies(some, *away)
        thick = thick * visible
        total[0].scatter_add_(0, flat.flatten(), thick.flatten())
        total[1].scatter_add_(0, flat.flatten(), (thick * some.attenuation.view(-1, 1, 1)).flatten())
        first &= visible & (some.kinds < MASSES).view(-1, 1, 1) & inside[flat]
        masses[flat[first]] = True
        boxes[chosen] = _around(first, row[:, 0], column[:, 0])
    return *total.view(2, count, h, w), masses.view(count, h, w)


def _window(positions: Tensor, far: Tensor, step: float) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Rows and columns (B, K) of squares around the positions, and their distances from these in mm, along y and x."""
    side = 2 * math.ceil(float(far.max()) / step + 1) if len(far) else 2
    index = (positions / step).round().long()[:, :, None] + torch.arange(-side // 2, side // 2, device=far.device)
    away = (index + 0.5) * step - positions[:, :, None]
    return index[:, 0], index[:, 1], (away[:, 0], away[:, 1])


def _around(masks: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Boxes (B, 4) around masks (B, K, K) whose first pixels are at the given rows and columns; 0 for empty ones."""
    edges = []
    for axis, start in ((1, column), (2, row)):
        hit = masks.any(axis).float()
        edges += [start + hit.argmax(1), start + hit.shape[1] - hit.flip(1).argmax(1)]
    x0, x1, y0, y1 = edges
    return torch.stack([x0, y0, x1, y1], 1).float() * masks.flatten(1).any(1, keepdim=True)


def _calcium(lesion: Lesion, images: Tensor, positions: Tensor, scene: Scene,
             boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Thickness of calcium, and the pixels with calcium of lesions; sets the boxes of calcifications."""
    count, *size = scene.gland.shape
    step = HEIGHT / size[0]
    chosen = (lesion.speck_radii > 0).any(1).nonzero()[:, 0]
    points, volumes = specks(lesion.specks[chosen] + positions[chosen, None], lesion.speck_radii[chosen], step)
    thickness = deposit(points, volumes, images[chosen], count, size, step)
    pixel = (points / step).floor().long()                                          # (C, P, 2)
    real = (volumes > 0) & (lesion.kinds[chosen] < LESIONS)[:, None] & (pixel >= 0).all(-1)
    real &= (pixel < pixel.new_tensor(size)).all(-1)
    marked = torch.zeros(count, *size, dtype=torch.bool, device=points.device)
    owner = images[chosen, None].expand_as(real)
    marked[owner[real], pixel[..., 0][real], pixel[..., 1][real]] = True
    low, high = (torch.where(real[..., None], pixel, fill) for fill in (2 ** 20, -1))
    box = torch.cat([low.amin(1).flip(1), high.amax(1).flip(1) + 1], 1).float()
    clusters = real.any(1) & (lesion.kinds[chosen] >= MASSES)
    boxes[chosen[clusters]] = box[clusters]
    return thickness, marked
