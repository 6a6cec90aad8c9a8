"""Geometry of the upper abdomen: how far a point lies from liver, spleen, kidneys, stomach, spine, skin and the rest.

An average adult in full inspiration, in mm, with axes (z, y, x): z to superior, y to posterior, x to the patient's
left. The origin lies in the middle of the body, a little above the level where the portal vein enters the liver. Each
patient is stretched by three factors and bent by slow waves. Distances are negative inside, exact near the surface of
round shapes and approximate elsewhere.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from companion.datasets.phantoms.abdomen_parts import CAVITY, LOOPS, RODS, ROUND, Segment
from companion.datasets.phantoms.lung_geometry import soft_min
from companion.datasets.phantoms.shapes import ellipsoid, grid, rotation

COARSE = 5.0
"""Distance in mm between the points at which the geometry is evaluated, or two voxels; voxels are interpolated."""
OUTSIDE = 99.0    # mm, stands for the distances of points well outside of the body


@dataclass(frozen=True)
class Anatomy:
    """N patients.

    Args:
        scale: (N, 3) size against the average along z, y, x.
        fat: (N,) thickness of the fat under the skin, in mm.
        ribs: (N,) position of the ribs, in mm along the body.
        waves, phases, bends: (N, 3, 3) wave vectors per mm, (N, 3) phases and (N, 3, 3) shifts in mm, by which the
            patient differs from the average.
        stomach, spleen, left: (N,) size of stomach, spleen and left lobe of the liver against the average.
        level: (N,) y of the surface of the fluid in the stomach, in mm.
        gas: (N, 8) share of gas in each bowel loop.
        portal, hepatic, mesentery: (N, 32, 3), (N, 16, 3) and (N, 16, 3) where the branches of the portal vein, the
            hepatic veins and the vessels of the bowel end, in mm.
        parenchyma: (N,) liver without contrast agent, in HU.
        uptake: (N,) enhancement against the average; late: (N,) how far the arterial phase has come to the portal one.
    """

    scale: Tensor
    fat: Tensor
    ribs: Tensor
    waves: Tensor
    phases: Tensor
    bends: Tensor
    stomach: Tensor
    spleen: Tensor
    left: Tensor
    level: Tensor
    gas: Tensor
    portal: Tensor
    hepatic: Tensor
    mesentery: Tensor
    parenchyma: Tensor
    uptake: Tensor
    late: Tensor

    def of(self, patients: Tensor) -> "Anatomy":
        """The patients with these numbers (M,), in that order."""
        return Anatomy(*(getattr(self, f.name)[patients] for f in fields(self)))

    def to(self, device: torch.device) -> "Anatomy":
        """The same patients on another device."""
        return Anatomy(*(getattr(self, f.name).to(device) for f in fields(self)))

    def average(self, points: Tensor) -> Tensor:
        """Where points (N, P, 3) of these patients lie in the average patient, in mm."""
        turn = points @ self.waves.transpose(1, 2) + self.phases[:, None]              # (N, P, 3 waves)
        return points / self.scale[:, None] + turn.sin() @ self.bends

    def place(self, points: Tensor) -> Tensor:
        """Where points (N, P, 3) of the average patient lie in these patients, in mm: ``average`` undone."""
        found = points * self.scale[:, None]
        for _ in range(4):
            found = found + (points - self.average(found)) * self.scale[:, None]
        return found


@dataclass(frozen=True)
class Field:
    """Distances on a coarse grid over images, smooth enough to be interpolated.

    Args:
        values: by name, each (N, \\*counts); see ``distances``.
        axes: for each axis a matrix (voxels, count) that interpolates linearly from the grid to the voxels.
    """

    values: dict[str, Tensor]
    axes: tuple[Tensor, Tensor, Tensor]

    def box(self, values: Tensor, below: float) -> tuple[slice, slice, slice]:
        """The part of the voxels outside of which no value on the coarse grid (M, \\*counts) lies below a number."""
        low = values.amin(0)
        rows = [low.amin(others) < below for others in ((1, 2), (0, 2), (0, 1))]
        return tuple(_span(axis, row) for axis, row in zip(self.axes, rows, strict=True))

    def fine(self, values: Tensor, box: Sequence[slice] = (slice(None),) * 3) -> Tensor:
        """Values on the coarse grid (M, \\*counts) to values at the voxels of a box (M, D, H, W), by default all."""
        z, y, x = (axis[part] for axis, part in zip(self.axes, box, strict=True))
        planes = y @ (values @ x.T)                                                 # (M, counts z, H, W)
        return planes if len(z) == 1 else (z @ planes.flatten(2)).view(len(values), len(z), len(y), len(x))


def _span(axis: Tensor, row: Tensor) -> slice:
    """The voxels that the grid points ``row`` (count,) and their neighbours reach, given their matrix."""
    grown = torch.nn.functional.max_pool1d(row[None].float(), 3, 1, 1)[0]
    reached = (axis @ grown).nonzero()[:, 0]
    return slice(int(reached[0]), int(reached[-1]) + 1)


def field(anatomy: Anatomy, centre: Tensor, size: Sequence[int], spacing: Sequence[float]) -> Field:
    """The distances over one image of each patient.

    Args:
        centre: (N, 3) position of the image's middle, in mm.
        size, spacing: of the image along z, y, x, in voxels and in mm.
    """
    steps = [max(COARSE, 2 * d if s > 1 and d < 6 else d) for s, d in zip(size, spacing, strict=True)]
    counts = [min(s, math.ceil((s - 1) * d / step) + 1) for s, d, step in zip(size, spacing, steps, strict=True)]
    wide = [(s - 1) * d / max(c - 1, 1) for s, d, c in zip(size, spacing, counts, strict=True)]
    points = grid(counts, wide, centre.device) + centre[:, None, None, None]
    reach = anatomy.scale[:, 1:] * (anatomy.fat[:, None] + anatomy.scale.new_tensor(CAVITY) + 36)
    rows, columns = _range(points[:, 0, :, 0, 1], reach[:, :1]), _range(points[:, 0, 0, :, 2], reach[:, 1:])
    body = points[:, :, rows, columns]
    around = (columns.start, counts[2] - columns.stop, rows.start, counts[1] - rows.stop)
    far = {name: torch.nn.functional.pad(values.view(body.shape[:-1]), around, value=OUTSIDE)
           for name, values in distances(anatomy, body.flatten(1, 3)).items()}
    return Field(far, tuple(_between(s, c, centre.device) for s, c in zip(size, counts, strict=True)))


def _range(line: Tensor, reach: Tensor) -> slice:
    """The points of a line (N, count) that lie within the bodies' reach (N, 1) to both sides, all if none do."""
    inside = (line.abs() < reach).any(0).nonzero()[:, 0].tolist()
    return slice(inside[0], inside[-1] + 1) if inside else slice(0, line.shape[1])


