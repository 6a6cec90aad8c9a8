"""A volume: an array of values and its place in the patient, in millimetres. Every reader of patient data returns one.

Patient coordinates are DICOM's (LPS, PS3.3, C.7.6.2.1.1): x grows to the patient's Left, y to Posterior, z to Superior.
An orientation is three letters, one for each array axis (D, H, W): the direction in the patient in which the index
grows. Readers return ``SPL``: slice 0 is the lowest, row 0 is anterior, column 0 is at the patient's right, so that
``volume.array[k]`` is an axial slice as radiologists view it. Only a single slice keeps the plane it was taken in.
"""

import math
from dataclasses import dataclass, replace
from itertools import permutations

import torch
from torch import Tensor

PLANES = {"axial": "SPL", "coronal": "PIL", "sagittal": "LIP"}
"""The orientation in which ``array[k]`` is a slice of this plane, drawn as radiologists view it."""

LETTERS = ("LR", "PA", "SI")  # for patient axes x, y, z: the letter of the growing direction, then of the falling one

Triple = tuple[float, float, float]

TIE = 1e-6  # difference in a sum of direction cosines that is rounding: file formats keep about seven digits


@dataclass(frozen=True, eq=False, repr=False)
class Volume:
    """Values on a regular grid in the patient.

    Args:
        array: float32 tensor (D, H, W). Image functions of torch take it as ``array[:, None]``, (N, C, H, W).
        spacing: distance between neighbouring voxel centres along D, H and W, in mm.
        directions: unit vectors (x, y, z) in patient coordinates along which the indices of D, H and W grow; at right
            angles to each other.
        origin: patient coordinates (x, y, z) of the centre of voxel (0, 0, 0), in mm.
        modality: DICOM's code, such as ``CT`` or ``MR``; empty where the source does not say.
        unit: unit of the values: ``HU`` for CT, empty where there is none, as in MR.

    Raises:
        ValueError: where one of these rules is broken.
    """

    array: Tensor
    spacing: Triple
    directions: tuple[Triple, Triple, Triple]
    origin: Triple
    modality: str = ""
    unit: str = ""

    def __post_init__(self):
        if self.array.dtype != torch.float32 or self.array.ndim != 3 or not self.array.numel():
            raise ValueError(f"the array is {self.array.dtype} of shape {tuple(self.array.shape)}, but must be "
                             "torch.float32 of shape (D, H, W) with at least one voxel")
        if len(self.spacing) != 3 or not all(math.isfinite(s) and s > 0 for s in self.spacing):
            raise ValueError(f"the spacing is {self.spacing}, but must be three positive numbers (D, H, W), in mm")
        if len(self.origin) != 3 or not all(math.isfinite(x) for x in self.origin):
            raise ValueError(f"the origin is {self.origin}, but must be three finite numbers (x, y, z), in mm")
        axes = torch.tensor(self.directions, dtype=torch.float64)
        if axes.shape != (3, 3) or not torch.allclose(axes @ axes.T, torch.eye(3, dtype=torch.float64), atol=1e-4):
            raise ValueError(f"the directions are {self.directions}, but must be three unit vectors (x, y, z) at right "
                             "angles, for D, H and W")

    def __repr__(self) -> str:
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing)
        oblique = f" ({self.obliqueness:.1f} degrees oblique)" if self.obliqueness >= 0.1 else ""
        values = f"{self.array.min():g} to {self.array.max():g} {self.unit}".rstrip()
        return (f"Volume({self.modality or 'no modality'}, shape {tuple(self.array.shape)}, spacing {spacing} mm, "
                f"orientation {self.orientation}{oblique}, values {values})")

    @property
    def patient_axes(self) -> tuple[int, int, int]:
        """The patient axis nearest to D, H and W, which is 0 for x, 1 for y, 2 for z; each occurs once.

        Where several choices are as near, as at 45 degrees, the lines along which the array axes run decide, whatever
        their order and sense, so that a volume keeps its patient axes when it is reoriented.
        """
        def nearness(axes: tuple[int, ...]) -> float:
            return sum(abs(d[x]) for d, x in zip(self.directions, axes, strict=True))

        choices = list(permutations(range(3)))
        nearest = max(map(nearness, choices))
        lines = [_line(d) for d in self.directions]
        return max((axes for axes in choices if nearness(axes) > nearest - TIE),
                   key=lambda axes: [lines[axes.index(x)] for x in range(3)])

    @property
    def orientation(self) -> str:
        """Where D, H and W grow to, as three letters of L, R, P, A, S, I; the nearest for oblique axes."""
        return "".join(LETTERS[x][component < 0] for x, component in zip(self.patient_axes, self._along, strict=True))

    @property
    def obliqueness(self) -> float:
        """Largest angle between an array axis and the patient axis that its letter names, in degrees; 0 if straight."""
        return max(math.degrees(math.acos(min(1.0, abs(component)))) for component in self._along)

    @property
    def _along(self) -> list[float]:
        """The component of each direction along its patient axis."""
        return [d[x] for d, x in zip(self.directions, self.patient_axes, strict=True)]

    def position(self, d: float, h: float, w: float) -> Triple:
        """Patient coordinates (x, y, z) in mm of the point with these indices, which may lie between voxels."""
        steps = torch.tensor([d, h, w], dtype=torch.float64) * torch.tensor(self.spacing, dtype=torch.float64)
        offset = steps @ torch.tensor(self.directions, dtype=torch.float64)
        return tuple(o + x for o, x in zip(self.origin, offset.tolist(), strict=True))

    def reoriented(self, orientation: str) -> "Volume":
        """The same volume with its axes exchanged and turned round; no value is interpolated.

        ``volume.reoriented(PLANES["coronal"]).array[k]`` is coronal slice k. An oblique volume stays oblique.

        Raises:
            ValueError: where the orientation does not name three different patient axes.
        """
        if orientation == self.orientation:
            return self
        axis = {letter: x for x, pair in enumerate(LETTERS) for letter in pair}
        if sorted(axis.get(letter, 3) for letter in orientation) != [0, 1, 2]:
            raise ValueError(f"the orientation is {orientation!r}, but must hold one letter of each pair of {LETTERS}, "
                             f"such as {PLANES['axial']!r}")
        order = [self.patient_axes.index(axis[letter]) for letter in orientation]
        turned = [i for i, letter in zip(order, orientation, strict=True) if self.orientation[i] != letter]
        corner = [size - 1 if i in turned else 0 for i, size in enumerate(self.array.shape)]
        directions = [tuple(0.0 - x for x in d) if i in turned else d for i, d in enumerate(self.directions)]
        return replace(self, array=self.array.flip(turned).permute(order).contiguous(), origin=self.position(*corner),
                       spacing=tuple(self.spacing[i] for i in order), directions=tuple(directions[i] for i in order))


def _line(direction: Triple) -> list[float]:
    """A direction or its opposite, so that both give the same: the first component that is not 0 is positive."""
    rounded = [round(x, 5) for x in direction]
    sense = next((-1.0 if x < 0 else 1.0 for x in rounded if x), 1.0)
    return [sense * x for x in rounded]
