"""Mistakes seen before training: more of them, met through ``fit``, are in test_engine.py and test_resume.py."""

import pytest
import torch
from torch import nn

from companion import checks
from companion.datasets.batches import Batches
from companion.hardware import Hardware


def test_a_loss_says_which_number_it_leaves_out():
    assert checks.ignored(nn.functional.cross_entropy) == -100
    assert checks.ignored(nn.CrossEntropyLoss(ignore_index=7)) == 7


@pytest.mark.parametrize("in_memory", [True, False])
def test_counting_leaves_out_what_the_loss_leaves_out(in_memory):
    x, some, none = torch.zeros(3, 4), torch.tensor([0, -100, 1]), torch.tensor([0, 2, 1])
    for targets, expected in ((some, 2), (none, 3), (some.float(), 3), (none > 0, 3)):
        batches = Batches(x, targets, 2) if in_memory else [(x, targets)]
        assert int(checks.counter(batches, nn.functional.cross_entropy)(targets)) == expected


@pytest.mark.parametrize(("last", "fits"), [(2, True), (3, False), (255, True)])
def test_labels_are_compared_with_the_outputs_but_for_those_left_out(last, fits, device):
    set_of_three = Batches(torch.zeros(3, 4), torch.tensor([0, 1, last]), 2)
    look = (nn.Linear(4, 3).to(device), "training", set_of_three, nn.CrossEntropyLoss(ignore_index=255),
            Hardware(device))
    if fits:
        checks.require_sense(*look)
    else:
        with pytest.raises(ValueError, match="training set run from 0 to 3, but the network has 3 outputs"):
            checks.require_sense(*look)


def test_a_note_says_where_an_error_came_from_but_not_for_an_error_that_explains_itself():
    with pytest.raises(RuntimeError) as caught, checks.explained("development"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert "a batch of the development set" in caught.value.__notes__[0]
    with pytest.raises(checks.TrainingError) as caught, checks.explained("development"):
        raise checks.TrainingError("the loss is nan")
    assert not hasattr(caught.value, "__notes__")
