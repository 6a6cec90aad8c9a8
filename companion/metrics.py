"""How good decisions are: four counts, their ratios, intervals, another prevalence. Book: Part 2.

Everything about decisions follows from four counts. ``counts`` takes them once; each ratio is then one line, for one
set of cases, for each of many images, or for each of many classes. A ratio over no case at all, such as the sensitivity
where nobody is ill, is NaN and not 0 or 1: whoever averages has to say what to do with it (``torch.nanmean``).

Scores before the decision are judged in ``curves``, probabilities in ``calibration``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

Number = float | Tensor


class Counts(NamedTuple):
    """True positives, false positives, false negatives and true negatives, each an int64 tensor of the same shape."""

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor


def counts(decisions: Tensor, truth: Tensor, each: int = 0) -> Counts:
    """Count right and wrong decisions.

    For several classes give one-hot decisions and truth of shape (classes, N) and ``each=1``.

    Args:
        decisions, truth: of the same shape, Boolean or 0 and 1.
        each: number of leading axes that keep counts of their own: 0 for one count over everything, 1 for one count
            for each image of (N, \\*spatial).

    Raises:
        ValueError: where the shapes differ, a value is neither 0 nor 1, or there are fewer axes than ``each``.
    """
    if decisions.shape != truth.shape:
        raise ValueError(f"the decisions have shape {tuple(decisions.shape)} and the truth {tuple(truth.shape)}, but "
                         "must have the same")
    if not 0 <= each <= decisions.dim():
        raise ValueError(f"each is {each}, but the decisions have {decisions.dim()} axes")
    yes, ill = (_boolean(t, name).flatten(each) if t.dim() > each else _boolean(t, name)[..., None]
                for t, name in ((decisions, "decisions"), (truth, "truth")))
    return Counts(*((a & b).sum(-1) for a, b in ((yes, ill), (yes, ~ill), (~yes, ill), (~yes, ~ill))))


def sensitivity(c: Counts) -> Tensor:
    """Share of the ill who are found (recall, true positive rate): tp / (tp + fn)."""
    return c.tp / (c.tp + c.fn)


def specificity(c: Counts) -> Tensor:
    """Share of the healthy who are left in peace (true negative rate): tn / (tn + fp)."""
    return c.tn / (c.tn + c.fp)


def ppv(c: Counts) -> Tensor:
    """Positive predictive value (precision), the share of the positive decisions that are right: tp / (tp + fp)."""
    return c.tp / (c.tp + c.fp)


def npv(c: Counts) -> Tensor:
    """Negative predictive value, the share of the negative decisions that are right: tn / (tn + fn)."""
    return c.tn / (c.tn + c.fn)


def accuracy(c: Counts) -> Tensor:
    """Share of all decisions that are right: (tp + tn) / all."""
    return (c.tp + c.tn) / sum(c)


def balanced_accuracy(c: Counts) -> Tensor:
    """Mean of sensitivity and specificity: 1/2 for guessing, whatever the prevalence."""
    return (sensitivity(c) + specificity(c)) / 2


def prevalence(c: Counts) -> Tensor:
    """Share of the ill among all: (tp + fn) / all."""
    return (c.tp + c.fn) / sum(c)


def dice(c: Counts) -> Tensor:
    """Dice coefficient (F1 score), overlap over the mean size of both masks: 2 tp / (2 tp + fp + fn)."""
    return 2 * c.tp / (2 * c.tp + c.fp + c.fn)


def iou(c: Counts) -> Tensor:
    """Intersection over union (Jaccard index): tp / (tp + fp + fn)."""
    return c.tp / (c.tp + c.fp + c.fn)


def wilson(hits: Number, trials: Number, level: float = 0.95) -> tuple[Tensor, Tensor]:
    """Lower and upper end of Wilson's interval for a proportion (JASA 22, 1927, 209-212).

    It holds all true proportions p from which ``hits / trials`` lies less than z standard errors away, where the
    standard error is that of p. For a sensitivity give ``wilson(c.tp, c.tp + c.fn)``.

    Args:
        hits, trials: whole numbers, single or tensors of one shape.
        level: of confidence, between 0 and 1.

    Raises:
        ValueError: where there is no trial, hits lie outside 0 to trials, or the level outside 0 to 1.
    """
    k, n = torch.as_tensor(hits).double(), torch.as_tensor(trials).double()
    if not ((n > 0) & (k >= 0) & (k <= n)).all():
        raise ValueError(f"{hits} hits in {trials} trials: take at least 1 trial, and no more hits than trials")
    if not 0 < level < 1:
        raise ValueError(f"the level is {level}, but must lie between 0 and 1, such as 0.95")
    z = torch.special.ndtri(k.new_tensor((1 + level) / 2))
    middle = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * (k * (n - k) / n + z**2 / 4).sqrt()
    return torch.where(k == 0, 0, middle - half), torch.where(k == n, 1, middle + half)   # exact there; else rounded


def predictive_values(sensitivity: Number, specificity: Number, prevalence: Number) -> tuple[Tensor, Tensor]:
    """Positive and negative predictive value of a test where the disease has another prevalence, by Bayes' theorem.

    Sensitivity and specificity are taken to be the same there. NaN where no decision of that kind is ever made.

    Raises:
        ValueError: where a value lies outside 0 to 1.
    """
    values = {"sensitivity": sensitivity, "specificity": specificity, "prevalence": prevalence}
    for name, value in values.items():
        values[name] = torch.as_tensor(value, dtype=torch.float64)
        if not ((values[name] >= 0) & (values[name] <= 1)).all():
            raise ValueError(f"the {name} is {value}, but must lie between 0 and 1")
    se, sp, ill = values.values()
    return se * ill / (se * ill + (1 - sp) * (1 - ill)), sp * (1 - ill) / (sp * (1 - ill) + (1 - se) * ill)


def _boolean(values: Tensor, name: str) -> Tensor:
    other = values[(values != 0) & (values != 1)]
    if len(other):
        raise ValueError(f"the {name} hold values other than 0 and 1, such as {other[0]:g}: compare scores with a "
                         "threshold first")
    return values.bool()
