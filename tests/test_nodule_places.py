"""Where findings lie: in the lung, apart from each other, as each kind prefers."""

import pytest
import torch

from companion.datasets.phantoms import lung, nodule_places

N = 360


@pytest.fixture(scope="module")
def anatomy() -> lung.Anatomy:
    return lung.draw(N, torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def alone(anatomy) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """One finding of 10 mm in each patient: position, depth, way out, kind."""
    kinds = torch.arange(N) % 8
    places = nodule_places.draw(anatomy, torch.arange(N), kinds, torch.full((N,), 10.0),
                                torch.Generator().manual_seed(2))
    depth, out = lung.depth(anatomy, places[:, None])
    return places, depth[:, 0], out[:, 0], kinds


def test_findings_lie_in_the_lung(alone):
    _, depth, _, kinds = alone
    assert (depth > -2).all() and (depth[kinds < 6] > 2).all()


def test_plaques_and_fat_lie_on_the_pleura_and_some_nodules_touch_it(alone):
    _, depth, _, kinds = alone
    on = kinds >= 6
    assert (depth[on] - 0.5).abs().median() < 0.1 and (depth[on] < 4).all()
    assert 0.1 < (depth[kinds < 3] < 4.5).float().mean() < 0.4


def test_cancers_lie_higher_than_metastases_and_these_further_out(alone):
    places, depth, _, kinds = alone
    height = [places[kinds == k, 0].mean().item() for k in range(3)]
    assert height[1] > height[0] + 5 > height[2] + 10
    assert depth[kinds == 2].median() < depth[kinds == 0].median()


def test_findings_of_one_patient_keep_apart(anatomy):
    patients = torch.arange(40).repeat_interleave(9)
    kinds = torch.arange(N) % 3
    places = nodule_places.draw(anatomy, patients, kinds, torch.full((N,), 8.0), torch.Generator().manual_seed(3))
    gaps = (places[:, None] - places).norm(dim=-1)
    same = (patients[:, None] == patients) & ~torch.eye(N, dtype=torch.bool)
    assert gaps[same].min() > nodule_places.APART - 15 and gaps[~same].min() < 10


def test_order_of_a_patients_findings_counts_from_zero():
    assert nodule_places._rank(torch.tensor([4, 2, 4, 4, 2])).tolist() == [0, 0, 1, 2, 1]
