"""Prostate MRI: exact volumes, foreground fraction as asked, zones in their order, knobs that do what they say."""

import math
from dataclasses import replace

import pytest
import torch

from companion.datasets.phantoms import prostate, prostate_anatomy, prostate_gland, prostate_layers, shapes
from companion.mri import spin_echo

SMALL = (12, 32, 32)


def seeded(number=0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def drawn() -> prostate.Prostate:
    return prostate.draw(12, seeded())


@pytest.fixture(scope="module")
def cases(drawn):
    return prostate.render(drawn, SMALL)


def signal(tissue: str) -> float:
    return spin_echo(prostate_layers.SEEN[tissue], prostate_layers.TR, prostate_layers.TE).item()


def millilitres(cases) -> torch.Tensor:
    return cases.masks["prostate"].flatten(1).sum(1) * math.prod(cases.spacing) / 1000


# The set


def test_cases_are_complete(cases):
    assert cases.images.shape == (12, 1, *SMALL) and cases.images.dtype == torch.float32
    assert cases.classes == ("volume in ml",) and torch.equal(cases.labels, cases.parameters.volumes)
    assert 0 <= cases.images.min() < 0.02 and 0.6 < cases.images.max() < 1.3
    assert [s * d for s, d in zip(cases.spacing, SMALL, strict=True)] == pytest.approx(
        prostate.field_of_view(0.05, 40.0), rel=1e-5)
    assert cases.patients.tolist() == list(range(12)) and cases.masks["prostate"].dtype == torch.bool


def test_same_seed_same_bits_and_the_generator_advances():
    one, two = (prostate.make(2, seeded(5), SMALL) for _ in range(2))
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
    generator = seeded(5)
    first, second = (prostate.make(2, generator, SMALL) for _ in range(2))
    assert torch.equal(first.images, one.images) and not torch.equal(first.images, second.images)


def test_an_image_does_not_depend_on_its_batch(drawn, cases, monkeypatch):
    monkeypatch.setattr(prostate, "CHUNK_VOXELS", 1)
    alone = prostate.render(drawn.of(torch.tensor([7, 3])), SMALL)
    torch.testing.assert_close(alone.images, cases.images[[7, 3]], atol=1e-4, rtol=0)
    assert (alone.masks["prostate"] != cases.masks["prostate"][[7, 3]]).sum() <= 1


@pytest.mark.parametrize("size", [(5, 30, 41), (1, 48, 48)])
def test_any_size_on_any_device(size, device):
    few = prostate.render(prostate.draw(2, seeded()).to(device), size)
    assert few.images.shape == (2, 1, *size) and few.images.device.type == device.type


# Volume and foreground fraction


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.3])
def test_the_foreground_fraction_is_met_and_the_mask_has_the_volume_in_ml(fraction):
    size = (32, 64, 64) if fraction == 0.01 else (20, 40, 40)
    cases = prostate.make(5, seeded(1), size, fraction=fraction)
    share = cases.masks["prostate"].flatten(1).float().mean(1)
    torch.testing.assert_close(millilitres(cases), cases.labels, rtol=0.03, atol=0)
    assert (millilitres(cases) / cases.labels).mean().item() == pytest.approx(1, abs=0.005)
    assert ((share / fraction - 1).abs() < 0.4).all()                               # two deviations of 15 %
    assert share.mean().item() == pytest.approx(fraction * cases.labels.mean().item() / 40, rel=0.03)


def test_the_mean_over_many_patients_is_as_asked():
    volumes = prostate.draw(600, seeded(2), volume=50.0).volumes
    assert volumes.mean().item() == pytest.approx(50, rel=0.02) and 0.12 < volumes.log().std() < 0.16


def test_the_field_of_view_by_hand():
    height, depth, width = prostate.field_of_view(0.3, 40.0)
    assert depth == width and height == pytest.approx(0.9 * width)
    assert height * depth * width == pytest.approx(40_000 / 0.3)


def test_the_volume_of_an_ellipsoid_and_of_an_uneven_gland(drawn):
    gland = drawn.gland
    smooth = replace(gland, heights=0 * gland.heights, taper=0 * gland.taper)
    ellipsoid = 4 / 3 * math.pi * gland.half.prod(1)
    loss = prostate_gland._volume(smooth) / ellipsoid                               # the groove takes a few percent
    assert ((0.95 < loss) & (loss < 1)).all()
    torch.testing.assert_close(prostate_gland._volume(gland), drawn.volumes * 1000, rtol=1e-4, atol=0)
    on_surface = prostate_gland.radial(smooth, torch.stack([gland.half[:, 0], 0 * gland.half[:, 0],
                                                            0 * gland.half[:, 0]], -1)[:, None])
    torch.testing.assert_close(on_surface, torch.ones(12, 1))


# Anatomy


