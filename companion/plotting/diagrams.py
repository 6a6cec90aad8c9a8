"""A network drawn from the live module: its layers, and one real training step around them (Fig. 1). Book: Part 1.

Nothing is drawn by hand: the planes are real feature maps, recorded by ``companion.plotting.trace``, and every number
is read from the module. Layers stand in the order in which they run, without the lines that would join branches.
"""

from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from companion.plotting.style import BLUE, GREEN, GREY, ORANGE, RED, figure
from companion.plotting.trace import Layer, layers

COLOURS = {"convolution": BLUE, "pooling": ORANGE, "connected": GREEN}
STAGES = {"convolution": "feature extraction", "pooling": "feature extraction", "flatten": "mapping to the output",
          "connected": "mapping to the output"}

# All in inches but the last.
PAGE, MARGIN = 7.5, 0.06
BAND = 1.3                              # height of a row of pictures
SIDE, LEAST = 0.78, 0.1                 # of the largest plane, and of any plane at least
STEP, PLANES = 0.024, 16                # from a plane to the next behind it; how many are drawn at most
CELL, TALL, BAR = 0.105, 1.2, 0.14      # one number of a vector; its greatest height; its width
GAP, RISE = 0.13, 0.55                  # arrow from a column to the next; arrow of a gradient
LINE, LETTER, TEXT = 0.16, 0.068, 8.5   # height of a line, width of a letter; size in points


def architecture(model: nn.Module, x: Tensor) -> Figure:
    """The layers of a model with their feature maps, shapes and numbers of parameters, in rows across the page.

    A layer without parameters that keeps the shape, such as ReLU, is drawn with the layer before it. The side of a
    plane follows the size of the feature maps, the number of planes their depth (at most 16 are drawn, the one of
    strongest contrast in front); each layer has its own grey scale. Vectors are columns of cells.

    Args:
        x: mini-batch (N, C, \\*spatial); its first image is shown. Of a volume, the middle slice.
    """
    columns = _columns(model, x)
    rows = _rows(columns)
    height = _depth(columns) + BAND + 2 * LINE
    ax = _page(len(rows) * height)
    for place, row in enumerate(reversed(rows)):
        _draw_row(ax, row, _unit(columns), place * height + _depth(columns))
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
    if any(c.parameters and c.gradient is None for c in columns):
        raise ValueError("a layer holds parameters without gradient: call loss.backward() first")
    if len(_rows(columns)) > 1:
        raise ValueError(f"the {len(columns)} layers do not fit into one row: use architecture")
    way = 0.95                                       # height of the way back; the words of the update lie below
    floor = way + RISE + _depth(columns)
    ax = _page(floor + BAND + 4.4 * LINE)
    centres = _draw_row(ax, columns, _unit(columns), floor)
    _draw_forward(ax, centres, len(x), floor + BAND + 2.4 * LINE)
    _draw_return(ax, columns, centres, before, way)
    count = sum(c.parameters for c in columns)
    _text(ax, MARGIN, 0.39, f"4  update of each of the {count:,} parameters:  w := w − {rate:g} ∂L/∂w", color=RED)
    _text(ax, MARGIN, 0.15, f"then again from 1: for the same mini-batch the loss is now L = {after:.3f}")
    return ax.figure


def _draw_forward(ax: Axes, centres: list[float], size: int, y: float) -> None:
    words = f"1  forward propagation of a mini-batch of {size} images"
    _arrow(ax, (centres[0], y), (centres[-1], y), BLUE)
    _text(ax, PAGE / 2, y + 0.04, words, color=BLUE, ha="center", va="bottom")


def _draw_return(ax: Axes, columns: list[Layer], centres: list[float], loss: float, y: float) -> None:
    """The loss under the last layer, and the way back from it to every layer that learns."""
    right, learning = centres[-1], [(c, x - 0.2) for c, x in zip(columns, centres, strict=True) if c.parameters]
    ax.plot((right, learning[0][1]), (y, y), color=RED, linestyle="--", linewidth=1.2)
    for layer, x in learning:
        _arrow(ax, (x, y), (x, y + RISE), RED, "--")
        _text(ax, x + 0.05, y + 0.4, f"{layer.gradient:.2g}", color=RED)
    words = "3  backpropagation: length of the gradient of L, layer by layer"
    _text(ax, learning[0][1], y - 0.08, words, color=RED, va="top")
    _arrow(ax, (right + 0.25, y + RISE), (right + 0.25, y + 0.27), BLUE)
    box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "black"}          # covers where the lines begin
    _text(ax, PAGE - 2 * MARGIN, y, f"2  loss of outputs\nand labels\nL = {loss:.3f}", ha="right", bbox=box,
          multialignment="left", zorder=99)


def _draw_row(ax: Axes, columns: list[Layer], unit: float, floor: float) -> list[float]:
    """Pictures above ``floor``, words below it, stages above the pictures; returns the centre of each column."""
    widths = [_width(c, unit) for c in columns]
    spare = min(0.3, (PAGE - 2 * MARGIN - sum(widths)) / len(columns))
    centres, left = [], MARGIN
    for column, width in zip(columns, widths, strict=True):
        centres.append(left + (width + spare) / 2)
        left += width + spare
        if column is not columns[-1]:
            _arrow(ax, (left - 0.04, floor + BAND / 2), (left + 0.06, floor + BAND / 2), GREY)
        _draw_output(ax, column, unit, centres[-1], floor + BAND / 2)
        _text(ax, centres[-1], floor, _name(column), weight="bold", ha="center", va="top")
        _text(ax, centres[-1], floor - LINE * (1 + _name(column).count("\n")), _facts(column), ha="center", va="top")
    _draw_stages(ax, columns, centres, floor + BAND)
    return centres


