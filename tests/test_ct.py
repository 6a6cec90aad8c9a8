"""companion.ct: Hounsfield units and the display window, by hand, against pydicom, and by their invariants."""

import pydicom
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_rescale, apply_windowing

from companion import ct

GRID = settings(deadline=None, derandomize=True)
levels, widths = st.floats(-1000, 1000), st.floats(1, 4000)
hu_values = st.lists(st.floats(-2000, 4000, width=32), min_size=2, max_size=20)


# Hounsfield units


def test_hounsfield_by_hand(device):
    stored = torch.tensor([[0, 24], [1024, 2048]], dtype=torch.int16, device=device)
    expected = torch.tensor([[-1024.0, -1000.0], [0.0, 1024.0]], device=device)
    torch.testing.assert_close(ct.hounsfield(stored, 1, -1024), expected, rtol=0, atol=0)
    torch.testing.assert_close(ct.hounsfield(stored, 2, -1000), 2 * expected + 1048, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.int32])
def test_hounsfield_does_not_overflow_the_integers_of_a_file(dtype):
    top = torch.tensor([torch.iinfo(dtype).max // (2 if dtype == torch.int32 else 1)]).clamp(max=65535).to(dtype)
    hu = ct.hounsfield(top, 4, -1000)
    assert hu.dtype == torch.float32 and hu.item() == 4 * int(top.item()) - 1000


def test_hounsfield_is_what_pydicom_computes():
    file = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    stored = torch.from_numpy(file.pixel_array.astype("int32"))
    theirs = torch.from_numpy(apply_rescale(file.pixel_array, file)).float()
    torch.testing.assert_close(ct.hounsfield(stored, file.RescaleSlope, file.RescaleIntercept), theirs, rtol=0, atol=0)


# The window


def test_window_by_hand(device):
    hu = torch.tensor([-1000.0, -160.0, -60.0, 40.0, 140.0, 240.0, 1000.0], device=device)
    expected = torch.tensor([0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0], device=device)
    torch.testing.assert_close(ct.window(hu, 40, 400), expected)


@GRID
@given(hu_values, levels, widths)
def test_a_window_never_leaves_0_to_1_and_never_swaps_two_values(values, level, width):
    brightness = ct.window(torch.tensor(sorted(values)), level, width)
    assert brightness.min() >= 0 and brightness.max() <= 1
    assert (brightness.diff() >= 0).all()


@GRID
@given(levels, widths)
def test_the_ends_of_the_window_are_black_and_white(level, width):
    ends = torch.tensor([level - width / 2, level, level + width / 2], dtype=torch.float64)
    torch.testing.assert_close(ct.window(ends, level, width), torch.tensor([0, 0.5, 1], dtype=torch.float64),
                               rtol=0, atol=1e-9)


@GRID
@given(hu_values, levels, widths, st.floats(-500, 500))
def test_shifting_values_and_level_together_changes_nothing(values, level, width, shift):
    hu = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(ct.window(hu + shift, level + shift, width), ct.window(hu, level, width))


@GRID
@given(hu_values, levels, widths)
def test_window_is_dicoms_linear_exact(values, level, width):
    file = pydicom.Dataset()
    file.PhotometricInterpretation, file.BitsStored, file.PixelRepresentation = "MONOCHROME2", 8, 0
    file.WindowCenter, file.WindowWidth, file.VOILUTFunction = level, width, "LINEAR_EXACT"
    hu = torch.tensor(values, dtype=torch.float64)
    theirs = torch.from_numpy(apply_windowing(hu.numpy(), file)) / 255
    torch.testing.assert_close(ct.window(hu, level, width), theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("width", [0, -400])
def test_a_window_without_width_is_refused(width):
    with pytest.raises(ValueError, match=f"window width is {width} HU, but must be positive"):
        ct.window(torch.zeros(2), 40, width)


def test_window_lets_gradients_through_inside_only():
    hu = torch.tensor([-1000.0, 40.0, 1000.0], requires_grad=True)
    ct.window(hu, 40, 400).sum().backward()
    torch.testing.assert_close(hu.grad, torch.tensor([0, 1 / 400, 0]))
