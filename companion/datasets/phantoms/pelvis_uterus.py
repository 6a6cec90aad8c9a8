"""Uterus of the phantom ``pelvis``: a bent axis from the outer cervical opening to the fundus, and layers around it.

Positions are (row, column) in mm of the median section, see ``pelvis_atlas``. Lengths and thicknesses in mm.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.datasets.phantoms.shapes import ellipsoid, rotation, uniform

NODES = 9  # points of the axis


@dataclass(frozen=True)
class Uterus:
    """N uteri.

    Args:
        opening: (N, 2) position of the outer cervical opening.
        angles: (N, 2) direction of cervix and fundus from straight up, in radians, positive to anterior.
        lengths: (N, 2) of the cervix and of the uterine cavity.
        girths: (N, 2) half the thickness of cervix and corpus.
        lining: (N,) half the thickness of the endometrium.
        zone: (N,) thickness of the junctional zone.
        fibroids: (N, 2, 3) place along the axis (0 to 1), distance from it (positive to posterior), radius; 0 for none.
        tumour: (N, 4) place along the axis, distance from it, half axes along and across; 0 for none.
        lateral: (N,) position of the tumour's middle to the patient's left of the median plane.
        depths: (N, 2) share of the wall that the tumour invades, anterior and posterior; 0 without a tumour.
    """

    opening: Tensor
    angles: Tensor
    lengths: Tensor
    girths: Tensor
    lining: Tensor
    zone: Tensor
    fibroids: Tensor
    tumour: Tensor
    lateral: Tensor
    depths: Tensor

    def of(self, index: Tensor) -> "Uterus":
        """The uteri with these numbers (M,), in that order."""
        return Uterus(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device) -> "Uterus":
        """The same uteri on another device."""
        return Uterus(*(getattr(self, f.name).to(device) for f in fields(self)))


def draw(sick: Tensor, generator: torch.Generator, diameter: float = 1.0) -> Uterus:
    """Uteri, with a tumour where ``sick`` (N,) is true; one in five is retroverted, a third have fibroids.

    Args:
        diameter: of the tumours against the natural one.
    """
    n = len(sick)

    def between(low: float, high: float) -> Tensor:
        return uniform(n, low, high, generator)

    back = between(0, 1) < 0.2
    angles = torch.stack([torch.where(back, between(-0.3, 0.0), between(0.1, 0.45)),
                          torch.where(back, between(-1.35, -0.8), between(0.75, 1.45))], 1)
    girths = torch.stack([between(10.5, 13), between(17, 24)], 1)
    lining = between(1.5, 6)
    place, depths = between(0.62, 0.95), torch.stack([between(0.3, 1.0), between(0.1, 0.6)], 1)
    depths = torch.where((between(0, 1) < 0.5)[:, None], depths, depths.flip(1))
    reach = lining[:, None] + depths * (girths[:, 1:] - lining[:, None])
    tumour = torch.stack([place, (reach[:, 1] - reach[:, 0]) / 2, diameter * between(9, 24),
                          diameter * reach.mean(1)], 1)
    many = (between(0, 1) < 0.33)[:, None] & (torch.rand(n, 2, generator=generator, device=sick.device) < 0.7)
    fibroids = torch.stack([uniform(2 * n, 0.5, 1, generator), uniform(2 * n, -20, 20, generator),
                            uniform(2 * n, 5, 13, generator)], 1).view(n, 2, 3) * many[..., None]
    return Uterus(opening=torch.stack([between(13, 21), between(9, 17)], 1), angles=angles,
                  lengths=torch.stack([between(24, 31), between(26, 38)], 1), girths=girths, lining=lining,
                  zone=between(3.5, 7), fibroids=fibroids, tumour=tumour * sick[:, None],
                  lateral=between(-6, 6) * sick, depths=depths * sick[:, None])


def axis(uterus: Uterus) -> Tensor:
    """Points (N, 9, 2) of the axis, from the cervical opening to the end of the cavity in the fundus."""
    total = uterus.lengths.sum(1, keepdim=True)
    place = (torch.arange(NODES - 1, device=total.device) + 0.5) / (NODES - 1)
    bend = torch.sigmoid((place - uterus.lengths[:, :1] / total) / 0.08)            # from cervix to corpus
    angle = torch.lerp(uterus.angles[:, :1], uterus.angles[:, 1:], bend)
    steps = -torch.stack([angle.cos(), angle.sin()], -1) * (total / (NODES - 1))[..., None]
    return torch.cat([uterus.opening[:, None], uterus.opening[:, None] + steps.cumsum(1)], 1)


def layers(uterus: Uterus, points: Tensor, offsets: Tensor, margin: Tensor) -> dict[str, Tensor]:
    """Signed distances in mm to uterus, stroma, zone, lining, canal, fibroids and tumour, each (N, H, W).

    Args:
        points: (N, H, W, 2) in mm.
        offsets: (N,) distance of the slice from the median plane, to the patient's left, in mm.
        margin: (N, H, W) by how much the tumour's margin recedes, in mm.
    """
    path = axis(uterus)
    along, aside = _coordinates(points, path)
    shrink = section(offsets, 1.3 * uterus.girths[:, 1])
    fibroids = _fibroids(uterus, points, path, shrink)
    inner = (uterus.lengths[:, 0] / uterus.lengths.sum(1)).view(-1, 1, 1)           # where the corpus begins
    cervix, corpus, shrink, zone = (v.view(-1, 1, 1) for v in (*uterus.girths.unbind(1), shrink, uterus.zone))
    upper = torch.sigmoid((along - inner - 0.05) / 0.05)                            # 0 in the cervix, 1 in the corpus
    girth = shrink * torch.lerp(cervix, corpus, upper)
    outside = torch.minimum(aside - girth, fibroids - 1.5)
    lining = aside - shrink * _lining(uterus, (along - inner) / (1 - inner)) + 4 * (shrink < 0.75)
    tumour = torch.maximum(_tumour(uterus, points, path, offsets) + margin, outside + 1.2)
    return {"uterus": outside, "stroma": aside - 0.6 * girth + 40 * upper, "canal": aside - 1 + 40 * upper,
            "zone": lining - zone * upper.sqrt(), "lining": lining, "fibroids": fibroids, "tumour": tumour}


def crossed(uterus: Uterus, offsets: Tensor) -> Tensor:
    """Whether the slices at these distances (N,) from the median plane cut the tumour (N,)."""
    return uterus.tumour[:, 2] * _tumour_section(uterus, offsets) > 3


def _lining(uterus: Uterus, up: Tensor) -> Tensor:
    """Half the thickness of the endometrium (N, H, W), spindle-shaped from the inner opening (0) to the fundus (1)."""
    up = up.clamp(0, 1)
    return 0.7 + uterus.lining.view(-1, 1, 1) * (4 * up * (1.05 - up)).sqrt()


def section(offsets: Tensor, radius: Tensor) -> Tensor:
    """How much smaller a round body is in a plane off its middle, 0 outside of it (N,)."""
    return (1 - (offsets / radius).square()).clamp_min(0).sqrt()


def _coordinates(points: Tensor, path: Tensor) -> tuple[Tensor, Tensor]:
    """Place along the paths (N, K, 2), from 0 to 1, and the distance from them: each (N, H, W)."""
    y, x = points.unbind(-1)
    gap, along = torch.full_like(y, math.inf), torch.zeros_like(y)
    pieces = path.shape[1] - 1
    for k in range(pieces):
        (ay, ax), (by, bx) = (path[:, k + i].view(-1, 2, 1, 1).unbind(1) for i in (0, 1))
        dy, dx, oy, ox = by - ay, bx - ax, y - ay, x - ax
        t = ((oy * dy + ox * dx) / (dy * dy + dx * dx)).clamp(0, 1)
        here = (oy - t * dy).square() + (ox - t * dx).square()
        along = torch.where(here < gap, (k + t) / pieces, along)
        gap = torch.minimum(gap, here)
    return along, gap.sqrt()


def _at(path: Tensor, place: Tensor, aside: Tensor) -> tuple[Tensor, Tensor]:
    """Points (N, 2) beside the paths, and the direction (N,) of the path there, from straight up to anterior."""
    index = (place * (path.shape[1] - 1)).long().clamp(0, path.shape[1] - 2)
    case = torch.arange(len(path), device=path.device)
    a, b = path[case, index], path[case, index + 1]
    forward = torch.nn.functional.normalize(b - a, dim=-1)
    across = torch.stack([forward[:, 1], -forward[:, 0]], -1)                       # to posterior of an axis that rises
    point = a + (b - a) * (place * (path.shape[1] - 1) - index)[:, None] + across * aside[:, None]
    return point, torch.atan2(-forward[:, 1], -forward[:, 0])


def _fibroids(uterus: Uterus, points: Tensor, path: Tensor, shrink: Tensor) -> Tensor:
    """Signed distance to the round benign tumours of the wall (N, H, W)."""
    found = torch.full(points.shape[:-1], 1e3, device=points.device)
    for place, aside, radius in (f.unbind(-1) for f in uterus.fibroids.unbind(1)):
        centre, _ = _at(path, place, aside)
        here = (points - centre[:, None, None]).norm(dim=-1) - (radius * shrink).view(-1, 1, 1)
        found = torch.where((radius * shrink > 2).view(-1, 1, 1), torch.minimum(found, here), found)
    return found


def _tumour_section(uterus: Uterus, offsets: Tensor) -> Tensor:
    return section(offsets - uterus.lateral, uterus.tumour[:, 3].clamp_min(1))


def _tumour(uterus: Uterus, points: Tensor, path: Tensor, offsets: Tensor) -> Tensor:
    """Signed distance to the tumour as an ellipse along the axis (N, H, W); 1000 without one."""
    place, aside, length, width = uterus.tumour.unbind(-1)
    centre, angle = _at(path, place, aside)
    radii = (torch.stack([length, width], 1) * _tumour_section(uterus, offsets)[:, None]).clamp_min(1)
    return torch.where(crossed(uterus, offsets).view(-1, 1, 1), ellipsoid(points, centre, radii, rotation(angle)), 1e3)
