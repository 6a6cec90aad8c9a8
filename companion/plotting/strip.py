"""A trained number as a mark on the strip of values that it may take."""

import io

from companion.plotting.style import BLUE, GREEN, GREY, figure


def strip_png(what: str, value: float, expected: float, tolerance: float) -> bytes:
    """PNG of a number line: the band of tolerance, the expected value as a tick, the measured value as a dot."""
    fig = figure(5.2, 0.8)
    ax = fig.subplots()
    ax.axvspan(expected - tolerance, expected + tolerance, color=GREEN, alpha=0.22, lw=0)
    ax.axvline(expected, color=GREY, lw=1)
    ax.plot(value, 0, "o", color=BLUE, markersize=7)
    ax.set(xlim=(expected - 1.5 * tolerance, expected + 1.5 * tolerance), ylim=(-1, 1), yticks=[],
           title=f"{what}: {value:.4g}  (expected {expected:g}, may differ by {tolerance:g})")
    ax.spines["left"].set_visible(False)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=100, bbox_inches="tight")
    return buffer.getvalue()
