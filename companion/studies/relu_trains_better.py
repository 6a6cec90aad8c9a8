"""Does a deep CNN train better with ReLU than with sigmoid or tanh? Book: Part 1, activation and pooling.

Which function is common cannot be measured here; a reason for it can. The same network of eight convolution layers
learns real handwritten digits (8 x 8) with each of the three functions, for the same number of mini-batches.

Fixed before any result of the study was looked at:

* Digits: 600 of the 1797 are *development* digits, drawn once, and serve only to choose the learning rates. Each seed
  splits the other 1197 into 900 for training and 297 for testing.
* Training: stochastic gradient descent with momentum 0.9, 64 digits a step, 150 steps.
* Each function at its best: ``SETTINGS`` holds, for each function, the learning rate and the scale of the initial
  kernels with the lowest training loss on the development digits, mean over two runs (``search``). A scale of 1 is
  the one recommended for the function (``nn.init.calculate_gain``). None of the rates and scales chosen lies at an end
  of its grid. With the recommended start alone the sigmoid does not learn at any rate, which would be a weak opponent.

Supported where the training loss after the budget is lower with ReLU than with sigmoid, and lower than with tanh: the
95 % interval of the paired difference of log10(loss) lies above 0. The loss is that on the training digits, because
the question is how well a network trains; loss and accuracy on test digits stand beside it.
"""

import math
from itertools import product
from statistics import fmean
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from companion import hardware
from companion.datasets import digits

CLAIM = "relu-trains-better"
ACTIVATIONS = {"ReLU": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
DEPTH, WIDTH, BATCH, STEPS, MOMENTUM = 8, 16, 64, 150, 0.9
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


class Setting(NamedTuple):
    """Learning rate, and scale of the initial kernels as a multiple of the recommended one."""

    rate: float
    scale: float


SETTINGS = {"ReLU": Setting(0.01, 1.0), "sigmoid": Setting(0.3, 8.0), "tanh": Setting(0.1, 0.5)}


class Run(NamedTuple):
    """A trained network, and the loss of the mini-batch of each step."""

    model: nn.Module
    losses: list[float]


def plain_cnn(name: str, scale: float = 1.0) -> nn.Sequential:
    """Eight 3 x 3 convolutions, each followed by the named function, a pooling after every fourth, one linear layer.

    Shape: (N, 1, 8, 8) to logits (N, 10).

    Args:
        name: key in ``ACTIVATIONS``.
        scale: of the initial kernels, as a multiple of the one recommended for the function.
    """
    layers: list[nn.Module] = []
    for layer in range(DEPTH):
        convolution = nn.Conv2d(WIDTH if layer else 1, WIDTH, 3, padding=1)
        nn.init.kaiming_normal_(convolution.weight, nonlinearity=name.lower())
        convolution.weight.data *= scale
        nn.init.zeros_(convolution.bias)
        layers += [convolution, ACTIVATIONS[name]()]
        layers += [nn.MaxPool2d(2)] if layer % 4 == 3 else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTH * 4, 10))


def gradient_sizes(model: nn.Module, images: Tensor, labels: Tensor) -> list[float]:
    """Root mean square of the gradient of the loss by the kernels, for each convolution layer from first to last."""
    kernels = [layer.weight for layer in model if isinstance(layer, nn.Conv2d)]
    gradients = torch.autograd.grad(F.cross_entropy(model(images), labels), kernels)
    return [g.square().mean().sqrt().item() for g in gradients]


def train(model: nn.Module, images: Tensor, labels: Tensor, rate: float, generator: torch.Generator) -> list[float]:
    """``STEPS`` steps of gradient descent with momentum on random mini-batches; the loss of each before its step."""
    optimiser, losses = torch.optim.SGD(model.parameters(), lr=rate, momentum=MOMENTUM), []
    for _ in range(STEPS):
        chosen = torch.randint(len(labels), (BATCH,), generator=generator).to(images.device)
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def prepared(development: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Digits of mean 0 and standard deviation 1, float32 (N, 1, 8, 8), and their labels (N,).

    Args:
        development: the 600 development digits; otherwise the 1197 of the study.
    """
    study, apart = digits.split(digits.load(8), 600, torch.Generator().manual_seed(0))
    chosen = apart if development else study
    images = chosen.images.float()
    return ((images - images.mean()) / images.std()).to(device), chosen.labels.to(device)


def sets(seed: int, device: torch.device) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The training set (900) and the test set (297) of a seed, each as images and labels."""
    images, labels = prepared(False, device)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).to(device)
    return (images[order[:900]], labels[order[:900]]), (images[order[900:]], labels[order[900:]])


def trained(name: str, setting: Setting, images: Tensor, labels: Tensor, seed: int) -> Run:
    """Build the network and train it on the images (N, 1, 8, 8), on the device where they are."""
    generator = hardware.seed(seed)
    model = plain_cnn(name, setting.scale).to(images.device)
    return Run(model, train(model, images, labels, setting.rate, generator))


def search(name: str, device: torch.device) -> dict[Setting, float]:
    """For each setting of the grid, log10 of the training loss on the development digits, mean over two runs.

    A run that diverges counts as infinite.
    """
    images, labels = prepared(True, device)
    found = {}
    for setting in map(Setting._make, product(RATES, SCALES)):
        runs = [trained(name, setting, images, labels, seed) for seed in (1000, 1001)]
        found[setting] = fmean(log_loss(r.model, images, labels) for r in runs)
    return found


def log_loss(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """log10 of the cross entropy; infinite where it is not a number, as after training has diverged."""
    with torch.no_grad():
        loss = F.cross_entropy(model(images), labels).item()
    return math.log10(loss) if math.isfinite(loss) else math.inf


def run(seed: int, device: torch.device) -> dict[str, float]:
    """One network per function, all on the same digits.

    Returns:
        For each function log10 of the training and of the test loss after the budget, test accuracy, and log10 of the
        gradient of the first layer over that of the last before training, for the recommended and for the chosen scale
        of the initial kernels. Then the margins of log10 training loss by which ReLU is ahead.
    """
    train_set, test_set = sets(seed, device)
    numbers = {}
    for name, setting in SETTINGS.items():
        r = trained(name, setting, *train_set, seed)
        numbers |= {f"{name}: log10 training loss": log_loss(r.model, *train_set),
                    f"{name}: log10 test loss": log_loss(r.model, *test_set),
                    f"{name}: test accuracy": _accuracy(r.model, *test_set)}
        for start, scale in (("recommended", 1.0), ("chosen", setting.scale)):
            hardware.seed(seed)
            sizes = gradient_sizes(plain_cnn(name, scale).to(device), *train_set)
            numbers[f"{name}: log10 gradient first/last, {start} start"] = math.log10(sizes[0] / sizes[-1])
    for other in ("sigmoid", "tanh"):
        numbers[f"margin over {other}"] = (numbers[f"{other}: log10 training loss"]
                                           - numbers["ReLU: log10 training loss"])
    return numbers


def _accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()
