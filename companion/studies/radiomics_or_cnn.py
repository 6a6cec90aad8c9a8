"""What the studies of radiomics against a CNN share: task, inputs, classifiers, network, score. Book: Part 1.

Task: lung nodules of the phantom, benign or malignant in equal shares; the classes share all features and differ in
how often (``companion.datasets.phantoms.nodule``), so no method can reach an AUC of 1. Each seed draws its own 2000
training and 500 test cases: 16 slices of 2 mm with 32 x 32 pixels of 1 mm, in HU.

Two sides, each with the image alone or with the image and the true mask of the nodule:

* *Features*: all of ``companion.radiomics`` on the whole volume; shape only where there is a mask, and the region is
  the mask or else the whole crop. Levels of 25 HU from -1024 HU, pairs within slices. Then a random forest or a support
  vector machine, as in the review, or a logistic regression.
* *CNN*: the small CNN of Fig. 1 of the review on three slices through the middle of the crop, one in each direction, as
  three channels (HU / 500 + 1, not cut off); the mask, where given, as three further channels.

Settings, chosen on development cases that no seed of a study draws (streams 2000 to 2003: 2000 training and 500 test
cases, twice), and the same for all numbers of cases. Some ten variants on each side:

* Features: C = 1 of 0.01, 0.1 and 1 for the logistic regression, C = 1 of 1 and 10 for the support vector machine, 3 of
  1, 3 and 10 cases in a leaf of the forest of 300 trees (judged at 50, 200 and 2000 training cases).
* CNN: three planes rather than all 16 slices or the middle 5, flattening rather than global average pooling, mirrored
  copies rather than none, a rate of 0.001 rather than 0.003, 8 and 16 kernels rather than 16 and 32, 400 steps of 100
  to 1200 (judged at 50, 100, 200 and 2000 training cases).
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn

from companion import hardware, radiomics
from companion.datasets.cases import Cases
from companion.datasets.phantoms import nodule
from companion.models.small_cnn import SmallCNN

TRAIN, TEST = 2000, 500
SIZE, SPACING = (16, 32, 32), (2.0, 1.0, 1.0)     # voxels and mm along D, H, W
LOWEST = -1024.0                                  # HU, where level 1 starts
TREES = 300
STEPS, BATCH, RATE = 400, 32, 0.001
MARGIN = 0.02                                     # of AUC: less is taken as no loss
IMAGE, MASK = "image", "image and mask"
INPUTS = (IMAGE, MASK)
CLASSIFIERS = ("random forest", "support vector machine", "logistic regression")
METHODS = (*CLASSIFIERS, "CNN")


class Sets(NamedTuple):
    """Training and test cases of a seed."""

    train: Cases
    test: Cases


def sets(seed: int, train: int = TRAIN, test: int = TEST) -> Sets:
    """The first ``train`` and ``test`` of the cases of a seed; the two come from streams of their own."""
    findings = [nodule.draw(n, torch.Generator().manual_seed(2 * seed + part)) for part, n in enumerate((TRAIN, TEST))]
    return Sets(*(nodule.render(drawn.of(torch.arange(n)), SIZE, SPACING)
                  for drawn, n in zip(findings, (train, test), strict=True)))


def features(cases: Cases, given: str) -> Tensor:
    """Hand-crafted features (N, F) float64 from what is given, one of ``INPUTS``."""
    mask = cases.masks["nodule"] if given == MASK else None
    return radiomics.table(cases, mask, lowest=LOWEST, dimensions=2).values


def planes(volumes: Tensor) -> Tensor:
    """Axial, coronal and sagittal slice through the middle, each 32 x 32 pixels of 1 mm.

    Shape: (N, 16, 32, 32) to (N, 3, 32, 32), for slices twice as thick as pixels are wide.
    """
    depth, height, width = (n // 2 for n in volumes.shape[1:])
    across = (volumes[:, :, height], volumes[:, :, :, width])
    return torch.stack([volumes[:, depth], *(plane.repeat_interleave(2, dim=1) for plane in across)], dim=1)


def pixels(cases: Cases, given: str) -> Tensor:
    """Input of the CNN from what is given: (N, 3, 32, 32), or (N, 6, 32, 32) with the mask (0 or 1) after the image."""
    image = planes(cases.images[:, 0] / 500 + 1)
    return torch.cat([image, planes(cases.masks["nodule"].float())], dim=1) if given == MASK else image


def classifier(name: str, seed: int) -> ClassifierMixin:
    """One of ``CLASSIFIERS``, untrained, with its settings."""
    makers = {"random forest": lambda: RandomForestClassifier(TREES, min_samples_leaf=3, random_state=seed),
              "support vector machine": lambda: make_pipeline(StandardScaler(), SVC(C=1.0)),
              "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=5000))}
    return makers[name]()


def judge(trained: ClassifierMixin, x: Tensor) -> Tensor:
    """Score of each case (N,) for features (N, F): larger is more malignant."""
    if hasattr(trained, "decision_function"):
        return torch.from_numpy(trained.decision_function(x.numpy()))
    return torch.from_numpy(trained.predict_proba(x.numpy())[:, 1])


def train_cnn(x: Tensor, labels: Tensor, seed: int, device: torch.device) -> nn.Module:
    """Train the small CNN on images (N, C, 32, 32) and labels (N,), mirroring each mini-batch at random."""
    generator = hardware.seed(seed)
    network = SmallCNN(x.shape[1], 1, size=x.shape[-1]).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE)
    x, targets = x.to(device), labels.to(device).float()
    for _ in range(STEPS):
        chosen = torch.randint(len(x), (BATCH,), generator=generator).to(device)
        mirrored = [axis for axis, heads in zip((2, 3), torch.rand(2, generator=generator) < 0.5, strict=True) if heads]
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(network(x[chosen].flip(mirrored))[:, 0], targets[chosen]).backward()
        optimiser.step()
    return network


@torch.no_grad()
def look(network: nn.Module, x: Tensor) -> Tensor:
    """Logit of each case (N,) on the CPU for images (N, C, 32, 32)."""
    device = next(network.parameters()).device
    return network(x.to(device))[:, 0].cpu()


def auc(labels: Tensor, scores: Tensor) -> float:
    """Area under the ROC curve: how often a malignant case scores above a benign one; 0.5 is chance."""
    return float(roc_auc_score(labels.numpy(), scores.numpy()))


def aucs(data: Sets, given: str, seed: int, device: torch.device) -> dict[str, float]:
    """Test AUC of each of ``METHODS`` from what is given, one of ``INPUTS``."""
    x, x_test = features(data.train, given), features(data.test, given)
    scores = {name: judge(classifier(name, seed).fit(x.numpy(), data.train.labels.numpy()), x_test)
              for name in CLASSIFIERS}
    network = train_cnn(pixels(data.train, given), data.train.labels, seed, device)
    scores["CNN"] = look(network, pixels(data.test, given))
    return {name: auc(data.test.labels, score) for name, score in scores.items()}


def both(seed: int, device: torch.device) -> dict[str, float]:
    """Test AUC of every method with every input, by names such as ``CNN, image``."""
    data = sets(seed)
    return {f"{name}, {given}": value for given in INPUTS for name, value in aucs(data, given, seed, device).items()}


def margins(found: Mapping[str, float], pairs: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    """Differences of two of the numbers: name to (first, second), as first minus second."""
    return {name: found[first] - found[second] for name, (first, second) in pairs.items()}
