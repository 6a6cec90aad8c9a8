"""Last layers and losses against values worked by hand, their definitions and torch."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from companion.losses import (
    LAST_LAYERS,
    binary_cross_entropy,
    cross_entropy,
    identity,
    mean_squared_error,
    sigmoid,
    softmax,
)

each_case = settings(deadline=None, derandomize=True)
logits_of = st.lists(st.lists(st.floats(-500, 500, width=32), min_size=3, max_size=3), min_size=1, max_size=4)


def test_table_2_has_the_rows_of_the_review():
    assert {task: row.activation for task, row in LAST_LAYERS.items()} == {
        "binary classification": sigmoid, "multiclass single-label classification": softmax,
        "multiclass multi-label classification": sigmoid, "regression to continuous values": identity}
    assert [row.loss for row in LAST_LAYERS.values()] == [
        binary_cross_entropy, cross_entropy, binary_cross_entropy, mean_squared_error]


def test_sigmoid_by_hand(device):
    z = torch.tensor([0.0, log(3), -log(3), 1000.0, -1000.0], device=device)
    assert_close(sigmoid(z), torch.tensor([0.5, 0.75, 0.25, 1.0, 0.0], device=device))


def test_softmax_by_hand(device):
    z = torch.tensor([[0.0, log(2), log(5)], [1000.0, 1000.0, -1000.0]], device=device)
    assert_close(softmax(z), torch.tensor([[1 / 8, 2 / 8, 5 / 8], [0.5, 0.5, 0.0]], device=device))


@each_case
@given(logits_of, st.floats(-100, 100, width=32))
def test_softmax_is_a_distribution_and_ignores_a_shift(rows, shift):
    z = torch.tensor(rows, dtype=torch.float64)
    p = softmax(z)
    assert (p >= 0).all() and (p <= 1).all()
    assert_close(p.sum(dim=1), torch.ones(len(rows), dtype=torch.float64))
    assert_close(softmax(z + shift), p)


@each_case
@given(st.floats(-30, 30), st.floats(-30, 30))
def test_softmax_of_two_is_the_sigmoid_of_the_difference(a, b):
    p = softmax(torch.tensor([[a, b]], dtype=torch.float64))
    assert_close(p[0, 1], sigmoid(torch.tensor(b - a, dtype=torch.float64)))


def test_identity_changes_nothing():
    x = torch.tensor([[-3.5], [2.0]])
    assert identity(x) is x


def test_binary_cross_entropy_by_hand(device):
    # p = 0.75, 0.25, 0.5 and t = 1, 1, 0
    z = torch.tensor([[log(3)], [-log(3)], [0.0]], device=device)
    t = torch.tensor([[1.0], [1.0], [0.0]], device=device)
    by_hand = -(log(0.75) + log(0.25) + log(0.5)) / 3
    assert_close(binary_cross_entropy(z, t).item(), by_hand, atol=1e-6, rtol=0)


def test_binary_cross_entropy_stays_finite():
    z, t = torch.tensor([[1000.0, -1000.0]]), torch.tensor([[0.0, 1.0]])
    assert binary_cross_entropy(z, t).item() == 1000
    assert binary_cross_entropy(-z, t).item() == 0


def test_cross_entropy_by_hand(device):
    z = torch.tensor([[0.0, log(2), log(5)], [log(2), 0.0, 0.0]], device=device)
    labels = torch.tensor([2, 1], device=device)
    assert_close(cross_entropy(z, labels).item(), -(log(5 / 8) + log(1 / 4)) / 2, atol=1e-6, rtol=0)


def test_cross_entropy_stays_finite():
    assert cross_entropy(torch.tensor([[1000.0, 0.0]]), torch.tensor([1])).item() == 1000


@each_case
@given(logits_of, st.data())
def test_cross_entropy_is_minus_the_log_of_softmax(rows, data):
    z = torch.tensor(rows, dtype=torch.float64) / 20
    labels = torch.tensor([data.draw(st.integers(0, 2)) for _ in rows])
    assert_close(cross_entropy(z, labels), -softmax(z)[torch.arange(len(rows)), labels].log().mean())


def test_mean_squared_error_by_hand(device):
    outputs, target = torch.tensor([[1.0], [-2.0]], device=device), torch.tensor([[0.0], [2.0]], device=device)
    assert mean_squared_error(outputs, target).item() == (1 + 16) / 2


def test_losses_equal_torch_on_its_own_probabilities(generator):
    z = torch.randn(6, 4, generator=generator)
    t = torch.randint(2, (6, 4), generator=generator).float()
    labels = torch.randint(4, (6,), generator=generator)
    assert_close(binary_cross_entropy(z, t), F.binary_cross_entropy(sigmoid(z), t))
    assert_close(cross_entropy(z, labels), F.nll_loss(softmax(z).log(), labels))
    assert_close(mean_squared_error(z, t), (z - t).square().mean())


@pytest.mark.parametrize("task", LAST_LAYERS)
def test_the_loss_pulls_the_output_to_the_target(task, generator):
    row = LAST_LAYERS[task]
    k = 1 if row.nodes in ("1", "one per quantity") else 4
    z = torch.randn(5, k, generator=generator, requires_grad=True)
    target = torch.randint(4, (5,), generator=generator) if row.loss is cross_entropy else torch.rand(
        5, k, generator=generator).round()
    row.loss(z, target).backward()
    wanted = F.one_hot(target, k) if row.loss is cross_entropy else target
    # For each of these pairs the gradient is proportional to output minus target.
    difference = row.activation(z.detach()) - wanted
    assert_close(z.grad / z.grad.norm(), difference / difference.norm())


def test_gradients_by_finite_differences(generator):
    z = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    t = torch.rand(3, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: binary_cross_entropy(z, t), z)
    assert torch.autograd.gradcheck(lambda z: cross_entropy(z, torch.tensor([0, 3, 1])), z)
    assert torch.autograd.gradcheck(lambda z: mean_squared_error(z, t), z)


@pytest.mark.parametrize(("loss", "outputs", "target", "message"), [
    (binary_cross_entropy, torch.zeros(3, 1), torch.zeros(3), r"\(3, 1\) and the targets \(3,\)"),
    (binary_cross_entropy, torch.zeros(2, 1), torch.tensor([[0.0], [2.0]]), "run from 0 to 2"),
    (binary_cross_entropy, torch.zeros(2, 1), torch.tensor([[-1.0], [1.0]]), "run from -1 to 1"),
    (binary_cross_entropy, torch.zeros(1, 1), torch.tensor([[float("nan")]]), "run from nan to nan"),
    (mean_squared_error, torch.zeros(3, 1), torch.zeros(3), r"\[:, None\]"),
    (cross_entropy, torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64), "over a single node it is always 1"),
    (cross_entropy, torch.zeros(3), torch.tensor([0, 1, 2]), r"needs \(N, K\)"),
    (cross_entropy, torch.zeros(3, 2), torch.zeros(3, 2), r"int64 of shape \(3,\)"),
    (cross_entropy, torch.zeros(3, 2), torch.zeros(3), "torch.float32"),
    (cross_entropy, torch.zeros(3, 2), torch.zeros(3, 1, dtype=torch.int64), r"of shape \(3, 1\)"),
    (cross_entropy, torch.zeros(3, 2), torch.tensor([0, 1, 2]), "2 output nodes"),
    (cross_entropy, torch.zeros(3, 2), torch.tensor([0, 1, -1]), "run from -1 to 1")])
def test_losses_refuse_what_does_not_fit(loss, outputs, target, message):
    with pytest.raises(ValueError, match=message):
        loss(outputs, target)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (2, 3, 4)])
def test_softmax_refuses_what_is_no_choice(shape):
    with pytest.raises(ValueError, match="at least 2"):
        softmax(torch.zeros(shape))
