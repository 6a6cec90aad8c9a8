r"""Model observers: how well a known signal can be seen in known noise, in closed form. Book: *Data of this book*.

The task: decide whether an image g holds the known signal s at its known place, or noise alone (signal known exactly).
The noise is Gaussian with covariance K. A linear observer computes the score t = wᵀg with its template w and calls a
signal where t is high. Its detectability and its area under the ROC curve are

    d' = wᵀs / sqrt(wᵀKw)        AUC = Φ(d' / sqrt 2)

with Φ the normal distribution function (Barrett and Myers, Foundations of Image Science, Wiley 2004, chapter 13).

* ``ideal`` takes w = K⁻¹s: it whitens the noise, then matches the signal. No observer, linear or not, human or network,
  has a higher AUC; d'² = sᵀK⁻¹s. For Gaussian noise it is the ideal observer and the Hotelling observer in one.
* ``matched`` takes w = s, as if the noise were white (non-prewhitening matched filter).
* ``channelised`` sees only the outputs v = Uᵀg of a few channels and is ideal with these: w = U (UᵀKU)⁻¹Uᵀs. With
  band-pass channels as in ``dog_channels`` it follows the performance of human readers (Myers and Barrett, J Opt Soc Am
  A 4, 1987, 2447-2457; Abbey and Barrett, J Opt Soc Am A 18, 2001, 473-488).

Signals and templates have the shape of an image (\*size), K is (M, M) with M pixels. Stationary noise is described by
its power spectrum (H, W) instead: the variance at each frequency of ``torch.fft.fft2``, whose mean is the variance of a
pixel. It wraps around the border, and ``covariance`` turns it into K. Results are float64.
"""

import math

import torch
from torch import Tensor


def ideal(signal: Tensor, covariance: Tensor) -> Tensor:
    """Template K⁻¹s of the ideal observer, of the signal's shape.

    Args:
        signal: (\\*size).
        covariance: (M, M) of the M pixels, in the order of ``signal.flatten()``.

    Raises:
        ValueError: where the shapes disagree or the covariance is not symmetric and positive definite.
    """
    _require_fit(signal, covariance)
    return torch.cholesky_solve(signal.double().reshape(-1, 1), _cholesky(covariance)).view(signal.shape)


def ideal_stationary(signal: Tensor, spectrum: Tensor) -> Tensor:
    """The same template (H, W) for stationary noise: the signal divided by the power spectrum, frequency by frequency.

    Raises:
        ValueError: where the shapes disagree or the spectrum is not positive everywhere.
    """
    _require_spectrum(spectrum)
    if signal.shape != spectrum.shape:
        raise ValueError(f"the signal has shape {tuple(signal.shape)}, but the spectrum {tuple(spectrum.shape)}: "
                         "they must agree")
    return torch.fft.ifft2(torch.fft.fft2(signal.double()) / spectrum.double()).real


def matched(signal: Tensor) -> Tensor:
    """Template of the non-prewhitening matched filter: the signal itself."""
    return signal.double()


def channelised(signal: Tensor, covariance: Tensor, channels: Tensor) -> Tensor:
    """Template U (UᵀKU)⁻¹Uᵀs of the channelised Hotelling observer, of the signal's shape.

    Args:
        signal, covariance: as in ``ideal``.
        channels: (C, \\*size), linearly independent.

    Raises:
        ValueError: as in ``ideal``; also where the channels are of another size or linearly dependent.
    """
    _require_fit(signal, covariance)
    if channels.shape[1:] != signal.shape:
        raise ValueError(f"the channels have shape {tuple(channels.shape)}, but must be (C, *size) with the signal's "
                         f"size {tuple(signal.shape)}")
    u = channels.double().flatten(1)                                               # (C, M), the transpose of U
    outputs = u @ covariance.double() @ u.T
    return (u.T @ torch.cholesky_solve(u @ signal.double().reshape(-1, 1), _cholesky(outputs))).view(signal.shape)


def detectability(template: Tensor, signal: Tensor, covariance: Tensor) -> float:
    """d' of a linear observer: distance of its mean scores with and without signal, in standard deviations.

    Raises:
        ValueError: where shapes disagree, or the template is 0 everywhere.
    """
    _require_fit(signal, covariance)
    if template.shape != signal.shape or not template.any():
        raise ValueError(f"the template has shape {tuple(template.shape)} and {int((template != 0).sum())} values "
                         f"other than 0, but must have the signal's shape {tuple(signal.shape)} and hold one at least")
    w, s = template.double().flatten(), signal.double().flatten()
    return float(w @ s / (w @ (covariance.double() @ w)).sqrt())


def auc(detectability: float) -> float:
    """Area under the ROC curve Φ(d' / sqrt 2) of an observer with Gaussian scores of equal variance."""
    return 0.5 * math.erfc(-detectability / 2)


def scores(template: Tensor, images: Tensor) -> Tensor:
    """The scores wᵀg (N,) of images (N, \\*size), or (N, 1, \\*size) with their channel."""
    return images.double().flatten(1) @ template.double().flatten()


