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
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from companion.datasets.cases import Cases

ERASED_AREA = (0.02, 0.4)  # share of the image, as in Zhong et al.
ERASED_ASPECT = 0.3        # rows to columns, down from here and up to its inverse
TRIES = 256                # at a box that fits; in 3D about one in 16 does


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
    noise is added, and a box is erased. The tensors are small and lie on the CPU, whatever the device of the images.

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


def draw(n: int, size: Sequence[int], ranges: Ranges, generator: torch.Generator) -> Augmentation:
    """Draw the changes of n images of a size, (rows, columns) or (planes, rows, columns).

    Each is uniform in its range; scale and contrast are uniform in their logarithm.

    Raises:
        ValueError: where a range makes no sense for images of this size.
    """
    size, axes = tuple(size), len(size)
    crop = size if ranges.crop is None else tuple(ranges.crop)
    _require_sensible(ranges, size, crop)

    def between(reach: float, *shape: int) -> Tensor:
        return (2 * _uniform(generator, n, *shape) - 1) * reach

    asked = torch.tensor([axis - axes in ranges.flip for axis in range(axes)])
    room = torch.tensor([whole - kept for whole, kept in zip(size, crop, strict=True)])
    return Augmentation(
        size=size,
        scale=between(math.log(ranges.scale)).exp(),
        rotation=between(ranges.rotation),
        flip=(between(1.0, axes) < 0) & asked,
        shift=between(ranges.shift, axes),
        corner=(_uniform(generator, n, axes) * (room + 1)).long(),
        crop=crop,
        contrast=between(math.log(ranges.contrast)).exp(),
        brightness=between(ranges.brightness),
        noise=between(ranges.noise).abs(),
        erase=_erased(n, crop, ranges.erase, generator),
        seed=int(_uniform(generator, 1) * 2 ** 31),
    )


def apply(images: Tensor, augmentation: Augmentation, fill: float | None = None) -> Tensor:
    """Change images as drawn, on their device: (N, C, \\*size) to (N, C, \\*crop).

    Values between pixels are interpolated linearly; shifts by whole pixels, flips, quarter turns and crops move values
    without changing them. The erased box holds uniform noise between the image's lowest and highest value.

    Args:
        fill: value outside of the image; by default the lowest value of each image, which is air or background.

    Raises:
        ValueError: where number or size of the images are not those that were drawn for, or they are not floating-point
            numbers. Half precision is computed in float32, since its digits do not tell pixels apart.
    """
    if not images.is_floating_point():
        raise ValueError(f"the images are {images.dtype}, but must be floating-point numbers: convert with .float()")
    wide = images if images.dtype == torch.float64 else images.float()
    return _apply(wide, augmentation, fill)[0].to(images.dtype)


def apply_to_cases(cases: Cases, augmentation: Augmentation, fill: float | None = None) -> Cases:
    """Change cases as drawn: images as in ``apply``, masks and boxes moved with them.

    A mask holds where more than half of a pixel is covered. A box becomes the smallest upright box round its moved
    corners, so a rotation enlarges it; it is clipped to the image, and dropped with its label where nothing is left of
    it. An erased lesion keeps its mask and its box. Labels stay, so do not flip where a class names a side. Spacing
    stays too, as if the patient were of another size. The parameters of a phantom are dropped.

    Raises:
        ValueError: as in ``apply``.
    """
    stacked = torch.stack(list(cases.masks.values()), 1) if cases.masks else None  # (N, masks, *size)
    images, masks = _apply(cases.images, augmentation, fill, stacked)
    moved = replace(cases, images=images, masks=dict(zip(cases.masks, masks.unbind(1), strict=True)), parameters=None)
    if not cases.boxes:
        return moved
    boxes, kept = [], []
    for before, matrix, offset in zip(cases.boxes, *_forward(augmentation), strict=True):
        after, left = _moved(before, matrix, offset, augmentation.crop)
        boxes.append(after)
        kept.append(left)
    labels = cases.box_labels and [label[left] for label, left in zip(cases.box_labels, kept, strict=True)]
    return replace(moved, boxes=boxes, box_labels=labels)


