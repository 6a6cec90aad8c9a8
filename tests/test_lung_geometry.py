"""Geometry of the thorax: distances, interpolation, the size of the lungs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.datasets.phantoms import lung, lung_geometry

MM = (1.0, 1.0, 1.0)


def test_barrel_is_a_distance_on_its_axes():
    q = torch.tensor([[-60.0, 0, 150], [-60, 0, 135], [-60, 105, 0], [140, 0, 0], [-60, 0, 0]])
    assert lung_geometry.barrel(q, (195.0, 95.0, 140.0))[:4].tolist() == pytest.approx([10, -5, 10, 5], abs=0.05)
    assert lung_geometry.barrel(q, (195.0, 95.0, 140.0))[4] < -60


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 20))
@settings(deadline=None, derandomize=True)
def test_soft_min_is_the_smaller_one_far_from_the_edge_and_below_it_near(a, b, blend):
    soft = lung_geometry.soft_min(torch.tensor(a), torch.tensor(b), blend).item()
    assert soft <= min(a, b) + 1e-4 and soft >= min(a, b) - blend / 4 - 1e-4
    if abs(a - b) >= blend:
        assert soft == pytest.approx(min(a, b), abs=1e-4)


@pytest.mark.parametrize("size", [(7, 1, 12), (24, 31, 2)])
def test_refinement_is_exact_for_what_is_linear(size, device):
    points = lung_geometry.coarse(size, (1.0, 2.0, 0.5), 3.0, device)
    values = points @ torch.tensor([1.0, -2.0, 0.5], device=device)
    z, y, x = ((torch.arange(s, device=device) - (s - 1) / 2) * d for s, d in zip(size, (1.0, 2.0, 0.5), strict=True))
    expected = z[:, None, None] - 2 * y[:, None] + 0.5 * x
    torch.testing.assert_close(lung_geometry.refine(values[None], size)[0], expected, atol=1e-4, rtol=1e-4)


def test_lungs_hold_four_to_eight_litres(generator):
    anatomy = lung.draw(6, generator)
    points = lung_geometry.coarse((276, 271, 391), MM, 8.0, torch.device("cpu")).flatten(0, 2).expand(6, -1, 3)
    distance = lung_geometry.distances(anatomy.scale, anatomy.fat, points * anatomy.scale[:, None])["lung"]
    litres = (distance < 0).float().mean(1) * math.prod(lung_geometry.SPAN) * anatomy.scale.prod(1) / 1e6
    assert (litres > 4).all() and (litres < 8).all()