def _between(size: int, count: int, device: torch.device) -> Tensor:
    """Matrix (size, count) that interpolates ``count`` values linearly to ``size`` ones over the same extent."""
    place = torch.arange(size, device=device)[:, None] * (count - 1) / max(size - 1, 1)
    return (1 - (place - torch.arange(count, device=device)).abs()).clamp_min(0)


def distances(anatomy: Anatomy, points: Tensor) -> dict[str, Tensor]:
    """Signed distances to the parts of the abdomen, in mm.

    Args:
        points: (N, P, 3) in mm, P points of each patient.

    Returns:
        Tensors (N, P) by name. ``height`` is no distance but the way up across the ribs in mm, ``side`` the position x,
        ``front`` the position before the ends of the ribs; ``gas`` and ``stool`` lie in the bowel, ``medulla`` and
        ``sinus`` in the kidneys, ``air`` in the stomach, ``bladder`` is the gallbladder, ``fold`` the diaphragm.
    """
    q = anatomy.average(points)
    z, y, x = q.unbind(-1)
    sizes = {"fundus": anatomy.stomach, "body": anatomy.stomach, "spleen": anatomy.spleen, "left lobe": anatomy.left}
    far = _rounds(q, sizes)
    cavity, cava, rods = outline(q, *CAVITY), _cava(q), {name: _rods(q, *table) for name, table in RODS.items()}
    belly = torch.maximum(_belly(far, z, y), cavity)
    stomach = soft_min(soft_min(far["fundus"], far["body"], 24), rods["antrum"], 16)
    kidneys = _kidneys(q, far, rods)
    spleen = torch.maximum(_soft_max(_soft_max(far["spleen"], -far["hollow"], 14),
                                     5 - torch.minimum(stomach, kidneys["kidney"]), 8), belly + 3.5)
    liver = _liver(q, far, rods, kidneys["kidney"])
    near = torch.minimum(stomach, far["bladder"])
    liver = torch.maximum(torch.maximum(liver, belly + 1.0), torch.maximum(1.5 - near, -_falx(z, y, x)))
    organs = torch.minimum(torch.minimum(liver, kidneys["kidney"]), torch.minimum(stomach, spleen))
    middle = soft_min(far["mediastinum"], far["pericardium"], 12)
    lumps = 1.5 * torch.sin(x / 2.6) * torch.sin(y / 3 + z / 4)
    return {"cavity": cavity, "fold": torch.maximum(belly.abs() - 1.5, cavity), "heart": far["heart"],
            "lung": torch.maximum(torch.maximum(cavity, -belly) + 0.5, 2 - middle), "liver": liver, "cava": cava,
            "skin": cavity - 14 - anatomy.fat[:, None], "spleen": spleen, "stomach": stomach, "bladder": far["bladder"],
            "air": torch.maximum(stomach + 4, y - anatomy.level[:, None]),
            "pancreas": soft_min(rods["head"], rods["tail"], 8) + lumps,
            "aorta": rods["aorta"], "crura": rods["crura"], "adrenal": rods["adrenal"], "gullet": rods["gullet"],
            **kidneys, **_bowel(q, anatomy.gas, organs), **_spine(q), **_muscles(q, cavity),
            "height": z - 0.55 * y, "side": x, "front": -(y + 50 + 0.8 * z)}


