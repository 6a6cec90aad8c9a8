"""Sections with lesions of hidden types: sites that suit the type, boxes that fit, nothing given away."""

from dataclasses import replace

import pytest
import torch

from companion.datasets.phantoms import abdomen_geometry, lesion, lesion_sites, lung_geometry

SMALL = {"size": (64, 84), "spacing": (4.5, 4.5)}
TYPES = range(len(lesion_sites.TYPES))


def seeded(number=0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def drawn() -> lesion.Sections:
    return lesion.draw(12, seeded(), more=0.6)


@pytest.fixture(scope="module")
def cases(drawn):
    return lesion.render(drawn, **SMALL)


@pytest.fixture(scope="module")
def many() -> lesion.Sections:
    return lesion.draw(240, seeded(3))


def test_cases_are_complete_and_hide_the_type(cases, drawn):
    assert cases.images.shape == (12, 1, 64, 84) and cases.unit == "HU" and cases.spacing == (4.5, 4.5)
    assert -1024 <= cases.images.min() and 300 < cases.images.max() < 1500
    assert all(not kinds.any() for kinds in cases.box_labels) and "lesion" in cases.masks
    counts = (drawn.types >= 0).sum(1)
    assert torch.equal(cases.labels, counts) and [len(b) for b in cases.boxes] == counts.tolist()
    assert counts.max() == 3 and counts.min() >= 1 and cases.classes[cases.labels[0]].endswith(("lesion", "lesions"))


def test_boxes_hold_the_mask_and_nothing_else(cases):
    for mask, boxes in zip(cases.masks["lesion"], cases.boxes, strict=True):
        rest = mask.clone()
        for x0, y0, x1, y1 in boxes.long().tolist():
            part = mask[y0:y1, x0:x1]
            assert part.any(0).all() and part.any(1).all()                           # tight
            rest[y0:y1, x0:x1] = False
        assert not rest.any()


def test_boxes_lie_where_the_lesions_were_put(drawn, cases):
    for i, boxes in enumerate(cases.boxes):
        there = drawn.types[i] >= 0
        middle = (boxes[:, [1, 0]] + boxes[:, [3, 2]] - 1) / 2                       # row, column
        place = (middle - (torch.tensor([64, 84]) - 1) / 2) * 4.5 + drawn.centres[i, 1:]
        assert (place - drawn.lesions.centres[i, there, 1:]).norm(dim=1).max() < 5


def test_the_mask_is_where_the_image_changes(drawn, cases):
    without = lesion.render(drawn, lesions=False, **SMALL)
    change = (cases.images - without.images)[:, 0].abs()
    grown = torch.nn.functional.max_pool2d(cases.masks["lesion"].float(), 5, 1, 2) > 0
    assert not without.masks["lesion"].any() and (without.labels == 0).all()
    assert not change[~grown].any() and (change[cases.masks["lesion"]] > 10).float().mean() > 0.85


def test_first_types_are_balanced_and_fit_the_region(many):
    assert torch.bincount(many.types[:, 0]).tolist() == [40] * 6
    chest = torch.isin(many.types, torch.tensor(lesion_sites.CHEST)) | (many.types < 0)
    belly = torch.isin(many.types, torch.tensor(lesion_sites.ABDOMEN)) | (many.types < 0)
    assert chest[many.inside].all() and belly[~many.inside].all()
    more = (many.types[:, 1:] >= 0).float().mean(0)
    assert 0.15 < more[0] < 0.36 and 0.02 < more[1] < more[0]
    assert (many.types[:, 1] >= 0).any() and lesion.draw(60, seeded(), more=0).types[:, 1:].max() == -1


@pytest.mark.parametrize("kind,part,low,high", [(0, "lung", -99, -2), (1, "lung", -6, 60), (2, "liver", -99, -3),
                                                (3, "kidney", -14, 3), (4, "spine", -30, -2), (5, "aorta", 3, 40)])
def test_sites_suit_the_type(many, kind, part, low, high):
    mine = (many.types[:, 0] == kind) & (many.inside | (kind > 1))
    places = many.lesions.centres[:, :1]
    chest = lung_geometry.distances(many.chest.scale, many.chest.fat, places)
    belly = abdomen_geometry.distances(many.abdomen, places)
    far = torch.where(many.inside, *(d.get(part, torch.zeros(len(places), 1))[:, 0] for d in (chest, belly)))[mine]
    assert ((far > low) & (far < high)).float().mean() > 0.9


def test_lesions_of_a_section_lie_apart(many):
    gaps = torch.cdist(many.lesions.centres, many.lesions.centres)
    there = many.types >= 0
    reach = many.lesions.radii.amax(-1)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        both = there[:, a] & there[:, b]
        assert (gaps[:, a, b] > reach[:, a] + reach[:, b] - 2)[both].all()


def test_values_are_in_the_stated_range():
    types = torch.arange(6).repeat_interleave(300)
    hu = lesion_sites.values(types, seeded(), 1.0).view(6, 300)
    for kind in TYPES:
        first, second, share, around = lesion_sites.VALUES[kind]
        in_second = (hu[kind] >= second[0]) & (hu[kind] <= second[1])
        in_first = (hu[kind] >= first[0]) & (hu[kind] <= first[1])
        assert (in_first | in_second).all() and (first == second or abs(in_second.float().mean() - share) < 0.1)
    half = lesion_sites.values(types, seeded(), 0.5).view(6, 300)
    around = torch.tensor([v[3] for v in lesion_sites.VALUES])[:, None]
    torch.testing.assert_close(half - around, (hu - around) / 2)


def test_contrast_dose_and_diameter_do_what_they_say():
    def shown(**knobs):
        sections = lesion.draw(12, seeded(2), more=0, **knobs)
        sections = replace(sections, noise=0 * sections.noise).of((~sections.inside).nonzero()[:, 0])
        with_, without = (lesion.render(sections, **SMALL, lesions=flag) for flag in (True, False))
        mask = with_.masks["lesion"]
        return (with_.images - without.images)[:, 0].abs()[mask].mean().item(), mask.sum().item()

    faint, natural, strong = (shown(contrast=c)[0] for c in (0.4, 1.0, 1.5))
    assert faint < 0.7 * natural < natural < strong
    small, usual, large = (shown(diameter=d)[1] for d in (0.7, 1.0, 1.4))
    assert 1.4 * small < usual < large / 1.4
    assert [lesion.draw(1, seeded(), dose=d).noise.item() for d in (0.25, 1.0, 4.0)] == [30, 15, 7.5]


def test_same_seed_same_bits_and_the_generator_advances():
    one, two = (lesion.make(3, seeded(5), **SMALL) for _ in range(2))
    assert torch.equal(one.images, two.images) and torch.equal(one.parameters.types, two.parameters.types)
    generator = seeded(5)
    first, second = (lesion.make(3, generator, **SMALL) for _ in range(2))
    assert torch.equal(first.images, one.images) and not torch.equal(first.images, second.images)


def test_an_image_does_not_depend_on_its_batch(drawn, cases, monkeypatch):
    monkeypatch.setattr(lesion, "CHUNK_PIXELS", 1)
    alone = lesion.render(drawn.of(torch.tensor([7, 3])), **SMALL)
    torch.testing.assert_close(alone.images, cases.images[[7, 3]], atol=0.5, rtol=0)


def test_renders_on_any_device(device):
    few = lesion.render(lesion.draw(3, seeded()).to(device), (40, 50), (7.0, 7.0))
    assert few.images.shape == (3, 1, 40, 50) and few.images.device.type == device.type
    assert all(box.device.type == device.type for box in few.boxes)


@pytest.mark.parametrize("knob", ["contrast", "dose", "diameter"])
def test_knobs_that_make_no_sense_are_refused(knob):
    with pytest.raises(ValueError, match=f"{knob} is 0"):
        lesion.draw(4, seeded(), **{knob: 0})
    with pytest.raises(ValueError, match="number is 0"):
        lesion.draw(0, seeded())
    with pytest.raises(ValueError, match="chance of more lesions is 1.5"):
        lesion.draw(2, seeded(), more=1.5)
