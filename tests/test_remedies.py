"""The experiment that the studies of Table 3 share: same data, same updates, one remedy at a time."""

import pytest
import torch
from torch import nn

from companion.datasets import digits
from companion.hardware import Hardware
from companion.studies import remedies
from companion.studies.remedies import NONE, REMEDIES, Remedy

EVERY = {NONE: Remedy(), **REMEDIES, "no hidden layer": Remedy(hidden=0)}


@pytest.fixture
def quick(monkeypatch):
    """Four updates, few test images."""
    monkeypatch.setattr(remedies, "UPDATES", 4)
    monkeypatch.setattr(remedies, "TEST", {"digits": 500, "nodules": 6})


def kinds(remedy):
    return [type(layer).__name__ for layer in remedies.network(8, 10, remedy)]


def test_the_layers_of_each_remedy():
    block, head = ["Conv2d", "ReLU", "MaxPool2d"], ["Linear", "ReLU", "Linear"]
    assert kinds(Remedy()) == [*block, *block, "Flatten", *head]
    assert kinds(Remedy(hidden=0)) == [*block, *block, "Flatten", "Linear"]
    assert kinds(REMEDIES["dropout"]) == [*block, *block, "Flatten", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    normalised = ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    assert kinds(REMEDIES["batch normalisation"]) == [*normalised, *normalised, "Flatten", *head]


@pytest.mark.parametrize("remedy", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize(("size", "classes"), [(8, 10), (16, 2)])
def test_networks_give_one_logit_per_class(remedy, size, classes, device):
    model = remedies.network(size, classes, remedy).to(device)
    assert model(torch.zeros(3, 1, size, size, device=device)).shape == (3, classes)


def test_the_smaller_network_is_smaller():
    sizes = [sum(p.numel() for p in remedies.network(8, 10, one).parameters())
             for one in (REMEDIES["smaller network"], Remedy())]
    assert sizes == [40 + 296 + 32 * 16 + 16 + 170, 80 + 1168 + 64 * 32 + 32 + 330]


def test_sets_share_no_digit_and_a_larger_set_begins_with_the_smaller():
    small, large = (remedies.data("digits", 3, n) for n in (100, 400))
    assert small.train.shape == (100, 1, 8, 8) and large.train.shape == (400, 1, 8, 8)
    assert torch.equal(large.train[:100], small.train) and torch.equal(large.labels[:100], small.labels)
    assert torch.equal(small.test, large.test) and len(small.test) == len(small.test_labels) == 500
    assert small.train.mean().abs() < 1e-5 and small.train.std() == pytest.approx(1, abs=1e-5)
    train, test = digits.split(digits.load(), 500, torch.Generator().manual_seed(3))
    assert torch.equal(small.labels, train.labels[:100]) and torch.equal(small.test_labels, test.labels)


def test_a_larger_set_of_nodules_begins_with_the_smaller(quick):
    few, small, large = (remedies.data("nodules", 0, n) for n in (4, 100, 400))
    assert small.train.shape == (100, 1, 16, 16) and large.train.shape == (400, 1, 16, 16)
    assert torch.equal(large.train[:100], small.train) and torch.equal(large.labels[:100], small.labels)
    assert torch.equal(few.train, small.train[:4])
    assert torch.equal(small.test, large.test) and torch.equal(small.test_labels, large.test_labels)
    assert small.train.mean().abs() < 1e-5 and small.train.std() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("images", [0, 401])
def test_a_set_larger_than_what_is_drawn_is_refused(images):
    with pytest.raises(ValueError, match=f"images is {images}, but must lie in 1 to 400"):
        remedies.data("nodules", 0, images)


def test_nodules_are_planes_of_two_classes(quick):
    sets = remedies.data("nodules", 0, 6)
    assert sets.train.shape == sets.test.shape == (6, 1, 16, 16)
    assert set(sets.labels.tolist()) | set(sets.test_labels.tolist()) == {0, 1}
    assert not torch.equal(sets.train, sets.test)


@pytest.mark.parametrize("task", remedies.TASKS)
@pytest.mark.parametrize("names", [*[(name,) for name in remedies.CHANGES["digits"]], remedies.CHOSEN])
def test_a_change_keeps_shape_and_labels(task, names, generator, device):
    images = torch.rand(50, 1, 16, 16, generator=generator).to(device)
    changed, labels = remedies.change(task, names)(images, torch.arange(50), generator)
    assert changed.shape == images.shape and torch.equal(labels, torch.arange(50))
    assert not torch.equal(changed, images)


def test_a_flipped_digit_is_its_mirror_image_in_half_of_the_cases(generator):
    images = torch.rand(200, 1, 8, 8, generator=generator)
    changed, _ = remedies.change("digits", ("flip",))(images, torch.zeros(200), generator)
    mirrored = torch.tensor([torch.equal(a, b.flip(-1)) for a, b in zip(changed, images, strict=True)])
    assert 70 < mirrored.sum() < 130
    assert torch.equal(changed[~mirrored], images[~mirrored])


def test_changes_together_hold_the_ranges_of_all(monkeypatch, generator):
    asked = []
    draw = remedies.augment.draw
    monkeypatch.setattr(remedies.augment, "draw", lambda n, size, ranges, g: asked.append(ranges) or draw(
        n, size, ranges, g))
    remedies.change("digits", remedies.CHOSEN)(torch.rand(2, 1, 8, 8), torch.zeros(2), generator)
    assert asked == [remedies.Ranges(shift=1, rotation=15, erase=0.5), remedies.Ranges(crop=(7, 7))]


def test_half_of_the_images_are_cropped_and_stretched(generator):
    images = torch.arange(8.0).expand(200, 1, 8, 8)
    changed, _ = remedies.change("digits", ("crop",))(images, torch.zeros(200), generator)
    kept = (changed == images).flatten(1).all(1)
    assert 70 < kept.sum() < 130
    steps = changed[~kept][:, 0, 0].diff(dim=1)[:, 2:5]
    torch.testing.assert_close(steps, torch.full_like(steps, 7 / 8))     # 7 columns on the room of 8


@pytest.mark.parametrize("images", [50, 100, 400])
def test_every_run_has_the_same_number_of_updates(monkeypatch, images, device):
    monkeypatch.setattr(remedies, "UPDATES", 16)
    steps, step = [], torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self, *rest: steps.append(1) or step(self, *rest))
    remedies.train("digits", remedies.data("digits", 0, 400), Remedy(images=images), 0, Hardware(device))
    assert len(steps) == 16


def test_runs_of_a_seed_start_from_the_same_weights(monkeypatch, device):
    monkeypatch.setattr(remedies, "RATE", 0.0)
    monkeypatch.setattr(remedies, "UPDATES", 2)
    sets = remedies.data("digits", 0)
    first, second, other = (nn.utils.parameters_to_vector(remedies.train(
        "digits", sets, remedy, seed, Hardware(device)).parameters())
        for remedy, seed in ((Remedy(), 0), (REMEDIES["weight decay"], 0), (Remedy(), 1)))
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_what_is_measured_by_hand(device):
    class Fixed(nn.Module):
        """Logits (0, value of the image)."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
            self.bias = nn.Parameter(torch.tensor([100.0]))

        def forward(self, x):
            return torch.stack([torch.zeros_like(x[:, 0, 0, 0]), x[:, 0, 0, 0]], 1)

    values = torch.tensor([-1.0, 2.0, 1.0, -3.0]).view(4, 1, 1, 1)
    sets = remedies.Data(values * 0, torch.tensor([0, 1, 1, 0]), values, torch.tensor([0, 1, 0, 1]))
    found = {task: remedies.measure(task, Fixed(), sets, Remedy(images=2), Hardware(device))
             for task in remedies.TASKS}
    loss = torch.log1p(torch.tensor([-1.0, -2.0, 1.0, 3.0]).exp()).mean().item()
    ln2 = torch.log(torch.tensor(2.0)).item()
    for numbers in found.values():
        assert numbers["training loss"] == pytest.approx(ln2) and numbers["test loss"] == pytest.approx(loss)
        assert numbers["gap"] == pytest.approx(loss - ln2)
        assert numbers["weights"] == pytest.approx(12.5 ** 0.5)          # the bias does not count
    assert found["digits"]["score"] == 0.5                               # accuracy: the first two are right
    assert found["nodules"]["score"] == 0.5                              # AUC: pairs (2 > -1, 2 > 1) of four


def test_differences_are_those_from_no_remedy(quick, device):
    found = remedies.compare({"weight decay": Remedy(decay=0.1)}, 0, device)
    for task in remedies.TASKS:
        for what in ("training loss", "test loss", "gap", "score", "weights"):
            assert found[f"{task}, weight decay: {what}, change"] == (
                found[f"{task}, weight decay: {what}"] - found[f"{task}, {NONE}: {what}"])
    assert found["digits, weight decay: weights, change"] < 0
    assert len(found) == 2 * 3 * 5
