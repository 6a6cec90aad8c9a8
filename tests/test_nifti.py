"""Reading NIfTI: files of a known field in every order of axes, and against the DICOM series of the same object."""

import gzip
from itertools import permutations, product

import nibabel
import numpy as np
import pytest
import torch
from dicom_writer import AXIAL, CORONAL, PRONE, SAGITTAL, ct_slice, field, save
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff
from scipy.spatial.transform import Rotation

from companion.datasets import dicom, nifti
from companion.datasets.nifti import NiftiError
from companion.datasets.volume import Volume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
STEPS = np.array([1.0, 2.0, 2.5])     # mm along i, j, k
ORIGIN = np.array([-3.0, 4.0, 10.0])  # x, y, z in DICOM's coordinates, mm


def straight(axes=None, steps=STEPS, origin=ORIGIN) -> np.ndarray:
    """Affine (4, 4) in DICOM's coordinates; the columns of ``axes`` are the directions of i, j and k."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = (np.eye(3) if axes is None else axes) * steps, origin
    return affine


def sample(affine, shape=(5, 4, 3)) -> np.ndarray:
    """The field at every voxel (i, j, k)."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return np.rint(field(*np.moveaxis(index @ affine[:3, :3].T + affine[:3, 3], -1, 0)))


def image(values, affine, codes=(1, 1), kind=nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    """A NIfTI image whose affine is given in DICOM's coordinates; codes of sform and qform."""
    made = kind(values, None)
    made.set_sform(LPS_TO_RAS @ affine, codes[0])
    if codes[1]:
        made.set_qform(LPS_TO_RAS @ affine, codes[1])
    made.header.set_xyzt_units("mm")
    return made


def written(made, path):
    nibabel.save(made, path)
    return path


def write_field(path, affine, shape=(5, 4, 3), **options):
    return written(image(sample(affine, shape).astype(np.int16), affine, **options), path)


def assert_field(volume: Volume, tolerance: float = 0.51) -> None:
    """Every voxel holds the field at its place in the patient, rounded to an integer."""
    for index in product(*map(range, volume.array.shape)):
        assert float(volume.array[index]) == pytest.approx(field(*volume.position(*index)), abs=tolerance)


def assert_same(one: Volume, other: Volume) -> None:
    assert torch.equal(one.array, other.array)
    for name in ("spacing", "directions", "origin"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=2e-5, err_msg=name)
    assert (one.modality, one.unit, one.orientation) == (other.modality, other.unit, other.orientation)


# The place of every voxel

def test_two_voxels_by_hand(tmp_path):
    affine = np.array([[-2.0, 0, 0, 10], [0, -3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]])  # RAS: i to L, j to P, k to S
    made = nibabel.Nifti1Image(np.array([[[1, 2]]], dtype=np.int16), affine)
    made.set_sform(affine, 1)
    volume = nifti.read(written(made, tmp_path / "a.nii"), "CT", "HU")
    assert volume.array.tolist() == [[[1]], [[2]]]
    assert (volume.spacing, volume.origin) == ((4, 3, 2), (-10, -20, 30))
    np.testing.assert_allclose(volume.directions, [(0, 0, 1), (0, 1, 0), (1, 0, 0)], atol=1e-12)
    assert (volume.modality, volume.unit, volume.array.dtype) == ("CT", "HU", torch.float32)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("turned", list(product([1, -1], repeat=3)))
def test_every_order_and_direction_of_the_axes_gives_one_volume(tmp_path, order, turned):
    plain = nifti.read(write_field(tmp_path / "a.nii", straight()), "MR")
    ornt = np.array(list(zip(order, turned, strict=True)), dtype=float)
    stored = apply_orientation(sample(straight()), ornt)
    made = image(stored.astype(np.int16), straight() @ inv_ornt_aff(ornt, (5, 4, 3)))
    volume = nifti.read(written(made, tmp_path / "b.nii"), "MR")
    assert_same(volume, plain)
    assert volume.orientation == "SPL"
    assert_field(volume)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(angles=st.tuples(*[st.floats(-180, 180)] * 3), mirrored=st.booleans())
def test_oblique_axes_keep_their_angle_and_their_values(tmp_path_factory, angles, mirrored):
    axes = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * ([1, 1, -1] if mirrored else [1, 1, 1])
    path = write_field(tmp_path_factory.mktemp("oblique") / "a.nii", straight(axes))
    volume = nifti.read(path, "MR")
    assert volume.orientation == "SPL" and sorted(volume.spacing) == pytest.approx(sorted(STEPS), abs=1e-6)
    assert_field(volume)


@pytest.mark.parametrize("axis", ["x", "y", "z", "xy", "zx", "xyz"])
@pytest.mark.parametrize("angle", [45, 135, -45, 225])
def test_axes_halfway_between_two_of_the_patient_come_out_in_one_orientation(tmp_path, axis, angle):
    axes = Rotation.from_euler(axis, [angle] * len(axis), degrees=True).as_matrix()
    plain = nifti.read(write_field(tmp_path / "a.nii", straight(axes)), "MR")
    assert plain.orientation == "SPL"
    assert_field(plain)
    for number, (order, turned) in enumerate(product(permutations(range(3)), [(1, 1, 1), (-1, 1, -1), (-1, -1, -1)])):
        ornt = np.array(list(zip(order, turned, strict=True)), dtype=float)
        stored = apply_orientation(sample(straight(axes)), ornt)
        made = image(stored.astype(np.int16), straight(axes) @ inv_ornt_aff(ornt, (5, 4, 3)))
        assert_same(nifti.read(written(made, tmp_path / f"{number}.nii"), "MR"), plain)


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, SAGITTAL, PRONE,
                                         tuple(Rotation.from_euler("xyz", [10, -20, 5], degrees=True).as_matrix()[:, :2]
                                               .T.ravel())])
