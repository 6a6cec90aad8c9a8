"""Two ways to do a thing over a row of settings, each seed as a dot. Book: Part 3, batch normalisation."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure

from companion.plotting.curves import LINES
from companion.plotting.style import BLUE, GREY, RED, figure


def sweeps(panels: Mapping[str, tuple[Sequence[float], Mapping[str, Sequence[Sequence[float]]]]], *, ylabel: str,
           threshold: float | None = None, name: str = "", highest: float = float("inf")) -> Figure:
    """Results over settings on logarithmic axes: each seed as a dot, their median as a line.

    Args:
        panels: by the label of the horizontal axis, the settings (S,) and, by name of the way, the results by setting
            and seed (S, N).
        threshold: drawn as a dotted line, with its name in the legend.
        highest: larger values are drawn there, as a run that diverged has none.
    """
    fig = figure(7.4, 3.0)
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (xlabel, (settings, ways)) in zip(axes, panels.items(), strict=True):
        for (way, results), colour, marker, line in zip(ways.items(), (RED, BLUE), "xo", LINES, strict=False):
            values = torch.tensor(results).clamp(max=highest)
            ax.plot(settings, values, marker, color=colour, markersize=4, alpha=0.45)
            ax.plot(settings, values.median(1).values, line, color=colour, label=way)
        if threshold is not None:
            ax.axhline(threshold, color=GREY, linestyle=":", linewidth=1.2, label=name)
        ax.set(xscale="log", yscale="log", xlabel=xlabel)
    axes[0].set_ylabel(ylabel)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
