"""The study on real radiographs: it runs on a small file of the same form; the real set is used where it is there."""

from pathlib import Path

import numpy as np
import pytest
import torch

from companion.studies import pneumoniamnist as study
from companion.studies import store

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "medmnist" / "pneumoniamnist.npz"


def write(path: Path) -> Path:
    """Bright images are pneumonia, dark ones normal."""
    rng = np.random.default_rng(0)
    arrays = {}
    for subset, n in (("train", 64), ("val", 16), ("test", 24)):
        labels = np.arange(n) % 2
        arrays[f"{subset}_images"] = rng.integers(0, 100, (n, 28, 28), np.uint8) + (100 * labels[:, None, None]).astype(
            np.uint8)
        arrays[f"{subset}_labels"] = labels[:, None].astype(np.uint8)
    np.savez(path, **arrays)
    return path


def test_the_study_runs_and_finds_what_is_easy(tmp_path, monkeypatch, device):
    monkeypatch.setenv("COMPANION_PNEUMONIAMNIST", str(write(tmp_path / "pneumoniamnist.npz")))
    monkeypatch.setattr(study, "RATE", 0.01)
    found = study.run(0, device)
    assert set(found) == {"test AUC", "test accuracy", "sensitivity", "specificity", "epochs"}
    assert found["test AUC"] > 0.99 and 1 <= found["epochs"] <= study.EPOCHS
    assert found["test accuracy"] == pytest.approx((found["sensitivity"] + found["specificity"]) / 2)   # equal halves


def test_stored_numbers_are_those_of_a_network_that_has_learnt():
    stored = store.stored("pneumoniamnist")
    assert all(0.85 < auc < 1 for auc in stored.numbers["test AUC"])


@pytest.mark.skipif(not REAL.exists(), reason="the real set is not beside the repository")
def test_on_the_real_set_one_epoch_learns_something(monkeypatch):
    monkeypatch.setenv("COMPANION_PNEUMONIAMNIST", str(REAL))
    monkeypatch.setattr(study, "EPOCHS", 1)
    assert study.run(0, torch.device("cpu"))["test AUC"] > 0.75