def _draw_stages(ax: Axes, columns: list[Layer], centres: list[float], y: float) -> None:
    """A line with its name over neighbouring layers of the same stage."""
    for stage, run in groupby(zip(columns, centres, strict=True), key=lambda pair: _word(pair[0], STAGES)):
        places = [x for _, x in run]
        if stage:
            ax.plot((places[0] - 0.35, places[-1] + 0.35), (y, y), color=GREY, linewidth=1)
            middle = min(sum(places) / len(places), PAGE - 0.7)                      # keeps the words on the page
            _text(ax, middle, y + 0.03, stage, color=GREY, ha="center", va="bottom")


def _draw_output(ax: Axes, layer: Layer, unit: float, x: float, y: float) -> None:
    """A stack of planes or a column of cells, centred at (x, y), with edges in the colour of the kind."""
    output, colour = layer.output.detach().cpu().float(), _word(layer, COLOURS) or GREY
    planes = _planes(output)
    wide, tall = _extent(layer, unit)
    count = min(PLANES, len(planes))
    left, low = (centre - (side + STEP * (count - 1)) / 2 for centre, side in ((x, wide), (y, tall)))
    strongest = planes.flatten(1).std(dim=1, correction=0).argsort(descending=True)[:count].tolist()
    for place, number in reversed(list(enumerate(strongest))):
        corner = (left + STEP * place, low + STEP * place)
        _draw_plane(ax, planes[number], (*corner, wide, tall), (planes.min(), planes.max()), colour)
    if output.dim() == 1 and tall < TALL:
        for place in range(len(output)):
            _text(ax, x + BAR, y + tall / 2 - (place + 0.5) * CELL, str(place), size=7)


def _draw_plane(ax: Axes, image: Tensor, box: tuple[float, ...], scale: tuple[Tensor, Tensor], colour: str) -> None:
    left, low, wide, tall = box
    look = {"zorder": 2 + len(ax.images)}                                            # later planes cover earlier ones
    ax.imshow(image.numpy(), "gray", vmin=scale[0], vmax=scale[1], extent=(left, left + wide, low, low + tall), **look)
    ax.add_patch(Rectangle((left, low), wide, tall, fill=False, edgecolor=colour, linewidth=0.7, **look))


def _columns(model: nn.Module, x: Tensor) -> list[Layer]:
    """The input and the traced layers, ReLU and its like joined to the layer before."""
    columns = [Layer("input", x[0], 0, None)]
    for layer in layers(model, x):
        last = columns[-1]
        if len(columns) > 1 and not layer.parameters and layer.shape == last.shape:
            columns[-1] = last._replace(kind=f"{last.kind} + {layer.kind}", output=layer.output)
        else:
            columns.append(layer)
    return columns


def _rows(columns: list[Layer]) -> list[list[Layer]]:
    """The columns in rows as wide as the page, filled like lines of text."""
    unit, rows = _unit(columns), [[]]
    for column in columns:
        if rows[-1] and sum(_width(c, unit) for c in [*rows[-1], column]) > PAGE - 2 * MARGIN:
            rows.append([])
        rows[-1].append(column)
    return rows


def _unit(columns: list[Layer]) -> float:
    """Inches per pixel, so that the longest side of all planes becomes ``SIDE``."""
    return SIDE / max((max(_planes(c.output).shape[1:]) for c in columns if c.output.dim() > 1), default=1)


def _width(layer: Layer, unit: float) -> float:
    """Room that a layer needs: of its picture or of its words."""
    stack = STEP * (min(PLANES, len(_planes(layer.output))) - 1)
    words = max(len(line) for text in (_name(layer), _facts(layer)) for line in text.split("\n"))
    return GAP + max(_extent(layer, unit)[0] + stack, LETTER * words)


def _extent(layer: Layer, unit: float) -> tuple[float, float]:
    """Width and height of one plane, or of the column of cells."""
    if layer.output.dim() == 1:
        return BAR, min(TALL, CELL * len(layer.output))
    height, width = _planes(layer.output).shape[1:]
    return max(LEAST, unit * width), max(LEAST, unit * height)


def _planes(output: Tensor) -> Tensor:
    """Feature maps as planes (C, H, W): of a volume the middle slice, of a signal one line, a vector as one column."""
    if output.dim() == 1:
        return output[None, :, None]
    if output.dim() == 2:
        return output[:, None]
    return output[:, output.shape[1] // 2] if output.dim() == 4 else output


def _depth(columns: list[Layer]) -> float:
    """Height of the most lines of words under a layer."""
    return LINE * (1.6 + max((_name(c) + _facts(c)).count("\n") + 1 for c in columns))


def _name(layer: Layer) -> str:
    return layer.kind.replace(" + ", "\n+ ").replace("fully ", "fully\n")


def _facts(layer: Layer) -> str:
    learned = f"\n{layer.parameters:,} param." if layer.parameters else ""
    return " × ".join(map(str, layer.shape)) + learned


def _word(layer: Layer, words: dict[str, str]) -> str | None:
    return next((value for word, value in words.items() if word in layer.kind), None)


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


def _text(ax: Axes, x: float, y: float, words: str, **look: object) -> None:
    ax.text(x, y, words, **{"size": TEXT, "va": "center", "linespacing": 1.25, **look})
