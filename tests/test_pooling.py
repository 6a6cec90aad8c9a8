"""companion.plotting.pooling and companion.plotting.groups: what is drawn where."""

import pytest
import torch
from matplotlib.patches import Circle

from companion.plotting import groups, pooling, style

ARRAY = torch.tensor([[4.0, 7, 1, 2], [3, 0, 8, 5], [1, 2, 9, 4], [6, 1, 3, 2]])


def test_rings_lie_on_the_maxima_and_the_result_holds_them():
    left, right = pooling.maxima(ARRAY, torch.tensor([[7.0, 8], [6, 9]])).axes
    rings = [patch.center for patch in left.patches if isinstance(patch, Circle)]
    assert [ARRAY[int(row), int(column)] for column, row in rings] == [7, 8, 6, 9]
    assert [text.get_text() for text in right.texts] == ["7", "8", "6", "9"]


@pytest.mark.parametrize(("spacing", "extent"), [(None, (-0.5, 12.5, 12.5, -0.5)), ((0.5, 2.0), (0, 52, 13, 0))])
def test_pooled_maps_stand_below_their_maps(spacing, extent):
    maps = torch.rand(2, 26, 26)
    fig = pooling.before_and_after(maps, maps[:, ::2, ::2], ["a", "b"], limits=(0, 1), label="value", spacing=spacing)
    assert [ax.get_title(loc) for ax in fig.axes[:4] for loc in ("left", "center") if ax.get_title(loc)] == [
        "a\n26 × 26", "b\n26 × 26", "pooled\n13 × 13", "pooled\n13 × 13"]
    assert fig.axes[2].images[0].get_extent() == pytest.approx(extent)
    assert fig.axes[0].images[0].get_clim() == (0, 1)
    unit = "mm" if spacing else "pixel"
    assert fig.axes[2].get_xlabel() == f"column ({unit})" and fig.axes[3].get_ylabel() == ""


def test_groups_put_means_and_intervals_side_by_side():
    ax = style.figure().subplots()
    groups.draw(ax, {"a": {"left": (1, 0.5, 2), "right": (3, 2, 4)}, "b": {"left": (2, 1, 3), "right": (1, 1, 1)}},
                ylabel="change")
    (first, _, (bar,)), (second, *_) = ax.containers
    assert list(first.get_ydata()) == [1, 3] and list(second.get_ydata()) == [2, 1]
    assert [end[1] for end in bar.get_segments()[0]] == [0.5, 2]
    assert list(first.get_xdata()) < list(second.get_xdata()) and first.get_marker() != second.get_marker()
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["left", "right"]


def test_a_row_of_groups_cuts_intervals_at_what_can_be():
    series = {"a": {"left": (0.1, -0.2, 0.4, 5)}, "b": {"left": (0.9, 0.8, 1.3, 5)}}
    fig = groups.row({"first": series, "second": series}, {"first": 0.5, "second": 0.7}, xlabel="where", limits=(0, 1))
    first, second = fig.axes
    (_, _, (low,)), (_, _, (high,)) = first.containers
    assert [end[1] for end in low.get_segments()[0]] == pytest.approx([0, 0.4])
    assert [end[1] for end in high.get_segments()[0]] == pytest.approx([0.8, 1])
    dashed = [[list(line.get_ydata()) for line in ax.lines if line.get_linestyle() == "--"] for ax in fig.axes]
    assert dashed == [[[0.5, 0.5]], [[0.7, 0.7]]] and first.get_ylim() == second.get_ylim() == pytest.approx((-0.03, 1))
    assert (second.get_title() or second.get_title("left"), second.get_xlabel()) == ("second", "where")
    assert [text.get_text() for text in fig.legends[0].texts] == ["a", "b"]


def test_grid_of_groups_shares_scale_and_legend():
    series = {"a": {"left": (1, 0.5, 2)}, "b": {"left": (3, 2, 4)}}
    larger = {name: {"left": (9, 8, 10)} for name in series}
    fig = groups.grid({"top": {"first": series, "second": series}, "bottom": {"first": larger, "second": series}},
                      xlabel="where", line=("second", 2))
    first, second, third, fourth = fig.axes
    assert [ax.get_title() or ax.get_title("left") for ax in fig.axes] == ["top", "top", "bottom", "bottom"]
    assert first.get_ylim() == third.get_ylim() and first.get_ylim()[0] == 0 and first.get_ylim()[1] > 10
    assert second.get_ylim() == fourth.get_ylim() and second.get_ylim()[1] < 6
    dashed = [[line.get_ydata() for line in ax.lines if line.get_linestyle() == "--"] for ax in fig.axes]
    assert dashed == [[], [[2, 2]], [], [[2, 2]]] and third.get_xlabel() == "where"
    assert [text.get_text() for text in fig.legends[0].texts] == ["a", "b"]
