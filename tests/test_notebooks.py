"""What nbval does not see: counts, errors, alt text, captions, cell length, normal form. nbval runs every cell."""

import re
import statistics
from pathlib import Path

import nbformat
import notebooks
import pages
import pytest

ROOT = Path(__file__).resolve().parents[1]
PATHS = notebooks.find()
IDS = [str(p.relative_to(ROOT / "book")) for p in PATHS]
each_notebook = pytest.mark.parametrize("path", PATHS, ids=IDS)
REVIEW = pages.tomllib.loads((ROOT / "book" / "tools" / "review.toml").read_text(encoding="utf-8"))


def cells(path, kind="code"):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == kind]


def lines(cell):
    return cell.source.splitlines()


def text(path):
    return "\n".join(c.source for c in cells(path, "markdown"))


def has_image(cell):
    return any(mime.startswith("image/") for o in cell.outputs for mime in o.get("data", {}))


def test_there_are_notebooks():
    assert len(PATHS) >= 5


@each_notebook
def test_every_cell_was_run_once_in_order(path):
    # nbval passes a cell whose count is null without looking at its output.
    assert [c.execution_count for c in cells(path)] == list(range(1, len(cells(path)) + 1))


@each_notebook
def test_no_stray_error_or_stderr(path):
    for cell in cells(path):
        kinds = {o.output_type for o in cell.outputs}
        assert "error" not in kinds or "raises-exception" in cell.metadata.get("tags", []), cell.source
        assert "stderr" not in {o.get("name") for o in cell.outputs}, cell.source


@each_notebook
def test_nothing_is_hidden_from_nbval(path):
    for cell in cells(path):
        assert not re.search(r"#\s*NBVAL|#\s*PYTEST_VALIDATE", cell.source), cell.source
        assert not {t for t in cell.metadata.get("tags", []) if "nbval" in t or "skip" in t}


@each_notebook
def test_every_image_has_alt_text_and_every_figure_a_caption(path):
    for cell in filter(has_image, cells(path)):
        options = cell.metadata.get("mystnb", {})
        assert len(options.get("image", {}).get("alt", "")) >= 20, cell.source
        if "figure" in options:
            assert options["figure"]["name"].startswith("fig-") and len(options["figure"]["caption"]) >= 40, cell.source
        else:
            assert "within(" in cell.source, f"only a strip may go without a caption: {cell.source}"


def test_figure_names_are_unique():
    names = [c.metadata["mystnb"]["figure"]["name"] for p in PATHS for c in cells(p)
             if "figure" in c.metadata.get("mystnb", {})]
    assert len(names) == len(set(names))


@each_notebook
def test_figures_after_the_review_say_so(path):
    for cell in cells(path):
        for tag in cell.metadata.get("tags", []):
            if found := re.fullmatch(r"after-fig-(\d+)", tag):
                said = cell.metadata.mystnb.figure.caption if has_image(cell) else text(path)
                assert f"after Fig. {found[1]} of the review" in said.replace("After", "after"), tag
            if found := re.fullmatch(r"after-table-(\d+)", tag):
                said = (text(path) + cell.source).replace("After", "after")
                assert f"after Table {found[1]} of the review" in said, tag


@each_notebook
def test_sections_of_the_review_exist(path):
    named = nbformat.read(path, as_version=4).metadata.get("companion", {}).get("review", [])
    assert named and not set(named) - set(REVIEW["sections"])


def chapter_lines(path):
    """Lines of code that a reader goes through: hidden solutions and the cells on other images are not among them.

    Both are left out of the limit because nobody has to read them to follow the chapter: a solution opens by a click
    after one's own attempt, and the cells tagged cases and on-cases apply to other images what was explained before.
    """
    count, heading = 0, ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^## (.*)$", cell.source, re.MULTILINE) or [heading])[-1]
        elif heading != "Exercises" and not {"cases", "on-cases"} & set(cell.metadata.get("tags", [])):
            count += len(lines(cell))
    return count


@each_notebook
def test_cells_are_short(path):
    lengths = [len(lines(c)) for c in cells(path)]
    assert statistics.median(lengths) <= 8
    assert statistics.quantiles(lengths, n=10)[-1] <= 25
    assert max(lengths) <= 40
    assert chapter_lines(path) <= 350


@each_notebook
def test_lines_fit_the_page(path):
    assert not [line for c in cells(path) for line in lines(c) if len(line) > 88]


@each_notebook
def test_a_chapter_has_its_parts(path):
    words = text(path)
    for part in ("In this chapter", "What to take away", "## Exercises", "## Quiz"):
        assert part in words, part
    assert 3 <= words.count("```{exercise}") <= 5
    assert words.count("```{exercise}") == len(re.findall(r"```+\{solution(-start)?\}", words))
    assert re.search(r"not clinical evidence", words), "say that toy data or phantoms are not clinical evidence"
    assert any("assert" in c.source for c in cells(path))
    assert "style.apply()" in cells(path)[0].source and len(lines(cells(path)[0])) <= 8


@each_notebook
def test_the_notebook_is_in_normal_form(path):
    stored = path.read_text(encoding="utf-8")
    assert nbformat.writes(notebooks.normalise(nbformat.reads(stored, as_version=4))) + "\n" == stored


@each_notebook
def test_no_trace_of_a_machine(path):
    assert not re.search(r"/(root|home|work|tmp|Users)/|0x[0-9a-f]{8,}", path.read_text(encoding="utf-8"))


def test_generated_pages_are_up_to_date():
    stale = [path.name for path, content in pages.pages().items() if path.read_bytes() != content]
    assert not stale, "run `make notebooks`"


def test_normal_form_drops_timings_and_joins_streams():
    timings = {"shell.execute_reply": "2026-01-01"}
    cell = nbformat.v4.new_code_cell("x", metadata={"execution": timings, "tags": ["a"]}, outputs=[
        nbformat.v4.new_output("stream", name="stdout", text="a\n"),
        nbformat.v4.new_output("stream", name="stdout", text="b\n")])
    cell.execution_count = 1
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"companion": {"review": []}, "widgets": {}})
    normal = notebooks.normalise(notebook)
    assert normal.cells[0].metadata == {"tags": ["a"]} and normal.cells[0].id == "cell-01"
    assert [o.text for o in normal.cells[0].outputs] == ["a\nb\n"]
    assert set(normal.metadata) == {"companion", "kernelspec", "language_info"}


def stored_notebook(path, source):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    path.write_text(nbformat.writes(notebook))
    return path.read_bytes()


@pytest.mark.local
def test_executing_twice_changes_nothing(tmp_path):
    path = tmp_path / "good.ipynb"
    before = stored_notebook(path, "import sys\nprint(1)\nprint(2)\n3")
    notebooks.execute(path)
    once = path.read_bytes()
    notebooks.execute(path)
    assert before != once == path.read_bytes()


@pytest.mark.local
@pytest.mark.parametrize(("source", "error"), [
    ("1 / 0", "ZeroDivisionError"),
    ("import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)", "OfflineError")])
def test_a_failing_cell_leaves_the_stored_notebook(tmp_path, source, error):
    path = tmp_path / "bad.ipynb"
    before = stored_notebook(path, source)
    with pytest.raises(notebooks.CellExecutionError, match=error):
        notebooks.execute(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_used_functions_are_found():
    code = "from companion import claims\nfrom companion.convolution import convolve\nclaims.exact(1)\nconvolve(2)"
    assert pages.used_functions(code) == ["companion.claims.exact", "companion.convolution.convolve"]
