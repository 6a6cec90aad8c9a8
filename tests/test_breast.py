"""The breast of the mammogram phantom: anatomy in its place, tissues that add up, physics by formula, texture."""

import math
from dataclasses import replace

import pytest
import torch

from companion.datasets.phantoms import breast, breast_geometry, breast_lines, breast_texture

SIZE = (160, 107)
STEP = 240 / 160


def seeded(number=0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def anatomy() -> breast.Anatomy:
    return breast.draw(8, seeded())


@pytest.fixture(scope="module")
def scene(anatomy) -> breast.Scene:
    return breast.render(anatomy, SIZE)


def test_tissues_add_up_and_air_holds_nothing(scene):
    assert all(t.shape == (8, *SIZE) for t in vars(scene).values())
    for tissue in (scene.skin, scene.muscle, scene.gland):
        assert tissue.min() >= -1e-4
    assert (scene.thickness - scene.skin - scene.muscle - scene.gland).min() > -1e-3
    assert not scene.thickness[scene.depth < -1e-3].any()


def test_the_breast_is_as_thick_and_as_long_as_drawn(anatomy, scene):
    torch.testing.assert_close(scene.thickness.amax((1, 2)), anatomy.shape.thickness, rtol=0.01, atol=0)
    inside = scene.depth > 0
    reach = (inside.any(1).float() * torch.arange(SIZE[1])).amax(1) * STEP            # the nipple's tip
    assert ((reach - anatomy.shape.length).abs() < 12).all()
    row = (inside.float() * torch.arange(SIZE[1])).amax(2).argmax(1) * STEP
    assert ((row - anatomy.shape.nipple).abs() < 8).all()


def test_depth_is_the_distance_from_an_ellipse(anatomy):
    shape = anatomy.of(torch.tensor([0])).shape
    plain = replace(shape, axilla=shape.axilla * 0, fold=shape.fold * 0 - 200)
    tip = shape.length + 4                                                          # the skin bulges at the nipple
    points = torch.tensor([[0.0, 3.0, -2.0]])
    depth = breast_geometry.skin_depth(plain, shape.nipple[:, None].expand(1, 3), tip[:, None] - points)
    torch.testing.assert_close(depth, points, atol=0.3, rtol=0)


def test_depths_over_an_image_are_those_of_its_pixels(anatomy):
    y, x = (p.expand(1, *SIZE) for p in breast_geometry.positions(SIZE, None))
    assert y[0, 0, 0] == STEP / 2 and x[0, 0, 1] == 1.5 * STEP
    exact = breast_geometry.muscle_depth(anatomy.shape, y, x)
    torch.testing.assert_close(breast_geometry.depths(anatomy.shape, SIZE, None)[:, 2], exact, atol=0.4, rtol=0)


def test_the_muscle_is_a_wedge_in_the_upper_corner_at_the_chest_wall(anatomy, scene):
    muscle = scene.muscle > 2
    assert muscle[:, 2, 2].all() and not muscle[:, -40:].any() and not muscle[:, :, -20:].any()
    along_top = muscle[:, 1].sum(1) * STEP
    assert ((along_top - anatomy.shape.muscle_width).abs() < 8).all()
    assert (scene.muscle[:, 2, 2] > 0.15 * anatomy.shape.thickness).all()


def test_density_categories_hold_more_and_more_gland():
    def share(category):
        scene = breast.render(breast.draw(8, seeded(1), category), SIZE)
        breast_only = (scene.depth > 0) & (scene.muscle_depth < 0)
        return ((scene.gland + scene.skin)[breast_only].sum() / scene.thickness[breast_only].sum()).item()

    shares = [share(k) for k in range(4)]
    assert 0.10 < shares[0] < shares[1] < shares[2] < shares[3] < 0.40
    assert sum(p * s for p, s in zip(breast.PREVALENCE, shares, strict=True)) == pytest.approx(0.19, abs=0.04)


def test_gland_lies_behind_the_nipple_not_under_the_skin(anatomy, scene):
    region = breast_geometry.depths(anatomy.shape, SIZE, None)[:, 3]
    share = scene.gland / scene.thickness.clamp_min(1)
    under_skin = (scene.depth > 3) & (scene.depth < 8) & (scene.muscle_depth < 0)
    assert share[region > 8].mean() > 2 * share[under_skin & (region < -5)].mean()


def test_line_integral_and_brightness_by_hand():
    one = torch.ones(1, 1, 1)
    scene = breast.Scene(depth=30 * one, muscle_depth=-one, thickness=50 * one, skin=3 * one, muscle=7 * one,
                         gland=10 * one)
    integral = scene.line_integral()
    assert integral.item() == pytest.approx(30 * 0.0456 + 10 * 0.0802 + 7 * 0.081 + 3 * 0.085)
    above = integral.item() - 0.0456 * (60 - 0.7 * 10)
    expected = 1 / (1 + math.exp(-4 * (above - breast.LEVEL) / breast.WIDTH))
    assert breast.brightness(integral, scene, 60 * one).item() == pytest.approx(expected)


def test_tissues_have_their_brightness(anatomy, scene):
    shown = breast.brightness(scene.line_integral(), scene, anatomy.shape.thickness.view(-1, 1, 1))
    fat = (scene.gland < 0.06 * scene.thickness) & (scene.depth > 8) & (scene.muscle_depth < -5)
    dense = (scene.gland > 0.3 * scene.thickness) & (scene.depth > 15)
    assert 0 <= shown.min() and shown.max() <= 1 and shown[scene.depth < -3].max() < 0.06
    assert 0.15 < shown[fat].mean() < 0.4 and shown[dense].mean() > 0.65
    assert 0.45 < shown[(scene.muscle_depth > 15) & (scene.depth > 20)].mean() < 0.8


def test_photon_noise_follows_the_counts(anatomy):
    one = anatomy.of(torch.tensor([3]))
    integral = (breast.FAT * one.shape.thickness).view(1, 1, 1).expand(1, *SIZE) + math.log(4)
    noise = breast.noise(one, integral, 0.01)
    expected = (4 / (0.01 * breast.PHOTONS * STEP ** 2)) ** 0.5
    assert noise.std().item() == pytest.approx(expected, rel=0.03) and noise.mean().abs() < 0.05 * expected
    torch.testing.assert_close(breast.noise(one, integral, 0.04), noise / 2)


def test_left_and_right_are_alike_but_not_equal(anatomy):
    assert anatomy.left.tolist() == [True, False] * 4
    many = breast.draw(200, seeded(2))
    left, right = many.shape.length[::2], many.shape.length[1::2]
    assert torch.corrcoef(torch.stack([left, right]))[0, 1] > 0.8 and not (left == right).any()
    assert torch.equal(many.density[::2], many.density[1::2])
    assert breast.draw(3, seeded()).seeds.shape == (3,)
    share = torch.bincount(breast.draw(4000, seeded(3)).density, minlength=4) / 4000
    torch.testing.assert_close(share, torch.tensor(breast.PREVALENCE), atol=0.03, rtol=0)


def test_a_density_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="density is 4"):
        breast.draw(2, seeded(), 4)


