"""The parts that the architectures share: shapes in one to three dimensions, values by hand, errors."""

import pytest
import torch
from torch import nn

from companion.models import blocks


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("dim", "shape", "halved"), [(1, (9,), (4,)), (2, (8, 6), (4, 3)), (3, (4, 6, 8), (2, 3, 4))])
def test_conv_pool_halves_every_axis(dim, shape, halved, device, generator):
    block = blocks.conv_pool(dim, 2, 3).to(device)
    maps = block(torch.randn(2, 2, *shape, generator=generator).to(device))
    assert maps.shape == (2, 3, *halved)
    assert (maps >= 0).all()                                                     # ReLU comes before the pooling
    assert count(block) == 3 * 2 * 3**dim + 3


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_conv_pool_keeps_the_size_before_pooling(kernel):
    block = blocks.conv_pool(2, 1, 1, kernel)
    assert block[0](torch.zeros(1, 1, 10, 12)).shape == (1, 1, 10, 12)
    assert count(block) == kernel**2 + 1


def test_conv_pool_by_hand():
    block = blocks.conv_pool(2, 1, 1)
    nn.init.ones_(block[0].weight)
    nn.init.constant_(block[0].bias, -5)
    x = torch.tensor([[1.0, 2, 0, 0], [3, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])[None, None]
    # Sums over 3 x 3 with zeros around: rows 10 10 6 0 / 10 10 6 0 / 7 7 4 0 / 0 0 0 0; minus 5; negative to 0.
    assert block(x)[0, 0].tolist() == [[5, 1], [2, 0]]


@pytest.mark.parametrize("kernel", [2, 4])
def test_conv_pool_refuses_an_even_kernel(kernel):
    with pytest.raises(ValueError, match=f"kernel is {kernel}, but must be odd"):
        blocks.conv_pool(2, 1, 1, kernel)
