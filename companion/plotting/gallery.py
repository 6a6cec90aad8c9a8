"""Several examinations in a grid, with the outlines of their masks and their boxes."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from companion.plotting.images import show
from companion.plotting.style import ORANGE, figure


def grid(images: Sequence[Tensor], titles: Sequence[str], *, columns: int = 4,
         limits: tuple[float, float] | None = None, spacing: tuple[float, float] | None = None, label: str = "",
         outlines: Sequence[Tensor | None] | None = None, boxes: Sequence[Tensor | None] | None = None) -> Figure:
    """Images, each (H, W), in rows of ``columns``, with one title each.

    Args:
        limits, spacing, label: as in ``images.row``.
        outlines: a mask (H, W) for each image, drawn as a contour; None for an image without one.
        boxes: (n, 4) for each image as (x0, y0, x1, y1) in pixels, the upper edge exclusive; None for none.
    """
    rows = -(-len(images) // columns)
    tall = max(image.shape[-2] * (spacing or (1, 1))[0] / (image.shape[-1] * (spacing or (1, 1))[1])
               for image in images)
    fig = figure(7.0, rows * (7.0 / columns * tall * 0.8 + 0.45))
    axes = fig.subplots(rows, columns, squeeze=False)
    for i, ax in enumerate(axes.flat):
        if i >= len(images):
            ax.set_visible(False)
            continue
        shown = show(ax, images[i], titles[i], limits=limits, spacing=spacing)
        if outlines is not None and outlines[i] is not None:
            outline(ax, outlines[i], spacing)
        if boxes is not None and boxes[i] is not None:
            frame(ax, boxes[i], spacing)
        if i % columns:
            ax.set_ylabel("")
        if i + columns < len(images):
            ax.set_xlabel("")
    if label:
        fig.colorbar(shown, ax=list(axes.flat), label=label, shrink=0.85)
    return fig


def outline(ax: Axes, mask: Tensor, spacing: tuple[float, float] | None = None, color: str = ORANGE) -> None:
    """Draw the border of a mask (H, W) over an image that ``images.show`` has drawn."""
    if not mask.any():
        return
    (h, w), (dy, dx), shift = mask.shape, spacing or (1, 1), 0.5 if spacing else 0
    columns, rows = [(i + shift) * dx for i in range(w)], [(i + shift) * dy for i in range(h)]    # pixel centres
    ax.contour(columns, rows, mask.cpu().float().numpy(), levels=[0.5], colors=color, linewidths=1.2)


def frame(ax: Axes, boxes: Tensor, spacing: tuple[float, float] | None = None, color: str = ORANGE) -> None:
    """Draw boxes (n, 4) as (x0, y0, x1, y1) in pixels over an image that ``images.show`` has drawn."""
    (dy, dx), shift = spacing or (1, 1), 0 if spacing else 0.5
    for x0, y0, x1, y1 in boxes.cpu().tolist():
        ax.add_patch(Rectangle((x0 * dx - shift, y0 * dy - shift), (x1 - x0) * dx, (y1 - y0) * dy, fill=False,
                               edgecolor=color, linewidth=1.4))
