"""Does training find parameters that reduce the difference between output and truth? Book: Part 2, the training loop.

A small CNN learns the real handwritten digits (8 x 8), each seed with another split (1297 to learn from, 500 to test)
and other first weights. Loss and accuracy are taken before the first and after the last update, on both sets.

Fixed before any result was looked at: Adam with its usual learning rate times ten (0.01), 64 digits a mini-batch, 10
epochs, the network of Part 1. Nothing was searched for.

Supported where the 95 % intervals of both differences lie on the right side of 0: the training loss after is lower
than before, and so is the test loss, which the updates never saw.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from companion import engine, hardware
from companion.datasets import digits
from companion.datasets.batches import Batches
from companion.hardware import Hardware
from companion.models.small_cnn import SmallCNN

CLAIM = "training-reduces-loss"
EPOCHS, BATCH, RATE, TEST = 10, 64, 0.01, 500


def sets(seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], torch.Generator]:
    """Training and test digits as pairs (images (N, 1, 8, 8) in 0 to 1, labels), and the generator for the order."""
    generator = hardware.seed(seed)
    train, test = digits.split(digits.load(), TEST, generator)
    return (train.images / 255, train.labels), (test.images / 255, test.labels), generator


def network() -> nn.Module:
    """The small CNN of Fig. 1 for images of 8 x 8."""
    return SmallCNN(1, 10, size=8)


def score(model: nn.Module, images: Tensor, labels: Tensor, machine: Hardware) -> tuple[float, float]:
    """Loss and accuracy on a set."""
    outputs, labels = engine.predict(model, Batches(images, labels, 500), machine)
    return cross_entropy(outputs, labels).item(), (outputs.argmax(1) == labels).float().mean().item()


def run(seed: int, device: torch.device) -> dict[str, float]:
    """Loss and accuracy before and after, on training and test set, for one seed."""
    machine = Hardware(device)
    train, test, generator = sets(seed)
    model = network()
    found = {}
    for moment in ("before", "after"):
        if moment == "after":
            engine.fit(model, cross_entropy, torch.optim.Adam(model.parameters(), lr=RATE),
                       Batches(*train, BATCH, generator), EPOCHS, hardware=machine)
        for name, pair in (("training", train), ("test", test)):
            found[f"{name} loss {moment}"], found[f"{name} accuracy {moment}"] = score(model, *pair, machine)
    for name in ("training", "test"):
        found[f"{name} loss, change"] = found[f"{name} loss after"] - found[f"{name} loss before"]
    return found
