"""Studies: stored with provenance, read back, and never older than their code."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from companion import claims
from companion.studies import store

STUDIES = store.find()


@pytest.mark.parametrize("claim", STUDIES)
def test_stored_result_belongs_to_the_code_as_it_is(claim):
    study = store.stored(claim)
    assert study.source == store.source_hash(STUDIES[claim]), f"run again: companion study {claim}"


@pytest.mark.parametrize("claim", STUDIES)
def test_stored_result_is_complete(claim):
    study = store.stored(claim)
    assert study.claim == claim
    assert not hasattr(STUDIES[claim], "CLAIM") or claims.load()[claim].kind == "measured"
    least = 3 if max(study.seconds) > 20 else 5
    assert len(study.seeds) == len(set(study.seeds)) == len(study.seconds) >= least
    assert study.numbers and all(len(v) == len(study.seeds) for v in study.numbers.values())
    assert torch.isfinite(torch.tensor(list(study.numbers.values()))).all()
    assert set(study.versions) == {"python", "torch"} and study.device and study.threads >= 1


def test_every_stored_file_has_a_study():
    stored = {p.stem for p in Path(store.folders.data(), "studies").glob("*.json")}
    assert stored == set(STUDIES)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9))
@settings(deadline=None, derandomize=True)
def test_interval_equals_scipy(values):
    mean, low, high, n = store.estimate(values)
    assert n == len(values) and low <= mean <= high
    if high - low > 1e-9:
        expected = stats.t.interval(0.95, n - 1, loc=mean, scale=stats.sem(values))
        assert (low, high) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_one_value_has_no_interval():
    with pytest.raises(ValueError, match="at least two"):
        store.estimate([1.0])


def test_record_and_read_back(toy, device):
    written = store.record("toy", range(3), device)
    assert written == store.stored("toy")
    assert written.numbers == {"x": [0.0, 1.0, 2.0]} and written.seeds == [0, 1, 2]
    assert not list(Path(store.folders.data(), "studies").glob("*.partial"))


def test_a_failing_run_leaves_the_stored_result(toy):
    before = store.record("toy", range(2), torch.device("cpu"))
    toy.run = lambda seed, device: {"x": 1 / seed}
    with pytest.raises(ZeroDivisionError):
        store.record("toy", range(2), torch.device("cpu"))
    assert store.stored("toy") == before


def test_source_hash_sees_code_but_not_words(toy):
    path, first = Path(toy.__file__), store.source_hash(toy)
    path.write_text(path.read_text().replace("Doc.", "Better words.").replace("# why", "# reason") + "\n\n")
    path.write_text(path.read_text().replace('"toy"\n', '"toy"\n"""What the constant is for."""\n'))
    assert store.source_hash(toy) == first
    path.write_text(path.read_text().replace('"x": seed', '"x": seed + 1'))
    assert store.source_hash(toy) != first


def test_source_hash_follows_imports(tmp_path, monkeypatch):
    package = tmp_path / "companion"
    package.mkdir()
    (package / "a.py").write_text("from companion import b\n")
    (package / "b.py").write_text("X = 1\n")
    monkeypatch.setattr(store, "PACKAGE", package)
    module = SimpleNamespace(__file__=str(package / "a.py"))
    first = store.source_hash(module)
    (package / "b.py").write_text("X = 2\n")
    assert store.source_hash(module) != first


def test_missing_study_missing_result_and_missing_number_say_so(toy):
    with pytest.raises(store.StudyError, match="no study of 'other'; there are: toy"):
        store.record("other", range(2), torch.device("cpu"))
    with pytest.raises(store.StudyError, match="companion study toy"):
        store.stored("toy")
    store.record("toy", range(2), torch.device("cpu"))
    with pytest.raises(store.StudyError, match="no number 'y', but: x"):
        store.stored("toy").estimate("y")


def test_a_run_that_was_cut_off_goes_on_where_it_stopped(toy):
    ran = []

    def run(seed, device):
        ran.append(seed)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return {"x": float(seed)}

    toy.run = run
    with pytest.raises(KeyboardInterrupt):
        store.record("toy", range(3), torch.device("cpu"))
    assert store.record("toy", range(3), torch.device("cpu")).numbers == {"x": [0.0, 1.0, 2.0]}
    assert ran == [0, 1, 1, 2]                                           # seed 0 was not run again
    assert not list(Path(store.folders.data(), "cache", "studies").iterdir())


def test_changed_code_does_not_go_on_with_old_numbers(toy):
    def broken(seed, device):
        if seed:
            raise KeyboardInterrupt
        return {"x": -1.0}

    toy.run = broken
    with pytest.raises(KeyboardInterrupt):
        store.record("toy", range(2), torch.device("cpu"))
    Path(toy.__file__).write_text('CLAIM = "toy"\n')
    toy.run = lambda seed, device: {"x": float(seed)}
    assert store.record("toy", range(2), torch.device("cpu")).numbers == {"x": [0.0, 1.0]}


def test_as_many_seeds_as_are_stored(toy):
    assert store.seeds("toy") == 5
    store.record("toy", [0, 1, 2], torch.device("cpu"))
    assert store.seeds("toy") == 3


def test_processes_give_the_numbers_of_one(monkeypatch, tmp_path):
    """A real study in real processes, which share the threads."""
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path))
    one = store.record("training-reduces-loss", [0, 1], torch.device("cpu"))
    two = store.record("training-reduces-loss", [0, 1], torch.device("cpu"), jobs=2)
    assert two.seeds == [0, 1] and two.numbers == {k: pytest.approx(v, abs=0.05) for k, v in one.numbers.items()}
    assert two.threads == max(1, torch.get_num_threads() // 2)


def test_jobs_give_the_same_numbers_in_the_order_of_the_seeds(toy, monkeypatch):
    monkeypatch.setattr(store, "ProcessPoolExecutor", lambda jobs, mp_context: ThreadPoolExecutor(jobs))
    toy.run = lambda seed, device: time.sleep(0.2 - seed / 10) or {"x": float(seed)}
    assert store.record("toy", [0, 1], torch.device("cpu"), jobs=2).numbers == {"x": [0.0, 1.0]}
