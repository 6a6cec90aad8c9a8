"""Fields of view: the part of an image that one value sees, as frames over the image. Book: Part 1, weight sharing."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from companion.plotting.images import show
from companion.plotting.style import BLUE, GREEN, ORANGE, PURPLE, RED, SKY, figure

FRAMES = ((ORANGE, "-"), (SKY, "--"), (RED, "-."), (GREEN, ":"), (PURPLE, "-"), (BLUE, "--"))


def frames(image: Tensor, fields: Mapping[str, Tensor], *, title: str = "", height: float = 5.0,
           limits: tuple[float, float] | None = None, label: str = "",
           spacing: tuple[float, float] | None = None) -> Figure:
    """An image with one frame round each field, told apart by colour, line style and the legend below it.

    Args:
        image: (H, W).
        fields: by name, which pixels are seen: Boolean masks (H, W), as ``convolution.gradient_support`` gives them; up
            to six. The frame is the smallest rectangle that holds them all.
        height: of the figure, in inches.
        limits: values shown as black and as white.
        label: name and unit of the values; where given, a colour bar carries it.
        spacing: pixel size (row, column) in mm; the axes are then in mm, otherwise in pixels.

    Raises:
        ValueError: where a mask is empty or has another size than the image, or there are more than six.
    """
    fig = figure(6.5, height)
    ax = fig.subplots()
    shown = show(ax, image, title, limits=limits, spacing=spacing)
    for (name, mask), (colour, line) in zip(fields.items(), _styles(len(fields)), strict=True):
        if mask.shape != image.shape or not mask.any():
            raise ValueError(f"the field {name!r} has shape {tuple(mask.shape)} and {int(mask.sum())} pixels, but must "
                             f"be a mask of the image's size {tuple(image.shape)} with at least one pixel")
        ax.add_patch(_frame(mask, spacing, label=name, edgecolor=colour, linestyle=line))
    if label:
        fig.colorbar(shown, ax=ax, label=label, shrink=0.85)
    fig.legend(loc="outside lower center", ncols=3)
    return fig


def _styles(count: int) -> tuple[tuple[str, str], ...]:
    if count > len(FRAMES):
        raise ValueError(f"there are {count} fields, but at most {len(FRAMES)} can be told apart: leave some out")
    return FRAMES[:count]


def _frame(mask: Tensor, spacing: tuple[float, float] | None, **look: object) -> Rectangle:
    """The smallest rectangle round the mask, in the coordinates of ``images.show``."""
    (dy, dx), edge = spacing or (1, 1), 0 if spacing else 0.5
    rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
    top, left = rows.min().item(), columns.min().item()
    high, wide = rows.max().item() - top + 1, columns.max().item() - left + 1
    return Rectangle((left * dx - edge, top * dy - edge), wide * dx, high * dy, fill=False, linewidth=2, **look)
