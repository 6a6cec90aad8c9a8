"""Run a study over seeds, store its numbers with their provenance, read them back. See ``companion.studies``."""

import ast
import hashlib
import importlib
import io
import json
import math
import multiprocessing
import os
import pkgutil
import platform
import shutil
import statistics
import time
import tokenize
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import torch
from scipy.stats import t as student

from companion import folders, studies
from companion.claims import Estimate

PACKAGE = Path(__file__).resolve().parents[1]


class StudyError(ValueError):
    """A study that does not exist, has no whole stored result or can not be stored."""


@dataclass(frozen=True)
class Study:
    """Stored numbers of a study: one list per name, one value per seed, and where they come from."""

    claim: str
    seeds: list[int]
    numbers: dict[str, list[float]]
    seconds: list[float]
    device: str
    threads: int
    versions: dict[str, str]
    source: str

    def estimate(self, name: str) -> Estimate:
        """Mean over the seeds with its 95 % interval (Student's t).

        Raises:
            StudyError: for a name that the study does not have.
        """
        if name not in self.numbers:
            raise StudyError(f"the study of {self.claim} has no number {name!r}, but: {', '.join(self.numbers)}")
        return estimate(self.numbers[name])


def estimate(values: list[float]) -> Estimate:
    """Mean of independent values with its 95 % interval by Student's t.

    Raises:
        ValueError: for fewer than two values, which have no spread.
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"{n} value has no interval: give at least two")
    mean, half = statistics.fmean(values), student.ppf(0.975, n - 1) * statistics.stdev(values) / n**0.5
    return Estimate(mean, mean - half, mean + half, n)


def find() -> dict[str, ModuleType]:
    """All studies by the id of their claim, or by their ``NAME`` where they serve no claim."""
    modules = [importlib.import_module(f"companion.studies.{m.name}") for m in pkgutil.iter_modules(studies.__path__)]
    named = {getattr(m, "CLAIM", getattr(m, "NAME", None)): m for m in modules}
    return {name: m for name, m in named.items() if name}


def record(claim: str, seeds: Iterable[int], device: torch.device, jobs: int = 1) -> Study:
    """Run the study of a claim over the seeds and store it, atomically, in ``data/studies``.

    Each seed's numbers are kept in ``data/cache/studies`` as soon as they are there: a run that was cut off goes on
    where it stopped, unless the code, the device, the threads of a seed or the versions have changed since.

    Args:
        jobs: seeds that run side by side, each in a process with its share of this one's threads.

    Raises:
        StudyError: for a claim that has no study, for fewer seeds than are stored, for a number that is not finite, and
            where a seed's process is ended from outside.
    """
    module = find().get(claim)
    if module is None:
        raise StudyError(f"no study of {claim!r}; there are: {', '.join(find())}")
    seeds = list(seeds)
    _require_no_fewer(claim, len(seeds))
    jobs = min(jobs, len(seeds))
    setup = {"device": _name(device), "threads": max(1, torch.get_num_threads() // jobs),
             "versions": {"python": platform.python_version(), "torch": torch.__version__},
             "source": source_hash(module)}
    caches = folders.data() / "cache" / "studies" / claim
    results = _results(claim, seeds, device, jobs, setup["threads"], caches / _short_hash(setup))
    numbers = {name: [results[seed]["numbers"][name] for seed in seeds] for name in results[seeds[0]]["numbers"]}
    study = Study(claim, seeds, numbers, [results[seed]["seconds"] for seed in seeds], **setup)
    _put(_path(claim), json.dumps(asdict(study), indent=1) + "\n")
    shutil.rmtree(caches, ignore_errors=True)                            # those of other set-ups too
    return study


def _results(claim: str, seeds: list[int], device: torch.device, jobs: int, threads: int, cache: Path) -> dict:
    """Numbers and seconds by seed: from the cache where they are there, else from a run."""
    cache.mkdir(parents=True, exist_ok=True)
    kept = {seed: cache / f"{seed}.json" for seed in seeds if (cache / f"{seed}.json").exists()}
    results = {seed: json.loads(path.read_text(encoding="utf-8")) for seed, path in kept.items()}
    todo = [seed for seed in seeds if seed not in results]
    if jobs == 1:
        return results | {seed: _run(claim, seed, device, threads, cache) for seed in todo}
    try:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            runs = {seed: pool.submit(_run, claim, seed, device, threads, cache) for seed in todo}
            return results | {seed: run.result() for seed, run in runs.items()}
    except BrokenProcessPool as error:
        fewer = jobs // 2
        raise StudyError("a seed's process was ended, probably for lack of memory: take fewer --jobs; set "
                         f"OMP_NUM_THREADS={threads * fewer} and --jobs {fewer} to go on with the finished "
                         "seeds") from error


def _run(claim: str, seed: int, device: torch.device, threads: int, cache: Path) -> dict:
    torch.set_num_threads(threads)
    start = time.perf_counter()
    numbers = find()[claim].run(seed, device)
    seconds = round(time.perf_counter() - start, 1)
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise StudyError(f"the study of {claim} gives {value!r} for seed {seed} as {name!r}, but all its values "
                             "must be finite numbers: mend its run(); nothing is stored")
    _put(cache / f"{seed}.json", json.dumps({"numbers": numbers, "seconds": seconds}))
    return {"numbers": numbers, "seconds": seconds}


def _short_hash(setup: dict) -> str:
    return hashlib.sha256(json.dumps(setup, sort_keys=True).encode()).hexdigest()[:16]


def _require_no_fewer(claim: str, n: int) -> None:
    if n < (before := _stored_seeds(claim)):
        raise StudyError(f"{n} seeds are asked for, but {_path(claim)} holds a better result, of {before}: run with at "
                         f"least {before}, or remove the file first")


def stored(claim: str) -> Study:
    """The stored study of a claim.

    Raises:
        StudyError: where none is stored, or its file is damaged.
    """
    try:
        study = Study(**json.loads(_path(claim).read_text(encoding="utf-8")))
        if {len(values) for values in (study.seconds, *study.numbers.values())} != {len(study.seeds)}:
            raise ValueError("its lists differ in length")
        return study
    except FileNotFoundError as error:
        raise StudyError(f"no result of {claim!r} in {_path(claim).parent}: run `companion study {claim}`, or set "
                         "COMPANION_DATA to the data folder of a clone of the repository") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise StudyError(f"{_path(claim)} is damaged ({error}): restore it from the repository, or run `companion "
                         f"study {claim}`") from error


def seeds(claim: str) -> int:
    """How many seeds to run: as many as are stored, else five."""
    return _stored_seeds(claim) or 5


def _stored_seeds(claim: str) -> int:
    """Number of seeds of the stored study; 0 where there is none, or its file is damaged."""
    try:
        return len(stored(claim).seeds)
    except StudyError:
        return 0


def source_hash(module: ModuleType) -> str:
    """SHA-256 of the code that a study runs: its own file and every ``companion`` file it imports, directly or not.

    Comments, docstrings and blank lines do not count, so that better words do not ask for a new run.
    """
    files, todo = set(), [Path(module.__file__)]
    while todo:
        if (path := todo.pop()) not in files:
            files.add(path)
            todo += _imports(path)
    code = "".join(f"# {f.relative_to(PACKAGE)}\n{_bare(f.read_text(encoding='utf-8'))}\n"
                   for f in sorted(files))
    return hashlib.sha256(code.encode()).hexdigest()


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _path(claim: str) -> Path:
    return folders.data() / "studies" / f"{claim}.json"


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type} ({platform.machine()})"


def _imports(path: Path) -> list[Path]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    places = [PACKAGE.parent.joinpath(*name.split(".")) for name in names if name.startswith("companion")]
    return [f for place in places for f in (place.with_suffix(".py"), place / "__init__.py") if f.is_file()]


def _bare(source: str) -> str:
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines[node.lineno - 1:node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)    # a docstring
    return "\n".join(line.rstrip() for line in lines if line.strip())
