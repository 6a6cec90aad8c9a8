"""How well a test performs: score distributions, ROC curves, reliability diagrams, people as dots. Book: Part 2."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion.plotting.curves import LINES
from companion.plotting.style import BLUE, GREY, RED, SKY, figure

PEOPLE = {"true positive": ("o", RED), "false negative": ("X", RED), "false positive": ("o", SKY),
          "true negative": (".", "#b5b5b5")}
"""Marker and colour of a person by the test's answer; red has the disease, a disc is called positive."""


def scores(ax: Axes, healthy: Tensor, ill: Tensor, *, xlabel: str, names: Sequence[str] = ("healthy", "ill"),
           threshold: float | None = None, bins: int = 24) -> None:
    """Histograms of the scores of both classes, each (N,), the ill upwards and the healthy downwards, into ``ax``.

    Args:
        threshold: drawn as a dashed line; at or above it a case is called positive.
    """
    both = torch.cat([healthy, ill]).cpu()
    edges = torch.linspace(both.min().item(), both.max().item(), bins + 1)
    for values, name, sign, colour, hatch in ((ill, names[1], 1, RED, ""), (healthy, names[0], -1, BLUE, "///")):
        heights = sign * torch.histogram(values.cpu().float(), edges)[0]
        ax.bar(edges[:-1].numpy(), heights.numpy(), edges.diff().numpy(), align="edge", color=colour, alpha=0.75,
               hatch=hatch, label=name, edgecolor="white")
    ax.axhline(0, color=GREY, linewidth=1)
    if threshold is not None:
        ax.axvline(threshold, color="black", linestyle="--", linewidth=1.4)
    ax.set(xlabel=xlabel, ylabel="cases")
    ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    ax.legend()


def roc(curves: Mapping[str, tuple[Tensor, Tensor]], *, points: Mapping[str, tuple[float, float]] | None = None,
        size: tuple[float, float] = (4.4, 4.0)) -> Figure:
    """ROC curves in a square; see ``draw_roc``."""
    fig = figure(*size)
    draw_roc(fig.subplots(), curves, points=points)
    return fig


