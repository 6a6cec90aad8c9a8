"""Lines, dots, histograms, and points with intervals."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion.plotting.style import CYCLE, GREY, figure

LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))


def lines(x: Sequence[float], curves: Mapping[str, Sequence[float]], *, xlabel: str, ylabel: str,
          size: tuple[float, float] = (5.5, 2.8), log: str = "") -> Figure:
    """Curves over a common x, told apart by colour and by line style. Labels carry the units.

    Args:
        log: the axes with a logarithmic scale: "", "x", "y" or "xy".
    """
    fig = figure(*size)
    ax = fig.subplots()
    draw(ax, x, curves, xlabel=xlabel, ylabel=ylabel)
    ax.set(**{f"{axis}scale": "log" for axis in log})
    return fig


def panels(x: Sequence[float], found: Mapping[str, Mapping[str, Sequence[float]]], *, xlabel: str) -> Figure:
    """Curves in panels side by side over a common x on a logarithmic scale, its numbers written out.

    Args:
        found: by the label of a panel's vertical axis, its curves as in ``lines``.
    """
    fig = figure(7.4, 3.0)
    for ax, (ylabel, curves) in zip(fig.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        draw(ax, x, curves, xlabel=xlabel, ylabel=ylabel)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
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


def dots(values: Mapping[str, Sequence[float]], *, xlabel: str, reference: float | None = None,
         kinds: int = 1) -> Figure:
    """One row per name, every value a dot.

    Args:
        reference: a value to compare with, such as 0 or chance, drawn as a dashed line.
        kinds: of rows that take turns, told apart by colour and by marker.
    """
    fig = figure(6.5, 0.9 + 0.35 * len(values))
    ax = fig.subplots()
    for place, row in enumerate(values.values()):
        kind = place % kinds
        ax.plot(row, [place] * len(row), "os^Dv"[kind], alpha=0.6, color=CYCLE[kind])
    if reference is not None:
        ax.axvline(reference, color=GREY, linestyle="--", linewidth=1)
    ax.set(xlabel=xlabel, yticks=range(len(values)), yticklabels=list(values), ylim=(len(values) - 0.5, -0.5))
    return fig


def histograms(values: Mapping[str, Sequence[float]], edges: Sequence[float], *, xlabel: str, ylabel: str,
               reference: float | None = None) -> Figure:
    """Histograms over each other, told apart by colour and by hatching.

    Args:
        edges: of the bars, one more than there are bars.
        reference: a value to compare with, such as chance, drawn as a dashed line.
    """
    fig = figure(6.0, 2.4)
    ax = fig.subplots()
    for (name, one), hatch in zip(values.items(), ("//", "", "..", "xx"), strict=False):
        ax.hist(one, edges, alpha=0.7, hatch=hatch, edgecolor="white", label=name)
    if reference is not None:
        ax.axvline(reference, color=GREY, linestyle="--", linewidth=1)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    fig.legend(loc="outside upper center", ncols=len(values))
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
