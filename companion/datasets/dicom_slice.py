"""The slices of one DICOM file: their values, their place in the patient, and whose they are.

The readers are in ``companion.datasets.dicom``. Paragraphs are those of the standard, PS3.3.
"""

import math
from pathlib import Path
from typing import NamedTuple

import torch
from pydicom import Dataset
from pydicom.multival import MultiValue
from torch import Tensor

from companion.datasets.dicom_file import MODALITIES, decode, opened, refusal, require_grey_image

PROJECTIONS = ("LOCALIZER", "PROJECTION IMAGE")  # values of Image Type

GROUPS = {  # the sequence in which a file of many frames keeps the attribute of each (C.7.6.16)
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
}

AIR = -1000.0  # HU


class Slice(NamedTuple):
    """One slice: values, float32 tensor (H, W), and their place in patient coordinates (x, y, z), in mm.

    ``position`` (3,) is the centre of the first pixel; ``axes`` (3, 3) are unit vectors along the slice normal, down a
    column and along a row; both are float64. ``spacing`` lies between rows and between columns.
    ``patient`` (Patient ID) and ``frame`` (Frame of Reference UID) are empty where the file does not tell.
    """

    name: str
    values: Tensor
    position: Tensor
    axes: Tensor
    spacing: tuple[float, float]
    thickness: float | None
    modality: str
    unit: str
    patient: str
    frame: str


def rescale(file: Dataset, frame: int = 0) -> tuple[float, float]:
    """Rescale Slope and Intercept of a frame; 1 and 0 where the file has none."""
    slope, intercept = _attribute(file, frame, "RescaleSlope"), _attribute(file, frame, "RescaleIntercept")
    return 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)


def slices(path: Path) -> list[Slice]:
    """The slices of a CT, MR or PET file, in the order of its frames.

    Raises:
        DicomError: as in ``opened`` and ``decode``; for no image, colour, another modality, or a projection; where
            position, orientation, pixel spacing or, in CT, the rescale is missing.
    """
    with opened(path) as file:
        require_grey_image(path.name, file)
        _require_slice(path.name, file)
        frames = decode(path.name, file)
        if len(frames) > 1 and len(file.get("PerFrameFunctionalGroupsSequence") or ()) != len(frames):
            raise refusal(path.name, "geometry", f"it holds {len(frames)} frames, but not the position of each")
        return [_slice(path.name, file, number, stored) for number, stored in enumerate(frames)]


def _require_slice(name: str, file: Dataset) -> None:
    modality, image_type = file.get("Modality"), file.get("ImageType") or ()
    projections = [kind for kind in PROJECTIONS if kind in image_type]
    if modality not in MODALITIES:
        raise refusal(name, "modality", f"its modality is {modality or 'missing'}, not {', '.join(MODALITIES)}")
    if projections:
        raise refusal(name, "projection", f"it is a projection through the patient ({projections[0]}), not a slice")


def _slice(name: str, file: Dataset, frame: int, stored: Tensor) -> Slice:
    _require_rescale(name, file, frame)
    slope, intercept = rescale(file, frame)
    unit = _unit(file, frame)
    values = stored.double().mul_(slope).add_(intercept).float()  # float64 first: fractional slopes round once
    thickness = _attribute(file, frame, "SliceThickness")
    return Slice(
        name=name,
        values=values.masked_fill_(_padding(stored, file), AIR if unit == "HU" else 0.0),
        position=torch.tensor(_numbers(name, file, frame, "ImagePositionPatient", 3), dtype=torch.float64),
        axes=_axes(name, _numbers(name, file, frame, "ImageOrientationPatient", 6)),
        spacing=tuple(_numbers(name, file, frame, "PixelSpacing", 2, above=0)),
        thickness=None if thickness is None else float(thickness),
        modality=file.Modality,
        unit=unit,
        patient=str(file.get("PatientID") or "").strip(),
        frame=str(file.get("FrameOfReferenceUID") or ""),
    )


def _require_rescale(name: str, file: Dataset, frame: int) -> None:
    given = [_attribute(file, frame, keyword) for keyword in ("RescaleSlope", "RescaleIntercept")]
    if file.Modality == "CT" and None in given:
        raise refusal(name, "rescale", "Rescale Slope or Intercept is missing, so the Hounsfield units are unknown")
    slope, intercept = rescale(file, frame)
    if not (slope and math.isfinite(slope) and math.isfinite(intercept)):
        raise refusal(name, "rescale", f"Rescale Slope is {slope} and Intercept {intercept}, which gives no values")


def _attribute(file: Dataset, frame: int, keyword: str) -> object:
    """An attribute of a frame: from its own group, else from the group that all share, else from the file."""
    frames, shared = file.get("PerFrameFunctionalGroupsSequence"), file.get("SharedFunctionalGroupsSequence")
    for group in (*([frames[frame]] if frames else ()), *(shared or ())):
        for part in group.get(GROUPS[keyword]) or ():
            if keyword in part:
                return part.get(keyword)
    return file.get(keyword)


def _numbers(name: str, file: Dataset, frame: int, keyword: str, count: int, above: float = -math.inf) -> list[float]:
    value = _attribute(file, frame, keyword)
    numbers = [float(x) for x in value] if isinstance(value, MultiValue) else []
    if len(numbers) != count or not all(above < x < math.inf for x in numbers):
        raise refusal(name, "geometry", f"{keyword} is {'missing' if value is None else value}, but must be {count} "
                                        f"{'positive ' if above == 0 else ''}numbers")
    return numbers


def _axes(name: str, orientation: list[float]) -> Tensor:
    along, down = torch.tensor(orientation, dtype=torch.float64).reshape(2, 3)
    if max(abs(along.norm() - 1), abs(down.norm() - 1), abs(along @ down)) > 0.01:
        raise refusal(name, "geometry", f"ImageOrientationPatient is {orientation}, but must be two unit vectors at "
                                        "right angles")
    along = along / along.norm()  # the file's decimals are rounded: make the angle exact
    down = down - (down @ along) * along
    down = down / down.norm()
    return torch.stack([torch.linalg.cross(along, down), down, along])


def _unit(file: Dataset, frame: int) -> str:
    if file.Modality == "CT":
        return "HU" if _attribute(file, frame, "RescaleType") in (None, "", "HU") else ""
    return file.get("Units") or ""


def _padding(stored: Tensor, file: Dataset) -> Tensor:
    """True where a pixel holds Pixel Padding Value, or lies between it and Pixel Padding Range Limit."""
    value, limit = file.get("PixelPaddingValue"), file.get("PixelPaddingRangeLimit")
    if value is None:
        return torch.zeros_like(stored, dtype=torch.bool)
    ends = [_as_stored(int(x), file) for x in (value, value if limit is None else limit)]
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(value: int, file: Dataset) -> int:
    """-2000 may be written as 63536, and the other way round: return it as the pixels hold it."""
    size = 2 ** file.BitsAllocated
    return value % size - (size if file.PixelRepresentation and value % size >= size // 2 else 0)
