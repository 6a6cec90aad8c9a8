"""The experiment behind relu-trains-better: the network, its start, its data, its settings."""

import math

import pytest
import torch
from torch import nn

from companion.studies import relu_trains_better as study


@pytest.mark.parametrize("name", study.ACTIVATIONS)
def test_eight_convolutions_each_followed_by_the_named_function(name):
    model = study.plain_cnn(name)
    kinds = [type(layer) for layer in model if isinstance(layer, nn.Conv2d | study.ACTIVATIONS[name])]
    assert kinds == [nn.Conv2d, study.ACTIVATIONS[name]] * 8
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


@pytest.mark.parametrize(("name", "gain"), [("ReLU", math.sqrt(2)), ("sigmoid", 1.0), ("tanh", 5 / 3)])
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_scale_of_the_start(name, gain, scale):
    torch.manual_seed(0)
    kernels = [layer.weight for layer in study.plain_cnn(name, scale) if isinstance(layer, nn.Conv2d)][1:]
    spread = torch.cat([k.flatten() for k in kernels]).std().item()
    assert spread == pytest.approx(scale * gain / math.sqrt(16 * 9), rel=0.03)


def test_gradient_sizes_are_those_of_finite_differences():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 1, (1, 2)), nn.Tanh(), nn.Flatten()).double()
    x, labels, step = torch.randn(4, 1, 1, 3).double(), torch.tensor([0, 1, 1, 0]), 1e-6
    (size,) = study.gradient_sizes(model, x, labels)
    slopes = []
    with torch.no_grad():
        for move in step * torch.eye(2).double().view(2, 1, 1, 1, 2):
            kernels = (model[0].weight + move, model[0].weight - move)
            maps = [nn.functional.conv2d(x, kernel, model[0].bias).tanh() for kernel in kernels]
            losses = [nn.functional.cross_entropy(m.flatten(1), labels) for m in maps]
            slopes.append((losses[0] - losses[1]).item() / (2 * step))
    assert size == pytest.approx(math.sqrt((slopes[0] ** 2 + slopes[1] ** 2) / 2), rel=1e-6)


def test_development_training_and_test_digits_are_disjoint(monkeypatch, device):
    monkeypatch.setattr(study.digits, "load", lambda size: study.digits.Digits(
        torch.arange(1797.0)[:, None, None, None], torch.arange(1797)))                    # a label names its image
    _, development = study.prepared(True, device)
    (_, train), (_, test) = study.sets(3, device)
    assert (len(development), len(train), len(test)) == (600, 900, 297)
    assert len(set(torch.cat([development, train, test]).tolist())) == 1797


def test_log_loss_of_guessing_and_of_divergence():
    images, labels = torch.zeros(5, 1), torch.arange(5)
    even = nn.Linear(1, 10)
    nn.init.zeros_(even.bias)
    assert study.log_loss(even, images, labels) == pytest.approx(math.log10(math.log(10)))
    nn.init.constant_(even.bias, math.nan)
    assert study.log_loss(even, images, labels) == math.inf


def test_settings_are_inside_the_grid():
    for rate, scale in study.SETTINGS.values():
        assert rate in study.RATES[1:-1] and scale in study.SCALES[1:-1]


def test_a_run_is_repeatable_and_margins_are_differences(monkeypatch, device):
    monkeypatch.setattr(study, "STEPS", 5)
    first, second = study.run(0, device), study.run(0, device)
    assert first == (pytest.approx(second, rel=1e-3) if device.type == "cuda" else second)
    for other in ("sigmoid", "tanh"):
        ahead = first[f"{other}: log10 training loss"] - first["ReLU: log10 training loss"]
        assert first[f"margin over {other}"] == ahead


def test_search_counts_divergence_as_infinite(monkeypatch, device):
    monkeypatch.setattr(study, "STEPS", 15)
    monkeypatch.setattr(study, "RATES", (0.01, 100.0))
    monkeypatch.setattr(study, "SCALES", (1.0,))
    found = study.search("ReLU", device)
    assert found[study.Setting(0.01, 1.0)] < 0.4 and found[study.Setting(100.0, 1.0)] > 1