def draw_roc(ax: Axes, curves: Mapping[str, tuple[Tensor, Tensor]], *, title: str = "",
             points: Mapping[str, tuple[float, float]] | None = None) -> None:
    """ROC curves into ``ax``, told apart by colour and line style, with the diagonal of guessing.

    Args:
        curves: false and true positive rates (T,) by name.
        points: operating points by name, each (false positive rate, true positive rate).
    """
    for number, (name, (fpr, tpr)) in enumerate(curves.items()):
        ax.plot(fpr.cpu().numpy(), tpr.cpu().numpy(), label=name, linestyle=LINES[number % len(LINES)])
    for number, (name, point) in enumerate((points or {}).items()):
        ax.plot(*map(float, point), "oDs^v"[number % 5], color="black", markersize=7, markerfacecolor="none",
                markeredgewidth=1.5, label=name)
    ax.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    ax.set(xlabel="false positive rate (1 - specificity)", ylabel="sensitivity", title=title, aspect="equal",
           xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    ax.legend(loc="lower right")


def pairs(healthy: Tensor, ill: Tensor) -> Figure:
    """Every pair of an ill and a healthy case as a square, 1 where ranked right, 1/2 for a tie, and the ROC curve.

    Ill cases run upwards and healthy ones to the right, each from the highest score down, so that the curve has the
    pairs that are ranked right below it.

    Args:
        healthy, ill: scores (N,) and (M,), few enough to read.
    """
    healthy, ill = healthy.cpu().sort(descending=True).values, ill.cpu().sort(descending=True).values
    gap = ill[:, None] - healthy
    points = gap.sign() / 2 + 0.5
    fig = figure(4.4, 4.0)
    ax = fig.subplots()
    ax.imshow(points.numpy(), cmap="Blues", vmin=-0.4, vmax=2, origin="lower",
              extent=(0, len(healthy), 0, len(ill)))
    for row, column in torch.cartesian_prod(torch.arange(len(ill)), torch.arange(len(healthy))).tolist():
        point = points[row, column].item()
        shift = 0.5 if point != 0.5 else 0.7                                       # beside the slanted line of a tie
        ax.text(column + shift, row + 1 - shift, {0.0: "0", 0.5: "½", 1.0: "1"}[point], ha="center", va="center")
    cuts = [torch.inf, *torch.cat([healthy, ill]).unique().flip(0).tolist()]
    ax.plot([(healthy >= t).sum() for t in cuts], [(ill >= t).sum() for t in cuts], color=RED, linewidth=2.5,
            clip_on=False)
    ax.set(xlabel="healthy cases, by score", ylabel="ill cases, by score",
           xticks=torch.arange(len(healthy)) + 0.5, xticklabels=[f"{v:g}" for v in healthy.tolist()],
           yticks=torch.arange(len(ill)) + 0.5, yticklabels=[f"{v:g}" for v in ill.tolist()])
    return fig


def reliability(tables: Mapping[str, tuple[Tensor, Tensor, Tensor]], *,
                intervals: Mapping[str, tuple[Tensor, Tensor]] | None = None, width: float = 7.0) -> Figure:
    """Reliability diagrams side by side: observed share against predicted probability, and below it the cases.

    Args:
        tables: by name, mean probability, observed share and number of cases of each bin (bins,), as
            ``calibration.reliability`` gives them; empty bins are left out.
        intervals: lower and upper end for the observed share of each bin (bins,), by the same names.
    """
    fig = figure(width, 3.9)
    axes = fig.subplots(2, len(tables), squeeze=False, sharex=True, height_ratios=(3.2, 1))
    for column, (name, table) in enumerate(tables.items()):
        full = (table[2] > 0).cpu()
        predicted, observed, cases = (part.cpu()[full].numpy() for part in table)
        ends = [end.cpu()[full].numpy() for end in intervals[name]] if intervals else [observed, observed]
        upper, lower = axes[:, column]
        upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        upper.errorbar(predicted, observed, [observed - ends[0], ends[1] - observed], fmt="o-", capsize=3)
        upper.set(title=name, xlim=(-0.02, 1.02), ylim=(-0.03, 1.03), ylabel="" if column else "observed share")
        lower.bar(predicted, cases, width=0.05, color=GREY)
        lower.set(xlabel="predicted probability", ylabel="" if column else "cases")
    return fig


def people(panels: Mapping[str, Mapping[str, int]], *, columns: int = 40, width: float = 7.5) -> Figure:
    """People as dots, side by side: each panel has a number of people for each answer in ``PEOPLE``.

    Args:
        panels: by title, the number of people by answer; answers may be left out.
        columns: dots in a row.

    Raises:
        ValueError: for an answer that is not in ``PEOPLE``, or a panel without people.
    """
    tall = max(-(-sum(numbers.values()) // columns) for numbers in panels.values())
    size = (width / len(panels) * 50 / columns) ** 2                               # of a mark, in points squared
    fig = figure(width, 0.93 * width / len(panels) * tall / columns + 0.65)
    for ax, (title, numbers) in zip(fig.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        if set(numbers) - set(PEOPLE) or not sum(numbers.values()):
            raise ValueError(f"panel {title!r} has {dict(numbers)}, but must have people, by: {', '.join(PEOPLE)}")
        start = 0
        for answer, (marker, colour) in PEOPLE.items():
            places = torch.arange(start, start + numbers.get(answer, 0))
            ax.scatter((places % columns).numpy(), (places // columns).numpy(), size, color=colour, marker=marker,
                       linewidths=0, label=answer)
            start += len(places)
        ax.set(title=title, aspect="equal", ylim=(tall, -1))
        ax.set_axis_off()
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, markerscale=1.6)
    return fig
