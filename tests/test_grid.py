"""Volumes on one grid: by hand, a field known everywhere, and the files that come with pydicom."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch

from companion.datasets import dicom, grid, nifti
from companion.datasets.volume import Volume

CT5N = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests" / "98892001" / "CT5N"
SPL = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))


def volume(array, spacing=(1.0, 1.0, 1.0), **changes) -> Volume:
    fields = {"array": torch.as_tensor(array, dtype=torch.float32), "spacing": spacing, "directions": SPL,
              "origin": (0.0, 0.0, 0.0), "modality": "CT", "unit": "HU"}
    return Volume(**fields | changes)


def row(*values, spacing=1.0, **changes) -> Volume:
    """One row of voxels."""
    return volume([[values]], (1.0, 1.0, spacing), **changes)


def ramp(shape, spacing) -> Volume:
    """A field that is linear in the distance from the centre, in mm: 2 d + 3 h + 5 w."""
    axes = [(torch.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)]
    d, h, w = torch.meshgrid(*axes, indexing="ij")
    return volume(2 * d + 3 * h + 5 * w, spacing)


def put(*volumes, spacing=(1.0, 1.0, 1.0), size=(1, 1, 4), **changes):
    n = len(volumes)
    given = {"labels": [0] * n, "classes": ["a", "b"], "patients": range(n)} | changes
    return grid.cases(volumes, spacing=spacing, size=size, **given)


@pytest.mark.parametrize(("size", "expected"), [
    (4, [1, 2, 3, 4]), (2, [2, 3]), (3, [1, 2, 3]), (1, [2]), (6, [-1000, 1, 2, 3, 4, -1000]),
    (5, [1, 2, 3, 4, -1000]),
])
def test_crop_and_pad_by_hand(size, expected):
    cases = put(row(1, 2, 3, 4), size=(1, 1, size))
    assert cases.images.tolist() == [[[[expected]]]]
    assert cases.images.dtype == torch.float32
    assert put(row(1, 2, 3, 4, modality="MR", unit=""), size=(1, 1, 6)).images.flatten().tolist() == [0, 1, 2, 3, 4, 0]


def test_finer_and_coarser_spacing_by_hand():
    fine = put(row(0, 4, spacing=2.0), size=(1, 1, 4))           # old centres at -1 and 1 mm, new at -1.5, -0.5, ...
    assert fine.images.flatten().tolist() == [0, 1, 3, 4]
    assert put(row(0, 2, 4, 6), spacing=(1.0, 1.0, 2.0), size=(1, 1, 2)).images.flatten().tolist() == [1, 5]


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.7, 1.3), (2.5, 1.0, 0.5), (3.1, 1.9, 2.2)])
def test_a_linear_field_keeps_its_values_about_the_centre(spacing):
    old = ramp((8, 12, 16), (2.5, 1.0, 0.5))
    size = (5, 4, 2)                                             # well within the volume
    expected = ramp(size, spacing).array
    found = put(old, spacing=spacing, size=size).images[0, 0]
    off = found - expected                                       # the centres differ by half a voxel at most
    torch.testing.assert_close(off, off.mean().expand_as(off), rtol=0, atol=1e-4)
    assert off.mean().abs() <= (2 * spacing[0] + 3 * spacing[1] + 5 * spacing[2]) / 2 + 1e-3


def test_a_spacing_rounded_by_a_file_changes_no_value(generator):
    noise = torch.randn(3, 40, 50, generator=generator)
    spacing = (2.5, 0.488281, 0.488281)
    rounded = tuple(float(np.float32(s)) for s in spacing)
    cases = put(volume(noise, spacing), volume(noise, rounded), spacing=spacing, size=(3, 30, 30))
    assert torch.equal(cases.images[0], cases.images[1])
    assert torch.equal(cases.images[0, 0], noise[:, 5:35, 10:40])


def test_everything_known_comes_along(device):
    mask = row(0, 1, 0, 0, modality="SEG", unit="")
    volumes = [replace(v, array=v.array.to(device)) for v in (row(1, 2, 3, 4), row(5, 6, 7, 8))]
    masks = [replace(mask, array=mask.array.to(device))] * 2
    cases = put(*volumes, labels=[1, 0], patients=torch.tensor([7, 7]), masks={"nodule": masks}, size=(1, 1, 6))
    assert (cases.labels.tolist(), cases.labels.dtype, cases.patients.tolist()) == ([1, 0], torch.int64, [7, 7])
    assert (cases.classes, cases.unit, cases.spacing) == (("a", "b"), "HU", (1.0, 1.0, 1.0))
    assert cases.masks["nodule"].tolist() == [[[[False, False, True, False, False, False]]]] * 2
    assert cases.images.device.type == cases.labels.device.type == cases.masks["nodule"].device.type == device.type
    assert put(row(1, 2), labels=[[1.0, 0.0]]).labels.tolist() == [[1.0, 0.0]]
    assert put(row(1, 2), labels=[True]).labels.tolist() == [1]


@pytest.mark.parametrize("step", [2.0, 3.0, 4.0])
def test_mask_and_image_keep_one_centre(step, generator):
    where = torch.stack(torch.meshgrid(*[torch.arange(48.0)] * 3, indexing="ij"))
    off = []
    for _ in range(10):
        middle = 20 + 8 * torch.rand(3, 1, 1, 1, generator=generator)
        ball = volume(((where - middle) ** 2).sum(0) <= 144, modality="MR", unit="")
        cases = put(ball, spacing=(step,) * 3, size=(24, 24, 24), masks={"ball": [ball]})
        both = torch.stack([cases.images[0, 0], cases.masks["ball"][0].float()])
        centres = torch.einsum("bdhw,adhw->ba", both, where[:, :24, :24, :24]) / both.sum((1, 2, 3))[:, None]
        off.append(step * (centres[1] - centres[0]))
    assert torch.stack(off).mean(0).abs().max() < 0.15                   # mm; half an old voxel would be 0.5


def test_half_of_a_mask_is_enough():
    mask = row(0, 1, 0, 1, 1, 0, modality="SEG", unit="")
    cases = put(row(0, 0, 0, 0, 0, 0), masks={"m": [mask]}, spacing=(1.0, 1.0, 2.0), size=(1, 1, 3))
    assert cases.masks["m"].flatten().tolist() == [True, True, True]


def test_a_mask_on_finer_voxels_by_hand():
    mask = row(0, 1, spacing=2.0, modality="SEG", unit="")
    cases = put(row(0, 4, spacing=2.0), masks={"m": [mask]}, size=(1, 1, 6))
    assert cases.masks["m"].flatten().tolist() == [False, False, False, True, True, False]


def test_a_dicom_series_and_a_nifti_file(tmp_path):
    series = dicom.read_series(CT5N)
    nibabel.save(nibabel.Nifti1Image(series.array.permute(2, 1, 0).numpy()[::-1], lps(series)), tmp_path / "a.nii.gz")
    file = nifti.read(tmp_path / "a.nii.gz", "CT", "HU")
    cases = put(series, file, spacing=series.spacing, size=(5, 12, 12))
    assert torch.equal(cases.images[0], cases.images[1])
    assert torch.equal(cases.images[0, 0], series.array[:, 2:14, 2:14])
    assert cases.unit == "HU"
    assert put(series, file, spacing=(1.0, 1.0, 1.0), size=(12, 6, 6)).images.shape == (2, 1, 12, 6, 6)


def lps(series: Volume) -> np.ndarray:
    """The affine of a series whose first axis, to the left, is stored backwards."""
    d, h, w = (np.array(x) * s for x, s in zip(series.directions, series.spacing, strict=True))
    affine = np.eye(4)
    affine[:3, :3] = np.stack([-w, h, d], 1)
    affine[:3, 3] = series.position(0, 0, series.array.shape[2] - 1)
    return np.diag([-1, -1, 1, 1]) @ affine


CT = row(1, 2, 3, 4)
SEG = row(0, 1, 0, 0, modality="SEG", unit="")


@pytest.mark.parametrize(("volumes", "changes", "says"), [
    ([], {}, "there is no volume"),
    ([CT, row(1, modality="MR", unit="HU")], {}, "volume 1 has the modality 'MR', but volume 0 has 'CT'"),
    ([CT, row(1, unit="")], {}, "volume 1 has the unit '', but volume 0 has 'HU'"),
    ([CT, CT.reoriented("PIL")], {}, "volume 1 has the orientation 'PIL', but volume 0 has 'SPL': turn it"),
    ([CT], {"spacing": (1.0, 0.0, 1.0)}, r"spacing is \(1.0, 0.0, 1.0\), but must be three positive"),
    ([CT], {"spacing": (1.0, 1.0)}, "three positive numbers"),
    ([CT], {"size": (1, 4)}, r"size is \(1, 4\), but must be three whole"),
    ([CT], {"size": (1, 0, 4)}, "each at least 1"),
    ([CT], {"size": (1, 1, 4.0)}, "three whole numbers"),
    ([CT], {"labels": [0, 1]}, "1 images, but 2 labels"),
    ([CT], {"labels": [2]}, "labels run from 2 to 2, but there are 2 classes"),
    ([CT], {"labels": ["a"]}, r"labels are \['a'\], but must be numbers"),
    ([CT], {"patients": ["P1"]}, r"patients are \['P1'\], but must be numbers.*sorted"),
    ([CT], {"patients": [0.5]}, "must be whole numbers"),
    ([CT], {"masks": {"m": []}}, "1 volumes, but 0 masks 'm'"),
    ([CT], {"masks": {"m": [row(0, 1)]}}, "mask 'm' of volume 0 lies on another grid"),
    ([CT], {"masks": {"m": [replace(SEG, origin=(0.0, 0.0, 1.0))]}}, "lies on another grid.*resample it"),
    ([CT], {"masks": {"m": [replace(SEG, spacing=(1.0, 1.0, 1.1))]}}, "lies on another grid"),
    ([CT], {"masks": {"m": [replace(SEG, array=SEG.array * 2)]}}, "from 0 to 2, but must hold 0 and 1 alone"),
    ([CT], {"masks": {"m": [row(0, 0, 0, 1)]}, "size": (1, 1, 2)}, "is lost on a grid of .*take more voxels"),
])
def test_what_makes_no_cases_is_refused(volumes, changes, says):
    with pytest.raises(ValueError, match=says):
        put(*volumes, **changes)
