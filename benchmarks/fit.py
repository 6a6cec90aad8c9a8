"""Time of ``engine.fit`` beside the same loop written bare: same network, batches and updates, same final weights.

``python benchmarks/fit.py [--repeats N]``. The two take turns; the ratio is that of their median times.
"""

import argparse
import statistics
import time

import torch
from torch.nn.functional import cross_entropy

from companion import engine, hardware
from companion.datasets.batches import Batches
from companion.models.small_cnn import SmallGAPCNN

BAR = 1.03
SETTINGS = {"digits, 8 x 8": (8, 32, 1024), "crops, 32 x 32": (32, 32, 512), "images, 96 x 96": (96, 16, 96)}


def pieces(size: int, batch: int, cases: int):
    """Network, optimiser and batches, the same at every call."""
    generator = hardware.seed(0)
    images, labels = torch.randn(cases, 1, size, size, generator=generator), torch.arange(cases) % 2
    model = SmallGAPCNN(1, 2)
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


def compare(setting: tuple[int, int, int], repeats: int, epochs: int = 2) -> tuple[float, float, float]:
    """Median seconds of both, and the ratio.

    Raises:
        RuntimeError: where the final weights differ.
    """
    seconds, weights = {bare: [], fitted: []}, {}
    for repeat in range(repeats + 1):
        for run in seconds:
            parts = pieces(*setting)
            start = time.process_time()
            run(*parts, epochs)
            if repeat:                                   # the first round warms up
                seconds[run].append(time.process_time() - start)
            weights[run] = torch.cat([p.detach().flatten() for p in parts[0].parameters()])
    if not torch.equal(weights[bare], weights[fitted]):
        raise RuntimeError("the two loops leave different weights")
    one, other = (statistics.median(seconds[run]) for run in seconds)
    return one, other, other / one


def main() -> None:
    """Print one row for each size of problem."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    print(f"{'':18s} {'bare':>9s} {'fit':>9s} {'ratio':>7s}   bar of {BAR}")
    for name, setting in SETTINGS.items():
        one, other, ratio = compare(setting, options.repeats)
        print(f"{name:18s} {one:7.3f} s {other:7.3f} s {ratio:7.3f}")


if __name__ == "__main__":
    main()
