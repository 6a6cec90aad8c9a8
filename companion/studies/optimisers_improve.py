"""Do momentum, RMSprop and Adam improve on plain gradient descent? Book: Part 2, gradient descent.

The small CNN of Fig. 1 learns real handwritten digits, 64 in a mini-batch. Counted are the steps until the loss of the
whole training set is at most ``TARGET``. Fixed before any result was looked at:

* Digits: those of ``relu_trains_better``, 900 for training and 297 for testing in each seed, and 600 development
  digits that serve only to choose the learning rates.
* Each optimiser at its best: ``RATES`` holds for each the rate of the common ``GRID`` that needs the fewest steps on
  the development digits, mean over two runs (``search``), the smaller one in a tie. Everything else is torch's default;
  momentum is 0.9.
* The same initial kernels and weights and the same mini-batches for all four. The loss is looked at every ``EVERY``
  steps; a run that does not reach the target counts with ``LIMIT`` steps.

A condition for each of the three: it needs fewer steps than plain gradient descent (the 95 % interval of the paired
difference of log2(steps) lies above 0; a difference of 1 is half the steps). Supported where all hold. The test
accuracy at the target stands beside it: an optimiser that is quicker need not find a better network.
"""

import math
from collections.abc import Callable, Iterable
from statistics import fmean
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop

from companion import hardware
from companion.models.small_cnn import SmallCNN
from companion.studies.relu_trains_better import prepared, sets

CLAIM = "optimisers-improve"
OPTIMISERS: dict[str, Callable[[Iterable[Tensor], float], Optimizer]] = {
    "plain": lambda parameters, rate: SGD(parameters, rate),
    "momentum": lambda parameters, rate: SGD(parameters, rate, momentum=0.9),
    "RMSprop": lambda parameters, rate: RMSprop(parameters, rate),
    "Adam": lambda parameters, rate: Adam(parameters, rate),
}
GRID = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
RATES = {"plain": 0.3, "momentum": 0.03, "RMSprop": 0.003, "Adam": 0.03}
TARGET, LIMIT, EVERY, BATCH = 0.1, 1000, 5, 64


class Run(NamedTuple):
    """The network where the run ended, and the loss of the whole training set every ``EVERY`` steps, from step 0."""

    model: nn.Module
    losses: list[float]

    def steps(self) -> int:
        """Steps to the target, or ``LIMIT`` where it was not reached."""
        return EVERY * (len(self.losses) - 1) if self.losses[-1] <= TARGET else LIMIT


def train(images: Tensor, labels: Tensor, name: str, rate: float, seed: int) -> Run:
    """Train until the loss of the training set (N, 1, 8, 8) is at most the target, is not finite, or steps run out.

    Args:
        name: key in ``OPTIMISERS``.
    """
    generator = hardware.seed(seed)
    model = SmallCNN(size=8).to(images.device)
    optimiser = OPTIMISERS[name](model.parameters(), rate)
    losses = [_loss(model, images, labels)]
    while TARGET < losses[-1] < math.inf and EVERY * len(losses) <= LIMIT:
        for _ in range(EVERY):
            chosen = torch.randint(len(labels), (BATCH,), generator=generator).to(images.device)
            optimiser.zero_grad()
            F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimiser.step()
        losses.append(_loss(model, images, labels))
    return Run(model, losses)


def search(name: str, device: torch.device) -> dict[float, float]:
    """For each rate of the grid the steps to the target on the development digits, mean over two runs."""
    images, labels = prepared(True, device)
    return {rate: fmean(train(images, labels, name, rate, seed).steps() for seed in (1000, 1001)) for rate in GRID}


def run(seed: int, device: torch.device) -> dict[str, float]:
    """All four optimisers on the same digits from the same start.

    Returns:
        Steps to the target and test accuracy there for each, and log2 of the steps of plain gradient descent over those
        of each of the others.
    """
    train_set, test_set = sets(seed, device)
    runs = {name: train(*train_set, name, rate, seed) for name, rate in RATES.items()}
    steps = {name: one.steps() for name, one in runs.items()}
    with torch.no_grad():
        correct = {name: (one.model(test_set[0]).argmax(1) == test_set[1]).float().mean().item()
                   for name, one in runs.items()}
    return {**{f"{name}: steps": float(count) for name, count in steps.items()},
            **{f"{name}: test accuracy": value for name, value in correct.items()},
            **{f"{name}: log2 gain": math.log2(steps["plain"] / count)
               for name, count in steps.items() if name != "plain"}}


def _loss(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        loss = F.cross_entropy(model(images), labels).item()
    return loss if math.isfinite(loss) else math.inf
