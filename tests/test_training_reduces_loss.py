"""The study behind *The training loop*."""

import torch

from companion.studies import training_reduces_loss as study


def test_no_digit_is_in_both_sets():
    (x, y), (x_test, y_test), _ = study.sets(0)
    assert x.shape == (1297, 1, 8, 8) and len(y) == 1297 and len(y_test) == 500
    assert 0 <= x.min() and x.max() == 1
    assert not torch.equal(study.sets(1)[0][0], x)


def test_a_run_is_the_same_twice_and_compares_before_with_after(monkeypatch, device):
    monkeypatch.setattr(study, "EPOCHS", 1)
    found = study.run(0, device)
    if device.type == "cpu":
        assert study.run(0, device) == found
    assert found["training accuracy before"] < 0.35                      # ten classes, guessed
    assert found["test loss, change"] == found["test loss after"] - found["test loss before"] < 0
