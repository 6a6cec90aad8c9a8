"""The small CNN of Fig. 1 of the review, with its two kinds of head. Book: Part 1."""

import torch
from torch import Tensor, nn

from companion.models.blocks import conv_pool


class SmallCNN(nn.Module):
    """Two rounds of convolution, ReLU and max pooling, then two fully connected layers (after Fig. 1 of the review).

    Shape: (N, in_channels, size, size) to logits (N, classes).

    Args:
        size: height and width of the input, a multiple of 4. The fully connected layers fix it.
        widths: number of kernels of the two convolution layers.
        hidden: outputs of the first fully connected layer.

    Raises:
        ValueError: for a size that is no multiple of 4, and in ``forward`` for an input of another size.
    """

    def __init__(self, in_channels: int = 1, classes: int = 10, *, size: int = 28,
                 widths: tuple[int, int] = (8, 16), hidden: int = 32):
        super().__init__()
        if size < 4 or size % 4:
            raise ValueError(f"size is {size}, but must be a multiple of 4, as two poolings halve it twice")
        self.size = size
        self.features = nn.Sequential(conv_pool(2, in_channels, widths[0]), conv_pool(2, *widths))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(widths[1] * (size // 4) ** 2, hidden), nn.ReLU(),
                                        nn.Linear(hidden, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, in_channels, size, size) to logits (N, classes)."""
        if x.shape[-2:] != (self.size, self.size):
            raise ValueError(f"the input is {x.shape[-2]} x {x.shape[-1]}, but the fully connected layer of this "
                             f"network was built for {self.size} x {self.size}: resize it, or use SmallGAPCNN")
        return self.classifier(self.features(x))                                     # (N, classes)


class SmallGAPCNN(nn.Module):
    """The same feature extraction, then global average pooling and one fully connected layer (Lin et al., 2013).

    Shape: (N, in_channels, H, W) to logits (N, classes), for any H and W of at least 4.

    Raises:
        ValueError: in ``forward``, for an input below 4 x 4.
    """

    def __init__(self, in_channels: int = 1, classes: int = 10, *, widths: tuple[int, int] = (8, 16)):
        super().__init__()
        self.features = nn.Sequential(conv_pool(2, in_channels, widths[0]), conv_pool(2, *widths))
        self.classifier = nn.Linear(widths[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, in_channels, H, W) to logits (N, classes)."""
        if min(x.shape[-2:]) < 4:
            raise ValueError(f"the input is {x.shape[-2]} x {x.shape[-1]}, but two poolings need at least 4 x 4")
        pooled = torch.mean(self.features(x), dim=(2, 3))                            # (N, widths[1])
        return self.classifier(pooled)
