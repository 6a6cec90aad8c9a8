"""What the three studies of radiomics against a CNN share: who sees what, and that no case serves twice."""

import pytest
import torch
from torch.testing import assert_close

from companion.studies import radiomics_or_cnn as compare

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def small():
    """Few cases to draw, to save time; as many to train as to test, so that equal streams would show."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "TRAIN", 25)
        patch.setattr(compare, "TEST", 25)
        yield


@pytest.fixture(scope="module")
def data(small):
    return compare.sets(0, train=24, test=20)


def test_the_first_cases_are_the_same_however_many(data):
    fewer = compare.sets(0, train=5, test=4)
    assert_close(fewer.train.images, data.train.images[:5], rtol=0, atol=0.01)        # HU, rounded by batch
    assert torch.equal(fewer.test.labels, data.test.labels[:4])


def test_training_and_test_cases_differ_within_and_between_seeds(data):
    images = [data.train.images, data.test.images, *(s.images for s in compare.sets(1, train=4, test=4))]
    means = torch.cat([i.flatten(1).mean(1) for i in images])
    assert len(means.unique()) == len(means)


def test_planes_by_hand():
    volume = torch.arange(16.0)[None, :, None, None] * 10000 + torch.arange(32.0)[:, None] * 100 + torch.arange(32.0)
    axial, coronal, sagittal = compare.planes(volume)[0]
    assert axial[3, 5] == 80305                      # slice 8, row 3, column 5
    assert coronal[6, 5] == coronal[7, 5] == 31605   # slice 3, row 16, column 5
    assert sagittal[6, 5] == 30516                   # slice 3, row 5, column 16


def test_who_is_given_the_mask(data):
    assert compare.pixels(data.test, compare.IMAGE).shape == (20, 3, 32, 32)
    six = compare.pixels(data.test, compare.MASK)
    assert set(six[:, 3:].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(six[:, :3], compare.pixels(data.test, compare.IMAGE))
    with_mask, without = (compare.features(data.test, given).shape[1] for given in (compare.MASK, compare.IMAGE))
    assert with_mask == without + 13                # the shape features


@pytest.mark.parametrize("name", compare.CLASSIFIERS)
def test_classifiers_rank_an_easy_task(name, generator):
    x = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    labels = (x[:, 0] > 0).long()
    trained = compare.classifier(name, seed=0).fit(x[:40].numpy(), labels[:40].numpy())
    assert compare.auc(labels[40:], compare.judge(trained, x[40:])) > 0.9


def test_cnn_learns_an_easy_task_and_repeats_itself(device, monkeypatch, generator):
    monkeypatch.setattr(compare, "STEPS", 20)
    labels = torch.arange(40) % 2
    x = torch.randn(40, 3, 32, 32, generator=generator) + labels[:, None, None, None]
    networks = [compare.train_cnn(x, labels, 0, device) for _ in range(2)]
    assert compare.auc(labels, compare.look(networks[0], x)) == 1
    if device.type == "cpu":
        assert_close(compare.look(networks[0], x), compare.look(networks[1], x), rtol=0, atol=0)


def test_auc_by_hand():
    labels = torch.tensor([0, 0, 1, 1])
    assert compare.auc(labels, torch.tensor([0.1, 0.4, 0.35, 0.8])) == 0.75      # three of four pairs in order
    assert compare.auc(labels, torch.zeros(4)) == 0.5


def test_margins():
    found = {"a": 3.0, "b": 1.0}
    assert compare.margins(found, {"a over b": ("a", "b")}) == {"a over b": 2.0}
