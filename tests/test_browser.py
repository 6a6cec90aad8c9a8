"""The rendered book in a real browser: Chromium without a window, pages from a server on this machine."""

import os

import browser as chromium
import pytest

HTML = chromium.HTML
PAGES = sorted(p.relative_to(HTML).as_posix() for p in (HTML / "book").rglob("*.html"))
CHAPTERS = [p for p in PAGES if p.split("/")[1][0].isdigit()]
pytestmark = pytest.mark.local


@pytest.fixture(scope="module")
def address():
    with chromium.served() as address:
        yield address


@pytest.fixture(scope="module")
def chrome():
    path = chromium.find()
    if not path:
        reason = "no Chromium: install it, or run `playwright install chromium`"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with chromium.running(path) as browser:
        yield browser


def test_there_are_pages():
    assert CHAPTERS, "the book is not built: run `make book`"


@pytest.fixture
def page(chrome):
    """An empty page that collects what goes wrong in it: console errors, failed and foreign requests."""
    with chrome.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.wrong = []
        page.on("console", lambda m: page.wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: page.wrong.append(str(e)))
        page.on("requestfailed", lambda r: page.wrong.append(f"failed: {r.url}"))
        page.on("response", lambda r: page.wrong.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        page.on("request", lambda r: page.wrong.append(f"foreign: {r.url}")
                if not r.url.startswith(("http://127.0.0.1", "data:", "blob:")) else None)
        yield page


def open_page(page, address, path):
    page.goto(f"{address}/{path}", wait_until="load")
    page.wait_for_function("!window.MathJax || !MathJax.startup || MathJax.startup.promise.then(() => true)")


@pytest.mark.parametrize("path", PAGES)
def test_page_loads_without_error_and_shows_figures_and_formulas(page, address, path):
    open_page(page, address, path)
    blank = page.evaluate("[...document.images].filter(i => i.loading !== 'lazy' && !i.naturalWidth).map(i => i.src)")
    assert not blank and not page.wrong
    if formulas := page.locator(".math").count():
        page.wait_for_function("document.querySelectorAll('mjx-container').length > 0")
        assert page.locator("mjx-container").count() >= formulas
        assert page.locator("mjx-merror").count() == 0


@pytest.mark.parametrize("path", CHAPTERS)
def test_no_page_scrolls_sideways_on_a_telephone(page, address, path):
    page.set_viewport_size({"width": 390, "height": 800})
    open_page(page, address, path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_the_start_page_leads_into_the_book(page, address):
    open_page(page, address, "index.html")
    page.wait_for_url("**/book/index.html")
    assert not page.wrong


def test_search_finds_pooling(page, address):
    open_page(page, address, "search.html?q=pooling")
    page.wait_for_selector("#search-results li a")
    titles = page.locator("#search-results li a").all_inner_texts()
    assert any("pooling" in t.lower() for t in titles) and not page.wrong


def test_dark_mode_toggles_and_keeps_figures_on_paper(page, address):
    open_page(page, address, CHAPTERS[0])
    button = page.locator("button.theme-switch-button").first
    seen = set()
    for _ in range(3):
        button.click()
        seen.add(page.evaluate("document.documentElement.dataset.theme"))
    assert seen == {"light", "dark"}
    while page.evaluate("document.documentElement.dataset.theme") != "dark":
        button.click()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(c) for c in background[4:-1].split(",")) < 200
    assert not page.wrong


def test_the_animation_steps_with_the_keyboard(page, address):
    open_page(page, address, "book/1-building-blocks/2-convolution.html")
    kernel = page.locator(".sliding-kernel").first
    said = kernel.locator(".step-text")
    kernel.locator(".next").focus()
    page.keyboard.press("Home")
    first = said.inner_text()
    assert first.startswith("Step 1 of ")
    page.keyboard.press("ArrowRight")
    assert said.inner_text().startswith("Step 2 of ")
    page.keyboard.press("ArrowLeft")
    assert said.inner_text() == first
    page.keyboard.press("End")
    count = first.split(" of ")[1].split(":")[0].split(".")[0].split()[0]
    assert said.inner_text().startswith(f"Step {count} of {count}")
    assert not page.wrong


def test_solutions_open(page, address):
    open_page(page, address, "book/1-building-blocks/2-convolution.html")
    solution = page.locator(".solution.dropdown").first
    solution.scroll_into_view_if_needed()
    solution.locator("button, .toggle-button").first.click()
    assert solution.locator(".section, section, .cell, p").last.is_visible()
