"""Time of ``engine.fit`` beside the same loop written bare: same network, batches and updates, same final weights.

``python benchmarks/fit.py [--repeats N]``. The two take turns, each beginning every other time; what counts is the
fastest run of each, which other work on the machine has disturbed least. First comes what ``fit`` adds to an update,
measured on a network that computes next to nothing, where it shows above the noise. From it follows the ratio for three
real sizes; the ratio measured on them directly stands beside it, with the middle half of the ratios within a turn.
"""

import argparse
import statistics
import time

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from companion import engine, hardware
from companion.datasets.batches import Batches
from companion.models.small_cnn import SmallGAPCNN

BAR = 1.03
EPOCHS = 4
SETTINGS = {"digits, 8 x 8": (8, 32, 1024), "crops, 32 x 32": (32, 32, 512), "images, 96 x 96": (96, 16, 96)}


def pieces(size: int, batch: int, cases: int):
    """Network, optimiser and batches, the same at every call; size 1 is a linear model."""
    generator = hardware.seed(0)
    images, labels = torch.randn(cases, 1, size, size, generator=generator), torch.arange(cases) % 2
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2)) if size == 1 else SmallGAPCNN(1, 2)
    return model, torch.optim.Adam(model.parameters(), lr=0.001), Batches(images, labels, batch, generator)


def bare(model, optimiser, batches, epochs: int) -> None:
    """The loop, as Part 2 writes it."""
    model.train()
    for _ in range(epochs):
        for x, y in batches:
            loss = cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def fitted(model, optimiser, batches, epochs: int) -> None:
    """The same by the engine."""
    engine.fit(model, cross_entropy, optimiser, batches, epochs, hardware=hardware.Hardware(torch.device("cpu")))


def compare(setting: tuple[int, int, int], repeats: int) -> tuple[float, float, list[float]]:
    """Fewest seconds of both, and the ratio of each turn.

    Raises:
        RuntimeError: where the final weights differ.
    """
    seconds, weights = {bare: [], fitted: []}, {}
    for turn in range(repeats + 1):
        for run in (bare, fitted) if turn % 2 else (fitted, bare):
            parts = pieces(*setting)
            start = time.perf_counter()
            run(*parts, EPOCHS)
            seconds[run].append(time.perf_counter() - start)
            weights[run] = torch.cat([p.detach().flatten() for p in parts[0].parameters()])
    if not torch.equal(weights[bare], weights[fitted]):
        raise RuntimeError("the two loops leave different weights")
    one, other = seconds[bare][1:], seconds[fitted][1:]                             # the first turn warms up
    return min(one), min(other), [b / a for a, b in zip(one, other, strict=True)]


def main() -> None:
    """Print one row for each size of problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=25)
    options = parser.parse_args()
    one, other, _ = compare((1, 8, 4000), options.repeats)
    extra = (other - one) / (EPOCHS * 500)
    print(f"{torch.get_num_threads()} threads; fit adds {extra * 1e6:.0f} microseconds to an update")
    print(f"{'':18s} {'one update':>12s} {'ratio':>7s}   bar of {BAR}   {'directly':>8s}   {'middle half':>11s}")
    for name, (size, batch, cases) in SETTINGS.items():
        one, other, ratios = compare((size, batch, cases), options.repeats)
        update = one / (EPOCHS * cases / batch)
        ratio = 1 + extra / update
        low, _, high = statistics.quantiles(ratios, n=4)
        print(f"{name:18s} {update * 1000:9.2f} ms {ratio:7.3f}   {'met' if ratio <= BAR else 'missed':11s}"
              f"   {other / one:8.3f}   {low:.3f}-{high:.3f}")


if __name__ == "__main__":
    main()
