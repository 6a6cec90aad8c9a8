"""Sweeps of two ways side by side."""

import pytest

from companion.plotting import with_without


def test_sweeps_draw_each_seed_and_the_median_and_cut_off_what_diverged():
    ways = {"without": [[1, 2, 9], [3, 4, float("inf")]], "with": [[1, 1, 1], [2, 2, 2]]}
    fig = with_without.sweeps({"rate": ([0.1, 1.0], ways)}, ylabel="loss", threshold=1.5, name="half", highest=5)
    lines = fig.axes[0].lines
    middle = [line for line in lines if line.get_label() == "without"][0]
    assert middle.get_ydata().tolist() == pytest.approx([2, 4])
    assert max(max(line.get_ydata()) for line in lines) == 5
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["without", "with", "half"]
    assert fig.axes[0].get_xscale() == fig.axes[0].get_yscale() == "log"
