"""Does pooling make a representation less sensitive to small shifts and distortions? Book: Part 1, pooling.

Feature maps of real handwritten digits are compared before and after the digits are shifted by 1, 2 or 3 pixels,
rotated by 5 degrees, or bent elastically. Every way of pooling uses the *same* kernels: those of a small CNN, random as
at the start of training, or trained with max pooling.

Fixed before any result was looked at:

* Maps: after both rounds of convolution, ReLU and pooling of ``SmallCNN``. Without pooling, the second convolution is
  dilated by 2, so that its kernels keep the scale that they have after a pooling; the maps are then the ones that
  "every second value" takes its samples from.
* Change: the mean distance (L2) between the maps of a digit and those of the same digit moved, by two yardsticks. *Own
  length*: over the mean length of the maps. *Other digits*: over the mean distance between the maps of two different
  digits, so that 0 is invariance and 1 is as different as another image. The second is the stricter one: pooling may
  bring all images closer together, those that should be told apart too.
* Digits: 28 x 28 in a canvas with a margin of 8, so that nothing is lost at the border; 100 for measuring, 1697 for
  training (100 steps of Adam, rate 0.003, 64 digits a step: ordinary values, not tuned).

A condition for each kind of kernels and each kind of movement (shifts, distortions): by the second yardstick the change
is smaller with max pooling than without, for every such movement (the 95 % interval of the difference lies above 0).
Supported where all hold. The first yardstick is recorded beside it, as the outcome hangs on the choice.

The limit is measured too: the average of each map (global average pooling) is free of position, so without pooling it
does not change at all when the digit moves. After two poolings with stride 2 it changes, unless the shift is a multiple
of 4 (Zhang, 2019; Azulay and Weiss, 2019).
"""

from collections.abc import Callable
from itertools import product
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from companion import convolution, hardware
from companion.datasets import digits
from companion.models.small_cnn import SmallCNN

CLAIM = "pool-shift-invariance"
MARGIN, TEST, STEPS, BATCH, RATE = 8, 100, 100, 64, 0.003
POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "every second value": lambda maps: maps[:, :, ::2, ::2],
    "average pooling": lambda maps: convolution.average_pool(maps, 2),
    "max pooling": lambda maps: convolution.max_pool(maps, 2),
}
WAYS = ("no pooling", *POOLS)
SHIFTS = (1, 2, 3)
MOVEMENTS = (*(f"shift {s}" for s in SHIFTS), "rotation", "bending")
YARDSTICKS = ("own length", "other digits")


def feature_maps(images: Tensor, model: SmallCNN, way: str) -> Tensor:
    """The maps after two rounds of convolution, ReLU and the given way of pooling, all with the model's kernels.

    Shape: (N, 1, H, W) to (N, 16, H / 4, W / 4), or (N, 16, H, W) for ``no pooling``; H and W are multiples of 4.

    Args:
        way: one of ``WAYS``.
    """
    first, second = (block[0] for block in model.features)
    maps = F.relu(F.conv2d(images, first.weight, first.bias, padding=1))
    if way == "no pooling":
        return F.relu(F.conv2d(maps, second.weight, second.bias, padding=2, dilation=2))
    pool = POOLS[way]
    return pool(F.relu(F.conv2d(pool(maps), second.weight, second.bias, padding=1)))


