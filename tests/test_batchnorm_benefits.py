"""The study of batch normalisation: its network, its measures, its differences."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from companion.studies import batchnorm_benefits as study


@pytest.mark.parametrize("norm", [False, True])
def test_twelve_convolutions_with_batch_normalisation_in_between_where_asked(norm):
    model = study.network(norm)
    kinds = [type(layer) for layer in model if not isinstance(layer, nn.MaxPool2d)]
    assert kinds == [nn.Conv2d, *[nn.BatchNorm2d] * norm, nn.ReLU] * 12 + [nn.Flatten, nn.Linear]
    assert all((layer.bias is None) == norm for layer in model if isinstance(layer, nn.Conv2d))
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


@pytest.mark.parametrize("norm", [False, True])
def test_the_start_is_the_recommended_one_times_the_scale(norm):
    kernels = []
    for scale in (1.0, 5.0):
        torch.manual_seed(0)
        layers = [layer.weight for layer in study.network(norm, scale) if isinstance(layer, nn.Conv2d)]
        kernels.append(torch.cat([layer.flatten() for layer in layers[1:]]))
    torch.testing.assert_close(5 * kernels[0], kernels[1])
    assert kernels[0].std().item() == pytest.approx(math.sqrt(2 / (16 * 9)), rel=0.03)


def test_gradient_norms_by_hand():
    # x = 2, weights 3, 5 and 0.1: logits 3 and 0, so that d loss / d logit = -(1 - sigmoid(3)) for label 0.
    first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    last = nn.Linear(1, 2, bias=False)
    first.weight.data.fill_(3)
    second.weight.data.fill_(5)
    last.weight.data = torch.tensor([[0.1], [0.0]])
    model = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
    sizes = study.gradient_norms(model, torch.tensor([[2.0]]), torch.tensor([0]))
    slope = 0.1 * (1 - torch.sigmoid(torch.tensor(3.0)).item())
    assert sizes == pytest.approx([5 * slope, slope], rel=1e-4)
    assert study.flow(model, torch.tensor([[2.0]]), torch.tensor([0])) == pytest.approx(math.log10(5), rel=1e-4)


def test_training_and_test_digits_are_apart(monkeypatch, device):
    numbered = study.digits.Digits(torch.arange(1797)[:, None, None, None], torch.arange(1797))
    monkeypatch.setattr(study.digits, "load", lambda: numbered)             # a label names its image
    (images, labels), (_, rest) = study.sets(3, device)
    assert (len(labels), len(rest)) == (1000, 797)
    assert not set(labels.tolist()) & set(rest.tolist())
    assert images.mean().abs() < 1e-5 and images.device.type == device.type


def test_a_run_that_diverges_ends_there_and_counts_as_infinite(device):
    pair, _ = study.sets(0, device)
    losses = study.train(study.network(False).to(device), *pair, 1e6, torch.Generator().manual_seed(0), 30)
    assert len(losses) < 30 and losses[-1] == math.inf


def test_training_lowers_the_loss_of_the_first_steps(device):
    pair, _ = study.sets(0, device)
    torch.manual_seed(0)
    model = study.network(True).to(device)
    before = cross_entropy(model(pair[0]), pair[1]).item()
    losses = study.train(model, *pair, study.RATE, torch.Generator().manual_seed(0), 25)
    assert losses[0] == pytest.approx(before, abs=1) and sum(losses[-5:]) / 5 < before - 0.3


def test_a_run_takes_differences_and_finds_the_highest_rate(monkeypatch, device):
    monkeypatch.setattr(study, "FEW_STEPS", 2)
    losses = {False: {0.003: 0.5, 0.01: 0.5}, True: {0.003: 2.0, 0.01: 0.5, 0.03: 0.5, 0.1: 0.5}}
    monkeypatch.setattr(study, "trial", lambda norm, rate, scale, pair, seed:
                        losses[norm].get(rate, math.inf) if scale == 1 else (0.5 if norm else math.inf))
    found = study.run(0, device)
    assert found["difference: log10 highest rate"] == pytest.approx(1)
    assert (found["without: starts that work"], found["with: starts that work"]) == (1, 5)
    assert found["without: loss at rate 1"] == 100
    gap = found["with: few digits, test loss"] - found["with: few digits, training loss"]
    assert found["with: few digits, gap"] == gap
