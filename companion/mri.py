"""Magnetic resonance imaging: tissue contrast in a spin echo, uneven coils (bias field), noise of magnitude images.

A voxel's signal follows from three numbers of its tissue: proton density, T1 (how fast magnetisation comes back) and T2
(how fast the signal decays), and from two of the sequence: repetition time TR and echo time TE. Short TR and TE give T1
weighting, long ones T2 weighting. All times are in ms. Book: *Data of this book*.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Tissue(NamedTuple):
    """Proton density relative to water, T1 and T2 in ms: numbers, or maps of one shape."""

    density: float | Tensor
    t1: float | Tensor
    t2: float | Tensor


TISSUES = {
    "blood": Tissue(0.97, 1441, 290),                     # S
    "bone marrow": Tissue(0.97, 549, 49),                 # B: fourth lumbar vertebra
    "cervix": Tissue(0.97, 1135, 58),                     # B
    "endometrium": Tissue(0.97, 1703, 214),               # T: luteal phase
    "fat": Tissue(0.97, 343, 58),                         # B: subcutaneous
    "fluid": Tissue(1.00, 4454, 2373),                    # C: also stands for urine
    "grey matter": Tissue(0.86, 1124, 95),                # S
    "junctional zone": Tissue(0.97, 1168, 72),            # T: inner layer of the myometrium
    "kidney": Tissue(0.97, 690, 55),                      # S
    "liver": Tissue(0.97, 576, 46),                       # S
    "muscle": Tissue(0.96, 1008, 44),                     # S
    "myometrium": Tissue(0.97, 1314, 138),                # T: outer layer, luteal phase
    "pancreas": Tissue(0.97, 584, 46),                    # B
    "prostate": Tissue(0.97, 1317, 88),                   # B
    "spleen": Tissue(0.97, 1057, 79),                     # B
    "white matter": Tissue(0.77, 884, 72),                # S
}
"""Tissues at 1.5 T. T1 and T2 are means; persons differ by 5 to 20 %, laboratories by more. Blood is at rest; that it
leaves the slice before the echo, and so is dark where it flows, is not modelled.

S: Stanisz et al., Magn Reson Med 54 (2005) 507-512, table 1 (animal tissue and human blood at 37 C). B: de Bazelaire et
al., Radiology 230 (2004) 652-659 (volunteers). T: Takatsu et al., Acta Radiol 56 (2015) 997-1001 (volunteers). C:
"Quantification of T1 and T2 of subarachnoid CSF", Magn Reson Med 2023, frontal horns (measured at 3 T, but T1 and T2 of
free fluid hardly depend on the field).

