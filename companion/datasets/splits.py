"""Training, development and test set: split by patient, stratified by label. Book: Part 2, data and labels.

The review calls for three sets that share nothing (Fig. 8). Images of one patient resemble each other, so a patient in
two sets is **leakage**: the score then tells how well the network knows its patients. Sets that leak can not be built
here.

How ``divide`` places patients (after Sechidis et al., ECML PKDD 2011, 145-158): one by one, each by its rarest class;
the rarest classes first, within a class those with most cases of it, and else in random order. A patient goes to the
set that lacks most cases of that class, and where several lack as many, to the one that lacks most cases. If each
patient has one case of one class, the count of each class in each set is less than one case off its share. With
patients of many cases it can be off by about the cases of one patient.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from companion.datasets.cases import Cases


class LeakageError(ValueError):
    """A patient is in two sets."""


class TestSetReused(UserWarning):
    """The test set is looked at a second time, so that what is chosen now is chosen by it."""


class Split:
    """Training, development (validation, tuning) and test set, which share no patient. They can not be replaced.

    ``split`` makes one; for official subsets give the three cases, such as ``Split(*(load(name, s) for s in SUBSETS))``
    of ``companion.datasets.medmnist``.

    Raises:
        LeakageError: where a patient is in two of the sets.
    """

    def __init__(self, train: Cases, development: Cases, test: Cases):
        require_apart(train=train.patients, development=development.patients, test=test.patients)
        self._train, self._development, self._test, self._asked = train, development, test, 0

    def __repr__(self) -> str:
        sizes = {"train": self.train, "development": self.development, "test": self._test}
        return f"Split({', '.join(f'{name} {len(cases)}' for name, cases in sizes.items())})"

    @property
    def train(self) -> Cases:
        """The cases to learn from."""
        return self._train

    @property
    def development(self) -> Cases:
        """The cases to choose by."""
        return self._development

    def test(self) -> Cases:
        """Hand out the test set: once, at the end. Every further time comes with the warning ``TestSetReused``."""
        self._asked += 1
        if self._asked > 1:
            warnings.warn(f"the test set was handed out {self._asked} times: a score on it is honest only if nothing "
                          "is changed after the first look; use the development set to choose", TestSetReused,
                          stacklevel=2)
        return self._test


@dataclass(frozen=True)
class Fold:
    """One round of cross-validation: cases to train on and the cases held out, which share no patient.

    Raises:
        LeakageError: where a patient is in both.
    """

    train: Cases
    held_out: Cases

    def __post_init__(self):
        require_apart(train=self.train.patients, held_out=self.held_out.patients)


def split(cases: Cases, generator: torch.Generator, development: float = 0.15, test: float = 0.15) -> Split:
    """Split cases by patient; ``development`` and ``test`` are shares of the cases, the rest is for training.

    Raises:
        ValueError: as in ``divide``.
    """
    shares = (1 - development - test, development, test)
    return Split(*map(cases.select, divide(cases.labels, cases.patients, shares, generator)))


def k_fold(cases: Cases, k: int, generator: torch.Generator) -> list[Fold]:
    """k rounds of cross-validation: each case is held out in exactly one of them.

    Raises:
        ValueError: as in ``divide``; also where k is below 2.
    """
    if k < 2:
        raise ValueError(f"k is {k}, but cross-validation needs 2 folds or more")
    parts = divide(cases.labels, cases.patients, [1 / k] * k, generator)
    return [Fold(cases.select(torch.cat([*parts[:i], *parts[i + 1:]])), cases.select(held))
            for i, held in enumerate(parts)]


def nested(cases: Cases, outer: int, inner: int, generator: torch.Generator) -> list[tuple[Fold, list[Fold]]]:
    """Nested cross-validation: each outer fold with the inner folds of its training cases.

    Choose hyperparameters on the inner folds, then train on the outer ``train`` and test once on its ``held_out``.

    Raises:
        ValueError: as in ``k_fold``.
    """
    return [(fold, k_fold(fold.train, inner, generator)) for fold in k_fold(cases, outer, generator)]


def divide(labels: Tensor, patients: Tensor, shares: Sequence[float], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Divide N cases into sets by patient, stratified by label; the module's docstring says by what rule.

    Args:
        labels: (N,) int64 from 0 (classes) or (N, K) of 0 and 1 (findings). (N,) floating-point values are allowed,
            but not stratified.
        patients: (N,) integers; cases of one patient stay together.
        shares: of the cases for each set; they add up to 1.

    Returns:
        The numbers of the cases of each set, int64, ascending, on the device of the labels. Each case is in one set.

    Raises:
        ValueError: where there are no cases; where the shares are not positive or do not add up to 1; where lengths
            differ; where a set would lack cases, or a class or finding that occurs, since too few patients have it.
    """
    if not len(labels) and not len(patients):
        raise ValueError("there are no cases to divide: give at least one for each set, and look whether a choice of "
                         "cases before left none")
    if not all(share > 0 for share in shares) or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise ValueError(f"the shares are {[round(share, 6) for share in shares]}, but must be positive and add up "
                         "to 1")
    if len(labels) != len(patients):
        raise ValueError(f"there are {len(labels)} labels, but {len(patients)} patients: give one for each case")
    names, owner = patients.cpu().unique(return_inverse=True)
    columns = _columns(labels.cpu())                                             # (N, classes)
    counts = torch.zeros(len(names), columns.shape[1] + 1, dtype=torch.float64)  # last: the number of cases
    counts.index_add_(0, owner, torch.cat([columns, torch.ones(len(owner), 1, dtype=torch.float64)], 1))
    home = _place(counts, torch.tensor(shares, dtype=torch.float64), generator)
    _require_all(counts, home, shares)
    return tuple((home[owner] == part).nonzero().flatten().to(labels.device) for part in range(len(shares)))


