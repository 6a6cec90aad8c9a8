"""The gland of the phantom ``prostate``: its surface, of exactly known volume, and its zones and nodules.

In coordinates (z, y, x) in mm from its middle: z to superior, y to posterior, x to the patient's left.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.datasets.phantoms.shapes import uniform

NODULES, WAVES, DIRECTIONS = 14, 6, 2000
ASPECT = (1.0, 0.85, 1.15)        # half axes along z, y, x against each other


@dataclass(frozen=True)
class Gland:
    """N glands.

    Args:
        half: (N, 3) half axes in mm, before the surface is made uneven.
        waves, phases, heights: (N, 6, 3), (N, 6) and (N, 6) of the unevenness; heights are shares of the radius.
        taper: (N,) how much narrower the apex is than the base.
        inner: (N,) size of the transition zone against the gland's.
        nodules: (N, 14, 4) middle in half axes and radius in mm, 0 for none; brightness: (N, 14) from 0 (dark) to 1.
    """

    half: Tensor
    waves: Tensor
    phases: Tensor
    heights: Tensor
    taper: Tensor
    inner: Tensor
    nodules: Tensor
    brightness: Tensor

    def of(self, index: Tensor) -> "Gland":
        """The glands with these numbers (M,), in that order."""
        return Gland(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device) -> "Gland":
        """The same glands on another device."""
        return Gland(*(getattr(self, f.name).to(device) for f in fields(self)))


def draw(volumes: Tensor, generator: torch.Generator) -> Gland:
    """Glands of the given volumes (N,) in ml; the larger, the larger their transition zone, as hyperplasia has it."""
    n, device = len(volumes), volumes.device

    def between(low: float, high: float, *shape: int) -> Tensor:
        return uniform(n * math.prod(shape), low, high, generator).view(n, *shape)

    waves = torch.nn.functional.normalize(between(-1, 1, WAVES, 3), dim=-1) * between(1.5, 4, WAVES, 1)
    inner = (0.74 + 0.0022 * (volumes - 40) + between(-0.06, 0.06)).clamp(0.6, 0.86)
    place = torch.stack([between(-0.55, 0.6, NODULES), between(-0.55, 0.2, NODULES), between(-0.6, 0.6, NODULES)], -1)
    size = between(2, 6.5, NODULES) * (inner[:, None] / 0.74) * (between(0, 1, NODULES) < 0.8)
    shape = torch.tensor(ASPECT, device=device) * between(0.93, 1.07, 3)
    gland = Gland(half=shape, waves=waves, phases=between(0, 2 * math.pi, WAVES), heights=between(-0.03, 0.03, WAVES),
                  taper=between(0.25, 0.45), inner=inner, nodules=torch.cat([place, size[..., None]], -1),
                  brightness=between(0, 1, NODULES))
    scale = (volumes * 1000 / _volume(gland)) ** (1 / 3)
    return Gland(**{**vars(gland), "half": shape * scale[:, None]})


def radial(gland: Gland, q: Tensor) -> Tensor:
    """How far out points (N, P, 3) lie (N, P): 0 in the middle of the gland, 1 on its surface."""
    scaled = q / gland.half[:, None]
    reach = _length(*scaled.unbind(-1)).clamp_min(1e-6)
    return reach / _surface(gland, scaled / reach[..., None])


def depths(gland: Gland, q: Tensor) -> dict[str, Tensor]:
    """Signed distances in mm (N, P) to gland, transition zone, anterior stroma and urethra, negative inside.

    ``nodule`` is that to the nearest nodule, ``brightness`` that nodule's.

    Args:
        q: (N, P, 3) in mm.
    """
    half = gland.half.T[..., None]                                                  # (3, N, 1)
    place = q.movedim(-1, 0).contiguous()
    (z, y, x), out, small = place / half, radial(gland, q), half.amin(0)
    lobes = _length((z - 0.2) / 1.05, (y + 0.2) / 0.78, x) - 0.06 * torch.exp(-(x / 0.2).square()) * (y < -0.2)
    stroma = 0.3 * (_length(z / 0.8, (y + 0.86) / 0.32, x / 0.42) - 1)
    return {"gland": _length(*place) * (1 - 1 / out.clamp_min(1e-3)),
            "zone": small * torch.maximum(lobes - gland.inner[:, None], out - 0.93),
            "stroma": small * torch.maximum(stroma, out - 1),
            "urethra": torch.hypot((y - 0.1 + 0.15 * z) * half[1], x * half[2]) + 20 * (z - 0.8).clamp_min(0),
            **_nodules(gland, q, _length(*place))}


def _length(z: Tensor, y: Tensor, x: Tensor) -> Tensor:
    return (z.square() + y.square() + x.square()).sqrt()


def _surface(gland: Gland, u: Tensor) -> Tensor:
    """Radius of the surface in half axes (N, P) in the directions u (N, P, 3) of the scaled space."""
    z, y, x = u.unbind(-1)
    waves = torch.cos(u @ gland.waves.transpose(1, 2) + gland.phases[:, None])
    uneven = (waves * gland.heights[:, None]).sum(-1)
    flat = -0.07 * torch.exp(-(x / 0.3).square()) * y.clamp_min(0)                  # the groove behind
    return 1 + gland.taper[:, None] * z * (1 - z.square()) + uneven + flat


def _volume(gland: Gland) -> Tensor:
    """Volume in mm3 (N,): a third of the cube of the radius, over all directions."""
    k = torch.arange(DIRECTIONS, device=gland.half.device) + 0.5
    z, turn = 1 - 2 * k / DIRECTIONS, k * math.pi * (1 + 5 ** 0.5)                  # Fibonacci's sphere
    wide = (1 - z.square()).sqrt()
    u = torch.stack([z, wide * turn.cos(), wide * turn.sin()], -1).expand(len(gland.half), -1, -1)
    return gland.half.prod(1) * 4 * math.pi / 3 * _surface(gland, u).pow(3).mean(1)


def _nodules(gland: Gland, q: Tensor, length: Tensor) -> dict[str, Tensor]:
    """(d^2 - r^2) / 2r for the nearest nodule: d - r near its surface, and linear in d^2, so one product for all."""
    middle, r = gland.nodules[..., :3] * gland.half[:, None], gland.nodules[..., 3]
    there, twice = r > 0, 2 * r.clamp_min(0.1)
    constant = torch.where(there, (middle.square().sum(-1) - r.square()) / twice, 1e3)
    along = (q @ (-2 * middle * there[..., None] / twice[..., None]).transpose(1, 2)).add_(constant[:, None])
    nearest, which = along.addcmul_(length.square()[..., None], (there / twice)[:, None]).min(-1)
    return {"nodule": nearest, "brightness": gland.brightness.gather(1, which)}
