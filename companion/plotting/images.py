"""Images in a row, with axes in pixels or millimetres, and images with their numbers written over them (Fig. 2)."""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion.plotting.style import figure


def row(images: Sequence[Tensor], titles: Sequence[str], *, limits: tuple[float, float] | None = None,
        label: str = "", cmap: str = "gray", spacing: tuple[float, float] | None = None,
        height: float = 2.6) -> Figure:
    """Images side by side, each (H, W), with their titles.

    Args:
        limits: values shown as the first and the last colour, the same for all images; by default each image's own.
        label: name and unit of the values; where given, one colour bar carries it.
        cmap: ``gray`` for images; ``PuOr_r`` for signed values, with symmetric limits.
        spacing: pixel size (row, column) in mm; the axes are then in mm, otherwise in pixels.
        height: of the figure, in inches.
    """
    fig = figure(min(7.5, (height + 0.35) * len(images)), height)
    axes = fig.subplots(1, len(images), squeeze=False)[0]
    for ax, image, title in zip(axes, images, titles, strict=True):
        shown = show(ax, image, title, limits=limits, cmap=cmap, spacing=spacing)
        if ax is not axes[0]:
            ax.set_ylabel("")
    if label:
        fig.colorbar(shown, ax=list(axes), label=label, shrink=0.85)
    return fig


def show(ax: Axes, image: Tensor, title: str = "", *, limits: tuple[float, float] | None = None, cmap: str = "gray",
         spacing: tuple[float, float] | None = None):
    """Draw one image (H, W) into ``ax`` with labelled axes; returns what a colour bar needs. See ``row``."""
    if image.dim() != 2:
        raise ValueError(f"the image has shape {tuple(image.shape)}, but must be (H, W): pick a channel and a slice")
    (h, w), (dy, dx), unit = image.shape, spacing or (1, 1), "mm" if spacing else "pixel"
    low, high = limits or (None, None)
    corners = (0, w * dx, h * dy, 0) if spacing else (-0.5, w - 0.5, h - 0.5, -0.5)
    drawn = ax.imshow(image.detach().cpu().float().numpy(), cmap=cmap, vmin=low, vmax=high, extent=corners)
    ax.set(title=title, xlabel=f"column ({unit})", ylabel=f"row ({unit})")
    ax.spines[:].set_visible(False)
    ax.locator_params(integer=True)
    return drawn


def write_numbers(ax: Axes, image: Tensor, *, size: float = 6, form: str = ".0f", light: float | None = None) -> None:
    """Write each value of the image (H, W) on its pixel, light on dark and dark on light.

    Args:
        light: values at or above it get dark letters; by default the middle between smallest and largest.
        size: of the letters, in points.
    """
    middle = (image.min() + image.max()).item() / 2 if light is None else light
    for (r, c), value in zip(torch.cartesian_prod(*map(torch.arange, image.shape)).tolist(), image.flatten().tolist(),
                             strict=True):
        ax.text(c, r, format(value, form), ha="center", va="center", fontsize=size,
                color="black" if value >= middle else "white")


def as_numbers(image: Tensor, *, label: str, limits: tuple[float, float], form: str = ".0f",
               size: float = 6, titles: Sequence[str] = ("picture", "both", "array of numbers")) -> Figure:
    """An image (H, W), the same with its numbers over it, and the numbers alone (after Fig. 2 of the review).

    Args:
        label: name and unit of the values, for the colour bar.
        limits: values shown as black and as white.
    """
    fig = figure(7.5, 2.9)
    axes = fig.subplots(1, 3)
    for ax, title in zip(axes, titles, strict=True):
        shown = show(ax, image, title, limits=limits)
    write_numbers(axes[1], image, size=size, form=form, light=sum(limits) / 2)
    shown.set_visible(False)                                                         # the limits of the axes stay
    write_numbers(axes[2], image, size=size, form=form, light=float("-inf"))
    axes[2].set_aspect("equal")
    for ax in axes[1:]:
        ax.set_ylabel("")
        ax.tick_params(length=0)                     # a tick beside a number reads as a minus sign
    fig.colorbar(shown, ax=list(axes), label=label, shrink=0.85)
    return fig
