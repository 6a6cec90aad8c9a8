"""Grids of images: outlines and boxes must lie where the mask and the box lie."""

import pytest
import torch
from matplotlib.patches import Rectangle

from companion.plotting import gallery

IMAGE = torch.rand(8, 6, generator=torch.Generator().manual_seed(0))
MASK = torch.zeros(8, 6, dtype=torch.bool)
MASK[1:4, 2:5] = True                                             # rows 1 to 3, columns 2 to 4
BOX = torch.tensor([[2, 1, 5, 4]])


def test_unused_places_stay_empty():
    fig = gallery.grid([IMAGE] * 5, list("abcde"), columns=3)
    assert [ax.get_visible() for ax in fig.axes] == [True] * 5 + [False]
    assert [ax.get_title(loc="left") or ax.get_title() for ax in fig.axes[:5]] == list("abcde")


@pytest.mark.parametrize("spacing", [None, (2.0, 3.0)])
def test_outline_and_box_enclose_the_mask(spacing):
    fig = gallery.grid([IMAGE], ["case"], columns=1, outlines=[MASK], boxes=[BOX], spacing=spacing)
    ax, = fig.axes
    (dy, dx), shift = spacing or (1, 1), 0 if spacing else 0.5
    box, = (p for p in ax.patches if isinstance(p, Rectangle))
    assert box.get_bbox().extents.tolist() == [2 * dx - shift, dy - shift, 5 * dx - shift, 4 * dy - shift]
    line = ax.collections[0].get_paths()[0].vertices                # half way between mask and surroundings
    assert line.min(0).tolist() == pytest.approx([2 * dx - shift, dy - shift], abs=1e-6)
    assert line.max(0).tolist() == pytest.approx([5 * dx - shift, 4 * dy - shift], abs=1e-6)


def test_empty_mask_and_missing_ones_draw_nothing():
    fig = gallery.grid([IMAGE, IMAGE], ["a", "b"], outlines=[None, MASK & False], boxes=[None, BOX[:0]])
    assert not any(ax.collections or ax.patches for ax in fig.axes)
