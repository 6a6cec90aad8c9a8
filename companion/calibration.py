"""How far probabilities can be believed: of the cases given 0.2, do 20 % have the disease? Book: Part 2.

A network can rank the cases well (``curves``) and still give wrong probabilities. ``reliability`` shows it,
``expected_calibration_error`` and ``brier`` sum it up, ``calibration_line`` and ``temperature`` measure and mend it.
All compute in float64, on the device of their inputs; N cases have a truth of 0 (healthy) or 1 (ill).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Reliability(NamedTuple):
    """A reliability table: for each bin the mean probability, the observed share of the ill, and the cases.

    ``predicted`` and ``observed`` (bins,) are NaN in an empty bin; ``cases`` (bins,) is int64.
    """

    predicted: Tensor
    observed: Tensor
    cases: Tensor


def reliability(probabilities: Tensor, truth: Tensor, bins: int | Tensor = 10) -> Reliability:
    """Sort the cases by their probability into bins and compare it with the share of the ill in each.

    Args:
        probabilities, truth: (N,).
        bins: their number, of equal width from 0 to 1; or their inner edges, ascending, such as quantiles of the
            probabilities for bins of equal counts. A probability on an edge belongs to the bin below.

    Raises:
        ValueError: where a probability lies outside 0 to 1, the truth is not 0 or 1, shapes differ, there is no case,
            or no bin.
    """
    p, ill = _probabilities(probabilities, truth)
    if not isinstance(bins, Tensor):
        if bins < 1:
            raise ValueError(f"there are {bins} bins, but must be at least 1")
        bins = torch.arange(1, bins, dtype=p.dtype, device=p.device) / bins
    place = torch.bucketize(p, bins.to(p))
    cases, predicted, observed = (torch.bincount(place, weights, len(bins) + 1) for weights in (None, p, ill))
    return Reliability(predicted / cases, observed / cases, cases)


def expected_calibration_error(probabilities: Tensor, truth: Tensor, bins: int | Tensor = 10) -> Tensor:
    """Mean distance of probability and observed share over the bins, each weighted by its cases.

    Above 0 by chance alone where bins are small. For several classes (Guo et al., ICML 2017) give the probability of
    the chosen class as ``probabilities``, and whether the choice was right as ``truth``. Arguments and errors are those
    of ``reliability``.
    """
    table = reliability(probabilities, truth, bins)
    return ((table.predicted - table.observed).abs() * table.cases).nansum() / table.cases.sum()


def brier(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Brier score, the mean squared distance of probability and truth (N,): 0 is perfect, always saying 1/2 gives 1/4.

    Raises:
        ValueError: where a probability lies outside 0 to 1, the truth is not 0 or 1, shapes differ, there is no case.
    """
    p, ill = _probabilities(probabilities, truth)
    return (p - ill).square().mean()


class Line(NamedTuple):
    """Logit of the recalibrated probability as a line over the given logit: ``slope * logit + intercept``."""

    slope: Tensor
    intercept: Tensor

    def __call__(self, logits: Tensor) -> Tensor:
        """Recalibrated logits; apply a sigmoid for probabilities."""
        return self.slope * logits + self.intercept


def calibration_line(logits: Tensor, truth: Tensor, *, slope: float | None = None,
                     intercept: float | None = None) -> Line:
    """Calibration slope and intercept: the line over the logit under which the truth is most likely (Cox, 1958).

    On the cases to judge they tell how well calibrated a network is: slope 1 and intercept 0 are perfect, a slope below
    1 means too extreme. On development cases they mend it (Platt scaling). With ``intercept=0`` only the slope is
    found, the reciprocal of a temperature; with ``slope=1`` only the intercept ("calibration in the large").

    Args:
        logits, truth: (N,).
        slope, intercept: a value to hold fixed; None to find it.

    Raises:
        ValueError: where the truth lacks a class, a logit is not finite, shapes differ, or a line separates the classes
            without error, so that the best slope is infinite.
    """
    z, ill = _logits(logits, truth)
    if slope is None:
        _require_overlap(z, ill, intercept is not None)
    columns = torch.stack([z, torch.ones_like(z)])
    free = torch.tensor([slope is None, intercept is None], device=z.device)
    found = z.new_tensor([slope or 0.0, intercept or 0.0])
    return Line(*(_newton(columns, ill, found, free) if free.any() else found))


