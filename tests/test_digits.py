"""The digits: complete, unchanged from scikit-learn, sized as documented, split without overlap."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from companion.datasets import digits
from companion.datasets.digits import Digits

COUNT = 1797


@pytest.fixture(scope="module")
def numbered() -> Digits:
    """As many items as there are digits, each its own number, so that a split can be followed."""
    return Digits(torch.arange(COUNT).view(-1, 1, 1, 1), torch.arange(COUNT))


def test_the_8_by_8_digits_are_those_of_scikit_learn():
    ours, theirs = digits.load(), load_digits()
    assert ours.images.shape == (COUNT, 1, 8, 8) and ours.images.dtype == torch.uint8
    assert ours.labels.shape == (COUNT,) and ours.labels.dtype == torch.int64
    assert ours.labels.tolist() == theirs.target.tolist()
    levels = torch.tensor([round(level * 255 / 16) for level in range(17)], dtype=torch.uint8)
    assert torch.equal(ours.images[:, 0], levels[torch.tensor(theirs.images, dtype=torch.int64)])


def test_brightness_uses_all_of_0_to_255():
    images = digits.load().images
    assert (images.min(), images.max()) == (0, 255)
    assert images.unique().numel() == 17


def test_labels_hold_every_digit_about_equally_often():
    counts = digits.load().labels.bincount()
    assert len(counts) == 10 and counts.min() == 174 and counts.max() == 183


# 28 pixels are 20 and two margins of 4, as in MNIST.
@pytest.mark.parametrize(("size", "margin"), [(9, 1), (14, 2), (28, 4), (32, 4), (64, 9)])
def test_larger_digits_have_a_black_margin_of_a_seventh(size, margin):
    large = digits.load(size)
    assert large.images.shape == (COUNT, 1, size, size) and large.images.dtype == torch.uint8
    assert torch.equal(large.labels, digits.load().labels)
    filled = large.images[:, 0].amax(dim=0).nonzero()                                # where any digit has ink
    assert filled.min(dim=0).values.tolist() == [margin, margin]
    assert filled.max(dim=0).values.tolist() == [size - 1 - margin, size - 1 - margin]


def test_interpolation_keeps_picture_and_range():
    small, large = digits.load(8).images.float(), digits.load(28).images
    assert large.max() == 255
    inner = large[..., 4:24, 4:24].float()
    back = torch.nn.functional.adaptive_avg_pool2d(inner, 8)
    joint = torch.stack([small.flatten(), back.flatten()])
    assert torch.corrcoef(joint)[0, 1] > 0.95


@pytest.mark.parametrize("size", [7, 0, -8])
def test_refuses_less_than_8_pixels(size):
    with pytest.raises(ValueError, match=f"size is {size}, but the digits are 8 x 8"):
        digits.load(size)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(test=st.integers(1, COUNT - 1), seed=st.integers(0, 2**31))
def test_split_is_disjoint_and_complete(numbered, test, seed):
    train_set, test_set = digits.split(numbered, test, torch.Generator().manual_seed(seed))
    assert len(test_set.labels) == len(test_set.images) == test
    assert sorted(train_set.labels.tolist() + test_set.labels.tolist()) == list(range(COUNT))
    assert torch.equal(train_set.images.flatten(), train_set.labels)                 # image and label stay together
    assert torch.equal(test_set.images.flatten(), test_set.labels)


def test_split_follows_its_generator_alone(numbered):
    def drawn(seed: int) -> list[int]:
        return digits.split(numbered, 300, torch.Generator().manual_seed(seed))[1].labels.tolist()

    torch.manual_seed(1)
    first = drawn(0)
    torch.manual_seed(2)
    assert drawn(0) == first
    assert drawn(1) != first
    assert first != list(range(300)) and sorted(first) != list(range(300))           # drawn, not cut off


@pytest.mark.parametrize("test", [0, -1, COUNT, COUNT + 1])
def test_split_leaves_both_sets_something(numbered, test, generator):
    with pytest.raises(ValueError, match=f"test is {test}, but must lie between 1 and {COUNT - 1}"):
        digits.split(numbered, test, generator)
