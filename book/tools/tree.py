"""The tree of README.md: one line per file, in the words of each file's own docstring or title."""

import ast
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START, END = "<!-- tree: written by book/tools/pages.py -->", "<!-- end of tree -->"
TOP = {
    "Makefile": "make book, test, notebooks, lint, clean",
    "_config.yml": "the book: look, extensions, rules",
    "_toc.yml": "the book: order of the pages",
    "pyproject.toml": "the package, its extras, ruff, pytest",
    "constraints.txt": "the exact versions that the tests use",
    "references.bib": "the sources, the review's 63 among them",
    "CONTRIBUTING.md": "how to add a chapter, a model, a phantom, a claim",
    "CITATION.cff": "how to cite",
    "LICENSE": "BSD-3-Clause, for code",
    "LICENSE-TEXT": "CC BY 4.0, for text and figures",
    "conftest.py": "no network for the kernels that the tests start",
    ".ci/run": "what a fresh machine lacks, then make test",
}
FOLDERS = ("book", "companion", "data", "tests", "benchmarks")
SHOWN = {".py", ".ipynb", ".md", ".toml", ".json", ".txt", ".css", ".svg"}
WIDTH = 78
WORDS = {"cover.png": "the picture of the landing page", "page.png": "the picture above"}


def summary(path: Path) -> str:
    """What a file is, in one line: the first line of its docstring, the title of its notebook or page."""
    text = path.read_text(encoding="utf-8") if path.suffix in SHOWN else ""
    if path.suffix == ".py":
        return short((ast.get_docstring(ast.parse(text)) or "").split("\n")[0].replace("``", ""))
    if path.suffix == ".ipynb":
        return "".join(json.loads(text)["cells"][0]["source"]).splitlines()[0].removeprefix("# ")
    if path.suffix == ".md":
        return next((line[2:] for line in text.splitlines() if line.startswith("# ")), "")
    if path.suffix == ".json" and path.parent.name == "studies":
        return f"stored result of the study of {path.stem}"
    if path.suffix == ".toml":
        return short(next(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#")))
    return {"manifest.json": "SHA-256, licence and origin of the shipped data files",
            "book.css": "claims, figures and tables on the page", "logo.svg": "the logo",
            "pydicom_files.txt": "which of pydicom's test files load, and why the others do not"}.get(path.name, "")


def short(words: str) -> str:
    """The first sentence, cut where a part of it ends if it is long."""
    words = re.split(r"(?<=[?])\s|(?<!Fig)\. |\.$", words)[0]
    while len(words) > WIDTH and re.search(r"[,:;(]\s?[^,:;(]*$", words):
        words = re.sub(r"\s?[,:;(]\s?[^,:;(]*$", "", words)
    return words


def tree() -> str:
    """The whole tree as text."""
    lines = [f"{name:<34}{words}" for name, words in TOP.items()]
    for folder in FOLDERS:
        lines += _folder(ROOT / folder, 0)
    return "\n".join(lines)


def _folder(folder: Path, depth: int) -> list[str]:
    lines = ["  " * depth + folder.name + "/"]
    skipped = {"__pycache__", ".ipynb_checkpoints", "cache", "api"}
    entries = sorted((p for p in folder.iterdir() if p.name not in skipped), key=lambda p: (p.is_dir(), p.name))
    for path in entries:
        if path.is_dir():
            lines += _folder(path, depth + 1)
        elif path.suffix in SHOWN or path.name in WORDS:
            name = "  " * (depth + 1) + path.name
            lines.append(f"{name:<34}{' ' if len(name) > 33 else ''}{WORDS.get(path.name) or summary(path)}".rstrip())
    return lines


def readme() -> str:
    """README.md with its tree brought up to date."""
    before, rest = (ROOT / "README.md").read_text(encoding="utf-8").split(START)
    return f"{before}{START}\n\n```\n{tree()}\n```\n\n{END}{rest.split(END)[1]}"