def require_apart(**patients: Tensor) -> None:
    """Check that no patient is in two sets; give the patient numbers of each set (N,) under its name.

    Raises:
        LeakageError: naming the two sets and some of the patients.
    """
    sets = {name: set(numbers.tolist()) for name, numbers in patients.items()}
    for (one, mine), (other, yours) in combinations(sets.items(), 2):
        if both := sorted(mine & yours):
            raise LeakageError(f"{len(both)} patients are in {one} and in {other}, such as {both[:3]}: put all cases "
                               "of a patient in one set, as split and k_fold do")


def _columns(labels: Tensor) -> Tensor:
    """What to stratify by, (N, columns) of 0 and 1."""
    if labels.dim() == 2:
        return labels.double()
    if labels.is_floating_point():
        return torch.zeros(len(labels), 0, dtype=torch.float64)
    return torch.nn.functional.one_hot(labels).double()


def _place(counts: Tensor, shares: Tensor, generator: torch.Generator) -> Tensor:
    """The set of each patient, (patients,), from the cases of each patient by class (patients, classes + 1)."""
    totals = counts.sum(0)
    rarest = torch.where(counts > 0, totals, math.inf).argmin(1)
    lacking, cases = (shares[:, None] * totals).tolist(), counts.tolist()        # lists: faster one by one
    home = torch.empty(len(counts), dtype=torch.int64)
    for patient in _order(counts, totals, rarest, generator):
        need = [row[rarest[patient]] + 1e-6 * row[-1] for row in lacking]        # the second where the first is a draw
        part = need.index(max(need))
        lacking[part] = [a - b for a, b in zip(lacking[part], cases[patient], strict=True)]
        home[patient] = part
    return home


def _order(counts: Tensor, totals: Tensor, rarest: Tensor, generator: torch.Generator) -> list[int]:
    """Patients by how rare their rarest class is, then by their cases of it, then at random."""
    order = torch.randperm(len(counts), generator=generator, device=generator.device).cpu()
    for key in (-counts.gather(1, rarest[:, None])[:, 0], rarest, totals[rarest]):
        order = order[key[order].sort(stable=True).indices]
    return order.tolist()


def _require_all(counts: Tensor, home: Tensor, shares: Sequence[float]) -> None:
    """Each set has cases of every class or finding that occurs, and cases at all."""
    for column in counts.sum(0).nonzero().flatten().tolist():
        have = counts[:, column] > 0
        for part in range(len(shares)):
            if not (have & (home == part)).any():
                what = "patients" if column == counts.shape[1] - 1 else f"patients with class or finding {column}"
                raise ValueError(f"there are {int(have.sum())} {what}: too few for {len(shares)} sets with shares "
                                 f"{[round(share, 3) for share in shares]}, since set {part} gets none. Take more "
                                 "patients, larger shares or fewer folds")
