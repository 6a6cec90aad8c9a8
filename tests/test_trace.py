"""companion.plotting.trace: what the hooks record equals the module's own shapes, values and counts."""

import pytest
import torch
from torch import nn

from companion.models import MODELS
from companion.models.small_cnn import SmallCNN, SmallGAPCNN
from companion.plotting.trace import layers


def test_the_small_cnn_by_hand(device):
    found = layers(SmallCNN().to(device), torch.rand(2, 1, 28, 28, device=device))
    assert [(layer.kind, layer.shape, layer.parameters) for layer in found] == [
        ("convolution", (8, 28, 28), 80), ("ReLU", (8, 28, 28), 0), ("max pooling", (8, 14, 14), 0),
        ("convolution", (16, 14, 14), 1168), ("ReLU", (16, 14, 14), 0), ("max pooling", (16, 7, 7), 0),
        ("flatten", (784,), 0), ("fully connected", (32,), 25120), ("ReLU", (32,), 0),
        ("fully connected", (10,), 330)]


@pytest.mark.parametrize("name", MODELS)
def test_counts_and_outputs_are_the_modules(name, generator):
    model, x = MODELS[name](), torch.rand(3, 1, 28, 28, generator=generator)
    found = layers(model, x)
    assert sum(layer.parameters for layer in found) == sum(p.numel() for p in model.parameters())
    torch.testing.assert_close(found[-1].output, model(x)[0])                    # of the first image
    torch.testing.assert_close(found[5].output, model.features(x)[0])


def test_a_function_between_two_modules_is_named():
    found = layers(SmallGAPCNN(), torch.rand(1, 1, 12, 20))
    assert [(layer.kind, layer.shape) for layer in found[-3:]] == [
        ("max pooling", (16, 3, 5)), ("function", (16,)), ("fully connected", (10,))]


def test_a_nested_sequential_is_flat_and_a_shared_module_counts_once():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(nn.Sequential(shared, nn.Sequential(nn.ReLU())), shared, nn.Dropout(0.5))
    found = layers(model, torch.rand(2, 4))
    assert [layer.kind for layer in found] == ["fully connected", "ReLU", "fully connected", "dropout"]
    assert [layer.parameters for layer in found] == [20, 0, 0, 0]


@pytest.mark.parametrize(("module", "kind"), [
    (nn.Conv2d(1, 1, 1), "convolution"), (nn.ConvTranspose2d(1, 1, 2), "transposed convolution"),
    (nn.AvgPool2d(2), "average pooling"), (nn.AdaptiveAvgPool2d(1), "average pooling"),
    (nn.BatchNorm2d(1), "batch normalisation"), (nn.Sigmoid(), "Sigmoid")])
def test_kinds_are_the_reviews_words(module, kind):
    assert [layer.kind for layer in layers(module, torch.rand(1, 1, 4, 4))] == [kind]


def test_gradients_are_those_of_the_step():
    model, x = SmallCNN(), torch.rand(4, 1, 28, 28)
    assert all(layer.gradient is None for layer in layers(model, x))
    model(x).square().sum().backward()
    found = layers(model, x)
    first = model.features[0][0]
    expected = (first.weight.grad.square().sum() + first.bias.grad.square().sum()).sqrt().item()
    assert found[0].gradient == pytest.approx(expected)
    assert [layer.gradient is None for layer in found] == [layer.parameters == 0 for layer in found]


def test_tracing_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    model[2].eval()                                                              # one frozen part
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = (layers(model, torch.full((2, 1, 5, 5), 3.0)) for _ in range(2))
    assert [m.training for m in model] == [True, True, False] and model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(first[-1].output, second[-1].output) and not first[-1].output.requires_grad
    assert not any(m._forward_hooks for m in model.modules())


def test_an_error_in_the_model_leaves_no_hook_behind():
    model = SmallCNN()
    with pytest.raises(ValueError, match="built for 28 x 28"):
        layers(model, torch.rand(1, 1, 9, 9))
    assert model.training and not any(m._forward_hooks for m in model.modules())
