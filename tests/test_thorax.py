"""The thorax of the chest radiograph: path lengths against formulas, anatomy where it belongs."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.datasets.phantoms import thorax, thorax_bones, thorax_lungs, thorax_vessels
from companion.datasets.phantoms import thorax_projection as projection

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def average() -> thorax.Anatomy:
    drawn = thorax.draw(1, torch.Generator().manual_seed(0))
    one = {"scale": torch.ones(1, 3), "heart": torch.ones(1), "aorta": torch.full((1,), 0.5), "gas": torch.ones(1),
           "fat": torch.full((1,), 12.0)}
    zero = {name: 0 * getattr(drawn, name) for name in ("shift", "right", "left", "breasts", "spots")}
    return replace(drawn, **one, **zero)


@pytest.fixture(scope="module")
def scene(average):
    return thorax.render(average, 96)


def at(image, z, x):
    """The value of an image at a place in mm."""
    pixel = thorax.FIELD / image.shape[-1]
    half = image.shape[-1] / 2
    return image[int(half - z / pixel), int(half + x / pixel)].item()


# Path lengths

def test_axes_run_down_and_to_the_right():
    z, x = projection.axes(4, 8.0)
    assert z.flatten().tolist() == [3, 1, -1, -3] and x.flatten().tolist() == [-3, -1, 1, 3]


@settings(deadline=None, derandomize=True, max_examples=20)
@given(rz=st.floats(5, 40), ry=st.floats(5, 40), rx=st.floats(5, 40), z=st.floats(-50, 50), x=st.floats(-50, 50))
def test_chord_is_the_path_through_an_ellipsoid(rz, ry, rx, z, x):
    found = projection.chord(torch.tensor([z]), torch.tensor([x]), (0.0, 0.0), (rz, ry, rx)).item()
    y = torch.linspace(-ry, ry, 20001, dtype=torch.float64)
    inside = ((z / rz) ** 2 + (y / ry) ** 2 + (x / rx) ** 2 <= 1).double().mean() * 2 * ry
    assert found == pytest.approx(inside.item(), abs=0.02 * ry)


def test_union_lies_between_the_largest_and_the_sum():
    z, x = projection.axes(32, 64.0)
    bodies = [((0.0, -5.0), (20.0, 10.0, 15.0), 0.0), ((4.0, 6.0), (12.0, 14.0, 18.0), 0.3)]
    lengths = [projection.chord(z, x, *body) for body in bodies]
    joined = projection.union(z, x, bodies)
    torch.testing.assert_close(projection.union(z, x, bodies[1:], lengths[0]), joined)
    assert (joined >= torch.maximum(*lengths) - 1e-3).all() and (joined <= sum(lengths) + 1e-3).all()
    alone = (lengths[1] == 0) & (lengths[0] > 0)
    torch.testing.assert_close(joined[alone], lengths[0][alone])


def test_a_string_of_discs_is_a_tube():
    """The path across a tube of radius R at a distance d from its axis is 2 sqrt(R^2 - d^2)."""
    line = torch.tensor([[[-80.0, 0.0, 3.3], [80.0, 0.0, 3.3]]])
    _, points, steps = projection.even(line, 0.5)
    radii = torch.full_like(steps, 8.0)
    image = projection.stamp(torch.zeros(len(steps), dtype=torch.long), points, radii, steps, 1, 120, 60.0,
                             projection.disc)[0]
    d = projection.axes(120, 60.0)[1].flatten() - 3.3
    expected = 2 * (64 - d.square()).clamp_min(0).sqrt()
    torch.testing.assert_close(image[60], expected, atol=1.0, rtol=0)
    assert image[60].sum().item() * 0.5 == pytest.approx(math.pi * 64, rel=0.01)


@pytest.mark.parametrize("radius", [0.4, 2.0, 9.0])
@pytest.mark.parametrize("profile,volume", [(projection.disc, lambda r: math.pi * r ** 2),
                                            (projection.ball, lambda r: 4 / 3 * math.pi * r ** 3),
                                            (projection.puff, lambda r: math.pi / 3 * r ** 3)])
def test_stamps_keep_their_volume_at_any_pixel_size(profile, volume, radius):
    many = torch.rand(60, 3, generator=torch.Generator().manual_seed(0)) * 8
    weights, radii = torch.ones(60), torch.full((60,), radius)
    image = projection.stamp(torch.zeros(60, dtype=torch.long), many, radii, weights, 1, 24, 60.0, profile)
    assert image.sum().item() * 2.5 ** 2 / 60 == pytest.approx(volume(radius), rel=0.25 if radius < 2 else 0.08)


def test_stamps_go_to_their_image_and_are_cut_at_the_border():
    points = torch.tensor([[0.0, 0.0, 0.0], [30.0, 0.0, 0.0], [0.0, 0.0, 90.0]])
    image = projection.stamp(torch.tensor([0, 1, 1]), points, torch.full((3,), 5.0), torch.ones(3), 2, 30, 60.0,
                             projection.disc)
    assert image[0, 15, 15] > 0.95 and image[0].sum() == pytest.approx(2 * image[1].sum().item(), rel=0.1)
    assert image[1, 15:].sum() == 0
    none = projection.stamp(torch.zeros(0, dtype=torch.long), torch.zeros(0, 3), torch.zeros(0), torch.zeros(0), 2, 8,
                            60.0, projection.disc)
    assert none.shape == (2, 8, 8) and not none.any()


def test_warp_of_a_plane_is_the_plane():
    z, x = projection.axes(40, 80.0)
    plane = (2 * z - x + 5).expand(2, -1, -1)
    at_z, at_x = torch.tensor([[10.2, -7.7], [0.0, 3.1]])[..., None], torch.tensor([[4.4], [-20.3]])[:, None]
    torch.testing.assert_close(projection.warp(plane, 80.0, at_z, at_x), 2 * at_z - at_x + 5)
    assert not projection.warp(plane, 80.0, at_z + 100, at_x).any()


def test_even_points_share_the_length():
    corners = torch.tensor([[[0.0, 0, 0], [0, 0, 3], [0, 4, 3]], [[0.0, 0, 0], [0, 0, 1], [0, 0, 2]]])
    line, points, steps = projection.even(corners, 1.0)
    assert line.tolist() == [0] * 7 + [1] * 2 and steps.tolist() == [1.0] * 9
    assert points[3].tolist() == pytest.approx([0, 0.5, 3]) and points[8].tolist() == pytest.approx([0, 0, 1.5])


# Anatomy

def test_lungs_hold_some_litres():
    z, x = projection.axes(200, 400.0)
    chest, lung = thorax_lungs.lungs(z, x)
    litres = lung.sum().item() * 4 / 1e6
    assert 4 < litres < 7.5 and (lung <= chest).all() and (lung >= 0).all()


def test_the_heart_points_to_the_left_and_the_right_dome_is_higher(average, scene):
    z, x = thorax.positions(average, 96)
    filled = (scene.chest - scene.lung)[0] * ((z < -20) & (z > -80))[0]
    assert 5 < ((filled * x[0]).sum() / filled.sum()).item() < 40                   # image right
    dense = scene.lung[0] < 5
    columns = [int(48 + side / thorax.FIELD * 96) for side in (-95, 110)]
    right, left = (z[0, (dense & (z[0] < -20))[:, c].int().argmax(), 0].item() for c in columns)
    assert right > left + 2
    assert at(scene.lung[0], 61, 34) < at(scene.lung[0], 61, -34) - 30              # the aortic arch is on the left


def test_tissues_attenuate_as_stated(scene):
    p = scene.integral[0]
    lung, heart, belly = at(p, -20, -112), at(p, -60, 40), at(p, -140, 30)
    assert 0.9 < lung < 2.4 < heart < belly < 7 and at(p, 182, -182) < 0.2
    assert p.min() >= 0


def test_gas_under_the_left_dome(average):
    without = thorax.render(replace(average, gas=0 * average.gas + 1e-3), 96).integral
    change = (thorax.render(average, 96).integral - without)[0]
    place = (change < -0.1).nonzero().float().mean(0)
    assert place[1] > 60 and place[0] > 70 and change.max() < 1e-3


def test_fat_and_breasts_attenuate(average):
    fatter = thorax.render(replace(average, fat=average.fat + 10), 64)
    assert fatter.integral.mean() > thorax.render(average, 64).integral.mean() + 0.2
    change = thorax.render(replace(average, breasts=0 * average.fat + 30), 64).integral
    change = change - thorax.render(average, 64).integral
    assert change.max().item() == pytest.approx(30 * thorax.FAT, rel=0.05) and change.min() > -1e-4


def test_ribs_fall_to_the_side_and_to_the_front():
    lines = thorax_bones._ribs(1.0, 0.0)
    z, y, x = lines[:10].unbind(-1)
    assert lines.shape == (12, 100, 3) and (y[:, 0] > 80).all() and (y[:, -1] < -80).all()
    side = x.argmax(1)
    rows = torch.arange(10)
    assert (z[rows, side] < z[:, 0]).all() and (z[:, -1] < z[rows, side]).all()
    heads = z[:, 0]
    assert (heads[:-1] - heads[1:] > 15).all() and heads[9] == pytest.approx(-80, abs=2)
    outer = thorax_lungs.outer(z[rows, side])
    assert ((x[rows, side] - outer).abs() < 15).all()                               # around the lungs


def test_bones_and_vessels_are_alike_for_a_number_and_differ_between_numbers():
    frame = (64, 370.0, CPU)
    one, two = thorax_bones.skeleton(1, *frame), thorax_bones.skeleton(2, *frame)
    assert not torch.equal(one, two) and 0.1 < one.max() < 1.5 and one.min() >= 0
    again = thorax_bones.skeleton.__wrapped__(1, *frame)
    assert torch.equal(one, again)
    assert not torch.equal(thorax_vessels.vessels("right", 1, *frame), thorax_vessels.vessels("right", 2, *frame))


@pytest.mark.parametrize("side,sign", [("right", -1), ("left", 1)])
def test_vessels_taper_from_their_hilum(side, sign):
    image = thorax_vessels.vessels(side, 0, 128, 370.0, CPU)
    z, x = projection.axes(128, 370.0)
    distance = (z[0] - 10).square().add((x[0] - sign * 45).square()).sqrt()
    rings = [image[(distance > low) & (distance < low + 20) & (x[0] * sign > 15)].mean() for low in (0, 30, 60, 90)]
    assert rings[0] > 3 and all(a > b for a, b in zip(rings, rings[1:], strict=False))
    assert image[:, :64 - 10].any().item() is (sign < 0) and image[:, 64 + 10:].any().item() is (sign > 0)


def test_air_in_the_trachea_is_in_the_middle():
    image = thorax_vessels.airways(128, 370.0, CPU)
    column = image[20].argmax().item()
    assert abs((column - 63.5) * 370 / 128) < 5 and image[20].max() == pytest.approx(17, abs=1.5)


def test_points_are_placed_where_their_pixels_are():
    drawn = thorax.draw(5, torch.Generator().manual_seed(4))
    z, x = thorax.positions(drawn, 370)                                             # pixels of 1 mm
    placed = drawn.placed(torch.tensor([60.0, 0.0, -90.0]).expand(5, 1, 3))[:, 0]
    rows, columns = (184.5 - placed[:, 0]).round().long(), (184.5 + placed[:, 2]).round().long()
    assert (z[range(5), rows, 0] - 60).abs().max() < 0.6 and (x[range(5), 0, columns] + 90).abs().max() < 0.6


def test_patients_move_and_stretch(average):
    moved = thorax.render(replace(average, shift=torch.tensor([[0.0, 0.0, 370 / 96 * 2]])), 96).lung
    torch.testing.assert_close(moved[:, :, 4:-4], thorax.render(average, 96).lung[:, :, 2:-6], atol=0.02, rtol=0)
    wide = thorax.render(replace(average, scale=torch.tensor([[1.05, 1.0, 1.05]])), 96).lung
    assert wide.sum() / thorax.render(average, 96).lung.sum() == pytest.approx(1.05 ** 2, rel=0.01)
    deep = thorax.render(replace(average, scale=torch.tensor([[1.0, 1.1, 1.0]])), 96)
    torch.testing.assert_close(deep.integral, 1.1 * thorax.render(average, 96).integral, atol=1e-4, rtol=1e-4)


def test_a_scene_does_not_depend_on_its_batch(device):
    drawn = thorax.draw(4, torch.Generator().manual_seed(2)).to(device)
    alone = thorax.render(drawn.of(torch.tensor([2], device=device)), 48)
    assert alone.integral.device.type == device.type
    torch.testing.assert_close(alone.integral[0], thorax.render(drawn, 48).integral[2], atol=1e-4, rtol=1e-4)
