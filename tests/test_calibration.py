"""Reliability, its summaries and recalibration: by hand, against libraries, on probabilities true by design."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.testing import assert_close
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from companion.calibration import (
    brier,
    calibration_line,
    expected_calibration_error,
    reliability,
    temperature,
)

each_case = settings(deadline=None, derandomize=True, max_examples=30)
seeds = st.integers(0, 2**32)


def drawn(seed: int, n: int = 200, slope: float = 1.0, intercept: float = 0.0):
    """Logits, and a truth of which ``slope * logit + intercept`` is the true logit."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, generator=generator, dtype=torch.float64)
    truth = torch.rand(n, generator=generator) < (slope * logits + intercept).sigmoid()
    return logits, truth


def test_reliability_by_hand(device):
    probabilities = torch.tensor([0.1, 0.2, 0.5, 0.6, 1.0, 0.0], device=device)
    truth = torch.tensor([0, 1, 0, 1, 1, 0], device=device)
    table = reliability(probabilities, truth, bins=4)                            # 0.5 lies on an edge: in the bin below
    assert table.cases.tolist() == [3, 1, 1, 1]
    assert_close(table.predicted, torch.tensor([0.1, 0.5, 0.6, 1.0], device=device).double())
    assert_close(table.observed, torch.tensor([1 / 3, 0, 1, 1], device=device).double())
    by_hand = (abs(0.3 - 1) + 0.5 + 0.4 + 0) / 6
    assert float(expected_calibration_error(probabilities, truth, 4)) == pytest.approx(by_hand)
    assert float(brier(probabilities, truth)) == pytest.approx((0.01 + 0.64 + 0.25 + 0.16) / 6)


def test_an_empty_bin_is_nan_and_weighs_nothing():
    table = reliability(torch.tensor([0.1, 0.9]), torch.tensor([0, 1]), 3)
    assert table.predicted.isnan().tolist() == table.observed.isnan().tolist() == [False, True, False]
    assert float(expected_calibration_error(torch.tensor([0.1, 0.9]), torch.tensor([0, 1]), 3)) == pytest.approx(0.1)


def test_edges_can_be_given():
    p, truth = torch.rand(100, generator=torch.Generator().manual_seed(0)), torch.arange(100) % 2
    table = reliability(p, truth, p.quantile(torch.tensor([0.25, 0.5, 0.75])))
    assert table.cases.tolist() == [25, 25, 25, 25]


@each_case
@given(seeds)
def test_equal_to_scikit_learn_and_torchmetrics(seed):
    logits, truth = drawn(seed)
    p = logits.sigmoid()
    table = reliability(p, truth)
    observed, predicted = calibration_curve(truth.numpy(), p.numpy(), n_bins=10)
    assert_close(table.observed[table.cases > 0], torch.from_numpy(observed))
    assert_close(table.predicted[table.cases > 0], torch.from_numpy(predicted))
    assert float(brier(p, truth)) == pytest.approx(brier_score_loss(truth.numpy(), p.numpy()))
    assert_close(expected_calibration_error(p, truth, 15), binary_calibration_error(p, truth.int(), 15))


def test_ece_of_several_classes_is_that_of_guo():
    generator = torch.Generator().manual_seed(0)
    probabilities, labels = torch.randn(100, 4, generator=generator).softmax(1), torch.arange(100) % 4
    confidence, choice = probabilities.max(1)
    ours = expected_calibration_error(confidence, choice == labels, 15)
    assert_close(ours.float(), multiclass_calibration_error(probabilities, labels, 4, 15))


@each_case
@given(seeds)
def test_line_equals_logistic_regression(seed):
    logits, truth = drawn(seed, slope=0.5, intercept=-1)
    oracle = LogisticRegression(C=torch.inf, tol=1e-10, max_iter=1000).fit(logits[:, None].numpy(), truth.numpy())
    line = calibration_line(logits, truth)
    assert float(line.slope) == pytest.approx(oracle.coef_.item(), abs=1e-5)
    assert float(line.intercept) == pytest.approx(oracle.intercept_.item(), abs=1e-5)


@each_case
@given(seeds, st.sampled_from([{}, {"slope": 1.0}, {"intercept": 0.0}, {"intercept": 2.0}]))
def test_line_is_where_the_loss_is_flat(seed, fixed):
    logits, truth = drawn(seed, slope=0.5, intercept=-1)
    line = calibration_line(logits, truth, **fixed)
    values = torch.stack(list(line)).requires_grad_()
    binary_cross_entropy_with_logits(values[0] * logits + values[1], truth.double()).backward()
    free = [name not in fixed for name in ("slope", "intercept")]
    assert values.grad[free].abs().max() < 1e-9
    assert all(float(getattr(line, name)) == value for name, value in fixed.items())


