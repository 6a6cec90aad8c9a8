"""Does a CNN do without a segmentation, where hand-crafted features need one? Book: Part 1, radiomics or CNN.

Both sides work with and without the mask of the nodule, at 2000 training cases. It is the phantom's true mask, better
than any expert's. Task, inputs and settings: ``radiomics_or_cnn``.

Conditions, fixed after the settings and before any test case of a study was looked at:

* the CNN gains less than 0.02 of the test AUC by the mask (the 95 % interval of the gain lies below 0.02);
* a random forest and a support vector machine on hand-crafted features gain by the mask (the interval lies above 0);
* without the mask the CNN has a higher AUC than either (the interval of the difference lies above 0).

Supported where all five hold. The first is what the claim says; the others say what sets the CNN apart.
"""

import torch

from companion.studies.radiomics_or_cnn import CLASSIFIERS, IMAGE, MASK, METHODS, both, margins

CLAIM = "no-segmentation-needed"
PAIRS = {**{f"gain by the mask, {name}": (f"{name}, {MASK}", f"{name}, {IMAGE}") for name in METHODS},
         **{f"without mask, CNN minus {name}": (f"CNN, {IMAGE}", f"{name}, {IMAGE}") for name in CLASSIFIERS}}


def run(seed: int, device: torch.device) -> dict[str, float]:
    """Test AUCs as in ``both``, and the differences named in ``PAIRS``."""
    found = both(seed, device)
    return found | margins(found, PAIRS)
