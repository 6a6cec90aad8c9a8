"""Chest radiographs: truth that fits the image, hospitals that differ, knobs that do what they say."""

from dataclasses import replace

import pytest
import torch

from companion.datasets.phantoms import chest, chest_film, chest_signs, thorax

SIZE = 48


def seeded(number=0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def drawn() -> chest.Radiographs:
    return chest.draw(40, seeded(), hospital="both")


@pytest.fixture(scope="module")
def cases(drawn):
    return chest.render(drawn, SIZE)


@pytest.fixture(scope="module")
def many() -> chest.Radiographs:
    return chest.draw(1000, seeded(3), hospital="both", prevalence=1.0)


def test_cases_are_complete(drawn, cases):
    assert cases.images.shape == (40, 1, SIZE, SIZE) and cases.images.dtype == torch.float32
    assert cases.images.min() >= 0 and cases.images.max() <= 1 and cases.images.amax((1, 2, 3)).min() > 0.9
    assert cases.classes == ("normal", "tuberculosis") and cases.spacing == (thorax.FIELD / SIZE,) * 2
    assert cases.patients.unique().numel() == 40 and cases.labels.sum() == 20
    assert set(cases.masks) == {"lesion", *chest.SIGNS} and cases.parameters is drawn
    together = torch.stack([cases.masks[sign] for sign in chest.SIGNS]).any(0)
    assert torch.equal(together, cases.masks["lesion"])


@pytest.mark.parametrize("n,hospital,prevalence,ill", [(10, "A", 0.5, 5), (7, "B", 0.3, 2), (10, "A", None, 3),
                                                       (10, "B", None, 7), (20, "both", None, 10), (5, "A", 1, 5),
                                                       (5, "B", 0, 0)])
def test_prevalence_is_met(n, hospital, prevalence, ill):
    drawn = chest.draw(n, seeded(), hospital=hospital, prevalence=prevalence)
    assert drawn.labels.sum() == ill
    if hospital == "both" and prevalence is None:
        assert drawn.hospitals.sum() == n // 2 and drawn.labels[drawn.hospitals == 1].sum() == 7


def test_signs_belong_to_patients_with_tuberculosis(drawn, cases):
    shown = drawn.signs.shown
    assert not shown[drawn.labels == 0].any() and shown[drawn.labels == 1].any(1).all()
    assert (shown[:, 0] | ~shown[:, 1]).all()                                       # no cavity without consolidation
    visible = torch.stack([cases.masks[sign].flatten(1).any(1) for sign in chest.SIGNS], 1)
    assert not (visible & ~shown).any() and (visible == shown).float().mean() > 0.97
    assert cases.masks["lesion"].flatten(1).any(1)[drawn.labels == 1].all()


def test_signs_come_as_often_as_stated(many):
    share = many.signs.shown.float().mean(0)
    assert 0.65 < share[0] < 0.9 and 0.2 < share[1] < 0.4 and 0.05 < share[2] < 0.2
    assert 0.15 < share[3] < 0.45 and 0.05 < share[4] < 0.3


def test_the_mask_is_where_the_line_integrals_change(drawn, cases):
    change = chest.line_integrals(drawn, SIZE) - chest.line_integrals(drawn, SIZE, lesions=False)
    change, lesion = change[:, 0].abs(), cases.masks["lesion"]
    assert (change[lesion] > 1e-3).float().mean() > 0.98
    assert (change[~lesion] < 0.12).all() and (change[~lesion] > 0.02).float().mean() < 0.05
    assert not change[drawn.labels == 0].any()


def test_without_lesions_all_else_stays(drawn, cases):
    plain = chest.render(drawn, SIZE, lesions=False)
    healthy = drawn.labels == 0
    assert torch.equal(plain.images[healthy], cases.images[healthy]) and not plain.masks["lesion"].any()
    assert torch.equal(plain.labels, cases.labels) and all(len(b) == 0 for b in plain.boxes)


def test_boxes_are_tight_and_in_their_half(cases):
    for i, (boxes, signs) in enumerate(zip(cases.boxes, cases.box_labels, strict=True)):
        for (x0, y0, x1, y1), sign in zip(boxes.long().tolist(), signs.tolist(), strict=True):
            mask = cases.masks[chest.SIGNS[sign]][i].clone()
            mask[:, slice(SIZE // 2, None) if x1 <= SIZE // 2 else slice(0, SIZE // 2)] = False
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [x0, y0, x1, y1]
    assert sum(len(b) for b in cases.boxes) >= 20


def test_boxes_by_hand():
    masks = torch.zeros(3, 2, 6, 8, dtype=torch.bool)
    masks[0, 1, 2, 1] = masks[0, 1, 4, 2] = masks[0, 1, 3, 5] = masks[2, 0, 5, 7] = True
    boxes, signs = chest._boxes(masks)
    assert [b.tolist() for b in boxes] == [[[1, 2, 3, 5], [5, 3, 6, 4]], [], [[7, 5, 8, 6]]]
    assert [s.tolist() for s in signs] == [[1, 1], [], [0]]


def one_sign(sign, **changed):
    """Six patients of hospital A with this sign alone, and what it adds to the line integrals."""
    signs = chest.draw(400, seeded(5), prevalence=1.0)
    who = signs.signs.shown[:, chest.SIGNS.index(sign)].nonzero()[:6, 0]
    drawn = signs.of(who)
    alone = torch.zeros_like(drawn.signs.shown)
    alone[:, chest.SIGNS.index(sign)] = True
    drawn = replace(drawn, signs=replace(drawn.signs, shown=alone, **changed))
    added = chest.line_integrals(drawn, 96) - chest.line_integrals(drawn, 96, lesions=False)
    return drawn, added[:, 0], chest.render(drawn, 96).masks[sign]


def test_consolidation_lies_in_the_upper_zones():
    drawn, added, mask = one_sign("consolidation")
    z, _ = thorax.positions(drawn.anatomy, 96)
    middle = (added * z).sum((1, 2)) / added.sum((1, 2))
    assert middle.mean() > 50 and added.min() >= 0 and 0.15 < added.amax((1, 2)).mean() < 1.5


def test_a_cavity_has_a_bright_wall_and_a_lucent_middle():
    drawn, added, mask = one_sign("cavity")
    for i, (z, _, x, radius) in enumerate(drawn.signs.cavities[:, 0].tolist()):
        (row, column), pixel = place(drawn.anatomy, i, z, x), thorax.FIELD / 96
        steps = (torch.arange(-5, 6) * pixel).square()
        ring = (steps[:, None] + steps).sqrt()
        around = added[i, row - 5:row + 6, column - 5:column + 6]
        wall = around[(ring > 0.6 * radius) & (ring < 1.1 * radius)]
        assert wall.mean() > 0.05 and added[i, row, column] < wall.max() - 0.05 and mask[i, row, column]


def place(anatomy, i, z, x):
    """Row and column of a place of the average patient in the film of patient i."""
    down, across = (anatomy.scale[i, a] * v + anatomy.shift[i, a] for a, v in ((0, z), (2, x)))
    return int(48 - down / thorax.FIELD * 96), int(48 + across / thorax.FIELD * 96)


def test_miliary_nodules_are_everywhere_in_both_lungs():
    drawn, added, mask = one_sign("miliary")
    lung = thorax.render(drawn.anatomy, 96).lung > 60
    assert mask[lung].float().mean() > 0.6 and not mask[thorax.render(drawn.anatomy, 96).lung == 0].any()
    assert added.max() < 0.3
    diameter = 2 * drawn.signs.dot
    assert diameter.min() > 3 and diameter.max() < 4.2


def test_an_effusion_fills_the_sinus_and_climbs_along_the_wall():
    drawn, added, mask = one_sign("effusion", effusion=torch.tensor([[60.0, 0.0]]).expand(6, 2))
    assert mask[:, :, :48].flatten(1).any(1).all() and not mask[:, :, 48:].any()
    for i in range(6):
        columns = mask[i].any(0).nonzero()[:, 0]
        top = mask[i].int().argmax(0)
        wall, inner = int(columns.min()) + 3, int(columns.min()) + 14
        assert top[wall] < top[inner] or not mask[i, :, inner].any()


def test_lymph_nodes_lie_beside_the_mediastinum():
    drawn, added, mask = one_sign("lymph nodes")
    columns = mask.any(1).float()
    assert columns[:, 28:70].sum() == columns.sum() > 0


def test_hospitals_differ_in_dose_processing_marker_and_case_mix(many):
    ours = [many.of((many.hospitals == k).nonzero()[:, 0]) for k in (0, 1)]
    photons = [r.film.photons.mean() for r in ours]
    assert photons[0] > 3 * photons[1] and [r.film.letter.unique().tolist() for r in ours] == [[0], [1]]
    assert (ours[0].film.border == 0).all() and (ours[1].film.border > 4).all()
    few = [r.of(torch.arange(8)) for r in ours]
    same = replace(few[1], anatomy=few[0].anatomy, signs=few[0].signs)
    films = [chest.render(r, SIZE).images for r in (few[0], same)]
    assert (films[0] - films[1]).abs().mean() > 0.05
    cavities, effusions = ([r.signs.shown[:, k].float().mean() for r in ours] for k in (1, 3))
    assert effusions[1] > effusions[0] and abs(cavities[1] - cavities[0]) < 0.15
    sizes = [r.signs.puffs[..., 3][r.signs.puffs[..., 3] > 0].mean() for r in ours]
    assert sizes[1] > 1.1 * sizes[0]


@pytest.mark.parametrize("letter,half", [("L", "right"), ("R", "left")])
def test_the_marker_is_on_its_side_and_white(letter, half):
    drawn = chest.draw(3, seeded(), hospital="A" if letter == "L" else "B")
    lead = chest_film._marker(drawn.film, 96)
    columns = lead.amax((0, 1)).nonzero()
    assert (columns.min() > 64) if half == "right" else (columns.max() < 32)
    assert lead.max() > 1.2 and chest.render(drawn, 96).images[:, 0][lead > 1.2].min() > 0.9


def test_the_noise_is_that_of_the_photons():
    drawn = chest.draw(40, seeded(1))
    film = replace(drawn.film, place=drawn.film.place + 1000)                       # the marker out of the way
    for p, photons in ((0.0, 1000.0), (2.0, 60_000.0)):
        flat = torch.full((40, 32, 32), p)
        measured = chest_film.expose(flat, replace(film, photons=torch.full((40,), photons)))
        count = photons * torch.tensor(-p).exp()
        expected = (count + chest_film.ELECTRONIC_NOISE ** 2).sqrt() / count
        assert (measured - p).std() == pytest.approx(expected.item(), rel=0.03)
        assert measured.mean() == pytest.approx(p, abs=2e-3)


def test_shutters_are_black():
    film = chest.draw(1, seeded(), hospital="B").film
    film = replace(film, border=torch.tensor([[37.0, 0.0, 74.0, 18.5]]))
    image = chest_film.develop(torch.rand(1, 40, 40), film)
    lit = image[0] > 0
    assert lit.any(1).nonzero().flatten().tolist() == list(range(4, 40))
    assert lit.any(0).nonzero().flatten().tolist() == list(range(8, 38))


def test_same_seed_same_bits_and_the_generator_advances():
    one, two = (chest.make(3, seeded(5), SIZE) for _ in range(2))
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
    generator = seeded(5)
    first, second = (chest.make(3, generator, SIZE) for _ in range(2))
    assert torch.equal(first.images, one.images) and not torch.equal(first.images, second.images)


def test_an_image_does_not_depend_on_its_batch(drawn, cases, monkeypatch):
    monkeypatch.setattr(chest, "CHUNK_PIXELS", 1)
    alone = chest.render(drawn.of(torch.tensor([17, 3])), SIZE)
    torch.testing.assert_close(alone.images, cases.images[[17, 3]], atol=2e-3, rtol=0)


@pytest.mark.parametrize("size", [16, 37, 130])
def test_any_size(size, device):
    few = chest.render(chest.draw(2, seeded(), hospital="both").to(device), size)
    assert few.images.shape == (2, 1, size, size) and few.images.device.type == device.type
    assert few.images.std() > 0.1


def test_contrast_dose_and_extent_do_what_they_say():
    def added(**knobs):
        drawn = chest.draw(6, seeded(2), prevalence=1.0, **knobs)
        change = chest.line_integrals(drawn, SIZE) - chest.line_integrals(drawn, SIZE, lesions=False)
        return change.abs().sum().item(), chest.render(drawn, SIZE).masks["lesion"].sum().item()

    natural = added()
    assert added(contrast=0.3)[0] == pytest.approx(0.3 * natural[0], rel=1e-3)
    assert added(extent=0.6)[1] < 0.8 * natural[1] < 0.8 * added(extent=1.4)[1] / 1.1
    photons = [chest.draw(1, seeded(), dose=d).film.photons.item() for d in (0.25, 1.0, 4.0)]
    assert photons[1] == pytest.approx(4 * photons[0]) == pytest.approx(photons[2] / 4)
    noisy, clean = ((chest.exposures(r, SIZE) - chest.line_integrals(r, SIZE))[..., 20:40, :].std() for r in (
        chest.draw(2, seeded(), dose=0.1), chest.draw(2, seeded(), dose=10.0)))
    assert noisy > 5 * clean


@pytest.mark.parametrize("knobs,message", [({"contrast": 0}, "contrast is 0"), ({"dose": -1}, "dose is -1"),
                                           ({"extent": 0}, "extent is 0"), ({"hospital": "C"}, "no hospital 'C'"),
                                           ({"prevalence": 1.5}, "prevalence is 1.5")])
def test_knobs_that_make_no_sense_are_refused(knobs, message):
    with pytest.raises(ValueError, match=message):
        chest.draw(4, seeded(), **knobs)


def test_too_few_cases_or_pixels_are_refused(drawn):
    with pytest.raises(ValueError, match="number of cases is 0"):
        chest.draw(0, seeded())
    for function in (chest.render, chest.line_integrals):
        with pytest.raises(ValueError, match="size is 8"):
            function(drawn, 8)


def test_all_patterns_name_all_signs():
    assert all(len(chances) == len(chest.SIGNS) for chances in chest_signs.PATTERNS.values())
    assert all(sum(h.patterns) == pytest.approx(1) for h in chest_film.HOSPITALS.values())


def test_a_pair_of_equal_numbers_is_a_size_too():
    whole, pair = (chest.make(2, torch.Generator().manual_seed(0), size) for size in (32, (32, 32)))
    assert torch.equal(whole.images, pair.images)
    with pytest.raises(ValueError, match="32 x 48 pixels, but a film is square"):
        chest.make(2, torch.Generator(), (32, 48))