def shift(images: Tensor, rows: int, columns: int) -> Tensor:
    """Move the content down and to the right by whole pixels; what leaves on one side enters on the other."""
    return images.roll((rows, columns), dims=(-2, -1))


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Turn images (N, C, H, W) about their centre, anticlockwise, with bilinear interpolation."""
    angle = torch.deg2rad(torch.tensor(degrees))
    matrix = torch.stack([torch.stack([angle.cos(), -angle.sin(), angle.new_zeros(())]),
                          torch.stack([angle.sin(), angle.cos(), angle.new_zeros(())])])
    grid = F.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid.to(images), align_corners=False)


def bend(images: Tensor, generator: torch.Generator) -> Tensor:
    """Elastic distortion: each pixel moves by 1 pixel (root mean square, per axis), neighbours nearly alike.

    A smooth field, drawn for each image on 6 x 6 points and interpolated (bicubic), says how far.

    Shape: (N, C, H, W), square, to the same.
    """
    n, side = len(images), images.shape[-1]
    field = F.interpolate(torch.randn(n, 2, 6, 6, generator=generator), size=(side, side), mode="bicubic")
    field = field / field.square().mean((2, 3), keepdim=True).sqrt() * (2 / side)    # grid_sample counts 2 per side
    still = F.affine_grid(torch.eye(2, 3).expand(n, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, (still + field.movedim(1, -1)).to(images), align_corners=False)


def distance(a: Tensor, b: Tensor) -> float:
    """Mean over images of the L2 distance between two sets of maps, each (N, ...)."""
    return (a - b).flatten(1).norm(dim=1).mean().item()


def changes(maps: Tensor, moved: Tensor) -> dict[str, float]:
    """Distance between the maps before and after a movement, both (N, ...), by each of ``YARDSTICKS``."""
    moving = distance(moved, maps)
    return {"own length": moving / distance(maps, torch.zeros_like(maps)),
            "other digits": moving / distance(maps.roll(1, 0), maps)}


def movements(images: Tensor, generator: torch.Generator) -> dict[str, list[Tensor]]:
    """The images moved, by name: shifts to the right and downwards, rotations both ways, one elastic distortion."""
    shifts = [[shift(images, s, 0), shift(images, 0, s)] for s in SHIFTS]
    distortions = [[rotate(images, 5.0), rotate(images, -5.0)], [bend(images, generator)]]
    return dict(zip(MOVEMENTS, shifts + distortions, strict=True))


def prepared(seed: int, device: torch.device) -> tuple[digits.Digits, Tensor]:
    """Training digits as drawn (uint8, 28 x 28), and images (100, 1, 44, 44) in [0, 1] with a margin, for measuring."""
    train, test = digits.split(digits.load(28), TEST, torch.Generator().manual_seed(seed))
    return train, F.pad(test.images.to(device) / 255, (MARGIN,) * 4)


def train(model: nn.Module, data: digits.Digits, generator: torch.Generator) -> None:
    """Fit the model to the digits, in place, on the device where it is."""
    device = next(model.parameters()).device
    images, labels = data.images.to(device) / 255, data.labels.to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(STEPS):
        chosen = torch.randint(len(labels), (BATCH,), generator=generator).to(device)
        optimiser.zero_grad()
        F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optimiser.step()


@torch.no_grad()
def measure(model: SmallCNN, images: Tensor, generator: torch.Generator) -> dict[tuple[str, str, str], float]:
    """The change for each way of pooling, movement and yardstick, in this order."""
    moved, found = movements(images, generator), {}
    for way in WAYS:
        maps = feature_maps(images, model, way)
        for movement, versions in moved.items():
            each = [changes(maps, feature_maps(version, model, way)) for version in versions]
            found |= {(way, movement, y): fmean(change[y] for change in each) for y in YARDSTICKS}
    return found


@torch.no_grad()
def averages(model: SmallCNN, images: Tensor, way: str, furthest: int) -> list[float]:
    """Change of the maps' averages, relative to other digits, for shifts to the right by 0, 1, ..., ``furthest``."""
    pooled = [feature_maps(shift(images, 0, s), model, way).mean((2, 3)) for s in range(furthest + 1)]
    return [changes(pooled[0], p)["other digits"] for p in pooled]


def run(seed: int, device: torch.device) -> dict[str, float]:
    """Random and trained kernels of one seed.

    Returns:
        By names such as ``trained, max pooling, shift 1, own length``: the change. By ``trained, margin, shift 1, own
        length``: the change without pooling minus that with max pooling. By ``trained, average of max pooling, shift
        2``: the change of the maps' averages.
    """
    generator = hardware.seed(seed)
    data, images = prepared(seed, device)
    model, numbers = SmallCNN().to(device), {}
    for kernels in ("random", "trained"):
        if kernels == "trained":
            train(model, data, generator)
        found = measure(model, images, generator)
        for movement, y in product(MOVEMENTS, YARDSTICKS):
            margin = found["no pooling", movement, y] - found["max pooling", movement, y]
            numbers[f"{kernels}, margin, {movement}, {y}"] = margin
        numbers |= {", ".join((kernels, *key)): value for key, value in found.items()}
        for way in ("no pooling", "max pooling"):
            for s, value in enumerate(averages(model, images, way, 4)[1:], start=1):
                numbers[f"{kernels}, average of {way}, shift {s}"] = value
    return numbers
