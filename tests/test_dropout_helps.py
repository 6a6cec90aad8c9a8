"""The study behind dropout-helps: shares of dropped activations, all else equal."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from companion.studies import dropout_helps as study
from companion.studies.remedies import Remedy


def test_only_the_share_differs_and_the_usual_one_is_among_them():
    assert all(replace(remedy, dropout=0) == Remedy() for remedy in study.SETTINGS.values())
    assert [remedy.dropout for remedy in study.SETTINGS.values()] == list(study.SHARES)
    assert study.USUAL == 0.5 and str(study.USUAL) in study.SETTINGS


def test_silenced_nodes_by_hand(device):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(3, 2, bias=False)).to(device)
    model[-1].weight.data = torch.tensor([[3.0, 0.0, 1.0], [0.0, 2.0, 0.0]], device=device)
    images = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]], device=device).view(2, 1, 1, 3)
    # Logits (3, 2): without the first node (0, 2), another class. Logits (1, 2): without the second node (1, 0).
    # Each of the other four silenced nodes leaves the class as it was.
    assert study.changed_answers(model, images) == pytest.approx(2 / 6)
