"""What each of the processes that tests/test_distributed.py starts by torchrun does: train, predict, write it down.

``distributed_run.py FOLDER [RANK_THAT_FAILS UPDATE]``
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from companion import distributed, engine
from companion.datasets.batches import Batches
from companion.hardware import Hardware

CPU = torch.device("cpu")


def run(folder: Path, failing: int = -1, update: int = 0) -> dict:
    """Two classes of points, 21 training cases in batches of 8 (so the last has 5), 11 development cases."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 4, generator=g), torch.arange(32) % 2
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    calls = []

    def loss(outputs, targets):
        calls.append(len(targets))
        if distributed.rank() == failing and len(calls) == update:
            raise RuntimeError("this process fails")
        return cross_entropy(outputs, targets)

    if distributed.rank() == failing and not update:
        raise RuntimeError("this process fails")
    watch = engine.Development(Batches(x[21:], y[21:], 4), {"count": lambda outputs, _: len(outputs)})
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    train = Batches(x[:21], y[:21], 8, torch.Generator().manual_seed(1))
    history = engine.fit(model, loss, optimiser, train, 5, development=watch, folder=folder,
                         hardware=Hardware(CPU))
    outputs, targets = engine.predict(model, watch.batches, Hardware(CPU))
    return {"history": history, "targets": sorted(targets.tolist()), "outputs": sorted(outputs[:, 0].tolist()),
            "weights": torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()}


def running_averages() -> list[float]:
    """Buffers of batch normalisation after training, and what the network then says."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(16, 4, generator=g), torch.arange(16) % 2
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    train = Batches(x, y, 8, torch.Generator().manual_seed(1))
    engine.fit(model, cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), train, 2, hardware=Hardware(CPU))
    return torch.cat([model[0].running_mean, model[0].running_var, model.eval()(x).detach().flatten()]).tolist()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    with distributed.processes(CPU):
        found = run(place / "checkpoints", *map(int, sys.argv[2:]))
        found["running averages"] = running_averages()
        (place / f"{distributed.rank()}.json").write_text(json.dumps(found))
