"""Figures of performance show the numbers they are given."""

import pytest
import torch
from matplotlib.colors import to_hex

from companion import calibration, curves
from companion.plotting import performance
from companion.plotting.style import apply, figure

apply()
HEALTHY, ILL = torch.tensor([0.7, 0.6, 0.4, 0.2, 0.1]), torch.tensor([0.9, 0.8, 0.6, 0.5, 0.3])
SCORES, TRUTH = torch.cat([HEALTHY, ILL]), torch.arange(10) >= 5


def test_histograms_count_every_case_up_and_down():
    ax = figure().subplots()
    performance.scores(ax, HEALTHY, ILL[:3], xlabel="score", threshold=0.5, bins=4)
    up, down = ([bar.get_height() for bar in group] for group in ax.containers)
    assert sum(up) == 3 and sum(down) == -5
    assert [line.get_xdata()[0] for line in ax.lines][-1] == 0.5
    assert ax.yaxis.get_major_formatter()(-2, None) == "2"


def test_roc_draws_curves_points_and_the_diagonal():
    curve = curves.roc(SCORES, TRUTH)
    fig = performance.roc({"a": curve[:2], "b": (curve.fpr, curve.fpr)}, points={"p": (0.2, 0.6)})
    first, second, point, diagonal = fig.axes[0].lines
    assert first.get_xdata().tolist() == curve.fpr.tolist() and first.get_ydata().tolist() == curve.tpr.tolist()
    assert first.get_linestyle() != second.get_linestyle() and first.get_color() != second.get_color()
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (0.2, 0.6) and list(diagonal.get_xdata()) == [0, 1]
    assert [t.get_text() for t in fig.axes[0].get_legend().get_texts()] == ["a", "b", "p"]


def test_pairs_lie_below_the_curve():
    ax = performance.pairs(HEALTHY, ILL).axes[0]
    points = [t.get_text() for t in ax.texts]
    assert [points.count(p) for p in ("1", "½", "0")] == [18, 1, 6]
    x, y = (torch.tensor(v).double() for v in ax.lines[0].get_data())
    assert torch.trapezoid(y, x) == 18.5 == 25 * curves.auc(SCORES, TRUTH)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.7", "0.6", "0.4", "0.2", "0.1"]


def test_reliability_leaves_empty_bins_out():
    table = calibration.reliability(SCORES, TRUTH, 20)
    ends = table.observed - 0.1, table.observed + 0.1
    fig = performance.reliability({"one": table, "two": table}, intervals={"one": ends, "two": ends})
    upper, _, lower, _ = fig.axes
    line = upper.containers[0].lines[0]
    assert len(line.get_xdata()) == int((table.cases > 0).sum()) < 20
    assert sum(bar.get_height() for bar in lower.patches) == 10
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["one", "two", "", ""]
    assert performance.reliability({"one": table}).axes


def test_each_person_is_one_mark():
    numbers = {"true positive": 9, "false negative": 1, "true negative": 40}
    fig = performance.people({"here": numbers, "there": {"false positive": 7}}, columns=10)
    marks = {group.get_label(): len(group.get_offsets()) for group in fig.axes[0].collections}
    assert marks == numbers | {"false positive": 0}
    places = torch.cat([torch.as_tensor(group.get_offsets().data) for group in fig.axes[0].collections])
    assert len(places.unique(dim=0)) == 50 and places[:, 0].max() == 9 and places[:, 1].max() == 4
    looks = {(str(marker), to_hex(colour)) for marker, colour in performance.PEOPLE.values()}
    assert len(looks) == 4 and len(fig.legends[0].get_texts()) == 4


@pytest.mark.parametrize("numbers", [{"ill": 3}, {"true positive": 0}])
def test_unknown_answers_and_empty_panels_are_refused(numbers):
    with pytest.raises(ValueError, match="panel 'x' has"):
        performance.people({"x": numbers})
