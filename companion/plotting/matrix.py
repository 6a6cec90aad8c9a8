"""A layer's weights as a matrix: one row per output value, one column per input pixel. Book: Part 1."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion.plotting.images import show
from companion.plotting.style import GREY, figure


def shared(kernel: Tensor, matrix: Tensor) -> Figure:
    """A kernel beside the matrix that its convolution is; equal entries have one colour and carry their number.

    Zeros stay white and empty, so that the pattern of the others is seen.

    Args:
        kernel: (h, w), positive integers of one digit, for instance 1 to 9 by position.
        matrix: (outputs, inputs), as ``convolution.convolution_matrix`` gives it.

    Raises:
        ValueError: where the matrix has an entry that is neither zero nor in the kernel.
    """
    strange = set(matrix.unique().tolist()) - set(kernel.unique().tolist()) - {0}
    if strange:
        raise ValueError(f"the matrix has the entries {sorted(strange)[:5]}, which are not in the kernel")
    fig = figure(7.5, 3.4)
    left, right = fig.subplots(1, 2, width_ratios=[1, 6])
    _numbers(left, kernel, 9)
    _numbers(right, matrix, 6.5)
    left.set(title="kernel", xticks=[], yticks=[], xlabel="", ylabel="")
    right.set(title="matrix of the layer", xlabel="input pixel (number, row by row)", ylabel="output value (number)")
    return fig


def connections(matrices: Mapping[str, Tensor], *, limit: float) -> Figure:
    """Matrices (outputs, inputs) of whole numbers with a sign, one above the other; zeros stay white and empty.

    Args:
        matrices: by the title over them.
        limit: colours run from -limit (purple) over 0 (white) to limit (orange).
    """
    fig = figure(7.5, 2.6 * len(matrices))
    for ax, (title, matrix) in zip(fig.subplots(len(matrices), 1, squeeze=False).flat, matrices.items(), strict=True):
        entries = matrix.detach().cpu()
        ax.imshow(entries.where(entries != 0, float("nan")).numpy(), cmap="PuOr_r", vmin=-limit, vmax=limit,
                  aspect="auto", alpha=0.55)
        for r, c in matrix.nonzero().tolist():
            ax.text(c, r, f"{matrix[r, c]:.0f}", ha="center", va="center", fontsize=7)
        ax.set(title=title, xlabel="input pixel (number, row by row)", ylabel="output value (number)",
               xticks=range(0, matrix.shape[1], 4), yticks=range(0, matrix.shape[0], 2))
    return fig


def _numbers(ax: Axes, values: Tensor, size: float) -> None:
    """Coloured entries with their numbers over them; zero is white and empty."""
    show(ax, values.float().where(values != 0, float("nan")), cmap="cividis", limits=(0, 9.5))
    for r, c in values.nonzero().tolist():
        ax.text(c, r, f"{values[r, c]:.0f}", ha="center", va="center", fontsize=size,
                color="black" if values[r, c] >= 5 else "white")
    height, width = values.shape
    ax.vlines([c - 0.5 for c in range(width + 1)], -0.5, height - 0.5, color=GREY, linewidth=0.2)
    ax.hlines([r - 0.5 for r in range(height + 1)], -0.5, width - 0.5, color=GREY, linewidth=0.2)
