"""Does the loss on new cases turn up while the training loss goes on falling? Book: Part 3, overfitting recognised.

Fig. 9 of the review from real runs. Three networks learn handwritten digits (8 x 8): one too simple (*underfit*), one
that suits its 960 digits (*good fit*), and the same one with only 60 digits (*overfit*). A fourth, larger for its
larger images, learns 60 planes of simulated lung nodules, benign or malignant (32 x 32, 1 mm). After each epoch, loss
and accuracy are taken on the training set, on a development set and on a test set.

The lowest of many losses is low by luck as well: behind any such minimum the curve rises. So the development set only
names the epoch of its minimum, and the rise from there to the last epoch is measured on the test set.

Fixed before the study was run: Adam, learning rate 0.003. The numbers of training cases and epochs were set after one
trial run with seed 1000, such that the three digit runs get similar numbers of updates (600, 600 and 400).

Supported where the 95 % intervals show, for the overfit runs on digits and on nodules, that after the minimum the
training loss falls and the test loss rises; and that the underfit run ends with a higher loss than the good fit, on
training and on test digits. The change of the accuracy is reported beside.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from companion import engine, hardware
from companion.datasets import digits
from companion.datasets.batches import Batches
from companion.datasets.phantoms import nodule
from companion.hardware import Hardware
from companion.models.small_cnn import SmallCNN, SmallGAPCNN

CLAIM = "overfitting-curve"
RATE, BATCH = 0.003, 32
FEW, MANY, FEW_EPOCHS, MANY_EPOCHS = 60, 960, 200, 20
NODULES, NODULE_EPOCHS = 60, 50
NAMES = ("training", "development", "test")

Pair = tuple[Tensor, Tensor]
"""Images (N, 1, H, W), float32, and their labels (N,)."""


class Sets(NamedTuple):
    """A training, a development and a test set."""

    training: Pair
    development: Pair
    test: Pair


def digit_sets(seed: int, n: int) -> Sets:
    """n training digits, 400 for development and 397 to test with, on a scale from 0 to 1."""
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(seed))
    whole = digits.load()
    images, labels = whole.images[order] / 255, whole.labels[order]
    parts = (slice(0, n), slice(1000, 1400), slice(1400, 1797))
    return Sets(*((images[part], labels[part]) for part in parts))


def nodule_sets(seed: int, n: int = NODULES) -> Sets:
    """n training planes of nodules and twice 120 others, in units of the standard deviation of the training set."""
    cases = nodule.make(n + 240, torch.Generator().manual_seed(seed), size=(1, 32, 32))
    images = cases.images[:, :, 0]
    images = (images - images[:n].mean()) / images[:n].std()
    return Sets(*zip(images.split([n, 120, 120]), cases.labels.split([n, 120, 120]), strict=True))


def score(model: nn.Module, pair: Pair, machine: Hardware) -> dict[str, float]:
    """Mean loss and accuracy of a network on a set."""
    outputs, labels = engine.predict(model, Batches(*pair, 1000), machine)
    return {"loss": cross_entropy(outputs, labels).item(),
            "accuracy": (outputs.argmax(1) == labels).float().mean().item()}


def follow(model: nn.Module, sets: Sets, epochs: int, generator: torch.Generator,
           machine: Hardware | None = None) -> list[dict[str, float]]:
    """Train, and after each epoch take loss and accuracy on the three sets.

    Returns:
        One record for each epoch, such as ``{"training loss": 0.5, "training accuracy": 0.8, "test loss": 0.9, ...}``.
    """
    machine = machine or Hardware.best()
    machine.prepare(model)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    batches, records = Batches(*sets.training, BATCH, generator), []
    for _ in range(epochs):
        engine.train_epoch(model, batches, cross_entropy, optimiser, machine)
        records.append({f"{name} {what}": value for name, pair in zip(NAMES, sets, strict=True)
                        for what, value in score(model, pair, machine).items()})
    return records


def best(records: list[dict[str, float]]) -> int:
    """Index of the epoch with the lowest development loss."""
    return min(range(len(records)), key=lambda epoch: records[epoch]["development loss"])


def digit_runs(seed: int, machine: Hardware | None = None) -> dict[str, list[dict[str, float]]]:
    """The three runs on digits, by name, each with its records."""
    runs = {"underfit": (SmallGAPCNN, {"widths": (2, 2)}, MANY, MANY_EPOCHS),
            "good fit": (SmallCNN, {"size": 8}, MANY, MANY_EPOCHS), "overfit": (SmallCNN, {"size": 8}, FEW, FEW_EPOCHS)}
    found = {}
    for name, (network, settings, n, epochs) in runs.items():
        generator = hardware.seed(seed)
        found[name] = follow(network(1, 10, **settings), digit_sets(seed, n), epochs, generator, machine)
    return found


def nodule_run(sets: Sets, seed: int, machine: Hardware | None = None) -> list[dict[str, float]]:
    """The run on nodules, its records."""
    generator = hardware.seed(seed)
    return follow(SmallCNN(1, 2, size=32), sets, NODULE_EPOCHS, generator, machine)


def changes(records: list[dict[str, float]]) -> dict[str, float]:
    """Last epoch minus that of the lowest development loss, and the number of that epoch, from 1."""
    named, last = records[best(records)], records[-1]
    return {"epoch of the minimum": best(records) + 1,
            **{f"{what}, change": last[what] - named[what]
               for what in ("training loss", "development loss", "test loss", "test accuracy")}}


def run(seed: int, device: torch.device) -> dict[str, float]:
    """Loss and accuracy at the end of each run, and what changed after the minimum of the overfit ones."""
    machine = Hardware(device)
    runs = digit_runs(seed, machine) | {"nodules": nodule_run(nodule_sets(seed), seed, machine)}
    found = {f"{name}: {what}": value for name, records in runs.items() for what, value in records[-1].items()}
    for name in ("overfit", "nodules"):
        found |= {f"{name}: {what}": value for what, value in changes(runs[name]).items()}
    for what in ("training loss", "test loss"):
        found[f"underfit minus good fit: {what}"] = found[f"underfit: {what}"] - found[f"good fit: {what}"]
    return found
