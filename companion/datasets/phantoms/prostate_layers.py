"""Signals of the phantom ``prostate``: its parts in the order of painting, each with its T2-weighted signal.

A part is a pair of a signed distance in mm, negative inside, and a signal, where water at rest and fully relaxed has 1.
``fine`` and ``rough`` are smooth textures (N, D, H, W) of mean 0 and deviation 1.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from companion.datasets.phantoms.pelvis_layers import SEEN as FEMALE
from companion.datasets.phantoms.pelvis_layers import TE, TR
from companion.mri import TISSUES, Tissue, spin_echo

SEEN = {name: FEMALE[name] for name in ("fat", "muscle", "marrow", "fluid", "bowel", "stool")} | {
    "peripheral zone": TISSUES["prostate"]._replace(t2=165), "transition zone": TISSUES["prostate"]._replace(t2=88),
    "dark nodule": TISSUES["prostate"]._replace(t2=68), "bright nodule": TISSUES["prostate"]._replace(t2=135),
    "slow blood": Tissue(0.97, 1441, 140)}
"""Tissues as a turbo spin echo shows them; sources in ``prostate``."""

Part = tuple[Tensor, Tensor]


def signals(t2: Tensor, contrast: Tensor) -> dict[str, Tensor]:
    """Signals (N, 1, 1, 1) by tissue.

    Args:
        t2: (N, 11) the patients' T2 against the mean, in the order of ``SEEN``.
        contrast: (N,) the echo time against 100 ms.
    """
    shorter = t2 / contrast[:, None]                                                # T2 / c at TE is T2 at c TE
    return {name: spin_echo(tissue._replace(t2=tissue.t2 * shorter[:, i]), TR, TE).view(-1, 1, 1, 1)
            for i, (name, tissue) in enumerate(SEEN.items())}


def around(s: Mapping[str, Tensor], far: Mapping[str, Tensor], fine: Tensor, rough: Tensor,
           content: Tensor) -> Iterator[Part]:
    """Muscles, bones, vessels, rectum, bladder and skin, from ``prostate_anatomy.distances``."""
    yield from _frame(s, far, fine, rough)
    yield from _vessels(s, far, fine, rough)
    yield from _organs(s, far, fine, rough, content)
    yield -far["skin"] - 2, 1.3 * s["muscle"]
    yield -far["skin"], torch.zeros_like(s["muscle"])


def gland(s: Mapping[str, Tensor], near: Mapping[str, Tensor], fine: Tensor, rough: Tensor) -> Iterator[Part]:
    """Capsule, peripheral and transition zone with nodules, anterior stroma, urethra: ``prostate_gland.depths``."""
    nodule = torch.maximum(near["nodule"], near["zone"] + 0.8)
    bright = torch.lerp(s["dark nodule"], s["bright nodule"], near["brightness"])
    yield near["gland"] - 0.6, 1.3 * s["muscle"]
    yield near["gland"] + 0.5, s["peripheral zone"] * (1 + 0.1 * fine + 0.08 * rough)
    yield near["zone"] - 0.9, 1.5 * s["muscle"]
    yield near["zone"], s["transition zone"] * (1 + 0.12 * fine + 0.14 * rough)
    yield nodule, 1.4 * s["muscle"]
    yield nodule + 1, bright * (1 + 0.12 * fine + 0.1 * rough)
    yield near["stroma"], 1.2 * s["muscle"] * (1 + 0.1 * rough)
    yield near["urethra"] - 3.2, 2.2 * s["muscle"]
    yield near["urethra"] - 1.8, s["bright nodule"]


def _frame(s: Mapping[str, Tensor], far: Mapping[str, Tensor], fine: Tensor, rough: Tensor) -> Iterator[Part]:
    streaks = (torch.sin(far["streak"] * 0.75 + 1.5 * rough) - 0.85).clamp_min(0) * 7
    yield far["gluteus"], s["muscle"] * (1.1 + streaks)
    yield far["muscles"], s["muscle"] * (1.1 + 0.15 * rough)
    yield far["bones"], 0.35 * s["muscle"]
    yield far["bones"] + 1.5, s["marrow"] * (1 + 0.12 * rough + 0.08 * fine)
    yield far["joint"], 0.4 * s["muscle"]
    yield torch.maximum(far["funnel"].abs() - 2.2, far["funnel's ends"]), 1.05 * s["muscle"]


def _vessels(s: Mapping[str, Tensor], far: Mapping[str, Tensor], fine: Tensor, rough: Tensor) -> Iterator[Part]:
    """Fast blood is dark, slow blood in plexus and cavernous bodies is bright."""
    yield far["artery"], 0.3 * s["muscle"]
    yield far["vein"], 0.6 * s["muscle"]
    yield far["veins"], s["slow blood"] * (1 + 0.3 * rough)
    yield far["bulb"] - 2, s["muscle"]
    yield torch.minimum(far["bulb"], far["crus"]), 1.2 * s["slow blood"]
    yield far["bundle"], s["fat"] * (0.75 + 0.22 * fine)


def _organs(s: Mapping[str, Tensor], far: Mapping[str, Tensor], fine: Tensor, rough: Tensor,
            content: Tensor) -> Iterator[Part]:
    """Rectum with gas (0), stool (1) or mucosa alone (2), urethra, seminal vesicles, bladder."""
    filling = torch.stack([0 * s["stool"], s["stool"], 1.2 * s["bowel"]], 1)
    filling = filling[torch.arange(len(content), device=content.device), content]
    yield far["urethra"] - 6.5, 1.2 * s["muscle"]
    yield far["urethra"] - 3.5, 1.3 * s["bowel"]
    yield far["rectum"] - 2.5, 1.1 * s["muscle"]
    yield far["rectum"], 1.3 * s["bowel"] * (1 + 0.1 * rough)
    yield far["rectum"] + 3.5 + rough, filling * (1 + 0.25 * rough)
    yield far["vesicle"] - 1 + 1.8 * rough, 1.4 * s["muscle"]
    yield far["vesicle"] + 0.8 + 1.8 * rough, s["peripheral zone"] * (1.1 + 0.2 * fine)
    yield far["bladder"] - 4, 1.3 * s["muscle"]
    yield far["bladder"], s["fluid"]
