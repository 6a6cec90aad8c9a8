"""The outputs of a network: what a logit means as a probability, and both as bars beside the image."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion.plotting.images import show
from companion.plotting.style import BLUE, GREEN, GREY, RED, figure

LIGHT = "#c9c9c9"
ODDS = {0.01: "1:99", 0.1: "1:9", 0.5: "1:1", 0.9: "9:1", 0.99: "99:1"}


def logit_scale() -> Figure:
    """The sigmoid curve from logits to probabilities, with the odds at five of its points."""
    fig = figure(6.5, 3.2)
    ax = fig.subplots()
    logits = torch.linspace(-7, 7, 281)
    ax.plot(logits, torch.sigmoid(logits), color=BLUE)
    for probability, odds in ODDS.items():
        logit = torch.logit(torch.tensor(probability)).item()
        ax.plot(logit, probability, "o", color=RED)
        side = -1 if probability < 0.5 else 1
        ax.annotate(f"{probability:.0%}, odds {odds}", (logit, probability), (8 * side, -12 * side),
                    textcoords="offset points", ha="right" if side < 0 else "left", va="center", fontsize=8)
    ax.axhline(0.5, color=GREY, linestyle=":", linewidth=1)
    ax.axvline(0, color=GREY, linestyle=":", linewidth=1)
    ax.set(xlabel="logit (logarithm of the odds)", ylabel="probability", xlim=(-7, 7), ylim=(-0.03, 1.03))
    return fig


def logits_and_probabilities(logits: Tensor, probabilities: Mapping[str, Tensor], names: Sequence[str], *,
                             image: Tensor | None = None, title: str = "",
                             spacing: tuple[float, float] | None = None) -> Figure:
    """Logits (K,) as bars, and beside them each set of probabilities (K,) made from them.

    Args:
        probabilities: by the name of the activation function.
        names: of the K output nodes.
        image: the input (H, W) in display brightness, 0 to 1; drawn first where given, with ``title`` over it.
        spacing: pixel size (row, column) in mm of the image.
    """
    panels = len(probabilities) + 1 + (image is not None)
    fig = figure(7.5, 2.6)
    axes = list(fig.subplots(1, panels))
    if image is not None:
        show(axes.pop(0), image, title, limits=(0, 1), spacing=spacing)
    _bars(axes[0], logits, names, "logits", "logit", BLUE)
    for ax, (name, values) in zip(axes[1:], probabilities.items(), strict=True):
        _bars(ax, values, names, f"{name}: sum {values.sum():.2f}", "probability", GREEN)
        ax.set_xlim(0, 1.25)
        ax.set_xticks([0, 0.5, 1])
    return fig


def answers(images: Tensor, targets: Tensor, outputs: Mapping[str, Tensor], names: Sequence[str]) -> Figure:
    """A row for each image: the image, then the outputs of each network as bars, dark where the label applies.

    Args:
        images: (N, H, W) in display brightness, 0 to 1.
        targets: (N, K), 1 where a label applies.
        outputs: probabilities (N, K) by the name of the network.
        names: of the K labels.
    """
    fig = figure(7.5, 2.4 * len(images))
    for axes, image, target, number in zip(fig.subplots(len(images), 1 + len(outputs), squeeze=False), images, targets,
                                           range(len(images)), strict=True):
        show(axes[0], image, limits=(0, 1))
        for ax, (name, values) in zip(axes[1:], outputs.items(), strict=True):
            _bars(ax, values[number], names, f"{name}: sum {values[number].sum():.2f}", "output",
                  [GREEN if t else LIGHT for t in target.tolist()])
            ax.set_xlim(0, 1.25)
            ax.set_xticks([0, 0.5, 1])
    return fig


def _bars(ax: Axes, values: Tensor, names: Sequence[str], title: str, label: str,
          colour: str | list[str]) -> None:
    places = range(len(names))
    bars = ax.barh(places, values.tolist(), color=colour, height=0.6)
    ax.bar_label(bars, [f"{v:.2f}" for v in values.tolist()], padding=3, fontsize=8)
    ax.axvline(0, color=GREY, linewidth=1)
    ax.margins(x=0.25)
    ax.set(title=title, xlabel=label, yticks=places, yticklabels=names, ylim=(len(names) - 0.5, -0.5))
