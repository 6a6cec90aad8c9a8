"""One finding by hand: volume, lobes, ground glass, core, inclusions, strands."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from companion.datasets.phantoms.finding import Finding, layers
from companion.datasets.phantoms.shapes import rotation

SIZE, MM, HERE = (32, 32, 32), (1.0, 1.0, 1.0), torch.zeros(1, 3)


def ball(radius=8.0, **changes) -> Finding:
    """A smooth solid ball of 30 HU without strands."""
    plain = Finding(radii=torch.full((1, 3), radius), turn=torch.eye(3)[None], lobes=torch.tensor([[[0.0, 0, 1]]]),
                    heights=torch.zeros(1, 1), core=torch.ones(1), solid=torch.tensor([30.0]),
                    glass=torch.tensor([-600.0]), edge=torch.tensor([1.0]), inclusions=torch.zeros(1, 2, 4),
                    inclusion_values=torch.zeros(1, 2), strands=torch.zeros(1, 1, 3, 3),
                    strand_radii=torch.zeros(1, 1, 2))
    return replace(plain, **changes)


def volume(share) -> float:
    return share.sum().item()


@given(st.lists(st.floats(3, 11), min_size=3, max_size=3), st.lists(st.floats(-3, 3), min_size=3, max_size=3))
@settings(deadline=None, derandomize=True, max_examples=30)
def test_body_has_the_volume_of_its_ellipsoid_at_any_turn(radii, angles):
    finding = ball(radii=torch.tensor([radii]), turn=rotation(torch.tensor([angles])))
    shown = layers(finding, HERE, SIZE, MM)
    assert volume(shown.solid) == pytest.approx(4 / 3 * math.pi * math.prod(radii), rel=0.06)
    assert not shown.glass.any() and (shown.value == 30).all()


def test_columns_of_the_turn_are_the_bodys_axes(device):
    along = torch.tensor([[[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]])                     # the third axis points to z
    finding = ball(radii=torch.tensor([[3.0, 3, 12]]), turn=along.transpose(1, 2)).to(device)
    solid = layers(finding, HERE.to(device), SIZE, MM).solid[0] > 0.5
    extent = [solid.any(d2).any(d1).sum().item() for d1, d2 in ((1, 2), (0, 2), (0, 1))]
    assert max(extent) == 24 and sorted(extent)[:2] == [6, 6]
    assert extent.index(24) == along[0].transpose(0, 1)[:, 2].argmax()


def test_offset_moves_the_finding():
    solid = layers(ball(4.0), torch.tensor([[3.0, -5, 6]]), SIZE, MM).solid[0]
    centre = (solid.nonzero().float() * solid[solid > 0][:, None]).sum(0) / solid.sum() - 15.5
    assert centre.tolist() == pytest.approx([3, -5, 6], abs=0.05)


def test_a_lobe_bulges_to_its_side():
    plain, lobed = (layers(ball(heights=torch.tensor([[h]])), HERE, SIZE, MM).solid[0] for h in (0.0, 0.4))
    assert (lobed[16, 16] > 0.5).sum() == (plain[16, 16] > 0.5).sum() + 3           # 0.4 x 8 mm along x
    torch.testing.assert_close(lobed[:, :, :12], plain[:, :, :12], atol=0.02, rtol=0)
    notched = layers(ball(heights=torch.tensor([[-0.4]])), HERE, SIZE, MM).solid
    assert volume(notched) < volume(plain) < volume(lobed)


def test_ground_glass_has_no_solid_part_and_a_soft_edge():
    sharp, soft = (layers(ball(core=torch.zeros(1), edge=torch.tensor([e])), HERE, SIZE, MM) for e in (1.0, 4.0))
    assert not sharp.solid.any() and volume(sharp.glass) == pytest.approx(4 / 3 * math.pi * 512, rel=0.03)
    between = [((s.glass > 0.05) & (s.glass < 0.95)).sum().item() for s in (sharp, soft)]
    assert between[1] > 2 * between[0]


def test_a_part_solid_nodules_core_is_its_share_of_the_radius():
    shown = layers(ball(10.0, core=torch.tensor([0.5])), HERE, SIZE, MM)
    assert volume(shown.solid) == pytest.approx(4 / 3 * math.pi * 125, rel=0.05)
    assert volume(shown.glass) == pytest.approx(4 / 3 * math.pi * 1000, rel=0.03)


def test_inclusions_lie_where_they_should_one_over_the_other():
    shells = torch.tensor([[[0.0, 0, 0, 0.8], [0, 0, 0, 0.4]]])
    value = layers(ball(10.0, inclusions=shells, inclusion_values=torch.tensor([[500.0, 60]])), HERE, SIZE, MM).value[0]
    assert value[16, 16, 16] == 60 and value[16, 16, 22] == 500 and value[16, 16, 26] == 30
    aside = torch.tensor([[[0.0, 0, 0.5, 0.2], [0, 0, 0, 0]]])
    value = layers(ball(10.0, inclusions=aside, inclusion_values=torch.tensor([[400.0, 9]])), HERE, SIZE, MM).value[0]
    assert value[16, 16, 21] == 400 and value[16, 16, 16] == 30 and (value != 9).all()


def test_strands_are_solid_and_may_stand_alone():
    curve = torch.tensor([[[[0.0, 0, -12], [0, 0, 0], [0, 0, 12]]]])
    alone = layers(ball(0.0, strands=curve, strand_radii=torch.full((1, 1, 2), 1.5)), HERE, SIZE, MM)
    assert volume(alone.solid) == pytest.approx(math.pi * 1.5 ** 2 * 24, rel=0.2) and not alone.glass.any()
    both = layers(ball(5.0, strands=curve, strand_radii=torch.full((1, 1, 2), 1.5)), HERE, SIZE, MM).solid
    assert torch.equal(both, torch.maximum(alone.solid, layers(ball(5.0), HERE, SIZE, MM).solid))


def test_findings_can_be_chosen():
    two = Finding(*(torch.cat([a, b]) for a, b in zip(vars(ball(3.0)).values(), vars(ball(9.0)).values(), strict=True)))
    assert two.of(torch.tensor([1])).radii.tolist() == [[9, 9, 9]]
    together = layers(two, HERE.expand(2, 3), SIZE, MM).solid
    assert torch.equal(together[1], layers(ball(9.0), HERE, SIZE, MM).solid[0])
