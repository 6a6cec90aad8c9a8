"""Pelvic MRI: truth that fits the image, zones in their order, classes as asked, knobs that do what they say."""

import math
from dataclasses import replace

import pytest
import torch

from companion.datasets.phantoms import pelvis, pelvis_atlas, pelvis_bowel, pelvis_layers, pelvis_uterus
from companion.mri import spin_echo

SMALL = (64, 64)
PIXEL = (pelvis.FIELD / 64) ** 2  # mm2


def seeded(number=0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def drawn() -> pelvis.Pelvis:
    return pelvis.draw(40, seeded())


@pytest.fixture(scope="module")
def cases(drawn):
    return pelvis.render(drawn, SMALL)


@pytest.fixture(scope="module")
def plain(drawn):
    """No noise, no bias field, all tissues at their mean T2, nothing but uterus and tumour in the uterus."""
    healthy = replace(drawn.uterus, fibroids=0 * drawn.uterus.fibroids)
    return replace(drawn, noise=0 * drawn.noise, bias=drawn.bias * 0 + 1, t2=drawn.t2 * 0 + 1, uterus=healthy)


def signal(tissue: str) -> float:
    return spin_echo(pelvis_layers.SEEN[tissue], pelvis_layers.TR, pelvis_layers.TE).item()


# The set


def test_cases_are_complete(cases):
    assert cases.images.shape == (40, 1, 64, 64) and cases.images.dtype == torch.float32
    assert cases.classes == ("no tumour", "tumour") and cases.spacing == (3.75, 3.75) and cases.unit == ""
    assert 0 <= cases.images.min() < 0.02 and 0.6 < cases.images.max() < 1.2
    assert set(cases.masks) == {"uterus", "tumour", "bladder", "rectum"}
    assert all(mask.any() and mask.dtype == torch.bool for mask in cases.masks.values())
    assert cases.patients.tolist() == list(range(40))


@pytest.mark.parametrize("n,share", [(2, 0.5), (7, 0.5), (10, 0.3), (4, 0.0), (3, 1.0)])
def test_the_share_of_tumours_is_met_to_one_case(n, share):
    assert pelvis.draw(n, seeded(n), tumours=share).labels.sum() == round(share * n)


def test_label_mask_and_box_agree(cases):
    seen = cases.masks["tumour"].flatten(1).any(1)
    assert torch.equal(seen, cases.labels == 1) and [len(b) for b in cases.boxes] == cases.labels.tolist()
    for mask, box, label in zip(cases.masks["tumour"], cases.boxes, cases.box_labels, strict=True):
        for x0, y0, x1, y1 in box.long().tolist():
            inside = torch.zeros_like(mask)
            inside[y0:y1, x0:x1] = True
            assert not (mask & ~inside).any() and label.tolist() == [1]
            assert mask[y0].any() and mask[y1 - 1].any() and mask[:, x0].any() and mask[:, x1 - 1].any()


def test_same_seed_same_bits_and_the_generator_advances():
    one, two = (pelvis.make(3, seeded(5), SMALL) for _ in range(2))
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
    generator = seeded(5)
    first, second = (pelvis.make(3, generator, SMALL) for _ in range(2))
    assert torch.equal(first.images, one.images) and not torch.equal(first.images, second.images)


def test_an_image_does_not_depend_on_its_batch(drawn, cases, monkeypatch):
    monkeypatch.setattr(pelvis, "CHUNK_PIXELS", 1)
    alone = pelvis.render(drawn.of(torch.tensor([17, 3])), SMALL)
    torch.testing.assert_close(alone.images, cases.images[[17, 3]], atol=1e-4, rtol=0)
    assert (alone.masks["uterus"] != cases.masks["uterus"][[17, 3]]).sum() <= 1


@pytest.mark.parametrize("size", [(33, 80), (160, 160)])
def test_any_size_on_any_device(size, device):
    few = pelvis.render(pelvis.draw(2, seeded()).to(device), size)
    assert few.images.shape == (2, 1, *size) and few.images.device.type == device.type
    assert few.spacing == (240 / size[0], 240 / size[1])


# Anatomy


def test_the_mask_is_where_the_tumour_changes_the_image(drawn, cases):
    without = pelvis.render(drawn, SMALL, lesions=False)
    change = (cases.images - without.images)[:, 0].abs()
    mask = cases.masks["tumour"]
    near = torch.nn.functional.max_pool2d(mask.float(), 3, 1, 1) > 0                # with its soft edge
    assert not without.masks["tumour"].any() and change[~near].max() < 1e-6
    assert (change[mask] > 0.01).float().mean() > 0.8
    assert torch.equal(without.masks["uterus"], cases.masks["uterus"])


def test_the_tumour_lies_in_the_uterus_and_organs_do_not_overlap(cases):
    masks = cases.masks
    assert not (masks["tumour"] & ~masks["uterus"]).any()
    for other in ("bladder", "rectum"):
        assert not (masks[other] & masks["uterus"]).any()


def test_a_tumour_that_fits_has_the_area_of_its_ellipse(drawn):
    uterus = replace(drawn.uterus, tumour=torch.tensor([[0.7, 0.0, 14.0, 9.0]]).repeat(40, 1),
                     lateral=torch.zeros(40), girths=torch.full((40, 2), 22.0))
    found = pelvis.render(replace(drawn, uterus=uterus), (128, 128)).masks["tumour"].flatten(1).sum(1)
    area = found * (pelvis.FIELD / 128) ** 2 / drawn.scale.prod(1)                 # the body is stretched by so much
    assert area.mean().item() == pytest.approx(math.pi * 14 * 9, rel=0.05)
    assert area.std().item() < 0.25 * math.pi * 14 * 9                              # by margin and deformation


def test_organs_have_plausible_sizes(cases):
    area = {name: mask.flatten(1).sum(1) * PIXEL / 100 for name, mask in cases.masks.items()}      # cm2
    assert (area["uterus"] > 18).all() and (area["uterus"] < 60).all()
    assert (area["bladder"] > 1).all() and (area["bladder"] < 35).all()
    sick = area["tumour"][cases.labels == 1]
    assert sick.min() > 0.8 and 8 < sick.max() < 20 and sick.max() > 3 * sick.min()


def test_signals_of_the_zones_have_the_order_of_t2_weighting(plain):
    """Urine, endometrium, fat, myometrium, junctional zone from bright to dark, the tumour between the middle two."""
    cases = pelvis.render(plain, (128, 128))
    image, uterus = cases.images[:, 0], cases.masks["uterus"]
    assert image[cases.masks["bladder"]].median().item() == pytest.approx(signal("fluid"), abs=0.01)
    assert image[cases.masks["tumour"]].median().item() == pytest.approx(signal("tumour"), abs=0.02)
    rim = uterus & (torch.nn.functional.max_pool2d((~uterus).float(), 5, 1, 2) > 0) \
        & ~(torch.nn.functional.max_pool2d((~uterus).float(), 3, 1, 1) > 0) & ~cases.masks["tumour"]
    assert image[rim].median().item() == pytest.approx(signal("myometrium"), abs=0.03)
    order = ["fluid", "endometrium", "fat", "tumour", "myometrium", "junctional zone", "muscle"]
    values = [signal(name) for name in order]
    assert values == sorted(values, reverse=True) and signal("fat") == pytest.approx(0.46, abs=0.01)


def test_subcutaneous_fat_is_bright_and_air_is_black(plain):
    image = pelvis.render(plain, SMALL).images[:, 0]
    assert image[:, 62:, :8].max() < 1e-4                                           # below and before the patient
    assert image[:, 50:, 56:60].mean().item() == pytest.approx(signal("fat"), abs=0.04)   # buttock


def test_the_window_holds_the_whole_uterus(monkeypatch):
    many = pelvis.draw(150, seeded(4))
    mask = pelvis.render(many, SMALL).masks["uterus"]
    monkeypatch.setattr(pelvis, "WINDOW", pelvis.FIELD)
    assert torch.equal(pelvis.render(many, SMALL).masks["uterus"], mask)


def test_some_uteri_are_retroverted_and_tumours_reach_into_the_wall():
    uterus = pelvis.draw(500, seeded(2)).uterus
    back = uterus.angles[:, 1] < 0
    assert 0.14 < back.float().mean() < 0.27
    path = pelvis_uterus.axis(uterus)
    assert (path[back][:, -1, 1] > path[back][:, 0, 1]).all() and (path[~back][:, -1, 1] < path[~back][:, 0, 1]).all()
    steps = (path[:, 1:] - path[:, :-1]).norm(dim=-1).sum(1)
    torch.testing.assert_close(steps, uterus.lengths.sum(1))
    sick = uterus.tumour[:, 2] > 0
    assert sick.sum() == 250 and (uterus.depths[sick].amax(1) > 0.3).all() and not uterus.depths[~sick].any()
    assert (uterus.depths.amax(1) > 0.5).sum() > 100                                # deep invasion


def test_distance_to_a_straight_axis_by_hand():
    path = torch.tensor([[[0.0, 0.0], [-10.0, 0.0], [-20.0, 0.0]]])
    points = torch.tensor([[[[0.0, 3.0], [-5.0, -4.0], [-15.0, 0.0], [-23.0, 4.0]]]])
    along, aside = pelvis_uterus._coordinates(points, path)
    torch.testing.assert_close(along[0, 0], torch.tensor([0, 0.25, 0.75, 1.0]))
    torch.testing.assert_close(aside[0, 0], torch.tensor([3.0, 4, 0, 5]))
    point, angle = pelvis_uterus._at(path, torch.tensor([0.75]), torch.tensor([2.0]))
    assert point.tolist() == [[-15, 2]] and angle.abs().item() < 1e-6               # posterior of the axis


# Slices of one patient


def test_slices_of_a_patient_share_the_patient_and_show_the_tumour_where_it_is():
    cases = pelvis.render(pelvis.draw(6, seeded(3), slices=7, tumours=1.0), SMALL)
    assert cases.patients.tolist() == [p for p in range(6) for _ in range(7)]
    assert torch.equal(cases.masks["tumour"].flatten(1).any(1), cases.labels == 1) and 6 < cases.labels.sum() < 42
    area = cases.masks["uterus"].flatten(1).sum(1).view(6, 7).float()
    assert (area.argmax(1) - 3).abs().max() <= 1 and (area[:, [0, 6]] < 0.85 * area[:, 3:4]).all()
    assert torch.equal(cases.parameters.offsets[:7], torch.arange(-3.0, 4) * pelvis.SLICE)


def test_tumour_volume_from_slices_matches_the_ellipsoid(drawn):
    index = torch.arange(6).repeat_interleave(11)
    many = drawn.of(index)
    uterus = replace(many.uterus, tumour=torch.tensor([[0.7, 0.0, 16.0, 11.0]]).repeat(66, 1), girths=torch.full(
        (66, 2), 30.0), lateral=torch.zeros(66))
    offsets = torch.arange(-5.0, 6).repeat(6) * 2.2
    mask = pelvis.render(replace(many, uterus=uterus, offsets=offsets), (128, 128)).masks["tumour"]
    volume = mask.flatten(1).sum(1).view(6, 11).sum(1) * (pelvis.FIELD / 128) ** 2 * 2.2 / drawn.scale[:6].prod(1)
    assert volume.mean().item() == pytest.approx(4 / 3 * math.pi * 16 * 11 * 11, rel=0.1)


# Knobs


def test_contrast_separates_tumour_and_myometrium(drawn, plain):
    def difference(contrast):
        image = pelvis.render(replace(plain, contrast=torch.full((40,), contrast)), SMALL)
        return image.images[:, 0][image.masks["tumour"]].mean().item() - signal("myometrium")

    hidden, faint, natural, strong = (difference(c) for c in (0.0, 0.5, 1.0, 1.6))
    assert abs(hidden) < 0.02 < faint < natural < strong and natural > 0.05
    assert torch.equal(pelvis.draw(2, seeded(), contrast=0.4).contrast, torch.tensor([0.4, 0.4]))


def test_noise_and_bias_have_the_asked_strength():
    loud, quiet = (pelvis.draw(4, seeded(), noise=x, bias=0.0) for x in (2.0, 0.0))
    difference = pelvis.render(loud, SMALL).images - pelvis.render(quiet, SMALL).images
    bright = pelvis.render(quiet, SMALL).images > 0.3
    assert difference[bright].std().item() == pytest.approx(2 * pelvis.SIGMA, rel=0.05)
    one, two = difference[:2, bright[0] & bright[1]]
    assert torch.corrcoef(torch.stack([one, two]))[0, 1].abs() < 0.05               # each image has its own
    fields = [pelvis.draw(20, seeded(), bias=b).bias for b in (0.0, 1.0, 2.0)]
    assert [(f - 1).abs().amax().item() for f in fields] == pytest.approx([0, 0.25, 0.5], abs=1e-5)


def test_diameter_changes_the_area(cases):
    small, large = (pelvis.make(40, seeded(), SMALL, diameter=d).masks["tumour"].sum() for d in (0.6, 1.4))
    assert small < 0.6 * cases.masks["tumour"].sum() < cases.masks["tumour"].sum() < large


@pytest.mark.parametrize("knobs,text", [({"diameter": 0}, "diameter is 0"), ({"slices": 0}, "slices is 0"),
                                        ({"contrast": -1}, "contrast is -1"), ({"noise": -1}, "noise is -1"),
                                        ({"bias": -0.1}, "bias is -0.1"), ({"bias": 4.0}, "strength is 1.0"),
                                        ({"tumours": 1.2}, "tumours is 1.2")])
def test_knobs_that_make_no_sense_are_refused(knobs, text):
    with pytest.raises(ValueError, match=text):
        pelvis.draw(4, seeded(), **knobs)
    with pytest.raises(ValueError, match="number of patients is 0"):
        pelvis.draw(0, seeded())


# The atlas and the mosaic


def test_the_polygon_has_signed_distances():
    points = torch.tensor([[[0.0, 0.0], [2.0, 3.0], [7.0, 0.0]]])
    square = torch.tensor([[-4.0, -5.0], [-4, 5], [4, 5], [4, -5]])
    torch.testing.assert_close(pelvis_atlas._inside(points, square), torch.tensor([[-4.0, -2, 3]]), atol=2e-3, rtol=0)


def test_curves_pass_through_their_control_points():
    control = ((0, 0), (10, 0), (20, 10))
    curve = pelvis_atlas._curve(control)
    assert len(curve) == 13 and torch.equal(curve[::6], torch.tensor(control).float())
    assert torch.allclose(pelvis_atlas._curve(((0, 0), (1, 0), (2, 0)))[:, 0].diff(), torch.tensor(1 / 6))


def test_the_atlas_has_its_parts_in_their_places():
    place = {"urethra": (50, -14), "vagina": (48, 5), "marrow": (24, -41), "discs": (-88, 48), "skin": (0, 0),
             "cavity": (-60, 0), "rectum": (22, 60), "sac": (-100, 70)}
    names, _ = pelvis_atlas.maps()
    far = pelvis_atlas.at(torch.tensor([list(place.values())]).float()[None].view(1, 1, -1, 2))
    assert set(far) == set(names) and all(far[name][0, 0, i] < 1.5 for i, name in enumerate(place))
    outside = pelvis_atlas.at(torch.tensor([[[[120.0, -100.0]]]]))
    assert all(value.item() > 10 for name, value in outside.items() if name != "ampulla")


def test_loops_of_bowel_fill_most_of_the_mosaic():
    loop, content = pelvis_bowel.mosaic()
    assert 0.5 < (loop < 0).float().mean() < 0.9 and content.max() <= 1
    points = torch.zeros(2, 1, 1, 2)
    found, _ = pelvis_bowel.loops(points, torch.zeros(2), torch.tensor([[0.0, 0.0], [100.0, -100.0]]))
    torch.testing.assert_close(found.flatten(), torch.stack([loop[225, 225], loop[375, 75]]))
