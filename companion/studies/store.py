"""Run a study over seeds, store its numbers with their provenance, read them back. See ``companion.studies``."""

import ast
import hashlib
import importlib
import io
import json
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
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import torch
from scipy.stats import t as student

from companion import folders, studies
from companion.claims import Estimate

PACKAGE = Path(__file__).resolve().parents[1]


class StudyError(ValueError):
    """A study that does not exist or has no stored result."""


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
    where it stopped, unless the code or the device has changed since.

    Args:
        jobs: seeds that run side by side, each in a process with its share of this one's threads.

    Raises:
        StudyError: for a claim that has no study.
    """
    module = find().get(claim)
    if module is None:
        raise StudyError(f"no study of {claim!r}; there are: {', '.join(find())}")
    seeds, source = list(seeds), source_hash(module)
    cache = folders.data() / "cache" / "studies" / f"{claim}-{device.type}-{source[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    todo = [seed for seed in seeds if not (cache / f"{seed}.json").exists()]
    jobs = min(jobs, len(seeds))
    threads = max(1, torch.get_num_threads() // jobs)
    if jobs == 1:
        for seed in todo:
            _run(claim, seed, device, threads, cache)
    else:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            for done in [pool.submit(_run, claim, seed, device, threads, cache) for seed in todo]:
                done.result()
    results = [json.loads((cache / f"{seed}.json").read_text(encoding="utf-8")) for seed in seeds]
    numbers = {name: [r["numbers"][name] for r in results] for name in results[0]["numbers"]}
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    study = Study(claim, seeds, numbers, [r["seconds"] for r in results], _name(device), threads,
                  versions, source)
    _put(_path(claim), json.dumps(asdict(study), indent=1) + "\n")
    shutil.rmtree(cache)
    return study


def _run(claim: str, seed: int, device: torch.device, threads: int, cache: Path) -> None:
    torch.set_num_threads(threads)
    start = time.perf_counter()
    numbers = find()[claim].run(seed, device)
    seconds = round(time.perf_counter() - start, 1)
    _put(cache / f"{seed}.json", json.dumps({"numbers": numbers, "seconds": seconds}))


def stored(claim: str) -> Study:
    """The stored study of a claim.

    Raises:
        StudyError: where none is stored.
    """
    try:
        return Study(**json.loads(_path(claim).read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise StudyError(f"no result of {claim!r} in {_path(claim).parent}: run `companion study {claim}`, or set "
                         "COMPANION_DATA to the data folder of a clone of the repository") from error


def seeds(claim: str) -> int:
    """How many seeds to run: as many as are stored, else five."""
    return len(stored(claim).seeds) if _path(claim).exists() else 5


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
