"""The study: its differences are those that its conditions name."""

import pytest
import torch

from companion.studies import no_handcrafted_features as study
from companion.studies import radiomics_or_cnn as compare


@pytest.fixture(scope="module")
def found():
    """Numbers of a run on 30 training and 20 test cases, with few steps."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"TRAIN": 30, "TEST": 20, "STEPS": 5, "TREES": 5}.items():
            patch.setattr(compare, name, value)
        few = compare.sets(0, 30, 20)
        patch.setattr(compare, "sets", lambda seed: few)
        return study.run(0, torch.device("cpu"))


def test_numbers(found):
    aucs = [f"{name}, {given}" for given in compare.INPUTS for name in compare.METHODS]
    assert set(found) == {*aucs, *study.PAIRS}
    assert all(0 <= found[name] <= 1 for name in aucs)


def test_the_cnn_never_sees_the_mask(found):
    for name in ("random forest", "support vector machine", "logistic regression"):
        for given in compare.INPUTS:
            difference = found[f"CNN without mask minus {name}, {given}"]
            assert difference == found["CNN, image"] - found[f"{name}, {given}"]
