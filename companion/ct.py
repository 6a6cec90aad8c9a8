"""Computed tomography: Hounsfield units, display window, attenuation, photon noise. Book: Part 1, first notebook.

X-rays of one energy are absorbed as Beer and Lambert say: of the photons sent along a ray, the share exp(-p) arrives,
where p is the **line integral** of the attenuation coefficient (1/mm) along the ray (mm), a number without unit. The
detector counts photons, so the count scatters as Poisson's law says, and its electronics add Gaussian noise. The
projector that turns images into line integrals, and back, is ``companion.tomography``.
"""

import torch
from torch import Tensor

WATER = 0.02059
"""Attenuation coefficient of water at 60 keV in 1/mm, from 0.2059 cm2/g (Hubbell and Seltzer, NIST Standard Reference
Database 126) at 1 g/cm3. A tube at 120 kV has its mean energy near there."""

STANDARD_PHOTONS = 1e5
"""Photons that each ray starts with at standard dose, usual for a clinical scan (Biguri et al., 2016, TIGRE)."""

ELECTRONIC_NOISE = 10.0
"""Standard deviation of the detector's electronic noise, in photons (same source)."""

LEAST_COUNT = 1.0
"""What a reading of less is taken for before the logarithm, in photons, the smallest sign that anything arrived."""


def hounsfield(stored: Tensor, slope: float, intercept: float) -> Tensor:
    """Stored values of a CT file to Hounsfield units (HU): slope x stored + intercept.

    Water is 0 HU, air -1000 HU. Slope and intercept are the file's own (DICOM PS3.3, C.11.1).

    Args:
        stored: integers of any shape.

    Returns:
        float32 tensor of the same shape, in HU.
    """
    return stored.to(torch.float32) * slope + intercept


def window(hu: Tensor, level: float, width: float) -> Tensor:
    """Hounsfield units to display brightness: black (0) below the window, white (1) above, linear between.

    The window runs from ``level - width / 2`` to ``level + width / 2``, as DICOM's LINEAR_EXACT (PS3.3, C.11.2.1.3.2).

    Args:
        hu: image of any shape, in HU.
        level, width: centre and extent of the window, in HU; the width is positive.

    Returns:
        Tensor of the same shape, in [0, 1].

    Raises:
        ValueError: where the width is not positive.
    """
    if width <= 0:
        raise ValueError(f"the window width is {width} HU, but must be positive")
    return ((hu - level) / width + 0.5).clamp(0, 1)


def hu_to_attenuation(hu: Tensor, water: float = WATER) -> Tensor:
    """Hounsfield units to attenuation coefficients: water (1 + HU / 1000), in the unit of ``water`` (1/mm).

    Any shape. Below -1000 HU, where there is no matter, the result is negative.

    Raises:
        ValueError: where ``water`` is not positive and finite.
    """
    return _positive(water, "attenuation of water") * (1 + hu / 1000)


def attenuation_to_hu(attenuation: Tensor, water: float = WATER) -> Tensor:
    """Attenuation coefficients (in the unit of ``water``, 1/mm) to Hounsfield units: 1000 (attenuation / water - 1).

    Any shape. Beam-independent: one energy, so no beam hardening, and water is 0 HU at every depth.

    Raises:
        ValueError: where ``water`` is not positive and finite.
    """
    return 1000 * (attenuation / _positive(water, "attenuation of water") - 1)


def photon_counts(line_integrals: Tensor, photons: float | Tensor, generator: torch.Generator,
                  electronic_noise: float = ELECTRONIC_NOISE) -> Tensor:
    """What the detector reads: Poisson(photons exp(-p)) + Normal(0, electronic_noise); sometimes negative.

    Drawn on the generator's device, so that a generator on the CPU gives the same noise whatever the device.

    Args:
        line_integrals: p, any shape, no unit.
        photons: number that each ray starts with; a tensor must broadcast to the line integrals.
        electronic_noise: standard deviation, in photons.

    Returns:
        Tensor like ``line_integrals``, in photons.

    Raises:
        ValueError: where ``photons`` is not positive and finite or does not broadcast, or ``electronic_noise`` is
            negative.
    """
    if electronic_noise < 0:
        raise ValueError(f"the electronic noise is {electronic_noise} photons, but must not be negative")
    start = _fitting(_positive(photons, "number of photons"), line_integrals, generator.device)
    expected = start * (-line_integrals.to(generator.device)).exp()
    counts = torch.poisson(expected, generator)
    noise = torch.randn(counts.shape, generator=generator, device=generator.device, dtype=counts.dtype)
    return (counts + electronic_noise * noise).to(line_integrals.device)


def log_transform(counts: Tensor, photons: float | Tensor, least: float = LEAST_COUNT) -> Tensor:
    """Detector readings back to line integrals: -ln(count / photons), with counts below ``least`` raised to it.

    For large counts n the result scatters about p with variance 1/n + (electronic noise / n)^2 and is too high by half
    of that on average. Where hardly a photon arrives it saturates at ln(photons / least): streaks through thick parts.

    Args:
        counts: any shape, in photons.
        photons: number that each ray started with; a tensor must broadcast to the counts.

    Raises:
        ValueError: where ``photons`` or ``least`` is not positive and finite, or ``photons`` does not broadcast.
    """
    start = _fitting(_positive(photons, "number of photons"), counts, counts.device)
    return (counts.clamp_min(_positive(least, "least count")).reciprocal() * start).log()


def low_dose(line_integrals: Tensor, dose: float | Tensor, generator: torch.Generator) -> Tensor:
    """The same line integrals, measured with a fraction of the standard dose; any shape, no unit.

    Args:
        dose: 1 is the standard dose, ``STANDARD_PHOTONS`` per ray; 0.1 a tenth of it. A tensor must broadcast to the
            line integrals: (N, 1, 1, 1) is one dose for each image.

    Raises:
        ValueError: where the dose is not positive and finite, or does not broadcast.
    """
    photons = _positive(dose, "dose") * STANDARD_PHOTONS
    return log_transform(photon_counts(line_integrals, photons, generator), photons)


def _positive(value: float | Tensor, name: str) -> float | Tensor:
    """The value as it is; the error names it, of a tensor the first number that is wrong."""
    numbers = torch.as_tensor(value, dtype=torch.float64).flatten()
    if len(bad := numbers[~((numbers > 0) & numbers.isfinite())]):
        shown = f"{bad[0].item():g}" if isinstance(value, Tensor) else value
        raise ValueError(f"the {name} is {shown}, but must be positive and finite")
    return value


def _fitting(photons: float | Tensor, rays: Tensor, device: torch.device) -> float | Tensor:
    """A number as it is; a tensor on the device, in the type of the rays."""
    if not isinstance(photons, Tensor):
        return photons
    if len(photons.shape) > rays.dim() or any(n not in (1, m) for n, m in zip(photons.shape[::-1], rays.shape[::-1],
                                                                            strict=False)):
        raise ValueError(f"photons (or doses) of shape {tuple(photons.shape)} do not broadcast to rays of shape "
                         f"{tuple(rays.shape)}: give one number for each image as (N, 1, 1, 1)")
    return photons.to(device, rays.dtype)
