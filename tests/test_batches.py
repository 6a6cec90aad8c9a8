"""Mini-batches: every case once an epoch, in a new order, with its own target."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.datasets.batches import Batches

X = torch.arange(10.0).view(10, 1)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 12), st.booleans())
def test_every_case_comes_once_with_its_target(n, size, shuffled):
    x = torch.arange(n)
    batches = Batches(x, -x, size, torch.Generator() if shuffled else None)
    pairs = list(batches)
    assert len(pairs) == len(batches)
    assert [len(a) for a, _ in pairs[:-1]] == [size] * (len(pairs) - 1)
    assert all(torch.equal(a, -b) for a, b in pairs)
    together = torch.cat([a for a, _ in pairs])
    assert torch.equal(together.sort().values, x) and (shuffled or torch.equal(together, x))


def test_order_is_new_each_epoch_and_repeats_with_the_seed():
    def epochs():
        batches = Batches(X, X, 3, torch.Generator().manual_seed(0))
        return [torch.cat([a for a, _ in batches]).flatten().tolist() for _ in range(2)]

    first, second = epochs()
    assert first != second and epochs() == [first, second]


def test_a_change_sees_whole_batches_and_the_generator():
    def noise(x, y, generator):
        return x + torch.rand(x.shape, generator=generator), y

    batches = Batches(X, X, 4, torch.Generator().manual_seed(0), noise)
    for x, y in batches:
        assert ((x - y) > 0).all() and ((x - y) < 1).all()


@pytest.mark.parametrize(("arguments", "says"), [
    ((X[:0], X[:0], 2), "no case"), ((X, X[:4], 2), "10 inputs, but 4 targets"), ((X, X, 0), "batch size is 0"),
    ((X, X, 2, None, lambda x, y, g: (x, y)), "give the generator")])
def test_mistakes(arguments, says):
    with pytest.raises(ValueError, match=says):
        Batches(*arguments)


def test_batches_stay_on_the_device_of_the_data(device):
    x = X.to(device)
    assert all(a.device == x.device for a, _ in Batches(x, x, 3, torch.Generator()))


def test_every_process_needs_a_case_of_each_training_batch(monkeypatch):
    monkeypatch.setattr("companion.distributed.world", lambda: 3)
    with pytest.raises(ValueError, match="last batch has 2 cases for 3 processes"):
        Batches(X, X, 4, torch.Generator())
    assert len(Batches(X, X, 5, torch.Generator())) == 2 and len(Batches(X, X, 4)) == 3
