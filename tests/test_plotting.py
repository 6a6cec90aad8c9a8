"""Figures: what they show, how they are labelled, and that the same figure gives the same bytes."""

import io

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from torch.testing import assert_close

from companion.plotting import curves, images, matrix, outputs, strip, style

IMAGE = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 255.0]])


def png(fig: Figure) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    return buffer.getvalue()


def words(fig: Figure) -> list[str]:
    """Every text that the figure shows, such as titles, labels and numbers."""
    fig.canvas.draw()
    return [t.get_text() for t in fig.findobj(mpl.text.Text) if t.get_text() and t.get_visible()]


def axis_labels(ax) -> tuple[str, str, str]:
    return ax.get_title("left"), ax.get_xlabel(), ax.get_ylabel()


@pytest.fixture(autouse=True)
def look_of_the_book():
    """As in every notebook; the settings go back afterwards."""
    with mpl.rc_context():
        style.apply()
        yield


# style


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2, 0 for black to 1 for white."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(colour)]
    return float(np.dot((0.2126, 0.7152, 0.0722), parts))


def test_style_is_applied_and_keeps_white_paper():
    mpl.rcParams["font.size"] = 3
    style.apply()
    assert {k: mpl.rcParams[k] for k in style.SETTINGS} == style.SETTINGS
    assert mpl.rcParams["savefig.facecolor"] == "white"


def test_colours_are_those_of_okabe_and_ito():
    assert style.CYCLE == ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
    assert 1.05 / (luminance(style.GREY) + 0.05) >= 4.5          # grey lines and letters on white paper


def test_figure_has_its_size_and_white_paper_whatever_the_settings():
    mpl.rcParams["figure.facecolor"] = "red"
    fig = style.figure(4, 2)
    assert fig.get_size_inches().tolist() == [4, 2] and mpl.colors.same_color(fig.get_facecolor(), "white")
    assert mpl.rcParams["figure.facecolor"] == "red"


def test_figure_is_not_registered_with_pyplot():
    from matplotlib import pyplot

    style.figure()
    assert pyplot.get_fignums() == []


# images


def test_show_draws_the_values_with_axes_in_pixels():
    ax = style.figure().subplots()
    drawn = images.show(ax, IMAGE, "three columns", limits=(0, 10))
    assert_close(torch.tensor(drawn.get_array()), IMAGE)
    assert drawn.get_extent() == [-0.5, 2.5, 1.5, -0.5] and drawn.get_clim() == (0, 10)
    assert axis_labels(ax) == ("three columns", "column (pixel)", "row (pixel)")


def test_show_in_millimetres():
    ax = style.figure().subplots()
    drawn = images.show(ax, IMAGE, spacing=(2.0, 0.5))           # two rows of 2 mm, three columns of 0.5 mm
    assert drawn.get_extent() == [0, 1.5, 4.0, 0]
    assert axis_labels(ax)[1:] == ("column (mm)", "row (mm)")


def test_show_takes_integers_and_gradients(device):
    ax = style.figure().subplots()
    images.show(ax, torch.zeros(2, 2, dtype=torch.uint8, device=device))
    images.show(ax, torch.zeros(2, 2, device=device, requires_grad=True))


@pytest.mark.parametrize("shape", [(3,), (1, 3, 3), (1, 1, 3, 3)])
def test_show_refuses_what_is_no_image(shape):
    with pytest.raises(ValueError, match="pick a channel and a slice"):
        images.show(style.figure().subplots(), torch.zeros(shape))


def test_row_shows_every_image_with_its_title():
    fig = images.row([IMAGE, IMAGE + 1], ["before", "after"])
    assert [ax.get_title("left") for ax in fig.axes] == ["before", "after"]
    assert [ax.get_ylabel() for ax in fig.axes] == ["row (pixel)", ""]
    assert_close(torch.tensor(fig.axes[1].images[0].get_array()), IMAGE + 1)
    assert fig.axes[1].images[0].get_clim() == (1, 256)          # each image's own limits


def test_row_with_a_colour_bar_shares_its_limits():
    fig = images.row([IMAGE, IMAGE + 1], ["before", "after"], limits=(0, 255), label="brightness")
    assert len(fig.axes) == 3 and fig.axes[2].get_ylabel() == "brightness"
    assert {ax.images[0].get_clim() for ax in fig.axes[:2]} == {(0, 255)}


def test_row_needs_a_title_for_each_image():
    with pytest.raises(ValueError, match="shorter"):
        images.row([IMAGE, IMAGE], ["only one"])


def test_numbers_are_written_where_they_are():
    ax = style.figure().subplots()
    images.write_numbers(ax, IMAGE)
    found = {t.get_position(): (t.get_text(), t.get_color()) for t in ax.texts}
    assert len(found) == 6 and found[(1, 0)] == ("1", "white") and found[(2, 1)] == ("255", "black")


