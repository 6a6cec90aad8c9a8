"""Axial T2-weighted MRI of the prostate in 3D, with an adjustable share of voxels in the organ. Book: Part 5.

``make`` gives volumes with the mask ``prostate``, to segment. What makes it hard for a network is set by one number:
the **foreground fraction**, the share of voxels that lie in the organ. Slice 0 is the lowest, row 0 anterior, column 0
at the patient's right.

What is modelled
    A gland of known volume with an uneven surface, narrower at the apex, flat with a groove behind; bright peripheral
    zone, transition zone with dark and bright nodules, anterior stroma, urethra, capsule. Around it bladder, seminal
    vesicles, rectum with gas or stool, levator and obturator muscles, pubis, hip joints, ischium, sacrum, vessels,
    buttocks, fat. Contrast of a T2-weighted turbo spin echo, uneven coil, Rician noise, partial volume.

What is not
    Cancer, central zone, ejaculatory ducts, median lobe, lymph nodes, haemorrhage, an endorectal coil, motion. The body
    around the gland is the same for all but for size, turn and a smooth deformation.

Numbers and sources
    TR 5000, TE 100 ms. T1 and density of the prostate from ``mri.TISSUES``; T2 of the peripheral zone 165 ms (measured
    149, with a deviation of 49: Simpkin et al., Br J Radiol 86, 2013, 20120469), of the transition zone 88 ms (de
    Bazelaire et al., 2004, for the whole gland; Simpkin found 125 with a deviation of 26), of nodules 68 to 135 ms,
    chosen. The others as in ``pelvis``. Volumes: 40 ml times a log-normal factor with a deviation of 15 %, which is
    less than men differ, so that the foreground fraction differs little within a set. Anatomy rounded from atlases.

Limits
    It is not clinical evidence: a Dice coefficient reached here says nothing about one on patients.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.datasets.cases import Cases
from companion.datasets.phantoms import prostate_anatomy, prostate_gland, prostate_layers
from companion.datasets.phantoms.lung_geometry import coarse, refine
from companion.datasets.phantoms.prostate_gland import Gland
from companion.datasets.phantoms.shapes import paint_parts, smooth_noise, uniform
from companion.mri import bias_field, rician

SIGMA = 0.015            # of the noise at noise 1, where water at rest has the signal 1
BIAS = 0.25              # strength of the bias field at bias 1
SPREAD = 0.15            # standard deviation of the logarithm of the volumes
COARSE = 4.0             # mm between the points at which the surroundings are computed
CHUNK_VOXELS = 800_000   # rendered at once, about 200 MB with all layers


@dataclass(frozen=True)
class Prostate:
    """N patients.

    Args:
        volumes: (N,) of the gland in ml, exact.
        gland: its shape.
        extents: (N, 3) height, depth and width of the field of view in mm, the same for all.
        shift: (N, 3) of the gland from the middle of the image, in mm.
        turn: (N,) of the patient about the long axis, in radians.
        scale: (N,) of the body around the gland against the average.
        content: (N,) of the rectum: gas (0), stool (1), nothing (2).
        t2: (N, 11) T2 against the mean, in the order of ``prostate_layers.SEEN``.
        contrast: (N,) the echo time against 100 ms.
        noise: (N,) its standard deviation, where water at rest has the signal 1.
        bias: (N, 1, 8, 8, 8) bias field on a coarse grid, a factor.
        seeds: (N,) int64, for deformation, texture and noise.
    """

    volumes: Tensor
    gland: Gland
    extents: Tensor
    shift: Tensor
    turn: Tensor
    scale: Tensor
    content: Tensor
    t2: Tensor
    contrast: Tensor
    noise: Tensor
    bias: Tensor
    seeds: Tensor

    def of(self, index: Tensor) -> "Prostate":
        """The patients with these numbers (M,), in that order."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Prostate(**{k: v.of(index) if k == "gland" else v[index] for k, v in values.items()})

    def to(self, device: torch.device) -> "Prostate":
        """The same patients on another device."""
        return Prostate(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def field_of_view(fraction: float, volume: float) -> tuple[float, float, float]:
    """Height, depth and width in mm of an image of which a gland of ``volume`` ml fills the share ``fraction``.

    Depth and width are equal; the height is half of them where the fraction is small, as scanners are set, and 0.9 of
    them at a fraction of 0.3, for the gland to fit in.
    """
    flat = 0.5 + 0.4 * fraction / 0.3
    side = (volume * 1000 / fraction / flat) ** (1 / 3)
    return flat * side, side, side


def draw(n: int, generator: torch.Generator, *, fraction: float = 0.05, volume: float = 40.0, contrast: float = 1.0,
         noise: float = 1.0, bias: float = 1.0) -> Prostate:
    """Patients, on the generator's device.

    Args:
        fraction: mean share of the voxels in the gland, from 0.01 to 0.3; larger is easier. The field of view, not the
            gland, is chosen for it, so at an equal number of voxels these are larger where the fraction is smaller.
            Single patients differ from it by 15 % as their volumes do.
        volume: mean of the glands in ml; the field of view grows with it.
        contrast: the echo time against 100 ms; larger is easier, since the ratio of the signals of two tissues grows.
        noise: against the default of 0.015 of the signal of water; larger is harder.
        bias: strength of the bias field against the default of 0.25; larger is harder, at most 3.9.

    Raises:
        ValueError: where n, volume or contrast is not positive, noise or bias negative or bias too strong, or the
            fraction outside of [0.01, 0.3].
    """
    _check(n, fraction, volume, contrast, noise, bias)
    device = generator.device

    def between(low: float, high: float, *shape: int) -> Tensor:
        return uniform(n * math.prod(shape), low, high, generator).view(n, *shape)

    spread = SPREAD * torch.randn(n, generator=generator, device=device).clamp(-2, 2)
    volumes = volume * spread.exp() / math.exp(SPREAD ** 2 / 2)
    gland = prostate_gland.draw(volumes, generator)
    extents = torch.tensor(field_of_view(fraction, volume), device=device).expand(n, 3)
    slack = (extents / 2 - 1.15 * gland.half).clamp(0, 25)                           # so that the gland stays inside
    return Prostate(
        volumes=volumes, gland=gland, extents=extents, shift=0.35 * slack * between(-1, 1, 3), turn=between(-0.1, 0.1),
        scale=between(0.94, 1.06), content=torch.randint(3, (n,), generator=generator, device=device),
        t2=between(0.92, 1.08, len(prostate_layers.SEEN)), contrast=torch.full((n,), float(contrast), device=device),
        noise=torch.full((n,), SIGMA * noise, device=device), bias=bias_field(n, (8, 8, 8), BIAS * bias, generator),
        seeds=torch.randint(2 ** 40, (n,), generator=generator, device=device))


def render(prostate: Prostate, size: Sequence[int] = (24, 64, 64), *, device: torch.device | None = None) -> Cases:
    """Images (N, 1, \\*size) between 0 and about 1, where water at rest has 1 before the bias field, and fat 0.46.

    Labels are the volumes of the glands in ml (N,), to which the mask ``prostate`` adds up but for the voxels' size.

    Args:
        size: along z, y, x, in voxels; the field of view is that of the parameters.
        device: to render on; by default where the parameters are.
    """
    prostate = prostate.to(device or prostate.seeds.device)
    index = torch.arange(len(prostate.seeds), device=prostate.seeds.device)
    chunks = index.split(max(1, CHUNK_VOXELS // math.prod(size)))
    images, mask = (torch.cat(p) for p in zip(*(_volumes(prostate.of(c), size) for c in chunks), strict=True))
    return Cases(images=images, labels=prostate.volumes, classes=("volume in ml",), patients=index,
                 spacing=tuple(e / s for e, s in zip(prostate.extents[0].tolist(), size, strict=True)),
                 masks={"prostate": mask}, parameters=prostate)


def make(n: int, generator: torch.Generator, size: Sequence[int] = (24, 64, 64), **knobs) -> Cases:
    """n patients: ``draw`` (which takes the knobs), then ``render``."""
    return render(draw(n, generator, **knobs), size)


def _check(n: int, fraction: float, volume: float, contrast: float, noise: float, bias: float) -> None:
    for name, value in {"number of patients": n, "volume": volume, "contrast": contrast}.items():
        if value <= 0:
            raise ValueError(f"the {name} is {value}, but must be positive")
    for name, value in {"noise": noise, "bias": bias}.items():
        if value < 0:
            raise ValueError(f"the {name} is {value}, but must not be negative")
    if not 0.01 <= fraction <= 0.3:
        raise ValueError(f"the foreground fraction is {fraction}, but must lie between 0.01, a scan of the whole "
                         "pelvis, and 0.3, where the gland touches the edges of the image")


def _volumes(prostate: Prostate, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Images (N, 1, \\*size) and masks (N, \\*size)."""
    extent = prostate.extents[0].tolist()
    spacing = [e / s for e, s in zip(extent, size, strict=True)]
    fine, rough = (smooth_noise(prostate.seeds + i, extent, size, grain) for i, grain in ((1, 2.5), (2, 6.0)))
    width, signal = max(1.3 * min(spacing), 1.0), prostate_layers.signals(prostate.t2, prostate.contrast)
    image = signal["fat"] * (1 - 0.06 * (1 - 6 * rough.abs()).clamp_min(0))
    far = _surroundings(prostate, size, spacing)
    paint_parts(image, prostate_layers.around(signal, far, fine, rough, prostate.content), width)
    image *= 1 + 0.05 * fine + 0.04 * rough
    window, points = _window(prostate, size, spacing)
    near = prostate_gland.depths(prostate.gland, points.flatten(1, 3))
    near = {name: value.view(points.shape[:-1]) for name, value in near.items()}
    parts = prostate_layers.gland(signal, near, fine[window], rough[window])
    image[window] = paint_parts(image[window], parts, width)
    mask = torch.zeros(image.shape, dtype=torch.bool, device=image.device)
    mask[window] = near["gland"] < 0
    image = (image * refine(prostate.bias[:, 0], size))[:, None]
    noisy = [rician(i, sigma, torch.Generator().manual_seed(seed))
             for i, sigma, seed in zip(image, prostate.noise.tolist(), prostate.seeds.tolist(), strict=True)]
    return torch.stack(noisy), mask


def _window(prostate: Prostate, size: Sequence[int], spacing: Sequence[float]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Index of a box of voxels around each gland, and their places (N, d, h, w, 3) in its coordinates, in mm."""
    device, whole = prostate.seeds.device, prostate.shift.new_tensor(size)
    step, half = prostate.shift.new_tensor(spacing), 1.25 * prostate.gland.half.amax(0) + 2
    reach = (2 * half / step + 2).ceil().minimum(whole)
    first = (prostate.shift / step + (whole - reach) / 2).round().clamp_min(0).minimum(whole - reach).long()
    axes = [first[:, i, None] + torch.arange(int(r), device=device) for i, r in enumerate(reach.tolist())]
    n, (d, h, w) = len(first), (a.shape[1] for a in axes)
    index = [a.view(n, *[a.shape[1] if k == i else 1 for k in range(3)]) for i, a in enumerate(axes)]
    place = torch.stack([((i - (s - 1) / 2) * t).expand(n, d, h, w)
                         for i, s, t in zip(index, size, spacing, strict=True)], -1)
    case = torch.arange(n, device=device).view(n, 1, 1, 1)
    return (case, *index), _turned(prostate, place.flatten(1, 3)).view(n, d, h, w, 3)


def _turned(prostate: Prostate, points: Tensor) -> Tensor:
    """Points (P, 3) or (N, P, 3) of the image in the coordinates of each gland (N, P, 3), in mm."""
    z, y, x = (points - prostate.shift[:, None]).unbind(-1)
    c, s = prostate.turn.cos()[:, None], prostate.turn.sin()[:, None]
    return torch.stack([z, c * y + s * x, c * x - s * y], -1)


def _surroundings(prostate: Prostate, size: Sequence[int], spacing: Sequence[float]) -> dict[str, Tensor]:
    """Distances (N, \\*size) to the parts around the gland, from a coarse grid, smoothly deformed."""
    points = coarse(size, spacing, COARSE, prostate.seeds.device)
    counts, extent = points.shape[:3], prostate.extents[0].tolist()
    bent = torch.stack([2 * smooth_noise(prostate.seeds + 3 + i, extent, counts, 35.0) for i in range(3)], -1)
    place = (_turned(prostate, points.flatten(0, 2)) + bent.flatten(1, 3)) / prostate.scale[:, None, None]
    return {name: refine(value.view(-1, *counts), size)
            for name, value in prostate_anatomy.distances(place, prostate.gland.half).items()}
