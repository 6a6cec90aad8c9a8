"""A Chromium without a window that shows the rendered book: for the tests, and for the picture in the README.

``python book/tools/browser.py`` says by its exit status whether there is one; with ``--picture`` it takes the picture
of a page that README.md shows.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync")
SHOWN = "book/1-building-blocks/2-convolution.html"


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that does not write every request to the terminal."""

    def log_message(self, *_):
        """Say nothing."""


def find() -> str | None:
    """Path of the system's Chromium, else of the one that playwright installed, else none."""
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else None


@contextmanager
def served() -> Iterator[str]:
    """The address of the rendered book on a server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=HTML)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def running(path: str) -> Iterator[Browser]:
    """The browser at ``path``, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def picture(target: Path) -> None:
    """Store a picture of the top of a chapter, as a reader sees it."""
    with served() as address, running(find()) as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{address}/{SHOWN}")
        page.locator(".sliding-kernel").first.scroll_into_view_if_needed()
        page.wait_for_timeout(1500)             # formulas and images settle
        page.screenshot(path=target)


if __name__ == "__main__":
    if "--picture" in sys.argv:
        picture(ROOT / "book" / "_static" / "page.png")
    else:
        sys.exit(find() is None)
