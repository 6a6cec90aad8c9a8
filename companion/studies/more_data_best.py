"""Is more training data the best remedy against overfitting? Book: Part 3, remedies; experiment: ``remedies``.

Compared on digits and on nodules: four times the images (400 for 100) against every other remedy of Table 3 at 100
images, and against all the others at once. 50 images show the other direction.

Fixed before any result was looked at, for each of the two tasks:

* with four times the images the gap is smaller than with 100 and no remedy;
* the gap is smaller than with any other single remedy, and the score better than with any of them.

A comparison holds where the 95 % interval of the difference, paired by seed, lies on the right side of 0. Supported
where all hold. All remedies at once stand beside it without a condition: the review compares single solutions.
"""

from dataclasses import replace

import torch

from companion.studies.remedies import IMAGES, NONE, REMEDIES, TASKS, Remedy, compare

CLAIM = "more-data-best"
MORE, FEWER, TOGETHER = "more training data", "half the training data", "all others together"
OTHERS = tuple(name for name in REMEDIES if name != MORE)


def everything() -> Remedy:
    """The settings of all remedies but more data, in one run."""
    together = Remedy()
    for name in OTHERS:
        plain, one = vars(Remedy()), vars(REMEDIES[name])
        together = replace(together, **{setting: value for setting, value in one.items() if value != plain[setting]})
    return together


def run(seed: int, device: torch.device) -> dict[str, float]:
    """The numbers of ``remedies.compare``, and gap and score of more data less those of each other remedy."""
    found = compare({FEWER: Remedy(images=IMAGES // 2), **REMEDIES, TOGETHER: everything()}, seed, device)
    for task in TASKS:
        for other in (NONE, *OTHERS, TOGETHER):
            for what in ("gap", "score"):
                found[f"{task}, {MORE} less {other}: {what}"] = (found[f"{task}, {MORE}: {what}"]
                                                                 - found[f"{task}, {other}: {what}"])
    return found
