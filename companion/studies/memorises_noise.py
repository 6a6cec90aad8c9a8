"""Does a network memorise noise, and does it do worse on new cases for it? Book: Part 3, overfitting recognised.

The small CNN of Part 1, with 64 hidden units, learns 200 handwritten digits (8 x 8) whose labels are

* *random*: each drawn anew from 0 to 9, so that there is nothing to learn but the cases themselves;
* *noisy*: 3 in 10 replaced by another digit, drawn at random;
* *correct*.

The labels of 400 development and 397 test digits are correct. Fixed before the study was run: data, optimiser and
mini-batches as in ``overfitting_curve``, and 130 epochs, which sufficed in a trial run with seed 1000.

Run over 20 seeds: with the first 5, the interval of the test accuracy under random labels was too wide to tell, as
digits of one kind look alike and are often given the same answer. Nothing else was changed.

Supported where (95 % intervals)

* random labels are learnt: training accuracy above 0.99;
* and are of no use: test accuracy less than 0.03 away from chance, which is 0.1;
* memorising costs: with noisy labels the test accuracy after the last epoch is lower than after the epoch with the
  lowest development loss, while the training accuracy, counted against the noisy labels, is higher.
"""

import torch
from torch import Tensor

from companion import hardware
from companion.hardware import Hardware
from companion.models.small_cnn import SmallCNN
from companion.studies import overfitting_curve
from companion.studies.overfitting_curve import Sets

CLAIM = "memorises-noise"
CASES, EPOCHS, SHARE = 200, 130, 0.3
LABELS = {"random": 1.0, "noisy": SHARE, "correct": 0.0}


def spoilt(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Labels (N,) in 0 to 9 with a share of them replaced, to the nearest case, by another digit; 1 draws all anew."""
    if share == 1:
        return torch.randint(10, labels.shape, generator=generator)
    wrong = torch.randperm(len(labels), generator=generator)[:round(share * len(labels))]
    changed = labels.clone()
    changed[wrong] = (labels[wrong] + torch.randint(1, 10, wrong.shape, generator=generator)) % 10
    return changed


def learn(seed: int, share: float, machine: Hardware | None = None) -> list[dict[str, float]]:
    """Train on labels spoilt by the share; the records of ``overfitting_curve.follow``."""
    sets, generator = overfitting_curve.digit_sets(seed, CASES), hardware.seed(seed)
    images, labels = sets.training
    sets = Sets((images, spoilt(labels, share, generator)), sets.development, sets.test)
    model = SmallCNN(1, 10, size=8, hidden=64)
    return overfitting_curve.follow(model, sets, EPOCHS, generator, machine)


def run(seed: int, device: torch.device) -> dict[str, float]:
    """Training and test accuracy at the end, and at the lowest development loss, for each kind of labels."""
    found = {}
    for name, share in LABELS.items():
        records = learn(seed, share, Hardware(device))
        named, last = records[overfitting_curve.best(records)], records[-1]
        for what in ("training accuracy", "test accuracy"):
            found[f"{name}: {what}, at the end"] = last[what]
            found[f"{name}: {what}, at the minimum"] = named[what]
            found[f"{name}: {what}, change"] = last[what] - named[what]
    return found
