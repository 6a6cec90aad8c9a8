"""The registry and the two small CNNs: shapes, hand-counted parameters, errors."""

import pytest
import torch
from torch import nn

from companion.models import MODELS
from companion.models.small_cnn import SmallCNN, SmallGAPCNN


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_registry_gives_each_class_under_its_own_name():
    assert MODELS["small_cnn"] is SmallCNN and MODELS["small_gap_cnn"] is SmallGAPCNN
    assert all(issubclass(model, nn.Module) for model in MODELS.values())
    assert len(set(MODELS.values())) == len(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_forward_gives_one_row_of_logits_per_image(name, device, generator):
    model = MODELS[name]().to(device)
    logits = model(torch.rand(3, 1, 28, 28, generator=generator).to(device))
    assert logits.shape == (3, 10) and logits.dtype == torch.float32
    assert logits.device.type == device.type and logits.isfinite().all()
    assert (logits < 0).any() or (logits.sum(dim=1) - 1).abs().max() > 1e-3      # logits, not probabilities


@pytest.mark.parametrize("name", MODELS)
def test_backward_reaches_every_parameter(name, device, generator):
    torch.manual_seed(0)
    model = MODELS[name]().to(device)
    x = torch.rand(64, 1, 28, 28, generator=generator).to(device)
    nn.functional.cross_entropy(model(x), torch.arange(64, device=device) % 10).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", MODELS)
def test_each_image_is_judged_by_itself(name, generator):
    model = MODELS[name]()
    x = torch.rand(4, 1, 28, 28, generator=generator)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]))


@pytest.mark.parametrize("name", MODELS)
def test_channels_and_classes_are_free(name, generator):
    x = torch.rand(2, 3, 28, 28, generator=generator)
    assert MODELS[name](in_channels=3, classes=5)(x).shape == (2, 5)


def test_parameters_of_the_small_cnn_counted_by_hand():
    kernels = (9 * 1 * 8 + 8) + (9 * 8 * 16 + 16)                                # 80 + 1168
    weights = (16 * 7 * 7 * 32 + 32) + (32 * 10 + 10)                            # 28 is halved twice: 7
    assert count(SmallCNN()) == kernels + weights == 26_698
    assert count(SmallCNN(2, 3, size=8, widths=(4, 5), hidden=6)) == 76 + 185 + 126 + 21


def test_parameters_of_the_small_gap_cnn_counted_by_hand():
    assert count(SmallGAPCNN()) == 80 + 1168 + (16 * 10 + 10)
    assert count(SmallGAPCNN(2, 3, widths=(4, 5))) == 76 + 185 + 18


def test_the_small_cnn_is_its_parts_in_the_order_of_figure_1(generator):
    model = SmallCNN(size=8)
    first, second = model.features
    linear1, linear2 = model.classifier[1], model.classifier[3]
    x = torch.rand(2, 1, 8, 8, generator=generator)
    maps = nn.functional.max_pool2d(nn.functional.conv2d(x, first[0].weight, first[0].bias, padding=1).relu(), 2)
    maps = nn.functional.max_pool2d(nn.functional.conv2d(maps, second[0].weight, second[0].bias, padding=1).relu(), 2)
    assert maps.shape == (2, 16, 2, 2)
    torch.testing.assert_close(model(x), linear2(linear1(maps.flatten(1)).relu()))


def test_the_head_of_the_small_gap_cnn_averages_each_map(generator):
    model = SmallGAPCNN()
    x = torch.rand(2, 1, 12, 20, generator=generator)
    torch.testing.assert_close(model(x), model.classifier(model.features(x).flatten(2).mean(dim=2)))


@pytest.mark.parametrize("size", [0, 2, 3, 6, 27, 30])
def test_small_cnn_refuses_a_size_that_two_poolings_do_not_divide(size):
    with pytest.raises(ValueError, match=rf"size is {size}, but must be a multiple of 4"):
        SmallCNN(size=size)


@pytest.mark.parametrize("shape", [(32, 32), (28, 32), (24, 28)])
def test_small_cnn_refuses_an_image_of_another_size(shape):
    with pytest.raises(ValueError, match=f"the input is {shape[0]} x {shape[1]}, .* 28 x 28: .*SmallGAPCNN"):
        SmallCNN()(torch.zeros(1, 1, *shape))


@pytest.mark.parametrize("shape", [(4, 4), (5, 9), (28, 28), (64, 37)])
def test_small_gap_cnn_takes_any_size_from_4_on(shape):
    assert SmallGAPCNN()(torch.zeros(1, 1, *shape)).shape == (1, 10)


@pytest.mark.parametrize("shape", [(3, 28), (28, 3)])
def test_small_gap_cnn_refuses_less_than_two_poolings_need(shape):
    with pytest.raises(ValueError, match=f"the input is {shape[0]} x {shape[1]}, .* at least 4 x 4"):
        SmallGAPCNN()(torch.zeros(1, 1, *shape))
