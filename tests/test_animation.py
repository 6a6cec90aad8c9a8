"""companion.plotting.animation: its steps are the convolution, its page stands alone."""

import json
import re
from html.parser import HTMLParser

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.convolution import convolve
from companion.plotting import kernel_steps
from companion.plotting.animation import sliding_kernel

IMAGE = torch.tensor([[1, 0, 2, 1], [0, 1, 3, 0], [2, 1, 0, 1]])
KERNEL = torch.tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]])


class Page(HTMLParser):
    """Checks that elements nest, and collects attributes by class and the text of table cells by table."""

    VOID = ("br", "hr", "img", "input", "meta")

    def __init__(self, html: str):
        super().__init__()
        self.open, self.cells, self.attributes = [], {}, {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        assert tag not in self.VOID
        self.open.append((tag, attrs.get("class", "")))
        for name in attrs.get("class", "").split():
            self.attributes[name] = attrs

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "td":
            table = next(name for tag, name in self.open if tag == "table")
            self.cells.setdefault(table, []).append(int(data.replace("−", "-")))


def page_steps(moving) -> list:
    return json.loads(Page(moving._repr_html_()).attributes["sliding-kernel"]["data-steps"])


def test_steps_by_hand():
    moving = sliding_kernel(IMAGE, KERNEL)
    assert moving.steps == 2
    assert moving.products[0, 0].tolist() == [[1, 0, -2], [0, 0, -6], [2, 0, 0]]
    assert moving.feature_map.tolist() == [[-5, 1]]
    assert [moving.corner(k) for k in range(2)] == [(0, 0), (0, 1)]
    assert moving.text(0) == ("Step 1 of 2: row 0, column 0 of the feature map is 1×1 + 0×0 + 2×(−1) + 0×2 + 1×0 + "
                              "3×(−2) + 2×1 + 1×0 + 0×(−1) = −5")


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(0, 2), st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_every_step_is_the_convolution(seed, stride, padding, shape):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(-20, 256, (5, 4), generator=generator)
    kernel = torch.randint(-9, 10, shape, generator=generator)
    moving = sliding_kernel(image, kernel, stride, padding)
    expected = convolve(image[None, None], kernel[None, None], stride=stride, padding=padding)[0, 0]
    assert torch.equal(moving.feature_map, expected)
    for (top, left, terms, words), total in zip(page_steps(moving), expected.flatten().tolist(), strict=True):
        seen = moving.padded[top:top + shape[0], left:left + shape[1]]
        products = [int(term.replace("−", "-")) for term in terms]
        assert products == (seen * kernel).flatten().tolist()
        assert sum(products) == total
        assert words.replace("−", "-").endswith(f" = {total}")


def test_without_scripts_the_last_step_shows():
    moving = sliding_kernel(IMAGE, KERNEL, padding=1)
    page, html = Page(moving._repr_html_()), moving._repr_html_()
    assert page.cells["input"] == moving.padded.flatten().tolist()
    assert page.cells["kernel"] == KERNEL.flatten().tolist()
    assert page.cells["products"] == moving.products[-1, -1].flatten().tolist()
    assert page.cells["map"] == moving.feature_map.flatten().tolist()
    assert html.count('class="now"') + html.count('class="pad now"') == 9 + 1
    assert html.count('class="pad"') + html.count('class="pad now"') == 5 * 6 - 3 * 4
    assert f'<p class="step-text" aria-live="polite">{moving.text(moving.steps - 1)}</p>' in html
    assert '<p class="controls" hidden>' in html


def test_what_the_keyboard_and_the_browser_test_hold_on_to():
    page = Page(sliding_kernel(IMAGE, KERNEL)._repr_html_())
    assert {"sliding-kernel", "previous", "play", "next", "step-text"} <= set(page.attributes)
    root = page.attributes["sliding-kernel"]
    assert root["tabindex"] == "0"
    assert root["aria-label"] == "A 3 × 3 kernel slides over the input, stride 1, padding 0"


def test_the_page_stands_alone():
    html = sliding_kernel(torch.arange(100).view(10, 10) * 99, torch.arange(-18, 18).view(6, 6) * 99)._repr_html_()
    assert len(html.encode()) < 60_000
    assert not re.search(r"https?:|//|url\(|@import|\bsrc=|\bhref=|fetch\(|XMLHttpRequest", html)
    assert html.count("(prefers-reduced-motion: reduce)") == 2                     # in the style and in the script


def test_the_same_numbers_give_the_same_page():
    html = sliding_kernel(IMAGE, KERNEL)._repr_html_()
    assert sliding_kernel(IMAGE.float(), KERNEL.double())._repr_html_() == html
    ids = {Page(moving._repr_html_()).attributes["sliding-kernel"]["id"] for moving in (
        sliding_kernel(IMAGE, KERNEL), sliding_kernel(IMAGE + 1, KERNEL), sliding_kernel(IMAGE, KERNEL.T),
        sliding_kernel(IMAGE, KERNEL, stride=2), sliding_kernel(IMAGE, KERNEL, padding=1))}
    assert len(ids) == 5


def test_plain_text_prints_the_arrays():
    assert repr(sliding_kernel(IMAGE, KERNEL)) == """SlidingKernel (stride 1, padding 0, 2 steps)
input
  1 0 2 1
  0 1 3 0
  2 1 0 1
kernel
   1  0 -1
   2  0 -2
   1  0 -1
feature map
  -5  1"""
    assert "input\n  1 0 2 1\n" in repr(sliding_kernel(IMAGE, KERNEL, padding=1))


@pytest.mark.parametrize(("image", "kernel", "message"), [
    (torch.ones(1, 4, 4), KERNEL, r"the image has shape \(1, 4, 4\), but must have rows and columns only"),
    (IMAGE, torch.ones(3), r"the kernel has shape \(3,\), but must have rows and columns only"),
    (IMAGE, KERNEL / 9, "the kernel holds fractions, but each number is shown in full: round it"),
    (torch.full((4, 4), torch.nan), KERNEL, "the image holds fractions"),
    (torch.ones(11, 9), KERNEL, "the padded image is 11 x 9, but must be .* at most 10 x 10 to be readable: crop"),
    (torch.ones(9, 11), KERNEL, "the padded image is 9 x 11, but must be .* at most 10 x 10 to be readable: crop"),
    (torch.ones(2, 4), KERNEL, "the padded image is 2 x 4, but must be at least 3 x 3, as the kernel is"),
    (torch.ones(4, 2), KERNEL, "the padded image is 4 x 2, but must be at least 3 x 3, as the kernel is"),
])
def test_refusals(image, kernel, message):
    with pytest.raises(ValueError, match=message):
        sliding_kernel(image, kernel)


@pytest.mark.parametrize("layout", [(0, 0), (1, -1)])
def test_stride_and_padding_out_of_range(layout):
    with pytest.raises(ValueError, match=r"stride \d and padding -?\d, but they must be at least 1 and 0"):
        sliding_kernel(IMAGE, KERNEL, *layout)


def test_steps_on_paper():
    figure = kernel_steps.draw(sliding_kernel(IMAGE, KERNEL), [0, 1])
    written = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert written[2] == ["1", "0", "−2", "0", "0", "−6", "2", "0", "0", " sum:"]
    assert written[3] == ["−5", ""]
    assert written[7] == ["−5", "1"]
    with pytest.raises(ValueError, match=r"the steps are \[0, 2\], but must lie between 0 and 1"):
        kernel_steps.draw(sliding_kernel(IMAGE, KERNEL), [0, 2])
