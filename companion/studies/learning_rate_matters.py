"""Is the learning rate one of the most important hyperparameters? Book: Part 2, gradient descent.

The small CNN of Fig. 1 learns real handwritten digits by plain gradient descent on mini-batches. Fixed before any
result was looked at:

* Digits: those of ``relu_trains_better``, 900 for training and 297 for testing in each seed, and 600 development
  digits that serve only to choose ``CENTRE``.
* Training: ``EPOCHS`` times through the training digits, no momentum, no other change. The middle of each
  hyperparameter: 64 digits in a mini-batch, 8 and 16 kernels, 32 hidden nodes, and the learning rate with the lowest
  training loss on the development digits (``search``, mean over two runs).
* Sweep: learning rates over five decades, ``RATES``.
* Importance: each of four hyperparameters is multiplied and divided by ten, the others staying in the middle. Its
  importance is the test accuracy that the worse of the two changes costs. The budget stays the number of digits seen,
  so that a larger mini-batch means fewer steps.

Supported where the training loss at the smallest and at the largest rate is higher than in the middle, and where the
learning rate is in the upper half of the four: its importance is larger than the median of the other three. Each time
the 95 % interval of the paired difference lies above 0.
"""

import math
from statistics import fmean, median
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from companion import hardware
from companion.datasets.batches import Batches
from companion.models.small_cnn import SmallCNN
from companion.studies.relu_trains_better import prepared, sets

CLAIM = "learning-rate-matters"
RATES = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
CENTRE = 0.3
EPOCHS, FACTOR = 20, 10
CAP = 10.0


class Setting(NamedTuple):
    """The four hyperparameters of the study."""

    rate: float = CENTRE
    batch: int = 64
    kernels: tuple[int, int] = (8, 16)
    hidden: int = 32


CHANGES = {
    "learning rate": (Setting(rate=CENTRE / FACTOR), Setting(rate=CENTRE * FACTOR)),
    "mini-batch size": (Setting(batch=6), Setting(batch=640)),
    "number of kernels": (Setting(kernels=(1, 2)), Setting(kernels=(80, 160))),
    "hidden nodes": (Setting(hidden=3), Setting(hidden=320)),
}
"""For each hyperparameter the setting with a tenth of it (rounded) and with ten times as much."""


def train(images: Tensor, labels: Tensor, setting: Setting, seed: int) -> nn.Module:
    """Train the small CNN on images (N, 1, 8, 8), on the device where they are; a run that diverges ends early."""
    generator = hardware.seed(seed)
    model = SmallCNN(size=8, widths=setting.kernels, hidden=setting.hidden).to(images.device)
    optimiser = torch.optim.SGD(model.parameters(), lr=setting.rate)
    batches = Batches(images, labels, setting.batch, generator)
    for _ in range(EPOCHS):
        for x, y in batches:
            optimiser.zero_grad()
            loss = F.cross_entropy(model(x), y)
            if not loss.isfinite():
                return model
            loss.backward()
            optimiser.step()
    return model


def capped_loss(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Cross entropy on a set, at most ``CAP``, which also stands for a loss that is no longer a number."""
    with torch.no_grad():
        loss = F.cross_entropy(model(images), labels).item()
    return min(loss, CAP) if math.isfinite(loss) else CAP


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of the images whose largest output is that of the right class."""
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def search(device: torch.device) -> dict[float, float]:
    """For each rate the training loss on the development digits, mean over two runs."""
    images, labels = prepared(True, device)
    return {rate: fmean(capped_loss(train(images, labels, Setting(rate), seed), images, labels)
                        for seed in (1000, 1001)) for rate in RATES}


def run(seed: int, device: torch.device) -> dict[str, float]:
    """The sweep over the learning rate, and each hyperparameter changed by a factor of ten.

    Returns:
        For each rate the training loss (at most ``CAP``) and the test accuracy; for each hyperparameter its importance
        in test accuracy; and the differences that the conditions are about.
    """
    train_set, test_set = sets(seed, device)
    losses, scores = {}, {}
    for rate in RATES:
        model = train(*train_set, Setting(rate), seed)
        losses[rate], scores[rate] = capped_loss(model, *train_set), accuracy(model, *test_set)
    importance = {}
    for name, ends in CHANGES.items():
        worst = min(scores[end.rate] if end.rate != CENTRE else accuracy(train(*train_set, end, seed), *test_set)
                    for end in ends)
        importance[name] = scores[CENTRE] - worst
    others = median(value for name, value in importance.items() if name != "learning rate")
    return {**{f"rate {rate:g}: training loss": value for rate, value in losses.items()},
            **{f"rate {rate:g}: test accuracy": value for rate, value in scores.items()},
            **{f"{name}: importance": value for name, value in importance.items()},
            "too small: loss above that of the middle": losses[RATES[0]] - losses[CENTRE],
            "too large: loss above that of the middle": losses[RATES[-1]] - losses[CENTRE],
            "importance above the median of the others": importance["learning rate"] - others}
