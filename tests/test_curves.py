"""ROC, AUC and DeLong: by hand, against libraries and brute force, on published data, by simulated coverage."""

from math import erfc, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from sklearn import metrics as sk
from torch.testing import assert_close
from torchmetrics.functional.classification import binary_auroc

from companion.curves import (
    auc,
    delong,
    delong_interval,
    delong_test,
    operating_point,
    partial_auc,
    roc,
)

each_case = settings(deadline=None, derandomize=True, max_examples=50)
cases = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=4, max_size=40).filter(
    lambda drawn: 2 <= sum(ill for _, ill in drawn) <= len(drawn) - 2)             # few values, so many ties

# Serum S100B and outcome of 113 patients with aneurysmal subarachnoid haemorrhage (Turck et al., Intensive Care
# Medicine 36, 2010, 107-115): patients with good and with poor outcome at each of the 50 values, in ascending order.
GOOD = "05326667403443212001000101110101011210200000000000"
POOR = "10003122112101000110111011101010200011011112111111"
S100B = torch.tensor([value for row in (GOOD, POOR) for value, n in enumerate(row) for _ in range(int(n))])
OUTCOME = torch.tensor([0] * 72 + [1] * 41)


def tensors(drawn):
    scores, truth = zip(*drawn, strict=True)
    return torch.tensor(scores, dtype=torch.float64), torch.tensor(truth)


def kernel(scores, truth):
    """By definition: 1 for each pair that is ranked right, 1/2 for a tie, 0 otherwise; (ill, healthy)."""
    gap = scores[truth][:, None] - scores[~truth]
    return (gap > 0).double() + 0.5 * (gap == 0)


def binormal(generator, n, shift, models=1, shared=0.0):
    """Scores (models, 2 n) of n ill and n healthy cases, whose true AUC is the normal integral at shift / sqrt 2."""
    truth = torch.arange(2 * n) < n
    noise = torch.randn(models, 2 * n, generator=generator, dtype=torch.float64)
    common = torch.randn(2 * n, generator=generator, dtype=torch.float64)
    return sqrt(1 - shared) * noise + sqrt(shared) * common + shift * truth, truth


def test_curve_by_hand(device):
    scores = torch.tensor([0.9, 0.8, 0.7, 0.7, 0.4, 0.2], device=device)          # the ill and a healthy one tie at 0.7
    truth = torch.tensor([1, 0, 1, 0, 1, 0], device=device)
    curve = roc(scores, truth)
    assert_close(curve.thresholds, torch.tensor([torch.inf, 0.9, 0.8, 0.7, 0.4, 0.2], device=device).double())
    assert_close(curve.tpr * 3, torch.tensor([0, 1, 1, 2, 3, 3.0], device=device).double())
    assert_close(curve.fpr * 3, torch.tensor([0, 0, 1, 2, 2, 3.0], device=device).double())
    assert auc(scores, truth) == pytest.approx((3 + 1.5 + 1) / 9)                  # healthy cases below each ill one


@each_case
@given(cases)
def test_curve_equals_scikit_learn(drawn):
    scores, truth = tensors(drawn)
    theirs = sk.roc_curve(truth.numpy(), scores.numpy(), drop_intermediate=False)
    for ours, oracle in zip(roc(scores, truth), theirs, strict=True):
        assert_close(ours, torch.from_numpy(oracle))


@each_case
@given(cases)
def test_area_is_the_chance_of_a_right_ranking(drawn):
    scores, truth = tensors(drawn)
    by_pairs = float(kernel(scores, truth).mean())
    curve = roc(scores, truth)
    ranks = mannwhitneyu(scores[truth].numpy(), scores[~truth].numpy()).statistic / int(truth.sum() * (~truth).sum())
    for area in (auc(scores, truth), float(torch.trapezoid(curve.tpr, curve.fpr)), float(ranks),
                 sk.roc_auc_score(truth.numpy(), scores.numpy()), partial_auc(scores, truth, 1)):
        assert area == pytest.approx(by_pairs, abs=1e-12)
    assert float(binary_auroc((scores + 1) / 10, truth.int())) == pytest.approx(by_pairs, abs=1e-6)


@each_case
@given(cases, st.sampled_from([torch.exp, torch.sigmoid, lambda x: 3 * x - 100, lambda x: x**3]))
def test_only_the_order_counts(drawn, rising):
    scores, truth = tensors(drawn)
    assert auc(rising(scores / 8), truth) == auc(scores, truth)
    for ours, other in zip(roc(scores, truth)[:2], roc(rising(scores / 8), truth)[:2], strict=True):
        assert torch.equal(ours, other)
    assert delong(rising(scores / 8), truth) == delong(scores, truth)


