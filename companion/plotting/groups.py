"""Several estimates with their intervals for each of several circumstances, side by side."""

from collections.abc import Mapping

from matplotlib.axes import Axes

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


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
