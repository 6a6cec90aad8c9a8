"""Splits by patient: nothing lost, nothing shared, sizes and classes as asked, the test set once."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from companion.datasets import splits
from companion.datasets.cases import Cases
from companion.datasets.splits import Fold, LeakageError, Split, divide, k_fold, nested, require_apart, split

SHARES = (0.7, 0.15, 0.15)


def make(labels, patients=None) -> Cases:
    """Cases whose images hold their own number."""
    labels = torch.as_tensor(labels)
    n = len(labels)
    images = torch.arange(float(n)).view(n, 1, 1, 1)
    return Cases(images, labels, ("a", "b", "c"), torch.arange(n) if patients is None else torch.as_tensor(patients))


def numbers(cases: Cases) -> list[int]:
    return cases.images.flatten().int().tolist()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# divide

def test_by_hand(generator):
    """Two patients of class 1 with two cases each, four of class 0 with one: half of each class in each set."""
    labels, patients = torch.tensor([1, 1, 0, 0, 1, 1, 0, 0]), torch.tensor([9, 9, 4, 5, 7, 7, 6, 3])
    one, other = divide(labels, patients, (0.5, 0.5), generator)
    for part in (one, other):
        assert labels[part].tolist().count(1) == 2 and len(part) == 4
        assert part.tolist() == sorted(part.tolist()) and part.dtype == torch.int64
    assert sorted([*one.tolist(), *other.tolist()]) == list(range(8))


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.data())
def test_each_case_is_in_one_set_and_each_patient_too(data):
    n = data.draw(st.integers(30, 120))
    owner = st.integers(0, data.draw(st.integers(15, 100)))
    patients = torch.tensor(data.draw(st.lists(owner, min_size=n, max_size=n)))
    kind = data.draw(st.sampled_from(["classes", "findings", "values"]))
    generator = seeded(data.draw(st.integers(0, 99)))
    labels = {"classes": torch.randint(0, 3, (n,), generator=generator), "values": torch.rand(n, generator=generator),
              "findings": (torch.rand(n, 4, generator=generator) < 0.4).float()}[kind]
    try:
        parts = divide(labels, patients, data.draw(st.sampled_from([SHARES, (0.5, 0.5), [0.2] * 5])), generator)
    except ValueError as error:
        assert "too few" in str(error)
        return
    assert sorted(torch.cat(parts).tolist()) == list(range(n))
    owners = [set(patients[part].tolist()) for part in parts]
    assert sum(map(len, owners)) == len(set(patients.tolist()))


@settings(deadline=None, derandomize=True, max_examples=100)
@given(counts=st.lists(st.integers(20, 60), min_size=1, max_size=3), seed=st.integers(0, 99),
       shares=st.sampled_from([SHARES, (0.5, 0.5), (0.8, 0.2), [1 / 3] * 3, [0.2] * 5, [0.1] * 10]))
def test_with_one_case_for_each_patient_every_class_is_within_one_of_its_share(counts, seed, shares):
    labels = torch.repeat_interleave(torch.tensor(counts))[torch.randperm(sum(counts), generator=seeded(seed))]
    parts = divide(labels, torch.arange(len(labels)), shares, seeded(seed))
    for part, share in zip(parts, shares, strict=True):
        for label, count in enumerate(counts):
            assert abs(int((labels[part] == label).sum()) - share * count) < 1 + 1e-4
        assert abs(len(part) - share * len(labels)) < 1 + 1e-4 + len(counts) / 2


def test_what_is_left_over_goes_where_cases_lack(generator):
    """Three cases of each of six classes in two halves: one and two, and nine cases in each half."""
    one, other = divide(torch.arange(18) // 3, torch.arange(18), (0.5, 0.5), generator)
    assert len(one) == len(other) == 9


@settings(deadline=None, derandomize=True, max_examples=50)
@given(seed=st.integers(0, 10 ** 6), k=st.integers(2, 6))
def test_classes_are_no_more_uneven_than_those_of_scikit_learn(seed, k):
    """Patients of 1 to 5 cases, mostly of one class: the share of the rarer class in the worst fold."""
    generator = seeded(seed)
    sizes = torch.randint(1, 6, (60,), generator=generator)
    patients = torch.repeat_interleave(sizes)
    labels = (torch.rand(60, generator=generator) < 0.3).long()[patients]
    labels = torch.where(torch.rand(len(labels), generator=generator) < 0.1, 1 - labels, labels)
    ours = [labels[part] for part in divide(labels, patients, [1 / k] * k, generator)]
    folds = StratifiedGroupKFold(k, shuffle=True, random_state=seed % 2 ** 32)
    theirs = [labels[torch.from_numpy(held)] for _, held in folds.split(np.zeros(len(labels)), labels, patients)]

    def worst(parts, of):
        counts = torch.tensor([float(of(part)) for part in parts])
        return float((counts - counts.mean()).abs().max())

    rarer = int(torch.bincount(labels).argmin())
    assert worst(ours, lambda part: (part == rarer).sum()) <= max(worst(theirs, lambda part: (part == rarer).sum()), 1)
    assert worst(ours, len) <= max(worst(theirs, len), 5)


def test_values_are_split_by_number_of_cases(generator):
    patients = torch.randint(0, 40, (200,), generator=generator)
    parts = divide(torch.rand(200, generator=generator), patients, SHARES, generator)
    for part, share in zip(parts, SHARES, strict=True):
        assert abs(len(part) - share * 200) <= torch.bincount(patients).max()


def test_rare_findings_are_in_every_set(generator):
    findings = (torch.rand(1000, 3, generator=generator) < torch.tensor([0.02, 0.2, 0.5])).float()
    parts = divide(findings, torch.arange(1000), SHARES, generator)
    for part, share in zip(parts, SHARES, strict=True):
        torch.testing.assert_close(findings[part].sum(0), share * findings.sum(0), rtol=0.05, atol=2)
        assert abs(len(part) - share * 1000) < 20


def test_the_seed_decides(device):
    labels, patients = torch.arange(60, device=device) % 2, torch.arange(60, device=device)
    one, same, other = (divide(labels, patients, SHARES, seeded(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True)) and not torch.equal(one[1], other[1])
    assert {part.device.type for part in one} == {device.type}


def test_every_patient_is_drawn_as_often_for_the_test_set():
    labels = torch.arange(20) % 2
    drawn = torch.cat([divide(labels, torch.arange(20), (0.8, 0.2), seeded(seed))[1] for seed in range(500)])
    assert torch.bincount(drawn).min() > 60 and torch.bincount(drawn).max() < 140  # 100 expected, standard error 9


@pytest.mark.parametrize(("labels", "shares", "says"), [
    ([0, 1] * 10, (0.7, 0.2), r"shares are \[0.7, 0.2\], but must be positive and add up to 1"),
    ([0, 1] * 10, (1.2, -0.2), "shares are"),
    ([0] * 20 + [2] * 2, SHARES, "there are 2 patients with class or finding 2: too few for 3 sets .* set 1 gets none"),
    ([0, 1], [0.2] * 5, "too few for 5 sets"),
    ([[0.0, 1]] * 20 + [[1, 0]] * 2, SHARES, "2 patients with class or finding 0"),
    ([0.5, 0.5], SHARES, "there are 2 patients: too few for 3 sets"),
])
def test_what_can_not_be_divided_is_refused(labels, shares, says, generator):
    labels = torch.tensor(labels)
    with pytest.raises(ValueError, match=says):
        divide(labels, torch.arange(len(labels)), shares, generator)


@pytest.mark.parametrize("labels", [torch.zeros(0).long(), torch.zeros(0), torch.zeros(0, 3)])
def test_no_cases_can_not_be_divided(labels, generator):
    with pytest.raises(ValueError, match="there are no cases to divide: "):
        divide(labels, torch.zeros(0).long(), SHARES, generator)


def test_labels_and_patients_come_in_pairs(generator):
    with pytest.raises(ValueError, match="3 labels, but 4 patients"):
        divide(torch.zeros(3).long(), torch.zeros(4).long(), SHARES, generator)


# Split

def test_a_split_keeps_every_case_once_with_all_that_belongs_to_it(generator):
    cases = make(torch.arange(100) % 2, torch.arange(100) // 2)
    parts = split(cases, generator, development=0.2, test=0.3)
    assert repr(parts) == "Split(train 50, development 20, test 30)"
    together = [parts.train, parts.development, parts.test()]
    assert sorted(sum(map(numbers, together), [])) == list(range(100))
    for part in together:
        assert part.labels.tolist() == [n % 2 for n in numbers(part)]
        assert part.patients.tolist() == [n // 2 for n in numbers(part)]


def test_shares_that_leave_nothing_to_train_on(generator):
    with pytest.raises(ValueError, match=r"shares are \[0.0, 0.5, 0.5\]"):
        split(make([0, 1] * 20), generator, development=0.5, test=0.5)


def test_the_test_set_is_handed_out_once_and_then_with_a_warning(generator):
    parts = split(make([0, 1] * 20), generator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repr(parts)
        first = parts.test()
    with pytest.warns(splits.TestSetReused, match="handed out 2 times") as caught:
        assert parts.test() is first
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="handed out 3 times"):
        parts.test()


@pytest.mark.parametrize(("patients", "says"), [
    (([1, 2], [2, 3], [4]), r"1 patients are in train and in development, such as \[2\]"),
    (([1, 2], [3], [1, 2]), r"2 patients are in train and in test, such as \[1, 2\]"),
    (([1], [2, 3], [3]), "in development and in test"),
])
def test_a_split_that_leaks_can_not_be_built(patients, says):
    with pytest.raises(LeakageError, match=says):
        Split(*(make([0] * len(numbers), numbers) for numbers in patients))


def test_a_split_can_not_be_made_to_leak(generator):
    parts = split(make([0, 1] * 20), generator)
    for name in ("train", "development"):
        with pytest.raises(AttributeError, match=name):
            setattr(parts, name, make([0, 1]))
    assert (len(parts.train), len(parts.development)) == (28, 6)


def test_leakage_is_a_value_error_and_official_subsets_are_welcome():
    assert issubclass(LeakageError, ValueError)
    parts = Split(make([0, 1], [0, 1]), make([1], [2]), make([0], [3]))
    assert numbers(parts.train) == [0, 1] and parts.test().patients.tolist() == [3]
    require_apart(one=torch.tensor([1]), other=torch.tensor([2]))


# Folds

def test_each_case_is_held_out_exactly_once(generator):
    cases = make(torch.arange(90) % 3, torch.arange(90) // 3 * 7)
    folds = k_fold(cases, 5, generator)
    assert sorted(sum((numbers(fold.held_out) for fold in folds), [])) == list(range(90))
    for fold in folds:
        assert sorted(numbers(fold.train) + numbers(fold.held_out)) == list(range(90))
        assert torch.bincount(fold.held_out.labels).tolist() == [6, 6, 6]
        assert not set(fold.train.patients.tolist()) & set(fold.held_out.patients.tolist())


def test_nested_folds_never_see_the_outer_held_out_cases(generator):
    rounds = nested(make([0, 1] * 30), 3, 4, generator)
    assert len(rounds) == 3
    for outer, inner in rounds:
        assert len(inner) == 4
        assert sorted(sum((numbers(fold.held_out) for fold in inner), [])) == sorted(numbers(outer.train))


def test_a_fold_that_leaks_can_not_be_built_and_one_fold_is_none(generator):
    with pytest.raises(LeakageError, match="in train and in held_out"):
        Fold(make([0], [1]), make([0], [1]))
    with pytest.raises(ValueError, match="k is 1, but"):
        k_fold(make([0, 1] * 10), 1, generator)
    with pytest.raises(ValueError, match="too few for 5 sets"):
        k_fold(make([0] * 20 + [1] * 4), 5, generator)
