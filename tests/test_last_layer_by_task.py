"""The images and targets behind the study of the last layer, and its scores, on values worked by hand."""

import pytest
import torch
from torch.testing import assert_close

from companion.datasets import digits
from companion.studies import last_layer_by_task as study

CHOSEN = torch.arange(200)


def test_no_digit_serves_twice():
    fixed = torch.Generator().manual_seed(study.DIGITS)
    development = torch.randperm(study.DIGITS, generator=fixed)[:study.DEVELOPMENT]
    for seed in range(3):
        train, test = study.split(seed)
        assert (len(train), len(test)) == (800, 400)
        assert sorted(torch.cat([development, train, test]).tolist()) == list(range(study.DIGITS))
    assert not torch.equal(study.split(0)[1], study.split(1)[1])


@pytest.mark.parametrize("name", study.TASKS)
def test_images_and_targets_fit_the_task(name, generator):
    task = study.TASKS[name]
    data = task.make(CHOSEN, generator)
    assert data.images.dim() == 4 and 0 <= data.images.min() and data.images.max() <= 1
    assert len(data.images) == len(data.targets)
    assert data.targets.shape[1:] == (() if name == "single-label" else (task.nodes,))


def test_binary_targets_are_the_digits(generator):
    labels = digits.load().labels[CHOSEN]
    targets = study.three_or_eight(CHOSEN, generator).targets
    assert targets.flatten().tolist() == [float(d == 8) for d in labels.tolist() if d in (3, 8)]


def test_multi_label_targets_name_the_digits_in_the_image(generator):
    images, labels = digits.load()
    data = study.which_digits(CHOSEN, generator)
    assert data.images.shape[1:] == (1, 16, 16) and {0.0, 1.0} == set(data.targets.unique().tolist())
    known = (images[CHOSEN, 0] / 255).flatten(1)
    for image, target in zip(data.images[:40, 0], data.targets, strict=False):
        found = set()
        for place in (image[:8, :8], image[:8, 8:], image[8:, :8], image[8:, 8:]):
            if place.any():
                found.add(int(labels[(known == place.flatten()).all(dim=1).nonzero()[0, 0]]))
        assert found == set(target.nonzero().flatten().tolist())
    assert (data.targets.sum(dim=1) == 0).any()                  # some images are empty


@pytest.mark.parametrize(("turn", "quarter"), [(1.0, -1), (-1.0, 1), (0.0, 0)])
def test_regression_turns_clockwise_by_the_target(monkeypatch, turn, quarter):
    monkeypatch.setattr(study, "TURN", 90.0)                     # torch.rot90 turns counter-clockwise
    monkeypatch.setattr(torch, "rand", lambda *shape, generator: torch.full(shape, (turn + 1) / 2))
    data = study.which_angle(CHOSEN, torch.Generator())
    upright = digits.load(12).images[CHOSEN] / 255
    assert_close(data.images, torch.rot90(upright, quarter, dims=(2, 3)), atol=1e-5, rtol=0)
    assert (data.targets == turn).all()


def test_scores_by_hand():
    outputs, labels = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), torch.tensor([1, 0, 0])
    assert study.accuracy(outputs, labels) == pytest.approx(2 / 3)
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert study.auc(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.8, 0.9]]), targets) == 1
    assert study.auc(torch.ones(3, 2), targets) == 0.5
    assert study.exact_match(torch.tensor([[0.9, 0.1], [0.6, 0.8], [0.8, 0.9]]), targets) == pytest.approx(2 / 3)
    assert study.rmse(torch.tensor([[0.5], [0.0]]), torch.tensor([[0.0], [0.0]])) == pytest.approx(45 / 8**0.5)


def test_wrong_last_layers_by_hand():
    z = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert (study.one_node_softmax(torch.tensor([[-7.0], [9.0]])) == 1).all()
    log2 = torch.log(torch.tensor(2.0))
    assert_close(study.each_digit_alone(torch.zeros(1, 10), torch.tensor([3])), log2)
    # The first image shows both digits, the second none; only the first counts.
    assert_close(study.equal_shares(z, torch.tensor([[1.0, 1.0], [0.0, 0.0]])), log2 / 2)
    assert_close(study.squeezed_error(torch.zeros(1, 1), torch.tensor([[-0.5]])), torch.tensor(1.0))


def test_gain_is_positive_where_the_right_one_is_better():
    targets = torch.tensor([[0.0], [1.0]])
    found = {"right": torch.tensor([[0.0], [1.0]]), "wrong": torch.tensor([[0.5], [0.5]])}
    assert study.scores("binary", targets, found)["binary, gain: AUC"] == 0.5
    assert study.scores("regression", targets, found)["regression, gain: RMSE"] == pytest.approx(22.5)


def test_same_seed_same_numbers(monkeypatch):
    monkeypatch.setattr(study, "TASKS", {name: task._replace(steps=3) for name, task in study.TASKS.items()})
    first = study.run(0, torch.device("cpu"))
    assert first == study.run(0, torch.device("cpu")) and first != study.run(1, torch.device("cpu"))
    assert len(first) == 3 * 4 + 2 and first["binary, wrong: AUC"] == 0.5