@each_case
@given(cases)
def test_swapped_classes_mirror_the_curve(drawn):
    scores, truth = tensors(drawn)
    assert auc(scores, ~truth) == pytest.approx(1 - auc(scores, truth), abs=1e-12)
    curve, swapped = roc(scores, truth), roc(-scores, ~truth)
    assert_close(swapped.fpr, 1 - curve.tpr.flip(0))
    assert_close(swapped.tpr, 1 - curve.fpr.flip(0))
    assert_close(delong(scores, ~truth).covariance, delong(scores, truth).covariance)


@pytest.mark.parametrize(("scores", "area"), [([0, 1, 2, 3], 1), ([3, 2, 1, 0], 0), ([5, 5, 5, 5], 0.5)])
def test_best_worst_and_blind(scores, area):
    assert auc(torch.tensor(scores), torch.tensor([0, 0, 1, 1])) == area


@each_case
@given(cases, st.floats(0.01, 1))
def test_partial_area_equals_scikit_learn(drawn, highest):
    scores, truth = tensors(drawn)
    theirs = sk.roc_auc_score(truth.numpy(), scores.numpy(), max_fpr=highest)
    assert partial_auc(scores, truth, highest, standardised=highest < 1) == pytest.approx(theirs, abs=1e-10)


def test_partial_area_by_hand():
    scores, truth = torch.tensor([3, 2, 2, 1]), torch.tensor([1, 1, 0, 0])         # (0, 0.5) to (0.5, 1) to (1, 1)
    assert partial_auc(scores, truth, 0.25) == pytest.approx(0.25 * (0.5 + 0.75) / 2)
    assert partial_auc(scores, truth, 0.5) == pytest.approx(0.5 * 0.75)


@each_case
@given(cases, st.floats(0, 1))
def test_operating_point_is_the_best_that_qualifies(drawn, wanted):
    scores, truth = tensors(drawn)
    curve = roc(scores, truth)
    allowed = [(float(s), 1 - float(f)) for s, f in zip(curve.tpr, curve.fpr, strict=True)]
    at = operating_point(curve, sensitivity=wanted)
    assert (at.specificity, at.sensitivity) == max((sp, se) for se, sp in allowed if se >= wanted - 1e-12)
    other = operating_point(curve, specificity=wanted)
    assert (other.sensitivity, other.specificity) == max((se, sp) for se, sp in allowed if sp >= wanted - 1e-12)
    for point in (at, other):
        assert float((scores[truth] >= point.threshold).double().mean()) == point.sensitivity
        assert float((scores[~truth] < point.threshold).double().mean()) == pytest.approx(point.specificity)


def test_operating_point_by_hand():
    curve = roc(torch.arange(10), torch.tensor([0, 0, 0, 1, 0, 1, 0, 1, 1, 1]))
    assert operating_point(curve, sensitivity=0.8) == pytest.approx((5, 0.8, 0.8))
    assert operating_point(curve, specificity=0.9) == pytest.approx((7, 0.6, 1))
    assert operating_point(curve, sensitivity=0)[1:] == pytest.approx((0.6, 1))     # free sensitivity is taken along


@each_case
@given(cases, st.lists(st.integers(0, 3), min_size=40, max_size=40))
def test_delong_equals_its_definition(drawn, more):
    first, truth = tensors(drawn)
    scores = torch.stack([first, first + torch.tensor(more[:len(first)])])
    ours = delong(scores, truth)
    pairs = torch.stack([kernel(row, truth) for row in scores])                    # (2, ill, healthy)
    parts = pairs.mean(2), pairs.mean(1)                                           # structural components
    by_definition = sum(torch.cov(part) / part.shape[1] for part in parts)
    assert_close(ours.auc, pairs.mean((1, 2)))
    assert_close(ours.covariance, by_definition)
    assert_close(delong(first, truth).covariance, ours.covariance[0, 0])
    assert delong(scores[:1], truth).covariance.shape == (1, 1)


def test_delong_on_published_data():
    # As the R package pROC gives it: AUC 0.7314, interval 0.6301 to 0.8326 (Robin et al., BMC Bioinformatics 12, 2011).
    area, variance = delong(S100B, OUTCOME)
    assert float(area) == pytest.approx(0.73136856368563685, abs=1e-12)
    assert float(variance) == pytest.approx(0.00266868245717244, abs=1e-12)
    assert delong_interval(S100B, OUTCOME) == pytest.approx((0.6301, 0.8326), abs=5e-5)


def test_test_is_that_of_the_paper():
    scores, truth = binormal(torch.Generator().manual_seed(3), 30, 1.0, models=2, shared=0.5)
    areas, covariance = delong(scores, truth)
    contrast = torch.tensor([1.0, -1.0], dtype=torch.float64)
    z = float(contrast @ areas / (contrast @ covariance @ contrast).sqrt())
    result = delong_test(*scores, truth)
    assert result.p == pytest.approx(erfc(abs(z) / sqrt(2))) and result.difference == pytest.approx(auc(
        scores[0], truth) - auc(scores[1], truth))
    low, high = result.interval()
    assert (high - low) / 2 == pytest.approx(1.959963985 * result.error)
    back = delong_test(*scores.flip(0), truth)
    assert back.difference == pytest.approx(-result.difference) and back.p == pytest.approx(result.p)


