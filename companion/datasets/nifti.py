"""NIfTI files as the same volume in the patient that ``companion.datasets.dicom`` makes. Book: *Data of this book*.

A NIfTI file gives places in coordinates that grow to the patient's Right, Anterior and Superior (RAS+), and stores its
axes in any order and direction. ``read`` goes over to DICOM's coordinates (LPS) and puts the axes in order, so that a
permuted or oblique file comes out in the one orientation of ``companion.datasets.volume``. No value is interpolated.
Decoding is nibabel's.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import nibabel
import numpy as np
import torch
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import logger

from companion.datasets.dicom_file import MODALITIES
from companion.datasets.volume import PLANES, Volume

KNOWN = (*MODALITIES, "SEG")

MILLIMETRES = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
"""The units of length that a file may name, in mm; a file that names none is taken to be in mm."""

SHEAR = 0.01  # largest cosine of the angle between two axes that passes as rounding

LPS = np.diag([-1.0, -1.0, 1.0])


class NiftiError(ValueError):
    """A file that makes no volume: the message names it, the rule that it breaks and the remedy."""


def read(path: str | Path, modality: str, unit: str = "") -> Volume:
    """Read one image of three axes (``.nii``, ``.nii.gz``, or ``.hdr`` with ``.img``) as a volume.

    Several slices come out in orientation ``SPL``; a single slice keeps its plane and is drawn as in
    ``companion.datasets.volume.PLANES``. Values are slope x stored value + intercept. The place is that of the sform
    where the file has one, else that of the qform.

    Args:
        modality: DICOM's code, which the file does not hold: ``CT``, ``MR``, ``PT``, or ``SEG`` for a segmentation.
        unit: of the values, which the file does not hold either: ``HU`` for a CT in Hounsfield units.

    Raises:
        NiftiError: where there is no such file or modality, or the unit is that of another modality; where the file is
            not NIfTI, cut off or damaged; where it has another number of axes, colours or complex values, NaN or
            infinite values; where the position is missing or singular, a qform alone comes without the size of a voxel,
            or the axes are not at right angles.
    """
    path = Path(path)
    if modality not in KNOWN:
        raise NiftiError(f"the modality is {modality!r}, but must be DICOM's code, one of {', '.join(KNOWN)}")
    if unit == "HU" and modality != "CT":
        raise NiftiError(f"the unit is 'HU' and the modality {modality!r}, but only a CT is in Hounsfield units: leave "
                         "out the unit, or give the modality 'CT'")
    with _quiet():
        image = _opened(path)
        spacing, directions, origin = _place(path.name, image)
        volume = Volume(torch.from_numpy(_values(path.name, image)), spacing, directions, origin, modality, unit)
    return volume.reoriented(_orientation(volume))


@contextmanager
def _quiet() -> Iterator[None]:
    """Within, nibabel does not tell what it repairs in a header, neither by warnings nor by its logger."""
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def _refusal(name: str, rule: str, remedy: str) -> NiftiError:
    return NiftiError(f"{name}: {rule}. {remedy}.")


def _opened(path: Path) -> nibabel.Nifti1Image:
    """The image with its header checked; its values are not read yet."""
    if not path.is_file():
        raise _refusal(path.name, "there is no such file", "Give the path of a file ending in .nii or .nii.gz")
    try:
        image = nibabel.load(path)
    except ImageFileError as error:
        raise _refusal(path.name, "it is no NIfTI file, or cut off in its header",
                       "Convert the examination with dcm2niix, or copy the file again from its source") from error
    except Exception as error:  # a damaged header makes nibabel raise almost anything; it stays as the cause
        raise _damaged(path.name, error) from error
    if not isinstance(image, nibabel.Nifti1Pair):  # the parent of all that is NIfTI, also of version 2
        raise _refusal(path.name, f"it is no NIfTI file, but {type(image).__name__}", "Convert it to .nii.gz")
    return image


def _damaged(name: str, error: Exception) -> NiftiError:
    why = f"it can not be read, so it is cut off or damaged ({type(error).__name__}: {error})"
    return _refusal(name, why, "Copy it again from its source")


def _values(name: str, image: nibabel.Nifti1Image) -> np.ndarray:
    """The values of an image, float32 (i, j, k) in the order of the file."""
    shape, kind = image.shape, image.get_data_dtype()
    if len(shape) < 3 or not math.prod(shape) or math.prod(shape[3:]) > 1:
        remedy = "Save a single slice with a third axis of length 1" if len(shape) < 3 else (
            "Take one volume out of a series with nibabel: image.slicer[..., number]")
        raise _refusal(name, f"its shape is {shape}, but a volume has three axes, none of them empty", remedy)
    if kind.kind not in "iuf":
        raise _refusal(name, f"its values are {kind}, but must be one number per voxel", "Export a grey-level image")
    try:
        values = np.asarray(image.dataobj, dtype=np.float64)  # first in float64: fractional slopes round once
    except Exception as error:
        raise _damaged(name, error) from error
    values = values.reshape(shape[:3]).astype(np.float32)
    if bad := int((~np.isfinite(values)).sum()):
        raise _refusal(name, f"{bad} of {values.size} values are NaN or infinite",
                       "Find out what they stand for and put numbers in their place, as with numpy.nan_to_num")
    return values


def _place(name: str, image: nibabel.Nifti1Image) -> tuple[tuple, tuple, tuple]:
    """Spacing in mm, directions and origin in DICOM's coordinates, for the axes in the order of the file."""
    header = image.header
    if header["sform_code"] == 0 and header["qform_code"] == 0:
        raise _refusal(name, "sform_code and qform_code are 0, so the place and the side of the patient are unknown",
                       "Convert the original again with dcm2niix, which writes them")
    if header["sform_code"] == 0:
        _require_sizes(name, image)
    affine = np.asarray(image.affine, dtype=np.float64) * _millimetres(name, header)
    steps, origin = LPS @ affine[:3, :3], LPS @ affine[:3, 3]
    spacing = np.linalg.norm(steps, axis=0)
    if not np.isfinite(affine).all() or not (spacing > 0).all() or np.linalg.matrix_rank(steps / spacing) < 3:
        raise _refusal(name, f"its affine is singular or not finite ({affine[:3].round(3).tolist()}), so it gives no "
                             "position", "Convert the original again with dcm2niix")
    directions = _right_angled(name, steps / spacing)
    return tuple(spacing.tolist()), tuple(map(tuple, directions.T.tolist())), tuple(origin.tolist())


