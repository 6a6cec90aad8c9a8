"""The study of choosing: the fast network is ridge regression, and the best on the development set is selected."""

import pytest
import torch
from sklearn.linear_model import Ridge

from companion.studies import validation_leaks


def test_the_last_layer_is_ridge_regression():
    x, new = torch.randn(2, 40, 6, generator=torch.Generator().manual_seed(0))
    y = torch.arange(40) % 3
    found = validation_leaks.random_network(x, y, new, 5, 2.0, torch.Generator().manual_seed(1))
    first = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)) / 6 ** 0.5
    ridge = Ridge(alpha=2.0).fit((x @ first).relu().numpy(), torch.eye(3)[y].numpy())
    torch.testing.assert_close(found, torch.from_numpy(ridge.predict((new @ first).relu().numpy())),
                               rtol=1e-4, atol=1e-5)


def test_the_best_on_the_development_set_is_selected(generator):
    """A candidate that is always right, among others that are always wrong: found as soon as it is tried."""
    right = torch.zeros(4, 30, dtype=torch.bool)
    right[2] = True
    found = torch.stack([validation_leaks.select(right, 10, (1, 4), generator) for _ in range(40)])
    assert (found[:, 1] == 1).all()
    assert torch.equal(found[:, 0, 0], found[:, 0, 1]) and 0 < found[:, 0, 0].mean() < 1   # the order is drawn anew


def test_selection_and_test_share_no_case(generator):
    """One candidate, right on 7 of 30 cases: its right answers divide between the two sets."""
    right = (torch.arange(30) < 7)[None]
    (development, test), = validation_leaks.select(right, 10, (1,), generator).tolist()
    assert development * 10 + test * 20 == pytest.approx(7)


def test_candidates_differ_and_learn(generator):
    train, others, _ = validation_leaks.sets(0)
    assert len(train[0]) == validation_leaks.TRAIN and len(others[0]) == 1797 - validation_leaks.TRAIN
    right = validation_leaks.answers(train, others, 5, generator).float().mean(1)
    assert right.max() > 0.5 and len(right.unique()) > 1
