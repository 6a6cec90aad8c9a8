"""Figures of overfitting: what is drawn where."""

import pytest
import torch

from companion.plotting import overfit


def test_fits_draw_points_truth_and_curve_in_each_panel():
    x = torch.linspace(0, 1, 5)
    fig = overfit.fits((x[:2], x[:2]), (x, x), {"a": x, "b": 2 * x}, xlabel="t (s)", ylabel="HU", ylim=(0, 3),
                       new=(x[2:], x[2:]))
    assert [ax.get_title(loc="left") or ax.get_title() for ax in fig.axes] == ["a", "b"]
    assert [len(line.get_xdata()) for line in fig.axes[1].lines] == [5, 5, 3, 2]
    assert fig.axes[1].lines[1].get_ydata()[-1] == 2 and fig.axes[0].get_ylim() == (0, 3)


def records(*development):
    return [{"training loss": 1.0, "development loss": value} for value in development]


def test_histories_mark_the_epoch_of_the_lowest_development_loss():
    fig = overfit.histories({"one": records(3, 1, 2), "two": records(3, 2, 1, 4)}, label="loss")
    marks = [ax.lines[-1] for ax in fig.axes]
    assert [(float(m.get_xdata()[0]), float(m.get_ydata()[0])) for m in marks] == [(2, 1), (3, 1)]
    low, high = fig.axes[0].get_ylim()
    assert low < 1 and high > 4                                             # one scale that holds both runs


@pytest.mark.parametrize("minimum", [False, True])
def test_histories_leave_the_mark_out_where_asked(minimum):
    fig = overfit.histories({"one": records(3, 1)}, label="loss", minimum=minimum, ylim=(0, 5))
    assert len(fig.axes[0].lines) == (4 if minimum else 2) and fig.axes[0].get_ylim() == (0, 5)


def test_bands_reach_from_the_lowest_to_the_highest_seed_round_the_mean():
    fig = overfit.bands({"one": [records(3, 1), records(5, 2)], "two": [records(2), records(4)]}, label="loss")
    development = fig.axes[0].lines[1].get_ydata()
    assert list(development) == [4, 1.5]
    edges = fig.axes[0].collections[1].get_paths()[0].vertices
    assert sorted({tuple(map(float, corner)) for corner in edges}) == [(1, 3), (1, 5), (2, 1), (2, 2)]
    assert len(fig.axes[1].collections) == 2


def test_bands_need_seeds_of_one_length():
    with pytest.raises(ValueError, match="shorter"):
        overfit.bands({"one": [records(3, 1), records(5)]}, label="loss")
