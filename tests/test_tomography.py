"""companion.tomography: by hand, against closed forms and scikit-image, by its invariants, on a measured sinogram."""

import copy
import math
from pathlib import Path

import ellipses
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import iradon, radon
from torch import Tensor

from companion.tomography import RAMP_WINDOWS, Projector, fbp, ramp_filter, rotation_axis, view_angles

TOOTH = Path(__file__).resolve().parents[2] / "shared" / "data" / "sinogram" / "tooth.npz"
SOME = settings(deadline=None, derandomize=True, max_examples=40)
SCENES = {
    "disk": [(0, 0, 30, 30, 0, 1.0)],
    "disk off centre": [(12, -9, 20, 20, 0, 1.0)],
    "turned ellipse off centre": [(-8, 5, 30, 12, 35, 0.5)],
    "sum of ellipses": [(0, 0, 35, 25, 10, 1.0), (10, 5, 6, 3, 70, -0.4), (-12, -3, 4, 9, 20, 0.7)],
    "Shepp-Logan": ellipses.scaled(ellipses.SHEPP_LOGAN, 45),
}


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def error(result: Tensor, truth: Tensor) -> float:
    """Root mean square of the difference, relative to the truth."""
    return float((result - truth).norm() / truth.norm())


@pytest.fixture(scope="module")
def double() -> Projector:
    """127 pixels of 1 mm and as many detectors, 90 views over the half circle, double precision."""
    return Projector(127, view_angles(90), 127, dtype=torch.float64)


@st.composite
def geometries(draw) -> Projector:
    """Any shape of image, any angles, wide or narrow cells, too few detectors, an axis off centre."""
    size = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    angles = draw(st.lists(st.floats(-400, 400), min_size=1, max_size=5))
    return Projector(size, angles, draw(st.integers(1, 12)), spacing=draw(st.floats(0.3, 3)),
                     pixel=draw(st.floats(0.3, 3)), axis=draw(st.floats(-2, 13)), dtype=torch.float64)


# Projection


def test_columns_at_0_degrees_and_rows_at_90_by_hand():
    image = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    views = Projector(2, [0, 90, 180, 270], detectors=2, pixel=0.5)(image)
    expected = torch.tensor([[4.0, 7.0], [8.0, 3.0], [7.0, 4.0], [3.0, 8.0]]) * 0.5        # the bottom row is first
    torch.testing.assert_close(views, expected)


def test_a_pixel_seen_over_its_corner_by_hand():
    tail = (math.sqrt(0.5) - 0.5) ** 2                                # a triangle of slope 2, half of it beyond 1/2
    view = Projector(1, [45], detectors=3, dtype=torch.float64)(torch.ones(1, 1, dtype=torch.float64))
    torch.testing.assert_close(view[0], torch.tensor([tail, 1 - 2 * tail, tail], dtype=torch.float64))


def test_wide_cells_read_the_mean_over_their_width():
    view = Projector(4, [0], detectors=2, spacing=2.0)(torch.tensor([[0.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0],
                                                                     [1, 3, 5, 9]]))
    torch.testing.assert_close(view, torch.tensor([[2.0, 7.0]]))


@pytest.mark.parametrize(("detectors", "spacing", "pixel"), [(150, 1.0, 1.0), (101, 1.5, 1.0), (220, 0.7, 0.9)])
@pytest.mark.parametrize("scene", SCENES)
def test_projections_of_ellipses_in_closed_form(scene, detectors, spacing, pixel):
    angles = view_angles(12) + 0.7
    projector = Projector(100, angles, detectors, spacing, pixel, dtype=torch.float64)
    measured = projector(ellipses.render(SCENES[scene], 100, pixel))
    truth = ellipses.project(SCENES[scene], angles, detectors, spacing)
    assert error(measured, truth) < 0.01                              # of it, the pixels' edges
    torch.testing.assert_close(measured.sum(-1), truth.sum(-1), rtol=2e-3, atol=0)


@SOME
@given(st.floats(-15, 15), st.floats(-15, 15), st.floats(8, 25), st.floats(8, 25), st.floats(0, 180),
       st.floats(-360, 360))