def test_a_dicom_series_and_its_nifti_file_give_the_same_volume(tmp_path, orientation):
    """As dcm2niix does it: i along a row, j down a column, k along the normal."""
    along, down = np.reshape(orientation, (2, 3))
    affine = straight(np.stack([along, down, np.cross(along, down)], 1))
    for k in range(3):
        position = affine[:3, 3] + k * affine[:3, 2]
        save(ct_slice(tuple(position), orientation, shape=(4, 5), PixelSpacing=[2.0, 1.0]), tmp_path / f"{k}.dcm")
    one = nifti.read(write_field(tmp_path / "a.nii.gz", affine), "CT", "HU")
    assert_same(one, dicom.read_series(tmp_path))


@pytest.mark.parametrize(("flat", "orientation"), [(0, "LIP"), (1, "PIL"), (2, "SPL")])
def test_a_single_slice_keeps_its_plane(tmp_path, flat, orientation):
    shape = tuple(1 if axis == flat else 3 for axis in range(3))
    volume = nifti.read(write_field(tmp_path / "a.nii", straight(), shape), "MR")
    assert (tuple(volume.array.shape), volume.orientation) == ((1, 3, 3), orientation)
    assert_field(volume)


def test_a_row_of_voxels_has_no_plane(tmp_path):
    volume = nifti.read(write_field(tmp_path / "a.nii", straight(), (3, 1, 1)), "MR")
    assert (tuple(volume.array.shape), volume.orientation) == ((1, 1, 3), "SPL")


# What a header may say

@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("unknown", 1), ("meter", 1000), ("micron", 0.001)])
def test_lengths_are_in_millimetres(tmp_path, unit, factor):
    made = image(np.zeros((2, 2, 2), np.int16), straight())
    made.header.set_xyzt_units(unit)
    volume = nifti.read(written(made, tmp_path / "a.nii"), "MR")
    np.testing.assert_allclose(volume.spacing, STEPS[::-1] * factor)
    np.testing.assert_allclose(volume.origin, ORIGIN * factor)


def test_slope_and_intercept_are_applied_once(tmp_path):
    stored = np.arange(-500, 1500, dtype=np.int16).reshape(1, 1, -1)
    path = written(image(stored, straight()), tmp_path / "a.nii")
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([0.1, -1024.0], "<f4").tobytes()  # scl_slope and scl_inter of the standard
    path.write_bytes(raw)
    expected = (np.float64(np.float32(0.1)) * stored.ravel() - 1024).astype(np.float32)  # rounded once
    np.testing.assert_array_equal(nifti.read(path, "CT").array.flatten().numpy(), expected)
    raw[112:116] = np.array([0.0], "<f4").tobytes()           # a slope of 0 means: not scaled
    path.write_bytes(raw)
    np.testing.assert_array_equal(nifti.read(path, "CT").array.flatten().numpy(), stored.ravel())


