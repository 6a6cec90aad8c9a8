"""A run that is cut off and continued ends as if nothing had happened; another run's checkpoint is refused."""

import os
import random
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from test_engine import CPU, EXACT, data, network, pieces
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import lr_scheduler as lrs
from torch.testing import assert_close
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from companion import checkpoints, distributed, engine
from companion.datasets.batches import Batches


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop, torch.optim.AdamW])
def test_resume_gives_the_same_weights_to_the_bit(tmp_path, kind):
    def run(epochs, folder=None):
        model = network()
        optimiser = kind(model.parameters(), lr=0.01, **({"momentum": 0.9} if kind is torch.optim.SGD else {}))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 6)
        train = Batches(*data(), 8, torch.Generator().manual_seed(2))
        torch.manual_seed(3)
        watch = engine.Development(Batches(*data(9), 4), patience=9)
        history = engine.fit(model, cross_entropy, optimiser, train, epochs, development=watch, schedule=schedule,
                             folder=folder, hardware=CPU)
        return model.state_dict(), history

    whole, history = run(6)
    run(2, tmp_path)
    resumed, again = run(6, tmp_path)
    assert_close(resumed, whole, **EXACT)
    assert again == history


SCHEDULES = {
    "step": lambda o: lrs.StepLR(o, 2, 0.5),
    "milestones": lambda o: lrs.MultiStepLR(o, [3, 5]),
    "one cycle": lambda o: lrs.OneCycleLR(o, 0.1, total_steps=8),
    "plateau": lambda o: lrs.ReduceLROnPlateau(o, patience=0, threshold=0.5),
    "chain": lambda o: lrs.SequentialLR(o, [lrs.LinearLR(o), lrs.MultiStepLR(o, [2, 3])], [2]),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_goes_on(tmp_path, name):
    def run(epochs, folder=None):
        model = network()
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        torch.manual_seed(3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")                            # torch's own, of SequentialLR
            engine.fit(model, cross_entropy, optimiser, Batches(*data(), 8, torch.Generator().manual_seed(2)), epochs,
                       development=engine.Development([data()]), schedule=SCHEDULES[name](optimiser), folder=folder,
                       hardware=CPU)
        return model.state_dict(), optimiser.param_groups[0]["lr"]

    whole, rate = run(6)
    run(2, tmp_path)
    resumed, again = run(6, tmp_path)
    assert again == rate != 0.01
    assert_close(resumed, whole, **EXACT)


class Shaken(TensorDataset):
    """Augmented with the random streams of NumPy and of Python."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + np.random.normal() + random.gauss(0, 1), y                                       # noqa: NPY002


@pytest.mark.parametrize("kind", ["sampler", "shaken"])
def test_random_streams_of_loaders_go_on(tmp_path, kind):
    def run(epochs, folder=None):
        torch.manual_seed(3), np.random.seed(3), random.seed(3)                                     # noqa: NPY002
        draws = torch.Generator().manual_seed(2)
        points = TensorDataset(*data())
        train = (DataLoader(points, 8, sampler=RandomSampler(points, generator=draws)) if kind == "sampler"
                 else DataLoader(Shaken(*data()), 8, generator=draws))
        model = network()
        engine.fit(model, cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), train, epochs, folder=folder,
                   hardware=CPU)
        return model.state_dict()

    whole = run(5)
    run(2, tmp_path)
    assert_close(run(5, tmp_path), whole, **EXACT)


def test_before_the_first_epoch_ends_a_run_may_still_change(tmp_path):
    model, _, train = pieces()
    one_batch = Batches(*data(), 22, torch.Generator())
    with pytest.raises(engine.TrainingError):
        engine.fit(model, lambda outputs, y: 1e9 * cross_entropy(outputs, y),
                   torch.optim.SGD(model.parameters(), lr=1e35), one_batch, 1, folder=tmp_path, hardware=CPU)
    slow = torch.optim.SGD(model.parameters(), lr=0.01)
    assert len(engine.fit(model, cross_entropy, slow, train, 2, folder=tmp_path, hardware=CPU)) == 2
    assert slow.param_groups[0]["lr"] == 0.01


def test_a_folder_holds_one_run_at_a_time(tmp_path):
    model, optimiser, train = pieces()

    def loss(outputs, targets):
        other, its_own, batches = pieces()
        with pytest.raises(checkpoints.CheckpointError, match="another run is writing to"):
            engine.fit(other, cross_entropy, its_own, batches, 1, folder=tmp_path, hardware=CPU)
        return cross_entropy(outputs, targets)

    engine.fit(model, loss, optimiser, train, 1, folder=tmp_path, hardware=CPU)
    assert engine.fit(model, cross_entropy, optimiser, train, 2, folder=tmp_path, hardware=CPU)


def test_what_a_checkpoint_can_not_hold_is_refused(tmp_path):
    model, _, train = pieces()
    weight = nn.Parameter(torch.zeros(1))
    beside = torch.optim.SGD([*model.parameters(), weight], lr=0.1)
    with pytest.raises(ValueError, match="changes 1 parameters that are not the network's"):
        engine.fit(model, cross_entropy, beside, train, 1, folder=tmp_path, hardware=CPU)
    lazy = nn.LazyLinear(3)
    loader = DataLoader(TensorDataset(*data()), 8)
    with pytest.raises(ValueError, match="lazy layers that have seen no image"):
        engine.fit(lazy, cross_entropy, torch.optim.SGD(lazy.parameters(), lr=0.1), loader, 1, folder=tmp_path,
                   hardware=CPU)


def test_a_learning_rate_may_be_a_tensor(tmp_path):
    for epochs in (1, 2):
        model, _, train = pieces()
        optimiser = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01))
        engine.fit(model, cross_entropy, optimiser, train, epochs, folder=tmp_path, hardware=CPU)
    assert float(optimiser.param_groups[0]["lr"]) == pytest.approx(0.01)


def test_a_finished_run_is_not_trained_further(tmp_path):
    for _ in range(2):
        model, optimiser, train = pieces()
        history = engine.fit(model, cross_entropy, optimiser, train, 2, folder=tmp_path, hardware=CPU)
    assert len(history) == 2


SCRIPT = """
import os, signal, sys, torch
sys.path.insert(0, {tests!r})
from test_resume import *
folder, victim, nth = sys.argv[1], sys.argv[2], int(sys.argv[3])
calls = 0
def killing(function):
    def wrapped(*arguments):
        global calls
        calls += 1
        if calls == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return wrapped
if victim == "replace": os.replace = killing(os.replace)
if victim == "fsync": os.fsync = killing(os.fsync)
if victim == "step": torch.optim.Adam.step = killing(torch.optim.Adam.step)
model, optimiser, train = pieces()
torch.manual_seed(3)
engine.fit(model, cross_entropy, optimiser, train, 4, folder=folder, hardware=CPU)
checkpoints.save_weights(model, folder + "/final.weights")
"""


@pytest.mark.parametrize(("victim", "nth"), [("step", 5), ("fsync", 5), ("replace", 2), ("replace", 6)])
def test_killed_at_any_moment_and_continued_gives_the_same_weights(tmp_path, victim, nth):
    def run(*arguments):
        script = SCRIPT.format(tests=str(Path(__file__).parent))
        return subprocess.run([sys.executable, "-c", script, str(tmp_path), *arguments], env={**os.environ},
                              capture_output=True, text=True).returncode

    assert run(victim, str(nth)) == -signal.SIGKILL
    assert not (tmp_path / "final.weights").exists()
    assert run("nothing", "0") == 0
    whole, optimiser, train = pieces()
    torch.manual_seed(3)
    engine.fit(whole, cross_entropy, optimiser, train, 4, hardware=CPU)
    resumed = checkpoints.load_weights(network(), tmp_path / "final.weights")
    assert_close(resumed.state_dict(), whole.state_dict(), **EXACT)


def test_another_runs_checkpoint_is_refused(tmp_path):
    model, optimiser, train = pieces()
    engine.fit(model, cross_entropy, optimiser, train, 1, folder=tmp_path, hardware=CPU)
    with pytest.raises(checkpoints.CheckpointError, match="of a run with optimiser: Adam, not SGD"):
        engine.fit(model, cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), train, 2, folder=tmp_path,
                   hardware=CPU)
    other = nn.Linear(4, 3)
    with pytest.raises(checkpoints.CheckpointError, match="belongs to another network"):
        engine.fit(other, cross_entropy, torch.optim.Adam(other.parameters()), train, 2, folder=tmp_path, hardware=CPU)


def test_a_run_of_other_pieces_is_refused_and_nothing_changed(tmp_path):
    def go(epochs, schedule=None, patience=None, generator=None, part=slice(None), rate=0.01, shift=0, size=8):
        model = network()
        optimiser = torch.optim.Adam(list(model.parameters())[part], lr=rate)
        x, y = data()
        before = {k: v.clone() for k, v in model.state_dict().items()}
        watch = engine.Development([data()], patience=patience)
        try:
            train = Batches(x, y.roll(shift), size, generator)
            engine.fit(model, cross_entropy, optimiser, train, epochs, development=watch,
                       schedule=schedule and schedule(optimiser), folder=tmp_path, hardware=CPU)
        except checkpoints.CheckpointError:
            assert_close(model.state_dict(), before, **EXACT)
            raise

    go(1)
    other = {"schedule: none, not ExponentialLR": {"schedule": lambda optimiser: lrs.ExponentialLR(optimiser, 0.5)},
             "early stopping: no, not yes": {"patience": 3},
             "random order from a generator: no, not yes": {"generator": torch.Generator()},
             "parameters in the optimiser: 6, not 4": {"part": slice(4)},
             r"settings of the optimiser: .*'lr': 0.01, .* not .*'lr': 0.5": {"rate": 0.5},
             "training set: 22 cases in batches of 8, labels .*, not 22 cases in batches of 5": {"size": 5},
             "labels [0-9a-f]{8}, not 22 cases in batches of 8, labels": {"shift": 1}}
    for says, changed in other.items():
        with pytest.raises(checkpoints.CheckpointError, match=says):
            go(2, **changed)
    go(2)


def test_processes_that_do_not_share_the_folder_are_told(tmp_path, monkeypatch):
    model, optimiser, train = pieces()
    monkeypatch.setattr(distributed, "gather", lambda epochs: torch.cat([epochs, epochs + 3]))   # as on two nodes
    with pytest.raises(checkpoints.CheckpointError, match="must be one that all nodes share"):
        engine.fit(model, cross_entropy, optimiser, train, 1, folder=tmp_path, hardware=CPU)