def test_projection_of_any_ellipse_at_any_angle(x, y, a, b, turn, angle):
    scene, angles = [(x, y, a, b, turn, 0.02)], torch.tensor([angle], dtype=torch.float64)
    measured = Projector(90, angles, 128, dtype=torch.float64)(ellipses.render(scene, 90, 1.0))
    assert error(measured, ellipses.project(scene, angles, 128, 1.0)) < 0.03


def test_radon_of_scikit_image(double):
    image = ellipses.render(SCENES["sum of ellipses"], 127, 1.0)      # odd: there the centres of rotation agree
    theirs = torch.from_numpy(radon(image.numpy(), double.angles.numpy(), circle=True).T.copy())
    assert error(double(image), theirs) < 0.005                       # theirs turns the image by interpolation


@SOME
@given(geometries(), st.integers(0, 9))
def test_adjoint_is_exact(projector, seed):
    image, sinogram = noise(2, *projector.size, seed=seed), noise(2, len(projector.angles), projector.detectors)
    left, right = (projector(image) * sinogram).sum(), (image * projector.adjoint(sinogram)).sum()
    scale = projector(image).norm() * sinogram.norm() + image.norm() * projector.adjoint(sinogram).norm()
    assert abs(left - right) <= 1e-12 * scale


def test_adjoint_is_exact_in_single_precision_at_full_size(device):
    projector = Projector(128, view_angles(90)).to(device)
    image = torch.rand(2, 1, 128, 128, generator=torch.Generator().manual_seed(0)).to(device)
    sinogram = torch.rand(2, 1, 90, 182, generator=torch.Generator().manual_seed(1)).to(device)
    left = (projector(image).double() * sinogram.double()).sum()
    right = (image.double() * projector.adjoint(sinogram).double()).sum()
    assert abs(left - right) <= 1e-5 * abs(left)


def test_gradients_of_both_directions(device):
    projector = Projector((3, 4), [0, 30, 115], 5, axis=2.3, dtype=torch.float64).to(device)
    image = noise(2, 1, 3, 4).to(device).requires_grad_()
    sinogram = noise(2, 1, 3, 5).to(device).requires_grad_()
    for function, x in ((projector, image), (projector.adjoint, sinogram), (lambda s: fbp(s, projector), sinogram)):
        assert torch.autograd.gradcheck(function, x)
        assert torch.autograd.gradgradcheck(lambda x, f=function: f(x) ** 2, x)


def test_gradient_of_the_misfit_is_the_adjoint_of_the_difference():
    projector = Projector(16, view_angles(20), dtype=torch.float64)
    image, sinogram = noise(16, 16), noise(20, projector.detectors)

    def misfit(x: Tensor) -> Tensor:
        return 0.5 * (projector(x) - sinogram).square().sum()

    torch.testing.assert_close(torch.func.grad(misfit)(image), projector.adjoint(projector(image) - sinogram))


@SOME
@given(geometries(), st.floats(-3, 3), st.integers(0, 9))
def test_projection_is_linear(projector, factor, seed):
    one, other = noise(*projector.size, seed=seed), noise(*projector.size, seed=seed + 1)
    torch.testing.assert_close(projector(one + factor * other), projector(one) + factor * projector(other))


@SOME
@given(st.integers(1, 12), st.integers(1, 12), st.floats(-400, 400), st.floats(0.4, 3))
def test_every_view_keeps_the_mass(rows, columns, angle, spacing):
    image = noise(rows, columns)
    projector = Projector((rows, columns), [angle], spacing=spacing, pixel=0.8, dtype=torch.float64)
    total, tolerance = image.sum() * 0.8**2, 1e-6 * float(image.abs().sum())
    torch.testing.assert_close(projector(image).sum() * spacing, total, rtol=0, atol=tolerance)  # it sees every pixel


@SOME
@given(st.integers(1, 9), st.floats(-180, 180))
def test_a_view_from_behind_is_mirrored(size, angle):
    views = Projector(size, [angle, angle + 180], dtype=torch.float64)(noise(size, size))
    torch.testing.assert_close(views[1], views[0].flip(0))


def test_turning_the_image_shifts_the_views():
    image, projector = noise(9, 9), Projector(9, [20, 110], dtype=torch.float64)
    torch.testing.assert_close(projector(image.rot90())[1], projector(image)[0])             # both counter-clockwise


