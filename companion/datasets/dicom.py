"""CT, MR and PET slices from DICOM files, as a volume in the patient. Book: Part 1, first notebook.

``read`` takes one file, ``read_series`` a folder; both refuse, with a ``DicomError``, what would make a wrong volume.
Several slices make a volume of orientation ``SPL`` (see ``companion.datasets.volume``); a single slice keeps its plane.
Tensors are on the CPU.

Values are slope x stored value + intercept, with each slice's own slope and intercept: Hounsfield units for CT, unless
its Rescale Type names another unit. Padding, declared by Pixel Padding Value (PS3.3, C.7.5.1.1.2), was never measured:
it becomes -1000 HU (air) in CT and 0 elsewhere. Padding that a file does not declare stays as it is.
"""

import math
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

import torch
from pydicom.misc import is_dicom
from torch import Tensor

from companion.datasets.dicom_file import (
    MODALITIES,
    DicomError,
    decode,
    kind_of,
    opened,
    refusal,
    require_grey_image,
    require_whole_header,
)
from companion.datasets.dicom_slice import Slice, rescale, slices
from companion.datasets.volume import PLANES, Volume

TAGS = ["SOPClassUID", "Modality", "SeriesDescription", "SeriesInstanceUID", "Columns"]
HEADER = {"stop_before_pixels": True, "specific_tags": TAGS}

SAME_POSITION = 1e-3   # mm
SAME_DIRECTION = 1e-3  # largest difference in a component of a unit vector, about 0.06 degrees
SAME_SPACING = 1e-4    # mm
UNEVEN = 0.05          # share of the slice distance: scanners write positions as rounded decimals
TILT = 0.5             # share of a pixel by which a slice may lie beside the stack


def read(path: str | Path) -> Volume:
    """Read one file: a slice (D = 1, in the plane in which it was taken) or a stack of frames (orientation ``SPL``).

    The spacing across a single slice is its Slice Thickness; in a stack it follows from the positions.

    Raises:
        DicomError: where the file is no grey-level CT, MR or PET slice with position, orientation and pixel spacing, or
            can not be decoded; for a stack also as in ``read_series``.
    """
    path = Path(path)
    return _volume(path.name, slices(path))


def read_series(folder: str | Path, series_uid: str | None = None) -> Volume:
    """Read the CT, MR or PET series in a folder and its subfolders as a volume of orientation ``SPL``.

    Slices are sorted by their position along the slice normal, whatever their names and numbers, and the spacing across
    them is the distance of neighbours. Other files (text, DICOMDIR, reports, segmentations) are left aside. But what
    may be a damaged slice is refused: a DICOM file that ends before it tells its series or size, and a file that is
    no DICOM although its name ends in ``.dcm`` or, like those of the slices beside it, has no ending or the same.

    Args:
        series_uid: Series Instance UID; needed only where there are several series.

    Raises:
        DicomError: where there is no series, or no choice among several; where a slice, or what may be one, can not be
            read; where slices differ in Patient ID, Frame of Reference UID, modality or unit, or only some tell it;
            where they differ in size, pixel spacing or orientation, share a position, lack a neighbour, or are sheared
            by a tilted gantry.
    """
    folder = Path(folder)
    name = folder.resolve().name
    paths = _choose(name, _find_series(folder), series_uid)
    return _volume(name, [one for path in paths for one in slices(path)])


def stored_values(path: str | Path) -> tuple[Tensor, float, float]:
    """The integers in a file, before any conversion, with the slope and intercept that turn them into values.

    Takes any grey-level image of one frame, radiographs too. Padding is not replaced, and a MONOCHROME1 image, whose
    low values are to be shown bright, is not inverted.

    Returns:
        Stored values, int32 tensor (H, W); Rescale Slope and Rescale Intercept, 1 and 0 where the file has none.

    Raises:
        DicomError: where the file is no such image or can not be decoded.
    """
    path = Path(path)
    with opened(path) as file:
        require_grey_image(path.name, file)
        frames = decode(path.name, file)
        if len(frames) > 1:
            raise refusal(path.name, "values", f"it holds {len(frames)} frames, but must hold one")
        return frames[0], *rescale(file)


def survey(folder: str | Path) -> list[tuple[str, str]]:
    """Try ``read`` on every file in a folder and its subfolders: (name, outcome) in order of name.

    The outcome is ``loads: Volume(...)`` or ``refused (reason): rule and remedy``.

    Raises:
        DicomError: where there is no such folder.
    """
    folder = Path(folder)
    return [(path.relative_to(folder).as_posix(), _outcome(path)) for path in _files(folder)]


def _outcome(path: Path) -> str:
    try:
        return f"loads: {read(path)}"
    except DicomError as error:
        return f"refused ({error.reason}): {str(error).removeprefix(f'{path.name}: ')}"


class _Series(NamedTuple):
    modality: str
    description: str
    paths: list[Path]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise refusal(folder.name, "path", "there is no such folder")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _find_series(folder: Path) -> dict[str, _Series]:
    """The series of slices in a folder, by their UID. What may be a damaged slice is refused, never skipped."""
    found, others = {}, []
    for path in _files(folder):
        if not is_dicom(path) and path.suffix.lower() != ".dcm":
            others.append(path)
            continue
        with opened(path, **HEADER) as file:
            require_whole_header(path.name, file)
            if file.get("Columns") and not file.get("Modality") and "Secondary Capture" not in kind_of(file).name:
                raise refusal(path.name, "modality", "its modality is missing, so it may be a slice")
            if file.get("Modality") in MODALITIES:
                new = _Series(file.Modality, str(file.get("SeriesDescription", "")), [])
                found.setdefault(str(file.get("SeriesInstanceUID", "")), new).paths.append(path)
    slices_end = {(path.parent, _ending(path)) for series in found.values() for path in series.paths}
    for path in others:
        if (path.parent, _ending(path)) in slices_end and not path.name.startswith("."):
            raise refusal(path.name, "not DICOM", "the letters DICM are missing after its first 128 bytes, but it is "
                                                  "named like the slices beside it; take it away if it is none")
    return found


