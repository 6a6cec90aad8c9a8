"""The study of wrong labels: as many are wrong as asked, and the right ones."""

import pytest
import torch

from companion.datasets.cases import Cases
from companion.studies import garbage_in


@pytest.fixture(scope="module")
def films() -> Cases:
    """Six films of disease with 1 to 6 pixels of 1 cm2, in mixed order, and four normal ones."""
    pixels = torch.tensor([3, 0, 1, 5, 0, 6, 2, 0, 4, 0])
    masks = (torch.arange(16) < pixels[:, None]).view(10, 4, 4)
    return Cases(torch.zeros(10, 1, 4, 4), (pixels > 0).long(), ("normal", "tuberculosis"), torch.arange(10),
                 spacing=(10.0, 10.0), masks={"lesion": masks})


def test_areas_in_square_centimetres(films):
    assert garbage_in.areas(films).tolist() == [3, 0, 1, 5, 0, 6, 2, 0, 4, 0]


def test_the_reader_overlooks_the_smallest(films, generator):
    labels = garbage_in.corrupt(films, 0.3, "overlooked, smallest", generator)
    assert labels.tolist() == [0, 0, 0, 1, 0, 1, 0, 0, 1, 0]         # those with 1, 2 and 3 pixels are gone
    assert garbage_in.limit(films, 0.3) == 4


@pytest.mark.parametrize("error", garbage_in.ERRORS)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6])
def test_as_many_are_wrong_as_asked(films, generator, error, share):
    before = films.labels.clone()
    labels = garbage_in.corrupt(films, share, error, generator)
    assert (labels != films.labels).sum() == round(share * 10)
    assert error == "at random" or (labels <= films.labels).all()
    assert torch.equal(films.labels, before)


def test_errors_at_random_hit_both_classes(films, generator):
    wrong = sum(garbage_in.corrupt(films, 0.5, "at random", generator) != films.labels for _ in range(50))
    assert (wrong > 10).all() and (wrong < 40).all()


@pytest.mark.parametrize(("error", "share", "words"), [("tired", 0.1, "there is no error 'tired'"),
                                                       ("overlooked, smallest", 0.7, "only 6 films show any")])
def test_errors_of_the_call(films, generator, error, share, words):
    with pytest.raises(ValueError, match=words):
        garbage_in.corrupt(films, share, error, generator)


def test_judge_by_hand(films):
    """Small disease: 1 to 3 pixels. One normal film scores 0.5, three -1."""
    scores = torch.tensor([0.5, -1.0, -0.5, 2.0, -1.0, 2.0, 0.5, 1.0, 2.0, -1.0])
    found = garbage_in.judge(scores, films, 4.0)
    assert found == pytest.approx({"AUC, all": (9 + 12) / 24, "specificity": 0.75, "AUC, small": 0.75,
                                   "sensitivity, small": 2 / 3, "AUC, extensive": 1, "sensitivity, extensive": 1})
