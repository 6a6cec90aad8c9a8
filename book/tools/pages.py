"""Write what is generated: pages *Claims*, *Cards of the phantoms*, *Map of the review*, cover, manifest, and the tree.

``python book/tools/pages.py``; part of ``make book`` and ``make notebooks``. A test fails where the stored pages differ
from what this writes.
"""

import ast
import base64
import hashlib
import inspect
import json
import os
import re
import textwrap
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tree

from companion import claims

ROOT = Path(__file__).resolve().parents[2]
FRONT = ROOT / "book" / "front"
PARTS = {"big-picture": "The big picture", "building-blocks": "Building blocks", "training": "Training",
         "overfitting": "Overfitting", "transfer-learning": "Transfer learning",
         "radiology-applications": "Applications in radiology", "interpretability": "Challenges: interpretability"}
OUTCOMES = ("holds", "supported", "mixed", "not supported", "stated", "not yet")
PLUMBING = tuple(f"companion.{m}." for m in ("claims", "hardware", "plotting", "studies.store"))
COVER = ("1-building-blocks/1-image-and-cnn.ipynb", "after-fig-1")


@dataclass(frozen=True)
class Chapter:
    """What the map needs to know of one notebook."""

    path: Path
    title: str
    review: list[str]
    tags: dict[str, str | None]         # tag of a cell -> name of its figure
    functions: list[str]

    @property
    def link(self) -> str:
        """Link from a page of the front matter."""
        return f"[{self.title}](../{self.path.relative_to(ROOT / 'book').as_posix()})"


def read_chapter(path: Path) -> Chapter:
    """Title, sections of the review, tags and used functions of a notebook."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    title = "".join(notebook["cells"][0]["source"]).splitlines()[0].removeprefix("# ")
    review = notebook["metadata"].get("companion", {}).get("review", [])
    tags = {tag: c["metadata"].get("mystnb", {}).get("figure", {}).get("name")
            for c in code for tag in c["metadata"].get("tags", [])}
    return Chapter(path, title, review, tags, used_functions("\n".join("".join(c["source"]) for c in code)))


def used_functions(code: str) -> list[str]:
    """Full names of the functions and classes of ``companion`` that the code uses, in alphabetical order."""
    modules, names = {}, set()
    parsed = ast.parse(code)
    for node in ast.walk(parsed):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("companion"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if is_module(full):
                    modules[alias.asname or alias.name] = full
                else:
                    names.add(home(node.module, alias.name))
    for node in ast.walk(parsed):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            names.add(home(modules[node.value.id], node.attr))
    return sorted(names - {""})


def home(module: str, name: str) -> str:
    """Full name of what a module offers under this name, where it is defined; empty where nothing is."""
    place = ROOT.joinpath(*module.split("."))
    path = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return f"{module}.{name}"
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if name in {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}:
                return f"{module}.{name}"
        if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) == name for a in node.names):
            inner = next(a.name for a in node.names if (a.asname or a.name) == name)
            return home(node.module, inner) if (node.module or "").startswith("companion") else ""
    return ""


def is_module(name: str) -> bool:
    """Whether a dotted name is a module or package of this repository."""
    place = ROOT.joinpath(*name.split("."))
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def test_file(module: str) -> str | None:
    """The test of a module: tests/test_NAME.py, where NAME is its own name, else its package's."""
    for name in reversed(module.split(".")[1:]):
        if (ROOT / "tests" / f"test_{name}.py").is_file():
            return f"tests/test_{name}.py"
    return None


