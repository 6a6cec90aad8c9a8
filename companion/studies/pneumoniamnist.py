"""How well does the small CNN of Part 1 do on real chest radiographs? Book: Part 2, the training loop.

PneumoniaMNIST: 5856 radiographs of children, 28 x 28 pixels, normal or pneumonia, with official training, validation
and test subsets (Yang et al., 2023; images of Kermany et al., 2018). It is no claim of the review, but a check on real
data that can be laid beside published numbers: ResNet-18 at 28 x 28 reaches a test AUC of 0.944 and an accuracy of
0.854 there.

Fixed before any result was looked at, nothing searched for: ``SmallCNN`` as it is, Adam with its usual learning rate,
mini-batches of 64, at most 20 epochs, early stopping on the validation subset with a patience of 5, pixel values from 0
to 1, no augmentation. Each seed has other first weights and another order; the test subset is predicted once a seed.

The set is downloaded at the first call, or taken from the file that ``COMPANION_PNEUMONIAMNIST`` names.
"""

import os

import torch
from torch.nn.functional import cross_entropy

from companion import curves, engine, hardware
from companion.datasets import medmnist, splits
from companion.datasets.batches import Batches
from companion.hardware import Hardware
from companion.models.small_cnn import SmallCNN

NAME = "pneumoniamnist"
EPOCHS, BATCH, RATE, PATIENCE = 20, 64, 0.001, 5
PUBLISHED = {"test AUC": 0.944, "test accuracy": 0.854}
"""ResNet-18 at 28 x 28, table 3 of Yang et al. (2023)."""


def run(seed: int, device: torch.device) -> dict[str, float]:
    """Test AUC and accuracy, sensitivity and specificity at a probability of 0.5, epochs trained."""
    place = os.environ.get("COMPANION_PNEUMONIAMNIST", NAME)
    data = splits.Split(*(medmnist.load(place, subset) for subset in medmnist.SUBSETS))
    generator = hardware.seed(seed)
    model = SmallCNN(1, 2, size=28)
    watch = engine.Development(Batches(data.development.images, data.development.labels, 256), patience=PATIENCE)
    history = engine.fit(model, cross_entropy, torch.optim.Adam(model.parameters(), lr=RATE),
                         Batches(data.train.images, data.train.labels, BATCH, generator), EPOCHS, development=watch,
                         hardware=Hardware(device))
    test = data.test()
    outputs, labels = engine.predict(model, Batches(test.images, test.labels, 256), Hardware(device))
    said = outputs.argmax(1)
    right = (said == labels).float()
    return {"test AUC": float(curves.auc(outputs[:, 1] - outputs[:, 0], labels)), "test accuracy": right.mean().item(),
            "sensitivity": right[labels == 1].mean().item(), "specificity": right[labels == 0].mean().item(),
            "epochs": float(len(history))}