def temperature(logits: Tensor, labels: Tensor) -> float:
    """The number T by which to divide logits (N, K) so that softmax has the lowest cross entropy (Guo et al., 2017).

    Args:
        logits: (N, K), K classes; of development cases.
        labels: class numbers (N,).

    Raises:
        ValueError: for logits that are not finite or of another shape, labels out of range, or where the best T is 0
            (all cases right) or infinite (no better than guessing).
    """
    if logits.dim() != 2 or labels.shape != logits.shape[:1] or not len(labels) or not logits.isfinite().all():
        raise ValueError(f"the logits have shape {tuple(logits.shape)} and the labels {tuple(labels.shape)}, but must "
                         "be finite of shape (N, K) and class numbers (N,)")
    if not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(f"the labels run from {labels.min()} to {labels.max()}, but must lie in 0 to "
                         f"{logits.shape[1] - 1}")
    z = logits.double()
    z = z - z.gather(1, labels[:, None])                             # against the true class

    def change(log_t: float) -> float:                               # of the loss with T: from below 0 to above
        return -float(((z * 2.0**-log_t).softmax(1) * z).sum())

    low, high = -20.0, 20.0
    if change(low) >= 0 or change(high) <= 0:
        raise ValueError("no temperature is best: the cases are all right or the logits no better than guessing; take "
                         "more development cases, or train the network first")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if change(middle) > 0 else (middle, high)
    return 2.0**low


def _newton(columns: Tensor, ill: Tensor, found: Tensor, free: Tensor) -> Tensor:
    """Maximise the likelihood of ``ill`` (N,) under logits ``found @ columns`` over the free ones of ``found`` (2,)."""
    def loss(values: Tensor) -> Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(values @ columns, ill, reduction="sum")

    x = columns[free]
    for _ in range(100):
        p = (found @ columns).sigmoid()
        curvature = (x * (p * (1 - p)).clamp_min(1e-200)) @ x.T
        step = torch.zeros_like(found)
        step[free] = torch.linalg.solve(curvature, x @ (ill - p))
        while loss(found + step) > loss(found):                      # far from the maximum a full step may overshoot
            step = step / 2
        found = found + step
        if (step @ columns).abs().max() < 1e-10:
            break
    return found


def _cases(values: Tensor, truth: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Values and truth (N,), both as float64."""
    if values.dim() != 1 or values.shape != truth.shape or not len(values):
        raise ValueError(f"the {name} have shape {tuple(values.shape)} and the truth {tuple(truth.shape)}, but both "
                         "must be (N,), one number for each of N cases")
    if not ((truth == 0) | (truth == 1)).all():
        raise ValueError("the truth holds values other than 0 and 1: compare it with the class that counts as ill")
    return values.double(), truth.double()


def _probabilities(probabilities: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    p, ill = _cases(probabilities, truth, "probabilities")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"the probabilities run from {p.min():g} to {p.max():g}, but must lie between 0 and 1: apply "
                         "a sigmoid to logits first")
    return p, ill


def _logits(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    z, ill = _cases(logits, truth, "logits")
    if not torch.isfinite(z).all():
        raise ValueError("a logit is NaN or infinite: clamp probabilities of 0 and 1 before taking their logit")
    if ill.min() == ill.max():
        raise ValueError(f"all {len(ill)} cases are of class {int(ill[0])}, but calibration needs both")
    return z, ill


def _require_overlap(z: Tensor, ill: Tensor, at_zero: bool) -> None:
    """No threshold, or with a fixed intercept not that at 0, has all the ill on one side and all the healthy beyond."""
    sick, well = z[ill == 1], z[ill == 0]
    up, down = z.new_zeros(2) if at_zero else (well.max(), well.min())
    if sick.min() >= up >= well.max() or sick.max() <= down <= well.min():
        raise ValueError("a threshold separates the two classes without error, so that no finite slope is best: take "
                         "more cases")
