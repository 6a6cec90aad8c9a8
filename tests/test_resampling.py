"""The bootstrap draws whole patients, by stratum; its intervals cover, and shrink falsely if patients are ignored."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.curves import auc, delong
from companion.resampling import bootstrap, percentile_interval


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25), st.integers(0, 2**32))
def test_whole_patients_in_their_own_numbers(drawn, seed):
    patients, ill = (torch.tensor(column) for column in zip(*drawn, strict=True))
    sick = patients[ill].unique()
    well = [p for p in patients.unique().tolist() if p not in sick.tolist()]
    seen = []
    bootstrap(lambda i: seen.append(i) or 0.0, ill, torch.Generator().manual_seed(seed), patients=patients,
              replicates=3)
    for index in seen:
        times = torch.bincount(index, minlength=len(patients))
        numbers = {p: times[patients == p].unique().tolist() for p in patients.unique().tolist()}
        assert all(len(n) == 1 for n in numbers.values())                          # all cases of a patient or none
        assert sum(numbers[p][0] for p in sick.tolist()) == len(sick)
        assert sum(numbers[p][0] for p in well) == len(well)


def test_the_same_stream_gives_the_same_values():
    x, strata = torch.randn(30, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 2
    once, again, other = (bootstrap(lambda i: x[i].mean(), strata, torch.Generator().manual_seed(s), replicates=20)
                          for s in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert once.dtype == torch.float64 and once.shape == (20,)


def test_a_statistic_may_be_a_curve(device):
    x = torch.arange(6.0, device=device)
    values = bootstrap(lambda i: torch.stack([x[i].min(), x[i].max()]), torch.zeros(6, device=device),
                       torch.Generator().manual_seed(0), replicates=5)
    assert values.shape == (5, 2) and values.device.type == "cpu"


def test_spread_of_a_mean_is_its_standard_error():
    x = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = bootstrap(lambda i: x[i].mean(), torch.zeros(50), torch.Generator().manual_seed(1), replicates=4000)
    assert float(values.std()) == pytest.approx(float(x.std(correction=0)) / 50**0.5, rel=0.04)
    low, high = percentile_interval(values)
    assert low < float(x.mean()) < high and (high - low) / 2 == pytest.approx(1.96 * float(values.std()), rel=0.08)


def test_patients_count_and_not_their_cases():
    # Each patient twice: the same information, so the same spread. As independent cases it would shrink by root 2.
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(60) % 2
    scores = truth + torch.randn(60, generator=generator)
    double, patients = scores.repeat(2), torch.arange(60).repeat(2)
    labels = truth.repeat(2)

    def spread(scores, truth, **kwargs):
        return float(bootstrap(lambda i: auc(scores[i], truth[i]), truth, torch.Generator().manual_seed(1),
                               replicates=600, **kwargs).std())

    single = spread(scores, truth)
    assert single == pytest.approx(float(delong(scores, truth).covariance) ** 0.5, rel=0.1)
    assert spread(double, labels, patients=patients) == pytest.approx(single, rel=0.1)
    assert spread(double, labels) < 0.8 * single


def test_the_interval_covers():
    # 80 studies with 25 ill and 25 healthy cases; the true AUC is 0.802. 0.95 - 3 standard errors is 0.88.
    generator, hits = torch.Generator().manual_seed(0), 0
    truth = torch.arange(50) < 25
    for _ in range(80):
        scores = 1.2 * truth + torch.randn(50, generator=generator)
        values = bootstrap(lambda i, scores=scores: auc(scores[i], truth[i]), truth, generator, replicates=100)
        low, high = percentile_interval(values)
        hits += low <= 0.8019 <= high
    assert 0.87 <= hits / 80 <= 1


def test_percentiles_by_hand():
    assert percentile_interval(torch.arange(101.0), 0.9) == pytest.approx((5, 95))


@pytest.mark.parametrize(("strata", "kwargs", "message"), [
    (torch.zeros(3), {"replicates": 0}, "there are 0 replicates"),
    (torch.zeros(3), {"patients": torch.zeros(2)}, r"strata have shape \(3,\) and the patients \(2,\)"),
    (torch.zeros(0), {}, r"strata have shape \(0,\)")])
def test_what_can_not_be_drawn_is_refused(strata, kwargs, message):
    with pytest.raises(ValueError, match=message):
        bootstrap(lambda i: 0.0, strata, torch.Generator(), **kwargs)


def test_percentiles_refuse_nan_and_percent():
    with pytest.raises(ValueError, match="1 of 2 values are NaN"):
        percentile_interval(torch.tensor([1.0, torch.nan]))
    with pytest.raises(ValueError, match="the level is 95"):
        percentile_interval(torch.ones(3), 95)
