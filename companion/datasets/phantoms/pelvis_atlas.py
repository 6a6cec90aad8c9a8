"""Median section of an average female pelvis, for the phantom ``pelvis``: distances to what differs little in place.

Positions are (row, column) in mm from the middle of the section: rows run to inferior, columns to posterior. The parts
are outlines and paths through points read off anatomy atlases and rounded; a conjugate (promontory to symphysis) of 12
cm and a sacral slope of 40 degrees are those of a grown woman lying on her back. Patients differ by a smooth
deformation, for which ``pelvis`` samples the maps made here elsewhere.
"""

from functools import cache

import torch
from torch import Tensor

from companion.datasets.phantoms.shapes import grid, tubes

REACH = 150.0              # mm, half the side of the maps
STEP, REFINED = 2.0, 2     # mm between the points at which distances are computed; then interpolated so many times

OUTLINES = {
    "skin": ((-190, -92), (-120, -97), (-70, -99), (-25, -97), (8, -90), (34, -81), (54, -67), (70, -48), (82, -30),
             (90, -14), (86, 2), (82, 16), (88, 32), (91, 47), (97, 58), (116, 68), (136, 84), (190, 100), (190, 160),
             (60, 150), (0, 138), (-60, 132), (-190, 134)),
    "cavity": ((-190, -76), (-110, -79), (-60, -75), (-34, -64), (-10, -50), (-4, -25), (-8, 0), (-16, 26), (-36, 46),
               (-60, 40), (-84, 22), (-118, 8), (-190, 0)),
    "back": ((-190, 70), (-130, 76), (-100, 80), (-60, 94), (-20, 98), (14, 94), (24, 98), (0, 108), (-40, 116),
             (-90, 119), (-190, 122)),
    "floor": ((36, -25), (28, -8), (26, 6), (34, 14), (52, 14), (68, 26), (82, 34), (84, 22), (78, 4), (78, -12),
              (68, -30), (52, -36), (42, -30)),
}
PATHS = {
    "rectus": ((-190, -80), (-110, -86), (-60, -84), (-24, -73), (8, -55)),
    "sac": ((-190, 54), (-130, 62), (-112, 65), (-98, 71), (-80, 83), (-62, 90), (-48, 94)),
    "crest": ((-112, 92), (-98, 94), (-76, 98), (-50, 106), (-24, 106), (-2, 102)),
    "rectum": ((-52, -22), (-74, -14), (-82, 8), (-66, 30), (-46, 48), (-26, 61), (0, 65), (22, 60), (38, 48), (50, 39),
               (66, 42), (84, 47), (94, 49)),
    "vagina": ((20, 17), (32, 11), (48, 5), (64, -1), (78, -6)),
    "urethra": ((16, -18), (36, -15), (50, -14), (66, -19)),
    "levator": ((58, 57), (56, 50), (58, 46), (66, 50), (78, 55)),
    "perineum": ((64, 18), (74, 20), (80, 26)),
    "membrane": ((42, -27), (54, -30), (66, -34)),
    "vein": ((-98, 18), (-93, 24)),
    "symphysis": ((12, -50), (24, -41), (36, -32)),
}
ENDPLATES = (((-150, 11), (-159, 45)), ((-122, 16), (-134, 49)), ((-113, 19), (-127, 51)), ((-88, 30), (-104, 58)),
             ((-78, 38), (-98, 63)), ((-56, 55), (-74, 75)), ((-54, 57), (-72, 77)), ((-32, 69), (-43, 87)),
             ((-31, 70), (-42, 88)), ((-8, 77), (-12, 94)), ((-7, 77), (-11, 94)), ((13, 76), (15, 91)),
             ((14, 76), (16, 91)), ((32, 71), (37, 83)), ((34, 70), (39, 81)), ((43, 65), (49, 74)),
             ((44, 64), (50, 72)), ((56, 55), (60, 60)))
"""Front and back end of the upper and lower plate of L4, L5, S1 to S5 and two coccygeal vertebrae."""


def at(points: Tensor) -> dict[str, Tensor]:
    """Signed distances in mm at the given points.

    Args:
        points: (N, H, W, 2) in mm.

    Returns:
        Tensors (N, H, W) by name, see ``maps``.
    """
    names, table = maps()
    mode = "nearest" if points.shape[1] <= 128 else "bilinear"   # four times as fast, a little jagged
    place = (points / REACH).flip(-1).flatten(0, 1)[None]
    found = torch.nn.functional.grid_sample(table.to(points)[None], place, mode=mode, padding_mode="border",
                                            align_corners=True)[0]
    return dict(zip(names, found.view(len(names), *points.shape[:3]), strict=True))


