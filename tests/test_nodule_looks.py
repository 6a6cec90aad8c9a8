"""Looks of nodules and look-alikes: how often each kind shows each feature, and the form of each."""

import pytest
import torch

from companion.datasets.phantoms import nodule_looks
from companion.datasets.phantoms.finding import Finding

N = 900
SPICULES = slice(0, nodule_looks.SPICULES)
TAIL, CONVERGING, FEEDING = nodule_looks.SPICULES, slice(nodule_looks.SPICULES + 1, -3), -3


def looks(kinds: torch.Tensor, depth: float = 15.0, contrast: float = 1.0) -> tuple[Finding, torch.Tensor]:
    """Looks and diameters of findings whose nearest pleura lies along +x."""
    generator, out = torch.Generator().manual_seed(1), torch.tensor([0.0, 0, 1]).expand(len(kinds), 3)
    across = nodule_looks.diameters(kinds, generator)
    return nodule_looks.draw(kinds, across, out, torch.full((len(kinds),), depth), generator, contrast), across


@pytest.fixture(scope="module")
def nodules() -> tuple[Finding, torch.Tensor, torch.Tensor]:
    """N nodules, a third of each kind: looks, diameters, kinds."""
    kinds = torch.arange(N) % 3
    return *looks(kinds), kinds


def shares(flag, kinds):
    return [flag[kinds == k].float().mean().item() for k in range(3)]


def calcified(finding):
    return (finding.inclusion_values[:, 0] > 200) & (finding.inclusions[:, 0, 3] > 0)


def test_kinds_differ_in_how_often_they_show_each_feature(nodules):
    """Against the table, within three standard errors of 300 cases."""
    found, across, kinds = nodules
    thick = found.strand_radii.amax(-1)
    rows = nodule_looks.LOOKS[:3]
    for flag, expected in (
            (thick[:, SPICULES].amax(1) > 0, [r.spiculated for r in rows]),
            (found.core == 0, [r.glass for r in rows]),
            ((found.core > 0) & (found.core < 1), [r.part_solid for r in rows]),
            (calcified(found), [r.calcified * (1 - r.glass - r.part_solid) for r in rows]),
            (thick[:, TAIL] > 0, [r.tail for r in rows]),
            (thick[:, CONVERGING].amax(1) > 0, [r.converging for r in rows]),
            (thick[:, FEEDING] > 0, [r.fed for r in rows])):
        for share, p in zip(shares(flag, kinds), expected, strict=True):
            assert abs(share - p) <= 3 * (p * (1 - p) / 300) ** 0.5 + 0.01
    medians = [across[kinds == k].median().item() for k in range(3)]
    assert medians == pytest.approx([r.diameter for r in rows], rel=0.1)
    assert across.min() >= 4 and across.max() <= 28


def test_benign_and_malignant_overlap(nodules):
    """No single feature separates them: sizes overlap, and each margin and type occurs in both."""
    found, across, kinds = nodules
    benign, malignant = across[kinds == 0], across[kinds == 1]
    auc = (malignant[:, None] > benign).float().mean()
    assert 0.75 < auc < 0.9
    for flag in (found.strand_radii[:, SPICULES].amax((1, 2)) > 0, found.core < 1, calcified(found)):
        assert all(0 < share < 1 for share in shares(flag, kinds)[:2])


def test_metastases_are_rounder(nodules):
    found, _, kinds = nodules
    ratio = found.radii.amax(1) / found.radii.amin(1)
    assert ratio[kinds == 2].max() < 1.13 < ratio[kinds < 2].median()
    assert (found.radii.log().mean(1).exp() * 2).tolist() == pytest.approx(nodules[1].tolist(), rel=1e-4)


def test_calcium_is_of_a_benign_pattern_in_benign_nodules_only(nodules):
    found, _, kinds = nodules
    central = (found.inclusions[:, 0, :3].norm(dim=-1) == 0) & calcified(found)
    assert central[kinds == 0].any() and not central[kinds > 0].any()
    fat = (found.inclusion_values[:, 0] < 0) & (found.inclusions[:, 0, 3] > 0)
    assert fat[kinds == 0].any() and not fat[kinds > 0].any()


def test_spicules_start_at_the_surface_and_end_beyond_it(nodules):
    found, across, _ = nodules
    present = found.strand_radii[:, SPICULES].amax(-1) > 0
    ends = found.strands[:, SPICULES][present]
    own = torch.einsum("sia,sab->sib", ends, found.turn.repeat_interleave(present.sum(1), 0))
    reach = (own / found.radii.repeat_interleave(present.sum(1), 0)[:, None]).norm(dim=-1)
    assert (reach[:, 0] < 1).all() and (reach[:, 2] > 1.3).all() and (reach[:, 2] < 3.1).all()


def test_tails_reach_a_near_pleura_and_leave_a_far_one_alone():
    malignant = torch.ones(200, dtype=torch.long)
    near, far = looks(malignant, depth=15.0)[0], looks(malignant, depth=30.0)[0]
    tailed = near.strand_radii[:, TAIL, 0] > 0
    assert near.strands[tailed, TAIL, 2].tolist() == [pytest.approx([0, 0, 16])] * int(tailed.sum())
    assert not far.strand_radii[:, TAIL].any()


def test_contrast_scales_the_difference_to_the_lung():
    kinds = torch.arange(40) % 8
    (natural, _), (half, _) = looks(kinds), looks(kinds, contrast=0.5)
    for name in ("solid", "glass", "inclusion_values"):
        torch.testing.assert_close(getattr(half, name) + 850, (getattr(natural, name) + 850) / 2)
    assert torch.equal(half.radii, natural.radii)


def test_every_look_alike_has_its_form():
    kinds = torch.arange(3, 8).repeat(20)
    found, _ = looks(kinds, depth=0.5)
    bodiless, flat = kinds < 5, found.radii.amax(1) > 1.5 * found.radii.amin(1)
    assert (found.radii[bodiless] == 0).all() and flat[~bodiless].float().mean() > 0.8
    vessels = (found.strand_radii[..., 0] > 0).sum(1)
    assert (vessels[kinds == 3] == 2).all() and (vessels[kinds == 4] == 1).all()
    assert (found.solid[kinds == 7] < -75).all() and (found.solid[kinds < 7] > 0).all()
    torch.testing.assert_close(found.turn @ found.turn.transpose(1, 2), torch.eye(3).expand(100, 3, 3), atol=1e-4,
                               rtol=0)
    assert (found.turn[kinds >= 6][:, 2, 0] > 0.999).all()                          # plaques lie flat on the pleura


def test_a_crossing_passes_through_the_middle():
    found, _ = looks(torch.full((30,), 3))
    both = found.strands[:, -2:]
    middle = both[:, :, 0] / 4 + both[:, :, 1] / 2 + both[:, :, 2] / 4
    assert middle.norm(dim=-1).max() < 4
    assert both[:, :, [0, 2]].norm(dim=-1).min() > 20
