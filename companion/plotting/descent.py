"""Pictures around gradient descent: steps (Fig. 7), slopes by direction, mini-batches, sweeps, races. Book: Part 2."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from companion.plotting.curves import LINES, lines
from companion.plotting.style import BLUE, GREEN, GREY, RED, figure


def one_weight(w: Tensor, loss: Tensor, places: Tensor, heights: Tensor, *, rate: float, xlabel: str,
               ylabel: str) -> Figure:
    """Steps down the loss over one weight as arrows, and the tangent at the start (after Fig. 7 of the review).

    The slope of the tangent is the first step divided by minus the learning rate; it ends at the lowest loss.

    Args:
        w: values of the weight (W,) in ascending order; loss: at each of them (W,).
        places: the weight before the first step and after each (T,); heights: the loss there (T,).
        rate: learning rate α of the steps, in units of w squared per unit of the loss.
    """
    fig = lines(w, {"loss": loss}, xlabel=xlabel, ylabel=ylabel)
    ax = fig.axes[0]
    tangent = heights[0] + (places[0] - places[1]) / rate * (w - places[0])
    shown = tangent > loss.min()
    ax.plot(w[shown], tangent[shown], "--", color=GREY, label="slope ∂L/∂w at the start")
    ax.plot(places, heights, ".", color=RED, label=f"steps −α ∂L/∂w, α = {rate:g}")
    points = torch.stack([places, heights], 1).tolist()
    for start, end in zip(points, points[1:], strict=False):
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": RED, "connectionstyle": "arc3,rad=-0.5"})
    ax.legend()
    return fig


def probability(x: Tensor, steps: Mapping[str, Tensor], cases: Tensor, labels: Tensor, *, xlabel: str,
                ylabel: str) -> Figure:
    """Probability over one input at some steps of training, and the cases as marks at 0 and at 1.

    Args:
        x: values of the input (X,).
        steps: by name, the probability at each of them (X,).
        cases: input of each case (N,); labels: 0 or 1 (N,).
    """
    fig = lines(x, steps, xlabel=xlabel, ylabel=ylabel)
    fig.axes[0].plot(cases, labels, "|", color=GREY)
    fig.axes[0].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return fig


def directions(angles: Tensor, slopes: Tensor, others: Tensor) -> Figure:
    """Slopes of the loss over the angle to the gradient, and a histogram of the slopes in other directions.

    Args:
        angles: to the gradient (A,), in degrees.
        slopes: by trying (A,), as multiples of the length of the gradient.
        others: slopes in directions at random (N,), as the same multiples.
    """
    fig = figure(7.2, 2.7)
    left, right = fig.subplots(1, 2)
    left.plot(angles, torch.deg2rad(angles.double()).cos(), label="cosine of the angle")
    left.plot(angles, slopes, "o", markersize=4, label="by trying")
    left.set(xlabel="angle to the gradient (degrees)", ylabel="slope (gradient = 1)", xticks=range(-180, 181, 90))
    left.legend(loc="lower center")
    right.hist(others.numpy(), bins=torch.arange(-1, 1.001, 0.01).tolist(), color=BLUE)
    for end in (-1, 1):
        right.axvline(end, color=RED, linestyle="--")
    right.set(xlabel="slope (gradient = 1)", ylabel=f"directions of {len(others)}")
    return fig


def clouds(gradients: Mapping[int, Tensor], full: Tensor) -> Figure:
    """Gradients of mini-batches as dots around the full gradient, a panel for each size.

    Horizontally the part along the full gradient, which is 1 for the full gradient itself; vertically that along the
    direction in which the gradients of the first size differ most, in the same unit.

    Args:
        gradients: (B, P) by the size of the mini-batches.
        full: gradient of all cases (P,).
    """
    length = full.norm()
    along = full / length
    off = next(iter(gradients.values())) - full
    across = torch.linalg.svd(off - (off @ along)[:, None] * along, full_matrices=False)[2][0]
    fig = figure(7.2, 2.6)
    axes = fig.subplots(1, len(gradients), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (size, one) in zip(axes, gradients.items(), strict=True):
        ax.plot(one @ along / length, (one - full) @ across / length, ".", markersize=3, alpha=0.5)
        ax.plot(1, 0, "P", color=RED, markersize=8)
        ax.axvline(0, color=GREY, linestyle=":")
        ax.set(title=f"mini-batch of {size}", xlabel="along the full gradient")
    axes[0].set_ylabel("across")
    return fig


def variance(errors: Mapping[int, float], cases: int) -> Figure:
    """Squared error of mini-batch gradients over their size, with 1 / n and its correction for a set of ``cases``.

    Args:
        errors: by size, as multiples of that of a single case.
    """
    n = torch.arange(1, cases)
    fig = figure(5.5, 2.8)
    ax = fig.subplots()
    ax.plot(n, (cases - n) / (cases - 1) / n, label="with correction")
    ax.plot(n, 1 / n, "--", label="1 / n")
    ax.plot(list(errors), list(errors.values()), "o", color=GREEN, label="measured")
    ax.set(xscale="log", yscale="log", xlabel="cases in a mini-batch", ylabel="squared error (1 case = 1)",
           ylim=(min(errors.values()) / 30, 2))
    ax.legend()
    return fig


def memory(found: Mapping[str, Mapping[int, int]]) -> Figure:
    """Memory over the size of the mini-batch, both on logarithmic axes; all but the first curve have dots.

    Args:
        found: by name, bytes by the number of images. All have the same numbers of images.
    """
    megabytes = {name: [size / 1e6 for size in sizes.values()] for name, sizes in found.items()}
    fig = lines(list(next(iter(found.values()))), megabytes, xlabel="images in the mini-batch", ylabel="memory (MB)",
                log="xy")
    for line in fig.axes[0].lines[1:]:
        line.set_marker("o")
    return fig


def epochs(runs: Mapping[str, Sequence[float]], *, guessing: float, title: str) -> Figure:
    """Training losses after each epoch, with the loss of guessing as a dotted line.

    Args:
        runs: losses by name, one for every epoch, from epoch 1 on. All have the same number of epochs.
        title: of the legend.
    """
    last = len(next(iter(runs.values())))
    fig = lines(range(1, last + 1), runs, xlabel="epoch", ylabel="training loss")
    fig.axes[0].axhline(guessing, color=GREY, linestyle=":")
    fig.axes[0].legend(title=title, loc="center left", bbox_to_anchor=(1, 0.5))
    fig.axes[0].set_xticks(range(0, last + 1, 5))
    return fig


def sweep(settings: Sequence[float], panels: Mapping[str, Sequence[Sequence[float]]], *, xlabel: str) -> Figure:
    """Results over settings on a logarithmic axis: each seed as a dot, their mean as a line.

    Args:
        panels: for each result its values, by setting and seed (S, N).
    """
    fig = figure(7.2, 2.7)
    for ax, (ylabel, values) in zip(fig.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        ax.plot(settings, values, "o", markersize=4, alpha=0.4, color=RED)
        ax.plot(settings, torch.tensor(values).mean(1), color=BLUE)
        ax.set(xscale="log", xlabel=xlabel, ylabel=ylabel)
    return fig


def race(runs: Mapping[str, Sequence[float]], *, every: int, target: float, title: str) -> Figure:
    """Losses that fall to a target, each as long as it takes.

    Args:
        runs: losses by name, one for every ``every`` steps, from step 0.
        title: of the legend.
    """
    fig = figure(6.4, 2.8)
    ax = fig.subplots()
    for (name, losses), line in zip(runs.items(), LINES * len(runs), strict=False):
        ax.plot([every * n for n in range(len(losses))], losses, linestyle=line, label=name)
    ax.axhline(target, color=GREY, linestyle=":")
    ax.set(xlabel="step", ylabel="training loss", yscale="log")
    ax.legend(title=title, loc="center left", bbox_to_anchor=(1, 0.5))
    return fig
