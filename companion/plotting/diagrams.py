"""A network drawn from the live module: its layers, and one real training step around them (Fig. 1). Book: Part 1.

Nothing here is drawn by hand. Hooks on the leaf modules record what each layer puts out for a given input; planes are
real feature maps, and every number is read from the module. Layers appear in the order in which they run, so branches
(skip connections, parallel paths) are drawn one after the other, without the lines that join them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from companion.plotting.style import BLUE, GREEN, GREY, ORANGE, RED, figure

KINDS = {"Conv": "convolution", "ConvTranspose": "transposed convolution", "MaxPool": "max pooling",
         "AvgPool": "average pooling", "AdaptiveAvgPool": "average pooling", "Flatten": "flatten",
         "Linear": "fully connected", "BatchNorm": "batch norm", "Dropout": "dropout"}
"""The review's word for a module class, by the start of the class's name; other classes keep their own name."""

COLOURS = {"convolution": BLUE, "transposed convolution": BLUE, "max pooling": ORANGE, "average pooling": ORANGE,
           "fully connected": GREEN}
STAGES = {BLUE: "feature extraction", ORANGE: "feature extraction", GREEN: "mapping to the output"}

# Sizes in inches; the text is in points.
WIDTH, BAND, MARGIN = 7.5, 1.5, 0.08    # of the page, of the pictures' strip, at the page's edge
SIDE, LEAST = 0.72, 0.10                # of the largest and of the smallest plane
STEP, PLANES = 0.028, 16                # offset of a plane to the next, and how many are drawn at most
CELL, BAR, TALL = 0.115, 0.13, 1.35     # one number of a vector, the vector's width and greatest height
LABEL, GAP = 0.78, 0.16                 # least width of a column, and the room for the arrow
LINE = 0.135                            # height of a line of text
TEXT = 7.5


class Layer(NamedTuple):
    """One step of the forward propagation.

    Args:
        kind: what it does, such as ``convolution``; several words joined by a line break and ``+``.
        output: what it puts out for the first input of the mini-batch, (C, \\*spatial) or (C,).
        parameters: how many numbers it learns.
        gradient: Euclidean length of the loss gradient for them; none where there is no gradient.
    """

    kind: str
    output: Tensor
    parameters: int
    gradient: float | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output without the axis N."""
        return tuple(self.output.shape)


def trace(model: nn.Module, x: Tensor) -> list[Layer]:
    """Every leaf module in the order in which it runs on ``x`` (N, C, \\*spatial), recorded by forward hooks.

    A change of shape between two modules, made by a function instead of a module, appears as a layer ``function``.
    Parameters used twice count once. The model stays as it is: it runs in evaluation mode and is then put back.
    """
    layers: list[Layer] = []
    counted: set[nn.Module] = set()

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if layers and inputs[0].shape[1:] != layers[-1].shape:
            layers.append(Layer("function", inputs[0][0], 0, None))
        own = [] if module in counted else list(module.parameters())
        counted.add(module)
        layers.append(Layer(_kind(module), output[0], sum(p.numel() for p in own), _length(own)))

    with torch.no_grad(), _hooked(model, record):
        model(x)
    return layers


def architecture(model: nn.Module, x: Tensor) -> Figure:
    """The layers of a model with their feature maps, shapes and parameter counts, in as many rows as it takes.

    A parameter-free layer that keeps the shape, such as ReLU, is drawn together with the layer before it. Planes are
    real feature maps, each layer on its own grey scale; their side follows the size of the map, and their number the
    depth (at most 16 are drawn). Vectors are columns of cells.

    Args:
        x: mini-batch (N, C, H, W); its first image is shown.
    """
    rows = _rows(_columns(model, x))
    height = BAND + 5.5 * LINE
    ax = _page(len(rows) * height)
    for number, row in enumerate(reversed(rows)):
        _draw_row(ax, row, number * height + 5 * LINE)
    return ax.figure


