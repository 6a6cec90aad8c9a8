"""Liver masses in several phases: truth that fits the image, categories that one phase confuses, knobs."""

import math
from dataclasses import replace

import pytest
import torch

from companion.datasets.phantoms import abdomen, liver, liver_masses

SMALL = {"size": (40, 40), "spacing": (2.0, 2.0)}
LOW = {"size": (12, 40, 48), "spacing": (16.0, 8.0, 8.0)}


def seeded(number=0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def drawn() -> liver.Examinations:
    return liver.draw(30, seeded(), motion=0)


@pytest.fixture(scope="module")
def cases(drawn):
    return liver.render(drawn, **SMALL)


@pytest.fixture(scope="module")
def many() -> liver.Examinations:
    return liver.draw(1000, seeded(7))


def test_cases_are_complete(cases, drawn):
    assert cases.images.shape == (30, 3, 40, 40) and cases.images.dtype == torch.float32
    assert cases.unit == "HU" and cases.spacing == (2.0, 2.0) and cases.classes == liver_masses.CATEGORIES
    assert cases.masks["mass"].flatten(1).any(1).all() and torch.equal(cases.labels, drawn.labels)
    assert not (cases.masks["mass"] & ~cases.masks["liver"]).any() and cases.images.min() >= -1024
    assert torch.bincount(cases.labels).tolist() == [6] * 5 and len(cases.patients.unique()) == 30


def test_boxes_are_tight_and_carry_the_category(cases):
    for mask, box, kind, label in zip(cases.masks["mass"], cases.boxes, cases.box_labels, cases.labels, strict=True):
        x0, y0, x1, y1 = box[0].long().tolist()
        assert kind.tolist() == [label] and mask[y0:y1, x0:x1].sum() == mask.sum()
        assert mask[y0].any() and mask[y1 - 1].any() and mask[:, x0].any() and mask[:, x1 - 1].any()


def test_boxes_by_hand():
    number = torch.zeros(1, 4, 5, 6, dtype=torch.long)
    number[0, 1, 2, 3] = number[0, 3, 2, 4] = 2
    boxes, there = liver_masses.boxes(number, 3)
    assert there.tolist() == [[False, True, False]] and boxes[0, 1].tolist() == [3, 2, 1, 5, 3, 4]


def test_the_mask_is_where_the_image_changes(drawn, cases):
    without = liver.render(drawn, lesions=False, **SMALL)
    change = (cases.images - without.images).abs().amax(1)
    grown = torch.nn.functional.max_pool2d(cases.masks["mass"].float(), 5, 1, 2) > 0
    assert not without.masks["mass"].any() and all(len(b) == 0 for b in without.boxes)
    assert torch.equal(without.masks["liver"], cases.masks["liver"])
    assert (change[~grown] > 3).float().mean() < 2e-3                               # the soft margin reaches no further
    assert (change[cases.masks["mass"]] > 3).float().mean() > 0.85                  # some masses look like liver


def test_mass_volume_follows_the_ellipsoid():
    exam = liver.draw_scans(6, seeded(3), masses=2.0, diameter=1.6)
    smooth = replace(exam.masses, rough=0 * exam.masses.rough)
    images, liver_only = torch.zeros(6, 1, 40, 70, 90), torch.ones(6, 40, 70, 90)
    number = liver_masses.paint(images, liver_only, smooth, exam.centres, [2], (4.0, 3.0, 3.0))[1]
    for k in range(3):
        found, known = liver.millilitres(number == k + 1, (4.0, 3.0, 3.0)), smooth.millilitres()[:, k]
        assert torch.equal(found > 0, known > 0)
        alone = (exam.masses.categories >= 0).sum(1) == k + 1                       # no later mass lies over it
        torch.testing.assert_close(found[alone], known[alone], atol=0.3, rtol=0.1)


def test_millilitres_of_a_ball_by_hand():
    masses = liver.draw(1, seeded()).masses
    ball = replace(masses, radii=torch.full((1, 1, 3), 10.0))
    assert ball.millilitres().item() == pytest.approx(4 / 3 * math.pi, rel=1e-5)
    assert liver.millilitres(torch.ones(2, 3, 4, 5), (8.0, 4.0, 4.0)).tolist() == pytest.approx([60 * 0.128] * 2)


def contrasts(exam) -> torch.Tensor:
    """Difference of each mass to the liver around it, without its outer part: (N, 4)."""
    return exam.masses.inner[:, 0] - abdomen.values(exam.anatomy, abdomen.PHASES)[..., 0]


def test_each_category_has_its_course(many):
    means = torch.stack([contrasts(many)[many.labels == k].mean(0) for k in range(5)])
    hcc, other, vague, hemangioma, cyst = means
    assert hcc[1] > 30 and hcc[3] < -12                                             # bright, then washed out
    assert other[1] < 0 and other[2] < -25 and vague.abs().max() < 20
    water = many.masses.inner[many.labels == 4]
    assert -2 <= water.min() and water.max() < 12 and water.std(-1).max() < 1e-3
    blood = (many.masses.outer - many.masses.inner)[many.labels == 3][:, 0]
    assert (blood[:, 1] > 60).all() and (many.masses.reach[many.labels == 3].diff(dim=-1) >= 0).all()
    assert hemangioma[0] < -8 and cyst[2] < -90


def test_one_phase_confuses_what_three_separate(many):
    """A normal distribution for each category, over the mass's mean: three phases beat the best single one."""
    m = many.masses
    seen = (m.inner + m.reach.clamp(max=1) * (m.outer - m.inner))[:, 0]
    seen = seen - abdomen.values(many.anatomy, abdomen.PHASES)[..., 0]

    def accuracy(phases):
        scores = []
        for k in range(5):
            x = seen[many.labels == k][:, phases]
            normal = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov().view(len(phases), -1)
                                                            + 25 * torch.eye(len(phases)))
            scores.append(normal.log_prob(seen[:, phases]))
        return (torch.stack(scores).argmax(0) == many.labels).float().mean().item()

    single, three = [accuracy([p]) for p in (0, 1, 3)], accuracy([0, 1, 3])
    assert max(single) < 0.72 and max(single) + 0.1 < three < 0.97, (single, three)


