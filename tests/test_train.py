"""The command line: what it does, and how it explains mistakes."""

import json
from pathlib import Path

import pytest

from companion import claims, train
from companion.studies import store


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
