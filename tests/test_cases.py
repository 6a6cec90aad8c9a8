"""The container that every phantom and loader returns."""

import pytest
import torch
from torch.utils.data import DataLoader

from companion.datasets import splits
from companion.datasets.cases import Cases
from companion.datasets.phantoms import chest, lesion, liver, mammogram, nodule, pelvis, prostate


def make(n=4, **changes):
    given = {"images": torch.arange(n * 6.0).view(n, 1, 2, 3), "labels": torch.arange(n) % 2, "classes": ("a", "b"),
             "patients": torch.arange(n), "masks": {"m": torch.zeros(n, 2, 3, dtype=torch.bool)},
             "boxes": [torch.full((1, 4), float(i)) for i in range(n)],
             "box_labels": [torch.tensor([i]) for i in range(n)], "parameters": "drawn"}
    return Cases(**given | changes)


def test_it_serves_a_data_loader():
    images, labels = next(iter(DataLoader(make(), batch_size=3)))
    assert images.shape == (3, 1, 2, 3) and labels.tolist() == [0, 1, 0]


def test_select_keeps_everything_together():
    chosen = make().select(torch.tensor([2, 0]))
    assert chosen.patients.tolist() == [2, 0] and chosen.images[:, 0, 0, 0].tolist() == [12, 0]
    assert [b[0, 0].item() for b in chosen.boxes] == [2, 0] and [b.item() for b in chosen.box_labels] == [2, 0]
    assert chosen.masks["m"].shape == (2, 2, 3) and chosen.parameters is None
    assert len(chosen) == 2


@pytest.mark.parametrize("index", [
    torch.tensor([3, 1]), [3, 1], range(3, 0, -2), torch.tensor([3, 1], dtype=torch.int32), [-1, -3],
])
def test_select_takes_numbers_in_any_form(index):
    chosen = make().select(index)
    assert chosen.patients.tolist() == [3, 1] and chosen.images[:, 0, 0, 0].tolist() == [18, 6]
    assert [b[0, 0].item() for b in chosen.boxes] == [3, 1] and [b.item() for b in chosen.box_labels] == [3, 1]


@pytest.mark.parametrize("here", [[True] * 4, [False, True, False, True], [False] * 4])
def test_select_takes_true_and_false(here):
    for index in (here, torch.tensor(here)):
        chosen = make().select(index)
        kept = [i for i, wanted in enumerate(here) if wanted]
        assert chosen.patients.tolist() == kept and [b[0, 0].item() for b in chosen.boxes] == kept
    both = make(2, parameters="of both").select([False, True])
    assert both.parameters is None and both.patients.tolist() == [1]


@pytest.mark.parametrize(("index", "says"), [
    ([4], "index runs from 4 to 4, but there are 4 cases"),
    ([-5, 0], "index runs from -5 to 0"),
    ([True, False], r"index is bool of shape \(2,\), but must be whole numbers \(M,\), or 4 times true or false"),
    ([0.0, 1.0], "index is float32"),
    (torch.tensor(2), r"of shape \(\)"),
])
def test_an_index_that_means_no_case_is_refused(index, says):
    with pytest.raises(ValueError, match=says):
        make().select(index)