def training_cycle(model: nn.Module, x: Tensor, before: float, after: float, rate: float) -> Figure:
    """The layers and one training step around them: forward, loss, gradients, update (after Fig. 1 of the review).

    Args:
        model: with the gradients of the step still in its parameters (``p.grad``), and few enough layers for one row.
        x: mini-batch (N, C, H, W) of the step; its first image is shown.
        before, after: loss of this mini-batch before and after the update.
        rate: learning rate of the update.

    Raises:
        ValueError: where the model holds no gradients, or has too many layers for one row.
    """
    columns = _columns(model, x)
    if all(c.gradient is None for c in columns):
        raise ValueError("the model holds no gradients: call loss.backward() first")
    if len(_rows(columns)) > 1:
        raise ValueError(f"{len(columns)} layers do not fit into one row: use architecture")
    floor = 1.85                                                                     # under the row of layers
    ax = _page(floor + BAND + 3 * LINE)
    centres = _draw_row(ax, columns, floor)
    top = floor + BAND + 1.6 * LINE
    _arrow(ax, (centres[0], top), (centres[-1], top), BLUE)
    _text(ax, WIDTH / 2, top + 0.04, f"1  forward propagation of a mini-batch of {len(x)}", BLUE, va="bottom")
    _draw_return(ax, columns, centres, before, floor - 0.75)
    _text(ax, MARGIN, 0.42, f"4  update of each of the {_count(columns)} parameters:  "
          rf"$w := w - {rate:g}\;\partial L/\partial w$", RED, ha="left")
    _text(ax, MARGIN, 0.16, f"then again from 1: the same mini-batch now has the loss {after:.3f}", "black", ha="left")
    return ax.figure


def _draw_return(ax: Axes, columns: list[Layer], centres: list[float], loss: float, y: float) -> None:
    """The loss under the last layer, and the way back from it to every layer that learns."""
    right, learning = centres[-1], [(c, x - 0.2) for c, x in zip(columns, centres, strict=True) if c.parameters]
    ax.plot((right, learning[0][1]), (y, y), "--", color=RED, linewidth=1.4)
    for layer, x in learning:
        _arrow(ax, (x, y), (x, y + 0.5), RED)
        _text(ax, x + 0.04, y + 0.27, f"{layer.gradient:.2g}", RED, ha="left")
    _arrow(ax, (right + 0.22, y + 0.5), (right + 0.22, y + 0.17), BLUE)
    box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "black"}          # hides where the lines begin
    ax.text(right, y, f"2  loss\nL = {loss:.3f}", fontsize=TEXT + 0.5, ha="center", va="center", bbox=box, zorder=99)
    _text(ax, learning[0][1], y - 0.06, "3  backpropagation: length of the gradient of L, layer by layer", RED,
          ha="left", va="top")


def _columns(model: nn.Module, x: Tensor) -> list[Layer]:
    """The input and the traced layers, with ReLU and its like joined to the layer before."""
    columns = [Layer("input", x[0], 0, None)]
    for layer in trace(model, x):
        last = columns[-1]
        if len(columns) > 1 and not layer.parameters and layer.shape == last.shape:
            columns[-1] = last._replace(kind=f"{last.kind}\n+ {layer.kind}", output=layer.output)
        else:
            columns.append(layer)
    return columns


def _rows(columns: list[Layer]) -> list[list[Layer]]:
    """Columns in rows as wide as the page, filled like lines of text."""
    rows: list[list[Layer]] = [[]]
    for column in columns:
        if rows[-1] and sum(map(_width, [*rows[-1], column])) > WIDTH - 2 * MARGIN:
            rows.append([])
        rows[-1].append(column)
    return rows


def _draw_row(ax: Axes, columns: list[Layer], floor: float) -> list[float]:
    """Pictures above ``floor``, labels below; returns the centre of each column."""
    spare = (WIDTH - 2 * MARGIN - sum(map(_width, columns))) / len(columns)
    spare = min(spare, 0.25)
    centres, left = [], MARGIN
    for column in columns:
        centres.append(left + (_width(column) + spare) / 2)
        left += _width(column) + spare
    for column, centre in zip(columns, centres, strict=True):
        _draw_output(ax, column.output, centre, floor + BAND / 2)
        _label(ax, column, centre, floor)
    ...
