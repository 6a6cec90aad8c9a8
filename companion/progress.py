"""How far a long computation is: a line in the terminal or in a live notebook, which is gone when it is done.

A live notebook keeps an output without content in its place. Notebooks that the tests execute set
``COMPANION_PROGRESS=0`` and have none.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm


class Line:
    """A line that does nothing: where there is nobody to read it."""

    def step(self, note: str) -> None:
        """One step is done; ``note`` says what it brought."""


class _Terminal(Line):
    def __init__(self, total: int, done: int):
        self.bar = tqdm(total=total, initial=done, leave=False)

    def step(self, note: str) -> None:
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update()


class _Notebook(Line):
    def __init__(self, total: int, done: int):
        from IPython.display import display

        self.total, self.done, self.handle = total, done, display(_words("starting"), display_id=True)

    def step(self, note: str) -> None:
        self.done += 1
        self.handle.update(_words(f"{self.done} of {self.total}: {note}"))


@contextmanager
def line(total: int, done: int = 0) -> Iterator[Line]:
    """A line for ``total`` steps, of which ``done`` are done before; its ``step(note)`` moves it on."""
    if os.environ.get("COMPANION_PROGRESS") == "0" or os.environ.get("RANK", "0") != "0":
        yield Line()
    elif _in_notebook():
        shown = _Notebook(total, done)
        try:
            yield shown
        finally:
            shown.handle.update({}, raw=True)    # an output without content, where "" would leave an empty line
    elif sys.stderr.isatty():
        shown = _Terminal(total, done)
        try:
            yield shown
        finally:
            shown.bar.close()
    else:
        yield Line()


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules and "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None


def _words(text: str):
    from IPython.display import HTML

    return HTML(text)
