"""Do poor labels make a poor model? Book: Part 2, data and splits.

A small CNN learns from simulated chest radiographs to tell tuberculosis from normal. Before training, a share of the
400 training labels is made wrong in one of three ways; the films stay the same. Each network is then tested on 500
other films with right labels.

* *At random*: labels of any film are turned round.
* *Overlooked, at random*: films with disease are labelled normal, whichever it happens to be.
* *Overlooked, smallest*: a reader labels those films normal whose disease covers the least area.

A share of 0.2 of all labels is two films in five of those with disease, since half of the films show disease.

Fixed before any seed was run: films of 32 x 32 pixels, the small CNN of Part 1, Adam with a learning rate of 0.003,
mini-batches of 32, and the conditions below. A first run of five seeds, with one mean and one spread for all pixels and
15 epochs, was discarded, since with right labels some networks had not learnt at all (AUC 0.73 to 0.99, 95 % interval);
in it the errors at random met both conditions, the reader neither. Therefore each pixel is now scaled by its own mean
and spread over the training films, with 10 epochs. This was settled on other films with right labels, where four runs
of four reached an AUC near 0.95.

Supported where the 95 % intervals of the paired differences of the test AUC (wrong labels minus right labels, same
films and same first weights) lie below 0, for labels wrong at random and for the reader who overlooks the smallest, at
0.2 and at 0.4: four conditions.

Beside the AUC of all test films stand those of the small and of the extensive disease against normal, where small means
below the area of the smallest two fifths; sensitivity for both and specificity where the network decides for the larger
output; and the AUC that the project itself would report if the same reader labelled its test films.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from companion import curves, engine, hardware
from companion.datasets.batches import Batches
from companion.datasets.cases import Cases
from companion.datasets.phantoms import chest
from companion.hardware import Hardware
from companion.models.small_cnn import SmallCNN

CLAIM = "garbage-in"
TRAIN, TEST, SIZE = 400, 500, 32
EPOCHS, BATCH, RATE = 10, 32, 0.003
FLOOR = 0.02    # of brightness, added to the spread of each pixel, since some never change
SHARES = (0.1, 0.2, 0.4)
ERRORS = ("at random", "overlooked, at random", "overlooked, smallest")
SMALL = 0.2     # share of all labels, so the smallest two fifths of the films with disease


def sets(seed: int) -> tuple[Cases, Cases, torch.Generator]:
    """Training and test films, one from each patient, and the generator for what follows."""
    generator = hardware.seed(seed)
    films = chest.make(TRAIN + TEST, generator, size=SIZE)
    numbers = torch.arange(TRAIN + TEST)
    return films.select(numbers[:TRAIN]), films.select(numbers[TRAIN:]), generator


def areas(films: Cases) -> Tensor:
    """Area that the disease covers on each film in cm2, (N,); 0 where there is none."""
    pixel = films.spacing[0] * films.spacing[1] / 100
    return films.masks["lesion"].flatten(1).sum(1) * pixel


def corrupt(films: Cases, share: float, error: str, generator: torch.Generator) -> Tensor:
    """The labels (N,), of which a share is wrong.

    Args:
        share: of all labels, 0 to 1; with an error that overlooks disease, at most the share of films with disease.
        error: one of ``ERRORS``.

    Raises:
        ValueError: for another error, or where there are fewer films with disease than should be overlooked.
    """
    if error not in ERRORS:
        raise ValueError(f"there is no error {error!r}, but: {', '.join(ERRORS)}")
    wrong, ill = round(share * len(films)), films.labels.nonzero()[:, 0]
    if error != ERRORS[0] and wrong > len(ill):
        raise ValueError(f"{wrong} labels should overlook disease, but only {len(ill)} films show any: take a smaller "
                         "share")
    among = torch.arange(len(films)) if error == ERRORS[0] else ill
    order = areas(films)[ill].argsort(stable=True) if error == ERRORS[2] else torch.randperm(len(among),
                                                                                             generator=generator)
    labels, chosen = films.labels.clone(), among[order[:wrong]]
    labels[chosen] = 1 - labels[chosen]
    return labels


def scores(train: Cases, labels: Tensor, test: Cases, seed: int, device: torch.device) -> Tensor:
    """Score of each test film (N,), higher for disease, from a network that learnt the training films with ``labels``.

    The same seed gives the same first weights and order of the films.
    """
    machine, generator = Hardware(device), hardware.seed(seed)
    mean, spread = train.images.mean(0), train.images.std(0) + FLOOR
    network = SmallCNN(1, 2, size=SIZE)
    engine.fit(network, cross_entropy, torch.optim.Adam(network.parameters(), lr=RATE),
               Batches((train.images - mean) / spread, labels, BATCH, generator), EPOCHS, hardware=machine)
    outputs, _ = engine.predict(network, Batches((test.images - mean) / spread, test.labels, TEST), machine)
    return outputs[:, 1] - outputs[:, 0]


def judge(found: Tensor, test: Cases, limit: float) -> dict[str, float]:
    """How good scores (N,) are on the test films, where disease below ``limit`` cm2 is small, and other is extensive.

    Returns:
        ``AUC, all``; ``AUC`` and ``sensitivity`` of ``small`` and of ``extensive``; ``specificity``.
    """
    ill, small = test.labels == 1, areas(test) < limit
    values = {"AUC, all": curves.auc(found, test.labels), "specificity": (found[~ill] <= 0).float().mean().item()}
    for name, part in {"small": small, "extensive": ~small}.items():
        among = ~ill | part
        values[f"AUC, {name}"] = curves.auc(found[among], test.labels[among])
        values[f"sensitivity, {name}"] = (found[ill & part] > 0).float().mean().item()
    return values


def limit(train: Cases, share: float) -> float:
    """Area in cm2 below which a reader overlooks disease who is wrong on a share of all labels."""
    sizes = areas(train)[train.labels == 1].sort().values
    return sizes[min(round(share * len(train)), len(sizes) - 1)].item()


def run(seed: int, device: torch.device) -> dict[str, float]:
    """Test scores by names such as ``at random, 0.2, AUC, small``, and their changes against right labels."""
    train, test, generator = sets(seed)
    found = {}
    for error, share in [(ERRORS[0], 0.0), *((error, share) for error in ERRORS for share in SHARES)]:
        name = f"{error}, {share:g}" if share else "right labels"
        score = scores(train, corrupt(train, share, error, generator), test, seed, device)
        for what, value in judge(score, test, limit(train, SMALL)).items():
            found[f"{name}, {what}"] = value
            if share:
                found[f"{name}, {what}, change"] = value - found[f"right labels, {what}"]
        if error == ERRORS[2]:
            told = test.labels * (areas(test) >= limit(train, share))
            found[f"{name}, AUC, as the reader would label"] = curves.auc(score, told)
    return found