def test_zones_bladder_and_muscle_have_their_signals(drawn):
    few = drawn.of(torch.arange(4))
    quiet = replace(few, noise=0 * few.noise, bias=0 * few.bias + 1, t2=0 * few.t2 + 1)
    image = prostate.render(quiet, (24, 64, 64)).images[:, 0]
    place = prostate._turned(quiet, shapes.grid((24, 64, 64), [e / s for e, s in zip(
        quiet.extents[0].tolist(), (24, 64, 64), strict=True)]).flatten(0, 2))
    near = {k: v.view(image.shape) for k, v in prostate_gland.depths(quiet.gland, place).items()}
    far = {k: v.view(image.shape) for k, v in prostate_anatomy.distances(
        place / quiet.scale[:, None, None], quiet.gland.half).items()}
    zone = (near["zone"] < -2) & (near["nodule"] > 2) & (near["stroma"] > 2) & (near["urethra"] > 5)
    peripheral = (near["gland"] < -3) & (near["zone"] > 3) & (near["stroma"] > 3) & (near["urethra"] > 5)
    assert image[peripheral].median().item() == pytest.approx(signal("peripheral zone"), abs=0.02)
    assert image[zone].median().item() == pytest.approx(signal("transition zone"), abs=0.02)
    urine = (far["bladder"] < -6) & (near["gland"] > 5)
    assert image[urine].median().item() == pytest.approx(signal("fluid"), abs=0.01)
    assert image[far["muscles"] < -6].median().item() == pytest.approx(1.1 * signal("muscle"), abs=0.02)
    assert signal("fluid") > signal("peripheral zone") > signal("transition zone") > signal("muscle")


def test_neighbours_lie_where_they_belong():
    """Bladder above, rectum behind, pubis before, muscles beside, bones beyond: axes z, y, x."""
    half = torch.tensor([[21.0, 18.0, 24.0]])
    place = {"bladder": (45, -10, 0), "rectum": (0, 33, 0), "urethra": (-45, -8, 0), "vesicle": (28, 20, 12),
             "gluteus": (0, 82, 66), "artery": (0, -67, 62), "bulb": (-45, -12, 0), "crus": (-60, -20, -17)}
    # pubis, hip joint, ischium, femur, sacrum
    bones = [(-10, -45, 15), (20, 4, 74), (-36, 16, -64), (20, -8, 103), (60, 84, 0)]
    far = prostate_anatomy.distances(torch.tensor([*place.values(), *bones]).float()[None], half)
    assert all(far[name][0, i] < 3 for i, name in enumerate(place)) and (far["bones"][0, len(place):] < 0).all()
    middle = prostate_anatomy.distances(torch.zeros(1, 1, 3), half)
    surfaces = {"skin", "streak", "urethra", "funnel", "funnel's ends"}
    assert all(value.item() > 5 for name, value in middle.items() if name not in surfaces)
    beside = prostate_anatomy.distances(torch.tensor([[[0.0, 0, 27], [0, 0, -27]]]), half)
    assert torch.allclose(beside["funnel"][0, 0], beside["funnel"][0, 1]) and (beside["funnel"].abs() < 4).all()


def test_the_gland_stays_inside_the_image():
    for fraction, share in ((0.01, 0), (0.3, 0.01)):                                # the largest glands may touch it
        mask = prostate.make(6, seeded(3), (12, 24, 24), fraction=fraction).masks["prostate"]
        sides = [mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1], mask[..., 0], mask[..., -1]]
        assert sum(side.sum() for side in sides) <= share * mask.sum()


# Knobs


def test_contrast_sets_the_ratio_of_the_signals():
    def ratio(contrast):
        s = prostate_layers.signals(torch.ones(1, 11), torch.tensor([contrast]))
        return (s["peripheral zone"] / s["muscle"]).item()

    assert 1 < ratio(0.3) < ratio(1.0) < ratio(1.5)
    assert ratio(1.0) == pytest.approx(signal("peripheral zone") / signal("muscle"), rel=1e-5)
    assert torch.equal(prostate.draw(2, seeded(), contrast=0.4).contrast, torch.tensor([0.4, 0.4]))


def test_noise_and_bias_have_the_asked_strength():
    loud, quiet = (prostate.make(2, seeded(), SMALL, noise=x, bias=0.0).images for x in (2.0, 0.0))
    assert (loud - quiet)[quiet > 0.3].std().item() == pytest.approx(2 * prostate.SIGMA, rel=0.05)
    fields = [prostate.draw(5, seeded(), bias=b).bias for b in (0.0, 1.0, 2.0)]
    assert [(f - 1).abs().amax().item() for f in fields] == pytest.approx([0, 0.25, 0.5], abs=1e-5)


@pytest.mark.parametrize("knobs,text", [({"fraction": 0.005}, "fraction is 0.005"), ({"fraction": 0.4}, "0.4"),
                                        ({"volume": 0}, "volume is 0"), ({"contrast": 0}, "contrast is 0"),
                                        ({"noise": -1}, "noise is -1"), ({"bias": -1}, "bias is -1"),
                                        ({"bias": 4.0}, "strength is 1.0")])
def test_knobs_that_make_no_sense_are_refused(knobs, text):
    with pytest.raises(ValueError, match=text):
        prostate.draw(4, seeded(), **knobs)
    with pytest.raises(ValueError, match="number of patients is 0"):
        prostate.draw(0, seeded())
