"""A network drawn from the live module: its layers, and one real training step around them (Fig. 1). Book: Part 1.

Nothing is drawn by hand: forward hooks on the leaf modules record what each layer puts out, the planes are real feature
maps, and every number is read from the module. Layers stand in the order in which they run, so branches (skip
connections, parallel paths) come one after the other, without the lines that would join them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from companion.plotting.style import BLUE, GREEN, GREY, ORANGE, RED, figure

KINDS = {"Conv": "convolution", "ConvTranspose": "transposed\nconvolution", "MaxPool": "max pooling",
         "AvgPool": "average\npooling", "AdaptiveAvgPool": "average\npooling", "Flatten": "flatten",
         "Linear": "fully\nconnected", "BatchNorm": "batch norm", "Dropout": "dropout"}
"""The review's word for a module, by the start of its class's name; other classes keep their own name."""

STAGES = {"convolution": "feature extraction", "pooling": "feature extraction", "flatten": "mapping to the output",
          "connected": "mapping to the output"}
COLOURS = {"convolution": BLUE, "pooling": ORANGE, "connected": GREEN}

# Inches; text in points.
PAGE, MARGIN = 7.5, 0.06
BAND = 1.3                      # height of a row of pictures
SIDE, LEAST = 0.78, 0.1         # of the largest plane, and of any plane at least
STEP, PLANES = 0.024, 16        # from a plane to the next behind it; how many are drawn at most
CELL, TALL, BAR = 0.105, 1.2, 0.14      # one number of a vector; its greatest height; its width
COLUMN, GAP = 0.8, 0.12         # least width of a column; room for the arrow to it
LINE, TEXT = 0.135, 7.5


class Layer(NamedTuple):
    """One step of the forward propagation.

    Attributes:
        kind: what it does, such as ``convolution``.
        output: what it puts out for the first input of the mini-batch, (C, \\*spatial) or (C,).
        parameters: how many numbers it learns.
        gradient: Euclidean length of the gradient in its parameters; none where they hold none.
    """

    kind: str
    output: Tensor
    parameters: int
    gradient: float | None


def trace(model: nn.Module, x: Tensor) -> list[Layer]:
    """Every leaf module in the order in which it runs on ``x`` (N, C, \\*spatial), recorded by forward hooks.

    Where a function, not a module, changes the shape between two modules, a layer of kind ``function`` says so. A module
    that runs twice counts its parameters once. The model runs in evaluation mode, and is then as it was before.
    """
    layers: list[Layer] = []
    counted: set[nn.Module] = set()

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if layers and inputs[0].shape[1:] != layers[-1].output.shape:
            layers.append(Layer("function", inputs[0][0], 0, None))
        own = [] if module in counted else list(module.parameters())
        counted.add(module)
        layers.append(Layer(_kind(module), output[0], sum(p.numel() for p in own), _length(own)))

    with torch.no_grad(), _watched(model, record):
        model(x)
    return layers


def architecture(model: nn.Module, x: Tensor) -> Figure:
    """The layers of a model with their feature maps, shapes and numbers of parameters, in as many rows as it takes.

    A layer without parameters that keeps the shape, such as ReLU, is drawn with the layer before it. The side of a plane
    follows the size of the feature maps, the number of planes their depth (at most 16 are drawn); each layer has its own
    grey scale. Vectors are columns of cells.

    Args:
        x: mini-batch (N, C, \\*spatial); its first image is shown. Of a volume, the middle slice.
    """
    columns = _columns(model, x)
    unit = _unit(columns)
    rows = _rows(columns, unit)
    height = BAND + 7.5 * LINE
    ax = _page(len(rows) * height)
    for place, row in enumerate(reversed(rows)):
        _draw_row(ax, row, unit, place * height + 5.5 * LINE)
    return ax.figure


def training_cycle(model: nn.Module, x: Tensor, before: float, after: float, rate: float) -> Figure:
    """The layers and one training step around them: forward, loss, gradient, update (after Fig. 1 of the review).

    Args:
        model: with the gradients of the step still in its parameters (``p.grad``), and layers for one row.
        x: mini-batch (N, C, \\*spatial) of the step; its first image is shown.
        before, after: loss of this mini-batch before and after the update.
        rate: learning rate of the update.

    Raises:
        ValueError: where a layer that learns holds no gradient, or the layers need more than one row.
    """
    columns = _columns(model, x)
    unit, total = _unit(columns), sum(c.parameters for c in columns)
    if any(c.parameters and c.gradient is None for c in columns):
        raise ValueError("a layer holds parameters without gradient: call loss.backward() first")
    if len(_rows(columns, unit)) > 1:
        raise ValueError(f"the {len(columns)} layers do not fit into one row: use architecture")
    floor = 2.0                                                                      # the cycle runs below
    top = floor + BAND + 2.4 * LINE
    ax = _page(top + 2 * LINE)
    centres = _draw_row(ax, columns, unit, floor)
    _arrow(ax, (centres[0], top), (centres[-1], top), BLUE)
    _text(ax, PAGE / 2, top + 0.04, f"1  forward propagation of a mini-batch of {len(x)} images", color=BLUE,
          ha="center", va="bottom")
    _draw_return(ax, columns, centres, before, floor - 5.5 * LINE - 0.6)
    _text(ax, MARGIN, 0.33, f"4  update of each of the {_spaced(total)} parameters:  "
          rf"$w \;:=\; w - {rate:g}\;\partial L / \partial w$", color=RED)
    _text(ax, MARGIN, 0.12, f"then again from 1: for the same mini-batch the loss is now L = {after:.3f}")
    return ax.figure


def _draw_return(ax: Axes, columns: list[Layer], centres: list[float], loss: float, y: float) -> None:
    """The loss under the last layer, and the way back from it to every layer that learns."""
    right, learning = centres[-1], [(c, x - 0.2) for c, x in zip(columns, centres, strict=True) if c.parameters]
    ax.plot((right, learning[0][1]), (y, y), color=RED, linestyle="--", linewidth=1.2)
    for layer, x in learning:
        _arrow(ax, (x, y), (x, y + 0.55), RED, "--")
        _text(ax, x + 0.05, y + 0.3, f"{layer.gradient:.2g}", color=RED)
    _arrow(ax, (right + 0.25, y + 0.55), (right + 0.25, y + 0.15), BLUE)
    box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "black"}          # covers where the lines begin
    _text(ax, right, y, f"2  loss\nL = {loss:.3f}", ha="center", bbox=box, zorder=99)
    _text(ax, learning[0][1], y - 0.08, "3  backpropagation: length of the gradient of L, layer by layer", color=RED,
          va="top")


def _draw_row(ax: Axes, columns: list[Layer], unit: float, floor: float) -> list[float]:
    """Pictures above ``floor``, labels below it, stages above the pictures; returns the centre of each column."""
    widths = [_width(c, unit) for c in columns]
    spare = min(0.3, (PAGE - 2 * MARGIN - sum(widths)) / len(columns))
    centres, left = [], MARGIN
    for column, width in zip(columns, widths, strict=True):
        centres.append(left + (width + spare) / 2)
        left += width + spare
        _draw_output(ax, column.output.detach().cpu(), unit, centres[-1], floor + BAND / 2)
        _label(ax, column, centres[-1], floor)
    _draw_stages(ax, columns, centres, floor + BAND)
    return centres


def _draw_stages(ax: Axes, columns: list[Layer], centres: list[float], y: float) -> None:
    """A line with its name over neighbouring layers of the same stage."""
    for stage, run in groupby(zip(columns, centres, strict=True), key=lambda pair: _word(pair[0], STAGES)):
        places = [x for _, x in run]
        if stage:
            ax.plot((places[0] - 0.35, places[-1] + 0.35), (y, y), color=GREY, linewidth=1)
            _text(ax, sum(places) / len(places), y + 0.03, stage, color=GREY, ha="center", va="bottom")


def _draw_output(ax: Axes, output: Tensor, unit: float, x: float, y: float) -> None:
    """A stack of planes or a column of cells, centred at (x, y)."""
    if output.dim() == 1:
        tall = min(TALL, CELL * len(output))
        _plane(ax, output[:, None], x - BAR / 2, y - tall / 2, BAR, tall, (output.min(), output.max()))
        if tall < TALL:
            for place, value in enumerate(range(len(output))):
                _text(ax, x + BAR, y + tall / 2 - (place + 0.5) * CELL, str(value), size=6)
        return
    planes = _planes(output)
    wide, tall = (max(LEAST, unit * side) for side in (planes.shape[2], planes.shape[1]))
    count = min(PLANES, len(planes))
    deep = STEP * (count - 1)
    for place in reversed(range(count)):                                             # the first map lies in front
        left, low = x - (wide + deep) / 2 + STEP * place, y - (tall + deep) / 2 + STEP * place
        _plane(ax, planes[place], left, low, wide, tall, (planes.min(), planes.max()))


def _plane(ax: Axes, image: Tensor, left: float, low: float, wide: float, tall: float, limits: tuple) -> None:
    corners, order = (left, left + wide, low, low + tall), 2 + len(ax.images)
    ax.imshow(image.float().numpy(), cmap="gray", vmin=limits[0], vmax=limits[1], extent=corners, zorder=order,
              interpolation="antialiased", aspect="equal")
    ax.add_patch(Rectangle((left, low), wide, tall, fill=False, edgecolor=GREY, linewidth=0.5, zorder=order))


def _label(ax: Axes, layer: Layer, x: float, y: float) -> None:
    """Kind, shape and number of parameters, in the colour of the kind."""
    _text(ax, x, y, layer.kind, color=_word(layer, COLOURS) or "black", weight="bold", ha="center", va="top")
    shape = " × ".join(map(_spaced, layer.output.shape))
    learned = f"\n{_spaced(layer.parameters)} param." if layer.parameters else ""
    _text(ax, x, y - LINE * (1 + layer.kind.count("\n")), shape + learned, ha="center", va="top")


def _columns(model: nn.Module, x: Tensor) -> list[Layer]:
    """The input and the traced layers, ReLU and its like joined to the layer before."""
    columns = [Layer("input", x[0], 0, None)]
    for layer in trace(model, x):
        last = columns[-1]
        if len(columns) > 1 and not layer.parameters and layer.output.shape == last.output.shape:
            columns[-1] = last._replace(kind=f"{last.kind}\n+ {layer.kind}", output=layer.output)
        else:
            columns.append(layer)
    return columns


def _rows(columns: list[Layer], unit: float) -> list[list[Layer]]:
    """The columns in rows as wide as the page, filled like lines of text."""
    rows: list[list[Layer]] = [[]]
    for column in columns:
        if rows[-1] and sum(_width(c, unit) for c in [*rows[-1], column]) > PAGE - 2 * MARGIN:
            rows.append([])
        rows[-1].append(column)
    return rows


def _unit(columns: list[Layer]) -> float:
    """Inches per pixel, so that the largest plane gets ``SIDE``."""
    return SIDE / max((max(_planes(c.output).shape[1:]) for c in columns if c.output.dim() > 1), default=1)


def _width(layer: Layer, unit: float) -> float:
    if layer.output.dim() == 1:
        return COLUMN
    planes = _planes(layer.output)
    return max(COLUMN, GAP + max(LEAST, unit * planes.shape[2]) + STEP * (min(PLANES, len(planes)) - 1))


def _planes(output: Tensor) -> Tensor:
    """Feature maps as planes (C, H, W): of a volume the middle slice, of a signal a single line."""
    if output.dim() == 4:
        return output[:, output.shape[1] // 2]
    return output[:, None] if output.dim() == 2 else output


def _kind(module: nn.Module) -> str:
    name = type(module).__name__
    return KINDS[max(starts, key=len)] if (starts := [k for k in KINDS if name.startswith(k)]) else name


def _word(layer: Layer, words: dict[str, str]) -> str | None:
    return next((value for word, value in words.items() if word in layer.kind), None)


def _length(parameters: list[nn.Parameter]) -> float | None:
    gradients = [p.grad.flatten() for p in parameters if p.grad is not None]
    return torch.cat(gradients).norm().item() if gradients else None


@contextmanager
def _watched(model: nn.Module, record: Callable[..., None]) -> Iterator[None]:
    """Hooks on all leaf modules, and evaluation mode, for as long as the ``with`` block runs."""
    modes = {module: module.training for module in model.modules()}
    hooks = [m.register_forward_hook(record) for m in model.modules() if not any(True for _ in m.children())]
    try:
        model.eval()
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode


def _page(height: float) -> Axes:
    """Axes over a whole figure, in inches."""
    fig = figure(PAGE, height)
    fig.set_layout_engine("none")
    ax = fig.add_axes((0, 0, 1, 1), autoscale_on=False)
    ax.set(xlim=(0, PAGE), ylim=(0, height))
    ax.axis("off")
    return ax


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str, line: str = "-") -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "linestyle": line, "shrinkA": 0,
                                            "shrinkB": 0})


def _text(ax: Axes, x: float, y: float, words: str, **look: object) -> None:
    ax.text(x, y, words, **{"size": TEXT, "va": "center", "linespacing": 1.25, **look})


def _spaced(number: int) -> str:
    return f"{number:,}".replace(",", "\N{THIN SPACE}")
