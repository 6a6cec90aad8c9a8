"""The experiment behind pool-shift-invariance: maps, movements, yardsticks."""

import math

import pytest
import torch

from companion.models.small_cnn import SmallCNN
from companion.studies import pool_shift_invariance as study


@pytest.fixture
def model(device):
    torch.manual_seed(0)
    return SmallCNN().to(device).requires_grad_(False)


@pytest.fixture
def images(device):
    return study.prepared(0, device)[1][:5]


def test_max_pooling_is_the_network_itself(model, images):
    torch.testing.assert_close(study.feature_maps(images, model, "max pooling"), model.features(images))


def test_every_second_value_samples_the_unpooled_maps(model, images):
    dense = study.feature_maps(images, model, "no pooling")
    sampled = study.feature_maps(images, model, "every second value")
    torch.testing.assert_close(sampled, dense[:, :, ::4, ::4])


def test_unpooled_maps_move_with_the_image(model, images):
    before = study.feature_maps(images, model, "no pooling")
    after = study.feature_maps(study.shift(images, 2, 3), model, "no pooling")
    moved = before.roll((2, 3), (-2, -1))
    torch.testing.assert_close(after[..., 6:-6, 6:-6], moved[..., 6:-6, 6:-6])             # padding alters the border


@pytest.mark.parametrize("way", study.POOLS)
def test_pooled_maps_move_with_a_shift_of_four(way, model, images):
    before = study.feature_maps(images, model, way)
    after = study.feature_maps(study.shift(images, 0, 4), model, way)
    torch.testing.assert_close(after[..., 2:-2, 2:-2], before.roll(1, -1)[..., 2:-2, 2:-2])


def test_shift_moves_down_and_right_and_loses_nothing(images):
    moved = study.shift(images, 3, 3)
    assert moved[..., :3, :].sum() == 0 and moved[..., :3].sum() == 0                      # the margin is black
    torch.testing.assert_close(moved[..., 3:, 3:], images[..., :-3, :-3])


def test_rotation_by_a_right_angle_is_exact(images):
    torch.testing.assert_close(study.rotate(images, 90.0), images.rot90(1, (-2, -1)), atol=1e-5, rtol=0)


def test_bending_moves_by_one_pixel_on_average(device, generator):
    columns = torch.arange(64.0, device=device).expand(20, 1, 64, 64)                      # a ramp tells the distance
    moved = (study.bend(columns, generator) - columns)[..., 8:-8, 8:-8]
    assert moved.square().mean().sqrt().item() == pytest.approx(1, abs=0.1)
    assert (moved[..., 1:] - moved[..., :-1]).abs().max() < 1                              # neighbours stay in order


def test_changes_by_hand():
    maps = torch.tensor([[3.0, 4.0], [0.0, 0.0]])                                          # lengths 5 and 0, distance 5
    found = study.changes(maps, maps + torch.tensor([0.0, 1.0]))
    assert found == pytest.approx({"own length": 1 / 2.5, "other digits": 1 / 5})
    assert study.changes(maps, maps) == {"own length": 0, "other digits": 0}
    assert study.changes(maps, maps.roll(1, 0))["other digits"] == 1


def test_averages_return_where_the_sampling_does(model, images):
    bare = study.averages(model, images, "every second value", 4)
    assert max(bare[0], bare[4]) < 1e-4 < 0.05 < min(bare[1:4])
    assert max(study.averages(model, images, "no pooling", 4)) < 1e-4
    maps, moved = (study.feature_maps(study.shift(images, 0, s), model, "every second value") for s in (0, 1))
    assert bare[1] == study.changes(maps.mean((2, 3)), moved.mean((2, 3)))["other digits"]


def test_a_run_is_repeatable_and_complete(monkeypatch, device):
    monkeypatch.setattr(study, "TEST", 6)
    monkeypatch.setattr(study, "STEPS", 3)
    first, second = study.run(0, device), study.run(0, device)
    assert first == (pytest.approx(second, rel=1e-2, abs=1e-4) if device.type == "cuda" else second)
    assert all(math.isfinite(value) for value in first.values())
    margin = first["trained, no pooling, shift 1, own length"] - first["trained, max pooling, shift 1, own length"]
    assert first["trained, margin, shift 1, own length"] == margin
    assert first["random, no pooling, shift 1, own length"] != first["trained, no pooling, shift 1, own length"]
