"""companion.plotting.descent: what is drawn where."""

import pytest
import torch

from companion.plotting import descent


def test_steps_are_arrows_from_place_to_place_and_the_tangent_touches_the_start():
    w = torch.linspace(-3, 3, 61).double()
    places = torch.tensor([-2.0, -1.0, -0.5]).double()                # w squared, rate 1/4: each step halves w
    ax = descent.one_weight(w, w ** 2, places, places ** 2, rate=0.25, xlabel="w", ylabel="L").axes[0]
    loss, tangent, dots = ax.lines
    assert loss.get_xydata()[0].tolist() == [-3, 9] and dots.get_xydata().tolist() == [[-2, 4], [-1, 1], [-0.5, 0.25]]
    x, y = tangent.get_data()
    assert y == pytest.approx(4 - 4 * (x + 2)) and x[0] == -3 and 0 < y.min() < 0.5
    assert [(arrow.xyann, arrow.xy) for arrow in ax.texts] == [((-2, 4), (-1, 1)), ((-1, 1), (-0.5, 0.25))]
    assert "steps −α ∂L/∂w, α = 0.25" in [t.get_text() for t in ax.get_legend().get_texts()]


def test_cases_are_marks_at_their_label():
    fig = descent.probability(torch.tensor([0.0, 10.0]), {"step 0": torch.tensor([0.5, 0.5])},
                              torch.tensor([3.0, 8.0]), torch.tensor([0.0, 1.0]), xlabel="d (mm)", ylabel="p")
    curve, marks = fig.axes[0].lines
    assert curve.get_ydata().tolist() == [0.5, 0.5] and marks.get_xydata().tolist() == [[3, 0], [8, 1]]
    assert marks.get_marker() == "|" and [t.get_text() for t in fig.axes[0].get_legend().get_texts()] == ["step 0"]


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


def test_memory_is_in_megabytes_on_logarithmic_axes():
    ax = descent.memory({"counted": {1: 2_000_000, 4: 8_000_000}, "measured": {1: 3_000_000, 4: 9_000_000}}).axes[0]
    counted, measured = ax.lines
    assert counted.get_xydata().tolist() == [[1, 2], [4, 8]] and measured.get_ydata().tolist() == [3, 9]
    assert (counted.get_marker(), measured.get_marker()) == ("None", "o") and ax.get_ylabel() == "memory (MB)"
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_epochs_count_from_one_and_guessing_is_dotted():
    ax = descent.epochs({"0.1": [2.0, 1.0, 0.5], "3": [2.3, 2.4, 2.5]}, guessing=2.25, title="rate").axes[0]
    slow, fast, guess = ax.lines
    assert slow.get_xydata().tolist() == [[1, 2], [2, 1], [3, 0.5]] and fast.get_ydata().tolist() == [2.3, 2.4, 2.5]
    assert list(guess.get_ydata()) == [2.25, 2.25] and guess.get_linestyle() == ":"
    assert ax.get_legend().get_title().get_text() == "rate"


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