def _ending(path: Path) -> str:
    """The ending of a file's name; none in names such as 1.2.840.7, which are UIDs."""
    return path.suffix.lower() if any(letter.isalpha() for letter in path.suffix) else ""


def _choose(name: str, found: dict[str, _Series], uid: str | None) -> list[Path]:
    if not found:
        raise refusal(name, "no series", f"it holds no DICOM file of modality {', '.join(MODALITIES)}")
    if uid is None and len(found) == 1:
        return next(iter(found.values())).paths
    if uid in found:
        return found[uid].paths
    rule = f"it holds {len(found)} series, but a volume is one" if uid is None else f"it holds no series {uid}"
    listing = "; ".join(f"{u or repr(u)}: {len(s.paths)} files, {s.modality} {s.description!r}"
                        for u, s in found.items())
    raise refusal(name, "mixed series", f"{rule} ({listing})")


def _volume(name: str, stack: list[Slice]) -> Volume:
    first = stack[0]
    for other in stack[1:]:
        _require_same_source(name, first, other)
        _require_same_grid(name, first, other)
    normal, down, along = first.axes
    stack = sorted(stack, key=lambda one: float(one.position @ normal))
    _require_straight(name, stack, normal)
    volume = Volume(
        array=torch.stack([one.values for one in stack]),
        spacing=(_slice_distance(name, stack, normal), *first.spacing),
        directions=tuple(tuple(axis.tolist()) for axis in (normal, down, along)),
        origin=tuple(stack[0].position.tolist()),
        modality=first.modality,
        unit=first.unit,
    )
    return volume if len(stack) == 1 else volume.reoriented(PLANES["axial"])


def _require_same_source(name: str, first: Slice, other: Slice) -> None:
    """One patient, one system of coordinates, one unit. The message does not tell who the patients are."""
    someone = ("one", "another" if first.patient else "one")
    for what, a, b, (shown, shown_other) in (
        ("Patient ID", first.patient, other.patient, someone),
        ("Frame of Reference UID", first.frame, other.frame, (first.frame, other.frame)),
        ("modality", first.modality, other.modality, (first.modality, other.modality)),
        ("unit", first.unit, other.unit, (first.unit, other.unit)),
    ):
        if a != b:
            raise refusal(name, "mixed slices", f"slices of one volume have the same {what}, but {first.name} has "
                                                f"{shown if a else 'none'} and {other.name} has "
                                                f"{shown_other if b else 'none'}")


def _require_same_grid(name: str, first: Slice, other: Slice) -> None:
    for what, a, b, tolerance in (
        ("rows and columns", first.values.shape, other.values.shape, 0),
        ("pixel spacing", first.spacing, other.spacing, SAME_SPACING),
        ("directions", _directions(first), _directions(other), SAME_DIRECTION),
    ):
        if any(abs(x - y) > tolerance for x, y in zip(a, b, strict=True)):
            raise refusal(name, "grid", f"slices of one volume have the same {what}, but {first.name} has {list(a)} "
                                        f"and {other.name} has {list(b)}")


def _directions(one: Slice) -> list[float]:
    """Along a row and down a column, as in Image Orientation (Patient): six numbers."""
    return [round(x, 6) for axis in (one.axes[2], one.axes[1]) for x in axis.tolist()]


def _require_straight(name: str, stack: list[Slice], normal: Tensor) -> None:
    """Slices lie above each other along their normal; with a tilted gantry each lies a little beside the one before."""
    for one in stack[1:]:
        offset = one.position - stack[0].position
        beside = float((offset - (offset @ normal) * normal).norm())
        if beside > TILT * min(one.spacing):
            raise refusal(name, "gantry tilt", f"slices of one volume lie straight above each other, but {one.name} "
                                               f"lies {beside:.2f} mm beside {stack[0].name}")


def _slice_distance(name: str, stack: list[Slice], normal: Tensor) -> float:
    """Distance of neighbours in a stack sorted along its normal, in mm; Slice Thickness for a single slice."""
    if len(stack) == 1:
        return _thickness(stack[0])
    places = [float(one.position @ normal) for one in stack]
    gaps = [b - a for a, b in pairwise(places)]
    usual = median_low(gaps)
    for (a, b), place, gap in zip(pairwise(stack), places, gaps, strict=False):
        if gap < SAME_POSITION:
            raise refusal(name, "duplicate", f"slices of one volume lie apart, but {a.name} and {b.name} both lie at "
                                             f"{place:.2f} mm along the slice normal")
        if abs(gap - usual) > UNEVEN * usual:
            raise refusal(name, "missing slice", f"slices lie at equal distances, here {usual:.2f} mm, but between "
                                                 f"{place:.2f} mm ({a.name}) and {place + gap:.2f} mm ({b.name}) along "
                                                 f"the slice normal it is {gap:.2f} mm")
    return (places[-1] - places[0]) / len(gaps)


def _thickness(one: Slice) -> float:
    if one.thickness is None or not 0 < one.thickness < math.inf:
        raise refusal(one.name, "thickness", f"the Slice Thickness of its single slice is {one.thickness}, but must be "
                                             "a positive number")
    return one.thickness