@cache
def maps() -> tuple[tuple[str, ...], Tensor]:
    """Names and maps (parts, 301, 301) of signed distances in mm to the parts that are painted alike.

    ``vagina`` and ``urethra`` are distances to a path without width; ``rectum`` is that to a bowel which is not
    distended, and ``ampulla`` no distance but 1 where it is widest when it is, and near 0 elsewhere.
    """
    count = int(2 * REACH / STEP) + 1
    points = grid((count, count), (STEP, STEP))
    areas = {name: _inside(points, _curve(outline, closed=True)) for name, outline in OUTLINES.items()}
    paths = {name: _path(points, _curve(path)) for name, path in PATHS.items()}
    bodies, discs = _spine(points)
    crest = paths["crest"][0] - 4.5 - 1.8 * torch.cos(points[..., 0] / 4.3)         # a spinous process every 27 mm
    width = {name: paths[name][0] for name in PATHS}
    along = paths["rectum"][1]                            # 0 in the sigmoid colon, 1 at the anal verge
    rectum = width["rectum"] - _bowel_radius(along)
    sphincter = torch.maximum(rectum - 4.5, 200 * (0.86 - along))
    found = areas | {
        "rectum": rectum, "ampulla": torch.exp(-((along - 0.62) / 0.14).square()), "vagina": width["vagina"],
        "urethra": width["urethra"], "discs": discs, "sac": width["sac"] - 5.5,
        "muscles": _nearest(width["rectus"] - 3.8, width["levator"] - 3, width["perineum"] - 5, width["membrane"] - 3.5,
                            sphincter),
        "cortex": _nearest(bodies - 0.6, crest - 1.2, width["symphysis"] - 8.5, width["sac"] - 6.5, width["vein"] - 5),
        "marrow": _nearest(bodies + 0.9, crest, width["symphysis"] - 7.2)}
    fine = REFINED * (count - 1) + 1
    table = torch.nn.functional.interpolate(torch.stack(list(found.values()))[None], (fine, fine), mode="bicubic",
                                            align_corners=True)[0]
    return tuple(found), table


def _bowel_radius(along: Tensor) -> Tensor:
    """Radius in mm of the sigmoid colon, with folds, of the empty rectum and the anal canal."""
    folds = 1.5 * torch.sin(60 * along) * (0.45 - along).clamp(0, 0.2) * 5
    return 6.5 + folds + 8 * (0.4 - along).clamp(0, 0.3)


def _nearest(*distances: Tensor) -> Tensor:
    return torch.stack(distances).amin(0)


def _spine(points: Tensor) -> tuple[Tensor, Tensor]:
    """Vertebral bodies, and the lumbar discs (those of the sacrum are remnants too thin to be drawn)."""
    ends = torch.tensor(ENDPLATES).float()
    quads = torch.stack([ends[:-1, 0], ends[:-1, 1], ends[1:, 1], ends[1:, 0]], 1)  # (plates - 1, 4, 2)
    shapes = [_inside(points, quad.lerp(quad.mean(0), 0.14)) - 1.6 for quad in quads]
    return _nearest(*shapes[::2]), _nearest(*shapes[1:4:2])


def _curve(control: tuple, closed: bool = False, steps: int = 6) -> Tensor:
    """A smooth curve through control points (Catmull and Rom, 1974): (K, 2) to (about 6 K, 2)."""
    p = torch.tensor(control).float()
    first, last = (p[-1:], p[:2]) if closed else (2 * p[:1] - p[1:2], 2 * p[-1:] - p[-2:-1])
    p = torch.cat([first, p, last])
    t = (torch.arange(steps) / steps)[:, None]
    a, b, c, d = (p[i: len(p) - 3 + i, None] for i in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return curve.flatten(0, 1) if closed else torch.cat([curve.flatten(0, 1), p[-2:-1]])


def _path(points: Tensor, path: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to an open path (K, 2), and where along it the nearest point lies, from 0 to 1: each (H, W)."""
    gap, place = torch.full(points.shape[:-1], torch.inf), torch.zeros(points.shape[:-1])
    lengths = (path[1:] - path[:-1]).norm(dim=-1)
    for a, b, start, length in zip(path[:-1], path[1:], lengths.cumsum(0) - lengths, lengths, strict=True):
        t = ((points - a) @ (b - a) / length.square()).clamp(0, 1)
        here = (points - a - t[..., None] * (b - a)).norm(dim=-1)
        place = torch.where(here < gap, (start + t * length) / lengths.sum(), place)
        gap = torch.minimum(gap, here)
    return gap, place


def _inside(points: Tensor, corners: Tensor) -> Tensor:
    """Signed distance to a polygon (K, 2), negative inside, by the parity of crossings: (H, W)."""
    y, x = points.unbind(-1)
    odd = torch.zeros_like(y, dtype=torch.bool)
    for a, b in zip(corners, corners.roll(-1, 0), strict=True):
        crosses = (a[0] > y) != (b[0] > y)
        odd ^= crosses & (x < a[1] + (y - a[0]) * (b[1] - a[1]) / torch.where(a[0] == b[0], 1.0, b[0] - a[0]))
    edge = tubes(points, corners[None], corners.roll(-1, 0)[None], torch.full((1, len(corners)), 1e-3))[0]
    return torch.where(odd, -edge, edge)
