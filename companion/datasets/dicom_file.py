"""One DICOM file: its stored values, or a refusal that says why.

The readers are in ``companion.datasets.dicom``, the slices of a file in ``companion.datasets.dicom_slice``. Decoding is
pydicom's.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from pydicom import Dataset, dcmread
from pydicom.misc import is_dicom
from pydicom.pixels import get_decoder
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, MediaStorageDirectoryStorage
from torch import Tensor

MODALITIES = ("CT", "MR", "PT")

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
    "mixed slices": "Put each patient and each series in a folder of its own",
    "grid": "Keep one stack of slices in the folder",
    "gantry tilt": "Correct the tilt first, for example with dcm2niix",
    "duplicate": "Keep one volume in the folder: remove copies, and separate echoes, phases or time points",
    "missing slice": "Copy the whole series again from its source",
}
"""Each reason for a refusal, and what to do about it."""

PACKAGES = {"JPEG-LS": "pyjpegls", "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg", "JPEG": "pylibjpeg pylibjpeg-libjpeg"}


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