def test_the_centre_stays_on_the_axis():
    image = torch.zeros(21, 21, dtype=torch.float64)
    image[10, 10] = 1
    views = Projector(21, view_angles(50), 31, dtype=torch.float64)(image)
    assert (views.argmax(-1) == 15).all() and not views[:, :14].any() and not views[:, 17:].any()
    torch.testing.assert_close(views.sum(-1), torch.ones(50, dtype=torch.float64))


def test_back_projection_of_an_even_sinogram_is_even():
    projector = Projector(32, [17.0], spacing=1.3, dtype=torch.float64)
    image = projector.adjoint(torch.ones(1, projector.detectors, dtype=torch.float64))
    torch.testing.assert_close(image, torch.full((32, 32), 1 / 1.3, dtype=torch.float64))    # area / cell, no stripes


def test_batches_shapes_types_and_devices(device):
    projector = Projector((6, 5), view_angles(4), dtype=torch.float64).to(device)
    images = noise(3, 2, 6, 5).to(device)
    sinograms = projector(images)
    assert sinograms.shape == (3, 2, 4, projector.detectors) and sinograms.device == images.device
    torch.testing.assert_close(sinograms[1, 1], projector(images[1, 1]))
    assert projector.adjoint(sinograms).shape == (3, 2, 6, 5)
    assert projector(images[:0]).shape == (0, 2, 4, projector.detectors)
    assert Projector((6, 5), [0]).to(device)(images.long()).dtype == torch.float32


def test_copies_saves_nothing_and_ignores_mixed_precision(device):
    projector = Projector(8, view_angles(5)).to(device)
    image = noise(1, 1, 8, 8).float().to(device)
    torch.testing.assert_close(copy.deepcopy(projector)(image), projector(image), rtol=0, atol=0)
    assert not projector.state_dict() and not list(projector.parameters())
    with torch.autocast(device.type, dtype=torch.bfloat16):
        assert torch.equal(projector(image), projector(image.clone())) and projector(image).dtype == torch.float32


@pytest.mark.parametrize(("change", "message"), [
    ({"size": 0}, "size is 0"), ({"size": (4, -1)}, "size is -1"), ({"angles": []}, "number of angles is 0"),
    ({"detectors": 0}, "number of detectors is 0"), ({"spacing": 0.0}, "spacing is 0.0"), ({"pixel": -1}, "pixel is -1")
])
def test_a_geometry_of_nothing_is_refused(change, message):
    with pytest.raises(ValueError, match=f"{message}, but must be positive"):
        Projector(**{"size": 4, "angles": [0], **change})


@pytest.mark.parametrize("angles", [[0, math.nan], [math.inf], 180])
def test_angles_must_be_a_list_of_finite_numbers(angles):
    with pytest.raises(ValueError, match="must be a list of finite numbers in degrees"):
        Projector(4, angles)


def test_images_and_sinograms_must_fit():
    projector = Projector((4, 5), [0, 90], 6)
    with pytest.raises(ValueError, match=r"shape \(1, 5, 4\), but must end in \(4, 5\)"):
        projector(torch.zeros(1, 5, 4))
    with pytest.raises(ValueError, match=r"shape \(6, 2\), but must end in \(2, 6\)"):
        fbp(torch.zeros(6, 2), projector)


# Ramp filter


def test_ramp_is_kak_and_slaneys_by_hand():
    impulse = torch.zeros(7, dtype=torch.float64)
    impulse[3] = 1
    side = [-1 / math.pi**2, 0, -1 / (9 * math.pi**2)]                # eq. 61, times the spacing for the convolution
    expected = torch.tensor([*side[::-1], 1 / 4, *side], dtype=torch.float64) / 0.5
    torch.testing.assert_close(ramp_filter(impulse, spacing=0.5), expected)


@pytest.mark.parametrize(("window", "end"), [("ram-lak", 1), ("shepp-logan", 2 / math.pi), ("cosine", 0), ("hann", 0)])
def test_windows_damp_high_frequencies(window, end):
    f = torch.linspace(0, 1, 101, dtype=torch.float64)
    response = RAMP_WINDOWS[window](f)
    assert response[0] == 1 and abs(response[-1] - end) < 1e-12 and (response.diff() <= 0).all()


