"""Shapes that phantoms are painted with: volumes, distances, spectra."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.datasets.phantoms import shapes


def test_grid_is_centred_and_in_mm(device):
    points = shapes.grid((3, 4), (2.0, 0.5), device)
    assert points.shape == (3, 4, 2) and points.mean((0, 1)).tolist() == [0, 0]
    assert points[:, 0, 0].tolist() == [-2, 0, 2] and points[0, :, 1].tolist() == [-0.75, -0.25, 0.25, 0.75]


@given(st.lists(st.floats(4, 11), min_size=3, max_size=3), st.lists(st.floats(-3, 3), min_size=3, max_size=3))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_ellipsoid_volume_is_that_of_the_formula_at_any_turn(radii, angles):
    points = shapes.grid((32, 32, 32), (1.0, 1.0, 1.0))
    turn = shapes.rotation(torch.tensor([angles]))
    distance = shapes.ellipsoid(points, torch.zeros(1, 3), torch.tensor([radii]), turn)
    assert shapes.occupancy(distance, 1.0).sum().item() == pytest.approx(4 / 3 * math.pi * math.prod(radii), rel=0.04)


def test_ellipse_area_and_sphere_distance(device):
    points = shapes.grid((64, 64), (1.0, 1.0), device)
    area = shapes.occupancy(shapes.ellipsoid(points, torch.zeros(2, 2, device=device),
                                             torch.tensor([[20.0, 10], [8, 8]], device=device)), 1.0).sum((1, 2))
    assert area.tolist() == pytest.approx([200 * math.pi, 64 * math.pi], rel=0.01)
    circle = shapes.ellipsoid(points, torch.zeros(1, 2, device=device), torch.full((1, 2), 5.0, device=device))[0]
    torch.testing.assert_close(circle, points.norm(dim=-1) - 5, atol=1e-4, rtol=0)


def test_the_columns_of_the_turn_are_the_axes_of_the_ellipse():
    points = shapes.grid((41, 41), (1.0, 1.0))
    turn = shapes.rotation(torch.tensor([math.pi / 2]))
    lying = shapes.ellipsoid(points, torch.zeros(1, 2), torch.tensor([[15.0, 5.0]]), turn)[0] < 0
    assert lying.any(0).sum() > lying.any(1).sum()


@given(st.lists(st.floats(-7, 7), min_size=3, max_size=3))
@settings(deadline=None, derandomize=True)
def test_rotations_are_rotations(angles):
    turn = shapes.rotation(torch.tensor([angles], dtype=torch.float32))[0]
    torch.testing.assert_close(turn @ turn.T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.linalg.det(turn).item() == pytest.approx(1, abs=1e-5)


def test_occupancy_and_paint_by_hand():
    share = shapes.occupancy(torch.tensor([-1.0, -0.25, 0.0, 0.25, 1.0]), width=1.0)
    assert share.tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert shapes.paint(torch.full((5,), 10.0), share, 30.0).tolist() == [30, 25, 20, 15, 10]


def test_parts_are_painted_in_place_one_over_the_other():
    distances = [torch.tensor([[-1.0, 0.0, 1.0]]), torch.tensor([[1.0, 1.0, -1.0]])]
    image = torch.full((1, 3), 10.0)
    same = shapes.paint_parts(image, zip(distances, [torch.tensor(30.0), torch.tensor([[5.0]])], strict=True), 1.0)
    assert same is image and image.tolist() == [[30, 20, 5]]


def test_smooth_noise_is_smooth_standard_and_the_same_in_any_batch_and_at_any_size(device):
    seeds = torch.arange(300, device=device)
    noise = shapes.smooth_noise(seeds, (60.0, 40.0), (30, 20), 8.0)
    assert noise.shape == (300, 30, 20) and noise.device.type == device.type
    assert noise.std().item() == pytest.approx(1, abs=0.02) and abs(noise.mean().item()) < 0.1
    assert noise.diff(dim=1).square().mean().sqrt() < 0.35                          # 2 mm of the 16 from bump to bump
    assert torch.equal(shapes.smooth_noise(seeds[7:8], (60.0, 40.0), (30, 20), 8.0)[0], noise[7])
    fine = shapes.smooth_noise(seeds[:3], (60.0, 40.0), (90, 60), 8.0)
    torch.testing.assert_close(fine[:, 1::3, 1::3], noise[:3], atol=1e-5, rtol=0)
    assert shapes.smooth_noise(seeds[:1], (9.0, 9.0, 9.0), (4, 5, 6), 4.0).shape == (1, 4, 5, 6)


def test_tube_volume_and_left_out_tubes():
    points = shapes.grid((40, 24, 24), (1.0, 1.0, 1.0))
    starts, ends = torch.tensor([[[-10.0, 0, 0], [0, 8, 8]]]), torch.tensor([[[10.0, 0, 0], [0, 9, 9]]])
    volume = shapes.occupancy(shapes.tubes(points, starts, ends, torch.tensor([[5.0, -1.0]])), 1.0).sum().item()
    assert volume == pytest.approx(math.pi * 25 * 20 + 4 / 3 * math.pi * 125, rel=0.02)


@pytest.mark.parametrize("beta", [0.0, 1.5, 3.0])
def test_power_law_has_the_spectrum_it_is_asked_for(beta, generator):
    texture = shapes.power_law((20, 128, 128), beta, generator)
    assert texture.mean((1, 2)).abs().max() < 1e-4
    assert texture.std((1, 2)).tolist() == pytest.approx([1] * 20, abs=1e-4)
    power = torch.fft.fft2(texture).abs().square().mean(0)
    f = torch.fft.fftfreq(128)
    radius = (f[:, None] ** 2 + f ** 2).sqrt()
    ring = (radius > 0.03) & (radius < 0.4)
    x, y = radius[ring].log(), power[ring].log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    assert slope.item() == pytest.approx(-beta, abs=0.05)


def test_power_law_takes_one_exponent_per_image(generator):
    rough, smooth = shapes.power_law((2, 64, 64), torch.tensor([0.0, 4.0]), generator)
    assert smooth.diff().abs().mean() < 0.3 * rough.diff().abs().mean()


def test_same_seed_same_texture():
    one, two = (shapes.power_law((1, 16, 16), 3.0, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(shapes.uniform(3, 2, 5, torch.Generator().manual_seed(1)),
                       shapes.uniform(3, 2, 5, torch.Generator().manual_seed(1)))
