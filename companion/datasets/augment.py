"""Random changes of images that leave their label true: shift, rotation, size, flip, crop, grey levels, erasing.

Book: Part 3, remedies. ``draw`` draws, ``apply`` applies what was drawn and draws nothing, so that image, masks and
boxes move together and every result can be repeated. Everything is off unless asked for.

Flips are off for a reason. In radiology the side matters: the heart lies on the left, the liver on the right, a marker
in the image names the side, and a lesion reported on the wrong side is an error. A flipped chest radiograph shows
*situs inversus*, which one patient in ten thousand has. Ask for a flip only where both sides look alike to the task.

2D images (N, C, H, W) and volumes (N, C, D, H, W) are served alike, but volumes are rotated in the plane (H, W) only.
Pixels are taken as square.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from companion.datasets.cases import Cases

ERASED_AREA = (0.02, 0.4)  # share of the image, Zhong et al. 2017, section 4.1
ERASED_ASPECT = 0.3        # rows to columns, down from here and up to its inverse
TRIES = 32


@dataclass(frozen=True)
class Ranges:
    """How much may change: hyperparameters. The defaults change nothing.

    Args:
        shift: largest shift along each axis, in pixels, both ways.
        rotation: largest angle in degrees, both ways.
        scale: largest enlargement, such as 1.1; as likely shrunk by the same factor.
        flip: axes that are turned round in half of the cases: -1 left and right (see the module's docstring), -2 up and
            down, -3 the planes of a volume.
        crop: (rows, columns) or (planes, rows, columns) of a window at a random place; None keeps all.
        erase: probability that a rectangle is erased (Zhong et al., Random erasing data augmentation, AAAI 2020, first
            published 2017), of 2 to 40 % of the image; a volume loses a block.
        brightness: largest amount added or taken away, in the unit of the images.
        contrast: largest factor, such as 1.2, by which values move away from the image's mean; as likely toward it.
        noise: largest standard deviation of the Gaussian noise added, in the unit of the images.
    """

    shift: float = 0.0
    rotation: float = 0.0
    scale: float = 1.0
    flip: tuple[int, ...] = ()
    crop: tuple[int, ...] | None = None
    erase: float = 0.0
    brightness: float = 0.0
    contrast: float = 1.0
    noise: float = 0.0


@dataclass(frozen=True)
class Augmentation:
    """What is done to each of N images with A spatial axes, A = 2 or 3; axes in the order of the array.

    An image is scaled, rotated and flipped about its middle, then shifted, then cropped; then its grey levels change,
    noise is added, and a box is erased.

    Args:
        size: (A,) pixels of the images before the crop.
        scale: (N,) above 1 enlarges.
        rotation: (N,) degrees, counter-clockwise as the image is seen.
        flip: (N, A) bool.
        shift: (N, A) in pixels, toward higher indices.
        corner: (N, A) int64, first pixel of the crop.
        crop: (A,) pixels of the images after the crop.
        contrast: (N,) factor of the distance from the image's mean.
        brightness: (N,) added, in the unit of the images.
        noise: (N,) standard deviation, in the unit of the images.
        erase: (N, 2, A) int64, first pixel of the erased box after the crop, and the first beyond it.
        seed: of the noise.
    """

    size: tuple[int, ...]
    scale: Tensor
    rotation: Tensor
    flip: Tensor
    shift: Tensor
    corner: Tensor
    crop: tuple[int, ...]
    contrast: Tensor
    brightness: Tensor
    noise: Tensor
    erase: Tensor
    seed: int

    def __len__(self) -> int:
        return len(self.scale)

    def to(self, device: torch.device) -> "Augmentation":
        """The same on another device."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        return replace(self, **{name: value.to(device) for name, value in tensors.items()})


def draw(n: int, size: Sequence[int], ranges: Ranges, generator: torch.Generator) -> Augmentation:
    """Draw the changes of n images of a size, (rows, columns) or (planes, rows, columns), on the generator's device.

    Each is uniform in its range; scale and contrast are uniform in their logarithm.

    Raises:
        ValueError: where a range makes no sense for images of this size.
    """
    size, axes = tuple(size), len(size)
    crop = size if ranges.crop is None else tuple(ranges.crop)
    _require_sensible(ranges, size, crop)
    device = generator.device

    def between(reach: float, *shape: int) -> Tensor:
        return (2 * torch.rand(n, *shape, generator=generator, device=device, dtype=torch.float64) - 1) * reach

    asked = torch.tensor([axis - axes in ranges.flip for axis in range(axes)], device=device)
    room = torch.tensor([whole - kept for whole, kept in zip(size, crop, strict=True)], device=device)
    return Augmentation(
        size=size,
        scale=between(math.log(ranges.scale)).exp(),
        rotation=between(ranges.rotation),
        flip=(between(1.0, axes) < 0) & asked,
        shift=between(ranges.shift, axes),
        corner=((between(0.5, axes) + 0.5) * (room + 1)).long(),
        crop=crop,
        contrast=between(math.log(ranges.contrast)).exp(),
        brightness=between(ranges.brightness),
        noise=between(ranges.noise).abs(),
        erase=_erased(n, crop, ranges.erase, generator),
        seed=int(torch.randint(2 ** 31, (1,), generator=generator, device=device)),
    )


def apply(images: Tensor, augmentation: Augmentation, fill: float | None = None) -> Tensor:
    """Change images as drawn, on their device: (N, C, \\*size) to (N, C, \\*crop).

    Values between pixels are interpolated linearly; shifts by whole pixels, flips, quarter turns and crops move values
    without changing them. The erased box holds uniform noise between the image's lowest and highest value.

    Args:
        fill: value outside of the image; by default the lowest value of each image, which is air or background.

    Raises:
        ValueError: where number or size of the images are not those that were drawn for.
    """
    return _apply(images, augmentation, fill)[0]


def apply_to_cases(cases: Cases, augmentation: Augmentation, fill: float | None = None) -> Cases:
    """Change cases as drawn: images as in ``apply``, masks and boxes moved with them.

    A mask holds where at least half of it falls on a pixel. A box becomes the smallest upright box round its four (in
    3D eight) moved corners, so a rotation enlarges it; it is clipped to the image, and dropped with its label where
    nothing of it is left. An erased lesion keeps its mask and its box. Labels stay, so do not flip where a class names
    a side. Spacing stays too, as if the patient had changed size; the parameters of a phantom are dropped.

    Raises:
        ValueError: as in ``apply``.
    """
    stacked = torch.stack(list(cases.masks.values()), 1) if cases.masks else None   # (N, masks, *size)
    images, masks = _apply(cases.images, augmentation, fill, stacked)
    boxes, kept = zip(*map(_moved, cases.boxes, *_matrix(augmentation), [augmentation.crop] * len(cases)),
                      strict=True) if cases.boxes else (None, None)
    return replace(cases, images=images, masks=dict(zip(cases.masks, masks.unbind(1), strict=True)), parameters=None,
                   boxes=boxes and list(boxes),
                   box_labels=cases.box_labels and [x[k] for x, k in zip(cases.box_labels, kept, strict=True)])
