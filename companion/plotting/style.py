"""One look for all figures: colours that survive colour blindness, white paper that stays readable in dark mode."""

import sys

import matplotlib as mpl
from matplotlib.figure import Figure

# Okabe and Ito (2008): told apart with every common kind of colour blindness.
BLUE = "#0072B2"
RED = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY = "#56B4E9"
BLACK = "#000000"
CYCLE = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK)
GREY = "#6b6b6b"

SETTINGS = {
    "figure.dpi": 110, "figure.facecolor": "white", "savefig.facecolor": "white", "figure.constrained_layout.use": True,
    "font.size": 10, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.labelsize": 9,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 9, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.prop_cycle": mpl.cycler(color=CYCLE),
    "lines.linewidth": 1.8, "image.cmap": "gray", "image.interpolation": "nearest",
}


def apply() -> None:
    """Use the book's look from now on, and let a notebook show a figure that a cell ends with.

    Call it in the set-up cell. Outside a notebook it only changes matplotlib's settings.
    """
    mpl.rcParams.update(SETTINGS)
    if "IPython" in sys.modules and (shell := sys.modules["IPython"].get_ipython()):
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"png"}, bbox_inches="tight")


def figure(width: float = 7.0, height: float = 2.8) -> Figure:
    """An empty figure of the given size in inches (7 inches fill the width of a page).

    It is not registered with pyplot, so it appears exactly once: where a cell ends with it.
    """
    with mpl.rc_context(SETTINGS):
        return Figure(figsize=(width, height))
