"""The experiment that the studies of Table 3 share: one remedy against overfitting, all else equal. Book: Part 3.

Question
    Does a remedy reduce overfitting: is the gap, the loss on new images less the loss on the training images, smaller
    than without it, and is the score on new images better?

Data
    ``digits``: real handwritten digits of 8 x 8 pixels, ten classes, 500 for the test, score: accuracy.
    ``nodules``: simulated CT planes through lung nodules, benign or malignant, 16 x 16 pixels of 2 mm (averages of
    2 x 2 pixels), 200 for the test, score: AUC. Each seed draws other images for both sets, the same for every study:
    always 400 for training, of which a run takes the first.

Fixed before any result was looked at
    100 training images; a CNN of two rounds of convolution, ReLU and max pooling, then two fully connected layers, with
    room to learn them by heart (8 and 16 kernels, 32 hidden nodes); SGD with a learning rate of 0.05 and momentum
    0.9; 240 updates with 50 images each, whatever the number of images, and no early stopping. The strengths in
    ``REMEDIES`` are usual ones: dropout 0.5 (Hinton et al., 2012), erasing in half of the images (Zhong et al., 2017),
    cropping in half of them, weight decay 0.01. None was searched for, so a remedy may do better than it does here.

Mended after first results
    Every image was cropped and stretched at first, so that no run with crops ever saw an image at its true size, and
    the loss on unchanged images rose with training. Now half of the images are cropped.

    At first the studies with 100 nodules drew others than the one with 400, so that their numbers disagreed; now all
    share them, and every setting stayed. No claim's outcome changed by it, but one condition did: all four
    augmentations together raised the AUC on nodules by 0.11 (0.05 to 0.16), and now by 0.10 (-0.00 to 0.20), which is
    not beyond chance. The gap on nodules of the network half as wide, which fails its condition before and after, had
    grown by 0.63 (0.20 to 1.05), and now changes by -0.15 (-0.80 to 0.49).

Both losses are taken after the last update, in evaluation mode, on unchanged images. A remedy is compared with the run
without any from the same seed, so with the same images and, where the layers are the same, the same first weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from companion import curves, engine, hardware
from companion.datasets import augment, digits
from companion.datasets.augment import Ranges
from companion.datasets.batches import Batches, Change
from companion.datasets.phantoms import nodule
from companion.hardware import Hardware

TASKS = ("digits", "nodules")
IMAGES, UPDATES, BATCH, RATE, MOMENTUM = 100, 240, 50, 0.05, 0.9
TEST = {"digits": 500, "nodules": 200}
CHANGES = {
    "digits": {"translation": Ranges(shift=1), "rotation": Ranges(rotation=15), "crop": Ranges(crop=(7, 7)),
               "erasing": Ranges(erase=0.5), "flip": Ranges(flip=(-1,))},
    "nodules": {"translation": Ranges(shift=2), "rotation": Ranges(rotation=180), "crop": Ranges(crop=(14, 14)),
                "erasing": Ranges(erase=0.5), "flip": Ranges(flip=(-1, -2))},
}
"""Transformations by task, in pixels and degrees. A mirrored digit is no digit; a nodule has no side."""


class Data(NamedTuple):
    """Training images (M, 1, S, S), from which a run takes the first n, test images, and their labels."""

    train: Tensor
    labels: Tensor
    test: Tensor
    test_labels: Tensor


@dataclass(frozen=True)
class Remedy:
    """The settings of a run. The defaults hold no remedy.

    Args:
        images: number of training images, a multiple of 50.
        changes: augmentations, names in ``CHANGES``, applied together.
        dropout: share of activations set to 0 before the last layer and before the hidden one.
        decay: strength of the weight decay, on all parameters.
        normalised: whether batch normalisation follows each convolution.
        widths: number of kernels of each convolution layer.
        hidden: nodes of the hidden fully connected layer, 0 for none.
    """

    images: int = IMAGES
    changes: tuple[str, ...] = ()
    dropout: float = 0.0
    decay: float = 0.0
    normalised: bool = False
    widths: tuple[int, ...] = (8, 16)
    hidden: int = 32


NONE = "no remedy"
CHOSEN = ("translation", "rotation", "crop", "erasing")
REMEDIES = {
    "more training data": Remedy(images=4 * IMAGES),
    "data augmentation": Remedy(changes=CHOSEN),
    "dropout": Remedy(dropout=0.5),
    "weight decay": Remedy(decay=0.01),
    "batch normalisation": Remedy(normalised=True),
    "smaller network": Remedy(widths=(4, 8), hidden=16),
}
"""Table 3 of the review, with the settings of this book."""

DRAWN = max(remedy.images for remedy in REMEDIES.values())
"""Training images of a seed, from which every study takes the first."""


def data(task: str, seed: int, images: int = IMAGES) -> Data:
    """Images and labels of a seed, on a scale where the first 100 training images have mean 0, standard deviation 1.

    A larger set begins with the smaller one: all are drawn, whatever the number wanted.

    Args:
        task: one of ``TASKS``.
        images: training images to keep, at most ``DRAWN``.

    Raises:
        ValueError: where ``images`` is not in 1 to ``DRAWN``.
    """
    if not 1 <= images <= DRAWN:
        raise ValueError(f"images is {images}, but must lie in 1 to {DRAWN}, the number drawn: change DRAWN for more")
    generator = torch.Generator().manual_seed(seed)
    if task == "digits":
        train, test = digits.split(digits.load(), TEST[task], generator)
        found = Data(train.images[:DRAWN].float(), train.labels[:DRAWN], test.images.float(), test.labels)
    else:
        shown, drawn = (nodule.draw(n, generator) for n in (TEST[task], DRAWN))
        first = drawn.of(torch.arange(max(images, IMAGES)))          # only these take time
        train, test = (nodule.render(findings, size=(1, 32, 32)) for findings in (first, shown))
        planes = (F.avg_pool2d(cases.images[:, :, 0], 2) for cases in (train, test))
        found = Data(next(planes), train.labels, next(planes), test.labels)
    mean, spread = found.train[:IMAGES].mean(), found.train[:IMAGES].std()
    return Data((found.train[:images] - mean) / spread, found.labels[:images], (found.test - mean) / spread,
                found.test_labels)


def network(size: int, classes: int, remedy: Remedy) -> nn.Sequential:
    """Rounds of convolution, batch normalisation where asked, ReLU and max pooling; then the fully connected layers.

    Shape: (N, 1, size, size) to logits (N, classes).
    """
    layers: list[nn.Module] = []
    for cin, cout in pairwise((1, *remedy.widths)):
        layers += [nn.Conv2d(cin, cout, 3, padding=1), *([nn.BatchNorm2d(cout)] if remedy.normalised else []),
                   nn.ReLU(), nn.MaxPool2d(2)]
    drop = [nn.Dropout(remedy.dropout)] if remedy.dropout else []
    flat = remedy.widths[-1] * (size // 2 ** len(remedy.widths)) ** 2
    hidden = [*drop, nn.Linear(flat, remedy.hidden), nn.ReLU()] if remedy.hidden else []
    return nn.Sequential(*layers, nn.Flatten(), *hidden, *drop, nn.Linear(remedy.hidden or flat, classes))


def change(task: str, names: tuple[str, ...]) -> Change:
    """A change of a batch (N, 1, S, S) by the named augmentations together.

    Half of the images are cropped and stretched back to S x S: were it all, no image would keep its true size.
    """
    plain, ranges = vars(Ranges()), Ranges()
    for name in names:
        one = vars(CHANGES[task][name])
        ranges = replace(ranges, **{setting: value for setting, value in one.items() if value != plain[setting]})

    def changed(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        n, size = len(images), images.shape[2:]
        moved = augment.apply(images, augment.draw(n, size, replace(ranges, crop=None), generator))
        if ranges.crop:
            part = augment.apply(moved, augment.draw(n, size, Ranges(crop=ranges.crop), generator))
            chosen = torch.rand(n, 1, 1, 1, generator=generator).to(images.device) < 0.5
            moved = torch.where(chosen, F.interpolate(part, size, mode="bilinear"), moved)
        return moved, labels

    return changed


def train(task: str, sets: Data, remedy: Remedy, seed: int, machine: Hardware) -> nn.Module:
    """A network after ``UPDATES`` updates on the first images of the set, with the remedy."""
    generator = hardware.seed(seed)
    model = network(sets.train.shape[-1], 10 if task == "digits" else 2, remedy)
    optimiser = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, weight_decay=remedy.decay)
    chosen = sets.train[:remedy.images], sets.labels[:remedy.images]
    batches = Batches(*chosen, BATCH, generator, change(task, remedy.changes) if remedy.changes else None)
    engine.fit(model, F.cross_entropy, optimiser, batches, UPDATES // len(batches), hardware=machine)
    return model


def measure(task: str, model: nn.Module, sets: Data, remedy: Remedy, machine: Hardware) -> dict[str, float]:
    """Training loss, test loss, gap, score, and size of the weights (root mean square, biases left out)."""
    pairs = (sets.train[:remedy.images], sets.labels[:remedy.images]), (sets.test, sets.test_labels)
    (seen, truth), (new, test_truth) = (engine.predict(model, Batches(*pair, 500), machine) for pair in pairs)
    known, unknown = F.cross_entropy(seen, truth).item(), F.cross_entropy(new, test_truth).item()
    right = (new.argmax(1) == test_truth).float().mean().item()
    score = right if task == "digits" else curves.auc(new[:, 1] - new[:, 0], test_truth)
    weights = torch.cat([p.detach().flatten() for p in model.parameters() if p.dim() > 1])
    return {"training loss": known, "test loss": unknown, "gap": unknown - known, "score": score,
            "weights": weights.square().mean().sqrt().item()}


def compare(remedies: Mapping[str, Remedy], seed: int, device: torch.device) -> dict[str, float]:
    """All numbers of ``measure`` for each remedy and for none on both tasks; for each remedy also the difference.

    Returns:
        By names such as ``digits, dropout: gap`` and ``digits, dropout: gap, change`` (less that without a remedy).
    """
    machine, found = Hardware(device), {}
    most = max(remedy.images for remedy in (Remedy(), *remedies.values()))
    for task in TASKS:
        sets = data(task, seed, most)
        plain: dict[str, float] = {}
        for name, remedy in {NONE: Remedy(), **remedies}.items():
            numbers = measure(task, train(task, sets, remedy, seed, machine), sets, remedy, machine)
            plain = plain or numbers
            found |= {f"{task}, {name}: {what}": value for what, value in numbers.items()}
            if name != NONE:
                found |= {f"{task}, {name}: {what}, change": value - plain[what] for what, value in numbers.items()}
    return found
