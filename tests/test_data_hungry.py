"""The study of learning curves: nested training cases, averages and gains by hand."""

import pytest
import torch

from companion.studies import data_hungry as study
from companion.studies import radiomics_or_cnn as compare


@pytest.fixture
def small(monkeypatch):
    """A study of 10 to 40 training cases, with few steps."""
    for name, value in {"TRAIN": 40, "TEST": 30, "STEPS": 5, "TREES": 5}.items():
        monkeypatch.setattr(compare, name, value)
    few = compare.sets(0, 40, 30)
    monkeypatch.setattr(study, "sets", lambda seed: few)
    for name, value in {"NUMBERS": (10, 20, 40), "FEW": 20}.items():
        monkeypatch.setattr(study, name, value)
    gains = {f"gain, CNN minus {name}": (f"CNN, {compare.IMAGE}, gain", f"{name}, gain") for name in study.NAMES[:-1]}
    monkeypatch.setattr(study, "PAIRS", gains)


def test_numbers(small):
    found = study.run(0, torch.device("cpu"))
    for name in study.NAMES:
        assert found[f"{name}, few cases"] == pytest.approx((found[f"{name}, 10"] + found[f"{name}, 20"]) / 2)
        assert found[f"{name}, gain"] == found[f"{name}, 40"] - found[f"{name}, 20"]
    name = "random forest, image and mask"
    assert found[f"gain, CNN minus {name}"] == found["CNN, image, gain"] - found[f"{name}, gain"]
    assert found["seconds, CNN"] > 0 and found["seconds, features"] > 0


def test_pairs_name_numbers_of_a_run():
    names = {f"{name}, {what}" for name in study.NAMES for what in ("few cases", "gain")}
    assert {part for pair in study.PAIRS.values() for part in pair} <= names
