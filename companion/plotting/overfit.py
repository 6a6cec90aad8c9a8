"""Overfitting seen: curves through few points, losses over the epochs (after Fig. 9 of the review). Book: Part 3."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from companion.plotting.curves import LINES
from companion.plotting.style import BLACK, BLUE, GREEN, GREY, RED, figure

COLOURS = (BLUE, RED, GREEN)


def fits(points: tuple[Tensor, Tensor], truth: tuple[Tensor, Tensor], found: Mapping[str, Tensor], *, xlabel: str,
         ylabel: str, ylim: tuple[float, float], new: tuple[Tensor, Tensor] | None = None) -> Figure:
    """Measured points, the truth behind them and a curve fitted to them, a panel for each fit.

    Args:
        points: x and y of the points (P,) that the curves were fitted to.
        truth: x and y of the curve behind them (G,).
        found: the fitted curves (G,) over the same x, by title.
        new: x and y of points (Q,) that were not fitted.
    """
    fig = figure(7.4, 2.7)
    axes = fig.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for ax, (title, curve) in zip(axes, found.items(), strict=True):
        ax.plot(*truth, "--", color=GREY, linewidth=1.2, label="truth")
        ax.plot(truth[0], curve, color=BLUE, label="fit")
        if new is not None:
            ax.plot(*new, "+", color=RED, markersize=6, label="new")
        ax.plot(*points, "o", color=BLACK, markersize=4, label="fitted to")
        ax.set(title=title, xlabel=xlabel, ylim=ylim)
    axes[0].set_ylabel(ylabel)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def histories(runs: Mapping[str, Sequence[Mapping[str, float]]], *, what: str = "loss", label: str,
              sets: Sequence[str] = ("training", "development"), minimum: bool = True,
              ylim: tuple[float, float] | None = None) -> Figure:
    """A number on several sets over the epochs, a panel for each run.

    Args:
        runs: by title, one record for each epoch with the numbers ``"training loss"``, ``"development loss"``, ...
        what: the number; label: its name and unit on the vertical axis.
        minimum: mark the lowest value on the development set.
    """
    fig = figure(min(7.4, 1.0 + 3.2 * len(runs)), 2.9)
    axes = fig.subplots(1, len(runs), sharey=True, squeeze=False)[0]
    for ax, (title, records) in zip(axes, runs.items(), strict=True):
        epochs = range(1, len(records) + 1)
        for name, colour, line in zip(sets, COLOURS, LINES, strict=False):
            ax.plot(epochs, [r[f"{name} {what}"] for r in records], line, color=colour, label=name)
        if minimum:
            value, epoch = min((r[f"development {what}"], n) for n, r in zip(epochs, records, strict=True))
            ax.axvline(epoch, color=GREY, linestyle=":", linewidth=1)
            ax.plot(epoch, value, "v", color=RED, markersize=7, label="lowest")
        ax.set(title=title, xlabel="epoch")
    axes[0].set_ylabel(label)
    if ylim is not None:
        axes[0].set_ylim(*ylim)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def bands(runs: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], *, what: str = "loss", label: str,
          sets: Sequence[str] = ("training", "development"), minimum: bool = True,
          ylim: tuple[float, float] | None = None) -> Figure:
    """As ``histories``, for several seeds of each run: lines for their mean, pale bands from lowest to highest.

    Args:
        runs: by title, for each seed the records of ``histories``, all seeds with as many epochs.
    """
    means = {title: [{key: sum(record[key] for record in epoch) / len(epoch) for key in epoch[0]}
                     for epoch in zip(*seeds, strict=True)] for title, seeds in runs.items()}
    fig = histories(means, what=what, label=label, sets=sets, minimum=minimum, ylim=ylim)
    for ax, seeds in zip(fig.axes, runs.values(), strict=True):
        for name, colour in zip(sets, COLOURS, strict=False):
            found = torch.tensor([[record[f"{name} {what}"] for record in seed] for seed in seeds])    # (seeds, epochs)
            ax.fill_between(range(1, found.shape[1] + 1), found.amin(0), found.amax(0), color=colour, alpha=0.2,
                            linewidth=0)
    return fig