def test_sform_comes_before_qform(tmp_path):
    made = image(np.zeros((2, 2, 2), np.int16), straight())
    made.set_qform(LPS_TO_RAS @ straight(origin=[0, 0, 0]), 1)
    assert nifti.read(written(made, tmp_path / "a.nii"), "MR").origin == tuple(ORIGIN)
    made.set_sform(None, 0)
    assert nifti.read(written(made, tmp_path / "b.nii"), "MR").origin == (0, 0, 0)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_versions_and_types(tmp_path, kind, dtype):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    volume = nifti.read(str(written(image(values, straight(), kind=kind), tmp_path / "a.nii.gz")), "PT", "BQML")
    assert torch.equal(volume.array, torch.from_numpy(values.astype(np.float32)).permute(2, 1, 0))
    assert (volume.modality, volume.unit) == ("PT", "BQML")


def test_a_pair_of_files_and_a_fourth_axis_of_one(tmp_path):
    values = np.arange(8, dtype=np.int16).reshape(2, 2, 2, 1)
    nibabel.save(nibabel.Nifti1Pair(values, straight(), image(values, straight()).header), tmp_path / "a.img")
    assert nifti.read(tmp_path / "a.img", "MR").array.shape == (2, 2, 2)


def test_rounded_directions_are_made_a_right_angle(tmp_path):
    axes = np.eye(3)
    axes[0, 1] = 0.005
    directions = np.array(nifti.read(write_field(tmp_path / "a.nii", straight(axes), codes=(1, 0)), "MR").directions)
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-12)


# What makes no volume

def sheared():
    axes = np.eye(3)
    axes[:, 2] = [0, np.sin(0.2), np.cos(0.2)]
    return straight(axes)


def flat():
    axes = np.eye(3)
    axes[:, 2] = axes[:, 1]
    return straight(axes)


ONES = np.ones((2, 2, 2), np.float32)
NAN = np.where(np.arange(8).reshape(2, 2, 2) == 3, np.nan, 0).astype(np.float32)
RGB = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(("made", "says"), [
    (lambda: image(np.ones((2, 2, 2, 5), np.float32), straight()), r"shape is \(2, 2, 2, 5\), but .* image.slicer"),
    (lambda: image(np.ones((2, 2), np.float32), straight()), r"shape is \(2, 2\), but .* third axis"),
    (lambda: image(ONES, straight(), codes=(0, 0)), "sform_code and qform_code are 0.*dcm2niix"),
    (lambda: image(NAN, straight()), "1 of 8 values are NaN or infinite.*nan_to_num"),
    (lambda: image(ONES * np.inf, straight()), "8 of 8 values are NaN"),
    (lambda: image(np.full((2, 2, 2), 1e300), straight()), "8 of 8 values are NaN or inf"),
    (lambda: image(ONES * 1j, straight()), "values are complex64, but must be one number per voxel"),
    (lambda: image(RGB, straight()), "must be one number per voxel"),
    (lambda: image(ONES, sheared(), codes=(1, 0)), "two of them meet at 78.5 degrees.*Resample"),
    (lambda: image(ONES, flat(), codes=(1, 0)), "affine is singular"),
    (lambda: image(ONES, straight(steps=[1, 1, 0]), codes=(1, 0)), "affine is singular"),
    (lambda: image(ONES, straight(origin=[np.nan, 0, 0]), codes=(1, 0)), "affine is singular or not finite"),
])
def test_what_makes_no_volume_is_refused(tmp_path, made, says):
    path = written(made(), tmp_path / "a.nii")
    with pytest.raises(NiftiError, match=rf"^a\.nii: .*{says}"):
        nifti.read(path, "MR")


def of_qform_alone(path, steps, kind=nibabel.Nifti1Image):
    """A file without sform whose header holds these three sizes of a voxel."""
    save = written(image(ONES, straight(), codes=(0, 1), kind=kind), path.with_name("whole.nii"))
    raw = bytearray(save.read_bytes())
    place, number = (76, "<f4") if kind is nibabel.Nifti1Image else (104, "<f8")     # of pixdim in the standard
    size = int(number[-1])
    raw[place + size:place + 4 * size] = np.array(steps, number).tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("steps", [(0, 2, 3), (1, -2, 3), (1, 2, np.nan), (np.inf, 2, 3)])