def test_as_numbers_shows_picture_both_and_array():
    fig = images.as_numbers(IMAGE, label="brightness (0 to 255)", limits=(0, 255))
    picture, both, numbers, bar = fig.axes
    assert [len(ax.texts) for ax in fig.axes] == [0, 6, 6, 0]
    assert [ax.images[0].get_visible() for ax in (picture, both, numbers)] == [True, True, False]
    assert {t.get_color() for t in numbers.texts} == {"black"}
    assert bar.get_ylabel() == "brightness (0 to 255)"
    assert {"picture", "both", "array of numbers", "255", "row (pixel)"} <= set(words(fig))


# curves


def test_lines_differ_by_colour_and_by_dashes():
    fig = curves.lines([0, 1, 2], {"training": [3, 2, 1], "test": [3, 2.5, 2]}, xlabel="epoch", ylabel="loss")
    (ax,) = fig.axes
    assert axis_labels(ax)[1:] == ("epoch", "loss")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["training", "test"]
    assert len({line.get_color() for line in ax.lines}) == len({line.get_linestyle() for line in ax.lines}) == 2
    assert ax.lines[1].get_xydata().tolist() == [[0, 3], [1, 2.5], [2, 2]]


def test_more_curves_than_line_styles():
    many = {str(i): [i, i] for i in range(10)}
    assert len(curves.lines([0, 1], many, xlabel="x", ylabel="y").axes[0].lines) == 10


@pytest.mark.parametrize(("log", "scales"), [
    ("", ("linear", "linear")), ("y", ("linear", "log")), ("xy", ("log", "log"))])
def test_lines_on_logarithmic_axes(log, scales):
    ax = curves.lines([1, 10], {"a": [1, 10]}, xlabel="x", ylabel="y", log=log).axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == scales


def test_panels_share_x_and_write_its_numbers_out():
    found = {"left": {"a": [1, 2, 3], "b": [3, 2, 1]}, "right": {"c": [0, 0, 1]}}
    fig = curves.panels([1, 30, 1000], found, xlabel="n")
    assert [axis_labels(ax)[1:] for ax in fig.axes] == [("n", "left"), ("n", "right")]
    assert [len(ax.lines) for ax in fig.axes] == [2, 1] and fig.axes[1].lines[0].get_ydata().tolist() == [0, 0, 1]
    fig.draw_without_rendering()
    for ax in fig.axes:
        assert {"1", "10", "100", "1000"} <= {t.get_text() for t in ax.get_xticklabels()} and ax.get_xscale() == "log"


def test_every_dot_lies_in_the_row_of_its_name():
    fig = curves.dots({"a": [0.5, 0.7], "b": [0.9], "c": [0.6]}, xlabel="AUC", reference=0.5, kinds=2)
    (ax,) = fig.axes
    a, b, c, chance = ax.lines
    assert a.get_xydata().tolist() == [[0.5, 0], [0.7, 0]] and b.get_xydata().tolist() == [[0.9, 1]]
    assert (a.get_marker(), a.get_color()) == (c.get_marker(), c.get_color()) == ("o", style.BLUE)
    assert (b.get_marker(), b.get_color()) == ("s", style.RED) and list(chance.get_xdata()) == [0.5, 0.5]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1] and ax.get_xlabel() == "AUC"


def test_histograms_count_what_lies_between_the_edges():
    fig = curves.histograms({"a": [0.1, 0.2, 0.7], "b": [0.6]}, [0, 0.5, 1], xlabel="accuracy", ylabel="draws",
                            reference=0.5)
    (ax,) = fig.axes
    assert [bar.get_height() for bar in ax.patches] == [2, 1, 0, 1] and axis_labels(ax)[1:] == ("accuracy", "draws")
    assert ax.patches[0].get_hatch() != ax.patches[2].get_hatch() and list(ax.lines[0].get_xdata()) == [0.5, 0.5]
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["a", "b"]


def test_intervals_are_drawn_from_low_to_high():
    fig = curves.intervals({"right": (0.9, 0.8, 0.95, 5), "wrong": (0.5, 0.4, 0.6, 5)}, xlabel="AUC", reference=0.5)
    (ax,) = fig.axes
    assert ax.get_xlabel() == "AUC" and [t.get_text() for t in ax.get_yticklabels()] == ["right", "wrong"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]                   # the first name stands on top
    ends = [bar[2][0].get_segments()[0][:, 0].tolist() for bar in ax.containers]
    np.testing.assert_allclose(ends, [[0.8, 0.95], [0.4, 0.6]])
    assert ax.lines[-1].get_xdata() == [0.5, 0.5]


def test_intervals_without_a_reference():
    with_line, without = (curves.intervals({"a": (1, 0, 2)}, xlabel="x", reference=r) for r in (0, None))
    assert len(with_line.axes[0].lines) == len(without.axes[0].lines) + 1


def test_a_single_value_is_an_open_diamond():
    ax = style.figure().subplots()
    curves.draw_intervals(ax, {"a": (1, 0, 2), "b": (3, 2, 4)}, xlabel="AUC", title="binary", single={"b": 2.5})
    assert axis_labels(ax) == ("binary", "AUC", "")
    diamonds = [line.get_xydata().tolist() for line in ax.lines if line.get_marker() == "D"]
    assert diamonds == [[[2.5, 1]]]


# matrices and outputs


