"""companion.plotting.surfaces: the path on the surface and on the contours is the one that was given."""

import pytest
import torch

from companion.plotting import surfaces

X, Y = torch.linspace(-2, 2, 11), torch.linspace(-1, 3, 9)
LOSS = X ** 2 + 3 * (Y[:, None] - 1) ** 2
PATH = torch.tensor([[-2.0, 3.0], [-1.0, 2.0], [0.0, 1.0]])


def drawn(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def test_the_path_is_the_same_on_surface_and_contours_and_above_the_surface():
    heights = PATH[:, 0] ** 2 + 3 * (PATH[:, 1] - 1) ** 2
    solid, flat = surfaces.descent(X, Y, LOSS, PATH, heights, xlabel="weight", ylabel="bias").axes
    x, y, z = (torch.tensor(values) for values in solid.lines[0].get_data_3d())
    assert torch.equal(torch.stack([x, y], 1), PATH) and (z > heights).all() and (z < heights + 1).all()
    assert drawn(flat, "steps").get_xydata() == pytest.approx(PATH.numpy())
    assert (solid.get_xlabel(), flat.get_ylabel(), flat.get_aspect()) == ("weight", "bias", 1)


def test_start_and_end_are_marked():
    flat = surfaces.paths(X, Y, LOSS, {"a": PATH}, xlabel="x", ylabel="y").axes[0]
    assert drawn(flat, "start").get_xydata().tolist() == [[-2, 3]]
    assert drawn(flat, "end").get_xydata().tolist() == [[0, 1]]


def test_each_run_has_its_panel_with_common_axes():
    runs = {f"run {n}": PATH + n for n in range(5)}
    fig = surfaces.paths(X, Y, LOSS, runs, xlabel="x", ylabel="y")
    panels, empty = fig.axes[:5], fig.axes[5:]
    assert [ax.get_title("left") or ax.get_title() for ax in panels] == list(runs)
    assert all(ax.get_xlim() == (-2, 2) and ax.get_ylim() == (-1, 3) for ax in panels)
    assert drawn(panels[4], "steps").get_xydata() == pytest.approx((PATH + 4).numpy())
    assert len(empty) == 3 and not any(ax.axison for ax in empty)


def test_contours_lie_closer_to_each_other_near_the_lowest_loss():
    flat = surfaces.paths(X, Y, LOSS, {"a": PATH}, xlabel="x", ylabel="y").axes[0]
    levels = torch.tensor(flat.collections[0].levels)
    assert (levels.diff().diff() > 0).all() and levels[-1] == pytest.approx(LOSS.max().item())


def test_a_bowl_has_its_curvatures_and_holds_the_starts():
    path = torch.tensor([[-10.0, 1.0], [0.0, 0.0]]).double()
    ax = surfaces.bowl(torch.tensor([1.0, 10.0]).double(), {"a": path}).axes[0]
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < -10 and right == -left and bottom == -top and top > 1
    assert ax.collections[0].levels[-1] == pytest.approx(0.5 * (left ** 2 + 10 * top ** 2))
