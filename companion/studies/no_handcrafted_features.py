"""Does a CNN do without hand-crafted features? Book: Part 1, radiomics or CNN.

A small CNN on raw voxels stands against a random forest and a support vector machine, the two classifiers that the
review names, on hand-crafted features, at 2000 training cases. Task, inputs and settings: ``radiomics_or_cnn``.

Conditions, fixed after the settings and before any test case of a study was looked at. The CNN is given the image alone
and loses at most 0.02 of the test AUC (the 95 % interval of the difference lies above -0.02)

* to either classifier on features of the same input, the image alone;
* to either classifier on features as radiomics computes them, within the mask of the lesion. Here the other side is
  given more, and the difference is not due to the features alone.

Supported where all four hold. The logistic regression is recorded beside them, as is the CNN with the mask.
"""

import torch

from companion.studies.radiomics_or_cnn import CLASSIFIERS, IMAGE, INPUTS, both, margins

CLAIM = "no-handcrafted-features"
PAIRS = {f"CNN without mask minus {name}, {given}": (f"CNN, {IMAGE}", f"{name}, {given}")
         for given in INPUTS for name in CLASSIFIERS}


def run(seed: int, device: torch.device) -> dict[str, float]:
    """Test AUCs as in ``both``, and the differences named in ``PAIRS``."""
    found = both(seed, device)
    return found | margins(found, PAIRS)
