"""Lines and points with intervals."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion.plotting.style import GREY, figure

LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))


def lines(x: Sequence[float], curves: Mapping[str, Sequence[float]], *, xlabel: str, ylabel: str,
          size: tuple[float, float] = (5.5, 2.8)) -> Figure:
    """Curves over a common x, told apart by colour and by line style. Labels carry the units."""
    fig = figure(*size)
    draw(fig.subplots(), x, curves, xlabel=xlabel, ylabel=ylabel)
    return fig


def draw(ax: Axes, x: Sequence[float], curves: Mapping[str, Sequence[float]], *, xlabel: str, ylabel: str,
         title: str = "") -> None:
    """Curves into ``ax``; see ``lines``."""
    for (name, y), style in zip(curves.items(), LINES * len(curves), strict=False):
        ax.plot(x, y, label=name, linestyle=style)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.legend()


def intervals(estimates: Mapping[str, tuple[float, float, float]], *, xlabel: str, reference: float | None = None,
              width: float = 5.5) -> Figure:
    """One row per name: the mean as a point, its interval as a line.

    Args:
        estimates: (mean, low, high, ...) by name.
        reference: a value to compare with, such as 0 or chance, drawn as a dashed line.
    """
    fig = figure(width, 0.9 + 0.32 * len(estimates))
    ax = fig.subplots()
    draw_intervals(ax, estimates, xlabel=xlabel)
    if reference is not None:
        ax.axvline(reference, color=GREY, linestyle="--", linewidth=1)
    return fig


def draw_intervals(ax: Axes, estimates: Mapping[str, tuple[float, float, float]], *, xlabel: str, title: str = "",
                   single: Mapping[str, float] | None = None) -> None:
    """Intervals into ``ax``; see ``intervals``.

    Args:
        single: for some of the names one value to compare, such as that of a single run, drawn as an open diamond.
    """
    for place, (name, (mean, low, high, *_n)) in enumerate(estimates.items()):
        ax.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", capsize=4, color="C0")
        if single and name in single:
            ax.plot(single[name], place, "D", color="C1", markersize=8, markerfacecolor="none", markeredgewidth=1.4)
    ax.set(xlabel=xlabel, title=title, yticks=range(len(estimates)), yticklabels=list(estimates),
           ylim=(len(estimates) - 0.5, -0.5))
    ax.locator_params(axis="x", nbins=5)