Proton density: grey and white matter as in BrainWeb (Collins et al., 1998). The others are hydrogen per volume after
ICRU Report 44 (muscle 10.2 % at 1.05 g/cm3, fat 11.4 % at 0.95, soft tissue 10.2 % at 1.06, water 11.2 % at 1): an
upper bound, since hydrogen in large molecules gives no signal, and no source of contrast between soft tissues.
"""


def spin_echo(tissue: Tissue, tr: float, te: float) -> Tensor:
    """Signal of a spin echo: density (1 - exp(-TR / T1)) exp(-TE / T2), between 0 and the density.

    Holds for TE much shorter than TR (Nitz and Reimer, 1999).

    Args:
        tissue: one of ``TISSUES`` or your own; maps give a map.
        tr, te: repetition and echo time in ms.

    Raises:
        ValueError: where not 0 <= TE < TR.
    """
    if not 0 <= te < tr:
        raise ValueError(f"TE is {te} ms and TR {tr} ms, but must obey 0 <= TE < TR: the echo comes after one "
                         "excitation and before the next")
    density, t1, t2 = (torch.as_tensor(value) for value in tissue)
    return density * (1 - torch.exp(-tr / t1)) * torch.exp(-te / t2)


def weighted_image(labels: Tensor, tissues: Sequence[Tissue | None], tr: float, te: float) -> Tensor:
    """Noise-free spin-echo image of a map of tissues: each voxel has the signal of ``tissues[label]``.

    Args:
        labels: integers of any shape, from 0.
        tissues: one for each label; None, such as for air, gives no signal.
        tr, te: as in ``spin_echo``.

    Returns:
        float32 tensor of the same shape, in [0, 1].

    Raises:
        ValueError: where a label has no tissue, and as ``spin_echo``.
    """
    signals = torch.stack([torch.zeros(()) if t is None else spin_echo(t, tr, te) for t in tissues]).to(labels.device)
    if labels.numel() and not 0 <= labels.min() <= labels.max() < len(signals):
        raise ValueError(f"the labels run from {labels.min()} to {labels.max()}, but with {len(signals)} tissues they "
                         f"must lie between 0 and {len(signals) - 1}")
    return signals[labels.long()]


def bias_field(n: int, size: Sequence[int], strength: float, generator: torch.Generator, order: int = 2,
               device: torch.device | None = None) -> Tensor:
    """Smooth factors by which an uneven coil brightens and darkens an image: multiply the image with one.

    A random sum of slow cosines, in all up to ``order`` half waves across the image. The mean is 1; where a field
    differs most from 1, it does so by ``strength``. BrainWeb's "40 %", with values from 0.8 to 1.2, has strength 0.2.

    Args:
        n: number of fields.
        size: of the image in voxels, one number for each axis.
        strength: from 0, which is none, to below 1.
        generator: on its device the random weights are drawn.
        device: of the result; by default the generator's.

    Returns:
        float32 tensor (n, 1, \\*size).

    Raises:
        ValueError: where the strength is outside of [0, 1), or the order below 1.
    """
    if not 0 <= strength < 1:
        raise ValueError(f"the strength is {strength}, but must lie in [0, 1), so that the factors stay positive")
    if order < 1:
        raise ValueError(f"the order is {order}, but must be at least 1: 0 half waves make a constant")
    waves = torch.cartesian_prod(*[torch.arange(order + 1)] * len(size)).view(-1, len(size))    # half waves per axis
    waves = waves[(waves.sum(1) > 0) & (waves.sum(1) <= order)].to(device or generator.device)
    field = torch.randn(n, len(waves), generator=generator, device=generator.device).to(waves.device)
    for axis, length in enumerate(size):
        middles = (torch.arange(length, device=waves.device) + 0.5) / length
        wave = torch.cos(torch.pi * waves[:, axis, None] * middles)                             # (waves, length)
        field = field[..., None] * wave.view(len(waves), *[1] * axis, length)
    field = field.sum(1, keepdim=True)                                                          # (n, 1, *size)
    field = field - field.flatten(1).mean(1).view(-1, *[1] * (field.dim() - 1))                 # on few voxels not 0
    peak = field.flatten(1).abs().amax(1).clamp_min(torch.finfo(field.dtype).tiny)
    return 1 + strength * field / peak.view(-1, *[1] * (field.dim() - 1))


def rician(image: Tensor, sigma: float | Tensor, generator: torch.Generator) -> Tensor:
    """A magnitude image with noise, abs(image + n1 + i n2), each n normal with standard deviation ``sigma``.

    In bright tissue the noise is nearly Gaussian; air reads above 0, after Rayleigh's law with mean sigma sqrt(pi / 2)
    (Gudbjartsson and Patz, 1995). For a signal-to-noise ratio of r in tissue of signal s take ``sigma = s / r``.

    Args:
        image: magnitudes of any shape.
        sigma: in the image's unit; one number, or a tensor that broadcasts to the image.
        generator: the noise is drawn on its device, so that one on the CPU gives the same noise whatever the device.

    Returns:
        Tensor like ``image``, nowhere negative.

    Raises:
        ValueError: where ``sigma`` is negative.
    """
    if not (torch.as_tensor(sigma) >= 0).all():
        raise ValueError(f"sigma is {sigma}, but must not be negative")
    noise = torch.randn((2, *image.shape), generator=generator, device=generator.device, dtype=image.dtype)
    real, imaginary = sigma * noise.to(image.device)
    return torch.hypot(image + real, imaginary)
