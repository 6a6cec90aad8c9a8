"""Sizes and places of the parts of the average upper abdomen, as tables for ``abdomen_geometry``; all in mm.

Points are (z, y, x) from the middle of the body: z to superior, y to posterior, x to the patient's left. Rounded from
anatomy atlases and adjusted by eye until sections look like those of patients.
"""

Point = tuple[float, float, float]
Segment = tuple[Point, Point]
"""Start and end of a straight tube with round ends."""

CAVITY = (90.0, 134.0)
"""Half the depth and half the width of the abdominal cavity."""

ROUND: dict[str, tuple[Point, Point, Point]] = {
    "right dome": ((-82, 0, -66), (148, 98, 80), (0, 0, 0)),
    "left dome": ((-90, 2, 66), (143, 96, 80), (0, 0, 0)),
    "centre": ((-80, -14, 0), (114, 92, 96), (0, 0, 0)),
    "mediastinum": ((0, 46, 0), (600, 46, 34), (0, 0, 0)),
    "pericardium": ((110, -34, 20), (52, 52, 78), (0, 0, 0)),
    "heart": ((112, -34, 22), (44, 46, 66), (0, 0, 0)),
    "right lobe": ((-20, -6, -66), (112, 96, 84), (0, 0, 0)),
    "left lobe": ((14, -56, 4), (52, 42, 72), (0, 0, -0.22)),
    "caudate": ((4, 4, -22), (34, 14, 20), (0, 0, 0)),
    "behind": ((0, 62, 6), (400, 44, 46), (0, 0, 0)),
    "bladder": ((-52, -40, -46), (32, 17, 15), (0.5, 0.3, 0)),
    "spleen": ((2, 36, 98), (56, 60, 40), (0, 0, 0)),
    "hollow": ((-4, 2, 50), (80, 54, 36), (0, 0, -0.5)),
    "fundus": ((30, 14, 60), (40, 38, 36), (0, 0, 0)),
    "body": ((-8, -32, 58), (44, 34, 34), (0.5, 0, 0.3)),
    "right kidney": ((-78, 42, -60), (54, 25, 29), (0.25, 0.2, -0.5)),
    "right sinus": ((-78, 38, -52), (32, 8, 11), (0.25, 0.2, -0.5)),
    "left kidney": ((-56, 42, 62), (54, 25, 29), (0.25, -0.2, 0.5)),
    "left sinus": ((-56, 38, 54), (32, 8, 11), (0.25, -0.2, 0.5)),
}
"""Centre, radii and angles (radians) of ellipsoids; ``behind`` and ``hollow`` are cut out of liver and spleen."""


def bend(start: Point, control: Point, end: Point) -> tuple[Segment, ...]:
    """A curved tube as four straight ones."""
    def at(t: float) -> Point:
        parts = zip(start, control, end, strict=True)
        return tuple((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t * t * c for a, b, c in parts)

    return tuple((at(k / 4), at((k + 1) / 4)) for k in range(4))


RODS: dict[str, tuple[tuple[Segment, ...], float]] = {
    "aorta": ((((-250, 16, 6), (250, 20, 12)),), 11.0),
    "gullet": ((((46, -4, 16), (140, 14, 8)),), 8.0),
    "crura": ((((60, 14, -4), (-130, 24, -16)), ((60, 12, 22), (-110, 24, 24)),
               *bend((56, 14, -6), (62, 2, 8), (56, 12, 24))), 4.7),
    "head": (bend((-76, -6, -30), (-52, -10, -26), (-34, -16, -4)), 13.0),
    "tail": (bend((-34, -16, -4), (-22, -14, 40), (-4, 24, 78)), 10.5),
    "adrenal": ((*bend((-16, 34, 46), (-10, 28, 38), (-20, 20, 36)),
                 *bend((-20, 42, -40), (-10, 34, -34), (-4, 28, -32))), 2.8),
    "antrum": (bend((-30, -46, 44), (-50, -56, 10), (-50, -34, -22)), 15.0),
    "porta": (bend((-44, -6, -12), (-26, -12, -26), (-12, -18, -34)), 7.0),
    "right door": ((((-78, 38, -52), (-78, 28, -28)),), 5.0),
    "left door": ((((-56, 38, 54), (-56, 28, 30)),), 5.0),
}
"""Tubes and their radius, of aorta, gullet, crura of the diaphragm, head and tail of the pancreas, adrenals, end
of the stomach, the gate of the liver and those of the kidneys."""

LOOPS = ((bend((-66, -62, -92), (-58, -70, -30), (-64, -66, 40)), 17.0),
         (bend((-64, -66, 40), (-48, -40, 96), (-20, -30, 104)), 16.0),
         (bend((-110, 10, -104), (-84, -20, -104), (-66, -62, -92)), 18.0),
         (bend((-52, -14, -34), (-74, 2, -46), (-104, -4, -30)), 13.0),
         (bend((-60, -26, 30), (-70, -50, 62), (-76, -8, 86)), 14.0),
         (bend((-86, -36, 20), (-96, -66, 48), (-84, -30, 96)), 14.0),
         (bend((-96, -30, -60), (-112, -60, -20), (-100, -50, 20)), 15.0),
         (bend((-40, -2, 40), (-50, -30, 50), (-60, -2, 74)), 12.0))
"""The bowel, transverse colon (two), ascending colon, duodenum, four loops of jejunum and ileum."""

Curve = tuple[tuple[Point, Point, Point], tuple[float, float]]
"""Start, control point and end of a curved tube, and its radius at start and end."""

VEINS: tuple[Curve, ...] = (
    (((-46, -8, 0), (-30, -12, -14), (-14, -16, -36)), (7.5, 6.5)),
    (((-46, -8, 0), (-30, -2, 40), (-4, 22, 76)), (5.5, 4.0)),
    (((-46, -8, 0), (-80, -14, 0), (-150, -20, 0)), (6.0, 5.5)))
"""Portal, splenic and superior mesenteric vein."""

ARTERIES: tuple[Curve, ...] = (
    (((-52, 10, 8), (-56, -6, 8), (-150, -8, 8)), (4.0, 3.5)),
    (((-34, 10, 8), (-36, -4, 6), (-34, -10, -12)), (3.5, 2.2)),
    (((-36, -6, 6), (-20, -6, 40), (-2, 20, 74)), (2.6, 2.0)),
    (((-62, 18, 8), (-66, 26, -24), (-76, 36, -46)), (2.8, 2.4)),
    (((-60, 18, 8), (-60, 28, 30), (-58, 38, 44)), (2.8, 2.4)))
"""Superior mesenteric, common hepatic, splenic and renal arteries."""

RENAL: tuple[Curve, ...] = (
    (((-62, 16, -22), (-68, 26, -34), (-78, 36, -48)), (5.0, 4.0)),
    (((-62, 12, -18), (-60, 2, 14), (-58, 34, 46)), (5.0, 4.0)))
"""Renal veins."""