def test_filtering_does_not_wrap_around():
    sinogram = torch.zeros(64, dtype=torch.float64)
    sinogram[0] = 1
    longer = torch.cat([sinogram, torch.zeros(200, dtype=torch.float64)])
    torch.testing.assert_close(ramp_filter(sinogram), ramp_filter(longer)[:64])


def test_an_axis_without_a_detector_is_refused():
    with pytest.raises(ValueError, match="axis is at 10.0 cells, but there is no number of detectors"):
        Projector(32, view_angles(30), axis=10.0)


def test_an_unknown_window_is_refused():
    with pytest.raises(ValueError, match="'hamming', but must be one of ram-lak, shepp-logan, cosine, hann"):
        ramp_filter(torch.zeros(4), window="hamming")


# Filtered back-projection


@pytest.mark.parametrize("window", RAMP_WINDOWS)
def test_iradon_of_scikit_image(double, window):
    image = ellipses.render(SCENES["sum of ellipses"], 127, 1.0)
    sinogram = double(image)
    name = {"ram-lak": "ramp"}.get(window, window)
    theirs = torch.from_numpy(iradon(sinogram.T.numpy(), double.angles.numpy(), filter_name=name, circle=True))
    inside = ellipses.render([(0, 0, 60, 60, 0, 1)], 127, 1.0) == 1
    assert error(fbp(sinogram, double, window)[inside], theirs[inside]) < 0.01


@pytest.mark.parametrize("window", RAMP_WINDOWS)
@pytest.mark.parametrize(("spacing", "pixel"), [(1.0, 1.0), (1.7, 0.9), (0.8, 1.4)])
def test_regions_keep_their_value(window, spacing, pixel):
    scene = [(5, -3, 40, 30, 20, 1.0), (12, 5, 9, 9, 0, 0.5), (-12, -5, 9, 9, 0, -0.8)]
    projector = Projector(64, view_angles(180), spacing=spacing, pixel=1.5 * pixel, dtype=torch.float64)
    truth = ellipses.project(scene, projector.angles, projector.detectors, spacing)
    image = fbp(truth, projector, window)
    for x, y, value in ((12, 5, 1.5), (-12, -5, 0.2), (5, -26, 1.0)):
        core = ellipses.render([(x, y, 3, 3, 0, 1)], 64, projector.pixel) > 0.9
        assert core.any() and abs(image[core].mean() - value) < 0.005                # 5 HU


def test_water_is_0_hu_in_a_disk_from_its_analytic_sinogram():
    water, disk = 0.02, [(20, -10, 140, 140, 0, 0.02)]                # 1/mm, in a field of 400 mm
    projector = Projector(128, view_angles(180), pixel=400 / 128, dtype=torch.float64)
    hu = 1000 * (fbp(ellipses.project(disk, projector.angles, projector.detectors, 400 / 128), projector) / water - 1)
    inside = ellipses.render([(20, -10, 130, 130, 0, 1)], 128, 400 / 128) == 1
    outside = ellipses.render([(20, -10, 150, 150, 0, 1)], 128, 400 / 128) == 0
    assert abs(hu[inside].mean()) < 0.5 and abs(hu[outside].mean() + 1000) < 0.5
    assert (hu[inside].abs() < 10).all()


def test_views_counted_twice_do_not_count_double():
    image = ellipses.render(SCENES["sum of ellipses"], 64, 1.5)
    half = Projector(64, view_angles(45), dtype=torch.float64)
    expected = fbp(half(image), half)
    for angles in (torch.linspace(0, 180, 46), view_angles(90, arc=360), view_angles(45).flip(0) - 360):
        other = Projector(64, angles, dtype=torch.float64)
        torch.testing.assert_close(fbp(other(image), other), expected, rtol=0, atol=1e-9)


def test_a_view_counts_for_half_the_gaps_beside_it_by_hand():
    projector = Projector(8, [40, 0, 190], spacing=0.5, pixel=2.0, dtype=torch.float64)         # 190 is 10 from behind
    sinogram = noise(3, projector.detectors)
    degrees = torch.tensor([[(30 + 140) / 2], [(140 + 10) / 2], [(10 + 30) / 2]], dtype=torch.float64)
    expected = projector.adjoint(ramp_filter(sinogram, 0.5) * torch.deg2rad(degrees)) * 0.5 / 2.0**2
    torch.testing.assert_close(fbp(sinogram, projector), expected)


