"""companion.plotting.computation: every value and every gradient is written where it belongs."""

import pytest
import torch
from matplotlib.text import Annotation

from companion.plotting.computation import Step, flow

IMAGE = torch.tensor([[1.0, 2.0], [3.0, 4.5]])
STEPS = [Step("image", IMAGE), Step("map", 2 * IMAGE, torch.tensor([[0.25, 0.0], [-0.5, 7.0]])),
         Step("loss", torch.tensor([[-1.234]]), torch.tensor([[1.0]]))]
WEIGHT = {"weight": (torch.tensor([[0.5]]), torch.tensor([[-8.0]]))}


def words(fig):
    return {t.get_text(): t.get_position() for t in fig.axes[0].texts if not isinstance(t, Annotation)}


def test_numbers_are_written_whole_numbers_without_decimals():
    found = words(flow(STEPS, WEIGHT))
    assert {"1", "2", "3", "4.50", "4", "6", "9", "0.25", "0", "-0.50", "7", "-1.23", "0.50", "-8"} < set(found)
    assert {"image", "map", "loss", "weight"} < set(found)


def test_a_gradient_stands_below_its_value_and_a_parameter_below_both():
    found = words(flow(STEPS, WEIGHT))
    assert found["9"][0] == pytest.approx(found["7"][0]) and found["4.50"][0] < found["9"][0] < found["-1.23"][0]
    assert found["9"][1] > found["7"][1] > found["0.50"][1] == pytest.approx(found["-8"][1])
    assert found["0.50"][0] < found["-8"][0]


def test_rows_stand_in_the_order_of_the_array():
    found = words(flow(STEPS, WEIGHT))
    assert found["4"][1] > found["9"][1] == found["6"][1] and found["6"][0] < found["4"][0] == found["9"][0]


def test_arrows_go_forward_between_values_and_backward_between_gradients():
    arrows = [t for t in flow(STEPS, WEIGHT).axes[0].texts if isinstance(t, Annotation)]
    forward = [a for a in arrows if a.xy[0] > a.get_position()[0]]
    backward = [a for a in arrows if a.xy[0] < a.get_position()[0]]
    assert (len(forward), len(backward)) == (2, 1)                         # the image has no gradient
    assert min(a.xy[1] for a in forward) > backward[0].xy[1]


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="leave -.* between them"):
        flow([Step("a", torch.zeros(2, 30)), STEPS[2]], WEIGHT)
    with pytest.raises(ValueError, match=r"shape \(3,\), but must be \(H, W\)"):
        flow([Step("a", torch.zeros(3)), STEPS[2]], WEIGHT)


def test_minus_zero_is_zero():
    assert "-0" not in words(flow([Step("a", torch.tensor([[-0.0]])), STEPS[2]], WEIGHT))