def test_two_models_with_one_order_do_not_differ():
    scores, truth = binormal(torch.Generator().manual_seed(0), 20, 1.0)
    assert delong_test(scores[0], scores[0].exp(), truth) == (0, 0, 1)


def test_intervals_cover():
    # 300 studies with 25 ill and 25 healthy cases each, true AUC 0.802; 0.95 +- 3 standard errors is 0.91 to 0.99.
    generator, true = torch.Generator().manual_seed(0), 0.5 * erfc(-1.2 / 2)
    hits = torch.zeros(300, 2)
    for study in range(300):
        scores, truth = binormal(generator, 25, 1.2)
        for column, logit in enumerate((False, True)):
            low, high = delong_interval(scores[0], truth, logit=logit)
            hits[study, column] = low <= true <= high
    assert ((hits.mean(0) > 0.91) & (hits.mean(0) < 0.99)).all()


def test_test_keeps_its_level():
    # Two equally good models on the same cases: p is below 0.05 in 5 % of 300 studies, below 0.5 in half of them.
    generator, p = torch.Generator().manual_seed(0), []
    for _ in range(300):
        scores, truth = binormal(generator, 25, 1.2, models=2, shared=0.7)
        p.append(delong_test(*scores, truth).p)
    p = torch.tensor(p)
    assert 0.015 < (p < 0.05).double().mean() < 0.09
    assert 0.4 < (p < 0.5).double().mean() < 0.6


@pytest.mark.parametrize("scores", [torch.tensor([0, 1, 2, 3]), torch.tensor([3, 2, 1, 0])])
def test_a_variance_of_zero_is_no_certainty(scores):
    truth = torch.tensor([0, 0, 1, 1])
    with pytest.raises(ValueError, match="the AUC is [01], so that DeLong's variance is 0"):
        delong_interval(scores, truth)
    with pytest.raises(ValueError, match="AUCs differ by -?1 with variance 0"):
        delong_test(scores, -scores, truth)


def test_the_logit_interval_stays_inside():
    truth, scores = torch.tensor([0] * 5 + [1] * 5), torch.tensor([0, 1, 2, 3, 5, 4, 6, 7, 8, 9])
    assert delong_interval(scores, truth)[1] == 1
    low, high = delong_interval(scores, truth, logit=True)
    assert 0 < low < auc(scores, truth) < high < 1


SCORES = torch.tensor([0.1, 0.4, 0.3, 0.9])


@pytest.mark.parametrize("function", [roc, auc, delong, delong_interval, lambda s, t: partial_auc(s, t, 0.5),
                                      lambda s, t: delong_test(s, s, t)])
@pytest.mark.parametrize(("scores", "truth", "message"), [
    (SCORES, torch.tensor([1, 1, 1, 1]), "of 4 cases 4 are ill, but both classes are needed"),
    (SCORES, torch.tensor([0, 0, 0, 0]), "of 4 cases 0 are ill"),
    (SCORES, torch.tensor([0, 1, 1]), r"shape \(4,\) and the truth \(3,\)"),
    (SCORES, torch.tensor([0, 1, 2, 1]), "truth holds values other than 0 and 1"),
    (torch.tensor([0.1, torch.nan, 0.3, torch.nan]), torch.tensor([0, 1, 0, 1]), "2 scores are NaN")])
def test_what_is_no_score_or_truth_is_refused(function, scores, truth, message):
    with pytest.raises(ValueError, match=message):
        function(scores, truth)


def test_other_wrong_arguments_are_refused():
    truth = torch.tensor([0, 1, 0, 1])
    curve = roc(SCORES, truth)
    for wanted in ({}, {"sensitivity": 0.9, "specificity": 0.9}):
        with pytest.raises(ValueError, match="one of the two"):
            operating_point(curve, **wanted)
    with pytest.raises(ValueError, match="the wanted value is 90"):
        operating_point(curve, sensitivity=90)
    with pytest.raises(ValueError, match="highest false positive rate is 0"):
        partial_auc(SCORES, truth, 0)
    with pytest.raises(ValueError, match="the level is 95"):
        delong_interval(torch.tensor([1, 2, 3, 4, 5, 6]), torch.tensor([0, 1, 0, 1, 0, 1]), 95)
    with pytest.raises(ValueError, match="there are 1 ill and 3 healthy cases, but a variance needs 2 of each"):
        delong(SCORES, torch.tensor([0, 0, 1, 0]))