def test_more_pixels_show_the_same_breast(anatomy):
    few = anatomy.of(torch.arange(4))
    fine, coarse = breast.render(few, (320, 214)), breast.render(few, (160, 107))
    merged = torch.nn.functional.avg_pool2d(fine.gland, 2)
    inside = coarse.depth > 5
    assert torch.corrcoef(torch.stack([merged[inside], coarse.gland[inside]]))[0, 1] > 0.97
    assert merged[inside].mean().item() == pytest.approx(coarse.gland[inside].mean().item(), rel=0.03)


def test_texture_has_a_power_law_and_unit_spread():
    drawn = breast_texture.texture(torch.arange(6), 192, None)
    assert drawn.shape == (6, 192, 128) and drawn.std().item() == pytest.approx(1, abs=0.15)
    assert _exponent(drawn[:, :128], 240 / 192) == pytest.approx(breast_texture.BETA, abs=0.35)
    again = breast_texture.texture(torch.tensor([4, 2]), 192, None)
    assert torch.equal(again, drawn[[4, 2]])


def test_gland_in_the_image_has_a_power_near_three():
    dense = breast.draw(6, seeded(9), 2)
    integral = breast.render(dense, (480, 320)).line_integral()
    rows, columns = ((t * 2 - shift).long().tolist() for t, shift in (
        (dense.shape.nipple, 84), (dense.shape.length / 2, 64)))
    patches = [image[r:r + 128, max(c, 0):max(c, 0) + 128]
               for image, r, c in zip(integral, rows, columns, strict=True)]
    assert _exponent(torch.stack(patches), 0.5) == pytest.approx(3, abs=0.4)


