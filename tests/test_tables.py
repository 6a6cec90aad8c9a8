"""Tables: HTML that a screen reader can read, aligned text, the same every time."""

from html.parser import HTMLParser

import pytest

from companion.plotting.tables import table


class Tags(HTMLParser):
    """The open tags must be closed in order; keeps (tag, scope, text) of what holds text."""

    def __init__(self):
        super().__init__()
        self.open, self.found = [], []

    def handle_starttag(self, tag, attributes):
        self.open.append((tag, dict(attributes).get("scope")))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.found.append((*self.open[-1], data))


@pytest.fixture
def small():
    return table("What a layer learns", ["layer", "learned"], [["convolution", 80], ["max pooling", "none"]])


def test_html_has_a_caption_and_headers_with_scope(small):
    tags = Tags()
    tags.feed(small._repr_html_())
    assert not tags.open
    assert tags.found == [
        ("caption", None, "What a layer learns"), ("th", "col", "layer"), ("th", "col", "learned"),
        ("th", "row", "convolution"), ("td", None, "80"), ("th", "row", "max pooling"), ("td", None, "none")]


def test_text_is_aligned(small):
    assert repr(small) == str(small) == "\n".join([
        "What a layer learns", "", "layer        learned", "-----------  -------", "convolution  80",
        "max pooling  none"])


def test_cells_are_escaped():
    odd = table("a < b", ["x & y", "z"], [['<script>"', "<b>"]])
    assert "<script>" not in odd._repr_html_() and "&lt;script&gt;" in odd._repr_html_()
    assert "<b>" not in odd._repr_html_() and "&lt;b&gt;" in odd._repr_html_()
    assert "a &lt; b" in odd._repr_html_() and "x &amp; y" in odd._repr_html_()
    assert '<script>"' in str(odd)


def test_the_same_table_looks_the_same(small):
    again = table("What a layer learns", ["layer", "learned"], [["convolution", 80], ["max pooling", "none"]])
    assert again == small and again._repr_html_() == small._repr_html_()


@pytest.mark.parametrize(("caption", "rows", "message"), [
    (" ", [["a", "b"]], "no caption"), ("c", [], "no rows"), ("c", [["a"]], "1 cells, but there are 2 headers"),
    ("c", [["a", "b", "c"]], "3 cells")])
def test_a_table_needs_a_caption_and_full_rows(caption, rows, message):
    with pytest.raises(ValueError, match=message):
        table(caption, ["one", "two"], rows)
