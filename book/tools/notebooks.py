"""Execute every notebook of the book in place and bring it into one normal form.

``python book/tools/notebooks.py [NOTEBOOK ...]``, or ``make notebooks`` for all. The normal form holds no timings, no
machine and no user, so that a second run changes nothing.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

BOOK = Path(__file__).resolve().parents[1]
OFFLINE = BOOK.parent / "tests" / "offline"
CELL_SECONDS = 300
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
          "language_info": {"name": "python"}}


def find() -> list[Path]:
    """Every notebook of the book."""
    return sorted(p for p in BOOK.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook in normal form; notebook metadata other than ``companion`` go, cells are numbered in order."""
    kept = {k: v for k, v in notebook.metadata.items() if k == "companion"}
    notebook.metadata = nbformat.from_dict({**KERNEL, **kept})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number:02d}"
        cell.metadata = nbformat.from_dict({k: v for k, v in sorted(cell.metadata.items()) if k in ("tags", "mystnb")})
        if cell.cell_type == "code":
            cell.outputs = _join_streams(cell.outputs)
            for output in cell.outputs:
                if "metadata" in output:
                    output.metadata = nbformat.from_dict({})
    return notebook


def execute(path: Path) -> float:
    """Run one notebook with its folder as working directory and store it; returns the seconds it took.

    Raises:
        CellExecutionError: where a cell fails; the stored notebook then stays as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    NotebookClient(notebook, timeout=CELL_SECONDS, kernel_name="python3",
                   resources={"metadata": {"path": str(path.parent)}}).execute()
    seconds = time.perf_counter() - start
    write(path, notebook)
    return seconds


def write(path: Path, notebook: nbformat.NotebookNode) -> None:
    """Store a notebook in normal form, atomically."""
    partial = path.with_suffix(".partial")
    partial.write_text(nbformat.writes(normalise(notebook)) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _join_streams(outputs: list) -> list:
    joined: list = []
    for output in outputs:
        before = joined[-1] if joined else {}
        if output.output_type == "stream" and before.get("name") == output.name:
            before.text += output.text          # the kernel cuts one stream into pieces at random
        else:
            joined.append(output)
    return joined


def main() -> int:
    """Execute the notebooks named on the command line, or all, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")           # one thread a notebook: the same last digits on any machine
    os.environ["COMPANION_PROGRESS"] = "0"                  # no line of progress in stored outputs
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")]))
    paths = [p.resolve() for p in options.notebooks] or find()
    failed = 0
    with ThreadPoolExecutor(options.workers) as pool:
        for path, run in [(p, pool.submit(execute, p)) for p in paths]:
            try:
                print(f"{run.result():5.1f} s  {path.relative_to(BOOK.parent)}", flush=True)
            except CellExecutionError as error:     # one broken notebook must not hide the others
                failed += 1
                print(f"failed   {path.relative_to(BOOK.parent)}\n{error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
