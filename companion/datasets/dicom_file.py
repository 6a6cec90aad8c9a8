"""One DICOM file: its stored values, or its slices with their place in the patient, or a refusal that says why.

The readers are in ``companion.datasets.dicom``. Decoding is pydicom's; paragraphs are those of the standard, PS3.3.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from pydicom import Dataset, dcmread
from pydicom.misc import is_dicom
from pydicom.multival import MultiValue
from pydicom.pixels import get_decoder
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, MediaStorageDirectoryStorage
from torch import Tensor

MODALITIES = ("CT", "MR", "PT")
PROJECTIONS = ("LOCALIZER", "PROJECTION IMAGE")  # values of Image Type

REMEDIES = {
    "path": "Give read the path of a file, and read_series and survey that of a folder",
    "not DICOM": "Export it again as DICOM; if only the header is missing, pydicom.dcmread(path, force=True) reads it "
                 "and save_as(path, enforce_file_format=True) repairs it",
    "no pixel data": "Choose an image; reports, plans, waveforms and directories hold none",
    "truncated": "Copy the file again from its source",
    "damaged": "Copy the file again from its source, or export it uncompressed",
    "decoder": "Install a decoder and restart Python, or export the file uncompressed",
    "colour": "Choose a grey-level image; pydicom.pixels.pixel_array reads colour",
    "values": "Export single images with one grey level per pixel, as 8- or 16-bit integers",
    "modality": "Choose a series of slices; stored_values reads the pixels of other grey-level images",
    "projection": "Choose the series of slices; stored_values reads the pixels of a projection",
    "geometry": "Export the original slices; stored_values reads the pixels alone",
    "rescale": "Export the original slices; stored_values reads the pixels alone",
    "thickness": "Read the whole series, where the spacing follows from the positions",
    "no series": "survey(folder) tells what each file is",
    "mixed series": "Choose one by series_uid",
    "grid": "Keep one stack of slices in the folder",
    "gantry tilt": "Correct the tilt first, for example with dcm2niix",
    "duplicate": "Keep one volume in the folder: remove copies, and separate echoes, phases or time points",
    "missing slice": "Copy the whole series again from its source",
}
"""Each reason for a refusal, and what to do about it."""

PACKAGES = {"JPEG-LS": "pyjpegls", "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg", "JPEG": "pylibjpeg pylibjpeg-libjpeg"}

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


class DicomError(ValueError):
    """A file or folder that makes no volume: the message names it, the rule that it breaks and the remedy.

    ``reason`` is the kind of rule, a key of ``REMEDIES``.
    """

    def __init__(self, message: str, reason: str = ""):
        super().__init__(message)
        self.reason = reason


def refusal(name: str, reason: str, rule: str) -> DicomError:
    """The error to raise for a file or folder of this name."""
    return DicomError(f"{name}: {rule}. {REMEDIES[reason]}.", reason)


class Slice(NamedTuple):
    """One slice: values, float32 tensor (H, W), and their place in patient coordinates (x, y, z), in mm.

    ``position`` (3,) is the centre of the first pixel; ``axes`` (3, 3) are unit vectors along the slice normal, down a
    column and along a row; both are float64. ``spacing`` lies between rows and between columns.
    """

    name: str
    values: Tensor
    position: Tensor
    axes: Tensor
    spacing: tuple[float, float]
    thickness: float | None
    modality: str
    unit: str


@contextmanager
def opened(path: Path, **options: object) -> Iterator[Dataset]:
    """Open a file with pydicom's ``dcmread(path, **options)``; no warning leaves the ``with`` block.

    Raises:
        DicomError: where it is no DICOM file, and for whatever else goes wrong within the block.
    """
    if not path.is_file():
        raise refusal(path.name, "path", "there is no such file")
    if not is_dicom(path):
        raise refusal(path.name, "not DICOM", "the letters DICM are missing after its first 128 bytes")
    with warnings.catch_warnings():
        # pydicom warns of what it repairs (padding at the end, an element in the wrong encoding) and of malformed
        # values of elements that are not used here: harmless. A file that ends within an element is not.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="End of file reached")
        try:
            yield dcmread(path, **options)
        except DicomError:
            raise
        except UserWarning as warning:
            raise refusal(path.name, "truncated", "the file ends in the middle of an element") from warning
        except Exception as error:  # a damaged file makes pydicom raise almost anything; it stays as the cause
            raise refusal(path.name, "damaged", f"an element can not be read ({type(error).__name__})") from error


def kind_of(file: Dataset) -> UID:
    """The kind of file (SOP Class UID), such as CT Image Storage; empty where the file ends before it tells."""
    return UID(file.get("SOPClassUID") or file.file_meta.get("MediaStorageSOPClassUID") or "")


def require_whole_header(name: str, file: Dataset) -> None:
    """Raise a ``DicomError`` where a header ends before the size of the image or, in other files, before the series.

    Elements lie in the order of their tags, so that a file which tells its columns was not cut off before. A directory
    (DICOMDIR) tells neither.
    """
    kind = kind_of(file)
    if file.get("Columns") or kind == MediaStorageDirectoryStorage:
        return
    missing = [what for keyword, what in (("Modality", "modality"), ("SeriesInstanceUID", "series"))
               if not file.get(keyword)]
    if missing or "Image Storage" in kind.name:
        raise refusal(name, "truncated", f"its header ends before it tells the {(missing or ['size of the image'])[0]}")


def require_grey_image(name: str, file: Dataset) -> None:
    """Raise a ``DicomError`` unless the file announces an image of one grey level per pixel and holds pixels."""
    if not file.get("Rows") or not file.get("Columns"):
        require_whole_header(name, file)
        raise refusal(name, "no pixel data", f"it holds no pixels (kind of file: {kind_of(file).name})")
    if "FloatPixelData" in file or "DoubleFloatPixelData" in file:
        raise refusal(name, "values", "its pixels are floating-point numbers")
    if "PixelData" not in file:
        raise refusal(name, "truncated", f"its header announces {file.Rows} x {file.Columns} pixels, but none follow")
    kind = file.get("PhotometricInterpretation")
    if file.get("SamplesPerPixel") != 1 or not str(kind).startswith("MONOCHROME"):
        raise refusal(name, "colour", f"one grey level per pixel is needed, but the image is in colour ({kind})")


def decode(name: str, file: Dataset) -> Tensor:
    """The stored values of a grey-level image, int32 tensor (frames, H, W).

    Raises:
        DicomError: where they are no integers of 8 or 16 bits, are cut off, or can not be decoded.
    """
    if file.get("BitsAllocated") not in (8, 16):
        raise refusal(name, "values", f"its pixels have {file.get('BitsAllocated')} bits")
    if "ModalityLUTSequence" in file:
        raise refusal(name, "values", "its values follow from a table (Modality LUT Sequence)")
    syntax = file.file_meta.TransferSyntaxUID
    _require_decoder(name, syntax)
    if not syntax.is_encapsulated and len(file.PixelData) < get_expected_length(file):
        raise refusal(name, "truncated", f"its header announces {get_expected_length(file)} bytes of pixel data, but "
                                         f"{len(file.PixelData)} follow")
    try:
        return torch.from_numpy(file.pixel_array.astype("int32")).reshape(-1, file.Rows, file.Columns)
    except Exception as error:
        raise refusal(name, "damaged", f"its pixel data can not be decoded as {syntax.name}: they are cut off or "
                                       f"damaged, or need another decoder{_install(syntax)}") from error


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


def _require_decoder(name: str, syntax: UID) -> None:
    rule = f"its pixels are compressed as {syntax.name}, which"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:  # as for video
        raise refusal(name, "decoder", f"{rule} pydicom does not know") from error
    if not decoder.is_available:
        raise refusal(name, "decoder", f"{rule} no installed package decodes{_install(syntax)}")


def _install(syntax: UID) -> str:
    package = next((package for name, package in PACKAGES.items() if name in syntax.name), None)
    return f" (pip install {package})" if package else ""


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
