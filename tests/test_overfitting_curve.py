"""The study behind Fig. 9: sets apart, the loop's records, the change after the minimum."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from companion.hardware import Hardware, seed
from companion.studies import overfitting_curve as study


def sizes(sets):
    return [len(labels) for _, labels in sets]


def test_digit_sets_are_apart_and_the_few_are_among_the_many(monkeypatch):
    numbered = study.digits.Digits(torch.arange(1797)[:, None, None, None], torch.arange(1797))
    monkeypatch.setattr(study.digits, "load", lambda: numbered)             # a label names its image
    few, many = study.digit_sets(3, study.FEW), study.digit_sets(3, study.MANY)
    assert sizes(few) == [60, 400, 397] and sizes(many) == [960, 400, 397]
    assert len(set(torch.cat([labels for _, labels in many]).tolist())) == 960 + 797
    assert torch.equal(few.test[1], many.test[1]) and torch.equal(few.training[1], many.training[1][:60])


@pytest.fixture
def drawn(monkeypatch):
    """Nodules that need no rendering: noise, each case with its number at one pixel."""
    def make(n, generator, size):
        images = 400 * torch.randn(n, 1, *size, generator=generator) - 600
        images[:, 0, 0, 0, 0] = torch.arange(n)
        return SimpleNamespace(images=images, labels=torch.arange(n) % 2)

    monkeypatch.setattr(study.nodule, "make", make)


def test_nodule_sets_are_apart_and_scaled_by_the_training_set(drawn):
    sets = study.nodule_sets(0, n=4)
    assert sizes(sets) == [4, 120, 120] and sets.test[0].shape == (120, 1, 32, 32)
    assert sets.training[0].mean().abs() < 1e-5 and sets.training[0].std().item() == pytest.approx(1, rel=1e-4)
    numbers = torch.cat([images[:, 0, 0, 0] for images, _ in sets])
    assert (numbers.diff() > 0).all()                                       # each case in one set, none left out


def points(generator):
    x = torch.randn(20, 2, generator=generator)
    return x, (x[:, 0] > 0).long()


def followed(sets, number, machine):
    generator = seed(number)
    return study.follow(nn.Linear(2, 2), sets, 3, generator, machine)


def test_follow_notes_each_epoch_and_learns_from_the_training_set_only(device):
    draw, machine = torch.Generator().manual_seed(0), Hardware(device)
    sets = study.Sets(*(points(draw) for _ in range(3)))
    first, other = followed(sets, 0, machine), followed(sets._replace(development=points(draw)), 0, machine)
    assert len(first) == 3 and first[2]["training loss"] < first[0]["training loss"]
    for mine, theirs in zip(first, other, strict=True):
        assert mine["test loss"] == pytest.approx(theirs["test loss"], rel=1e-4)
        assert mine["development loss"] != theirs["development loss"]


def test_changes_count_from_the_lowest_development_loss():
    records = [{"training loss": a, "development loss": b, "test loss": c, "test accuracy": d}
               for a, b, c, d in [(3, 3, 3.0, 0.2), (2, 1, 1.5, 0.6), (1, 2, 2.5, 0.5)]]
    assert study.best(records) == 1
    assert study.changes(records) == {"epoch of the minimum": 2, "training loss, change": -1,
                                      "development loss, change": 1, "test loss, change": 1.0,
                                      "test accuracy, change": pytest.approx(-0.1)}


def test_a_run_compares_underfit_with_good_fit(monkeypatch, drawn, device):
    for name, value in {"FEW_EPOCHS": 2, "MANY_EPOCHS": 1, "NODULE_EPOCHS": 1}.items():
        monkeypatch.setattr(study, name, value)
    found = study.run(0, device)
    assert found["underfit minus good fit: test loss"] == found["underfit: test loss"] - found["good fit: test loss"]
    assert 1 <= found["overfit: epoch of the minimum"] <= 2 and found["nodules: test loss, change"] == 0
