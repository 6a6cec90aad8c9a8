"""Does dropout reduce overfitting? Book: Part 3, remedies; experiment: ``remedies``.

Compared on 100 digits and on 100 nodules: no remedy, and dropout before both fully connected layers with a share of
0.25, 0.5 and 0.75 of the activations set to 0. The review says why it should help: the network becomes less sensitive
to specific weights. That is measured too: one of the 32 hidden nodes of the digits network is silenced after training,
each in turn, and the test images whose answer changes are counted.

Fixed before any result was looked at: at the usual share, 0.5 (Hinton et al., 2012), on each of the two tasks, the gap
is smaller than without, and the score on new images is better; and fewer answers change where a node is silenced. A
comparison holds where the 95 % interval of the difference, paired by seed, lies on the right side of 0. Supported where
all five hold.
"""

import torch
from torch import Tensor, nn

from companion.hardware import Hardware
from companion.studies.remedies import NONE, REMEDIES, Remedy, compare, data, train

CLAIM = "dropout-helps"
SHARES = (0.25, 0.5, 0.75)
USUAL = REMEDIES["dropout"].dropout
SETTINGS = {str(share): Remedy(dropout=share) for share in SHARES}


@torch.no_grad()
def changed_answers(model: nn.Sequential, images: Tensor) -> float:
    """Share of the images (N, 1, S, S) whose class changes where a hidden node is silenced, mean over the nodes.

    Args:
        model: from ``remedies.network``, with a hidden layer.
    """
    model.eval()
    hidden = model[:-1](images)                                              # (N, nodes)
    whole = model[-1](hidden).argmax(1)
    without = hidden * (1 - torch.eye(hidden.shape[1], device=images.device))[:, None]   # (nodes, N, nodes)
    return (model[-1](without).argmax(2) != whole).float().mean().item()


def run(seed: int, device: torch.device) -> dict[str, float]:
    """The numbers of ``remedies.compare``, and ``digits, ...: changed answers`` with the change by dropout."""
    found, sets, machine = compare(SETTINGS, seed, device), data("digits", seed), Hardware(device)
    images = machine.move(sets.test)
    plain, dropped = (changed_answers(train("digits", sets, remedy, seed, machine), images)
                      for remedy in (Remedy(), SETTINGS[str(USUAL)]))
    return {**found, f"digits, {NONE}: changed answers": plain, f"digits, {USUAL}: changed answers": dropped,
            f"digits, {USUAL}: changed answers, change": dropped - plain}
