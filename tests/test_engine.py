"""The training loop: equal to one written out, exact after any interruption, clear about what is wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from companion import checkpoints, engine
from companion.datasets.batches import Batches
from companion.hardware import Hardware

CPU = Hardware(torch.device("cpu"))
EXACT = {"rtol": 0, "atol": 0}


def data(n=22, classes=3):
    """Points in classes that a small network can learn, with a network for them that has every kind of state."""
    g = torch.Generator().manual_seed(1)
    y = torch.arange(n) % classes
    return torch.randn(n, 4, generator=g) + 2 * nn.functional.one_hot(y, 4), y


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def pieces(size=8):
    model = network()
    return (model, torch.optim.Adam(model.parameters(), lr=0.01),
            Batches(*data(), size, torch.Generator().manual_seed(2)))


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean()


def test_fit_leaves_the_weights_of_the_bare_loop():
    model, optimiser, train = pieces()
    torch.manual_seed(3)
    for _ in range(4):
        for x, y in train:
            value = cross_entropy(model(x), y)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    fitted, optimiser, train = pieces()
    torch.manual_seed(3)
    engine.fit(fitted, cross_entropy, optimiser, train, 4, hardware=CPU)
    assert_close(fitted.state_dict(), model.state_dict(), **EXACT)


def test_train_loss_is_the_mean_over_the_cases(device):
    model = nn.Linear(4, 3)
    x, y = data(7)
    batches = Batches(x, y, 3, torch.Generator())                     # batches of 3, 3 and 1
    idle = torch.optim.SGD(model.parameters(), lr=0.0)
    expected = cross_entropy(model(x), y).item()
    history = engine.fit(model, cross_entropy, idle, batches, 1, hardware=Hardware(device))
    assert history[0]["train loss"] == pytest.approx(expected, rel=1e-5)


def test_history_is_plain_data_with_development_and_metrics():
    model, optimiser, train = pieces()
    watch = engine.Development(Batches(*data(9), 4), {"accuracy": accuracy})
    history = engine.fit(model, cross_entropy, optimiser, train, 2, development=watch, hardware=CPU)
    assert json.loads(json.dumps(history)) == history
    assert [set(h) for h in history] == [{"epoch", "train loss", "development loss", "accuracy"}] * 2
    outputs, targets = engine.predict(model, watch.batches, CPU)
    assert history[-1]["development loss"] == pytest.approx(cross_entropy(outputs, targets).item())
    assert history[-1]["accuracy"] == pytest.approx(accuracy(outputs, targets).item())


def test_predict_keeps_order_and_uses_evaluation_mode(device):
    model = network().to(device)
    x, y = data()
    outputs, targets = engine.predict(model, Batches(x, y, 5), Hardware(device))
    assert_close(outputs, model.eval()(x.to(device)).detach().cpu())
    assert_close(targets, y)
    assert outputs.device == targets.device == torch.device("cpu") and not outputs.requires_grad


def test_early_stopping_goes_back_to_the_best_weights():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    train = [(torch.ones(4, 1), torch.full((4, 1), 10.0))]            # pulls the weight to 10
    watch = engine.Development([(torch.ones(4, 1), torch.full((4, 1), 3.0))], patience=2)     # best at 3
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)          # 1.0, 1.9, 2.71, 3.44, 4.10
    history = engine.fit(model, nn.functional.mse_loss, optimiser, train, 20, development=watch, hardware=CPU)
    assert len(history) == 5
    assert model.weight.item() == pytest.approx(2.71)


def test_schedule_is_stepped_once_an_epoch():
    model, optimiser, train = pieces()
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.5)
    engine.fit(model, cross_entropy, optimiser, train, 3, schedule=schedule, hardware=CPU)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.01 / 8)


def test_a_data_loader_serves_as_well():
    def fitted(train):
        model = network()
        torch.manual_seed(5)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        engine.fit(model, cross_entropy, optimiser, train, 2, hardware=CPU)
        return model.state_dict()

    in_order = [(x, y) for x, y in Batches(*data(), 8)]
    loader = DataLoader(TensorDataset(*data()), 8, generator=torch.Generator())     # else it draws from torch's stream
    assert_close(fitted(loader), fitted(in_order))


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
from test_engine import *
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


def test_nan_is_an_error_and_the_last_good_state_is_kept(tmp_path):
    model, optimiser, train = pieces()
    engine.fit(model, cross_entropy, optimiser, train, 1, folder=tmp_path, hardware=CPU)
    good = {k: v.clone() for k, v in model.state_dict().items()}
    train.inputs[3, 0] = float("nan")
    with pytest.raises(engine.TrainingError, match="loss is nan: lower the learning rate"):
        engine.fit(model, cross_entropy, optimiser, train, 3, folder=tmp_path, hardware=CPU)
    assert_close(model.state_dict(), good, **EXACT)
    assert len(checkpoints.read(tmp_path)[1]["history"]) == 1


def test_mistakes_are_found_before_training(tmp_path):
    model, optimiser, train = pieces()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x, y = data()
    wrong = [(DataLoader(TensorDataset(x, y), 50, drop_last=True), "training set gives no batch"),
             (Batches(x, y + 1, 8, torch.Generator()), "labels run from 1 to 3, but the network has 3 outputs"),
             (Batches(x, y - 1, 8, torch.Generator()), "labels run from -1"),
             (Batches(x[:, :2], y, 8, torch.Generator()), r"can not take inputs of shape \(2, 2\)")]
    for batches, says in wrong:
        with pytest.raises(ValueError, match=says):
            engine.fit(model, cross_entropy, optimiser, batches, 1, hardware=CPU)
    with pytest.raises(ValueError, match="development set gives no batch"):
        engine.fit(model, cross_entropy, optimiser, train, 1, development=engine.Development([]), hardware=CPU)
    with pytest.raises(ValueError, match="patience is 0"):
        engine.Development(train, patience=0)
    with pytest.raises(ValueError, match="no case to predict"):
        engine.predict(model, [], CPU)
    (tmp_path / "file").write_text("")
    with pytest.raises(checkpoints.CheckpointError, match="can not be written to"):
        engine.fit(model, cross_entropy, optimiser, train, 1, folder=tmp_path / "file", hardware=CPU)
    assert_close(model.state_dict(), before, **EXACT)


def test_ignored_labels_are_allowed():
    x, y = data()
    y = torch.where(torch.arange(len(y)) == 0, -100, y)
    model, optimiser, _ = pieces()
    assert engine.fit(model, cross_entropy, optimiser, Batches(x, y, 8, torch.Generator()), 1, hardware=CPU)


def test_another_runs_checkpoint_is_refused(tmp_path):
    model, optimiser, train = pieces()
    engine.fit(model, cross_entropy, optimiser, train, 1, folder=tmp_path, hardware=CPU)
    with pytest.raises(checkpoints.CheckpointError, match="made with Adam, not with SGD"):
        engine.fit(model, cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), train, 2, folder=tmp_path,
                   hardware=CPU)
    other = nn.Linear(4, 3)
    with pytest.raises(checkpoints.CheckpointError, match="belongs to another network"):
        engine.fit(other, cross_entropy, torch.optim.Adam(other.parameters()), train, 2, folder=tmp_path, hardware=CPU)


@pytest.mark.parametrize("hardware", [Hardware(torch.device("cpu"), channels_last=True),
                                      Hardware(torch.device("cpu"), torch.bfloat16)])
def test_layout_and_precision_change_only_digits(hardware):
    def run(hardware):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
        g = torch.Generator().manual_seed(0)
        x, y = torch.randn(16, 1, 8, 8, generator=g), torch.arange(16) % 2
        history = engine.fit(model, cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1),
                             Batches(x, y, 8, torch.Generator().manual_seed(0)), 3, hardware=hardware)
        assert all(p.dtype == torch.float32 for p in model.parameters())
        return [h["train loss"] for h in history]

    assert run(hardware) == pytest.approx(run(CPU), rel=0.03 if hardware.precision else 1e-5)
    assert run(hardware)[-1] < run(hardware)[0]