@pytest.mark.parametrize("arc", [90, 120, 150])
def test_on_a_limited_arc_no_view_stands_for_the_missing_ones(arc):
    projector = Projector(64, view_angles(arc, arc), dtype=torch.float64)
    image = ellipses.render(SCENES["sum of ellipses"], 64, 1.0)
    sinogram = projector(image)
    even = projector.adjoint(ramp_filter(sinogram)) * math.radians(1)
    torch.testing.assert_close(fbp(sinogram, projector), even)


def test_sparse_views_leave_more_error():
    image = ellipses.render(SCENES["sum of ellipses"], 80, 1.0)
    errors = []
    for views in (120, 60, 30, 15):
        projector = Projector(80, view_angles(views), dtype=torch.float64)
        errors.append(error(fbp(projector(image), projector), image))
    assert errors == sorted(errors) and errors[-1] > 2 * errors[0]


def test_view_angles_fill_the_arc():
    assert view_angles(4).tolist() == [0, 45, 90, 135] and view_angles(3, arc=360).tolist() == [0, 120, 240]


# Axis of rotation


@SOME
@given(st.floats(20, 30), st.integers(3, 8))
def test_rotation_axis_is_found(axis, views):
    projector = Projector(20, view_angles(views) + 3, 51, axis=axis, dtype=torch.float64)
    sinograms = projector(torch.stack([ellipses.render([(2, -3, 5, 3, 30, 1.0)], 20, 1.0), noise(20, 20).abs()]))
    assert (rotation_axis(sinograms, projector.angles) - axis).abs().max() < 0.005          # in cells


def test_two_views_do_not_tell_the_axis():
    with pytest.raises(ValueError, match="2 views, but the axis can be found from three or more"):
        rotation_axis(torch.ones(2, 5), torch.tensor([0.0, 180.0]))


def test_an_empty_view_has_no_centre():
    with pytest.raises(ValueError, match="holds no positive mass"):
        rotation_axis(torch.zeros(3, 5), torch.tensor([0.0, 60.0, 120.0]))


# A measured sinogram


@pytest.fixture(scope="module")
def tooth() -> tuple[Tensor, Tensor]:
    """Line integrals (181 views, 160 cells of four detector columns) of one slice, and the angles in degrees."""
    if not TOOTH.exists():
        pytest.skip("the measured sinogram shared/data/sinogram/tooth.npz is not beside the repository")
    scan = np.load(TOOTH)
    dark, white = scan["exchange_data_dark"].mean(0), scan["exchange_data_white"].mean(0)
    sinogram = -np.log((scan["exchange_data"] - dark) / (white - dark))[:, 0]
    return torch.from_numpy(sinogram).reshape(181, 160, 4).mean(-1), torch.from_numpy(scan["exchange_theta"])


def reconstruct(sinogram: Tensor, angles: Tensor, axis: float) -> Tensor:
    """The slice on pixels of four detector columns."""
    return fbp(sinogram, Projector(70, angles, 160, axis=axis), "shepp-logan")


def test_axis_of_a_measured_sinogram(tooth):
    column = 4 * rotation_axis(*tooth) + 1.5                          # from cells of four columns to columns
    assert abs(column - 296) < 0.5


def test_measured_sinogram_is_sharpest_at_its_axis(tooth):
    negative = [float(reconstruct(*tooth, axis).clamp(max=0).square().mean()) for axis in (70, 73.625, 77)]
    assert negative[1] < 0.2 * min(negative[0], negative[2])          # a wrong axis leaves arcs, also below zero


def test_fewer_measured_views_are_worse(tooth):
    sinogram, angles = tooth
    images = [reconstruct(sinogram[:views:step], angles[:views:step], 73.625)
              for views, step in ((181, 1), (180, 3), (180, 6))]
    hard, air = images[0] > 0.015, images[0] < 0.004                  # per cell: dentine 0.018, enamel 0.030
    assert hard.sum() > 2000 and air.sum() > 2000
    streaks = [float(image[air].std()) for image in images]
    assert 1.2 * streaks[0] < streaks[1] < 0.6 * streaks[2]
    assert error(images[1], images[0]) < 0.5 * error(images[2], images[0])
    for image in images[1:]:
        assert abs(image[hard].mean() / images[0][hard].mean() - 1) < 0.01