def test_line_finds_what_was_put_in():
    line = calibration_line(*drawn(0, 20_000, slope=0.6, intercept=-0.8))
    assert float(line.slope) == pytest.approx(0.6, abs=0.03) and float(line.intercept) == pytest.approx(-0.8, abs=0.05)


@each_case
@given(seeds)
def test_applied_to_its_own_cases_nothing_is_left_to_mend(seed):
    logits, truth = drawn(seed, slope=2, intercept=1)
    again = calibration_line(calibration_line(logits, truth)(logits), truth)
    assert float(again.slope) == pytest.approx(1, abs=1e-6) and float(again.intercept) == pytest.approx(0, abs=1e-6)


def test_line_survives_extreme_logits():
    logits, truth = drawn(0, slope=1.0)
    assert float(calibration_line(1e6 * logits, truth).slope) == pytest.approx(
        1e-6 * float(calibration_line(logits, truth).slope), rel=1e-6)
    worst = torch.tensor([-1000.0, 1000.0, -1000.0, 1000.0])                     # half wrong: every shift is as bad
    assert abs(float(calibration_line(worst, torch.tensor([1, 0, 0, 1]), slope=1.0).intercept)) <= 1000


def test_temperature_is_one_over_the_slope():
    logits, truth = drawn(0, slope=0.4)
    two = torch.stack([torch.zeros_like(logits), logits], 1)
    slope = float(calibration_line(logits, truth, intercept=0).slope)
    assert temperature(two, truth.long()) == pytest.approx(1 / slope)


@each_case
@given(seeds, st.integers(2, 5))
def test_temperature_has_the_lowest_loss(seed, classes):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(100, classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial((logits / 1.5).softmax(1), 1, generator=generator)[:, 0]
    t = temperature(logits, labels)
    loss = [float(cross_entropy(logits / (t * factor), labels)) for factor in (0.99, 1, 1.01)]
    assert loss[1] == min(loss)
    assert temperature(3 * logits, labels) == pytest.approx(3 * t, rel=1e-9)


@pytest.mark.parametrize("function", [reliability, expected_calibration_error, brier])
@pytest.mark.parametrize(("probabilities", "truth", "message"), [
    (torch.tensor([-1.0, 0.5]), torch.tensor([0, 1]), "run from -1 to 0.5, but must lie between 0 and 1: apply a sig"),
    (torch.tensor([torch.nan, 0.5]), torch.tensor([0, 1]), "must lie between 0 and 1"),
    (torch.tensor([0.5]), torch.tensor([0, 1]), r"shape \(1,\) and the truth \(2,\)"),
    (torch.tensor([]), torch.tensor([]), "one number for each of N cases"),
    (torch.tensor([0.5, 0.5]), torch.tensor([0, 2]), "truth holds values other than 0 and 1")])
def test_what_is_no_probability_is_refused(function, probabilities, truth, message):
    with pytest.raises(ValueError, match=message):
        function(probabilities, truth)


def test_no_bin_is_refused():
    with pytest.raises(ValueError, match="there are 0 bins"):
        reliability(torch.tensor([0.5]), torch.tensor([1]), 0)


@pytest.mark.parametrize(("logits", "truth", "fixed", "message"), [
    ([0, 1, 2, 3], [0, 0, 1, 1], {}, "a threshold separates"),
    ([0, 1, 2, 3], [1, 1, 0, 0], {}, "a threshold separates"),
    ([1, 1, 1, 1], [1, 0, 0, 1], {}, "a threshold separates"),
    ([-1, -2, 2, 3], [0, 0, 1, 1], {"intercept": 0}, "a threshold separates"),
    ([1, 2, 3, 4], [1, 1, 1, 1], {}, "all 4 cases are of class 1"),
    ([1, 2, torch.inf, 4], [1, 1, 0, 1], {}, "a logit is NaN or infinite"),
    ([1, 2, 3], [1, 0, 1, 1], {}, "the logits have shape")])
def test_a_line_that_does_not_exist_is_refused(logits, truth, fixed, message):
    with pytest.raises(ValueError, match=message):
        calibration_line(torch.tensor(logits, dtype=torch.float64), torch.tensor(truth), **fixed)


@pytest.mark.parametrize(("logits", "labels", "message"), [
    (torch.tensor([[2.0, 1.0], [1.0, 2.0]]), torch.tensor([0, 1]), "no temperature is best"),
    (torch.tensor([[2.0, 1.0], [1.0, 2.0]]), torch.tensor([1, 0]), "no temperature is best"),
    (torch.ones(3, 2), torch.tensor([0, 1, 2]), "labels run from 0 to 2, but must lie in 0 to 1"),
    (torch.ones(3), torch.tensor([0, 1, 1]), r"shape \(3,\)"),
    (torch.ones(0, 2), torch.tensor([], dtype=torch.int64), r"shape \(0, 2\)")])
def test_no_temperature(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        temperature(logits, labels)
