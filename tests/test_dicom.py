"""Reading DICOM: synthetic slices of a known field, and all files that come with pydicom."""

import shutil
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from dicom_writer import (
    AXIAL,
    CORONAL,
    NAME,
    PRONE,
    SAGITTAL,
    ct_slice,
    enhanced_ct,
    field,
    header,
    save,
    save_stack,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import apply_rescale
from pydicom.uid import BasicTextSRStorage, SecondaryCaptureImageStorage
from scipy.spatial.transform import Rotation

from companion.datasets import dicom
from companion.datasets.dicom_file import REMEDIES
from companion.datasets.volume import Volume

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
CT_SMALL = BUNDLED / "CT_small.dcm"
EXPECTED = Path(__file__).with_name("pydicom_files.txt")


def assert_field(volume: Volume, tolerance: float = 0.0) -> None:
    """Every voxel holds the field at its place in the patient."""
    for index in product(*map(range, volume.array.shape)):
        assert float(volume.array[index]) == pytest.approx(field(*volume.position(*index)), abs=tolerance)


# One file

def test_stored_values_to_hounsfield_units_by_hand(tmp_path):
    path = save(ct_slice(hu=[[-1024, 0], [40, 1000]], PixelSpacing=[0.5, 0.25]), tmp_path / "a.dcm")
    stored, slope, intercept = dicom.stored_values(path)
    assert (stored.tolist(), stored.dtype) == ([[0, 1024], [1064, 2024]], torch.int32)
    assert (slope, intercept) == (1.0, -1024.0)
    volume = dicom.read(str(path))
    assert volume.array.tolist() == [[[-1024, 0], [40, 1000]]]
    assert (volume.spacing, volume.origin, volume.orientation) == ((5, 0.5, 0.25), (0, 0, 0), "SPL")
    assert (volume.modality, volume.unit) == ("CT", "HU")


def test_ct_small_is_what_pydicom_makes_of_it():
    file = pydicom.dcmread(CT_SMALL)
    volume = dicom.read(CT_SMALL)
    np.testing.assert_array_equal(volume.array[0].numpy(), apply_rescale(file.pixel_array, file))
    assert volume.spacing == (5.0, 0.661468, 0.661468)
    assert volume.origin == tuple(file.ImagePositionPatient)
    stored, slope, intercept = dicom.stored_values(CT_SMALL)
    np.testing.assert_array_equal(stored.numpy(), file.pixel_array)
    np.testing.assert_array_equal(volume.array[0], stored * slope + intercept)


def test_a_single_slice_keeps_its_plane(tmp_path):
    volume = dicom.read(save(ct_slice((3, 4, 5), SAGITTAL), tmp_path / "a.dcm"))
    assert (tuple(volume.array.shape), volume.orientation) == ((1, 3, 4), "RIP")
    assert_field(volume)


def test_coarsely_rounded_directions_are_made_a_right_angle(tmp_path):
    file = ct_slice(ImageOrientationPatient=[0.999, 0, 0, 0.005, 1, 0])
    assert dicom.read(save(file, tmp_path / "a.dcm")).directions == ((0, 0, 1), (0, 1, 0), (1, 0, 0))


@pytest.mark.parametrize(("modality", "units", "unit"), [("MR", None, ""), ("PT", "BQML", "BQML")])
def test_other_modalities(tmp_path, modality, units, unit):
    file = ct_slice(slope=0.5, intercept=0, Modality=modality, **({"Units": units} if units else {}))
    volume = dicom.read(save(file, tmp_path / "a.dcm"))
    assert (volume.modality, volume.unit) == (modality, unit)
    assert_field(volume)


def test_mr_without_rescale_keeps_its_stored_values(tmp_path):
    file = ct_slice(intercept=0, Modality="MR", RescaleSlope=None, RescaleIntercept=None)
    assert_field(dicom.read(save(file, tmp_path / "a.dcm")))
    assert dicom.stored_values(tmp_path / "a.dcm")[1:] == (1.0, 0.0)


def test_a_ct_whose_rescale_type_is_another_has_no_hounsfield_units(tmp_path):
    assert dicom.read(save(ct_slice(RescaleType="HU"), tmp_path / "a.dcm")).unit == "HU"
    assert dicom.read(save(ct_slice(RescaleType="ED"), tmp_path / "a.dcm")).unit == ""


@pytest.mark.parametrize(("attributes", "expected"), [
    ({}, [-3024, -3023, 40]),
    ({"PixelPaddingValue": -2000}, [-1000, -3023, 40]),
    ({"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1999}, [-1000, -1000, 40]),
    ({"PixelPaddingValue": -1999, "PixelPaddingRangeLimit": -2000}, [-1000, -1000, 40]),
    ({"PixelPaddingValue": -2000, "Modality": "MR"}, [0, -3023, 40]),
])
def test_declared_padding_becomes_air(tmp_path, attributes, expected):
    path = tmp_path / "a.dcm"
    file = ct_slice(hu=[[-3024, -3023, 40]])
    for keyword, value in attributes.items():
        file.add_new(keyword, "CS" if keyword == "Modality" else "SS", value)
    assert dicom.read(save(file, path)).array.tolist() == [[expected]]
    assert dicom.stored_values(path)[0].tolist() == [[-2000, -1999, 1064]]


def test_padding_written_as_an_unsigned_number(tmp_path):
    file = ct_slice(hu=[[-3024, 40]])
    file.add_new("PixelPaddingValue", "US", 2 ** 16 - 2000)
    assert dicom.read(save(file, tmp_path / "a.dcm")).array.tolist() == [[[-1000, 40]]]


def test_rle_and_big_endian_give_the_same_volume():
    plain = dicom.read(BUNDLED / "MR_small.dcm")
    for name in ("MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_padded.dcm"):
        other = dicom.read(BUNDLED / name)
        torch.testing.assert_close(other.array, plain.array, rtol=0, atol=0)
        assert (other.spacing, other.origin) == (plain.spacing, plain.origin)


def test_frames_of_one_file_are_sorted_and_rescaled_one_by_one(tmp_path):
    positions = [(1, 2, 5.0), (1, 2, 0.0), (1, 2, 2.5)]
    path = save(enhanced_ct(positions, slopes=[1, 0.5, 0.25], intercepts=[0, -100, -1024]), tmp_path / "a.dcm")
    volume = dicom.read(path)
    assert (tuple(volume.array.shape), volume.spacing, volume.unit) == ((3, 3, 4), (2.5, 2, 1), "HU")
    assert_field(volume, 0.5)


# A series

@pytest.mark.parametrize("turned", [1, -1])
@pytest.mark.parametrize(("orientation", "shape", "spacing"), [
    (AXIAL, (4, 3, 4), (2.5, 2, 1)), (PRONE, (4, 3, 4), (2.5, 2, 1)), (CORONAL, (3, 4, 4), (2, 2.5, 1)),
    (SAGITTAL, (3, 4, 4), (2, 1, 2.5)),
])
def test_every_plane_and_order_gives_the_same_orientation(tmp_path, orientation, shape, spacing, turned):
    save_stack(tmp_path, orientation, places=[turned * place for place in (0, 2.5, 5, 7.5)])
    volume = dicom.read_series(tmp_path)
    assert (tuple(volume.array.shape), volume.spacing, volume.orientation) == (shape, spacing, "SPL")
    assert_field(volume, 0.5)                     # stored values are rounded to integers
    assert (volume.modality, volume.unit) == ("CT", "HU")


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1), st.permutations(range(4)))
def test_any_oblique_series_lies_where_the_patient_has_it(quaternion, order):
    along, down, _ = Rotation.from_quat(quaternion).as_matrix().T
    with tempfile.TemporaryDirectory() as folder:
        save_stack(Path(folder), (*along, *down), places=[2.5 * place for place in order])
        volume = dicom.read_series(folder)
    assert volume.orientation == "SPL"
    assert volume.array.numel() == 48
    assert_field(volume, 0.51)


def test_each_slice_has_its_own_rescale(tmp_path):
    for z, slope, intercept in ((0, 1, -1024), (1, 2, 0), (2, 0.5, -512)):
        save(ct_slice((0, 0, z), hu=[[-1000, 0, 3000]], slope=slope, intercept=intercept), tmp_path / f"{z}.dcm")
    assert dicom.read_series(tmp_path).array.tolist() == [[[-1000, 0, 3000]]] * 3


def test_spacing_comes_from_positions_and_absorbs_their_rounding(tmp_path):
    save_stack(tmp_path, places=(0, 0.63, 1.25, 1.88, 2.5), SliceThickness=5)
    assert dicom.read_series(tmp_path).spacing[0] == pytest.approx(0.625)


def test_other_files_and_subfolders(tmp_path):
    save_stack(tmp_path / "disc" / "series")
    (tmp_path / "README.txt").write_text("Scans")
    (tmp_path / "DICOMDIR").write_bytes((BUNDLED / "dicomdirtests" / "DICOMDIR").read_bytes())
    save(header(BasicTextSRStorage, Modality="SR"), tmp_path / "report.dcm")
    assert dicom.read_series(str(tmp_path)).array.shape == (4, 3, 4)


def test_a_series_is_chosen_by_its_uid(tmp_path):
    save_stack(tmp_path / "thin", places=(0, 1, 2, 3))
    save_stack(tmp_path / "thick", places=(0, 4), SeriesInstanceUID="1.2.9", SeriesDescription="Lung")
    with pytest.raises(dicom.DicomError, match="2 series") as caught:
        dicom.read_series(tmp_path)
    assert caught.value.reason == "mixed series"
    assert "1.2.3.4: 4 files, CT ''" in str(caught.value) and "1.2.9: 2 files, CT 'Lung'" in str(caught.value)
    assert dicom.read_series(tmp_path, "1.2.3.4").spacing[0] == 1
    assert dicom.read_series(tmp_path, series_uid="1.2.9").spacing[0] == 4
    with pytest.raises(dicom.DicomError, match="it holds no series 5.*1.2.9: 2 files"):
        dicom.read_series(tmp_path, "5")


def refused(folder: Path, reason: str, *parts: str) -> None:
    """The folder gives no volume, for this reason, and the message has these parts."""
    with pytest.raises(dicom.DicomError) as caught:
        dicom.read_series(folder)
    assert caught.value.reason == reason
    for part in (*parts, REMEDIES[reason]):
        assert part in str(caught.value)


def test_a_missing_slice_is_named_by_its_neighbours(tmp_path):
    paths = save_stack(tmp_path, places=(0, 1, 2, 3, 4, 5))
    paths[3].unlink()
    refused(tmp_path, "missing slice", f"12.00 mm ({paths[2].name})", f"14.00 mm ({paths[4].name})", "it is 2.00 mm",
            "here 1.00 mm", f"{tmp_path.name}: ")


def test_uneven_slices(tmp_path):
    save_stack(tmp_path, places=(0, 1, 2.1, 3.1))
    refused(tmp_path, "missing slice", "it is 1.10 mm")


@pytest.mark.parametrize("places", [(0, 1, 1, 2), (0, 0, 1, 1, 2, 2), (3, 3)])
def test_duplicate_positions(tmp_path, places):
    paths = save_stack(tmp_path, places=places)
    twice = next(i for i in range(len(places)) if places[i] == places[i + 1])
    refused(tmp_path, "duplicate", paths[twice].name, paths[twice + 1].name, f"{10 + places[twice]:.2f} mm")


@pytest.mark.parametrize(("attributes", "parts"), [
    ({"shape": (4, 4)}, ("rows and columns", "[3, 4]", "[4, 4]")),
    ({"PixelSpacing": [2.0, 1.1]}, ("pixel spacing", "[2.0, 1.0]", "[2.0, 1.1]")),
    ({"orientation": CORONAL}, ("directions", "0.0, -1.0]")),
])
def test_slices_on_different_grids(tmp_path, attributes, parts):
    save(ct_slice((0, 0, 0)), tmp_path / "first.dcm")
    save(ct_slice((0, 0, 1), **attributes), tmp_path / "other.dcm")
    refused(tmp_path, "grid", "first.dcm", "other.dcm", *parts)


@pytest.mark.parametrize(("one", "two", "parts"), [
    ({"PatientID": "SECRET1"}, {"PatientID": "SECRET2"}, ("the same Patient ID, but first.dcm has one", "has another")),
    ({"PatientID": "SECRET1"}, {}, ("the same Patient ID", "other.dcm has none")),
    ({"FrameOfReferenceUID": "1.2.1"}, {"FrameOfReferenceUID": "1.2.2"}, ("Frame of Reference UID", "1.2.1", "1.2.2")),
    ({}, {"FrameOfReferenceUID": "1.2.2"}, ("Frame of Reference UID", "first.dcm has none", "1.2.2")),
    ({"RescaleType": "HU"}, {"RescaleType": "US"}, ("unit", "first.dcm has HU", "other.dcm has none")),
    ({"Modality": "PT", "Units": "BQML"}, {"Modality": "PT", "Units": "CNTS"}, ("unit", "has BQML", "has CNTS")),
    ({"Modality": "MR"}, {"Modality": "PT"}, ("modality", "has MR", "has PT")),
])
@pytest.mark.parametrize("uid", ["1.2.3.4", ""])               # blank where a program took out all identifiers
def test_slices_of_one_series_but_of_two_sources(tmp_path, one, two, parts, uid):
    for z, name in enumerate(("first.dcm", "next.dcm")):
        save(ct_slice((0, 0, z), SeriesInstanceUID=uid, **one), tmp_path / name)
    assert len(dicom.read_series(tmp_path).array) == 2
    save(ct_slice((0, 0, 2), SeriesInstanceUID=uid, **two), tmp_path / "other.dcm")
    refused(tmp_path, "mixed slices", "first.dcm", "other.dcm", *parts)
    with pytest.raises(dicom.DicomError, match="^(?!.*SECRET)"):   # who the patient is stays in the file
        dicom.read_series(tmp_path)


def test_a_tilted_gantry(tmp_path):
    for z in range(4):
        save(ct_slice((0, 0.3 * z, z)), tmp_path / f"{z}.dcm")
    refused(tmp_path, "gantry tilt", "2.dcm lies 0.60 mm beside 0.dcm")


def test_folders_without_a_series(tmp_path):
    refused(tmp_path, "no series", tmp_path.name)
    (tmp_path / "notes.txt").write_text("nothing")
    save(header(BasicTextSRStorage, Modality="SR"), tmp_path / "report.dcm")
    refused(tmp_path, "no series", tmp_path.name)
    refused(tmp_path / "missing", "path", "missing: there is no such folder")
    refused(tmp_path / "notes.txt", "path", "notes.txt: there is no such folder")


def test_one_bad_slice_refuses_the_series(tmp_path):
    paths = save_stack(tmp_path)
    paths[2].write_bytes(paths[2].read_bytes()[:-10])
    refused(tmp_path, "truncated", paths[2].name)
    paths[2].write_bytes(b"")                      # a failed copy must not pass for a shorter series
    refused(tmp_path, "not DICOM", paths[2].name)


CT5N = BUNDLED / "dicomdirtests" / "98892001" / "CT5N"
END = "3353"                                       # a slice at the end of CT5N: without it, the others make a volume


def ct5n(folder: Path, ending: str, end: bytes) -> Path:
    """A copy of CT5N whose names have this ending, with other bytes for the slice at the end: the path of that one."""
    for path in CT5N.iterdir():
        (folder / (path.name + ending)).write_bytes(end if path.name == END else path.read_bytes())
    return folder / (END + ending)


@pytest.mark.parametrize("ending", ["", ".dcm", ".IMA", ".1"])
@pytest.mark.parametrize("keep", [132, 140, 156, 300, 600, 669, 1000, 1500, 2400, 3500])
def test_an_end_slice_cut_off_anywhere_refuses_the_series(tmp_path, ending, keep):
    cut = ct5n(tmp_path, ending, (CT5N / END).read_bytes()[:keep])
    refused(tmp_path, "truncated", f"{cut.name}: ")


def test_no_cut_of_an_end_slice_passes_even_where_the_series_is_named(tmp_path):
    whole = (CT5N / END).read_bytes()
    cut = ct5n(tmp_path, "", whole)
    uid = pydicom.dcmread(cut).SeriesInstanceUID
    assert len(dicom.read_series(tmp_path, uid).array) == 5
    for keep in range(0, len(whole), 11):                # also within a modality or a series UID
        cut.write_bytes(whole[:keep])
        with pytest.raises(dicom.DicomError) as caught:
            dicom.read_series(tmp_path, uid)
        assert caught.value.reason in ("truncated", "damaged", "not DICOM") and END in str(caught.value)


@pytest.mark.parametrize("ending", ["", ".dcm", ".IMA", ".1"])
@pytest.mark.parametrize("first", [slice(0), slice(100), slice(128, None)])
def test_an_end_slice_without_preamble_refuses_the_series(tmp_path, ending, first):
    bare = ct5n(tmp_path, ending, (CT5N / END).read_bytes()[first])
    refused(tmp_path, "not DICOM", f"{bare.name}: ")


def test_what_is_named_otherwise_than_the_slices_is_left_aside(tmp_path):
    (tmp_path / "disc").mkdir()
    shutil.copytree(CT5N, tmp_path / "disc" / "series")
    for name in ("LICENSE", "disc/series/notes.txt", "disc/series/.hidden"):
        (tmp_path / name).write_text("text")
    assert len(dicom.read_series(tmp_path).array) == 5


def test_a_whole_file_without_modality(tmp_path):
    save_stack(tmp_path)
    other = save(ct_slice(Modality=None, SeriesInstanceUID=None, SOPClassUID=SecondaryCaptureImageStorage),
                 tmp_path / "screen.dcm")
    assert len(dicom.read_series(tmp_path).array) == 4     # a screenshot: its kind needs no modality
    save(ct_slice(Modality=None), other)
    refused(tmp_path, "modality", "screen.dcm: its modality is missing")


def test_bundled_series():
    volume = dicom.read_series(BUNDLED / "dicomdirtests" / "98892001" / "CT5N")
    assert (tuple(volume.array.shape), volume.spacing[0]) == ((5, 16, 16), pytest.approx(2.5))
    refused(BUNDLED / "dicomdirtests" / "77654033", "missing slice", "-99.48 mm (17106)", "103.02 mm (17136)")
    refused(BUNDLED / "dicomdirtests" / "98892001" / "CT2N", "projection", "LOCALIZER")


# All files that come with pydicom

def table() -> str:
    """What becomes of each file that comes with pydicom: its name, and its volume or the reason for the refusal."""
    rows = []
    for name, outcome in dicom.survey(BUNDLED):
        # the values of a lossy image may differ by one between decoders
        short = outcome.split(")")[0] if outcome.startswith("refused") else outcome.split(", values")[0]
        rows.append(f"{name:60} {short.replace('refused (', 'refused: ').replace('Volume(', '')}\n")
    return "".join(rows)


def test_every_bundled_file_loads_or_is_refused_as_the_table_says():
    assert table() == EXPECTED.read_text()


def test_a_survey_says_why_and_tells_no_names(tmp_path):
    save_stack(tmp_path / "series", places=(0, 1))
    (tmp_path / "notes.txt").write_text("nothing")
    outcomes = dict(dicom.survey(tmp_path))
    assert list(outcomes) == ["notes.txt", "series/10.dcm", "series/3.dcm"]
    assert outcomes["series/3.dcm"].startswith("loads: Volume(CT, shape (1, 3, 4)")
    assert outcomes["notes.txt"].startswith("refused (not DICOM): the letters DICM are missing")
    assert not any(part in outcome for part in NAME.split("^") for outcome in outcomes.values())
    with pytest.raises(dicom.DicomError, match="missing: there is no such folder"):
        dicom.survey(tmp_path / "missing")


if __name__ == "__main__":                         # writes the table anew: python tests/test_dicom.py
    EXPECTED.write_text(table())
