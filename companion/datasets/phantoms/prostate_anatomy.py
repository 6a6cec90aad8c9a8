"""Geometry around the prostate for the phantom ``prostate``: signed distances to bladder, rectum, muscles and bones.

An average man in mm, axes (z, y, x): z to superior, y to posterior, x to the patient's left, origin in the middle of
the gland. What touches the gland moves with its half axes. Rounded from anatomy atlases.
"""

import math

import torch
from torch import Tensor

BLOBS = {                                                    # middle, half axes, turn in the axial plane; both sides
    "gluteus": ((0, 82, 66), (160, 27, 55), -0.32),
    "adductors": ((-48, -54, 50), (56, 22, 34), 0.45),
    "pectineus": ((2, -62, 58), (36, 14, 26), 0.35),
    "externus": ((-20, -24, 60), (24, 14, 26), 0.5),
    "rotators": ((-24, 26, 94), (40, 18, 28), -0.2),
    "iliopsoas": ((30, -56, 92), (90, 22, 24), 0.0),
    "internus": ((4, -2, 50), (60, 42, 12.5), 0.2),
    "pubis": ((-10, -45, 15), (25, 19, 13.5), -0.45),
    "acetabulum": ((20, 4, 74), (38, 37, 13), 0.12),
    "ischium": ((-36, 16, 64), (34, 21, 15), 0.25),
    "femur": ((20, -8, 103), (26, 25, 25), 0.0),
}
RODS = {                                                     # start, end, radius; both sides
    "upper ramus": ((2, -46, 24), (20, -25, 72), 10),
    "lower ramus": ((-24, -40, 14), (-46, 2, 52), 8),
    "artery": ((-90, -62, 66), (90, -72, 58), 5),
    "vein": ((-90, -54, 58), (90, -62, 50), 6.5),
    "crus": ((-62, -30, 9), (-56, 2, 34), 6),
    "coccyx": ((-8, 54, 0), (22, 68, 0), 5.5),
    "sacrum": ((22, 68, 0), (80, 94, 0), 10),
}
GROUPS = {
    "muscles": ("adductors", "pectineus", "externus", "rotators", "iliopsoas", "internus"),
    "bones": ("pubis", "acetabulum", "ischium", "femur", "upper ramus", "lower ramus", "coccyx", "sacrum"),
}
"""Parts that look alike and are returned as one."""


def distances(q: Tensor, half: Tensor) -> dict[str, Tensor]:
    """Signed distances in mm (N, P) by name, negative inside.

    ``funnel`` is that to the middle of the levator muscle, a surface that ends where ``funnel's ends`` is positive, and
    ``streak`` no distance but the place across the bundles of the gluteus muscle.

    Args:
        q: (N, P, 3) positions in mm.
        half: (N, 3) half axes of the gland in mm.
    """
    z, y, x = q.movedim(-1, 0).contiguous()
    side = z, y, x.abs()
    flat = z, y, 0.6 * x                                                            # the coccyx is wider than deep
    found = {name: _blob(*side, *blob) for name, blob in BLOBS.items()}
    found |= {name: _rod(flat if name in ("coccyx", "sacrum") else side, *rod) for name, rod in RODS.items()}
    found["joint"] = torch.maximum(found["femur"].abs() - 1.2, found["acetabulum"] - 3)
    for group, names in GROUPS.items():
        found[group] = torch.stack([found.pop(name) for name in names]).amin(0)
    rz, ry, rx = (h[:, None] for h in half.unbind(-1))
    found |= _behind(z, y, x, rz, ry, rx) | _above(z, y, x, rz, ry) | _below(z, y, x, rz)
    found["veins"] = _ellipsoid((z - 2) / (0.8 * rz), (y + ry + 4) / 5.5, x / 15) * 5
    found["bundle"] = torch.hypot(y - 0.78 * ry - 2, x.abs() - 0.72 * rx - 2) - 3.5 + (z.abs() - rz).clamp_min(0)
    found["skin"] = _ellipsoid(z / 400, (y - 6) / 108, x / 180) * 108
    found["streak"] = 0.8 * y - 0.6 * x.abs()
    return found


def _behind(z: Tensor, y: Tensor, x: Tensor, rz: Tensor, ry: Tensor, rx: Tensor) -> dict[str, Tensor]:
    """Rectum, which narrows to the anal canal below the gland, and the funnel of the levator around both."""
    low = torch.sigmoid((z + 0.9 * rz + 4) / 4)                                     # 0 in the anal canal
    middle = ry + 7 + 7.5 * low + 0.15 * z.clamp_min(0)
    depth, width = 8 + 5 * low, 8 + 9 * low
    rectum = (torch.hypot((y - middle) / depth, x / width) - 1) * depth
    wide = 11 + (rx - 6) * torch.sigmoid((z + 0.85 * rz) / 5) + 0.3 * (z - 0.3 * rz).clamp_min(0)
    funnel = (torch.hypot((y - 0.55 * ry - 5) / (0.95 * ry + 18), x / wide) - 1) * wide
    ends = torch.maximum(-4 - 0.6 * ry - y, z - 0.8 * rz - 8)                       # open in front and above
    return {"rectum": rectum, "funnel": funnel, "funnel's ends": ends}


def _above(z: Tensor, y: Tensor, x: Tensor, rz: Tensor, ry: Tensor) -> dict[str, Tensor]:
    """Bladder, and the seminal vesicles behind it."""
    up, out = z - rz, x.abs()
    bladder = _ellipsoid((up - 19) / 26, (y + 10) / 27, x / 34) * 26
    t = ((out - 4) / 30).clamp(0, 1)
    vesicle = torch.sqrt((up - 3 - 12 * t).square() + (y - 0.72 * ry - 4 - 5 * t).square()
                         + (out - 4 - 30 * t).square()) - 5.5 - 2 * t
    return {"bladder": bladder, "vesicle": vesicle}


def _below(z: Tensor, y: Tensor, x: Tensor, rz: Tensor) -> dict[str, Tensor]:
    """Urethra below the gland in its sphincter, and the bulb of the penis."""
    down = (-z - 0.7 * rz).clamp_min(0)
    urethra = torch.hypot(y + 0.25 * down, x) + 2 * (z + 0.7 * rz).clamp_min(0)
    return {"urethra": urethra, "bulb": _ellipsoid((z + rz + 24) / 13, (y + 12) / 13, x / 11) * 11}


def _ellipsoid(z: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Distance to a unit sphere from scaled positions."""
    return (z.square() + y.square() + x.square()).sqrt() - 1


def _blob(z: Tensor, y: Tensor, x: Tensor, middle: tuple, half: tuple, turn: float) -> Tensor:
    c, s, y, x = math.cos(turn), math.sin(turn), y - middle[1], x - middle[2]
    squares = ((z - middle[0]) / half[0]).square(), ((c * y + s * x) / half[1]).square(), (
        (c * x - s * y) / half[2]).square()
    return (sum(v.square() for v in squares).sqrt().sqrt() - 1) * min(half)         # squarer than an ellipsoid


def _rod(place: tuple[Tensor, ...], start: tuple, end: tuple, radius: float) -> Tensor:
    along = [e - s for s, e in zip(start, end, strict=True)]
    offset = [p - s for p, s in zip(place, start, strict=True)]
    t = (sum(o * a for o, a in zip(offset, along, strict=True)) / sum(a * a for a in along)).clamp_(0, 1)
    return sum((o - t * a).square() for o, a in zip(offset, along, strict=True)).sqrt() - radius