def claims_page(found: dict) -> str:
    """The page *Claims*: every claim of the review with what the notebooks found."""
    all_claims = claims.load()
    outcome = {c: found[c][0][1]["outcome"] if c in found else "not yet" for c in all_claims}
    counts = Counter(outcome.values())
    tally = ", ".join(f"{counts[o]} {'hold' if o == 'holds' else o}" for o in OUTCOMES if counts[o])
    lines = ["# Claims", "",
             f"The review makes {len(all_claims)} statements that can be put to the test. So far: **{tally}**.", "",
             "An *exact* claim follows from definitions and must hold to floating-point precision. A *measured* claim",
             "is an experiment: it is *supported* where every condition holds, *mixed* where some do, *not supported*",
             "where none does, on our data; the numbers are means with 95 % intervals over seeds. A *stated* claim is",
             "a definition. *Not yet* means that no chapter has reached it. This page is written from the notebooks'",
             "own outputs; each outcome links to the cell where it was found.", "",
             "Phantoms and handwritten digits are not clinical evidence: an outcome says what happened on these data.",
             ""]
    for part, heading in PARTS.items():
        lines += [f"## {heading}", "",
                  "| claim | review | outcome | found |", "|---|---|---|---|"]
        lines += [_claim_row(c, outcome[c.id], found.get(c.id)) for c in all_claims.values() if c.part == part]
        lines.append("")
    return "\n".join(lines)


def _claim_row(claim: claims.Claim, outcome: str, where: list | None) -> str:
    says = f"{claim.says}<br>`{claim.id}`, {claim.kind}"
    if not where:
        return f"| {says} | {claim.at} | {outcome} | |"
    path, finding = where[0]
    target = path.relative_to(ROOT / "book").with_suffix(".html").as_posix()
    link = f'<a href="../{target}#claim-{claim.id}" title="{read_chapter(path).title}">{outcome}</a>'
    evidence = "<br>".join(e.replace("|", "\\|") for e in finding["evidence"])
    return f"| {says} | {claim.at} | **{link}** | {evidence} |"


def map_page(chapters: list[Chapter]) -> str:
    """The page *Map of the review*: section, figure, table -> chapter -> functions -> tests."""
    review = tomllib.loads((ROOT / "book" / "tools" / "review.toml").read_text(encoding="utf-8"))
    lines = ["# Map of the review", "",
             "Where each section, figure and table of the review is treated, with which functions, and which tests",
             "hold them. Written from the notebooks themselves.", "",
             "## Figures and tables", "", "| review | shows | here | chapter |", "|---|---|---|---|"]
    for kind, label in (("figures", "fig"), ("tables", "table")):
        for number, shows in review[kind].items():
            name = f"{'Fig.' if label == 'fig' else 'Table'} {number}"
            lines.append(_figure_row(name, shows, f"after-{label}-{number}", chapters))
    lines += ["", "## Sections", "", "| section | chapters |", "|---|---|"]
    for section in review["sections"]:
        links = "<br>".join(c.link for c in chapters if section in c.review)
        lines.append(f"| {section} | {links or 'not yet'} |")
    lines += ["", "## Chapters, functions, tests", "", "| chapter | functions | tests |", "|---|---|---|"]
    for c in chapters:
        taught = [f for f in c.functions if not f.startswith(PLUMBING) and not f.rsplit(".", 1)[1].isupper()]
        functions = "<br>".join(f"{{py:obj}}`{f}`" for f in taught)
        modules = sorted({f.rsplit(".", 1)[0] for f in taught})
        tests = sorted({t for m in modules if (t := test_file(m))})
        lines.append(f"| {c.link} | {functions} | {'<br>'.join(f'`{t}`' for t in tests)} |")
    return "\n".join([*lines, ""])


def _figure_row(name: str, shows: str, tag: str, chapters: list[Chapter]) -> str:
    here = [c for c in chapters if tag in c.tags]
    figures = "<br>".join(f"{{numref}}`{c.tags[tag]}`" for c in here if c.tags[tag])
    return f"| {name} | {shows} | {figures} | {'<br>'.join(c.link for c in here) or 'not yet'} |"


