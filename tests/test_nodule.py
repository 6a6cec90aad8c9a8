"""Nodules and look-alikes: truth that fits the image, classes as asked, knobs that do what they say."""

from dataclasses import replace

import pytest
import torch

from companion.datasets.phantoms import finding, lung, nodule, nodule_looks

SMALL = {"size": (20, 20, 20), "spacing": (2.0, 2.0, 2.0)}


def seeded(number=0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def drawn() -> nodule.Findings:
    return nodule.draw(24, seeded(), metastases=True)


@pytest.fixture(scope="module")
def cases(drawn):
    return nodule.render(drawn, **SMALL)


@pytest.fixture(scope="module")
def many() -> nodule.Findings:
    return nodule.draw(600, seeded(3), metastases=True)


def test_cases_are_complete(cases):
    assert cases.images.shape == (24, 1, 20, 20, 20) and cases.images.dtype == torch.float32
    assert cases.unit == "HU" and cases.spacing == (2.0, 2.0, 2.0) and cases.classes == nodule_looks.KINDS[:3]
    assert -1024 <= cases.images.min() < -800 and 30 < cases.images.max() < 1500
    assert torch.equal(cases.labels, cases.parameters.labels) and cases.masks["nodule"].flatten(1).any(1).all()


@pytest.mark.parametrize("n,metastases", [(2, False), (7, False), (9, True), (10, True)])
def test_classes_are_balanced_to_one_case(n, metastases):
    labels = nodule.draw(n, seeded(n), metastases=metastases).labels
    counts = torch.bincount(labels, minlength=3 if metastases else 2)
    assert counts.sum() == n and counts.max() - counts.min() <= 1


def test_boxes_are_tight_and_in_the_order_of_torchvision(cases):
    rows = zip(cases.masks["nodule"], cases.boxes, cases.box_labels, cases.labels, strict=True)
    for mask, box, label, number in rows:
        x0, y0, z0, x1, y1, z1 = box[0].long().tolist()
        inside = torch.zeros_like(mask)
        inside[z0:z1, y0:y1, x0:x1] = True
        assert not (mask & ~inside).any() and label.tolist() == [number]
        assert mask[z0].any() and mask[z1 - 1].any() and mask[:, y0].any() and mask[:, y1 - 1].any()
        assert mask[:, :, x0].any() and mask[:, :, x1 - 1].any()


def test_a_box_by_hand():
    mask = torch.zeros(4, 5, 6, dtype=torch.bool)
    assert nodule._box(mask).shape == (0, 6)
    mask[1, 2, 3] = mask[3, 2, 4] = True
    assert nodule._box(mask).tolist() == [[3, 2, 1, 5, 3, 4]]


def test_the_mask_is_where_the_image_changes(drawn, cases):
    """Only the nodule changes the image: in its mask, at its soft edge and along its strands."""
    without = nodule.render(drawn, lesions=False, **SMALL)
    change = (cases.images - without.images)[:, 0].abs()
    mask = cases.masks["nodule"]
    assert not without.masks["nodule"].any() and all(len(b) == 0 for b in without.boxes)
    shown = finding.layers(drawn.finding, -drawn.offsets, SMALL["size"], SMALL["spacing"])
    touched = (shown.glass > 0) | (shown.solid > 0)
    assert not change[~touched].any() and not (mask & ~touched).any()
    assert (change[mask] > 20).float().mean() > 0.8                                 # the rest lies on vessels
    smooth = (drawn.finding.strand_radii.amax((1, 2)) == 0) & (drawn.finding.core == 1)
    grown = torch.nn.functional.max_pool3d(mask[smooth].float(), 3, 1, 1) > 0
    assert smooth.sum() > 4 and not change[smooth][~grown].any()


def test_mask_volume_follows_the_diameter(drawn):
    round_ = replace(drawn.finding, heights=0 * drawn.finding.heights, strand_radii=0 * drawn.finding.strand_radii)
    fine = nodule.render(replace(drawn, finding=round_), (30, 30, 30), (1.0, 1.0, 1.0))
    volume = fine.masks["nodule"].flatten(1).sum(1)
    ball = torch.pi / 6 * drawn.diameters ** 3
    depth = lung.depth(drawn.anatomy.of(drawn.patients), drawn.positions[:, None])[0][:, 0]
    free = (depth > drawn.diameters) & (drawn.diameters < 16)
    assert free.sum() > 8 and ((volume / ball)[free] - 1).abs().max() < 0.2
    assert ((volume / ball)[~free] < 1.2).all()                                     # cut off at the pleura


def test_solid_glass_and_calcium_have_their_ct_values(many):
    large, plain = many.diameters > 9, many.finding.strand_radii.amax((1, 2)) == 0
    few = many.of(torch.cat([(flag & large & plain).nonzero()[:6, 0] for flag in (
        many.finding.core == 0, _calcified(many), (many.finding.core == 1) & ~_calcified(many))]))
    quiet = nodule.render(replace(few, noise=0 * few.noise), (24, 24, 24), (1.0, 1.0, 1.0))
    inside = [image[mask] for image, mask in zip(quiet.images[:, 0], quiet.masks["nodule"], strict=True)]
    assert all(-720 < values.median() < -430 for values in inside[:6])
    assert all(values.max() > 240 for values in inside[6:12])
    assert all(-130 < values.median() < 80 for values in inside[12:])


def _calcified(findings):
    return (findings.finding.inclusion_values[:, 0] > 200) & (findings.finding.inclusions[:, 0, 3] > 0)


def test_metastases_share_patients_and_others_do_not(many):
    per_patient = torch.bincount(many.patients)
    assert len(per_patient) == len(many.anatomy.fat) and per_patient.min() == 1
    shared = per_patient[many.patients] > 1
    assert (many.labels[shared] == 2).all() and 0.6 < shared[many.labels == 2].float().mean() < 0.95
    assert torch.equal(many.nodules_per_scan, per_patient)


def test_same_seed_same_bits_and_the_generator_advances():
    one, two = (nodule.make(3, seeded(5), **SMALL) for _ in range(2))
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
    generator = seeded(5)
    first, second = (nodule.make(3, generator, **SMALL) for _ in range(2))
    assert torch.equal(first.images, one.images) and not torch.equal(first.images, second.images)


def test_an_image_does_not_depend_on_its_batch(drawn, cases, monkeypatch):
    monkeypatch.setattr(nodule, "CHUNK_VOXELS", 1)
    alone = nodule.render(drawn.of(torch.tensor([17, 3])), **SMALL)
    torch.testing.assert_close(alone.images, cases.images[[17, 3]], atol=0.5, rtol=0)
    assert (alone.masks["nodule"] != cases.masks["nodule"][[17, 3]]).sum() <= 1


@pytest.mark.parametrize("size,spacing", [((9, 40, 31), (4.0, 1.0, 1.3)), ((1, 32, 32), (5.0, 1.5, 1.5))])
def test_any_size_and_spacing(size, spacing, device):
    few = nodule.render(nodule.draw(2, seeded()).to(device), size, spacing)
    assert few.images.shape == (2, 1, *size) and few.images.device.type == device.type


def test_contrast_dose_and_diameter_do_what_they_say():
    def inside(**knobs):
        findings = nodule.draw(4, seeded(2), **knobs)
        lesion, plain = (nodule.render(findings, lesions=flag, **SMALL) for flag in (True, False))
        mask = lesion.masks["nodule"]
        return (lesion.images - plain.images)[:, 0][mask].mean().item(), mask.sum().item()

    faint, natural, strong = (inside(contrast=c)[0] for c in (0.3, 1.0, 1.3))
    assert 0 < faint < 0.5 * natural < natural < strong
    small, usual, large = (inside(diameter=d)[1] for d in (0.6, 1.0, 1.4))
    assert 2 * small < usual < large / 1.5
    noise = [nodule.draw(1, seeded(), dose=d).noise.item() for d in (0.25, 1.0, 4.0)]
    assert noise == [50, 25, 12.5]


def test_noise_in_the_image_has_the_asked_spread(drawn):
    quiet, loud = (nodule.render(replace(drawn, noise=x + 0 * drawn.noise), **SMALL) for x in (0.0, 20.0))
    soft = quiet.images > -900                                                      # the scale ends at -1024
    assert (loud.images - quiet.images)[soft].std().item() == pytest.approx(20, rel=0.05)


def test_look_alikes_have_no_mask_and_no_box():
    cases = nodule.candidates(12, seeded(1), **SMALL)
    empty = ~cases.masks["nodule"].flatten(1).any(1)
    assert cases.labels.sum() == 6 and torch.equal(empty, cases.labels == 0)
    assert [len(b) for b in cases.boxes] == cases.labels.tolist() == [len(b) for b in cases.box_labels]
    assert torch.equal(cases.parameters.kinds < 3, cases.labels == 1)
    plain = nodule.render(cases.parameters, lesions=False, **SMALL)
    assert ((cases.images - plain.images).abs().amax((1, 2, 3, 4)) > 100).all()     # but something is there
    assert nodule.draw_candidates(10, seeded(), nodules=0.2).labels.sum() == 2


def test_scans_hold_what_a_froc_curve_needs():
    drawn = nodule.draw_scans(40, seeded(1), nodules=2.0, false=5, found=0.8)
    per_scan = torch.bincount(drawn.patients[drawn.labels == 1], minlength=40)
    assert (torch.bincount(drawn.patients[drawn.labels == 0], minlength=40) == 5).all()
    assert (per_scan <= drawn.nodules_per_scan).all() and drawn.nodules_per_scan.sum() > 50
    assert 0.65 < per_scan.sum() / drawn.nodules_per_scan.sum() < 0.92
    everything = nodule.draw_scans(10, seeded(1), found=1.0)
    assert torch.equal(torch.bincount(everything.patients[everything.labels == 1], minlength=10),
                       everything.nodules_per_scan)
    cases = nodule.scans(2, seeded(2), false=2, **SMALL)
    assert len(cases) == len(cases.parameters.positions) and set(cases.patients.tolist()) == {0, 1}


def test_the_overview_shows_the_crops_in_their_place():
    findings = nodule.draw_scans(2, seeded(6), nodules=3.0, false=2, found=1.0)
    whole = nodule.overview(findings, 1, spacing=4.0)
    mine = findings.of((findings.patients == 1).nonzero()[:, 0])
    nodules = mine.of((mine.labels == 1).nonzero()[:, 0])
    assert whole.images.shape[1:] == (1, 68, 67, 97) and len(whole.boxes[0]) <= len(nodules.labels)
    assert len(whole.boxes[0]) > 0 and (whole.box_labels[0] == 1).all()
    middle = (whole.boxes[0][:, [2, 1, 0]] + whole.boxes[0][:, [5, 4, 3]] - 1) / 2
    place = (middle - (torch.tensor([68, 67, 97]) - 1) / 2) * 4
    assert torch.cdist(place, nodules.positions).amin(1).max() < 12
    x0, y0, z0, x1, y1, z1 = whole.boxes[0][0].long().tolist()
    assert whole.masks["nodule"][0, z0:z1, y0:y1, x0:x1].any()


@pytest.mark.parametrize("knob", ["contrast", "dose", "diameter"])
def test_knobs_that_make_no_sense_are_refused(knob):
    for draw in (nodule.draw, nodule.draw_candidates, nodule.draw_scans):
        with pytest.raises(ValueError, match=f"{knob} is 0"):
            draw(4, seeded(), **{knob: 0})
    with pytest.raises(ValueError, match="number of cases is 0"):
        nodule.draw(0, seeded())
    with pytest.raises(ValueError, match="false is 0"):
        nodule.draw_scans(2, seeded(), false=0)