def _apply(images: Tensor, augmentation: Augmentation, fill: float | None, masks: Tensor | None = None
           ) -> tuple[Tensor, Tensor]:
    """Images (N, C, *crop) and masks (N, masks, *crop) from those of full size."""
    if len(images) != len(augmentation) or images.shape[2:] != augmentation.size:
        raise ValueError(f"the changes were drawn for {len(augmentation)} images of {augmentation.size} pixels, but "
                         f"there are {len(images)} of {tuple(images.shape[2:])}: draw for these")
    channels = images.shape[1]
    everything = [images, torch.ones_like(images[:, :1]), *([] if masks is None else [masks.to(images.dtype)])]
    moved = _warped(torch.cat(everything, 1), augmentation)
    outside = images.flatten(1).amin(1) if fill is None else images.new_full([len(images)], fill)
    images = moved[:, :channels] + (1 - moved[:, channels:channels + 1]) * _per_image(outside, images)
    return _greyed(images, augmentation), moved[:, channels + 1:] > 0.5


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """(N,) to a shape that multiplies (N, C, *size)."""
    return values.to(images).view(-1, *[1] * (images.dim() - 1))


# Where things go. Places are distances from the corner of the image in pixels, so pixel i reaches from i to i + 1.

def _forward(a: Augmentation) -> tuple[Tensor, Tensor]:
    """Matrix (N, A, A) and offset (N, A): a point p of an image goes to matrix @ p + offset."""
    axes, angle = len(a.size), torch.deg2rad(a.rotation.double())
    turn = torch.eye(axes, dtype=torch.float64).repeat(len(a), 1, 1)
    turn[:, -2, -2] = turn[:, -1, -1] = angle.cos()
    turn[:, -1, -2], turn[:, -2, -1] = angle.sin(), -angle.sin()  # counter-clockwise, as rows count downward
    matrix = (1 - 2 * a.flip.double())[..., None] * turn * a.scale.double()[:, None, None]
    middle = torch.tensor(a.size, dtype=torch.float64) / 2
    return matrix, middle - matrix @ middle + a.shift.double() - a.corner


def _warped(images: Tensor, a: Augmentation) -> Tensor:
    """Images (N, C, *size) to (N, C, *crop), zero outside."""
    matrix, offset = _forward(a)
    back = torch.linalg.inv(matrix)
    size, crop = (torch.tensor(pixels, dtype=torch.float64) for pixels in (a.size, a.crop))
    turn = 2 / size[:, None] * back * crop / 2          # places from -1 to 1, as grid_sample counts them
    move = 2 / size * (back @ (crop / 2 - offset)[..., None])[..., 0] - 1
    theta = torch.cat([turn.flip(1, 2), move.flip(1)[..., None]], 2).to(images)  # x before y before z
    first = (back @ (0.5 - offset)[..., None])[..., 0] - 0.5  # index of the pixel that comes to the first place
    whole = torch.cat([back.flatten(1), first], 1)
    exact = ((whole - whole.round()).abs() < 1e-6).all(1).to(images.device)  # pixels fall on pixels
    moved = images.new_empty(*images.shape[:2], *a.crop)
    for chosen, mode in ((exact, "nearest"), (~exact, "bilinear")):
        if chosen.any():
            grid = affine_grid(theta[chosen], [int(chosen.sum()), *moved.shape[1:]], align_corners=False)
            moved[chosen] = grid_sample(images[chosen], grid, mode=mode, align_corners=False)
    return moved