def _exponent(images, step):
    """Slope of the logarithm of the power spectrum between 0.08 and 0.35 of a cycle per pixel."""
    window = torch.hann_window(128)
    power = torch.fft.fft2((images - images.mean((1, 2), keepdim=True)) * window * window[:, None]).abs().square()
    f = torch.hypot(*torch.meshgrid(torch.fft.fftfreq(128), torch.fft.fftfreq(128), indexing="ij"))
    chosen = (f > 0.05) & (f < 0.35)
    x, y = f[chosen].log(), power.mean(0)[chosen].log()
    return -(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()).item()


def test_deposit_by_hand():
    points, volumes = torch.tensor([[[1.0, 1.5]], [[3.0, 3.0]], [[9.0, 1.0]]]), torch.full((3, 1), 8.0)
    image = breast_lines.deposit(points, volumes, torch.tensor([0, 1, 1]), 2, (2, 2), 2.0)
    assert torch.equal(image[0], torch.tensor([[1.5, 0.5], [0.0, 0.0]]))
    assert torch.equal(image[1], torch.tensor([[0.0, 0.0], [0.0, 2.0]]))               # and the third lies outside


def test_lines_have_the_volume_of_a_tube_or_a_sheet_at_any_resolution():
    curves, radii = torch.tensor([[[[0.0, 0.0], [5.0, 5.0], [10.0, 10.0]]]]), torch.full((1, 1, 2), 0.6)
    for step in (0.3, 1.0, 3.0):
        points, volumes = breast_lines.lines(curves, radii, step, longest=20, widest=1.0)
        assert volumes.sum().item() == pytest.approx(math.pi * 0.36 * 200 ** 0.5, rel=1e-3)
        sheet = breast_lines.lines(curves, radii, step, longest=20, widest=1.0, sheet=4.0)[1]
        assert sheet.sum().item() == pytest.approx(1.2 * 4 * 200 ** 0.5, rel=1e-3)
        off_axis = (points[0, :, 0] - points[0, :, 1]).abs() / 2 ** 0.5
        assert off_axis.max() < 0.6 and (step > 1 or off_axis.max() > 0.2)


def test_specks_have_the_volume_of_balls():
    points, volumes = breast_lines.specks(torch.zeros(1, 2, 2), torch.tensor([[0.5, 0.0]]), 0.4)
    assert volumes.sum().item() == pytest.approx(4 / 3 * math.pi * 0.125, rel=1e-5)
    assert points.norm(dim=-1).max() < 0.5 and not volumes[0, len(volumes[0]) // 2:].any()


@pytest.mark.parametrize("size", [(48, 32), (65, 41), (60, 90)])
def test_any_size_and_device(size, device):
    scene = breast.render(breast.draw(2, seeded()).to(device), size)
    assert scene.gland.shape == (2, *size) and scene.gland.device.type == device.type
    assert torch.isfinite(scene.line_integral()).all()
