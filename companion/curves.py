"""How well scores rank the ill above the healthy: ROC curve, AUC, its interval, two models compared. Book: Part 2.

A case is called positive where its score is at or above a threshold. The ROC curve shows sensitivity against the share
of false alarms for all thresholds at once; the area under it, the AUC, is the chance that a random ill case has a
higher score than a random healthy one, with half a point for a tie (Hanley and McNeil, Radiology 143, 1982, 29-36).

Throughout, scores (N,) may be logits, probabilities or measurements, as only their order counts; the truth (N,) is 1
or True for the ill and 0 for the healthy. Everything is computed in float64. Each function raises a ValueError where
lengths differ, a score is NaN, the truth holds other values or lacks a class. Intervals without formulas are in
``resampling``.
"""

from math import erfc
from typing import NamedTuple

import torch
from torch import Tensor


class Roc(NamedTuple):
    """Points of a ROC curve from (0, 0) to (1, 1), each (T,); ``thresholds`` fall from infinity to the lowest score.

    ``fpr`` is the false positive rate, 1 - specificity; ``tpr`` the true positive rate, the sensitivity.
    """

    fpr: Tensor
    tpr: Tensor
    thresholds: Tensor


class Point(NamedTuple):
    """An operating point: call positive at ``threshold`` or above."""

    threshold: float
    sensitivity: float
    specificity: float


class DeLong(NamedTuple):
    """AUC of one model (scalar) or K models (K,), and its variance (scalar) or their covariance (K, K)."""

    auc: Tensor
    covariance: Tensor


