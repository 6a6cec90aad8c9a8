"""Real handwritten digits that travel with scikit-learn: 1797 images by 13 writers (Alpaydin and Kaynak, 1998).

No download. Each image is 8 x 8 with 17 grey levels; ``load`` stretches them to the 8-bit range 0-255.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor


class Digits(NamedTuple):
    """Images (N, 1, H, W), uint8 in 0-255, and the digit that each shows (N,), int64 in 0-9."""

    images: Tensor
    labels: Tensor


def load(size: int = 8) -> Digits:
    """All 1797 digits, in the order of scikit-learn, as 8-bit images of ``size`` x ``size`` pixels.

    A size above 8 is interpolated (bicubic) and gets a black margin of a seventh on each side, as in MNIST (20 x 20 in
    28 x 28): the image gets smoother, it does not gain information.

    Raises:
        ValueError: where the size is below 8.
    """
    if size < 8:
        raise ValueError(f"size is {size}, but the digits are 8 x 8: ask for 8 or more")
    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32)[:, None] * (255 / 16)   # (N, 1, 8, 8)
    if size > 8:
        margin = size // 7
        inner = size - 2 * margin
        images = F.interpolate(images, size=(inner, inner), mode="bicubic", align_corners=False)
        images = F.pad(images, (margin,) * 4)
    return Digits(images.round().clamp(0, 255).to(torch.uint8), torch.tensor(bunch.target))


def split(digits: Digits, test: int, generator: torch.Generator) -> tuple[Digits, Digits]:
    """Draw ``test`` digits at random for the test set and keep the others for training.

    The source does not say who wrote which digit, so both sets may hold the same hand: the test score is that of known
    writers.

    Raises:
        ValueError: where ``test`` does not leave at least one digit in each set.
    """
    count = len(digits.labels)
    if not 0 < test < count:
        raise ValueError(f"test is {test}, but must lie between 1 and {count - 1}")
    order = torch.randperm(count, generator=generator)
    return Digits(*(t[order[test:]] for t in digits)), Digits(*(t[order[:test]] for t in digits))
