"""How far a number would move on other patients, found by drawing the patients again: the bootstrap. Book: Part 2.

Works for any number that is computed from cases: an AUC, the difference of two, a Dice coefficient, a sensitivity.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def bootstrap(statistic: Callable[[Tensor], Tensor | float], strata: Tensor, generator: torch.Generator, *,
              patients: Tensor | None = None, replicates: int = 1000) -> Tensor:
    """A statistic on samples that are drawn from the cases with replacement (Efron, Annals of Statistics 7, 1979).

    The patients of each stratum, such as the ill and the healthy, are drawn in their own number. A patient who is drawn
    brings all cases along, so that cases of one patient do not pass for independent ones.

    Args:
        statistic: of case numbers (M,), such as ``lambda i: auc(scores[i], truth[i])``.
        strata: (N,) integers or Booleans, such as the truth; a patient belongs to the highest of his or her cases.
        generator: on the CPU.
        patients: (N,) number of each case's patient; by default each case is a patient.
        replicates: number of samples.

    Returns:
        The statistic on each sample, (replicates, ...), float64 on the CPU.

    Raises:
        ValueError: where lengths differ, or there is no case or no replicate.
    """
    if replicates < 1:
        raise ValueError(f"there are {replicates} replicates, but must be at least 1")
    patients = torch.arange(len(strata)) if patients is None else patients.cpu()
    if patients.shape != strata.shape or strata.dim() != 1 or not len(strata):
        raise ValueError(f"the strata have shape {tuple(strata.shape)} and the patients {tuple(patients.shape)}, but "
                         "both must be (N,), one for each of N cases")
    _, owner, cases = patients.unique(return_inverse=True, return_counts=True)
    own = owner.argsort(stable=True).split(cases.tolist())                         # case numbers of each patient
    stratum = torch.zeros(len(own), dtype=torch.int64).scatter_reduce(0, owner, strata.cpu().long(), "amax",
                                                                      include_self=False)
    groups = [(stratum == value).nonzero()[:, 0] for value in stratum.unique()]
    found = []
    for _ in range(replicates):
        drawn = torch.cat([group[torch.randint(len(group), group.shape, generator=generator)] for group in groups])
        index = torch.cat([own[patient] for patient in drawn.tolist()])
        found.append(torch.as_tensor(statistic(index.to(strata.device)), dtype=torch.float64).cpu())
    return torch.stack(found)


def percentile_interval(values: Tensor, level: float = 0.95) -> tuple[float, float]:
    """Lower and upper end of the middle part of bootstrap values (replicates,).

    Raises:
        ValueError: where the level lies outside 0 to 1, or a value is NaN, as where a sample lacked what the statistic
            needs.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level is {level}, but must lie between 0 and 1, such as 0.95")
    if values.isnan().any():
        raise ValueError(f"{int(values.isnan().sum())} of {len(values)} values are NaN: the statistic could not be "
                         "computed on these samples; stratify by what it needs")
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64, device=values.device)
    low, high = torch.quantile(values.double(), ends).tolist()
    return low, high
