"""Single steps of a sliding kernel on paper: window, kernel, products and the feature map so far (after Fig. 3 a-c)."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from companion.plotting.animation import SlidingKernel
from companion.plotting.style import GREY, RED, figure


def draw(moving: SlidingKernel, steps: Sequence[int]) -> Figure:
    """One row per step (0 is the first): input with the window framed, kernel, products, feature map filled so far.

    Raises:
        ValueError: for a step that the sliding kernel does not have.
    """
    if not all(0 <= step < moving.steps for step in steps):
        raise ValueError(f"the steps are {list(steps)}, but must lie between 0 and {moving.steps - 1}")
    arrays = (moving.padded, moving.kernel, moving.kernel, moving.feature_map)
    widths = [a.shape[1] for a in arrays]
    fig = figure(7.2, max(a.shape[0] for a in arrays) * 7.2 / (sum(widths) + 6) * len(steps) + 0.3 * len(steps))
    axes = fig.subplots(len(steps), 4, width_ratios=widths, squeeze=False)
    for row, step in zip(axes, steps, strict=True):
        _step(row, moving, step)
    for ax, name in zip(axes[0], ("input", "kernel", "products", "feature map"), strict=True):
        ax.set_title(name, loc="center")
    return fig


def _step(axes: Sequence[Axes], moving: SlidingKernel, step: int) -> None:
    row, column = divmod(step, moving.feature_map.shape[1])
    (top, left), (h, w) = moving.corner(step), moving.kernel.shape
    sums = moving.feature_map.flatten().tolist()
    written = [n if k <= step else "" for k, n in enumerate(sums)]
    _grid(axes[0], moving.padded.flatten().tolist(), moving.padded.shape, (top, left, h, w), moving.padding)
    _grid(axes[1], moving.kernel.flatten().tolist(), (h, w))
    _grid(axes[2], moving.products[row, column].flatten().tolist(), (h, w), (0, 0, h, w))
    _grid(axes[3], written, moving.feature_map.shape, (row, column, 1, 1))
    axes[0].set_ylabel(f"step {step + 1}", rotation=0, labelpad=24)
    for ax, sign in zip(axes, ("×", "=", "sum:"), strict=False):
        ax.text(1, 0.5, f" {sign}", transform=ax.transAxes, va="center", fontsize=11)


def _grid(ax: Axes, values: Sequence, shape: Sequence[int], frame: tuple[int, int, int, int] | None = None,
          padding: int = 0) -> None:
    """Numbers in a grid of squares; (row, column, rows, columns) are framed, padding is grey and italic."""
    height, width = shape
    for k, value in enumerate(values):
        r, c = divmod(k, width)
        outside = not (padding <= r < height - padding and padding <= c < width - padding)
        ax.add_patch(Rectangle((c, r), 1, 1, facecolor="0.93" if outside else "white", edgecolor=GREY, linewidth=0.6))
        ax.text(c + 0.5, r + 0.5, str(value).replace("-", "−"), ha="center", va="center", fontsize=9,
                style="italic" if outside else "normal")
    if frame:
        r, c, h, w = frame
        ax.add_patch(Rectangle((c, r), w, h, fill=False, edgecolor=RED, linewidth=2.4, zorder=3))
    ax.set(xlim=(-0.05, width + 0.05), ylim=(height + 0.05, -0.05), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(False)