class Comparison(NamedTuple):
    """Difference of two AUCs, first minus second, its standard error, and the two-sided p value for no difference."""

    difference: float
    error: float
    p: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Lower and upper end of the interval for the difference, by the normal distribution."""
        half = _quantile(level) * self.error
        return self.difference - half, self.difference + half


def roc(scores: Tensor, truth: Tensor) -> Roc:
    """The ROC curve: one point for each different score as threshold, and (0, 0), where nobody is called positive.

    Cases with equal scores become positive together, so a tie of both classes is a slanted piece of the curve.
    """
    scores, ill = _checked(scores, truth)
    values, place = scores.unique(return_inverse=True)                             # ascending
    rates = []
    for group in (~ill, ill):
        at = torch.bincount(place[group], minlength=len(values)).flip(0)           # cases at each score, falling
        rates.append(torch.nn.functional.pad(at.cumsum(0).double() / group.sum(), (1, 0)))
    return Roc(*rates, torch.cat([values.new_tensor([torch.inf]), values.flip(0)]))


def auc(scores: Tensor, truth: Tensor) -> float:
    """Area under the ROC curve: the share of pairs of an ill and a healthy case that are ranked right."""
    return float(_placements(*_checked(scores, truth))[0].mean())


def partial_auc(scores: Tensor, truth: Tensor, highest: float, *, standardised: bool = False) -> float:
    """Area under the ROC curve from a false positive rate of 0 to ``highest``, which lies in (0, 1].

    Divided by ``highest`` it is the mean sensitivity over that range. ``standardised`` moves the area of guessing to
    1/2 and the largest possible one to 1 (McClish, Medical Decision Making 9, 1989, 190-195).
    """
    if not 0 < highest <= 1:
        raise ValueError(f"the highest false positive rate is {highest}, but must lie above 0 and at most at 1")
    curve = roc(scores, truth)
    last = int((curve.fpr <= highest).sum())                                       # points up to there
    x, y = curve.fpr[:last], curve.tpr[:last]
    if last < len(curve.fpr):                                                      # cut the piece that goes beyond
        height = y[-1] + (highest - x[-1]) / (curve.fpr[last] - x[-1]) * (curve.tpr[last] - y[-1])
        x, y = torch.cat([x, x.new_tensor([highest])]), torch.cat([y, height[None]])
    area = float(torch.trapezoid(y, x))
    guess = highest**2 / 2
    return (1 + (area - guess) / (highest - guess)) / 2 if standardised else area


def operating_point(curve: Roc, *, sensitivity: float | None = None, specificity: float | None = None) -> Point:
    """The threshold that reaches a wanted sensitivity at the highest specificity, or the other way round.

    Choose it on development cases: on the cases it was chosen by, it looks better than it is.

    Raises:
        ValueError: where not exactly one of the two is given, or it lies outside 0 to 1.
    """
    if (sensitivity is None) == (specificity is None):
        raise ValueError("give the wanted sensitivity or the wanted specificity, one of the two")
    wanted = specificity if sensitivity is None else sensitivity
    if not 0 <= wanted <= 1:
        raise ValueError(f"the wanted value is {wanted}, but must lie between 0 and 1")
    reached, other = (curve.tpr, 1 - curve.fpr) if specificity is None else (1 - curve.fpr, curve.tpr)
    enough = (reached >= wanted - 1e-12).nonzero()[:, 0]                           # 1e-12 for rounding, as in 9/10
    best = enough[other[enough] == other[enough].max()]
    at = int(best[reached[best].argmax()])
    return Point(float(curve.thresholds[at]), float(curve.tpr[at]), 1 - float(curve.fpr[at]))


def delong(scores: Tensor, truth: Tensor) -> DeLong:
    """AUC and its (co)variance over samples of cases, for scores (N,) of one model or (K, N) of K models on the same.

    Each case has a placement, the share of the other class that it is ranked right against. The AUC is the mean
    placement of the ill; its variance is that of the placements, over the number of the ill, plus the same of the
    healthy (DeLong et al., Biometrics 44, 1988, 837-845).

    Raises:
        ValueError: as all here; also where a class has fewer than 2 cases.
    """
    rows = [_placements(*_checked(row, truth)) for row in scores.reshape(-1, scores.shape[-1])]
    sick, well = (torch.stack(group) for group in zip(*rows, strict=True))         # (K, ill), (K, healthy)
    if min(sick.shape[1], well.shape[1]) < 2:
        raise ValueError(f"there are {sick.shape[1]} ill and {well.shape[1]} healthy cases, but a variance needs 2 of "
                         "each")
    covariance = torch.cov(sick) / sick.shape[1] + torch.cov(well) / well.shape[1]
    shape = scores.shape[:-1]
    return DeLong(sick.mean(1).reshape(shape), covariance.reshape(shape + shape))


def delong_interval(scores: Tensor, truth: Tensor, level: float = 0.95, *, logit: bool = False) -> tuple[float, float]:
    """Lower and upper end of the interval for the AUC of one model, from DeLong's variance, cut off at 0 and 1.

    Args:
        level: of confidence.
        logit: compute it for the logit of the AUC and go back, which never leaves 0 to 1.

    Raises:
        ValueError: as all here; also where every pair is ranked right (or wrong): the variance is then 0, which does
            not mean that we are sure.
    """
    area, variance = (float(v) for v in delong(scores, truth))
    if area in (0, 1):
        raise ValueError(f"the AUC is {area:g}, so that DeLong's variance is 0 and gives no interval: take more cases, "
                         "or harder ones")
    half = _quantile(level) * variance**0.5
    if not logit:
        return max(0.0, area - half), min(1.0, area + half)
    middle, half = torch.logit(torch.tensor(area, dtype=torch.float64)), half / (area * (1 - area))
    return float((middle - half).sigmoid()), float((middle + half).sigmoid())


def delong_test(first: Tensor, second: Tensor, truth: Tensor) -> Comparison:
    """Compare the AUCs of two models on the same cases: DeLong's test, which knows that both see the same cases.

    Raises:
        ValueError: as all here; also where the AUCs differ, but with variance 0.
    """
    areas, covariance = delong(torch.stack([first.double(), second.double()]), truth)
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= 1e-30:                                                          # 0, but for rounding
        if abs(difference) > 1e-12:
            raise ValueError(f"the AUCs differ by {difference:g} with variance 0, which gives no test: take more cases")
        return Comparison(0.0, 0.0, 1.0)
    error = variance**0.5
    return Comparison(difference, error, erfc(abs(difference) / error / 2**0.5))


def _placements(scores: Tensor, ill: Tensor) -> tuple[Tensor, Tensor]:
    """For each ill case the share of the healthy below it, for each healthy one that of the ill above it; ties half."""
    sick, well = scores[ill], scores[~ill]
    below = sum(torch.searchsorted(well.sort().values, sick, right=right) for right in (False, True))
    above = 2 * len(sick) - sum(torch.searchsorted(sick.sort().values, well, right=right) for right in (False, True))
    return below.double() / (2 * len(well)), above.double() / (2 * len(sick))


def _quantile(level: float) -> float:
    """Half-width of the interval of that level, in standard errors: 1.96 for 0.95."""
    if not 0 < level < 1:
        raise ValueError(f"the level is {level}, but must lie between 0 and 1, such as 0.95")
    return float(torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64)))


def _checked(scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Scores as float64 and truth as bool, both (N,)."""
    if scores.dim() != 1 or scores.shape != truth.shape:
        raise ValueError(f"the scores have shape {tuple(scores.shape)} and the truth {tuple(truth.shape)}, but both "
                         "must be (N,), one for each case")
    if scores.isnan().any():
        raise ValueError(f"{int(scores.isnan().sum())} scores are NaN: leave these cases out, or find out why")
    if not ((truth == 0) | (truth == 1)).all():
        raise ValueError("the truth holds values other than 0 and 1: compare it with the class that counts as ill")
    ill = truth.bool()
    if ill.all() or not ill.any():
        raise ValueError(f"of {len(ill)} cases {int(ill.sum())} are ill, but both classes are needed")
    return scores.double(), ill
