"""What surrounds the lung: bone, muscle, fat, skin and air, in this order from inside out."""

import pytest
import torch

from companion.datasets.phantoms import lung, lung_geometry, lung_wall


def profile(centre, size, spacing=(1.0, 1.0, 1.0), fat=20.0) -> torch.Tensor:
    """CT values around the lung of an average patient whose ribs lie at position 0: (D, H, W)."""
    one = torch.ones(1, 3)
    around = lung_geometry.field(one, torch.tensor([fat]), torch.tensor([centre]), size, spacing)
    return lung_wall.surroundings(around, torch.tensor([fat]), torch.zeros(1), max(spacing))[0]


def test_chest_wall_from_inside_out():
    line = profile((-60.0, 0.0, -165.0), (1, 1, 100))[0, 0]                         # from x = -215 to -115
    places = {name: -115 - x for name, x in (("muscle", 14), ("fat", 60), ("air", 85))}
    at = {name: line[round(x + 214.5)].item() for name, x in places.items()}
    assert at["air"] == lung_wall.AIR
    soft = line[(line > -500)]
    assert soft.min() < -90 and (soft > 50).sum() > 15                              # fat and muscle


def test_fat_under_the_skin_is_as_thick_as_asked():
    thin, thick = (profile((-60.0, 0.0, -165.0), (1, 1, 100), fat=f)[0, 0] for f in (8.0, 24.0))
    fatty = [((line < -80) & (line > -120)).sum().item() for line in (thin, thick)]
    assert fatty[1] - fatty[0] == pytest.approx(16, abs=2)


def test_ribs_come_every_26_mm_and_turn_to_cartilage_in_front():
    """At the side and at the front, up and down, 6 mm outside of the chest cavity."""
    side = profile((-60.0, 0.0, -146.0), (105, 1, 1))[:, 0, 0]
    bone = side > 120
    starts = (bone[1:] & ~bone[:-1]).sum().item()
    assert starts == 4 and 0.3 < bone.float().mean() < 0.65
    front = profile((-60.0, -94.0, -50.0), (60, 16, 1))
    assert 90 < front.max() < 160


def test_rib_marrow_is_softer_than_its_shell():
    slab = profile((-60.0, 0.0, -146.0), (80, 1, 16))[:, 0]
    inner = slab[(slab > 150) & (slab < 210)]
    assert len(inner) > 20 and slab.max() > 500


def test_parts_of_the_mediastinum():
    assert profile((-70.0, -26.0, 24.0), (3, 3, 3)).mean().item() == pytest.approx(lung_wall.BLOOD, abs=1)
    assert profile((-20.0, 46.0, 22.0), (3, 3, 3)).mean().item() == pytest.approx(lung_wall.BLOOD, abs=1)     # aorta
    assert profile((20.0, -65.0, 0.0), (3, 3, 3)).mean() < -80                     # fat behind the sternum
    spine = profile((0.0, 70.0, 0.0), (49, 1, 1))[:, 0, 0]
    assert spine.min().item() == pytest.approx(80, abs=1) and spine.max().item() == pytest.approx(170, abs=1)
    assert profile((0.0, 93.0, 0.0), (1, 3, 3)).mean().item() == pytest.approx(15, abs=5)                    # canal


def test_the_lung_takes_no_part_in_its_surroundings():
    anatomy = lung.draw(1, torch.Generator().manual_seed(4))
    scene = lung.render(anatomy, torch.tensor([0]), torch.tensor([[-20.0, 0.0, -80.0]]), (16, 16, 16))
    assert (scene.lung == 1).all() and (scene.image() < 60).all()
