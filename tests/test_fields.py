"""Frames round fields of view lie where the mask lies, in pixels and in mm."""

import pytest
import torch

from companion.convolution import gradient_support
from companion.plotting import fields
from companion.plotting.style import apply

apply()
IMAGE = torch.zeros(10, 20)


def mask(top: int, left: int, height: int, width: int) -> torch.Tensor:
    seen = torch.zeros(10, 20, dtype=torch.bool)
    seen[top:top + height, left:left + width] = True
    return seen


def rectangles(fig):
    return [(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in fig.axes[0].patches]


def test_a_frame_encloses_whole_pixels():
    assert rectangles(fields.frames(IMAGE, {"a": mask(2, 3, 4, 5)})) == [(2.5, 1.5, 5, 4)]     # x, y, width, height


def test_with_spacing_the_frame_is_in_mm():
    fig = fields.frames(IMAGE, {"a": mask(2, 3, 4, 5)}, spacing=(2.0, 0.5))
    assert rectangles(fig) == [(1.5, 4, 2.5, 8)]
    assert fig.axes[0].get_xlabel() == "column (mm)"


def test_gaps_are_inside_the_frame():
    seen = torch.zeros(10, 20, dtype=torch.bool)
    seen[1, 4] = seen[7, 12] = True
    assert rectangles(fields.frames(IMAGE, {"a": seen})) == [(3.5, 0.5, 9, 7)]


def test_it_takes_what_the_gradient_gives():
    seen = gradient_support(torch.nn.Conv2d(1, 1, 3), torch.rand(1, 1, 10, 20), row=4, column=6)
    assert rectangles(fields.frames(IMAGE, {"one layer": seen})) == [(5.5, 3.5, 3, 3)]


def test_frames_differ_in_colour_and_line_and_are_named():
    fig = fields.frames(IMAGE, {name: mask(0, 0, n + 1, n + 1) for n, name in enumerate("abcdef")}, label="HU")
    looks = {(p.get_edgecolor(), p.get_linestyle()) for p in fig.axes[0].patches}
    assert len(looks) == 6 and len({colour for colour, _ in looks}) == 6
    assert [t.get_text() for t in fig.legends[0].get_texts()] == list("abcdef")
    assert fig.axes[1].get_ylabel() == "HU"


@pytest.mark.parametrize("wrong", [torch.ones(9, 20, dtype=torch.bool), torch.zeros(10, 20, dtype=torch.bool)])
def test_a_mask_of_another_size_or_without_a_pixel_is_refused(wrong):
    with pytest.raises(ValueError, match=r"field 'a' has shape \(\d+, 20\) and \d+ pixels"):
        fields.frames(IMAGE, {"a": wrong})


def test_more_fields_than_looks_are_refused():
    with pytest.raises(ValueError, match="there are 7 fields, but at most 6"):
        fields.frames(IMAGE, {str(n): mask(0, 0, 1, 1) for n in range(7)})
