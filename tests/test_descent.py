"""companion.plotting.descent: what is drawn where."""

import pytest
import torch

from companion.plotting import descent


def test_slopes_are_drawn_over_their_angle_and_all_others_are_counted():
    angles = torch.tensor([-90, 0, 60])
    left, right = descent.directions(angles, torch.tensor([0.1, 0.9, 0.5]), torch.tensor([-0.005, 0.005, 0.3])).axes
    cosine, tried = left.lines
    assert cosine.get_ydata() == pytest.approx([0, 1, 0.5]) and tried.get_ydata() == pytest.approx([0.1, 0.9, 0.5])
    assert sum(bar.get_height() for bar in right.patches) == 3 and right.get_ylabel() == "directions of 3"


def test_clouds_lie_around_the_full_gradient():
    full = torch.tensor([0.0, 4.0, 0.0])
    alone = torch.tensor([[0.0, 6.0, 8.0], [0.0, 2.0, -8.0]])        # they differ most along the third parameter
    first, second = descent.clouds({1: alone, 2: full[None]}, full).axes
    dots = torch.tensor(first.lines[0].get_xydata())
    assert dots[:, 0].tolist() == pytest.approx([1.5, 0.5]) and dots[:, 1].abs().tolist() == pytest.approx([2, 2])
    assert dots[0, 1] == pytest.approx(-dots[1, 1].item())
    assert second.lines[0].get_xydata().tolist() == [pytest.approx([1, 0])]
    assert second.get_title("left") or second.get_title() == "mini-batch of 2"


def test_variance_has_the_exact_curve():
    ax = descent.variance({1: 1.0, 5: 0.1}, 11).axes[0]
    exact, plain, measured = (dict(line.get_xydata().tolist()) for line in ax.lines)
    assert exact[1] == 1 and exact[5] == pytest.approx(0.6 / 5) and plain[5] == pytest.approx(0.2)
    assert measured == {1: 1.0, 5: 0.1}


def test_a_sweep_shows_every_seed_and_the_mean():
    left, right = descent.sweep([0.1, 1.0], {"loss": [[1.0, 3.0], [4.0, 4.0]], "score": [[0.5, 0.5], [0.0, 1.0]]},
                                xlabel="rate").axes
    *seeds, mean = left.lines
    assert [line.get_ydata().tolist() for line in seeds] == [[1, 4], [3, 4]] and mean.get_ydata().tolist() == [2, 4]
    assert (left.get_xscale(), right.get_ylabel(), right.get_xlabel()) == ("log", "score", "rate")


def test_each_run_of_a_race_is_as_long_as_it_takes():
    ax = descent.race({"a": [2.0, 1.0], "b": [2.0, 1.5, 0.9]}, every=5, target=1.0, title="method").axes[0]
    a, b, target = ax.lines
    assert a.get_xdata().tolist() == [0, 5] and b.get_xydata().tolist() == [[0, 2], [5, 1.5], [10, 0.9]]
    assert list(target.get_ydata()) == [1, 1] and a.get_linestyle() != b.get_linestyle()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]