def test_image_values_follow_the_curves():
    exam = liver.draw(60, seeded(5), diameter=1.5, motion=0)
    exam = replace(exam, noise=0 * exam.noise, masses=replace(exam.masses, mottle=0 * exam.masses.mottle))
    shown = liver.render(exam, (32, 32), (2.0, 2.0), phases=abdomen.PHASES)
    for k in (0, 2, 4):
        mine = (exam.labels == k).nonzero()[:, 0]
        core = 1 - torch.nn.functional.max_pool2d((~shown.masks["mass"]).float(), 5, 1, 2)[mine]
        mean = (shown.images[mine] * core[:, None]).sum((2, 3)) / core.sum((1, 2)).clamp_min(1)[:, None]
        large = core.sum((1, 2)) > 12
        assert large.sum() > 5
        torch.testing.assert_close(mean[large], exam.masses.inner[mine, 0][large], atol=12, rtol=0.05)


def test_sizes_are_those_of_the_paper(many):
    across = 2 * many.masses.radii[:, 0].prod(-1) ** (1 / 3)
    assert 20 < across.mean() < 30 and across.min() > 6.5 and across.max() < 76


def test_masses_lie_in_the_liver_and_apart(many):
    exam = liver.draw_scans(60, seeded(2), masses=2.5)
    there = exam.masses.radii.amax(-1) > 0
    assert torch.equal(there, exam.masses.categories >= 0) and torch.equal(there.any(1), exam.labels > 0)
    gaps = torch.cdist(exam.masses.centres, exam.masses.centres) - exam.masses.radii.amax(-1)[:, :, None] * 0.8
    pairs = there[:, :, None] & there[:, None] & ~torch.eye(liver.MOST, dtype=torch.bool)
    assert (gaps[pairs] > 0).float().mean() > 0.97
    cut = liver.render(many.of(torch.arange(40)), **SMALL).masks["mass"]
    whole = liver.render(replace(many, labels=many.labels).of(torch.arange(40)), (1, 40, 40), (5.0, 2.0, 2.0))
    assert torch.equal(cut, whole.masks["mass"][:, 0])


def test_volumes_hold_liver_and_masses():
    cases = liver.volumes(4, seeded(1), **LOW, masses=2.5)
    assert cases.images.shape == (4, 1, 12, 40, 48) and cases.spacing == LOW["spacing"]
    assert (liver.millilitres(cases.masks["liver"], LOW["spacing"]) > 900).all()
    assert cases.classes == ("no mass", "mass") and all(box.shape[1] == 6 for box in cases.boxes)
    assert all(len(box) == len(kind) for box, kind in zip(cases.boxes, cases.box_labels, strict=True))


