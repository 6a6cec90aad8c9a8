"""What each of the processes that tests/test_distributed.py starts by torchrun does: train, predict, write it down.

``distributed_run.py FOLDER [RANK_THAT_FAILS UPDATE]``
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

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
            "missing labels": missing_labels(), "few": few(), "resumed": resumed(folder.parent / "resumed"),
            "weights": torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()}


def points(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs (n, 4) and two classes."""
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 2


def missing_labels() -> list[float]:
    """Training losses where a third of the labels is left out."""
    x, y = points(21)
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    train = Batches(x, torch.where(torch.arange(21) % 3 == 0, -100, y), 8, torch.Generator().manual_seed(1))
    history = engine.fit(model, cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), train, 3,
                         hardware=Hardware(CPU))
    return [record["train loss"] for record in history]


def few() -> list[int]:
    """Number of outputs for sets in which a process may have no case: batches of one, and a single case."""
    model, found = nn.Sequential(nn.Linear(4, 2), nn.Flatten()), []
    for n, size in ((5, 1), (1, 4)):
        x, y = points(n)
        found.append(len(engine.predict(model, Batches(x, y, size), Hardware(CPU))[0]))
    return found


def resumed(folder: Path) -> float:
    """Largest difference of the weights after six epochs with dropout, at once and cut off after two."""
    x, y = points(21)

    def run(epochs: int, place: Path | None = None) -> torch.Tensor:
        torch.manual_seed(distributed.rank())
        model = nn.Sequential(nn.Dropout(), nn.Linear(4, 2))
        train = Batches(x, y, 8, torch.Generator().manual_seed(1))
        engine.fit(model, cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), train, epochs, folder=place,
                   hardware=Hardware(CPU))
        return nn.utils.parameters_to_vector(model.parameters()).detach()

    whole = run(6)
    run(2, folder)
    return (run(6, folder) - whole).abs().max().item()


def refused() -> list[str]:
    """What is said to sets that are not shared by the processes."""
    said, (x, y) = [], points(8)
    for batches in ([(x, y)], DataLoader(TensorDataset(x, y), 4)):
        model = nn.Linear(4, 2)
        try:
            engine.fit(model, cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), batches, 1,
                       hardware=Hardware(CPU))
        except ValueError as error:
            said.append(str(error))
    return said


def orders() -> list[list[int]]:
    """What a distributed sampler gave in each of two epochs."""
    x, y = points(8)
    cases = TensorDataset(torch.cat([x[:, :3], torch.arange(8.0)[:, None]], 1), y)
    model, seen = nn.Linear(4, 2), []

    model.register_forward_pre_hook(lambda _, given: seen.append(given[0][:, 3].int().tolist()))
    train = DataLoader(cases, 4, sampler=DistributedSampler(cases))
    engine.fit(model, cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), train, 2, hardware=Hardware(CPU))
    return seen


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
        found |= {"running averages": running_averages(), "refused": refused(), "orders": orders()}
        (place / f"{distributed.rank()}.json").write_text(json.dumps(found))
