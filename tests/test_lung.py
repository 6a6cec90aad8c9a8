"""The lung without nodules: its CT values, its noise, and that every crop shows the same patient."""

import pytest
import torch

from companion.datasets.phantoms import lung, lung_wall

MM = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def patient() -> lung.Anatomy:
    return lung.draw(1, torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def chest(patient) -> tuple[lung.Scene, torch.Tensor]:
    """The whole chest at 5 mm without noise: layers and image (D, H, W)."""
    scene = lung.render(patient, torch.tensor([0]), torch.zeros(1, 3), (55, 54, 78), (5.0, 5.0, 5.0))
    return scene, scene.image()[0]


def crop(anatomy, centre, size=(24, 24, 24), spacing=MM, patient=0):
    return lung.render(anatomy, torch.tensor([patient], device=anatomy.fat.device),
                       torch.tensor([centre], device=anatomy.fat.device), size, spacing)


def test_at_depth_goes_there(generator):
    anatomy = lung.draw(4, generator)
    start = torch.tensor([[0.0, -30, -80], [0, 40, 85], [-40, 0, -95]]).expand(4, 3, 3)
    wanted = torch.tensor([[0.0, 5, 12]]).expand(4, 3)
    found, out = lung.depth(anatomy, lung.at_depth(anatomy, start, wanted))
    assert (found - wanted).abs().max() < 1.5
    torch.testing.assert_close(out.norm(dim=-1), torch.ones(4, 3))


def test_tissues_have_their_ct_values(chest, patient):
    scene, image = chest
    layer = scene.lung[0]
    pure = (layer == 1) & (scene.vessels[0] == 0) & (scene.walls[0] == 0) & (scene.lumen[0] == 0)
    assert -900 < image[pure].median() < -780 and image[pure].std() < 60
    assert image.min() == lung_wall.AIR and 400 < image.max() <= 700
    heart = image[21:24, 22:24, 42:45]
    assert heart.mean().item() == pytest.approx(lung_wall.BLOOD, abs=1)
    assert image[0, 27, 0] == lung_wall.AIR and image[1, 27, 24] == pytest.approx(60, abs=1)    # outside, liver


def test_anatomy_is_where_it_belongs(chest):
    scene, image = chest
    right, left = scene.lung[0][:, :, :39], scene.lung[0][:, :, 39:]
    assert right.sum() > 1.05 * left.sum()                                          # the heart lies to the left
    low, high = scene.lung[0][:12], scene.lung[0][-1:]
    assert not high.any() and low.sum() < scene.lung[0][20:32].sum() / 2            # diaphragm below, apex above
    bone = image > 150
    assert bone[25, 38:, 36:42].any() and not bone[25, 20:34, 36:42].any()          # spine at the back
    windpipe = image[45, 24:34, 36:42]
    assert windpipe.min() < -900 and scene.lung[0][45, 24:34, 37:40].max() == 0


def test_lung_is_denser_at_the_back(patient):
    front, back = (crop(patient, (20.0, y, -75.0)).tissue.median() for y in (-45.0, 45.0))
    assert back - front == pytest.approx(90 * patient.slope.item(), abs=15)


def test_two_crops_show_the_same_place(patient):
    one = crop(patient, (10.0, 0.0, -90.0), (24, 24, 24)).image()
    two = crop(patient, (10.0, 8.0, -98.0), (24, 24, 24)).image()
    difference = (one[:, :, 8:, :16] - two[:, :, :16, 8:]).abs()
    assert difference.median() < 8 and difference.mean() < 20 and one.std() > 50


def test_scene_paints_its_layers_in_order():
    def whole(value):
        return torch.full((1, 1, 1, 4), value)

    share = torch.tensor([0.0, 1, 0, 0]).view(1, 1, 1, 4)
    inside = torch.tensor([1.0, 1, 1, 0]).view(1, 1, 1, 4)
    scene = lung.Scene(whole(-850.0), share, whole(0.0), whole(0.0), inside, whole(55.0))
    assert scene.image().flatten().tolist() == [-850, 40, -850, 55]
    solid = torch.tensor([0.0, 0.5, 1, 1]).view(1, 1, 1, 4)
    assert scene.image(whole(-600.0), solid, 100.0).flatten().tolist() == [-600, 70, 100, 55]


def test_noise_has_unit_spread_and_the_grain_of_a_reconstruction(device):
    grain = lung.noise(torch.arange(4), (20, 64, 64), MM, device)
    assert grain.std((1, 2, 3)).tolist() == pytest.approx([1] * 4, abs=0.04)
    power = torch.fft.fft2(grain).abs().square().mean((0, 1))
    middle, low, high = power[0, 14:18].mean(), power[0, 1:3].mean(), power[0, 30:33].mean()
    assert middle > 2 * low and middle > 2 * high                                   # ramp times the fall of the kernel
    above = (grain[:, 1:] * grain[:, :-1]).mean()
    assert 0.1 < above < 0.7


@pytest.mark.parametrize("size", [(1, 32, 32), (3, 16, 33)])
def test_noise_of_any_size_has_unit_spread(size):
    assert lung.noise(torch.arange(40), size, (3.0, 0.7, 0.7), torch.device("cpu")).std().item() == pytest.approx(
        1, abs=0.06)


def test_an_image_has_the_same_noise_in_any_batch():
    three = lung.noise(torch.tensor([5, 6, 7]), (4, 8, 8), MM, torch.device("cpu"))
    assert torch.equal(three[1, None], lung.noise(torch.tensor([6]), (4, 8, 8), MM, torch.device("cpu")))
    assert not torch.equal(three[0], three[1])


def test_patients_differ_and_seeds_repeat_them():
    one, two = (lung.draw(3, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one.scale, two.scale) and torch.equal(one.waves, two.waves)
    generator = torch.Generator().manual_seed(1)
    first, second = lung.draw(1, generator), lung.draw(1, generator)
    assert not torch.equal(first.scale, second.scale)
    assert torch.equal(one.of(torch.tensor([2, 0])).fat, one.fat[[2, 0]])


def test_crops_render_on_any_device(patient, device):
    scene = crop(patient.to(device), (10.0, 0.0, -80.0), (10, 12, 14), (2.0, 1.5, 1.0))
    assert scene.image().shape == (1, 10, 12, 14) and scene.image().device.type == device.type
