"""A computation drawn from its live numbers: values flow forward, gradients flow back. Book: Part 2, backpropagation.

Every array is a grid of cells with its numbers in them. The upper row holds the values, the lower row the gradient of
the loss with respect to each of them, and below stand the parameters, each with its gradient.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion.plotting.style import BLUE, RED, figure

# All in inches but the last.
PAGE, MARGIN = 7.5, 0.05
CELL, GAP = 0.275, 0.3                  # side of a cell; least room between two arrays
LINE = 0.16                             # height of a line of words
LETTER, TEXT = 6.8, 8.5                 # size of numbers and of words, in points
EDGE = "0.75"                           # colour of the frame of a cell


class Step(NamedTuple):
    """One array of a computation: the operation that made it, its values (H, W), and their gradient or None."""

    name: str
    value: Tensor
    gradient: Tensor | None = None


def flow(steps: Sequence[Step], parameters: Mapping[str, tuple[Tensor, Tensor]], *, form: str = ".2f") -> Figure:
    """The steps from left to right, with their gradients below them and the parameters below all.

    Args:
        steps: from the input to the loss; arrays (H, W).
        parameters: values and gradient, both (H, W), by name.
        form: of the numbers; whole numbers are written without decimals.

    Raises:
        ValueError: where the arrays do not fit side by side, or an array is not (H, W).
    """
    gap = _gap([_width(s.value) for s in steps])
    places = [MARGIN + sum(_width(s.value) + gap for s in steps[:n]) for n in range(len(steps))]
    values, gradients, learned, height = _heights(steps, parameters)
    ax = _page(height)
    for step, left in zip(steps, places, strict=True):
        _array(ax, step.value, left, values, form, step.name)
        if step.gradient is not None:
            _array(ax, step.gradient, left, gradients, form, edge=RED)
    for (step, following), left in zip(pairwise(steps), places[1:], strict=True):
        _arrow(ax, (left - gap + 0.06, values), (left - 0.06, values), BLUE)
        if step.gradient is not None and following.gradient is not None:
            _arrow(ax, (left - 0.06, gradients), (left - gap + 0.06, gradients), RED, "--")
    _text(ax, MARGIN, height - 0.02, "forward: values", BLUE)
    _text(ax, MARGIN, _top(gradients, steps) + LINE, "backward: gradients of the loss", RED)
    _parameters(ax, parameters, learned, form)
    return ax.figure


def _heights(steps: Sequence[Step], parameters: Mapping[str, tuple[Tensor, Tensor]]) -> tuple[float, ...]:
    """Where the middle of the three rows lies, and the height of the page."""
    lowest = max(value.shape[0] for value, _ in parameters.values()) * CELL
    learned = lowest / 2 + 0.05
    below = max(s.gradient.shape[0] for s in steps if s.gradient is not None) * CELL
    gradients = lowest + 4.2 * LINE + below / 2
    values = gradients + below / 2 + 2.9 * LINE + max(s.value.shape[0] for s in steps) * CELL / 2
    names = max(s.name.count("\n") for s in steps) + 1
    height = max(values + s.value.shape[0] * CELL / 2 for s in steps) + (names + 1.6) * LINE
    return values, gradients, learned, height


def _top(gradients: float, steps: Sequence[Step]) -> float:
    return gradients + max(s.gradient.shape[0] for s in steps if s.gradient is not None) * CELL / 2 + LINE


def _parameters(ax: Axes, parameters: Mapping[str, tuple[Tensor, Tensor]], y: float, form: str) -> None:
    """Each parameter beside its gradient, which has a red frame."""
    widths = [max(_width(v) + _width(g) + 0.1, 0.065 * len(name)) for name, (v, g) in parameters.items()]
    gap, left = min(0.6, _gap(widths)), MARGIN
    for (name, (value, gradient)), width in zip(parameters.items(), widths, strict=True):
        _array(ax, value, left, y, form, name)
        _array(ax, gradient, left + _width(value) + 0.1, y, form, edge=RED)
        left += width + gap
    lowest = max(value.shape[0] for value, _ in parameters.values()) * CELL
    _text(ax, MARGIN, y + lowest / 2 + 2.4 * LINE, "parameters, each with its gradient", RED)


def _gap(widths: Sequence[float]) -> float:
    gap = (PAGE - 2 * MARGIN - sum(widths)) / max(1, len(widths) - 1)
    if gap < GAP:
        raise ValueError(f"the arrays are {sum(widths):.1f} inches wide and leave {gap:.2f} between them, but a page "
                         f"has {PAGE} and the arrows need {GAP}: show fewer or smaller ones")
    return gap


def _width(array: Tensor) -> float:
    if array.dim() != 2:
        raise ValueError(f"an array has shape {tuple(array.shape)}, but must be (H, W): give one map, one column")
    return array.shape[1] * CELL


def _array(ax: Axes, array: Tensor, left: float, y: float, form: str, name: str = "", edge: str = EDGE) -> None:
    """The cells of an array, centred at height ``y``; orange above 0, purple below, pale enough to write on."""
    height, width = (n * CELL for n in array.shape)
    low, limit = y - height / 2, 2.2 * max(array.abs().max().item(), 1e-12)
    ax.imshow(array.detach().cpu().numpy(), "PuOr_r", vmin=-limit, vmax=limit,
              extent=(left, left + width, low, low + height))
    for row, values in enumerate(array.tolist()):
        for column, value in enumerate(values):
            x, centre = left + (column + 0.5) * CELL, low + height - (row + 0.5) * CELL
            ax.text(x, centre, _number(value, form), ha="center", va="center", fontsize=LETTER)
    ax.hlines([low + n * CELL for n in range(array.shape[0] + 1)], left, left + width, color=edge, linewidth=0.6)
    ax.vlines([left + n * CELL for n in range(array.shape[1] + 1)], low, low + height, color=edge, linewidth=0.6)
    ax.text(left, low + height + 0.05, name, fontsize=TEXT, va="bottom", linespacing=1.1)


def _number(value: float, form: str) -> str:
    return f"{value:.0f}".replace("-0", "0") if abs(value - round(value)) < 1e-9 else format(value, form)


def _page(height: float) -> Axes:
    """Axes over a whole figure, in inches."""
    fig = figure(PAGE, height)
    fig.set_layout_engine("none")
    ax = fig.add_axes((0, 0, 1, 1), autoscale_on=False)
    ax.set(xlim=(0, PAGE), ylim=(0, height))
    ax.axis("off")
    return ax


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str, line: str = "-") -> None:
    look = {"arrowstyle": "-|>", "color": color, "linestyle": line, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", end, start, arrowprops=look)


def _text(ax: Axes, x: float, y: float, words: str, color: str) -> None:
    ax.text(x, y, words, color=color, fontsize=TEXT, va="top")