PHANTOMS = {                                    # cases, and what is known of each besides its label
    "chest": (lambda n, g: chest.make(n, g, size=16, hospital="both"), lambda p: p.hospitals),
    "lesion": (lambda n, g: lesion.make(n, g, size=(16, 16)), lambda p: p.types),
    "liver": (lambda n, g: liver.make(n, g, size=(16, 16)), lambda p: p.masses.radii),
    "mammogram": (lambda n, g: mammogram.make(n, g, size=(48, 32)), lambda p: p.masses_per_image),
    "mammogram candidates": (lambda n, g: mammogram.candidates(n // 2, g, size=(16, 16), false=3),
                             lambda p: torch.cat([p.positions, p.lesion.kinds[:, None]], 1)[p.candidate]),
    "metastases": (lambda n, g: nodule.make(n, g, size=(4, 8, 8), metastases=True),
                   lambda p: torch.cat([p.positions, p.diameters[:, None], p.patients[:, None]], 1)),
    "pelvis": (lambda n, g: pelvis.make(n // 2, g, size=(16, 16), slices=2), lambda p: p.offsets),
    "prostate": (lambda n, g: prostate.make(n, g, size=(8, 16, 16)), lambda p: p.gland.half),
}


@pytest.mark.parametrize("name", PHANTOMS)
def test_select_keeps_the_parameters_of_the_chosen(name, generator, device):
    make_some, known = PHANTOMS[name]
    cases = make_some(12, generator).to(device)
    index = torch.tensor([7, 2, 9, 0], device=device)
    chosen = cases.select(index)
    assert torch.equal(known(chosen.parameters), known(cases.parameters).to(device)[index])
    assert torch.equal(known(chosen.select(index.argsort()).parameters), known(cases.parameters).to(device)[
        index[index.argsort()]])


@pytest.mark.parametrize("phantom", [chest, lesion, liver, mammogram, nodule, pelvis, prostate])
def test_chosen_parameters_render_the_chosen_images(phantom, generator):
    size = {nodule: (4, 8, 8), prostate: (8, 16, 16), mammogram: (48, 32)}.get(phantom, (16, 16))
    cases = phantom.make(6, generator, size)
    chosen = cases.select(torch.tensor([5, 1, 4]))
    torch.testing.assert_close(phantom.render(chosen.parameters, size).images, chosen.images)


def test_a_split_keeps_the_hidden_types(generator):
    cases = lesion.make(40, generator, size=(16, 16))
    for fold in splits.k_fold(cases, 2, generator):
        for part in (fold.train, fold.held_out):
            assert torch.equal(part.parameters.types, cases.parameters.types[part.patients])


def test_all_cases_in_order_keep_any_parameters():
    assert make().select(torch.arange(4)).parameters == "drawn"


def volumes(**changes):
    boxes = [torch.tensor([[1.0, 2, 0, 3, 5, 2], [0, 1, 2, 4, 3, 5]]), torch.tensor([[0.0, 0, 1, 2, 2, 3]]),
             torch.zeros(0, 6)]
    given = {"images": torch.arange(3 * 2 * 5 * 6 * 4.0).view(3, 2, 5, 6, 4), "labels": torch.tensor([1, 0, 1]),
             "classes": ("a", "b"), "patients": torch.tensor([4, 4, 8]), "unit": "HU", "spacing": (5.0, 1.0, 2.0),
             "masks": {"m": torch.arange(3 * 5 * 6 * 4).view(3, 5, 6, 4) % 7 == 0}, "boxes": boxes,
             "box_labels": [torch.tensor([1, 2]), torch.tensor([3]), torch.zeros(0, dtype=torch.long)],
             "parameters": "drawn"}
    return Cases(**given | changes)


def test_middle_planes_of_an_odd_number(device):
    whole = volumes().to(device)
    flat = whole.middle_planes()                                        # plane 2 of 5
    assert torch.equal(flat.images, whole.images[:, :, 2]) and torch.equal(flat.masks["m"], whole.masks["m"][:, 2])
    assert flat.spacing == (1.0, 2.0) and flat.unit == "HU" and flat.parameters == "drawn"
    assert [b.tolist() for b in flat.boxes] == [[[0, 1, 4, 3]], [[0, 0, 2, 2]], []] and flat.boxes[2].shape == (0, 4)
    assert [t.tolist() for t in flat.box_labels] == [[2], [3], []]
    assert torch.equal(flat.labels, whole.labels) and torch.equal(flat.patients, whole.patients)


def test_middle_planes_of_an_even_number_and_of_bare_cases():
    images = torch.arange(2 * 4 * 3 * 3.0).view(2, 1, 4, 3, 3)
    flat = Cases(images, torch.tensor([0, 1]), ("a", "b"), torch.arange(2)).middle_planes()
    assert torch.equal(flat.images, images[:, :, 2]) and flat.spacing is None and flat.boxes is None


def test_middle_planes_of_planes_are_these():
    flat = make()
    assert flat.middle_planes() is flat


def test_middle_planes_of_nodules_keep_the_box_that_the_mask_shows(generator):
    flat = nodule.make(6, generator, size=(9, 32, 32), spacing=(2.0, 1.5, 1.5)).middle_planes()
    for mask, box in zip(flat.masks["nodule"], flat.boxes, strict=True):
        inside = mask.nonzero()
        assert len(box) == 1 and (inside[:, 1] >= box[0, 0]).all() and (inside[:, 0] < box[0, 3]).all()


def test_it_shows_itself_in_one_line():
    assert repr(volumes()) == "Cases(3 images (2, 5, 6, 4), classes a/b, 2 patients, unit HU, spacing 5 x 1 x 2 mm)"
    assert repr(make(1)) == "Cases(1 image (1, 2, 3), classes a/b, 1 patient)"
    many = make(classes=tuple(map(str, range(14))))
    assert repr(many) == "Cases(4 images (1, 2, 3), 14 classes, 4 patients)"


def test_to_moves_every_tensor(device):
    moved = make().to(device)
    tensors = [moved.images, moved.labels, moved.patients, *moved.masks.values(), *moved.boxes, *moved.box_labels]
    assert {t.device.type for t in tensors} == {device.type}
    assert make(boxes=None, box_labels=None).to(device).boxes is None


@pytest.mark.parametrize(("changes", "says"), [
    ({"images": torch.zeros(4, 3)}, r"shape \(4, 3\)"),
    ({"labels": torch.zeros(3, dtype=torch.long)}, "4 images, but 3 labels"),
    ({"patients": torch.arange(5)}, "4 images, but 5 patients"),
    ({"boxes": []}, "4 images, but 0 boxes"),
    ({"masks": {"m": torch.zeros(4, 2, 2, dtype=torch.bool)}}, "mask 'm'"),
    ({"labels": torch.tensor([0, 1, 2, 0])}, "labels run from 0 to 2, but there are 2 classes"),
    ({"labels": torch.tensor([0, 1, -1, 0])}, "labels run from -1"),
    ({"images": torch.tensor([0.0, 1, float("nan"), 2]).view(4, 1, 1, 1).expand(4, 1, 2, 3)}, r"images \[2\] hold NaN"),
    ({"images": torch.zeros(4, 1, 2, 3, dtype=torch.uint8)}, r"images are uint8, but must be float32: .*images.float"),
    ({"images": torch.zeros(4, 1, 2, 3, dtype=torch.float64)}, "images are float64"),
    ({"labels": torch.zeros(4, 1, 1)}, r"labels are float32 of shape \(4, 1, 1\), but must be"),
    ({"labels": torch.zeros(4, dtype=torch.bool)}, "labels are bool of shape"),
    ({"labels": torch.zeros(4, dtype=torch.uint8)}, r"labels are uint8 .*labels.long"),
    ({"labels": torch.zeros(4, dtype=torch.float16)}, r"labels are float16 .*labels.float"),
    ({"labels": torch.tensor([0.0, float("nan"), 1, 2])}, r"labels \[1\] are NaN or infinite: leave out"),
    ({"labels": torch.tensor([[0.0, 1], [0, 0], [1, float("nan")], [0, 0]])}, r"labels \[2\] are NaN"),
    ({"labels": torch.zeros(4, 3)}, "labels have 3 columns, but there are 2 classes"),
    ({"labels": torch.zeros(4, 1, dtype=torch.long)}, r"labels have 1 columns, .* as labels\[:, 0\]"),
    ({"labels": torch.zeros(4, 2, dtype=torch.long)}, "labels of several findings are int64, but must be float32"),
    ({"labels": torch.full((4, 2), 0.5)}, "labels of several findings hold 0.5, but must be 0 or 1"),
    ({"patients": torch.arange(4.0)}, r"patients are float32 of shape \(4,\), but must be whole numbers"),
    ({"patients": torch.zeros(4, 1, dtype=torch.long)}, r"patients are int64 of shape \(4, 1\)"),
    ({"masks": {"m": torch.zeros(4, 2, 3)}}, "mask 'm' is float32, but must be bool: convert it with mask > 0"),
    ({"spacing": (1.0,)}, r"spacing is \(1.0,\), but must be 2 positive numbers"),
    ({"spacing": (1.0, 0.0)}, r"spacing is \(1.0, 0.0\), but must be"),
    ({"spacing": (1.0, float("inf"))}, r"spacing is \(1.0, inf\), but must be"),
    ({"boxes": [torch.zeros(1, 6)] * 4}, r"boxes 0 have shape \(1, 6\), but images of 2 spatial axes need \(n, 4\)"),
    ({"boxes": [torch.zeros(0)] * 4}, r"boxes 0 have shape \(0,\)"),
    ({"box_labels": [torch.zeros(2)] * 4}, r"box_labels 0 have shape \(2,\), but there are 1 boxes"),
    ({"boxes": None}, "there are box_labels, but no boxes"),
])
def test_what_does_not_fit_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        make(**changes)


def test_labels_may_be_findings_or_values():
    findings = torch.tensor([[0.0, 1], [1, 1], [0, 0], [1, 0]])
    assert torch.equal(make(labels=findings).labels, findings)
    assert make(labels=torch.tensor([10.0, 20, 30, 40])).labels.dtype == torch.float32
    assert len(make(0)) == 0 and len(make().select(torch.tensor([], dtype=torch.long))) == 0
