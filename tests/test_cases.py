"""The container that every phantom and loader returns."""

import pytest
import torch
from torch.utils.data import DataLoader

from companion.datasets.cases import Cases


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
])
def test_what_does_not_fit_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        make(**changes)


def test_labels_may_be_findings_or_values():
    assert make(labels=torch.rand(4, 3)).labels.shape == (4, 3)
    assert make(labels=torch.tensor([10.0, 20, 30, 40])).labels.dtype == torch.float32