def _moved(boxes: Tensor, matrix: Tensor, offset: Tensor, crop: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Boxes (n, 2 A) of one image after the change, and which of the boxes given are left, (n,)."""
    axes = len(crop)
    low, high = boxes.cpu().double().view(-1, 2, axes).flip(2).unbind(1)  # x, y, z to the order of the array
    pick = torch.cartesian_prod(*[torch.tensor([False, True])] * axes)    # (corners, A)
    corners = torch.where(pick, high[:, None], low[:, None]) @ matrix.T + offset
    end = torch.tensor(crop, dtype=torch.float64)
    low, high = (edge.clamp_min(0).minimum(end) for edge in (corners.amin(1), corners.amax(1)))
    kept = (high - low > 1e-6).all(1)
    moved = torch.cat([low.flip(1), high.flip(1)], 1)[kept]
    return moved.to(boxes.device, boxes.dtype if boxes.is_floating_point() else torch.float32), kept.to(boxes.device)


# What happens to the grey levels

def _greyed(images: Tensor, a: Augmentation) -> Tensor:
    generator = torch.Generator(images.device).manual_seed(a.seed)
    flat = images.flatten(1)
    low, mean, high = (_per_image(values, images) for values in (flat.amin(1), flat.mean(1), flat.amax(1)))
    images = images + _per_image(a.contrast - 1, images) * (images - mean) + _per_image(a.brightness, images)
    if a.noise.any():
        noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
        images = images + _per_image(a.noise, images) * noise
    if a.erase.any():
        noise = torch.rand(images.shape, generator=generator, device=images.device, dtype=images.dtype)
        images = torch.where(_inside(a.erase, a.crop).to(images.device), low + (high - low) * noise, images)
    return images


def _inside(boxes: Tensor, size: tuple[int, ...]) -> Tensor:
    """True in the box (N, 2, A) of each image: (N, 1, *size)."""
    inside = torch.ones(len(boxes), 1, *size, dtype=torch.bool)
    for axis, count in enumerate(size):
        place = torch.arange(count)
        low, high = boxes[:, :, axis, None].unbind(1)        # (N, 1)
        along = (place >= low) & (place < high)              # (N, count)
        inside &= along.view(len(boxes), 1, *(count if i == axis else 1 for i in range(len(size))))
    return inside


# What is drawn

def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Numbers from 0 to below 1, float64, on the CPU."""
    return torch.rand(shape, generator=generator, device=generator.device).cpu().double()


def _erased(n: int, size: tuple[int, ...], probability: float, generator: torch.Generator) -> Tensor:
    """A box for each image, (N, 2, A), empty where nothing is erased: algorithm 1 of Zhong et al., tries at once."""
    share, aspect = _uniform(generator, 2, n, TRIES)
    share = ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * share
    aspect = ERASED_ASPECT + (1 / ERASED_ASPECT - ERASED_ASPECT) * aspect
    whole = torch.tensor(size)
    sides = whole * share[..., None] ** (1 / len(size))      # (N, TRIES, A)
    area = sides[..., -2] * sides[..., -1]
    sides[..., -2], sides[..., -1] = (area * aspect).sqrt(), (area / aspect).sqrt()
    low = (_uniform(generator, *sides.shape) * whole).long()
    high = low + sides.round().clamp_min(1).long()
    fits = (high <= whole).all(2)
    boxes = torch.stack([low, high], 2)[torch.arange(n), fits.int().argmax(1)]
    return boxes * (fits.any(1) & (_uniform(generator, n) < probability))[:, None, None]


def _require_sensible(ranges: Ranges, size: tuple[int, ...], crop: tuple[int, ...]) -> None:
    if len(size) not in (2, 3):
        raise ValueError(f"the size is {size}, but must be (rows, columns) or (planes, rows, columns)")
    if len(crop) != len(size) or not all(0 < kept <= whole for kept, whole in zip(crop, size, strict=True)):
        raise ValueError(f"the crop is {crop}, but must lie within the image, {size}")
    if not set(ranges.flip) <= set(range(-len(size), 0)):
        raise ValueError(f"flip is {ranges.flip}, but must name axes from {-len(size)} to -1")
    for name, least in (("shift", 0), ("rotation", 0), ("scale", 1), ("erase", 0), ("brightness", 0), ("contrast", 1),
                        ("noise", 0)):
        value, most = getattr(ranges, name), 1 if name == "erase" else math.inf
        if not least <= value <= most or value == math.inf:
            raise ValueError(f"{name} is {value}, but must lie in {least} to {most}")
