"""Does choosing on the development set make its score optimistic? Book: Part 2, data and splits.

A thousand candidates learn from the same 100 real handwritten digits (8 x 8, ten classes). A candidate is a network of
two layers with hyperparameters drawn at random: its first layer is random and stays so, with 8 to 64 units; its second
layer is computed exactly by ridge regression, with a penalty between 0.1 and 1000. So it costs milliseconds, and a
thousand can be tried. Among the first k of them, that with the highest accuracy on a development set is selected (the
first, where several are equal) and then judged on test digits that took no part.

Everything after training is repeated 100 times per seed, each time with another development set, drawn from the other
1697 digits, the rest for testing, and with another order of candidates; a seed gives the means. Development sets of
50, 100 and 400 digits.

Fixed before any seed of the study was run: all of the above. On one other seed, radiographs with the same candidates
were tried first; the candidates did little better than guess there, so digits took their place.

Supported where, with 100 development digits, the 95 % interval of development minus test accuracy of the selected
network lies above 0 with 1000 candidates, and that of its growth from 1 to 1000 candidates too.
"""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from companion import hardware
from companion.datasets import digits

CLAIM = "validation-leaks"
TRAIN = 100
WIDTHS, PENALTIES = (8, 16, 32, 64), (0.1, 1000.0)
CANDIDATES = (1, 3, 10, 30, 100, 300, 1000)
DEVELOPMENT = (50, 100, 400)
REPEATS = 100


def sets(seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], torch.Generator]:
    """Digits to learn from and all others, as pairs (rows (N, 64) with spread 1, labels), and the generator."""
    generator = hardware.seed(seed)
    others, train = digits.split(digits.load(), TRAIN, generator)
    rows = [part.images.flatten(1).float() for part in (train, others)]
    return (rows[0] / rows[0].std(), train.labels), (rows[1] / rows[0].std(), others.labels), generator


def random_network(x: Tensor, y: Tensor, new: Tensor, width: int, penalty: float,
                   generator: torch.Generator) -> Tensor:
    """Train a network with a random first layer on rows x (N, features) and class numbers y (N,).

    The first layer holds ``width`` units with ReLU. The second layer minimises the squared distance of its outputs from
    one-hot labels plus ``penalty`` times its squared weights, the offsets not among them.

    Returns:
        Outputs for the rows ``new`` (M, features), one for each class: (M, classes). The largest is the answer.
    """
    first = torch.randn(x.shape[1], width, generator=generator).to(x) / x.shape[1] ** 0.5
    hidden, seen = (x @ first).relu(), (new @ first).relu()
    middle, target = hidden.mean(0), one_hot(y).to(x)
    centred = hidden - middle
    square = centred.T @ centred + penalty * torch.eye(width).to(x)
    second = torch.linalg.solve(square, centred.T @ (target - target.mean(0)))
    return (seen - middle) @ second + target.mean(0)


def answers(train: tuple[Tensor, Tensor], others: tuple[Tensor, Tensor], count: int,
            generator: torch.Generator) -> Tensor:
    """Which answers of each candidate on the others are right, (count, N) bool; each has hyperparameters of its own."""
    low, high = torch.tensor(PENALTIES).log().tolist()
    rows = []
    for place in torch.randint(len(WIDTHS), (count,), generator=generator).tolist():
        penalty = torch.empty(()).uniform_(low, high, generator=generator).exp().item()
        outputs = random_network(*train, others[0], WIDTHS[place], penalty, generator)
        rows.append(outputs.argmax(1) == others[1])
    return torch.stack(rows)


def select(right: Tensor, size: int, numbers: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Accuracy of the best of the first k candidates, for each k: (numbers, 2), on the development set and the rest.

    Args:
        right: (candidates, N) bool, as from ``answers``.
        size: cases of the development set, drawn from the N.
    """
    order = torch.randperm(right.shape[1], generator=generator).to(right.device)
    right = right[torch.randperm(len(right), generator=generator).to(right.device)].float()
    development, test = (right[:, part].mean(1) for part in (order[:size], order[size:]))
    best = [int(development[:k].argmax()) for k in numbers]
    return torch.stack([development[best], test[best]], 1).cpu()


def run(seed: int, device: torch.device) -> dict[str, float]:
    """Accuracy on development and test digits of the selected, by names such as ``50 digits, best of 10, test``."""
    *pairs, generator = sets(seed)
    train, others = ((x.to(device), y.to(device)) for x, y in pairs)
    right, found = answers(train, others, max(CANDIDATES), generator), {}
    for size in DEVELOPMENT:
        means = torch.stack([select(right, size, CANDIDATES, generator) for _ in range(REPEATS)]).mean(0).tolist()
        for k, (development, test) in zip(CANDIDATES, means, strict=True):
            name = f"{size} digits, best of {k}"
            found |= {f"{name}, development": development, f"{name}, test": test, f"{name}, gap": development - test}
        first, last = (f"{size} digits, best of {k}" for k in (CANDIDATES[0], CANDIDATES[-1]))
        for what in ("gap", "test"):
            found[f"{size} digits, growth of {what}"] = found[f"{last}, {what}"] - found[f"{first}, {what}"]
    return found
