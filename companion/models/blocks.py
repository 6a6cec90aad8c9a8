"""Parts that the architectures share. Book: Part 1."""

from torch import nn

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
MAX_POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


def conv_pool(dim: int, cin: int, cout: int, kernel: int = 3) -> nn.Sequential:
    """Convolution with zero padding that keeps the size, ReLU, max pooling that halves it.

    Shape: (N, cin, \\*spatial) to (N, cout, \\*spatial // 2).

    Args:
        dim: number of spatial axes, 1, 2 or 3.
        kernel: side of the kernel, odd.

    Raises:
        ValueError: for an even kernel, which zero padding cannot centre.
    """
    if kernel % 2 == 0:
        raise ValueError(f"kernel is {kernel}, but must be odd so that zero padding keeps the size")
    return nn.Sequential(CONVOLUTIONS[dim](cin, cout, kernel, padding=kernel // 2), nn.ReLU(), MAX_POOLS[dim](2))