def test_slices_cut_a_mass_where_the_label_says_so():
    cases = liver.slices(12, seeded(4), (64, 64), (6.0, 6.0), diameter=1.5)
    assert cases.images.shape == (12, 1, 64, 64) and cases.masks["liver"].flatten(1).any(1).all()
    assert torch.equal(cases.masks["mass"].flatten(1).any(1), cases.labels == 1)
    assert torch.equal(torch.tensor([len(b) > 0 for b in cases.boxes]), cases.labels == 1)


def test_phases_are_channels(drawn, cases):
    delayed = liver.render(drawn, **SMALL, phases=("delayed",))
    torch.testing.assert_close(delayed.images, cases.images[:, 2:], atol=0.01, rtol=0)
    with pytest.raises(ValueError, match="no phase 'late'"):
        liver.render(drawn, **SMALL, phases=("late",))


def test_breathing_moves_all_phases_but_the_last():
    moved, still = (liver.draw(6, seeded(9), motion=m) for m in (1.0, 0.0))
    a, b = (liver.render(replace(e, noise=0 * e.noise), **SMALL).images for e in (moved, still))
    torch.testing.assert_close(a[:, 2], b[:, 2], atol=0.01, rtol=0)
    assert (a[:, :2] - b[:, :2]).abs().mean() > 1
    ramp = torch.arange(6.0).expand(1, 2, 6, 6, 6)
    shifted = liver._moved(ramp, torch.tensor([[[0.0, 0, 0], [1.0, 2, 1.5]]]))
    assert torch.equal(shifted[:, 0], ramp[:, 0]) and shifted[0, 1, 0, 0].tolist() == [1.5, 2.5, 3.5, 4.5, 5, 5]


def test_same_seed_same_bits_and_the_generator_advances():
    one, two = (liver.make(3, seeded(5), **SMALL) for _ in range(2))
    assert torch.equal(one.images, two.images) and torch.equal(one.labels, two.labels)
    generator = seeded(5)
    first, second = (liver.make(3, generator, **SMALL) for _ in range(2))
    assert torch.equal(first.images, one.images) and not torch.equal(first.images, second.images)


def test_an_image_does_not_depend_on_its_batch(drawn, cases, monkeypatch):
    monkeypatch.setattr(liver, "CHUNK_VOXELS", 1)
    alone = liver.render(drawn.of(torch.tensor([17, 3])), **SMALL)
    torch.testing.assert_close(alone.images, cases.images[[17, 3]], atol=0.5, rtol=0)


def test_renders_on_any_device(device):
    few = liver.render(liver.draw(2, seeded()).to(device), (24, 31), (2.0, 3.0))
    assert few.images.shape == (2, 3, 24, 31) and few.images.device.type == device.type


def test_contrast_dose_and_diameter_do_what_they_say():
    def shown(**knobs):
        exam = liver.draw(15, seeded(2), motion=0, **knobs)
        exam = replace(exam, noise=0 * exam.noise)
        with_, without = (liver.render(exam, **SMALL, lesions=flag) for flag in (True, False))
        mask = with_.masks["mass"]
        return (with_.images - without.images).abs().mean(1)[mask].mean().item(), mask.sum().item()

    faint, natural, strong = (shown(contrast=c)[0] for c in (0.3, 1.0, 1.5))
    assert faint < 0.5 * natural < natural < strong
    small, usual, large = (shown(diameter=d)[1] for d in (0.6, 1.0, 1.4))
    assert 2 * small < usual < large / 1.4
    assert [liver.draw(1, seeded(), dose=d).noise.item() for d in (0.25, 1.0, 4.0)] == [24, 12, 6]


def test_noise_in_the_image_has_the_asked_spread(drawn):
    quiet, loud = (liver.render(replace(drawn, noise=x + 0 * drawn.noise), **SMALL).images for x in (0.0, 20.0))
    assert (loud - quiet)[quiet > -700].std().item() == pytest.approx(20, rel=0.05)
    phases = (loud - quiet)[(quiet > -700).all(1)[:, None].expand_as(quiet)].view(-1)
    assert phases.mean().abs() < 1


@pytest.mark.parametrize("knob", ["contrast", "dose", "diameter"])
def test_knobs_that_make_no_sense_are_refused(knob):
    for draw in (liver.draw, liver.draw_scans):
        with pytest.raises(ValueError, match=f"{knob} is 0"):
            draw(4, seeded(), **{knob: 0})
        with pytest.raises(ValueError, match="motion is -1"):
            draw(4, seeded(), motion=-1)
    with pytest.raises(ValueError, match="number is 0"):
        liver.draw(0, seeded())
    with pytest.raises(ValueError, match="masses is 0"):
        liver.draw_scans(2, seeded(), masses=0)
