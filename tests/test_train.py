"""The command line: what it does, and how it explains mistakes."""

import json
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from companion import checkpoints, claims, doctor, train
from companion.datasets import medmnist
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
    (["--rate", "1e20"], "the loss is"),
    (["--rate", "1e38"], "--rate is 1e+38, but must be positive and at most 1e+30"),
    (["--rate", "nan"], "--rate is nan, but must"), (["--rate", "inf"], "--rate is inf, but must"),
    (["--rate", "0"], "--rate is 0.0, but must"),
    *[([f"--{name}", f"{10**12}"], f"--{name} is {10**12}, but must be at most 100000000")
      for name in ("size", "cases", "epochs", "batch")],
    (["--seed", f"{2**64}"], "--seed is 18446744073709551616, but must be at most"),
    (["--size", "10000000"], "there is too little memory (")])
def test_mistakes_in_training_are_one_line(images, tmp_path, capsys, more, says):
    assert train.main(options(images, tmp_path / "run", "--epochs", "3", *more)) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


@pytest.mark.parametrize(("name", "shape", "columns", "says"), [
    ("chestmnist", (28, 28), 14, "its images may show several findings (multi-label"),
    ("nodulemnist3d", (28, 28, 28), 1, "its images are 3D")])
def test_sets_that_no_model_here_fits_are_refused_before_they_are_fetched(tmp_path, capsys, monkeypatch, name, shape,
                                                                          columns, says):
    rng = np.random.default_rng(0)
    made = {f"{part}_{kind}": rng.integers(0, 2, (4, *more), dtype=np.uint8) for part in medmnist.SUBSETS
            for kind, more in (("images", shape), ("labels", (columns,)))}
    np.savez_compressed(tmp_path / f"{name}.npz", **made)
    monkeypatch.setattr(medmnist, "_download", lambda *_: pytest.fail("fetched"))
    for data in (tmp_path / f"{name}.npz", name):
        assert train.main(options(data, tmp_path / "run", "--epochs", "1")) == 2
        error = capsys.readouterr().err
        assert f"--data is {data}, but {says}" in error and error.count("\n") == 1
        assert "one class for each 2D image" in error


@pytest.mark.parametrize("data", train.PHANTOMS)
def test_a_set_that_memory_can_not_hold_is_explained_in_one_line(data, capsys):
    assert train.main(["train", "--data", data, "--cases", "60", "--size", "10000000", "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert "there is too little memory (" in error and "take a smaller --size, --cases or --batch" in error
    assert error.count("\n") == 1 and len(error) < 200


@pytest.mark.parametrize(("error", "told"), [
    (MemoryError(), "too little memory: take"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."), "memory (20.00 GiB at once): take"),
    (RuntimeError("cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "too little memory"),
    (RuntimeError("CUDA error: an illegal memory access was encountered"), None),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None)])
def test_only_a_lack_of_memory_is_explained(monkeypatch, capsys, images, tmp_path, error, told):
    def fail(*_):
        raise error

    monkeypatch.setattr(train, "_split", fail)
    if told is None:
        with pytest.raises(RuntimeError, match=str(error)):
            train.main(options(images, tmp_path / "run"))
    else:
        assert train.main(options(images, tmp_path / "run")) == 2
        assert told in capsys.readouterr().err


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
    assert train.main(["study", "toy", "--seeds", "2", "--jobs", "1", "--device", "cpu"]) == 0
    assert "x: 0.5 (95 % interval" in capsys.readouterr().out
    assert json.loads(Path(store.folders.data(), "studies", "toy.json").read_text())["seeds"] == [0, 1]


@pytest.mark.parametrize(("arguments", "says"), [(["study", "none"], "no study of 'none'"),
                                                 (["study", "toy", "--seeds", "1"], "at least 2"),
                                                 (["study", "toy", "--device", "tpu9"], "unknown to torch"),
                                                 (["study", "toy", "--device", "meta"], "can not compute on it"),
                                                 (["study", "toy", "--device", "cuda:99"], "can not compute on it")])
def test_command_line_explains_mistakes_in_one_line(toy, capsys, arguments, says):
    assert train.main(arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["train"], ["study", "toy", "--seeds", "x"], ["no-such-command"],
                                       ["train", "--data", "chest", "--folder=~no-such-user/x"]])
def test_a_wrong_command_line_is_explained_in_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        train.main(arguments)
    error = capsys.readouterr().err
    assert left.value.code == 2 and error.startswith("companion: ") and error.count("\n") == 1 and "--help" in error


def test_help_tells_no_default_of_none(capsys):
    with pytest.raises(SystemExit):
        train.main(["train", "--help"])
    shown = capsys.readouterr().out
    assert "(default: 0.001)" in " ".join(shown.split()) and "None" not in shown


def test_a_folder_holds_one_run(images, tmp_path, capsys):
    assert train.main(options(images, tmp_path / "run", "--epochs", "1")) == 0
    assert train.main(options(images, tmp_path / "run", "--epochs", "2")) == 0
    assert train.main(options(images, tmp_path / "run", "--epochs", "3", "--seed", "7", "--rate", "0.1")) == 2
    assert "holds another run (--rate was 0.02, now 0.1, --seed was 0, now 7)" in capsys.readouterr().err


def test_a_run_that_never_got_anywhere_does_not_block_its_folder(images, tmp_path, capsys):
    assert train.main(options(images, tmp_path / "run", "--epochs", "1", "--rate", "1e20")) == 2
    assert "the loss is" in capsys.readouterr().err
    assert train.main(options(images, tmp_path / "run", "--epochs", "1")) == 0


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"data": 1}'])
def test_damaged_options_of_a_run_are_explained_in_one_line(images, tmp_path, capsys, text):
    assert train.main(options(images, tmp_path / "run", "--epochs", "1")) == 0
    (tmp_path / "run" / "options.json").write_text(text)
    capsys.readouterr()
    assert train.main(options(images, tmp_path / "run", "--epochs", "2")) == 2
    error = capsys.readouterr().err
    assert f"{tmp_path / 'run' / 'options.json'} " in error and "another folder or remove the file" in error
    assert error.count("\n") == 1
    (tmp_path / "run" / "options.json").unlink()
    assert train.main(options(images, tmp_path / "run", "--epochs", "2")) == 0


def test_options_of_a_run_without_an_epoch_are_neither_read_nor_its_checkpoint_removed(images, tmp_path):
    checkpoints.write(tmp_path, {}, {"history": []})
    (tmp_path / "options.json").write_text("{}")
    wanted = train._parser().parse_args(options(images, tmp_path, "--epochs", "1"))
    train._require_same_run(wanted)
    assert checkpoints.read(tmp_path) == ({}, {"history": []})
    assert json.loads((tmp_path / "options.json").read_text())["data"] == str(images)


def test_a_path_may_begin_with_the_home_folder(images, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert train.main(["train", "--data=~/images", "--size=8", "--epochs=1", "--device=cpu", "--folder=~/run"]) == 0
    assert (tmp_path / "run" / "weights.safetensors").is_file() and not (tmp_path / "~").exists()


def test_a_killed_process_of_a_study_is_explained_in_one_line(toy, monkeypatch, capsys):
    def broken(*_, **__):
        raise BrokenProcessPool("A process in the process pool was terminated abruptly")

    monkeypatch.setattr(store, "ProcessPoolExecutor", broken)
    assert train.main(["study", "toy", "--seeds", "2", "--jobs", "2", "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert "take fewer --jobs" in error and error.count("\n") == 1


def test_command_line_lists_the_claims(capsys):
    assert train.main(["claims"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(claims.load())
