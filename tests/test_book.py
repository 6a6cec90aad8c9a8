"""The rendered book: complete without a network, accessible, light, and without a dead link."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
PAGES = sorted(p for p in HTML.rglob("*.html") if "_static" not in p.parts)      # there lie templates of the theme
LIMIT = 1.5e6
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}


class Page(HTMLParser):
    """What a page loads, links to, defines and shows."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.loads, self.links, self.ids, self.images = path, [], [], set(), []
        self.scripts, self.inside = "", False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.inside = tag in ("script", "style")
        self.ids |= {given[k] for k in ("id", "name") if given.get(k)}
        if tag in LOADS and given.get(LOADS[tag]) and given.get("rel") not in ("canonical", "license"):
            self.loads.append(given[LOADS[tag]])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "img":
            self.images.append(given)

    def handle_data(self, data):
        if self.inside:
            self.scripts += data


@pytest.fixture(scope="module")
def pages() -> dict[Path, Page]:
    if not PAGES:
        pytest.fail("the book is not built: run `make book`")
    return {p: Page(p) for p in PAGES}


def target(page: Page, link: str) -> Path:
    return (page.path.parent / unquote(urlsplit(link).path)).resolve() if urlsplit(link).path else page.path


def test_every_chapter_is_rendered(pages):
    sources = [p for p in (ROOT / "book").rglob("*") if p.suffix in (".ipynb", ".md")
               and ".ipynb_checkpoints" not in p.parts]
    assert not [s for s in sources if HTML / s.relative_to(ROOT).with_suffix(".html") not in pages]
    assert (HTML / "index.html").is_file()


def test_nothing_is_loaded_from_another_host(pages):
    outside = {(p.path.name, url) for p in pages.values() for url in p.loads if urlsplit(url).netloc}
    assert not outside


def test_no_script_or_style_names_another_host(pages):
    found = {(p.path.name, url) for p in pages.values() for url in re.findall(r"https?://[^\s\"'<>)]+", p.scripts)
             if "www.w3.org" not in url}
    assert not found


def test_style_sheets_load_nothing_from_another_host():
    for sheet in (HTML / "_static").rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?https?:", sheet.read_text(encoding="utf-8")), sheet.name


def test_everything_that_is_loaded_is_there(pages):
    missing = {(p.path.name, url) for p in pages.values() for url in p.loads
               if not urlsplit(url).scheme and not target(p, url).is_file()}
    assert not missing


def test_no_broken_internal_link(pages):
    broken = set()
    for page in pages.values():
        for link in page.links:
            if urlsplit(link).scheme or urlsplit(link).netloc:
                continue
            goal, anchor = target(page, link), unquote(urlsplit(link).fragment)
            goal = goal / "index.html" if goal.is_dir() else goal
            if not goal.is_file() or (anchor and goal in pages and anchor not in pages[goal].ids | {"top"}):
                broken.add((page.path.relative_to(HTML).as_posix(), link))
    assert not broken


def test_every_image_has_alt_text(pages):
    without = [(p.path.name, i.get("src")) for p in pages.values() for i in p.images if not (i.get("alt") or "").strip()
               and "logo" not in (i.get("class") or "")]
    assert not without
    assert not [i for p in pages.values() for i in p.images if (i["alt"] or "").startswith("../_images")]


def test_mathjax_comes_from_the_book(pages):
    scripts = [target(p, url) for p in pages.values() for url in p.loads if "mathjax" in url]
    assert scripts and all(HTML in s.parents and s.is_file() for s in scripts)


def test_pages_are_light(pages):
    for page in pages.values():
        images = {target(page, i["src"]) for i in page.images if not urlsplit(i["src"]).scheme}
        size = page.path.stat().st_size + sum(i.stat().st_size for i in images)
        assert size <= LIMIT, f"{page.path.name}: {size / 1e6:.2f} MB"


def test_the_page_of_claims_counts_all(pages):
    text = (HTML / "book" / "front" / "claims.html").read_text(encoding="utf-8")
    assert "92 statements" in text and "not yet" in text
