"""Two processes on the CPU must do what one does; when one fails, both end."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import distributed_run
import pytest
import torch
from torch import nn

from companion import checkpoints, distributed, train

SCRIPT = Path(distributed_run.__file__)


def torchrun(*command, processes=2):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}",
             f"--master-port={port}", "--master-addr=127.0.0.1"]
    return subprocess.run([*start, *map(str, command)], capture_output=True, text=True, timeout=240,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"})


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes found, and their folder."""
    folder = tmp_path_factory.mktemp("two")
    done = torchrun(SCRIPT, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)], folder


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What a single process finds."""
    return distributed_run.run(tmp_path_factory.mktemp("one"))


@pytest.mark.local
def test_same_loss_curve_as_one_process(one, two):
    for found in two[0]:
        for ours, theirs in zip(found["history"], one["history"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5)
        assert found["weights"] == pytest.approx(one["weights"], abs=1e-5)
    assert one["history"][-1]["train loss"] < one["history"][0]["train loss"]


@pytest.mark.local
def test_predictions_are_gathered_exactly(one, two):
    for found in two[0]:
        assert found["targets"] == one["targets"] and len(found["targets"]) == 11
        assert found["outputs"] == pytest.approx(one["outputs"], abs=1e-5)
        assert found["history"][-1]["count"] == 11


@pytest.mark.local
def test_one_checkpoint_serves_a_single_process_too(one, two):
    tensors, values = checkpoints.read(two[1] / "checkpoints")
    assert len(values["history"]) == 5
    assert tensors["model.0.weight"].flatten().tolist() == pytest.approx(one["weights"][:32], abs=1e-5)


@pytest.mark.local
def test_running_averages_are_the_same_in_every_process(two):
    first, second = (found["running averages"] for found in two[0])
    assert first == second


@pytest.mark.local
def test_missing_labels_count_in_no_process(one, two):
    for found in two[0]:
        assert found["missing labels"] == pytest.approx(one["missing labels"], rel=1e-5)


@pytest.mark.local
def test_a_process_may_have_no_case_to_predict(one, two):
    assert one["few"] == two[0][0]["few"] == two[0][1]["few"] == [5, 1]


@pytest.mark.local
def test_resume_is_exact_with_random_draws_in_each_process(one, two):
    assert one["resumed"] == two[0][0]["resumed"] == two[0][1]["resumed"] == 0


@pytest.mark.local
def test_sets_that_are_not_shared_are_refused(two):
    for found in two[0]:
        of_list, of_loader = found["refused"]
        assert "set is a list, which gives every case" in of_list and "set is a DataLoader" in of_loader


@pytest.mark.local
def test_a_distributed_sampler_draws_a_new_order_each_epoch(two):
    mine, others = (found["orders"] for found in two[0])
    assert mine[0] != mine[1] and sorted(mine[0] + others[0]) == sorted(mine[1] + others[1]) == list(range(8))


@pytest.mark.local
def test_command_line_under_torchrun_gives_the_history_of_one_process(tmp_path):
    def arguments(folder):
        return ["train", "--data=chest", "--cases=50", "--size=16", "--epochs=2", "--batch=16", "--device=cpu",
                "--test", f"--folder={tmp_path / folder}"]

    done = torchrun("-m", "companion.train", *arguments("two"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert train.main(arguments("one")) == 0
    ours, theirs = (json.loads((tmp_path / name / "history.json").read_text()) for name in ("two", "one"))
    assert len(ours) == 2
    for one_epoch, same_epoch in zip(ours, theirs, strict=True):
        assert one_epoch == pytest.approx(same_epoch, rel=1e-4)
    assert done.stdout.count("train loss") == 2 and done.stdout.count("test loss") == 1     # process 0 speaks for all


@pytest.mark.local
@pytest.mark.parametrize("update", [0, 5])
def test_when_one_process_fails_both_end_with_an_error(tmp_path, update):
    done = torchrun(SCRIPT, tmp_path, 1, update)
    assert done.returncode != 0 and "this process fails" in done.stderr
    assert not list(tmp_path.glob("*.json"))


def test_a_single_process_needs_none_of_it():
    model, x = nn.Linear(2, 1), torch.arange(4.0)
    assert (distributed.world(), distributed.rank()) == (1, 0)
    assert distributed.wrap(model) is model
    assert distributed.weighted(x, 3) is x and distributed.total(x) is x and distributed.gather(x) is x
    assert torch.equal(distributed.share(x), x)
    with distributed.processes(torch.device("cpu")) as device:
        assert device == torch.device("cpu")


def test_shares_are_disjoint_and_complete(monkeypatch):
    x = torch.arange(7)
    monkeypatch.setattr(distributed, "world", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append(distributed.share(x))
    assert [len(s) for s in shares] == [3, 2, 2]
    assert torch.equal(torch.cat(shares).sort().values, x)
