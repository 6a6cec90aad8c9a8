"""Do three kernels extract what Fig. 3 d of the review names: horizontal edges, vertical edges, outlines?

The energy of a response is the mean of its square over the pixels asked about. Three kinds of images, 28 x 28, drawn
anew for each seed, all with noise of standard deviation 0.1:

* 200 gratings for each of 12 orientations: sine waves of random frequency, phase and contrast;
* 200 bright rectangles of random place, size and contrast, where a window of 3 x 3 pixels is known to hold a
  horizontal side, a vertical side, a corner or nothing;
* 100 handwritten ones, whose stroke runs top to bottom, half of them (at random) turned by 90 degrees.

The kernels are the usual ones of these names (the review's text gives no numbers). All settings and the conditions
were written down before the first run and not changed after it. Supported where all of these hold for the interval
over the seeds:

1. each edge kernel has over twice the energy on stripes of its own direction than on stripes across it;
2. each edge kernel has over twice the energy on sides of its own direction than on sides across it;
3. the outline kernel has over twice the energy on sides than on even areas, and alike on sides of both directions
   (their ratio lies between 1/2 and 2);
4. over all orientations of the stripes, the outline kernel's largest energy over its smallest is below that of either
   edge kernel;
5. the stronger of the two edge kernels tells upright from turned ones more often than chance (0.5).
"""

import math

import torch
from torch import Tensor

from companion.convolution import convolve, windows
from companion.datasets import digits

CLAIM = "kernels-are-detectors"
NAMES = ("horizontal edge", "vertical edge", "outline")
KERNELS = torch.tensor([[[1.0, 1, 1], [0, 0, 0], [-1, -1, -1]],
                        [[1, 0, -1], [1, 0, -1], [1, 0, -1]],
                        [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]])[:, None]              # (3, 1, 3, 3)
ORIENTATIONS = range(0, 180, 15)        # degrees
SIZE = 28                               # pixels
NOISE = 0.1                             # standard deviation; the contrast is 0.5 to 1
IMAGES = 200                            # of each orientation, and rectangles
ONES = 100


def run(seed: int, device: torch.device) -> dict[str, float]:
    """Energies as ratios, and the share of handwritten ones whose direction is told rightly, for one seed."""
    generator = torch.Generator().manual_seed(seed)
    return _stripes(generator, device) | _sides(generator, device) | _ones(generator, device)


def gratings(degrees: float, count: int, generator: torch.Generator) -> Tensor:
    """Stripes of one orientation (0 for horizontal, 90 for vertical), with noise: (count, 1, 28, 28), mean 0.

    Contrast from 0.5 to 1, frequency from 0.05 to 0.25 cycles per pixel, any phase.
    """
    contrast, frequency, phase = torch.rand(3, count, 1, 1, 1, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    across = rows * math.cos(math.radians(degrees)) + columns * math.sin(math.radians(degrees))
    waves = torch.sin(2 * math.pi * ((0.05 + 0.2 * frequency) * across + phase))
    return _noisy((0.5 + 0.5 * contrast) * waves, generator)


def rectangles(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Bright rectangles on black, with noise, and what each window of 3 x 3 pixels holds.

    Returns:
        images (count, 1, 28, 28); masks (count, 1, 26, 26) of horizontal sides, vertical sides and nothing. Corners are
            in none of them.
    """
    ends = torch.sort(torch.randint(2, SIZE - 7, (2, 2, count, 1, 1, 1), generator=generator), dim=0).values
    (top, left), (bottom, right) = ends[0], ends[1] + 5                                    # at least 5 pixels long
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    inside = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    contrast = 0.5 + 0.5 * torch.rand(count, 1, 1, 1, generator=generator)
    patches = windows(inside.float(), 3)
    rows_even = (patches == patches[..., :, :1]).all(dim=(-2, -1))
    columns_even = (patches == patches[..., :1, :]).all(dim=(-2, -1))
    masks = rows_even & ~columns_even, columns_even & ~rows_even, rows_even & columns_even
    return _noisy(contrast * inside, generator), *masks


def energies(images: Tensor, device: torch.device) -> Tensor:
    """Squared responses of the three kernels: (N, 1, H, W) to (N, 3, H - 2, W - 2)."""
    return convolve(images.to(device), KERNELS.to(device)).square()


def _stripes(generator: torch.Generator, device: torch.device) -> dict[str, float]:
    tuning = torch.stack([energies(gratings(degrees, IMAGES, generator), device).mean(dim=(0, 2, 3))
                          for degrees in ORIENTATIONS])                                    # (orientations, 3)
    along, across = tuning[ORIENTATIONS.index(0)], tuning[ORIENTATIONS.index(90)]
    selectivity = tuning.max(dim=0).values / tuning.min(dim=0).values
    return {"horizontal kernel, stripes": (along[0] / across[0]).item(),
            "vertical kernel, stripes": (across[1] / along[1]).item(),
            "edge kernels, selectivity": selectivity[:2].min().item(),
            "outline kernel, selectivity": selectivity[2].item()}


def _sides(generator: torch.Generator, device: torch.device) -> dict[str, float]:
    images, *masks = rectangles(IMAGES, generator)
    squares = energies(images, device)
    along, across, even = (torch.stack([squares[:, k][m[:, 0].to(device)].mean() for k in range(3)]) for m in masks)
    return {"horizontal kernel, sides": (along[0] / across[0]).item(),
            "vertical kernel, sides": (across[1] / along[1]).item(),
            "outline kernel, horizontal over vertical sides": (along[2] / across[2]).item(),
            "outline kernel, sides over even areas": (torch.minimum(along[2], across[2]) / even[2]).item()}


def _ones(generator: torch.Generator, device: torch.device) -> dict[str, float]:
    images, labels = digits.load(SIZE)
    ones = images[labels == 1]
    ones = _noisy(ones[torch.randperm(len(ones), generator=generator)[:ONES]] / 255, generator)
    turned = torch.rand(ONES, generator=generator) < 0.5
    ones[turned] = ones[turned].rot90(dims=(2, 3))
    horizontal, vertical, _ = energies(ones, device).mean(dim=(2, 3)).T
    return {"ones, direction told": ((horizontal > vertical).cpu() == turned).float().mean().item()}


def _noisy(images: Tensor, generator: torch.Generator) -> Tensor:
    return images + NOISE * torch.randn(images.shape, generator=generator)
