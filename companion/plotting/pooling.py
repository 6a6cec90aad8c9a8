"""Pooling in pictures: the patches with their maxima, and feature maps before and after (Fig. 6). Book: Part 1."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from torch import Tensor

from companion.plotting.images import show
from companion.plotting.style import BLUE, GREEN, GREY, ORANGE, RED, figure

EDGES, LINES = (BLUE, RED, GREEN, ORANGE), ("-", "--", ":", "-.")


def maxima(x: Tensor, pooled: Tensor) -> Figure:
    """A small array with its patches outlined and the maximum of each in a ring, then the pooled array (after Fig. 6a).

    Patches are told apart by colour and by line style; each value of the result stands in the frame of its patch.

    Args:
        x: array (H, W), of at most about 8 x 8 numbers.
        pooled: its max pooling (H / size, W / size), with the side of the patches as stride.
    """
    size = x.shape[0] // pooled.shape[0]
    fig = figure(6.0, 2.9)
    left, right = fig.subplots(1, 2, width_ratios=(2, 1.2))
    for row in range(pooled.shape[0]):
        for column in range(pooled.shape[1]):
            number = row * pooled.shape[1] + column
            _frame(left, (size * row, size * column), size, number)
            _frame(right, (row, column), 1, number)
            best = (x[size * row:size * (row + 1), size * column:size * (column + 1)]).argmax().item()
            left.add_patch(Circle((size * column + best % size, size * row + best // size), 0.34, fill=False, lw=1.6))
    for ax, array, title in ((left, x, "input"), (right, pooled, "maxima")):
        _grid(ax, array, f"{array.shape[0]} × {array.shape[1]} {title}")
    return fig


def before_and_after(maps: Sequence[Tensor], pooled: Sequence[Tensor], titles: Sequence[str], *,
                     limits: tuple[float, float] | None = None, cmap: str = "gray", label: str = "",
                     spacing: tuple[float, float] | None = None) -> Figure:
    """Feature maps (H, W) above, the pooled maps (H', W') below (after Fig. 6b).

    In pixels both rows have one scale, so that a map of half the size is drawn at half the size. With ``spacing``, the
    pixel size (row, column) of ``maps`` in mm, the axes are in mm and both rows cover the same area.

    Args:
        limits, cmap, label: as in ``companion.plotting.images.row``.
    """
    ratio = 1 if spacing else pooled[0].shape[0] / maps[0].shape[0]
    fig = figure(7.2, 2.6 + 2.8 * ratio)
    axes = fig.subplots(2, len(maps), height_ratios=(1, ratio), squeeze=False)
    for column, (pair, title) in enumerate(zip(zip(maps, pooled, strict=True), titles, strict=True)):
        for ax, image in zip(axes[:, column], pair, strict=True):
            step = spacing and tuple(s * (m // i) for s, m, i in zip(spacing, maps[0].shape, image.shape, strict=True))
            size = f"{image.shape[0]} × {image.shape[1]}"
            drawn = show(ax, image, f"{title if ax is axes[0, column] else 'pooled'}\n{size}", limits=limits, cmap=cmap,
                         spacing=step)
            ax.set_ylabel("" if column else ax.get_ylabel())
    if label:
        fig.colorbar(drawn, ax=axes, label=label, shrink=0.7)
    for ax in axes.flat:
        ax.set_anchor("W")                                               # the colour bar had moved them to the right
    return fig


def _frame(ax: Axes, corner: tuple[int, int], side: int, number: int) -> None:
    """The frame of patch ``number``, with its first pixel at ``corner`` (row, column)."""
    edge, inset = EDGES[number % len(EDGES)], 0.06
    ax.add_patch(Rectangle((corner[1] - 0.5 + inset, corner[0] - 0.5 + inset), side - 2 * inset, side - 2 * inset,
                           facecolor=edge, alpha=0.13))
    ax.add_patch(Rectangle((corner[1] - 0.5 + inset, corner[0] - 0.5 + inset), side - 2 * inset, side - 2 * inset,
                           fill=False, edgecolor=edge, linestyle=LINES[number % len(LINES)], linewidth=2.2))


def _grid(ax: Axes, array: Tensor, title: str) -> None:
    height, width = array.shape
    for row in range(height):
        for column in range(width):
            ax.text(column, row, f"{array[row, column]:g}", ha="center", va="center", fontsize=13)
    ax.set(xlim=(-0.55, width - 0.45), ylim=(height - 0.45, -0.55), aspect="equal", title=title,
           xlabel="column (pixel)", ylabel="row (pixel)", xticks=range(width), yticks=range(height))
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, colors=GREY)
