"""The study: its differences are those that its conditions name."""

import pytest
import torch

from companion.studies import no_segmentation_needed as study
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


def test_gains_and_differences(found):
    assert found["gain by the mask, CNN"] == found["CNN, image and mask"] - found["CNN, image"]
    assert found["gain by the mask, random forest"] == found["random forest, image and mask"] - found[
        "random forest, image"]
    assert found["without mask, CNN minus random forest"] == found["CNN, image"] - found["random forest, image"]
