"""Drawings of sets and rounds: each image and each patient where it belongs."""

import pytest
import torch

from companion.plotting import splits

CLASSES = ("benign", "malignant")


def tensors(*lists):
    return tuple(map(torch.tensor, lists))


def points(ax) -> list[set[tuple[float, float]]]:
    """The points of each line of the panel, legend entries left out."""
    found = [set(zip(*line.get_data(), strict=True)) for line in ax.lines]
    return [{(float(x), float(y)) for x, y in f} for f in found]


def test_each_image_has_a_marker_above_its_patient():
    fig = splits.sets({"training set": tensors([7, 3, 7, 5], [1, 0, 1, 0]), "test set": tensors([9], [1])}, CLASSES)
    benign, malignant, shared = points(fig.axes[0])[:3]
    assert malignant == {(0, 1), (0, 2)}                        # patient 7, with two images, comes first
    assert benign == {(1, 1), (2, 1)} and not shared
    assert points(fig.axes[1])[1] == {(0, 1)}
    assert "3 patients,\n4 images" in fig.axes[0].get_title(loc="left")


def test_a_patient_in_two_sets_is_marked_in_both():
    fig = splits.sets({"a": tensors([1, 2], [0, 0]), "b": tensors([2, 3], [0, 0])}, CLASSES)
    assert points(fig.axes[0])[2] == {(1, 0.2)} and points(fig.axes[1])[2] == {(0, 0.2)}


def test_roles_stand_below():
    fig = splits.sets({"a": tensors([1], [0]), "b": tensors([2], [0])}, CLASSES, {"b": "judge"})
    assert [ax.get_xlabel() for ax in fig.axes] == ["", "judge"]


def test_rounds_hold_each_patient_out_along_a_diagonal():
    held = [torch.tensor([4, 2]), torch.tensor([1, 3])]
    fig = splits.rounds({f"round {i}": {"training": held[1 - i], "held out": held[i]} for i in (0, 1)})
    training, out = points(fig.axes[0])[:2]
    assert out == {(0, 0), (1, 0), (2, 1), (3, 1)}
    assert training == {(2, 0), (3, 0), (0, 1), (1, 1)}
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["round 0", "round 1"]
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["training", "held out"]


def test_nested_rounds_sort_by_testing_first():
    """Three outer rounds of two inner ones: the patients of a test part stand side by side."""
    parts = ([1, 2], [3, 4], [5, 6])
    rows = {}
    for test in range(3):
        others = [part for number, part in enumerate(parts) if number != test]
        for inner in range(2):
            roles = [[part[1 - inner] for part in others], [part[inner] for part in others], parts[test]]
            rows[f"{test}, {inner}"] = dict(zip(("training", "development", "test"), tensors(*roles), strict=True))
    tested = points(splits.rounds(rows).axes[0])[2]
    assert tested == {(2 * test + i, 2 * test + inner) for test in range(3) for inner in range(2) for i in range(2)}


@pytest.mark.parametrize(("second", "words"), [
    ({"training": [1, 2], "held out": [2, 3]}, "patient 2 has two roles"),
    ({"training": [1], "held out": [2]}, "no role for 1 patients, such as \\[3\\]")])
def test_rounds_that_are_none(second, words):
    rows = {"round 1": {"training": [1, 2], "held out": [3]}, "round 2": second}
    with pytest.raises(ValueError, match=words):
        splits.rounds({row: {role: torch.tensor(p) for role, p in parts.items()} for row, parts in rows.items()})