def outline(q: Tensor, ry: float, rx: float) -> Tensor:
    """Distance to a tube along z whose section is an ellipse with squarer corners: (..., 3) to (...)."""
    y, x = (q[..., 1:].abs() / q.new_tensor((ry, rx))).clamp_min(1e-3).unbind(-1)
    reach = (y * y * y.sqrt() + x * x * x.sqrt()) ** 0.4
    y, x = y / reach, x / reach
    return (reach - 1) / (y * y * y / ry ** 2 + x * x * x / rx ** 2).sqrt()


def _soft_max(a: Tensor, b: Tensor, blend: float) -> Tensor:
    return -soft_min(-a, -b, blend)


def _rounds(q: Tensor, sizes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Distance to every ellipsoid of ``ROUND``, all at once; ``sizes`` (N,) against the average where they vary."""
    centre, radii, angles = (q.new_tensor(values) for values in zip(*ROUND.values(), strict=True))
    own = rotation(angles).mT / radii[..., None]                                    # (E, 3, 3), rows: own axes
    offset = -torch.einsum("eba,ea->eb", own, centre).flatten()
    square = torch.addmm(offset[:, None], own.flatten(0, 1), q.flatten(0, 1).T).square_()          # (3 E, N P)
    total = torch.block_diag(*torch.ones(len(radii), 1, 3, device=q.device))         # (E, 3 E)
    reach = (total @ square).add_(1e-4).sqrt_().view(-1, *q.shape[:2])
    slope = ((total / radii.square().flatten()) @ square).view_as(reach)
    slope = slope.add_((1e-4 / radii.amin(1).square()).view(-1, 1, 1)).sqrt_()
    size = torch.ones(len(ROUND), len(q), 1, device=q.device)
    for name, value in sizes.items():
        size[list(ROUND).index(name), :, 0] = value
    return dict(zip(ROUND, (reach - size).mul_(reach).div_(slope), strict=True))


def _rods(q: Tensor, rods: Sequence[Segment], radius: float) -> Tensor:
    """Distance to the nearest of some straight tubes with round ends, all of one radius."""
    start, end = (q.new_tensor(values) for values in zip(*rods, strict=True))
    length = (end - start).norm(dim=1, keepdim=True)
    along, flat = (end - start) / length, q.flatten(0, 1).T                         # (S, 3), (3, N P)
    forward = torch.addmm(-(start * along).sum(1, keepdim=True), along, flat)        # (S, N P), in mm
    square = torch.addmm(start.square().sum(1, keepdim=True), start, flat, alpha=-2)
    on = torch.clamp(forward, torch.zeros_like(length), length)
    nearest = square.sub_(forward.mul_(2).sub_(on).mul_(on)).amin(0) + (flat * flat).sum(0)
    return (nearest.clamp_min(0).sqrt() - radius).view(q.shape[:2])


def _belly(far: Mapping[str, Tensor], z: Tensor, y: Tensor) -> Tensor:
    """Everything under the diaphragm: two domes, the middle between them, all below the recess of the lungs."""
    domes = soft_min(soft_min(far["right dome"], far["left dome"], 20), far["centre"], 30)
    return soft_min(domes, (z + 18 + 0.35 * y) / 1.06, 20)


def _liver(q: Tensor, far: Mapping[str, Tensor], rods: Mapping[str, Tensor], kidney: Tensor) -> Tensor:
    """Right, left and caudate lobe, cut by the oblique lower face, the spine, the right kidney and the porta."""
    z, y, x = q.unbind(-1)
    lobes = soft_min(soft_min(far["right lobe"], far["left lobe"], 30), far["caudate"], 8)
    lower = (0.62 * (x + 132) + 0.32 * y - 102 - z) / 1.22
    lobes = _soft_max(_soft_max(lobes, lower, 40), -far["behind"], 14)
    return _soft_max(lobes, -soft_min(kidney - 5, rods["porta"], 4), 8)


def _falx(z: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The cleft of the falciform ligament."""
    return torch.maximum(torch.maximum((x + 4 + 0.15 * y).abs() + 0.03 * y + 1, z - 14), y + 34)


def _kidneys(q: Tensor, far: Mapping[str, Tensor], rods: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Both kidneys: outline, medulla as pyramids, fat of the sinus open to the middle."""
    found = []
    for side, middle in (("right", (-78.0, 38.0, -52.0)), ("left", (-56.0, 38.0, 54.0))):
        whole, door = far[f"{side} kidney"], rods[f"{side} door"]
        sinus = soft_min(far[f"{side} sinus"], door, 6)
        z, y, x = (q - q.new_tensor(middle)).unbind(-1)
        rays = torch.cos(7 * torch.atan2(y, x)) * torch.cos(z / 5.5)
        found.append((torch.maximum(whole, -door), torch.maximum(torch.maximum(whole + 7, -rays * 6), 1 - sinus),
                      torch.maximum(sinus, whole)))
    both = zip(("kidney", "medulla", "sinus"), zip(*found, strict=True), strict=True)
    return {name: torch.minimum(*pair) for name, pair in both}


def _bowel(q: Tensor, gas: Tensor, organs: Tensor) -> dict[str, Tensor]:
    """Loops below and between the organs, each with a pocket of gas at the top; stool in the colon."""
    bowel, which = torch.stack([_rods(q, *loop) for loop in LOOPS]).min(0)             # (N, P)
    share, radius = gas.gather(1, which), q.new_tensor([radius for _, radius in LOOPS])[which]
    bowel = torch.maximum(bowel + 1.5 * torch.sin(q[..., 2] / 6 + which), 3 - organs)
    outside = torch.full_like(bowel, 99.0)
    return {"bowel": bowel, "gas": torch.where(share > 0.35, bowel + (1 - share) * radius, outside),
            "stool": torch.where(which < 3, bowel + 3, outside)}


def _cava(q: Tensor) -> Tensor:
    """Inferior vena cava, oval, that runs forward to the heart above the liver."""
    z, y, x = q.unbind(-1)
    flat = torch.stack([y + 14 * ((z - 10) / 50).clamp(0, 1), x], -1)
    return ellipsoid(flat[:, :, None], flat.new_tensor([[20.0, -25.0]]), flat.new_tensor([[9.5, 13.0]]))[..., 0]


def _spine(q: Tensor) -> dict[str, Tensor]:
    """Vertebral bodies (with the discs between), and the bony arch around the canal with its processes."""
    z, y, x = q.unbind(-1)
    flat = torch.stack([y - 48, x], -1)
    body = ellipsoid(flat[:, :, None], flat.new_zeros(1, 2), flat.new_tensor([[16.0, 21.0]]))[..., 0]
    canal = ((y - 70) / 0.8).hypot(x) - 9
    level = ((z / 32) % 1 - 0.5).abs() * 32                                         # 16 at the middle of a disc
    process = torch.maximum((y - 92).abs() - 15, x.abs() - 3.2 - 0.06 * (y - 80).clamp_min(0))
    wings = torch.maximum((y - 71 - 0.2 * x.abs()).abs() - 4, x.abs() - 36)
    arch = torch.minimum(torch.maximum((canal - 3.5).abs() - 3.5, 58 - y),
                         torch.maximum(torch.minimum(process, wings), torch.maximum(level - 9, -canal)))
    body = torch.maximum(body, y - 61)                                              # flat behind
    return {"spine": body, "disc": torch.maximum(body, 12.5 - level), "arch": arch, "canal": canal}


def _muscles(q: Tensor, cavity: Tensor) -> dict[str, Tensor]:
    """Wall, long muscles of the back, psoas, straight muscles in front with the lines of fat beside them."""
    y, side = q[..., 1], q * q.new_tensor((1.0, 1.0, -1.0))
    x, layer = q[..., 2].abs(), (cavity - 7).abs()
    centre, radii = q.new_tensor([[86.0, 31.0]]), q.new_tensor([[19.0, 29.0]])
    back = torch.minimum(*(ellipsoid(p[:, :, None, 1:], centre, radii)[..., 0] for p in (q, side)))
    psoas = torch.minimum(*(_rods(p, (((-30, 56, 24), (-180, 50, 42)),), 13.0) for p in (q, side)))
    front = torch.maximum(torch.maximum(layer - 7, x - 58), y + 40)
    seam = torch.minimum(torch.maximum(x - 3.5, y + 40), (x - 60).abs() - 1.5 + 20 * (y + 40).clamp_min(0))
    return {"wall": layer - 6.5, "back": back, "psoas": psoas, "straight": front,
            "seam": torch.maximum(seam, layer - 8)}
