"""From line integrals to the film on the wall: photon noise, lead marker, processing, shutters; two hospitals.

The processing is that of digital plates, made simple: what is larger than some millimetres is compressed, what is finer
is lifted, and an S-shaped tone curve around the mean of the chest gives the brightness.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.ct import ELECTRONIC_NOISE, LEAST_COUNT
from companion.datasets.phantoms.shapes import uniform
from companion.datasets.phantoms.thorax import FIELD
from companion.datasets.phantoms.thorax_projection import axes, disc, even, stamp

LEAD = 5.7
"""Attenuation coefficient of lead in 1/mm at 60 keV."""

LETTERS = {"L": (((9, 0, -5), (-9, 0, -5)), ((-9, 0, -5), (-9, 0, 5))),
           "R": (((9, 0, -5), (-9, 0, -5)), ((9, 0, -5), (9, 0, 3)), ((9, 0, 3), (5, 0, 5.5)), ((5, 0, 5.5), (1, 0, 3)),
                 ((1, 0, 3), (0, 0, -5)), ((0, 0, -1), (-9, 0, 5.5)))}
"""Strokes of the markers, in mm."""


@dataclass(frozen=True)
class Hospital:
    """How a hospital makes its films, and whom it sees.

    Args:
        prevalence: share of patients with tuberculosis.
        severity: smallest and largest.
        patterns: chances of post-primary, miliary, pleural and primary tuberculosis.
        photons: per pixel that would arrive without a patient.
        base, detail, radius: contrast of what is larger and what is finer than ``radius`` mm.
        level, width: brightness 1/2 and steepness of the tone curve, in line integrals.
        marker: letter; place: its middle (z, x) in mm.
        border: smallest and largest width of the black shutters, in mm.
    """

    prevalence: float
    severity: tuple[float, float]
    patterns: tuple[float, float, float, float]
    photons: float
    base: float
    detail: float
    radius: float
    level: float
    width: float
    marker: str
    place: tuple[float, float]
    border: tuple[float, float]


HOSPITALS = {
    "A": Hospital(0.3, (0.65, 1.05), (0.74, 0.06, 0.08, 0.12), 60_000, 0.80, 1.4, 22.0, 0.12, 0.62, "L", (158.0, 160.0),
                  (-8.0, 0.0)),
    "B": Hospital(0.7, (0.85, 1.3), (0.66, 0.11, 0.18, 0.05), 16_000, 0.58, 1.75, 9.0, -0.05, 0.48, "R",
                  (150.0, -148.0), (5.0, 17.0)),
}


@dataclass(frozen=True)
class Film:
    """How each of N films was made.

    Args:
        photons: (N,) per pixel without a patient.
        base, detail, radius, level, width: (N,) of the processing, see ``Hospital``.
        letter: (N,) 0 for L, 1 for R; place: (N, 3) of the marker, in mm.
        border: (N, 4) of the shutters at the top, bottom, left and right, in mm.
        seeds: (N,) int64, of the noise.
    """

    photons: Tensor
    base: Tensor
    detail: Tensor
    radius: Tensor
    level: Tensor
    width: Tensor
    letter: Tensor
    place: Tensor
    border: Tensor
    seeds: Tensor

    def of(self, cases: Tensor) -> "Film":
        """The films with these numbers (M,), in that order."""
        return Film(*(getattr(self, f.name)[cases] for f in fields(self)))

    def to(self, device: torch.device) -> "Film":
        """The same settings on another device."""
        return Film(*(getattr(self, f.name).to(device) for f in fields(self)))


def per_film(name: str, hospitals: Tensor) -> Tensor:
    """A number of the hospital, or a row of numbers, for each film: (N,) or (N, K) from hospitals (N,)."""
    return torch.tensor([getattr(h, name) for h in HOSPITALS.values()], device=hospitals.device)[hospitals]


def draw(hospitals: Tensor, dose: float, generator: torch.Generator) -> Film:
    """Settings for films of hospitals (N,), numbered as in ``HOSPITALS``; they vary a little from film to film.

    Args:
        dose: factor on the hospital's photons.
    """
    n, device = len(hospitals), hospitals.device

    def between(low: float, high: float, *shape: int) -> Tensor:
        return uniform(n * int(torch.Size(shape).numel()), low, high, generator).view(n, *shape)

    low, high = per_film("border", hospitals).unbind(1)
    marker = torch.tensor(["LR".index(h.marker) for h in HOSPITALS.values()], device=device)
    place = torch.nn.functional.pad(per_film("place", hospitals) + between(-9, 9, 2), (1, 0))[:, [1, 0, 2]]
    varied = {"photons": dose * 2 ** between(-0.5, 0.5), "width": between(0.92, 1.08), "base": 1, "detail": 1,
              "radius": 1}
    return Film(**{name: factor * per_film(name, hospitals) for name, factor in varied.items()},
                level=per_film("level", hospitals) + between(-0.12, 0.12), letter=marker[hospitals], place=place,
                border=(low[:, None] + (high - low)[:, None] * between(0, 1, 4)).clamp_min(0),
                seeds=torch.randint(2 ** 40, (n,), generator=generator, device=device))


def expose(integral: Tensor, film: Film) -> Tensor:
    """Line integrals as measured, with marker and noise: (N, S, S).

    The counts scatter as Poisson's law says, for which a normal distribution of the same variance stands, plus the
    electronic noise of ``companion.ct``.
    """
    photons = film.photons.view(-1, 1, 1)
    counts = photons * (-integral - LEAD * _marker(film, integral.shape[-1])).exp()
    white = torch.stack([torch.randn(integral.shape[1:], generator=torch.Generator().manual_seed(s))
                         for s in film.seeds.tolist()]).to(integral.device)
    counts = counts + (counts + ELECTRONIC_NOISE ** 2).sqrt_() * white
    return photons.log() - counts.clamp_min_(LEAST_COUNT).log_()


def develop(measured: Tensor, film: Film) -> Tensor:
    """Measured line integrals (N, S, S) to brightness from 0 (black) to 1 (white), dense parts bright."""
    size = measured.shape[-1]
    base, detail, level, width = (getattr(film, name).view(-1, 1, 1) for name in ("base", "detail", "level", "width"))
    coarse = _blurred(measured, film.radius, FIELD / size)
    middle = coarse[:, size // 4:-(size // 4), size // 5:-(size // 5)].mean((1, 2), keepdim=True)
    tone = base * (coarse - middle) + detail * (measured - coarse)
    image = torch.sigmoid((tone - level) / width)
    return image * _shutter(film.border, size)


def _blurred(image: Tensor, radius: Tensor, pixel: float) -> Tensor:
    """Gaussian blur of each image with standard deviation ``radius`` (N,) in mm."""
    place = torch.arange(image.shape[-1], device=image.device) * pixel
    kernel = (-0.5 * ((place[:, None] - place) / radius.view(-1, 1, 1)).square()).exp()
    kernel = kernel / kernel.sum(2, keepdim=True)
    return kernel @ image @ kernel.mT


def _marker(film: Film, size: int) -> Tensor:
    """Path length in mm through the lead letter on each film."""
    strokes = [even(film.place.new_tensor(LETTERS[letter]), 1.0)[1:] for letter in "LR"]
    chosen = [strokes[number] for number in film.letter.tolist()]
    points, steps = (torch.cat(parts) for parts in zip(*chosen, strict=True))
    counts = torch.tensor([len(points) for points, _ in chosen], device=points.device)
    case = torch.arange(len(chosen), device=points.device).repeat_interleave(counts)
    return stamp(case, points + film.place[case], torch.full_like(steps, 1.6), steps, len(chosen), size, FIELD, disc)


def _shutter(border: Tensor, size: int) -> Tensor:
    """1 in the open field, 0 under the shutters: (N, S, S)."""
    z, x = axes(size, FIELD, border.device)
    edge = FIELD / 2 - border[..., None, None]
    return ((z < edge[:, 0]) & (-z < edge[:, 1])).float() * ((-x < edge[:, 2]) & (x < edge[:, 3])).float()
