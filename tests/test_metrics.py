"""Counts, ratios, Wilson's interval and predictive values: by hand, against libraries, by exact coverage."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk
from torch.testing import assert_close
from torchmetrics.functional import classification as tm

from companion import metrics
from companion.metrics import Counts, counts, predictive_values, wilson

each_case = settings(deadline=None, derandomize=True, max_examples=50)
RATIOS = {name: getattr(metrics, name) for name in (
    "sensitivity", "specificity", "ppv", "npv", "accuracy", "balanced_accuracy", "prevalence", "dice", "iou")}
pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def test_ten_patients_by_hand(device):
    truth = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], device=device)
    decisions = torch.tensor([1, 1, 1, 0, 1, 1, 0, 0, 0, 0], device=device)
    c = counts(decisions, truth)
    assert [int(n) for n in c] == [3, 2, 1, 4]
    by_hand = dict(sensitivity=3 / 4, specificity=4 / 6, ppv=3 / 5, npv=4 / 5, accuracy=7 / 10,
                   balanced_accuracy=(3 / 4 + 4 / 6) / 2, prevalence=4 / 10, dice=6 / 9, iou=3 / 6)
    for name, ratio in RATIOS.items():
        assert ratio(c).device.type == device.type
        assert float(ratio(c)) == pytest.approx(by_hand[name]), name


def test_each_image_gets_its_own_counts():
    masks = torch.zeros(3, 4, 5, dtype=torch.bool)
    masks[0, :2], masks[1, 1:3] = True, True                                     # 10 pixels each; the third is empty
    c = counts(masks, masks[0].expand(3, 4, 5), each=1)
    assert c.tp.tolist() == [10, 5, 0] and c.tn.tolist() == [10, 5, 10]
    assert metrics.dice(c).tolist() == [1, 0.5, 0]
    assert counts(masks, masks, each=3).tp.shape == (3, 4, 5)
    assert counts(masks, masks[0].expand(3, 4, 5)) == tuple(n.sum() for n in c)


@each_case
@given(pairs)
def test_ratios_equal_scikit_learn_and_torchmetrics(cases):
    decisions, truth = (torch.tensor(column) for column in zip(*cases, strict=True))
    c = counts(decisions, truth)
    for name, oracle in dict(sensitivity=sk.recall_score, ppv=sk.precision_score, dice=sk.f1_score).items():
        theirs = oracle(truth, decisions, zero_division=torch.nan)
        assert float(RATIOS[name](c)) == pytest.approx(theirs, abs=1e-6, nan_ok=True), name
    assert float(metrics.accuracy(c)) == pytest.approx(sk.accuracy_score(truth, decisions))
    if (decisions | truth).any():
        assert float(metrics.iou(c)) == pytest.approx(sk.jaccard_score(truth, decisions))
    if not truth.all():
        assert_close(metrics.specificity(c), tm.binary_specificity(decisions.int(), truth.int()))


@each_case
@given(pairs)
def test_swapped_classes_swap_the_ratios(cases):
    decisions, truth = (torch.tensor(column) for column in zip(*cases, strict=True))
    c, swapped = counts(decisions, truth), counts(~decisions, ~truth)
    assert Counts(*(int(n) for n in swapped)) == (c.tn, c.fn, c.fp, c.tp)
    for one, other in (("sensitivity", "specificity"), ("ppv", "npv"), ("accuracy", "accuracy")):
        assert_close(RATIOS[one](c), RATIOS[other](swapped), equal_nan=True)
    assert_close(metrics.dice(c), 2 * metrics.iou(c) / (1 + metrics.iou(c)), equal_nan=True)


def test_a_ratio_over_no_case_is_nan():
    healthy = counts(torch.tensor([0, 0]), torch.tensor([0, 0]))
    assert [name for name, ratio in RATIOS.items() if ratio(healthy).isnan()] == [
        "sensitivity", "ppv", "balanced_accuracy", "dice", "iou"]


@pytest.mark.parametrize(("decisions", "truth", "each", "message"), [
    (torch.ones(3), torch.ones(4), 0, r"shape \(3,\) and the truth \(4,\)"),
    (torch.tensor([0.0, 0.3]), torch.ones(2), 0, "decisions hold values other than 0 and 1, such as 0.3: compare"),
    (torch.ones(2), torch.tensor([1.0, torch.nan]), 0, "truth hold values other than 0 and 1, such as nan"),
    (torch.ones(2), torch.ones(2), 2, "each is 2, but the decisions have 1 axes")])
def test_what_can_not_be_counted_is_refused(decisions, truth, each, message):
    with pytest.raises(ValueError, match=message):
        counts(decisions, truth, each)


@each_case
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_equals_scipy(case, level):
    hits, trials = case
    theirs = stats.binomtest(hits, trials).proportion_ci(level, method="wilson")
    assert [float(end) for end in wilson(hits, trials, level)] == pytest.approx(list(theirs), abs=1e-12)


def test_wilson_takes_tensors_and_keeps_the_ends():
    low, high = wilson(torch.tensor([0, 5, 10]), torch.tensor([10, 10, 10]))
    assert low[0] == 0 and high[2] == 1
    assert_close(low, 1 - high.flip(0))
    assert (low[1:] > 0).all() and (high[:2] < 1).all()


def test_wilson_covers():
    # Exact: the chance of each number of hits, summed where the interval holds the truth. Wald's falls far below.
    hits, p = torch.arange(31), torch.arange(1, 100, dtype=torch.float64)[:, None] / 100
    chance = torch.from_numpy(stats.binom.pmf(hits.numpy(), 30, p.numpy()))

    def coverage(low, high):
        return (chance * ((low <= p) & (p <= high))).sum(1)

    share = hits / 30
    half = 1.96 * (share * (1 - share) / 30).sqrt()
    assert abs(coverage(*wilson(hits, torch.tensor(30))).mean() - 0.95) < 0.005
    assert coverage(*wilson(hits, torch.tensor(30))).min() > 0.82
    assert coverage(share - half, share + half).mean() < 0.90


@pytest.mark.parametrize(("hits", "trials", "level", "message"), [
    (0, 0, 0.95, "0 hits in 0 trials: take at least 1 trial"), (3, 2, 0.95, "3 hits in 2 trials"),
    (-1, 2, 0.95, "-1 hits"), (1, 2, 95, "level is 95, but must lie between 0 and 1")])
def test_wilson_refuses_what_is_no_proportion(hits, trials, level, message):
    with pytest.raises(ValueError, match=message):
        wilson(hits, trials, level)


def test_predictive_values_by_counting_a_thousand():
    # 1000 people, 10 ill: 9 found, 1 missed; 990 healthy: 99 false alarms.
    found = predictive_values(0.9, 0.9, 0.01)
    assert [float(v) for v in found] == pytest.approx([9 / 108, 891 / 892])


@each_case
@given(pairs)
def test_at_their_own_prevalence_predictive_values_are_those_of_the_counts(cases):
    decisions, truth = (torch.tensor(column) for column in zip(*cases, strict=True))
    c = counts(decisions, truth)
    if 0 < truth.sum() < len(truth):
        positive, negative = predictive_values(metrics.sensitivity(c), metrics.specificity(c), metrics.prevalence(c))
        assert_close(positive, metrics.ppv(c).double(), equal_nan=True, atol=1e-6, rtol=0)
        assert_close(negative, metrics.npv(c).double(), equal_nan=True, atol=1e-6, rtol=0)


def test_predictive_values_follow_prevalence():
    positive, negative = predictive_values(0.9, 0.8, torch.linspace(0, 1, 11))
    assert (positive.diff() > 0).all() and (negative.diff() < 0).all()
    assert positive[[0, -1]].tolist() == [0, 1] and negative[[0, -1]].tolist() == [1, 0]
    assert predictive_values(0.0, 1.0, 0.3)[0].isnan()


@pytest.mark.parametrize("name", ["sensitivity", "specificity", "prevalence"])
def test_predictive_values_refuse_percent(name):
    with pytest.raises(ValueError, match=f"the {name} is 90, but must lie between 0 and 1"):
        predictive_values(**(dict(sensitivity=0.9, specificity=0.9, prevalence=0.1) | {name: 90}))
