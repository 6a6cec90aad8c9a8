"""Signals of the phantom ``pelvis``: its parts in the order of painting, each with its T2-weighted signal.

A part is a pair of a signed distance in mm, negative inside, and a signal, where water at rest and fully relaxed has 1.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from companion.datasets.phantoms.shapes import smooth_noise
from companion.mri import TISSUES, Tissue, spin_echo

TR, TE = 5000.0, 100.0  # ms

SEEN = {
    "fat": Tissue(0.97, 343, 135), "muscle": TISSUES["muscle"], "marrow": Tissue(0.97, 549, 85),
    "fluid": TISSUES["fluid"], "myometrium": Tissue(0.97, 1314, 97), "junctional zone": Tissue(0.97, 1168, 60),
    "endometrium": TISSUES["endometrium"], "cervix": TISSUES["cervix"], "bowel": Tissue(0.97, 1100, 70),
    "stool": Tissue(0.7, 900, 65), "fibroid": Tissue(0.97, 1100, 52), "tumour": Tissue(0.97, 1500, 122),
}
"""Tissues as a turbo spin echo shows them; sources and departures from ``mri.TISSUES`` in ``pelvis``."""

Part = tuple[Tensor, Tensor]


class Look(NamedTuple):
    """Signals by tissue (N, 1, 1), and smooth textures (N, H, W) of mean 0 and deviation 1, from fine to wide."""

    signal: Mapping[str, Tensor]
    fine: Tensor
    coarse: Tensor
    wide: Tensor

    @property
    def texture(self) -> Tensor:
        """The unevenness of all solid tissue (N, H, W), a factor near 1."""
        return (self.fine + self.coarse).mul_(0.05).add_(1)


def look(t2: Tensor, contrast: Tensor, seeds: Tensor, extent: tuple[float, float], size: tuple[int, int]) -> Look:
    """Signals and textures of N images.

    Args:
        t2: (N, 12) the patients' T2 against the mean, in the order of ``SEEN``.
        contrast: (N,) power of the ratio of the tumour's T2 to the myometrium's.
        seeds: (N,) int64.
        extent, size: of the image in mm and in pixels.
    """
    times = {name: tissue.t2 * t2[:, i] for i, (name, tissue) in enumerate(SEEN.items())}
    times["tumour"] = times["myometrium"] * (times["tumour"] / times["myometrium"]) ** contrast
    signal = {name: spin_echo(tissue._replace(t2=times[name]), TR, TE).view(-1, 1, 1) for name, tissue in SEEN.items()}
    textures = (smooth_noise(seeds + i, extent, size, grain, t2.device) for i, grain in enumerate((2.2, 5.0, 11.0)))
    return Look(signal, *textures)


def fat(look: Look) -> Tensor:
    """Fat with strands of connective tissue, and with vessels: dark where blood flows fast, bright where slowly."""
    strands = (1 - (look.wide.abs() * 9)).clamp_min_(0).mul_(look.coarse.clamp(0, 1.5))
    vessels = torch.nn.functional.softshrink(look.coarse, 1.9).clamp_(-0.4, 0.4)
    return (1 - 0.28 * strands).add_(vessels, alpha=0.7).mul_(look.signal["fat"])


def small_bowel(look: Look, loop: Tensor, content: Tensor, cavity: Tensor) -> Iterator[Part]:
    """Loops with their wall, filled with chyme, fluid or gas."""
    s = look.signal
    inside = torch.where(content < 0.4, 1.25 * s["bowel"], 0.7 * s["endometrium"]).mul_(1 + 0.08 * look.coarse)
    inside = torch.where(content > 0.84, 0.95 * s["fluid"], inside).mul_(content < 0.93)
    loop = torch.maximum(loop, cavity)
    yield loop, 0.9 * s["bowel"]
    yield loop + 2.0, inside


def frame(look: Look, far: Mapping[str, Tensor]) -> Iterator[Part]:
    """Muscles of wall, back and pelvic floor; spine, dural sac, pubic symphysis."""
    s, streaks = look.signal, (look.coarse - 0.4).clamp(0, 0.5) * 3
    yield far["back"], s["muscle"] * (1 + streaks)
    yield far["floor"], s["muscle"] * (2.1 + 0.5 * look.coarse)
    yield far["muscles"], 1.1 * s["muscle"]
    yield far["discs"], 0.8 * s["muscle"]
    yield far["discs"] + 2.5, 1.2 * s["bowel"]
    yield far["cortex"], 0.35 * s["muscle"]
    yield far["marrow"], s["marrow"]
    yield far["sac"], 0.8 * s["fluid"]


def tubes(look: Look, far: Mapping[str, Tensor], rectum: Tensor, content: Tensor) -> Iterator[Part]:
    """Rectum with gas (0), stool (1) or gel (2) in its wide part and bare mucosa elsewhere; urethra; vagina."""
    s, case = look.signal, torch.arange(len(content), device=content.device)
    filling = torch.stack([0 * s["stool"], s["stool"], 0.9 * s["endometrium"]], 1)[case, content]
    rough = torch.tensor([0, 0.4, 0], device=content.device)[content].view(-1, 1, 1)
    yield rectum, 1.25 * s["muscle"]
    yield rectum + 2.2, 1.4 * s["bowel"]
    yield torch.maximum(rectum + 4.5, 20 * (0.25 - far["ampulla"])), filling * (1 + rough * look.coarse)
    yield torch.minimum(far["urethra"] - 6, far["vagina"] - 5), 1.3 * s["muscle"]
    yield far["urethra"] - 3.2, 1.7 * s["cervix"]
    yield far["vagina"] - 0.9, 0.8 * s["endometrium"]


def bladder(look: Look, distance: Tensor) -> Iterator[Part]:
    """Wall and urine."""
    yield distance - 3, 1.25 * look.signal["muscle"]
    yield distance, look.signal["fluid"]


def uterus(look: Look, far: Mapping[str, Tensor]) -> Iterator[Part]:
    """Serosa, myometrium, cervical stroma, junctional zone, endometrium with the cervical canal, fibroids, tumour."""
    s, even, uneven = look.signal, look.texture, 1 + 0.09 * look.fine + 0.11 * look.coarse
    yield far["uterus"] - 0.8, 1.2 * s["muscle"]
    yield far["uterus"], s["myometrium"] * uneven
    yield far["stroma"], 0.85 * s["cervix"] * even
    yield far["zone"], s["junctional zone"] * even
    yield far["canal"], 0.8 * s["endometrium"]
    yield far["lining"], s["endometrium"] * even
    yield far["fibroids"], s["fibroid"] * uneven
    yield far["tumour"], s["tumour"] * uneven
