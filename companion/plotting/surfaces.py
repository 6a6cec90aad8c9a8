"""The loss over two parameters as a surface and as contours, with a path of gradient descent. Book: Part 2."""

from collections.abc import Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion.plotting.style import BLACK, GREEN, RED, figure

LEVELS, LIFT = 14, 0.015    # contours; how far the path lies above the surface, as a share of its height


def descent(x: Tensor, y: Tensor, loss: Tensor, path: Tensor, heights: Tensor, *, xlabel: str,
            ylabel: str, zlabel: str = "loss") -> Figure:
    """The same path on the surface of the loss and on its contours.

    Args:
        x, y: the two parameters, (X,) and (Y,), evenly spaced; they are drawn to the same scale.
        loss: (Y, X).
        path: places of the steps (T, 2) as x, y; heights: the loss at each of them (T,).
    """
    fig = figure(7.4, 3.4)
    grid = fig.add_gridspec(1, 2, width_ratios=(1.2, 1))
    solid, flat = fig.add_subplot(grid[0], projection="3d", computed_zorder=False), fig.add_subplot(grid[1])
    lift = heights + LIFT * (loss.max() - loss.min())
    solid.plot_surface(*torch.meshgrid(x, y, indexing="xy"), loss.numpy(), cmap="viridis", alpha=0.85, linewidth=0,
                       rcount=60, ccount=60)
    solid.plot(*path.T, lift, ".-", color=RED, linewidth=1.4, markersize=5)
    solid.plot(*path[0], lift[:1], "o", color=BLACK, markersize=6)
    solid.plot(*path[-1], lift[-1:], "s", color=GREEN, markersize=6)
    solid.set(xlabel=xlabel, ylabel=ylabel)
    solid.set_zlabel(zlabel, labelpad=8)
    solid.view_init(38, -58)
    solid.locator_params(nbins=5)
    solid.set_box_aspect(None, zoom=0.9)
    _contours(flat, x, y, loss, path)
    flat.set(xlabel=xlabel, ylabel=ylabel, aspect="equal")     # else right angles would not look right
    flat.legend(loc="best")
    return fig


def paths(x: Tensor, y: Tensor, loss: Tensor, runs: Mapping[str, Tensor], *, xlabel: str, ylabel: str,
          columns: int = 4) -> Figure:
    """One panel of contours for each path, with the same axes.

    Args:
        x, y: the two parameters, (X,) and (Y,), evenly spaced; what lies outside is not drawn.
        loss: (Y, X).
        runs: places of the steps (T, 2) as x, y, by the title of the panel.
    """
    columns = min(columns, len(runs))
    rows = -(-len(runs) // columns)
    fig = figure(7.4, 0.5 + 2.1 * rows)
    axes = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat[len(runs):]:
        ax.axis("off")
    for ax, (title, path) in zip(axes.flat, runs.items(), strict=False):
        _contours(ax, x, y, loss, path)
        ax.set_title(title, fontsize=9)
    for ax in axes[-1]:
        ax.set_xlabel(xlabel)
    for ax in axes[:, 0]:
        ax.set_ylabel(ylabel)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig


def bowl(curvatures: Tensor, runs: Mapping[str, Tensor]) -> Figure:
    """Paths over half the sum of curvature times square, with one parameter called a and one called b.

    Args:
        curvatures: along a and along b (2,).
        runs: places of the steps (T, 2) as a, b, by the title of the panel. The panels reach beyond the starts.
    """
    reach = 1.1 * torch.stack([path[0].abs() for path in runs.values()]).max(0).values * torch.tensor([1, 1.8])
    a, b = (torch.linspace(-end, end, 81, dtype=curvatures.dtype) for end in reach.tolist())
    return paths(a, b, 0.5 * (curvatures[0] * a ** 2 + curvatures[1] * b[:, None] ** 2), runs, xlabel="a", ylabel="b")


def _contours(ax: Axes, x: Tensor, y: Tensor, loss: Tensor, path: Tensor) -> None:
    """Contours, denser towards the lowest loss, and the path over them from its first to its last step."""
    low, high = loss.min().item(), loss.max().item()
    levels = [low + (high - low) * (n / LEVELS) ** 2 for n in range(1, LEVELS + 1)]
    ax.contour(x.numpy(), y.numpy(), loss.numpy(), levels=levels, cmap="viridis", linewidths=0.8)
    ax.plot(*path.T.numpy(), ".-", color=RED, linewidth=1.2, markersize=4, label="steps")
    ax.plot(*path[0].tolist(), "o", color=BLACK, label="start")
    ax.plot(*path[-1].tolist(), "s", color=GREEN, label="end")
    ax.set(xlim=(x[0].item(), x[-1].item()), ylim=(y[0].item(), y[-1].item()))