def test_a_qform_needs_the_size_of_a_voxel(tmp_path, caplog, kind, name, steps):
    path = of_qform_alone(tmp_path / name, steps, kind)
    with pytest.raises(NiftiError, match=rf"^{name}: pixdim is .*must be three positive numbers.*dcm2niix"):
        nifti.read(path, "MR")
    assert not caplog.records
    whole = of_qform_alone(tmp_path / name, (1, 2, 2.5), kind)
    assert nifti.read(whole, "MR").spacing == (2.5, 2, 1)


def test_what_nibabel_repairs_without_harm_is_said_nowhere(tmp_path, caplog):
    path = write_field(tmp_path / "a.nii", straight(), codes=(1, 0))
    raw = bytearray(path.read_bytes())
    raw[80:84] = np.array([0], "<f4").tobytes()                    # pixdim, beside an sform that says all
    path.write_bytes(raw)
    assert nifti.read(path, "MR").spacing == (2.5, 2, 1)
    assert not caplog.records
    nibabel.load(path)                                             # but nibabel by itself warns as before
    assert "pixdim" in caplog.text


def test_an_unknown_unit_of_length_is_refused(tmp_path):
    made = image(ONES, straight())
    made.header["xyzt_units"] = 5
    with pytest.raises(NiftiError, match="xyzt_units is 5.*set_xyzt_units"):
        nifti.read(written(made, tmp_path / "a.nii"), "MR")


@pytest.mark.parametrize("modality", ["MRI", "ct", "", "CR"])
def test_a_modality_is_one_of_dicoms_codes(tmp_path, modality):
    with pytest.raises(NiftiError, match=f"modality is '{modality}'.*CT, MR, PT, SEG"):
        nifti.read(write_field(tmp_path / "a.nii", straight()), modality)


@pytest.mark.parametrize("modality", ["MR", "PT", "SEG"])
def test_hounsfield_units_are_those_of_a_ct(tmp_path, modality):
    with pytest.raises(NiftiError, match=f"unit is 'HU' and the modality '{modality}', but only a CT .*leave out"):
        nifti.read(write_field(tmp_path / "a.nii", straight()), modality, "HU")


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.95, 0.99])
def test_a_truncated_archive_is_refused(tmp_path, generator, share):
    noise = torch.randint(0, 1000, (16, 16, 16), generator=generator).numpy().astype(np.int16)
    path = written(image(noise, straight()), tmp_path / "a.nii.gz")
    path.write_bytes(path.read_bytes()[:int(share * path.stat().st_size)])
    with pytest.raises(NiftiError, match="no NIfTI file, or cut off|can not be read, so it is cut off"):
        nifti.read(path, "MR")


@pytest.mark.parametrize("keep", [0, 100, 347, 352, 400])
def test_a_file_cut_off_is_refused(tmp_path, keep):
    path = write_field(tmp_path / "a.nii", straight())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(NiftiError, match=r"^a\.nii: "):
        nifti.read(path, "MR")


def test_a_damaged_header_is_refused(tmp_path):
    path = write_field(tmp_path / "a.nii", straight())
    raw = bytearray(path.read_bytes())
    raw[70:72] = np.array([999], "<i2").tobytes()  # the code of a type that does not exist
    path.write_bytes(raw)
    with pytest.raises(NiftiError, match=r"^a\.nii: it can not be read, so it is cut off or damaged .*Copy it again"):
        nifti.read(path, "MR")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.txt", "a.dcm"])
def test_what_is_no_nifti_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(b"text" * 200) if name.endswith("gz") else b"text" * 200)
    with pytest.raises(NiftiError, match=rf"^{name}: it is no NIfTI file, or cut off in its header. Convert"):
        nifti.read(tmp_path / name, "MR")


def test_another_format_that_nibabel_reads_is_refused(tmp_path):
    path = written(nibabel.MGHImage(ONES, np.eye(4)), tmp_path / "a.mgz")
    with pytest.raises(NiftiError, match="no NIfTI file, but MGHImage"):
        nifti.read(path, "MR")
    with pytest.raises(NiftiError, match=r"nothing\.nii: there is no such file"):
        nifti.read(tmp_path / "nothing.nii", "MR")
