"""The experiment behind optimisers-improve: the same start for all, steps counted to the target."""

import math

import pytest
import torch

from companion.studies import optimisers_improve as study


@pytest.fixture
def few(device):
    """200 digits."""
    (images, labels), _ = study.sets(0, device)
    return images[:200], labels[:200]


def test_each_optimiser_has_a_rate_inside_the_grid():
    assert set(study.RATES) == set(study.OPTIMISERS)
    assert all(rate in study.GRID[1:-1] for rate in study.RATES.values())


def test_optimisers_are_what_they_are_called():
    weight = [torch.zeros(1, requires_grad=True)]
    made = {name: make(weight, 0.5) for name, make in study.OPTIMISERS.items()}
    assert {name: type(o).__name__ for name, o in made.items()} == {
        "plain": "SGD", "momentum": "SGD", "RMSprop": "RMSprop", "Adam": "Adam"}
    assert all(o.defaults["lr"] == 0.5 for o in made.values())
    assert (made["plain"].defaults["momentum"], made["momentum"].defaults["momentum"]) == (0, 0.9)


def test_all_start_from_the_same_loss(monkeypatch, few):
    monkeypatch.setattr(study, "LIMIT", 5)
    starts = {study.train(*few, name, 1e-6, seed=1).losses[0] for name in study.OPTIMISERS}
    assert len(starts) == 1


def test_a_run_ends_at_the_target(monkeypatch, few):
    monkeypatch.setattr(study, "TARGET", 1.5)
    run = study.train(*few, "Adam", 0.01, seed=0)
    assert run.losses[-1] <= 1.5 < min(run.losses[:-1])
    assert run.steps() == study.EVERY * (len(run.losses) - 1) < study.LIMIT


@pytest.mark.parametrize(("rate", "length"), [(1e-9, 5), (1e12, 2)])
def test_a_run_that_fails_counts_with_all_steps(monkeypatch, few, rate, length):
    monkeypatch.setattr(study, "LIMIT", 20)
    run = study.train(*few, "plain", rate, seed=0)
    assert run.steps() == 20 and len(run.losses) == length


def test_gains_are_in_halvings_of_the_steps(monkeypatch, device):
    monkeypatch.setattr(study, "TARGET", 1.0)
    numbers = study.run(0, device)
    for name in ("momentum", "RMSprop", "Adam"):
        assert numbers[f"{name}: log2 gain"] == math.log2(numbers["plain: steps"] / numbers[f"{name}: steps"])
