"""Power-law texture for the mammogram phantom: the same breast from the same seed, whatever the number of pixels.

The Fourier coefficients of a field of fixed size in mm are drawn from the coarsest to the finest. A larger image takes
more of the same list, so it shows the same tissue in more detail instead of other tissue.
"""

from functools import lru_cache

import torch
from torch import Tensor

FIELD = (240.0, 160.0)
"""Height and width in mm after which the texture repeats; the height is that of the detector."""

BETA = 3.1
"""Exponent of the fields' power spectrum 1 / f^beta; the gland made from them comes near 3, as measured in mammograms
(Burgess, Jacobson and Judy, Medical Physics 28, 2001, 419-437)."""

LONGEST = 50.0
"""Wavelength in mm above which the spectrum is flat, so that a breast holds several islands of tissue, not one half."""


def texture(seeds: Tensor, rows: int, device: torch.device) -> Tensor:
    """Gaussian fields with power 1 / f^beta, mean 0 and standard deviation 1 over the field.

    Args:
        seeds: (N,) int64, one per image.
        rows: pixels that ``FIELD`` is high.

    Returns:
        (N, rows, columns) with columns = rows x 2/3, rounded.
    """
    columns = round(rows * FIELD[1] / FIELD[0])
    order, slope = (t.to(device) for t in _spectrum(rows, columns))
    drawn = torch.stack([torch.randn(len(order), 2, generator=torch.Generator().manual_seed(s))
                         for s in seeds.tolist()]).to(device)                      # coarse ones first
    spectrum = torch.zeros(len(seeds), rows * (columns // 2 + 1), dtype=torch.complex64, device=device)
    spectrum[:, order] = torch.view_as_complex(drawn) * slope
    return torch.fft.irfft2(spectrum.view(len(seeds), rows, -1), s=(rows, columns), norm="forward")


@lru_cache(maxsize=8)
def _spectrum(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Places of the half spectrum's coefficients from coarse to fine, and their amplitudes in that order."""
    i = torch.fft.fftfreq(rows, 1 / rows).round().long()[:, None]
    j = torch.arange(columns // 2 + 1)[None]
    ring = torch.maximum(2 * i.abs(), 3 * j)                                        # both axes end together
    order = (ring * 2 ** 30 + (i + 2 ** 14) * 2 ** 15 + j).flatten().argsort()[1:]  # all but the mean
    f2 = (i / FIELD[0]).square() + (j / FIELD[1]).square()                          # cycles per mm, squared
    power = (f2 + LONGEST ** -2) ** (-BETA / 2)
    power[0, 0] = 0
    twice = torch.where(j > 0, 2.0, 1.0)                                            # the half that is not stored
    return order, (power / (2 * power * twice).sum()).sqrt().flatten()[order]
