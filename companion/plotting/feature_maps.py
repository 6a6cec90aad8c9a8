"""Kernels and the feature maps that they make of one image (after Fig. 3 d)."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from companion.plotting.images import show, write_numbers
from companion.plotting.style import figure

SIGNED = "PuOr_r"


def extractors(image: Tensor, kernels: Tensor, maps: Tensor, names: Sequence[str], *, unit: str,
               limits: tuple[float, float] | None = None, spacing: tuple[float, float] | None = None) -> Figure:
    """The image on the left, then one row per kernel: its numbers and its feature map, zero in white.

    Args:
        image: (H, W).
        kernels: (K, h, w).
        maps: (K, H', W').
        names: of the K kernels.
        unit: of the feature maps' values, for the colour bars.
        limits: values of the image shown as black and as white.
        spacing: pixel size (row, column) of image and maps in mm; by default the axes are in pixels.
    """
    fig = figure(7.2, 2.3 * len(kernels))
    mosaic = [["image", f"kernel {k}", f"map {k}"] for k in range(len(kernels))]
    axes = fig.subplot_mosaic(mosaic, width_ratios=(2.4, 1, 2.2))
    show(axes["image"], image, "input " + _size(image), limits=limits, spacing=spacing)
    for k, (kernel, name) in enumerate(zip(kernels, names, strict=True)):
        _signed(axes[f"kernel {k}"], kernel, name, scale=2)              # pale, so that its numbers can be read
        write_numbers(axes[f"kernel {k}"], kernel, size=9, light=float("-inf"))
        ax = axes[f"map {k}"]
        drawn = show(ax, maps[k], "feature map " + _size(maps[k]), limits=_symmetric(maps[k]), cmap=SIGNED,
                     spacing=spacing)
        ax.set_xlabel(ax.get_xlabel() if k == len(kernels) - 1 else "")
        fig.colorbar(drawn, ax=ax, label=unit, shrink=0.9)
    return fig


def bank(kernels: Tensor, maps: Tensor) -> Figure:
    """Kernels side by side, each above its feature map, each on its own scale from negative to positive.

    Args:
        kernels: (K, h, w).
        maps: (K, H', W').
    """
    fig = figure(7.2, 7.2 / len(kernels) * 2 + 0.5)
    upper, lower = fig.subplots(2, len(kernels))
    for k, (kernel, feature_map) in enumerate(zip(kernels, maps, strict=True)):
        _signed(upper[k], kernel, f"{k + 1}")
        _signed(lower[k], feature_map)
    upper[0].set_ylabel("kernel")
    lower[0].set_ylabel("feature map")
    return fig


def _signed(ax: Axes, values: Tensor, title: str = "", scale: float = 1) -> None:
    show(ax, values, limits=_symmetric(values * scale), cmap=SIGNED)
    ax.set_title(title, loc="center", fontsize=9)
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    ax.spines[:].set_visible(True)


def _symmetric(values: Tensor) -> tuple[float, float]:
    largest = values.abs().max().item() or 1.0
    return -largest, largest


def _size(image: Tensor) -> str:
    return f"{image.shape[0]} × {image.shape[1]}"