def cards_page() -> str:
    """The page *Cards of the phantoms*: the docstring of every module that simulates examinations."""
    lines = ["# Cards of the phantoms", "",
             "What each simulated examination models and what it does not, where its numbers come from, and its",
             "limits. Written from the docstrings of the modules themselves. No phantom is clinical evidence.",
             "[Data of this book](data.ipynb) shows how they look.", ""]
    for path in sorted((ROOT / "companion" / "datasets").rglob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        docstring = ast.get_docstring(module) or ""
        if "\nWhat is modelled\n" in docstring:
            lines += card(".".join(path.relative_to(ROOT).with_suffix("").parts), docstring) + knobs(module)
    return "\n".join(lines)


def card(module: str, docstring: str) -> list[str]:
    """One card as Markdown: first line as heading, the parts under their names."""
    head, *blocks = docstring.replace("``", "`").replace("\\*", "*").split("\n\n")
    lines = [f"## {' '.join(head.split()).partition('. Book')[0].removesuffix('.')}", "", f"{{py:mod}}`{module}`", ""]
    for block in blocks:
        if part := re.match(r"(\S.*)\n(?=    )", block):
            lines += [f"**{part[1]}.** {' '.join(textwrap.dedent(block[part.end():]).split())}", ""]
        else:
            lines += [" ".join(block.split()), ""]
    return lines


def knobs(module: ast.Module) -> list[str]:
    """What can be turned to make a phantom easier or harder: the keyword arguments of ``draw``, with their defaults."""
    draw = next((f for f in module.body if isinstance(f, ast.FunctionDef) and f.name == "draw"), None)
    if draw is None or not draw.args.kwonlyargs:
        return []
    arguments = inspect.cleandoc(ast.get_docstring(draw)).partition("Args:\n")[2].partition("\n\n")[0]
    says = {m[1]: " ".join(m[2].split()) for m in re.finditer(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", arguments, re.M)}
    lines = ["**Knobs** of `draw` and their defaults:", ""]
    for argument, default in zip(draw.args.kwonlyargs, draw.args.kw_defaults, strict=True):
        lines.append(f"- `{argument.arg} = {ast.unparse(default)}`: {says[argument.arg].replace('``', '`')}")
    return [*lines, ""]


def cover() -> bytes:
    """The picture of the landing page: our Fig. 1, taken from the chapter that draws it."""
    place, tag = COVER
    cells = json.loads((ROOT / "book" / place).read_text(encoding="utf-8"))["cells"]
    cell = next(c for c in cells if tag in c["metadata"].get("tags", []))
    return base64.b64decode(next(o["data"]["image/png"] for o in cell["outputs"] if "image/png" in o.get("data", {})))


def manifest() -> str:
    """The list of the data files that are shipped: SHA-256, licence, how each was made."""
    made = {"studies": "companion study {}", "weights": "see the study of the same name"}
    files = [p for folder in made for p in sorted((ROOT / "data" / folder).glob("*")) if p.suffix != ".partial"]
    entries = {p.relative_to(ROOT / "data").as_posix(): {"sha256": hashlib.sha256(p.read_bytes()).hexdigest(),
                                                         "licence": "CC-BY-4.0",
                                                         "made": made[p.parent.name].format(p.stem)} for p in files}
    return json.dumps(entries, indent=1) + "\n"


def pages() -> dict[Path, bytes]:
    """Every generated file with its content."""
    paths = sorted(p for p in (ROOT / "book").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    return {FRONT / "claims.md": claims_page(claims.collect(ROOT / "book")).encode(),
            FRONT / "cards.md": cards_page().encode(),
            FRONT / "map.md": map_page([read_chapter(p) for p in paths]).encode(),
            FRONT / "cover.png": cover(),
            ROOT / "data" / "manifest.json": manifest().encode(),
            ROOT / "README.md": tree.readme().encode()}


def main() -> None:
    """Write the pages, each in one step."""
    for path, content in pages().items():
        partial = path.with_suffix(".partial")
        partial.write_bytes(content)
        os.replace(partial, path)


if __name__ == "__main__":
    main()