def test_connections_writes_numbers_and_leaves_zeros_empty():
    fig = matrix.connections({"one": torch.tensor([[0.0, -3.0, 0.0], [7.0, 0.0, 0.0]])}, limit=9)
    (ax,) = fig.axes
    assert {t.get_position(): t.get_text() for t in ax.texts} == {(1, 0): "-3", (0, 1): "7"}
    assert axis_labels(ax) == ("one", "input pixel (number, row by row)", "output value (number)")
    assert ax.images[0].get_clim() == (-9, 9)


def test_logit_scale_marks_probabilities_with_their_odds():
    (ax,) = outputs.logit_scale().axes
    marks = sorted(line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose([1 / (1 + np.exp(-z)) for z, _ in marks], [p for _, p in marks], atol=1e-6)
    curve = ax.lines[0].get_xydata()
    np.testing.assert_allclose(curve[:, 1], 1 / (1 + np.exp(-curve[:, 0])), atol=1e-6)
    assert [t.get_text() for t in ax.texts] == ["1%, odds 1:99", "10%, odds 1:9", "50%, odds 1:1", "90%, odds 9:1",
                                                "99%, odds 99:1"]


def test_outputs_are_bars_beside_the_image():
    z = torch.tensor([2.0, 1.0, -1.0])
    fig = outputs.logits_and_probabilities(z, {"softmax": z.softmax(0), "sigmoid": z.sigmoid()}, ["A", "B", "C"],
                                           image=torch.eye(4), title="CT", spacing=(2.0, 2.0))
    picture, of_logits, *others = fig.axes
    assert axis_labels(picture) == ("CT", "column (mm)", "row (mm)") and len(picture.images) == 1
    assert [ax.get_title("left") for ax in (of_logits, *others)] == ["logits", "softmax: sum 1.00", "sigmoid: sum 1.88"]
    assert [bar.get_width() for bar in of_logits.patches] == [2, 1, -1]
    assert [t.get_text() for t in others[0].texts] == ["0.71", "0.26", "0.04"]
    assert [t.get_text() for t in others[0].get_yticklabels()] == ["A", "B", "C"]
    assert of_logits.get_ylim()[0] > of_logits.get_ylim()[1]     # the first node stands on top


def test_outputs_without_an_image():
    z = torch.zeros(3)
    assert len(outputs.logits_and_probabilities(z, {"softmax": z.softmax(0)}, ["A", "B", "C"]).axes) == 2


def test_answers_show_each_image_with_the_outputs_of_each_network():
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    fig = outputs.answers(torch.rand(2, 4, 4), target, {"right": target * 0.75, "wrong": target + 0.5}, ["A", "B"])
    assert len(fig.axes) == 6 and [len(ax.images) for ax in fig.axes] == [1, 0, 0] * 2
    assert [ax.get_title("left") for ax in fig.axes[1:3]] == ["right: sum 0.75", "wrong: sum 2.00"]
    assert [bar.get_width() for bar in fig.axes[2].patches] == [1.5, 0.5]
    there, absent = (luminance(bar.get_facecolor()) for bar in fig.axes[1].patches)
    assert there < absent / 2                                    # dark where the label applies


# the strip of a trained number


def test_strip_is_a_png_with_the_dot_at_the_value():
    picture = imread(io.BytesIO(strip.strip_png("accuracy", 0.97, 0.95, 0.04)), format="png")
    height, width, channels = picture.shape
    assert width > 3 * height and channels in (3, 4)
    dots = {value: mark_column(strip.strip_png("accuracy", value, 0.95, 0.04)) for value in (0.92, 0.95, 0.98)}
    assert dots[0.92] < dots[0.95] < dots[0.98]
    assert abs(dots[0.98] + dots[0.92] - 2 * dots[0.95]) <= 2   # the scale is linear


def mark_column(png_bytes: bytes) -> float:
    """Column of the centre of the blue dot."""
    picture = imread(io.BytesIO(png_bytes), format="png")[..., :3]
    return float(np.argwhere(np.abs(picture - mpl.colors.to_rgb(style.BLUE)).max(axis=-1) < 0.02)[:, 1].mean())


# everything


@pytest.mark.parametrize("draw", [
    lambda: images.row([IMAGE, IMAGE], ["a", "b"], label="HU", spacing=(1.5, 1.5)),
    lambda: images.as_numbers(IMAGE, label="brightness", limits=(0, 255)),
    lambda: curves.lines([0, 1], {"a": [0, 1], "b": [1, 0]}, xlabel="x", ylabel="y"),
    lambda: curves.intervals({"a": (1, 0, 2)}, xlabel="x", reference=0),
    lambda: matrix.connections({"one": IMAGE}, limit=255),
    outputs.logit_scale])
def test_the_same_figure_gives_the_same_bytes(draw):
    first = png(draw())
    assert first == png(draw()) and imread(io.BytesIO(first), format="png").ndim == 3


def test_the_same_strip_gives_the_same_bytes():
    assert strip.strip_png("loss", 1.0, 1.1, 0.2) == strip.strip_png("loss", 1.0, 1.1, 0.2)
