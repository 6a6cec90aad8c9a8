"""The line of progress: shown where someone can read it, gone when done, nothing in stored outputs."""

import io
import sys

import nbclient
import nbformat
import pytest

from companion import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_steps_and_is_clean_at_the_end(monkeypatch):
    monkeypatch.delenv("COMPANION_PROGRESS", raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.line(3, 1) as line:
        line.step("loss 0.5")
    shown = sys.stderr.getvalue()
    assert "1/3" in shown and shown.endswith("\r")


@pytest.mark.parametrize("off", [True, False])
def test_nothing_is_written_when_off_or_into_a_file(monkeypatch, off):
    monkeypatch.setenv("COMPANION_PROGRESS", "0" if off else "1")
    monkeypatch.setattr(sys, "stderr", Terminal() if off else io.StringIO())
    with progress.line(2) as line:
        line.step("x")
    assert sys.stderr.getvalue() == ""


def test_a_live_notebook_shows_steps_and_is_empty_at_the_end(monkeypatch):
    shown = []

    class Handle:
        def update(self, words, raw=False):
            shown.append(words if raw else words.data)

    monkeypatch.delenv("COMPANION_PROGRESS", raising=False)
    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda words, display_id: shown.append(words.data) or Handle())
    with pytest.raises(KeyboardInterrupt), progress.line(5, 2) as line:
        line.step("loss 0.5")
        raise KeyboardInterrupt
    assert shown == ["starting", "3 of 5: loss 0.5", {}]


def test_only_the_first_of_several_processes_shows_it(monkeypatch):
    monkeypatch.delenv("COMPANION_PROGRESS", raising=False)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.line(3) as line:
        line.step("x")
    assert sys.stderr.getvalue() == ""


@pytest.mark.local
def test_a_notebook_that_was_run_stores_nothing_of_it(monkeypatch):
    monkeypatch.delenv("COMPANION_PROGRESS", raising=False)
    code = "from companion import progress\nwith progress.line(2) as line:\n    line.step('loss 0.5')\nprint('done')"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=60).execute()
    line, printed = notebook.cells[0].outputs
    assert line["data"] == {} and line["output_type"] == "display_data"       # shows nothing
    assert printed["text"] == "done\n"
