"""Vessels and airways: where they run, and how thick they are."""

import pytest
import torch

from companion.datasets.phantoms import lung, lung_tubes


@pytest.fixture(scope="module")
def patient() -> lung.Anatomy:
    return lung.draw(1, torch.Generator().manual_seed(4))


def test_bronchi_run_beside_arteries_and_walls_are_thicker_than_the_lumen(patient):
    (vessels, radii), (bronchi, inner) = lung_tubes.vessels_and_bronchi(patient.scale, patient.seeds)
    assert vessels.shape == (1, 4 * 2046, 3, 3) and bronchi.shape == (1, 2 * 62, 3, 3)
    gap = (bronchi[:, :62, 2] - vessels[:, :62, 2]).norm(dim=-1) - radii[:, :62, 1] - inner[:, :62, 1]
    assert (gap.abs() < 2.5).all()
    scene = lung.render(patient, torch.tensor([0]), torch.tensor([[-45.0, 8.0, -56.0]]), (24, 24, 24))
    assert scene.lumen.sum() > 0 and (scene.walls >= scene.lumen - 1e-6).all()


def test_tips_lie_in_their_lung(patient):
    tips = lung_tubes._tips(patient.scale, patient.seeds, "left")
    assert (tips[..., 2] > -3).all()
    assert lung.depth(patient, tips)[0].min() > 0


def test_the_trachea_divides_in_two(patient):
    curves, radii = lung_tubes.trachea(patient.scale)
    assert curves.shape == (1, 3, 3, 3) and radii.shape == (1, 3, 2) and radii[0, 0, 0] > radii[0, 1:, 0].max()
    right, left = curves[0, 1], curves[0, 2]
    assert (right[0] - left[0]).norm() < 3 and right[2, 2] < -30 < 30 < left[2, 2]   # x grows to the left


def test_patients_have_different_trees_and_the_same_one_again(patient):
    two = lung.draw(2, torch.Generator().manual_seed(9))
    (vessels, _), _ = lung_tubes.vessels_and_bronchi(two.scale, two.seeds)
    (again, _), _ = lung_tubes.vessels_and_bronchi(two.scale[1:], two.seeds[1:])
    torch.testing.assert_close(vessels[1:], again)
    assert (vessels[0] - vessels[1]).norm(dim=-1).median() > 5
