"""Several estimates with their intervals for each of several circumstances, side by side."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from companion.plotting.style import GREY, figure

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def grid(rows: Mapping[str, Mapping[str, Mapping]], *, xlabel: str, line: tuple[str, float] | None = None) -> Figure:
    """Panels in rows and columns with one legend; panels in a column share their scale, which starts at 0.

    Args:
        rows: title of a row, to label of a column's vertical axis, to series as in ``draw``. All rows have the same
            columns.
        line: label of a column, and a value to compare with, drawn there as a dashed line.
    """
    fig = figure(7.4, 0.6 + 2.5 * len(rows))
    axes = fig.subplots(len(rows), len(next(iter(rows.values()))), sharex=True, sharey="col", squeeze=False)
    for row, (title, columns) in zip(axes, rows.items(), strict=True):
        for ax, (ylabel, series) in zip(row, columns.items(), strict=True):
            draw(ax, series, ylabel=ylabel, title=title)
            if line and line[0] == ylabel:
                ax.axhline(line[1], color=GREY, linestyle="--", linewidth=1)
    for ax in axes[-1]:                                                  # last, when the scale fits all panels
        ax.set(ylim=(0, None), xlabel=xlabel)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return fig


def row(panels: Mapping[str, Mapping[str, Mapping]], lines: Mapping[str, float], *, xlabel: str,
        limits: tuple[float, float]) -> Figure:
    """Panels side by side with one scale and one legend, each with a value to compare with as a dashed line.

    Args:
        panels: title, to series as in ``draw``. All have the same series.
        lines: by title, the value of the dashed line.
        limits: lowest and highest value that can be; intervals are cut there.
    """
    fig = figure(7.4, 3.2)
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (title, series) in zip(axes, panels.items(), strict=True):
        cut = {name: {where: (mean, max(low, limits[0]), min(high, limits[1]))
                      for where, (mean, low, high, *_n) in found.items()} for name, found in series.items()}
        draw(ax, cut, ylabel="", title=title)
        ax.axhline(lines[title], color=GREY, linestyle="--", linewidth=1)
        ax.set(xlabel=xlabel, ylim=(limits[0] - 0.03 * (limits[1] - limits[0]), limits[1]))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(series))
    return fig


def draw(ax: Axes, series: Mapping[str, Mapping[str, tuple[float, float, float]]], *, ylabel: str,
         title: str = "") -> None:
    """Means as markers and intervals as bars into ``ax``, one group per circumstance.

    Series are told apart by colour and by marker.

    Args:
        series: name of a series, to name of a circumstance, to (mean, low, high, ...). All have the same circumstances.
    """
    circumstances = list(next(iter(series.values())))
    for place, ((name, found), marker) in enumerate(zip(series.items(), MARKERS, strict=False)):
        x = [group + (place - (len(series) - 1) / 2) * 0.7 / len(series) for group in range(len(circumstances))]
        mean, low, high = zip(*(found[c][:3] for c in circumstances), strict=True)
        bars = [[m - edge for m, edge in zip(mean, low, strict=True)],
                [edge - m for m, edge in zip(mean, high, strict=True)]]
        ax.errorbar(x, mean, yerr=bars, fmt=marker, markersize=5, capsize=2, linewidth=1.2, label=name)
    ax.set(xticks=range(len(circumstances)), xticklabels=circumstances, ylabel=ylabel, title=title)
