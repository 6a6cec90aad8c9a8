"""Studies: stored with provenance, read back, and never older than their code."""

import importlib
import json
import platform
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
    least = 3 if max(study.seconds) > 20 or not hasattr(STUDIES[claim], "CLAIM") else 5
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


SETUPS = {"torch": (torch, "__version__", "0.0"), "python": (platform, "python_version", lambda: "0.0"),
          "threads": (torch, "get_num_threads", lambda: 99), "device": (store, "_name", lambda device: "another")}


@pytest.mark.parametrize("setup", SETUPS)
def test_another_setup_starts_anew_and_leaves_no_cache(toy, monkeypatch, setup):
    """All numbers of a study come from the one device, number of threads and versions that it names."""
    toy.run = stops_at_seed_1
    with pytest.raises(KeyboardInterrupt):
        store.record("toy", range(2), torch.device("cpu"))
    (other := store.folders.data() / "cache" / "studies" / "toy-2").mkdir()      # another claim's
    toy.run = lambda seed, device: {"x": float(seed)}
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr(*SETUPS[setup])
    assert store.record("toy", range(2), torch.device("cpu")).numbers == {"x": [0.0, 1.0]}
    assert list(other.parent.iterdir()) == [other]


def stops_at_seed_1(seed, device):
    if seed:
        raise KeyboardInterrupt
    return {"x": -1.0}


def test_a_process_that_was_killed_is_explained_and_finished_seeds_are_kept(toy, monkeypatch, tmp_path):
    (tmp_path / "killed.py").write_text(
        "import os, signal, time\n\n\ndef run(claim, seed, device, threads, cache):\n"
        "    if seed:\n        while not (cache / '0.json').exists():\n            time.sleep(0.01)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    (cache / '0.partial').write_text('{\"numbers\": {\"x\": 7.0}, \"seconds\": 0.1}')\n"
        "    (cache / '0.partial').rename(cache / '0.json')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_run", importlib.import_module("killed").run)
        with pytest.raises(store.StudyError, match="probably for lack of memory: take fewer --jobs; .*"
                                                   "OMP_NUM_THREADS=2 and --jobs 1"):
            store.record("toy", range(2), torch.device("cpu"), jobs=2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)                     # what the message advises
    assert store.record("toy", range(2), torch.device("cpu")).numbers == {"x": [7.0, 1.0]}


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"claim": "toy"}', '{"claim": "toy", "colour": 1}', "whole"])
def test_a_damaged_stored_study_names_its_file_and_can_be_run_again(toy, text):
    store.record("toy", range(2), torch.device("cpu"))
    path = store.folders.data() / "studies" / "toy.json"
    whole = json.loads(path.read_text())
    path.write_text(text if text != "whole" else json.dumps(whole | {"seeds": 2}))
    with pytest.raises(store.StudyError, match=r"toy\.json .*restore it .*, or run `companion study toy`"):
        store.stored("toy")
    assert store.seeds("toy") == 5
    assert store.record("toy", range(2), torch.device("cpu")) == store.stored("toy")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "0.5", None, True, torch.tensor(1.0)])
def test_what_is_no_finite_number_is_refused_before_it_is_stored(toy, value):
    toy.run = lambda seed, device: {"x": float(seed), "y": value if seed else 0.0}
    with pytest.raises(store.StudyError, match="seed 1 .*'y'.* finite"):
        store.record("toy", range(2), torch.device("cpu"))
    assert [p.name for p in store.folders.data().rglob("*.json")] == ["0.json"]
    toy.run = lambda seed, device: {"x": float(seed), "y": 1.0}
    assert store.record("toy", range(2), torch.device("cpu")).numbers == {"x": [0.0, 1.0], "y": [0.0, 1.0]}


def test_fewer_seeds_do_not_replace_more(toy):
    before = store.record("toy", range(4), torch.device("cpu"))
    toy.run = lambda seed, device: pytest.fail("ran")
    with pytest.raises(store.StudyError, match=r"2 seeds .*toy\.json holds .* 4: run with at least 4, or remove"):
        store.record("toy", range(2), torch.device("cpu"))
    assert store.stored("toy") == before
    toy.run = lambda seed, device: {"x": 0.0}
    assert store.record("toy", range(5), torch.device("cpu")).seeds == [0, 1, 2, 3, 4]
