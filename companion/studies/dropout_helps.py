"""Does dropout reduce overfitting? Book: Part 3, remedies; experiment: ``remedies``.

Compared on 100 digits and on 100 nodules: no remedy, and dropout before both fully connected layers with a share of
0.25, 0.5 and 0.75 of the activations set to 0.

Fixed before any result was looked at: at the usual share, 0.5 (Hinton et al., 2012), on each of the two tasks, the gap
is smaller than without, and the score on new images is better. A comparison holds where the 95 % interval of the
difference, paired by seed, lies on the right side of 0. Supported where all four hold.
"""

import torch

from companion.studies.remedies import REMEDIES, Remedy, compare

CLAIM = "dropout-helps"
SHARES = (0.25, 0.5, 0.75)
USUAL = REMEDIES["dropout"].dropout
SETTINGS = {str(share): Remedy(dropout=share) for share in SHARES}


def run(seed: int, device: torch.device) -> dict[str, float]:
    """The numbers of ``remedies.compare``."""
    return compare(SETTINGS, seed, device)
