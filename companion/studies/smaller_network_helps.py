"""Does a less complex architecture overfit less? Book: Part 3, remedies; experiment: ``remedies``.

Compared on 100 digits and on 100 nodules: the network with 8 and 16 kernels and 32 hidden nodes; all three numbers
halved, quartered and doubled (width); and the network without its hidden layer (depth).

Fixed before any result was looked at: with all three numbers halved, on each of the two tasks, the gap is smaller and
the score on new images is better. A comparison holds where the 95 % interval of the difference, paired by seed, lies
on the right side of 0. Supported where all four hold. The other architectures are reported only.
"""

import torch

from companion.studies.remedies import REMEDIES, Remedy, compare

CLAIM = "smaller-network-helps"
USUAL = "half as wide"
SETTINGS = {"a quarter as wide": Remedy(widths=(2, 4), hidden=8), USUAL: REMEDIES["smaller network"],
            "twice as wide": Remedy(widths=(16, 32), hidden=64), "no hidden layer": Remedy(hidden=0)}


def run(seed: int, device: torch.device) -> dict[str, float]:
    """The numbers of ``remedies.compare``."""
    return compare(SETTINGS, seed, device)
