"""companion.plotting.feature_maps: what is written, where zero lies, which unit."""

import matplotlib as mpl
import pytest
import torch

from companion.plotting import feature_maps, style

IMAGE = torch.arange(20.0).view(4, 5)
KERNELS = torch.tensor([[[1.0, 0], [0, -1]], [[0, 3], [-2, 0]]])
MAPS = torch.stack([torch.full((3, 4), -6.0), torch.zeros(3, 4)])


@pytest.fixture(autouse=True)
def look_of_the_book():
    with mpl.rc_context():
        style.apply()
        yield


def test_extractors_show_image_numbers_and_maps():
    fig = feature_maps.extractors(IMAGE, KERNELS, MAPS, ("first", "second"), unit="HU", limits=(0, 9))
    image, kernel, first_map, second, _, *bars = fig.axes
    assert [ax.get_title("left") for ax in (image, first_map)] == ["input 4 × 5", "feature map 3 × 4"]
    assert [ax.get_title("center") for ax in (kernel, second)] == ["first", "second"]
    assert image.images[0].get_clim() == (0, 9)
    assert [text.get_text() for text in kernel.texts] == ["1", "0", "0", "-1"]
    assert first_map.images[0].get_clim() == (-6, 6)                               # zero in the middle
    assert [bar.get_ylabel() for bar in bars] == ["HU", "HU"]


def test_extractors_in_mm():
    fig = feature_maps.extractors(IMAGE, KERNELS[:1], MAPS[:1], ("one",), unit="HU", spacing=(2.0, 0.5))
    assert fig.axes[2].get_xlabel() == "column (mm)" and fig.axes[2].images[0].get_extent() == [0, 2, 6, 0]


def test_an_empty_map_has_a_scale():
    fig = feature_maps.extractors(IMAGE, KERNELS[1:], MAPS[1:], ("one",), unit="HU")
    assert fig.axes[2].images[0].get_clim() == (-1, 1)


def test_bank_puts_each_kernel_above_its_map():
    fig = feature_maps.bank(KERNELS, MAPS)
    shown = [torch.as_tensor(ax.images[0].get_array()) for ax in fig.axes]
    assert torch.equal(torch.stack(shown[:2]), KERNELS) and torch.equal(torch.stack(shown[2:]), MAPS)
    assert [ax.images[0].get_clim() for ax in fig.axes] == [(-1, 1), (-3, 3), (-6, 6), (-1, 1)]
    assert [ax.get_ylabel() for ax in fig.axes] == ["kernel", "", "feature map", ""]


def test_names_and_kernels_must_match():
    with pytest.raises(ValueError, match="zip"):
        feature_maps.extractors(IMAGE, KERNELS, MAPS, ("one",), unit="HU")
