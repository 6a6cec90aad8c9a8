"""A kernel that slides over an image of whole numbers, step by step, as a piece of a page (after Fig. 3 a-c).

The page needs no network and no library. Buttons and keys move the kernel once a reader asks for it; nothing moves on
its own. Where scripts do not run, the last step with the full feature map shows. The same numbers give the same text,
to the letter.
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from html import escape

import torch.nn.functional as F
from torch import Tensor

LARGEST = 10
"""Pixels along a side of the padded image that a page has room for."""


@dataclass(frozen=True, eq=False, repr=False)
class SlidingKernel:
    """Every step of a convolution; a notebook shows it as an animation, plain text shows its arrays.

    Attributes:
        padded: image with its padding of zeros, int64 (H + 2 padding, W + 2 padding).
        kernel: int64 (h, w).
        products: element-wise product of the kernel and the window at each position, int64 (H', W', h, w).
        stride, padding: in pixels.
    """

    padded: Tensor
    kernel: Tensor
    products: Tensor
    stride: int
    padding: int

    @property
    def feature_map(self) -> Tensor:
        """Sum of the products at each position, int64 (H', W')."""
        return self.products.sum(dim=(2, 3))

    @property
    def steps(self) -> int:
        """Number of positions, row by row."""
        return self.feature_map.numel()

    def corner(self, step: int) -> tuple[int, int]:
        """Row and column, in the padded image, of the upper left pixel of the window at this step."""
        row, column = divmod(step, self.products.shape[1])
        return row * self.stride, column * self.stride

    def text(self, step: int) -> str:
        """What happens at this step: the place in the feature map (counted from 0), the products and their sum."""
        row, column = divmod(step, self.products.shape[1])
        top, left = self.corner(step)
        seen = self.padded[top:, left:][:self.kernel.shape[0], :self.kernel.shape[1]]
        terms = " + ".join(f"{_factor(a)}×{_factor(b)}" for a, b in
                           zip(seen.flatten().tolist(), self.kernel.flatten().tolist(), strict=True))
        return (f"Step {step + 1} of {self.steps}: row {row}, column {column} of the feature map is {terms} = "
                f"{_number(self.feature_map[row, column].item())}")

    def __repr__(self) -> str:
        arrays = {"input": _inside(self.padded, self.padding), "kernel": self.kernel, "feature map": self.feature_map}
        settings = f"stride {self.stride}, padding {self.padding}, {self.steps} steps"
        return "\n".join([f"SlidingKernel ({settings})", *(f"{name}\n{_plain(a)}" for name, a in arrays.items())])

    def _repr_html_(self) -> str:
        last = self.steps - 1
        top, left = self.corner(last)
        (h, w), n = self.kernel.shape, self.padding
        window = {(r, c) for r in range(top, top + h) for c in range(left, left + w)}
        rows, columns = self.feature_map.shape
        caption = _size("Input", _inside(self.padded, n)) + (f", padding {n}" if n else "")
        tables = [
            _table("input", caption, self.padded, window, n),
            _table("kernel", _size("Kernel", self.kernel), self.kernel),
            _table("products", "Products", self.products[-1, -1]),
            _table("map", _size("Feature map", self.feature_map), self.feature_map, {(rows - 1, columns - 1)}),
        ]
        signs = [f'<span class="sign" aria-hidden="true">{s}</span>' for s in ("×", "=", "sum →")]
        panels = "".join(part for pair in zip(tables, [*signs, ""], strict=True) for part in pair)
        label = f"A {h} × {w} kernel slides over the input, stride {self.stride}, padding {n}"
        steps = escape(json.dumps(self._script_steps(), ensure_ascii=False, separators=(",", ":")))
        return PAGE.format(style=STYLE, script=SCRIPT, panels=panels, label=label, text=self.text(last), steps=steps,
                           id=f"sliding-kernel-{sha256((label + steps).encode()).hexdigest()[:8]}")

    def _script_steps(self) -> list:
        products = self.products.flatten(2).flatten(0, 1).tolist()
        return [[*self.corner(k), [_number(p) for p in products[k]], self.text(k)] for k in range(self.steps)]


def sliding_kernel(image: Tensor, kernel: Tensor, stride: int = 1, padding: int = 0) -> SlidingKernel:
    """Every step of the convolution of a small image with one kernel; show it as the last expression of a cell.

    Args:
        image: (H, W), whole numbers of any type.
        kernel: (h, w), whole numbers of any type.
        stride: pixels between neighbouring positions.
        padding: rows and columns of zeros on each side.

    Raises:
        ValueError: where image or kernel are not of this shape or hold fractions, where the padded image is smaller
            than the kernel or larger than 10 pixels along a side, or where stride or padding are out of range.
    """
    image, kernel = _whole("image", image), _whole("kernel", kernel)
    if stride < 1 or padding < 0:
        raise ValueError(f"stride {stride} and padding {padding}, but they must be at least 1 and 0")
    padded, (h, w) = F.pad(image, (padding,) * 4), kernel.shape
    if not (h <= padded.shape[0] <= LARGEST and w <= padded.shape[1] <= LARGEST):
        raise ValueError(f"the padded image is {padded.shape[0]} x {padded.shape[1]}, but must be at least {h} x {w}, "
                         f"as the kernel is, and at most {LARGEST} x {LARGEST} to be readable: crop the image")
    patches = padded.unfold(0, h, stride).unfold(1, w, stride)                            # (H', W', h, w)
    return SlidingKernel(padded, kernel, patches * kernel, stride, padding)


def _whole(name: str, values: Tensor) -> Tensor:
    if values.dim() != 2:
        raise ValueError(f"the {name} has shape {tuple(values.shape)}, but must have rows and columns only")
    if not bool((values == values.long()).all()):
        raise ValueError(f"the {name} holds fractions, but each number is shown in full: round it")
    return values.detach().cpu().long()


def _inside(padded: Tensor, padding: int) -> Tensor:
    return padded[padding:padded.shape[0] - padding, padding:padded.shape[1] - padding]


def _number(value: int) -> str:
    return str(value).replace("-", "−")


def _factor(value: int) -> str:
    return _number(value) if value >= 0 else f"({_number(value)})"


def _size(name: str, array: Tensor) -> str:
    return f"{name} {array.shape[0]} × {array.shape[1]}"


def _plain(array: Tensor) -> str:
    width = max(len(str(v)) for v in array.flatten().tolist())
    return "\n".join("  " + " ".join(f"{v:{width}}" for v in row) for row in array.tolist())


def _table(name: str, caption: str, array: Tensor, now: set = frozenset(), padding: int = 0) -> str:
    height, width = array.shape
    rows = []
    for r, row in enumerate(array.tolist()):
        cells = []
        for c, value in enumerate(row):
            pad = not (padding <= r < height - padding and padding <= c < width - padding)
            marks = " ".join(m for m, on in (("pad", pad), ("now", (r, c) in now)) if on)
            cells.append(f'<td class="{marks}">{_number(value)}</td>' if marks else f"<td>{_number(value)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="{name}"><caption>{caption}</caption><tbody>{"".join(rows)}</tbody></table>'


PAGE = """<div class="sliding-kernel" id="{id}" role="group" tabindex="0" aria-label="{label}" \
data-lm-suppress-shortcuts="true" data-steps="{steps}">
<style>{style}</style>
<div class="panels">{panels}</div>
<p class="step-text" aria-live="polite">{text}</p>
<p class="controls" hidden><button type="button" class="previous">◀ Back</button> \
<button type="button" class="play">Play</button> <button type="button" class="next">Forward ▶</button> \
<span class="hint">Keys: arrows step, space plays, Home and End jump.</span></p>
<script>{script}</script>
</div>"""

# Colours come from the page's theme: the book's (pst), else Jupyter's (jp), else dark on light. The rule for
# data-theme=dark removes the light frame that the book's theme puts round HTML there.
STYLE = """
.sliding-kernel { color: var(--pst-color-text-base, var(--jp-content-font-color1, #222));
  background: var(--pst-color-surface, var(--jp-layout-color1, #f5f5f5)); padding: .8rem 1rem; border-radius: .3rem;
  --line: color-mix(in srgb, currentColor 45%, transparent); --mark: #d55e00; font-size: .9rem; }
.sliding-kernel:focus-visible, .sliding-kernel button:focus-visible { outline: 3px solid var(--mark); }
.sliding-kernel .panels { display: flex; flex-wrap: wrap; align-items: center; gap: .6rem; }
html[data-theme=dark] .bd-content div.cell_output .text_html:not(:has(table.dataframe)):has(.sliding-kernel) {
  background: none; padding: 0; }
.sliding-kernel table { border-collapse: collapse; margin: 0; width: auto; font-size: .85rem; }
.sliding-kernel caption { caption-side: top; text-align: center; color: inherit; padding: 0 0 .3em;
  white-space: nowrap; }
.sliding-kernel table tr { background: none; border: 0; }
.sliding-kernel table td { width: 2em; min-width: 2em; height: 2em; padding: 0 .1em; text-align: center;
  border: 1px solid var(--line); font-variant-numeric: tabular-nums; color: inherit; transition: background .15s; }
.sliding-kernel table td.pad { border-style: dashed; font-style: italic; opacity: .75; }
.sliding-kernel table td.now { outline: 2px solid var(--mark); outline-offset: -2px; font-weight: bold; opacity: 1;
  background: rgba(213, 94, 0, .16); }
.sliding-kernel .step-text { min-height: 2.6em; margin: .7rem 0 .4rem; color: inherit; }
.sliding-kernel .controls { margin: 0; }
.sliding-kernel [hidden] { display: none; }
.sliding-kernel button { font: inherit; color: inherit; background: none; border: 1px solid var(--line);
  border-radius: .3rem; padding: .3em .9em; min-width: 6em; cursor: pointer; }
.sliding-kernel .hint { margin-left: .5em; }
@media (prefers-reduced-motion: reduce) { .sliding-kernel table td { transition: none; } }
@media print { .sliding-kernel .controls { display: none; } }
"""

SCRIPT = """
for (const root of document.querySelectorAll(".sliding-kernel:not(.ready)")) {
  const one = (name) => root.querySelector(name), all = (name) => [...root.querySelectorAll(name)];
  const steps = JSON.parse(root.dataset.steps), last = steps.length - 1;
  const input = all(".input td"), products = all(".products td"), map = all(".map td");
  const sums = map.map((cell) => cell.textContent), text = one(".step-text");
  const columns = one(".input tr").cells.length, across = one(".map tr").cells.length;
  const high = all(".kernel tr").length, wide = one(".kernel tr").cells.length;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let now = 0, timer = 0;

  function show(step) {
    now = step;
    const [top, left, terms, words] = steps[now];
    input.forEach((cell, i) => {
      const row = Math.floor(i / columns) - top, column = i % columns - left;
      cell.classList.toggle("now", row >= 0 && row < high && column >= 0 && column < wide);
    });
    products.forEach((cell, i) => { cell.textContent = terms[i]; });
    map.forEach((cell, i) => {
      cell.textContent = i > now ? "" : sums[i];
      cell.classList.toggle("now", i === now);
    });
    text.textContent = words;
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    one(".play").textContent = "Play";
    text.setAttribute("aria-live", "polite");
  }

  function play() {
    text.setAttribute("aria-live", "off");  /* a screen reader could not keep up */
    one(".play").textContent = "Pause";
    if (now === last) show(0);
    timer = setInterval(() => {
      if (now === last - 1) pause();
      show(Math.min(now + 1, last));
    }, calm.matches ? 2500 : 1000);
  }

  const go = (step) => { pause(); if (step >= 0 && step <= last) show(step); };
  const toggle = () => { if (timer) go(now); else play(); };
  const keys = {
    ArrowRight: () => go(now + 1), ArrowLeft: () => go(now - 1), ArrowDown: () => go(now + across),
    ArrowUp: () => go(now - across), Home: () => go(0), End: () => go(last), " ": toggle,
  };
  root.addEventListener("keydown", (event) => {
    const pressed = event.key === " " && event.target.tagName === "BUTTON";  /* the button acts by itself */
    if (!(event.key in keys) || pressed || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  });
  one(".next").onclick = keys.ArrowRight;
  one(".previous").onclick = keys.ArrowLeft;
  one(".play").onclick = toggle;
  one(".controls").hidden = false;
  root.classList.add("ready");
  show(0);
}
"""