def dog_channels(size: tuple[int, int], *, count: int = 10, first: float = 0.005, step: float = 1.4,
                 ratio: float = 1.67) -> Tensor:
    """Difference-of-Gaussian channels (count, H, W), centred at row H // 2 and column W // 2.

    Each passes a ring of spatial frequencies, as groups of cells in the visual cortex do. Channel j has the spectrum
    exp(-f² / 2(ratio σ)²) - exp(-f² / 2σ²) with σ = first · stepʲ. The defaults are the ten dense channels of Abbey and
    Barrett (2001). All are blind to the mean of the image. In images below 24 pixels the lowest of them can no longer
    be told apart: there take a higher ``first``.

    Args:
        first: σ of the lowest channel in cycles per pixel.
        step, ratio: from σ to the next, and from the inner to the outer width of a ring; above 1.

    Raises:
        ValueError: where an argument is not positive, or ``step`` or ``ratio`` is not above 1.
    """
    if count < 1 or min(*size, first) <= 0 or min(step, ratio) <= 1:
        raise ValueError(f"count, size and first are {count}, {size} and {first}, but must be positive; step and ratio "
                         f"are {step} and {ratio}, but must be above 1")
    squared = frequencies(size) ** 2
    width = (first * step ** torch.arange(count, dtype=torch.float64)).view(-1, 1, 1)
    rings = torch.exp(-squared / (2 * (ratio * width) ** 2)) - torch.exp(-squared / (2 * width ** 2))
    return torch.fft.ifft2(rings).real.roll((size[0] // 2, size[1] // 2), (1, 2))


def disk(size: tuple[int, int], radius: float, contrast: float = 1.0) -> Tensor:
    """A disk (H, W) of the given radius in pixels, with an edge one pixel wide, at row H // 2 and column W // 2."""
    rows, columns = (torch.arange(length, dtype=torch.float64) - length // 2 for length in size)
    return contrast * (radius + 0.5 - torch.hypot(rows[:, None], columns)).clamp(0, 1)


def frequencies(size: tuple[int, int]) -> Tensor:
    """Distance of each frequency of ``torch.fft.fft2`` from 0 (H, W), in cycles per pixel."""
    rows, columns = (torch.fft.fftfreq(length, dtype=torch.float64) for length in size)
    return torch.hypot(rows[:, None], columns)


def ct_signal(signal: Tensor) -> Tensor:
    """A signal (H, W) as filtered back-projection with a Hann window shows it: without what is finer than two pixels.

    It wraps around the border.
    """
    return torch.fft.ifft2(torch.fft.fft2(signal.double()) * _hann(frequencies(signal.shape))).real


def ct_spectrum(size: tuple[int, int], deviation: float, *, floor: float = 0.05) -> Tensor:
    """Power spectrum (H, W) of the noise that belongs to ``ct_signal``: f · hann(f)², plus a floor.

    White noise of the detector, filtered with the ramp f times the window, has the power f² hann² in a view; as views
    lie less densely at high frequencies, f · hann² is left in the image. The floor stands for what sampling folds back:
    because of it the noise of a real image does not vanish at frequency 0 either (Kijewski and Judy, Phys Med Biol 32,
    1987, 565-575).

    Args:
        deviation: standard deviation of a pixel.
        floor: as a share of the highest value without it; above 0, as without noise at some frequency every signal
            would be perfectly visible.

    Raises:
        ValueError: where the deviation or the floor is not positive.
    """
    if deviation <= 0 or floor <= 0:
        raise ValueError(f"deviation is {deviation} and floor {floor}, but both must be positive")
    f = frequencies(size)
    shape = f * _hann(f) ** 2
    shape = shape / shape.max() + floor
    return deviation ** 2 * shape / shape.mean()


def covariance(spectrum: Tensor) -> Tensor:
    """Covariance (H·W, H·W) of stationary noise with the power spectrum (H, W), in the order of ``flatten``.

    Raises:
        ValueError: where the spectrum is not positive everywhere.
    """
    _require_spectrum(spectrum)
    h, w = spectrum.shape
    lags = torch.fft.ifft2(spectrum.double()).real                                 # of a pixel with each other one
    rows, columns = ((torch.arange(n)[:, None] - torch.arange(n)) % n for n in (h, w))
    return lags[rows[:, None, :, None], columns[None, :, None, :]].reshape(h * w, h * w)


def noise(n: int, spectrum: Tensor, generator: torch.Generator) -> Tensor:
    """n images (n, 1, H, W), float32, of stationary Gaussian noise with the power spectrum (H, W) and mean 0.

    Raises:
        ValueError: where the spectrum is not positive everywhere.
    """
    _require_spectrum(spectrum)
    white = torch.randn(n, 1, *spectrum.shape, generator=generator, device=generator.device).to(spectrum.device)
    return torch.fft.ifft2(torch.fft.fft2(white) * spectrum.sqrt().to(white.dtype)).real


def _hann(f: Tensor) -> Tensor:
    return torch.where(f < 0.5, 0.5 + 0.5 * torch.cos(2 * math.pi * f), 0.0)


def _require_fit(signal: Tensor, covariance: Tensor) -> None:
    if covariance.shape != (signal.numel(),) * 2:
        raise ValueError(f"the covariance has shape {tuple(covariance.shape)}, but a signal of shape "
                         f"{tuple(signal.shape)} needs {(signal.numel(),) * 2}")


def _require_spectrum(spectrum: Tensor) -> None:
    if spectrum.dim() != 2 or not (spectrum > 0).all():
        raise ValueError(f"the spectrum has shape {tuple(spectrum.shape)} and the smallest value "
                         f"{float(spectrum.min())}, but must be (H, W) and positive everywhere: without noise at one "
                         "frequency every signal would be perfectly visible")


def _cholesky(matrix: Tensor) -> Tensor:
    matrix = matrix.double()
    factor, failed = torch.linalg.cholesky_ex(matrix)
    symmetric = torch.allclose(matrix, matrix.T, rtol=1e-4, atol=1e-9 * float(matrix.abs().max()))
    own = factor.diagonal() / matrix.diagonal().sqrt()                             # what the earlier ones do not tell
    if int(failed) or not symmetric or not (own > 1e-7).all():
        raise ValueError("a covariance (of the pixels, or of the channels' outputs) is not symmetric and positive "
                         "definite: check it for noise-free or equal pixels, and the channels for linear dependence")
    return factor
