"""Trees of tubes: their law, their joints, and the volume they fill."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.datasets.phantoms import shapes, trees


def line(start, end, radius):
    """One straight strand of even thickness: curves (1, 1, 3, 3) and radii (1, 1, 2)."""
    a, b = torch.tensor(start), torch.tensor(end)
    return torch.stack([a, (a + b) / 2, b])[None, None], torch.full((1, 1, 2), radius)


def tips(n, t, generator):
    return 100 * torch.rand(n, t, 3, generator=generator) - 50


def test_every_tip_is_reached_once(generator, device):
    ends = tips(2, 32, generator).to(device)
    curves, radii = trees.grow(torch.zeros(2, 3, device=device), ends, radius=0.5)
    assert curves.shape == (2, 62, 3, 3) and radii.shape == (2, 62, 2)
    reached = curves[:, -32:, 2]
    gaps = (reached[:, :, None] - ends[:, None]).norm(dim=-1)
    assert (gaps.amin(1) < 1e-4).all() and (gaps.amin(2) < 1e-4).all()


def test_branches_start_where_their_parents_end_and_murrays_law_holds(generator):
    curves, radii = trees.grow(torch.ones(1, 3), tips(1, 16, generator), radius=0.5)
    assert torch.equal(curves[0, :2, 0], torch.ones(2, 3))
    for parent, first in ((0, 2), (1, 4), (2, 6), (13, 28)):
        assert torch.equal(curves[0, parent, 2], curves[0, first, 0])
        assert torch.equal(curves[0, parent, 2], curves[0, first + 1, 0])
        cubes = radii[0, :, 1] ** 3
        assert cubes[parent].item() == pytest.approx((cubes[first] + cubes[first + 1]).item(), rel=1e-5)
    assert radii[0, -1, 1] == 0.5


def test_halving_is_along_the_longest_extent():
    points = torch.tensor([[[0.0, 0, 9], [1, 0, -9], [0, 1, 8], [1, 1, -8]]])
    halves = trees._halve(points[:, None])
    assert sorted(halves[0, 0, :, 2].tolist()) == [-9, -8] and sorted(halves[0, 1, :, 2].tolist()) == [8, 9]


def test_tips_that_cannot_be_halved_are_refused(generator):
    with pytest.raises(ValueError, match="12 tips"):
        trees.grow(torch.zeros(1, 3), tips(1, 12, generator), radius=0.5)


@given(st.lists(st.floats(-12, 12), min_size=6, max_size=6), st.floats(1, 5))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_a_straight_strand_is_a_tube(ends, radius):
    curves, radii = line(ends[:3], ends[3:], radius)
    share = trees.strands(curves, radii, (32, 32, 32), (1.0, 1.0, 1.0))
    points = shapes.grid((32, 32, 32), (1.0, 1.0, 1.0))
    tube = shapes.occupancy(shapes.tubes(points, curves[:, :, 0], curves[:, :, 2], radii[..., 0]), 1.0)
    assert (share - tube).abs().max() < 0.13                                        # balls sag between each other
    assert share.sum().item() == pytest.approx(tube.sum().item(), rel=0.05)


@pytest.mark.parametrize("radius", [0.2, 0.35, 0.5, 3.0])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.5)])
def test_thin_strands_keep_their_volume(radius, spacing, device):
    curves, radii = line([-10.0, -6.0, -4.0], [10.0, 7.0, 5.0], radius)
    size = tuple(int(36 / d) for d in spacing)
    share = trees.strands(curves.to(device), radii.to(device), size, spacing)
    length = (curves[0, 0, 2] - curves[0, 0, 0]).norm().item()
    volume = math.pi * radius ** 2 * length + 4 / 3 * math.pi * radius ** 3
    if spacing == (1.0, 1.0, 1.0) or radius < 2:
        assert share.sum().item() * math.prod(spacing) == pytest.approx(volume, rel=0.17)


def test_the_volumes_middle_may_lie_anywhere():
    curves, radii = line([-4.0, 0.0, 3.0], [5.0, 2.0, 0.0], 1.5)
    here = trees.strands(curves, radii, (20, 20, 20), (1.0, 1.0, 1.0))
    shift = torch.tensor([[100.0, -40.0, 7.0]])
    there = trees.strands(curves + shift, radii, (20, 20, 20), (1.0, 1.0, 1.0), centre=shift)
    torch.testing.assert_close(there, here, atol=1e-4, rtol=0)


def test_cases_do_not_touch_each_other_at_their_borders(generator):
    curves = 60 * torch.rand(3, 40, 3, 3, generator=generator) - 30
    radii = 4 * torch.rand(3, 40, 2, generator=generator)
    together = trees.strands(curves, radii, (15, 16, 17), (1.0, 1.0, 1.0))
    for i in range(3):
        alone = trees.strands(curves[i, None], radii[i, None], (15, 16, 17), (1.0, 1.0, 1.0))
        assert torch.equal(together[i], alone[0])


def test_a_part_of_the_volume_shows_the_same(generator):
    curves = 40 * torch.rand(1, 20, 3, 3, generator=generator) - 20
    radii = 3 * torch.rand(1, 20, 2, generator=generator)
    whole = trees.strands(curves, radii, (30, 30, 30), (1.0, 1.0, 1.0))
    part = trees.strands(curves, radii, (10, 10, 10), (1.0, 1.0, 1.0), centre=torch.tensor([[-10.0, 0.0, 10.0]]))
    torch.testing.assert_close(part[0], whole[0, :10, 10:20, 20:], atol=1e-5, rtol=0)


def test_strands_of_no_radius_are_left_out_and_pieces_do_not_matter(generator, monkeypatch):
    curves = 30 * torch.rand(2, 9, 3, 3, generator=generator) - 15
    radii = 2 * torch.rand(2, 9, 2, generator=generator)
    size, spacing = (12, 12, 12), (2.0, 2.0, 2.0)
    whole = trees.strands(curves, radii, size, spacing)
    assert not trees.strands(curves, 0 * radii, size, spacing).any()
    monkeypatch.setattr(trees, "MAX_PAIRS", 500)
    assert torch.equal(trees.strands(curves, radii, size, spacing), whole)
