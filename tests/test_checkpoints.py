"""Checkpoints: whole after any crash, refused when damaged."""

import errno
import json
import os

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from companion import checkpoints

TENSORS = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(7), "c": torch.tensor([True, False])}


def test_tensors_and_values_come_back(tmp_path):
    assert checkpoints.read(tmp_path) is None
    values = {"list": [1, 2.5, None], "name": "x", "small": 1e-300, "third": 1 / 3}
    checkpoints.write(tmp_path, TENSORS, values)
    tensors, found = checkpoints.read(tmp_path)
    assert_close(tensors, TENSORS, rtol=0, atol=0)
    assert found == values
    assert not list(tmp_path.glob("*.partial"))


def test_the_last_two_are_kept_and_no_more(tmp_path):
    for i in range(4):
        checkpoints.write(tmp_path, {"x": torch.tensor(i)}, i)
    assert checkpoints.read(tmp_path) == ({"x": torch.tensor(3)}, 3)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    os.replace(tmp_path / checkpoints.PREVIOUS, tmp_path / checkpoints.LATEST)
    assert checkpoints.read(tmp_path) == ({"x": torch.tensor(2)}, 2)


def test_files_of_the_user_stay_and_remains_of_a_crash_go(tmp_path):
    mine = tmp_path / "weights.safetensors"
    remains = tmp_path / f"{'0' * 16}.safetensors.partial"
    for path in (mine, remains):
        path.write_bytes(b"x")
    for i in range(3):
        checkpoints.write(tmp_path, {"x": torch.tensor(i)}, i)
    assert mine.exists() and not remains.exists()


@pytest.mark.parametrize("damage", ["flip a bit", "cut off", "no tensors", "no json", "other json"])
def test_damage_is_found(tmp_path, damage):
    checkpoints.write(tmp_path, TENSORS, 1)
    stored, = tmp_path.glob("*.safetensors")
    content = bytearray(stored.read_bytes())
    if damage == "flip a bit":
        content[-1] ^= 1
        stored.write_bytes(content)
    elif damage == "cut off":
        stored.write_bytes(content[:-4])
    elif damage == "no tensors":
        stored.unlink()
    else:
        (tmp_path / checkpoints.LATEST).write_text("{" if damage == "no json" else json.dumps({"file": "x"}))
    with pytest.raises(checkpoints.CheckpointError, match=f"damaged .*replace {checkpoints.LATEST} by"):
        checkpoints.read(tmp_path)


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch, failing):
    checkpoints.write(tmp_path, TENSORS, "good")
    calls, fsync = [], os.fsync

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    if failing == 4:                                                    # a write has three steps
        checkpoints.write(tmp_path, {"x": torch.zeros(1)}, "better")
    else:
        with pytest.raises(OSError, match="No space left"):
            checkpoints.write(tmp_path, {"x": torch.zeros(1)}, "better")
    assert checkpoints.read(tmp_path)[1] == ("better" if failing == 4 else "good")


def test_values_that_json_can_not_hold_are_refused_before_writing(tmp_path):
    with pytest.raises(TypeError):
        checkpoints.write(tmp_path, TENSORS, {"f": print})
    assert not list(tmp_path.iterdir())


def test_weights_go_through_a_file(tmp_path, device):
    model, other = nn.BatchNorm1d(3).to(device), nn.BatchNorm1d(3).to(device)
    nn.init.normal_(model.weight)
    checkpoints.save_weights(model, tmp_path / "w.safetensors")
    assert checkpoints.load_weights(other, tmp_path / "w.safetensors") is other
    assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_weights_of_another_network_leave_it_unchanged(tmp_path):
    checkpoints.save_weights(nn.Linear(3, 2), tmp_path / "w.safetensors")
    model = nn.Linear(4, 2)
    before = model.weight.clone()
    with pytest.raises(checkpoints.CheckpointError, match=r"weight is \(2, 3\) there and \(2, 4\) here, and 0 more"):
        checkpoints.load_weights(model, tmp_path / "w.safetensors")
    assert_close(model.weight, before)
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    with pytest.raises(checkpoints.CheckpointError, match="w.safetensors is damaged"):
        checkpoints.load_weights(model, tmp_path / "w.safetensors")
    with pytest.raises(FileNotFoundError):
        checkpoints.load_weights(model, tmp_path / "none")


def test_random_streams_are_put_back():
    states = checkpoints.random_states()
    expected = torch.rand(3)
    torch.rand(5)
    checkpoints.restore_random_states(states)
    assert torch.equal(torch.rand(3), expected)


def test_prepare_knows_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert checkpoints.prepare("~/run") == tmp_path / "run"
    with pytest.raises(checkpoints.CheckpointError, match="nobody-of-this-name/run can not be written to"):
        checkpoints.prepare("~nobody-of-this-name/run")


def test_prepare_makes_the_folder_and_leaves_nothing(tmp_path):
    assert checkpoints.prepare(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert not list((tmp_path / "a" / "b").iterdir())
