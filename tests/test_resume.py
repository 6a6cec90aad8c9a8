"""A run that is cut off and continued ends as if nothing had happened; another run's checkpoint is refused."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_engine import CPU, EXACT, data, network, pieces
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import ExponentialLR
from torch.testing import assert_close

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
    def go(epochs, schedule=None, patience=None, generator=None, part=slice(None)):
        model = network()
        optimiser = torch.optim.Adam(list(model.parameters())[part], lr=0.01)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        watch = engine.Development([data()], patience=patience)
        try:
            engine.fit(model, cross_entropy, optimiser, Batches(*data(), 8, generator), epochs, development=watch,
                       schedule=schedule and schedule(optimiser), folder=tmp_path, hardware=CPU)
        except checkpoints.CheckpointError:
            assert_close(model.state_dict(), before, **EXACT)
            raise

    go(1)
    other = {"schedule: none, not ExponentialLR": {"schedule": lambda optimiser: ExponentialLR(optimiser, 0.5)},
             "early stopping: no, not yes": {"patience": 3},
             "random order from a generator: no, not yes": {"generator": torch.Generator()},
             "parameters in the optimiser: 6, not 4": {"part": slice(4)}}
    for says, changed in other.items():
        with pytest.raises(checkpoints.CheckpointError, match=says):
            go(2, **changed)
    go(2)


def test_processes_that_do_not_share_the_folder_are_told(tmp_path, monkeypatch):
    model, optimiser, train = pieces()
    monkeypatch.setattr(distributed, "gather", lambda epochs: torch.cat([epochs, epochs + 3]))   # as on two nodes
    with pytest.raises(checkpoints.CheckpointError, match="must be one that all nodes share"):
        engine.fit(model, cross_entropy, optimiser, train, 1, folder=tmp_path, hardware=CPU)
