"""The command line: what it does, and how it explains mistakes."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from companion import checkpoints, claims, doctor, train
from companion.models.small_cnn import SmallGAPCNN
from companion.studies import store


@pytest.fixture
def images(tmp_path):
    """A folder with the zeros and ones among the first digits, and a table of labels."""
    digits = load_digits(n_class=2)
    place = tmp_path / "images"
    place.mkdir()
    for i in range(80):
        Image.fromarray((digits.images[i] * 15).astype("uint8")).save(place / f"{i}.png")
    (place / "labels.csv").write_text("file,label\n" + "\n".join(f"{i}.png,{digits.target[i]}" for i in range(80)))
    return place


def options(images, folder, *more):
    return ["train", "--data", str(images), "--size", "8", "--batch", "16", "--rate", "0.02", "--device", "cpu",
            "--folder", str(folder), *more]


def test_command_line_trains_and_leaves_weights_and_history(images, tmp_path, capsys):
    assert train.main(options(images, tmp_path / "run", "--epochs", "12", "--test")) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 13 and shown[0].startswith("epoch 1, train loss") and "12 cases" in shown[-1]
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert history[-1]["accuracy"] > 0.9                                # zeros and ones are easily told apart
    model = checkpoints.load_weights(SmallGAPCNN(1, 2), tmp_path / "run" / "weights.safetensors")
    assert torch.isfinite(model.classifier.weight).all()


def test_command_line_goes_on_where_it_was_cut_off(images, tmp_path):
    for epochs in ("2", "4"):
        train.main(options(images, tmp_path / "cut", "--epochs", epochs))
    train.main(options(images, tmp_path / "whole", "--epochs", "4"))
    cut, whole = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("cut", "whole"))
    assert cut == whole


@pytest.mark.parametrize("model", train.MODELS)
def test_every_model_can_be_trained(images, tmp_path, model):
    assert train.main(options(images, tmp_path, "--epochs", "1", "--model", model)) == 0


@pytest.mark.parametrize(("more", "says"), [
    (["--epochs", "0"], "--epochs is 0, but must be at least 1"), (["--data", "nothing"], "no MedMNIST set 'nothing'"),
    (["--device", "tpu9"], "unknown to torch"), (["--patience", "0"], "patience is 0"),
    (["--rate", "1e20"], "the loss is")])
def test_mistakes_in_training_are_one_line(images, tmp_path, capsys, more, says):
    assert train.main(options(images, tmp_path / "run", "--epochs", "3", *more)) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_doctor_tells_versions_device_and_data(capsys):
    assert train.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert torch.__version__ in shown and "gloo" in shown and "relu-trains-better" in shown


def test_doctor_survives_a_package_that_is_missing(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))
    assert doctor.examine()["no-such-package"] == "not installed"


@pytest.mark.parametrize("command", [[], ["train"], ["study"], ["doctor"], ["claims"]])
def test_help_is_complete(command, capsys):
    with pytest.raises(SystemExit) as left:
        train.main([*command, "--help"])
    assert left.value.code == 0 and "show this help" in capsys.readouterr().out


def test_command_line_runs_a_study(toy, capsys):
    assert train.main(["study", "toy", "--seeds", "2", "--device", "cpu"]) == 0
    assert "x: 0.5 (95 % interval" in capsys.readouterr().out
    assert json.loads(Path(store.folders.data(), "studies", "toy.json").read_text())["seeds"] == [0, 1]


@pytest.mark.parametrize(("arguments", "says"), [(["study", "none"], "no study of 'none'"),
                                                 (["study", "toy", "--seeds", "1"], "at least 2"),
                                                 (["study", "toy", "--device", "tpu9"], "unknown to torch")])
def test_command_line_explains_mistakes_in_one_line(toy, capsys, arguments, says):
    assert train.main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_command_line_lists_the_claims(capsys):
    assert train.main(["claims"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(claims.load())
