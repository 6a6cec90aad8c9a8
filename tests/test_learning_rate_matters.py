"""The experiment behind learning-rate-matters: one hyperparameter at a time, divergence, importance."""

import math

import pytest
import torch
from torch import nn

from companion.studies import learning_rate_matters as study


@pytest.fixture
def few(monkeypatch, device):
    """One epoch over 128 digits and three rates, two of them those of the changes."""
    monkeypatch.setattr(study, "EPOCHS", 1)
    monkeypatch.setattr(study, "RATES", (0.0001, 0.03, study.CENTRE, 3.0))
    (images, labels), test = study.sets(0, device)
    monkeypatch.setattr(study, "sets", lambda seed, device: ((images[:128], labels[:128]), test))
    return images[:128], labels[:128]


def test_each_change_is_a_factor_of_ten_in_one_hyperparameter():
    middle = study.Setting()
    for name, ends in study.CHANGES.items():
        field, = {f for f in middle._fields for end in ends if getattr(end, f) != getattr(middle, f)}
        first = [end[middle._fields.index(field)] for end in (ends[0], middle, ends[1])]
        low, centre, high = (v[-1] if isinstance(v, tuple) else v for v in first)
        assert high / centre == pytest.approx(10), name
        assert low == pytest.approx(centre / 10, abs=0.5 if field != "rate" else 1e-9), name


def test_the_rates_span_five_decades_and_hold_the_middle_and_its_tenfold():
    assert math.log10(study.RATES[-1] / study.RATES[0]) == pytest.approx(5)
    assert {study.CENTRE, *(end.rate for end in study.CHANGES["learning rate"])} <= set(study.RATES)
    assert study.CENTRE not in (study.RATES[0], study.RATES[-1])


def test_training_is_the_plain_update(few):
    images, labels = few
    setting = study.Setting(batch=128)
    trained = study.train(images, labels, setting, seed=3)
    torch.manual_seed(3)
    model = study.SmallCNN(size=8).to(images.device)
    nn.functional.cross_entropy(model(images), labels).backward()
    for ours, p in zip(trained.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, p - setting.rate * p.grad, atol=1e-4, rtol=1e-4)


def test_loss_is_capped_and_divergence_ends_early(few):
    model = study.train(*few, study.Setting(rate=1e12), seed=0)
    assert study.capped_loss(model, *few) == study.CAP
    nn.init.constant_(next(model.parameters()), math.nan)
    assert study.capped_loss(model, *few) == study.CAP


def test_a_run_is_repeatable_and_importance_is_what_the_worse_change_costs(few, device):
    first, second = study.run(0, device), study.run(0, device)
    assert first == (pytest.approx(second, abs=0.05) if device.type == "cuda" else second)
    ends = [first[f"rate {end.rate:g}: test accuracy"] for end in study.CHANGES["learning rate"]]
    centre = first[f"rate {study.CENTRE:g}: test accuracy"]
    assert first["learning rate: importance"] == centre - min(ends)
    others = sorted(first[f"{name}: importance"] for name in study.CHANGES if name != "learning rate")
    assert first["importance above the median of the others"] == first["learning rate: importance"] - others[1]
