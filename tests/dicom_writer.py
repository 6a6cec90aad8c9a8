"""Writes small DICOM files whose values follow from their place in the patient, so that a reader can be checked."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
PRONE = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
SERIES = "1.2.3.4"
NAME = "Sampleton^Johanna"


def field(x, y, z):
    """The truth: Hounsfield units at a point of the patient, different at every voxel."""
    return 37 * x + 53 * y + 71 * z


def sample(position, orientation=AXIAL, shape=(3, 4), pixel=(2.0, 1.0)) -> np.ndarray:
    """The field on one slice (H, W), rounded to integers."""
    rows, columns = np.arange(shape[0])[:, None, None], np.arange(shape[1])[None, :, None]
    along, down = np.reshape(orientation, (2, 3))
    points = np.array(position) + rows * pixel[0] * down + columns * pixel[1] * along   # (H, W, 3)
    return np.rint(field(*np.moveaxis(points, -1, 0)))


def header(storage=CTImageStorage, **attributes) -> Dataset:
    """A data set without pixels."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = storage
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
    file.PatientName, file.Modality, file.SeriesInstanceUID = NAME, "CT", SERIES
    for keyword, value in attributes.items():
        setattr(file, keyword, value)
    return file


def ct_slice(position=(0.0, 0.0, 0.0), orientation=AXIAL, *, hu=None, shape=(3, 4), slope=1, intercept=-1024,
             **attributes) -> Dataset:
    """A CT slice of the field, or of given Hounsfield units (H, W); an attribute that is None is left out."""
    pixel = attributes.get("PixelSpacing") or [2.0, 1.0]
    hu = sample(position, orientation, shape, pixel) if hu is None else np.asarray(hu)
    file = header(ImagePositionPatient=decimals(position), ImageOrientationPatient=decimals(orientation),
                  SliceThickness=5, PixelSpacing=pixel, RescaleSlope=slope, RescaleIntercept=intercept)
    file.set_pixel_data(np.rint((hu - intercept) / slope).astype(np.int16), "MONOCHROME2", 16)
    for keyword, value in attributes.items():
        if value is None:
            delattr(file, keyword)
        else:
            setattr(file, keyword, value)
    return file


def decimals(numbers) -> list[float]:
    """Numbers as scanners write them: a DICOM decimal holds at most 16 characters."""
    return [round(float(number), 8) for number in numbers]


def enhanced_ct(positions, slopes, intercepts) -> Dataset:
    """Axial slices of the field as the frames of one file, each with a rescale of its own."""
    hu = np.stack([sample(position) for position in positions])
    shared, frames = Dataset(), []
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [Dataset()], [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(AXIAL)
    shared.PixelMeasuresSequence[0].PixelSpacing = [2.0, 1.0]
    for position, slope, intercept in zip(positions, slopes, intercepts, strict=True):
        frame = Dataset()
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [Dataset()], [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = list(position)
        frame.PixelValueTransformationSequence[0].RescaleSlope = slope
        frame.PixelValueTransformationSequence[0].RescaleIntercept = intercept
        frame.PixelValueTransformationSequence[0].RescaleType = "HU"
        frames.append(frame)
    slopes, intercepts = np.reshape(slopes, (-1, 1, 1)), np.reshape(intercepts, (-1, 1, 1))
    file = header(EnhancedCTImageStorage, SharedFunctionalGroupsSequence=[shared],
                  PerFrameFunctionalGroupsSequence=frames)
    file.set_pixel_data(np.rint((hu - intercepts) / slopes).astype(np.int16), "MONOCHROME2", 16)
    return file


def save(file: Dataset, path: Path) -> Path:
    """Write a data set and return where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def save_stack(folder: Path, orientation=AXIAL, places=(0.0, 2.5, 5.0, 7.5), **attributes) -> list[Path]:
    """CT slices at these distances along their normal; the order of their names is not that of their positions."""
    along, down = np.reshape(orientation, (2, 3))
    normal = np.cross(along, down)
    start = np.array([-3.0, 4.0, 10.0])
    return [save(ct_slice(tuple(start + place * normal), orientation, InstanceNumber=number, **attributes),
                 folder / f"{(number * 7 + 3) % 11}.dcm") for number, place in enumerate(places)]
