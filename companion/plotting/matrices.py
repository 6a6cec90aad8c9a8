"""Layers as the matrices that they are: one row per output value, one column per input pixel."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from companion.plotting.style import figure


def connections(matrices: Mapping[str, Tensor], *, limit: float) -> Figure:
    """Matrices (outputs, inputs) of whole numbers one above the other; a zero, no connection, stays white and empty.

    Args:
        matrices: by the title over them.
        limit: colours run from -limit (purple) over 0 (white) to limit (orange).
    """
    fig = figure(7.5, 2.6 * len(matrices))
    axes = fig.subplots(len(matrices), 1, squeeze=False)[:, 0]
    for ax, (title, matrix) in zip(axes, matrices.items(), strict=True):
        ax.imshow(matrix.detach().cpu().numpy(), cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto", alpha=0.55)
        for (out, pixel) in matrix.nonzero().tolist():
            ax.text(pixel, out, f"{matrix[out, pixel]:.0f}", ha="center", va="center", fontsize=7)
        ax.set(title=title, xlabel="number of the input pixel", ylabel="number of the output",
               xticks=range(0, matrix.shape[1], 4), yticks=range(0, matrix.shape[0], 2))
    return fig
