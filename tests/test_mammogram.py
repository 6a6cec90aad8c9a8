"""Mammograms: truth that fits the image, findings of their kind in their place, knobs that do what they say."""

import math
from dataclasses import replace

import pytest
import torch

from companion.datasets.phantoms import breast, breast_geometry, mammogram, mammogram_lesions, mammogram_paint
from companion.datasets.phantoms.mammogram_lesions import KINDS

SIZE = (192, 128)
STEP = 240 / 192


def seeded(number=0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def drawn() -> mammogram.Findings:
    return mammogram.draw(18, seeded())


@pytest.fixture(scope="module")
def cases(drawn):
    return mammogram.render(drawn, SIZE)


@pytest.fixture(scope="module")
def proposed():
    return mammogram.draw_candidates(12, seeded(1), masses=1.0, found=0.8)


@pytest.fixture(scope="module")
def patches(proposed):
    return mammogram.render_candidates(proposed, (40, 40), 1.25)


@pytest.fixture(scope="module")
def looks() -> mammogram_lesions.Lesion:
    return mammogram_lesions.draw(torch.arange(9).repeat(60), seeded(2))


def test_cases_are_complete(cases, drawn):
    assert cases.images.shape == (18, 1, *SIZE) and cases.images.dtype == torch.float32
    assert cases.images.min() >= 0 and cases.images.max() <= 1 and cases.unit == "brightness"
    assert cases.spacing == (1.25, 1.25) and cases.classes == ("normal", "benign", "malignant")
    assert cases.patients.tolist() == [i // 2 for i in range(18)] and torch.equal(cases.labels, drawn.labels)
    assert set(cases.masks) == {"breast", "muscle", "mass", "calcifications"} and cases.masks["muscle"].any()
    assert not (cases.masks["muscle"] & ~cases.masks["breast"]).any()


@pytest.mark.parametrize("n", [3, 7, 11])
def test_classes_are_balanced_to_one_case(n):
    counts = torch.bincount(mammogram.draw(n, seeded(n)).labels, minlength=3)
    assert counts.sum() == n and counts.max() - counts.min() <= 1


def test_a_lesion_is_marked_exactly_where_the_class_says(cases):
    marked = (cases.masks["mass"] | cases.masks["calcifications"]).flatten(1).any(1)
    assert torch.equal(marked, cases.labels > 0)
    for label, boxes, numbers in zip(cases.labels.tolist(), cases.boxes, cases.box_labels, strict=True):
        assert len(boxes) == len(numbers) == (label > 0) and (numbers == label).all()


def test_boxes_are_tight_around_the_masks(cases):
    calcified = cases.parameters.lesion.kinds[cases.parameters.lesion.kinds < 4] > 1
    marks = [cases.masks["calcifications" if c else "mass"][i] for c, i in
             zip(calcified.tolist(), (cases.labels > 0).nonzero()[:, 0].tolist(), strict=True)]
    boxes = [b[0].long().tolist() for b in cases.boxes if len(b)]
    assert 0 < calcified.sum() < len(marks) == len(boxes) == 12
    for mask, (x0, y0, x1, y1) in zip(marks, boxes, strict=True):
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        assert [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] == [x0, y0, x1, y1]


def test_left_breasts_point_right_and_right_ones_left(cases):
    wall = torch.where(cases.parameters.anatomy.left[:, None], cases.masks["breast"][:, :, 0],
                       cases.masks["breast"][:, :, -1])
    assert (wall.float().mean(1) > 0.7).all() and cases.parameters.anatomy.left[::2].all()


def test_the_mask_is_where_the_image_changes(drawn, cases):
    """A lesion changes the image in its mask; away from all findings the two renderings are the same to the bit."""
    without = mammogram.render(drawn, SIZE, lesions=False)
    change = (cases.images - without.images)[:, 0]
    assert not without.masks["mass"].any() and all(len(b) == 0 for b in without.boxes)
    assert (change[cases.masks["mass"]] > 0.005).float().mean() > 0.9
    assert (change[cases.masks["calcifications"]] > 0).float().mean() > 0.9
    assert not change[~cases.masks["breast"]].any()
    far = torch.ones(18, *SIZE, dtype=torch.bool)
    for image, place in zip(drawn.images.tolist(), (drawn.positions / STEP).long().tolist(), strict=True):
        column = place[1] if drawn.anatomy.left[image] else SIZE[1] - 1 - place[1]
        far[image, max(0, place[0] - 36):place[0] + 36, max(0, column - 36):column + 36] = False
    assert far.float().mean() > 0.3 and not change[far].any()


def test_a_mass_has_the_area_of_its_diameter(looks):
    masses = looks.of((looks.kinds < 2).nonzero()[:, 0])
    axis = ((torch.arange(240) + 0.5) * 0.25 - 30).expand(len(masses.kinds), -1)
    area = mammogram_lesions.bodies(masses, axis, axis)[1].sum((1, 2)) * 0.25 ** 2
    swell = 1 + masses.waves.square().sum((1, 2)) / 2                                # mean square of the margin
    torch.testing.assert_close(area, math.pi / 4 * masses.diameters ** 2 * swell, rtol=0.08, atol=0)


def test_the_thickness_of_a_ball_by_hand(looks):
    one = looks.of((looks.kinds == 0).nonzero()[:1, 0])
    ball = replace(one, radii=torch.tensor([[[4.0, 4.0], [0, 0], [0, 0]]]), waves=0 * one.waves, places=0 * one.places,
                   heights=torch.tensor([[8.0, 0, 0]]), edges=torch.zeros(1, 3))
    thick, inside = mammogram_lesions.bodies(ball, torch.tensor([[0.0, 4.5]]), torch.tensor([[0.0, 2.0, 4.5]]))
    torch.testing.assert_close(thick[0, 0], torch.tensor([8.0, 2 * 12 ** 0.5, 0.0]))
    assert inside[0].tolist() == [[True, True, False], [False, False, False]]
    soft = mammogram_lesions.bodies(replace(ball, edges=torch.ones(1, 3)), torch.zeros(1, 1), torch.tensor([[2.0]]))[0]
    assert soft.item() == pytest.approx(8 * 0.75 ** 1.5, rel=1e-5)


def test_a_lymph_node_has_fat_in_its_notch(looks):
    nodes = looks.of((looks.kinds == 5).nonzero()[:20, 0])
    notch = nodes.places[:, 1]
    other = -notch
    inner, outer = (mammogram_lesions.bodies(nodes, p[:, :1], p[:, 1:])[0].flatten() for p in (notch, other))
    assert (inner < 0.5 * outer).all()


def test_each_kind_looks_as_its_name_says(looks):
    def of(name):
        return looks.of((looks.kinds == KINDS.index(name)).nonzero()[:, 0])

    spiculated = [(of(n).spicule_radii > 0).flatten(1).any(1).float().mean().item() for n in KINDS]
    assert 0.4 < spiculated[1] < 0.8 and spiculated[0] < 0.2 and not any(spiculated[2:])
    assert of("malignant mass").attenuation.mean() > of("benign mass").attenuation.mean() > breast.FAT
    for name in ("benign calcifications", "malignant calcifications", "skin calcifications", "vessel calcifications"):
        assert ((of(name).speck_radii > 0).sum(1) >= 5).all() and not of(name).radii.any()
    counts = [(of(n).speck_radii > 0).sum(1).float().mean() for n in KINDS[2:4]]
    assert counts[1] > 1.5 * counts[0]
    assert not of("plain tissue").radii.any() and not of("plain tissue").speck_radii.any()
    assert (of("summation").radii > 0).all() and 0.05 < of("summation").edges.min()


def test_findings_lie_where_they_belong(proposed):
    shape, y, x = proposed.anatomy.of(proposed.images).shape, *proposed.positions[:, None].unbind(-1)
    skin = breast_geometry.skin_depth(shape, y, x)[:, 0]
    muscle = breast_geometry.muscle_depth(shape, y, x)[:, 0]
    kinds = proposed.lesion.kinds
    assert (skin > 0).all() and (skin[kinds == 1] > 9).all() and (muscle[kinds == 1] < 1).all()
    assert (muscle[kinds == 5].abs() < 20).float().mean() > 0.8 and (skin[kinds == 6] < 22).all()
    gap = torch.cdist(proposed.positions, proposed.positions) + 1e3 * (proposed.images[:, None] != proposed.images)
    assert gap.fill_diagonal_(1e3).amin(1).median() > 22


def test_contrast_dose_and_diameter_do_what_they_say():
    def inside(**knobs):
        findings = mammogram.draw(9, seeded(4), density=1, **knobs)
        lesion, plain = (mammogram.render(findings, SIZE, lesions=flag) for flag in (True, False))
        mask = lesion.masks["mass"]
        return (lesion.images - plain.images)[:, 0][mask].mean().item(), mask.sum().item()

    faint, natural, strong = (inside(contrast=c)[0] for c in (0.3, 1.0, 1.5))
    assert 0 < faint < 0.5 * natural < natural < strong
    small, usual, large = (inside(diameter=d)[1] for d in (0.6, 1.0, 1.4))
    assert 2 * small < usual < large / 1.5

    def grain(dose):
        calm, noisy = (mammogram.render(replace(mammogram.draw(2, seeded(5)), dose=d), SIZE) for d in (1e9, dose))
        return (calm.images - noisy.images).std().item()

    assert grain(0.001) > 1.8 * grain(0.004) > 0


def test_a_mass_takes_the_place_of_the_tissue_around_it(looks):
    ball = looks.of((looks.kinds == 0).nonzero()[:1, 0])
    for category in (0, 3):
        scene = breast.render(breast.draw(1, seeded(6), category), SIZE)
        place = torch.tensor([[110.0, 50.0]])
        painted = mammogram_paint.paint(replace(ball, speck_radii=0 * ball.speck_radii, spicule_radii=torch.zeros(
            1, 30, 2)), torch.tensor([0]), place, scene)
        away = [(torch.arange(s) + 0.5)[None] * STEP - p for s, p in zip(SIZE, (110, 50), strict=True)]
        body = mammogram_lesions.bodies(ball, *away)[0]
        fat = scene.thickness - scene.skin - scene.muscle - scene.gland
        local = (breast.FAT * fat + breast.GLAND * scene.gland) / (fat + scene.gland).clamp_min(1e-3)
        expected = body * (ball.attenuation - local)
        assert body.max() > 5
        torch.testing.assert_close(painted.added, expected, atol=1e-4, rtol=1e-3)


def test_calcium_adds_its_volume_to_the_line_integrals(looks):
    clusters = looks.of((looks.kinds == 3).nonzero()[:1, 0])
    scene = breast.render(breast.draw(1, seeded()), (480, 320))
    place = torch.tensor([[130.0, 50.0]])
    painted = mammogram_paint.paint(clusters, torch.tensor([0]), place, scene)
    volume = 4 / 3 * math.pi * clusters.speck_radii.pow(3).sum().item()
    assert (painted.added.sum().item() * 0.25) == pytest.approx(
        volume * (mammogram_paint.CALCIUM - breast.GLAND), rel=1e-3)


def test_same_seed_same_bits_and_the_generator_advances():
    one, two = (mammogram.make(3, seeded(5), (96, 64)) for _ in range(2))
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
    generator = seeded(5)
    first, second = (mammogram.make(3, generator, (96, 64)) for _ in range(2))
    assert torch.equal(first.images, one.images) and not torch.equal(first.images, second.images)


def test_an_image_does_not_depend_on_its_batch(drawn, cases, monkeypatch):
    monkeypatch.setattr(mammogram, "CHUNK_PIXELS", 1)
    alone = mammogram.render(drawn.of(torch.tensor([3, 16])), SIZE)
    torch.testing.assert_close(alone.images, cases.images[[3, 16]], atol=1e-4, rtol=0)
    assert (alone.masks["mass"] != cases.masks["mass"][[3, 16]]).sum() <= 1
    assert torch.equal(alone.labels, cases.labels[[3, 16]])


def test_candidates_hold_what_a_froc_curve_needs(proposed, patches):
    assert patches.classes == ("false candidate", "malignant mass") and patches.images.shape[1:] == (1, 40, 40)
    shown, masses = proposed.candidate, proposed.lesion.kinds == 1
    assert torch.equal(patches.labels, masses[shown].long()) and len(patches) == shown.sum() < len(shown)
    assert torch.equal(proposed.masses_per_image, torch.bincount(proposed.images[masses], minlength=12))
    assert (torch.bincount(proposed.images[~masses]) == 10).all() and shown[~masses].all()
    assert torch.equal(patches.patients, proposed.images[shown] // 2)
    many = mammogram.draw_candidates(300, seeded(3), masses=0.6, false=2, found=0.7)
    true = many.lesion.kinds == 1
    assert 0.6 < many.candidate[true].float().mean() < 0.8 and 0.45 < true.sum() / 300 < 0.7


def test_a_patch_is_cut_from_its_mammogram(proposed, patches):
    whole = mammogram.render(proposed, (192, 128))
    chosen = proposed.candidate.nonzero()[:, 0]
    places, images = proposed.positions[chosen] + proposed.offsets[chosen], proposed.images[chosen]
    free = ((places - 28 > 0) & (places + 28 < torch.tensor([240.0, 102.0]))).all(1)  # 128 mm or less were rendered
    assert free.sum() > 10
    for i in free.nonzero()[:, 0].tolist():
        row, column = (places[i] / 1.25).round().long().tolist()
        left = proposed.anatomy.left[images[i]]
        image, mask = (t[images[i]] if left else t[images[i]].flip(1) for t in (
            whole.images[:, 0], whole.masks["mass"]))
        window = slice(row - 20, row + 20), slice(column - 20, column + 20)
        patch = patches.images[i, 0] if left else patches.images[i, 0].flip(1)
        assert (patch - image[window]).abs().median() < 0.02
        own = patches.masks["mass"][i] if left else patches.masks["mass"][i].flip(1)
        assert (own & ~mask[window]).sum() <= 2


def test_patches_of_false_candidates_have_no_mask_and_no_box(patches):
    empty = ~patches.masks["mass"].flatten(1).any(1)
    assert torch.equal(empty, patches.labels == 0)
    assert [len(b) for b in patches.boxes] == patches.labels.tolist() == [len(b) for b in patches.box_labels]
    for mask, box in zip(patches.masks["mass"], patches.boxes, strict=True):
        if len(box):
            x0, y0, x1, y1 = box[0].long().tolist()
            assert mask[y0:y1, x0:x1].sum() == mask.sum() and mask[y0].any() and mask[:, x1 - 1].any()


@pytest.mark.parametrize("size", [(48, 32), (81, 60), (60, 90)])
def test_any_size_and_device(size, device):
    few = mammogram.render(mammogram.draw(3, seeded()).to(device), size)
    assert few.images.shape == (3, 1, *size) and few.images.device.type == device.type
    cut = mammogram.render_candidates(mammogram.draw_candidates(1, seeded()).to(device), (20, 24), 2.0)
    assert cut.images.shape[1:] == (1, 20, 24) and cut.spacing == (2.0, 2.0)


@pytest.mark.parametrize("knob", ["contrast", "dose", "diameter"])
def test_knobs_that_make_no_sense_are_refused(knob):
    for draw in (mammogram.draw, mammogram.draw_candidates):
        with pytest.raises(ValueError, match=f"{knob} is 0"):
            draw(2, seeded(), **{knob: 0})
    with pytest.raises(ValueError, match="number of cases is 0"):
        mammogram.draw(0, seeded())
    with pytest.raises(ValueError, match="found is 0"):
        mammogram.draw_candidates(2, seeded(), found=0)
    with pytest.raises(ValueError, match="density is 7"):
        mammogram.draw(2, seeded(), density=7)