def _require_sizes(name: str, image: nibabel.Nifti1Image) -> None:
    """A qform tells no sizes: pixdim does, which nibabel replaces by 1 where it is 0, and takes without its sign."""
    with image.file_map.get("header", image.file_map["image"]).get_prepare_fileobj("rb") as file:
        sizes = image.header_class.from_fileobj(file, check=False)["pixdim"][1:4].tolist()
    if not all(0 < size < math.inf for size in sizes):
        raise _refusal(name, f"pixdim is {sizes}, but must be three positive numbers, since the size of a voxel "
                             "follows from it where sform_code is 0", "Convert the original again with dcm2niix")


def _millimetres(name: str, header: nibabel.Nifti1Header) -> float:
    try:
        return MILLIMETRES[header.get_xyzt_units()[0]]
    except KeyError as error:
        raise _refusal(name, f"xyzt_units is {int(header['xyzt_units'])}, which names no unit of length",
                       "Set it with nibabel: image.header.set_xyzt_units('mm')") from error


def _right_angled(name: str, axes: np.ndarray) -> np.ndarray:
    """The nearest unit vectors (columns) that lie exactly at right angles."""
    cosine = max(abs(axes[:, a] @ axes[:, b]) for a, b in combinations(range(3), 2))
    if cosine > SHEAR:
        angle = math.degrees(math.acos(cosine))
        raise _refusal(name, f"its axes must be at right angles, but two of them meet at {angle:.1f} degrees, as after "
                             "a tilted gantry or an affine registration", "Resample it to a straight grid first")
    left, _, right = np.linalg.svd(axes)
    return left @ right


def _orientation(volume: Volume) -> str:
    """``SPL``; for a single slice the orientation of its plane."""
    flat = [axis for axis, count in zip(volume.patient_axes, volume.array.shape, strict=True) if count == 1]
    return PLANES[("sagittal", "coronal", "axial")[flat[0]]] if len(flat) == 1 else PLANES["axial"]
