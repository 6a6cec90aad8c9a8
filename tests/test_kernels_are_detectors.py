"""The images behind the claim kernels-are-detectors: stripes run as named, and the truth about rectangles is true."""

import math

import pytest
import torch

from companion.studies import kernels_are_detectors as study


@pytest.fixture
def no_noise(monkeypatch):
    monkeypatch.setattr(study, "NOISE", 0.0)


def test_stripes_run_as_named(generator, no_noise):
    flat, steep = study.gratings(0, 5, generator), study.gratings(90, 5, generator)
    assert torch.equal(flat, flat[..., :1].expand_as(flat))                                # rows are even
    torch.testing.assert_close(steep, steep[..., :1, :].expand_as(steep))
    oblique = study.gratings(45, 5, generator)
    torch.testing.assert_close(oblique[..., 1:, :-1], oblique[..., :-1, 1:], atol=1e-4, rtol=0)


def test_contrast_and_frequency_of_stripes(generator, no_noise):
    waves = study.gratings(0, 500, generator)[:, 0, :, 0]
    assert 0.5 * math.sin(math.pi / 4) <= waves.amax(dim=1).min() and waves.max() <= 1
    crossings = (waves[:, 1:].sign() != waves[:, :-1].sign()).sum(dim=1)
    assert 0.05 * 27 * 2 - 1 <= crossings.min() and crossings.max() <= 0.25 * 27 * 2 + 1


def test_windows_of_rectangles_are_named_rightly(generator, no_noise):
    images, horizontal, vertical, even = study.rectangles(50, generator)
    across_rows, across_columns, outline = study.energies(images, torch.device("cpu")).split(1, dim=1)
    assert (across_rows[horizontal] > 0.5).all() and (across_columns[horizontal] < 1e-9).all()
    assert (across_columns[vertical] > 0.5).all() and (across_rows[vertical] < 1e-9).all()
    assert (outline[even] < 1e-9).all() and (outline[horizontal | vertical] > 0.5).all()
    corners = ~(horizontal | vertical | even)
    assert (corners.sum(dim=(1, 2, 3)) == 4 * 4).all()                                     # four windows at each
    assert (horizontal.sum(dim=(1, 2, 3)) >= 2 * 2 * 3).all()                              # two rows on two sides


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(study, "IMAGES", 30)


def test_the_same_seed_gives_the_same_numbers(device, few):
    first, second, other = (study.run(seed, device) for seed in (1, 1, 2))
    assert first == second and first != other and first["ones, direction told"] > 0.7
    assert all(math.isfinite(value) for value in first.values())


def test_a_kernel_that_is_turned_would_fail(monkeypatch, few):
    monkeypatch.setattr(study, "KERNELS", study.KERNELS[[1, 0, 2]])
    found = study.run(0, torch.device("cpu"))
    assert max(found[f"{which} kernel, {what}"] for which in ("horizontal", "vertical")
               for what in ("stripes", "sides")) < 0.1
    assert found["ones, direction told"] < 0.5
