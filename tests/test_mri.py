"""companion.mri: spin-echo contrast, bias field, Rician noise against theory."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft, stats

from companion.mri import TISSUES, Tissue, bias_field, rician, spin_echo, weighted_image

DRAWS = 200_000
SOME = settings(deadline=None, derandomize=True, max_examples=40)


def generator(seed: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def brightest_first(names: list[str], tr: float, te: float) -> list[str]:
    return sorted(names, key=lambda name: -float(spin_echo(TISSUES[name], tr, te)))


# Contrast


def test_spin_echo_by_hand():
    tissue = Tissue(0.8, 1000, 50)
    assert math.isclose(spin_echo(tissue, 1000, 50), 0.8 * (1 - 1 / math.e) / math.e, rel_tol=1e-6)
    assert math.isclose(spin_echo(tissue, 1e6, 0), 0.8, rel_tol=1e-6)                  # recovered, not yet decayed
    assert spin_echo(tissue, 1000, 999) < 1e-8


def test_spin_echo_of_maps_gives_gradients():
    t2 = torch.tensor([[40.0, 80], [120, 2000]], requires_grad=True)
    image = spin_echo(Tissue(1.0, 1000, t2), 3000, 100)
    image.sum().backward()
    assert image.shape == (2, 2) and (t2.grad > 0).all()               # a longer T2 is brighter


def test_t2_weighting_orders_the_female_pelvis_as_radiologists_see_it():
    seen = ["fluid", "endometrium", "myometrium", "junctional zone", "cervix", "muscle"]
    assert brightest_first(sorted(seen), 4000, 100) == seen


def test_t1_weighting_makes_fat_bright_and_fluid_dark():
    order = brightest_first(list(TISSUES), 500, 15)
    assert order[0] == "fat" and order[-1] == "fluid"
    assert order.index("white matter") < order.index("grey matter")


def test_t2_weighting_turns_the_order_of_the_brain_round():
    seen = ["fluid", "grey matter", "white matter"]
    assert brightest_first(seen[::-1], 4000, 100) == seen


def test_tissues_are_plausible():
    for name, (density, t1, t2) in TISSUES.items():
        assert 0.7 <= density <= 1 and t2 < t1, name
    assert list(TISSUES) == sorted(TISSUES)


def test_weighted_image_looks_each_label_up(device):
    labels = torch.tensor([[0, 1], [2, 1]], dtype=torch.uint8, device=device)
    image = weighted_image(labels, [None, TISSUES["fat"], TISSUES["muscle"]], 500, 15)
    fat, muscle = (float(spin_echo(TISSUES[name], 500, 15)) for name in ("fat", "muscle"))
    torch.testing.assert_close(image.cpu(), torch.tensor([[0, fat], [muscle, fat]]))
    assert image.device.type == device.type and image.dtype == torch.float32


@pytest.mark.parametrize(("labels", "message"), [([0, 2], "from 0 to 2"), ([-1, 0], "from -1 to 0")])
def test_a_label_without_tissue_is_refused(labels, message):
    with pytest.raises(ValueError, match=f"{message}, but with 2 tissues they must lie between 0 and 1"):
        weighted_image(torch.tensor(labels), [None, TISSUES["fat"]], 500, 15)


@pytest.mark.parametrize(("tr", "te"), [(100, 100), (100, -1), (0, 0)])
def test_an_echo_outside_of_its_repetition_is_refused(tr, te):
    with pytest.raises(ValueError, match=f"TE is {te} ms and TR {tr} ms"):
        spin_echo(TISSUES["fat"], tr, te)


# Bias field


@SOME
@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.floats(0, 0.9), st.integers(1, 4), st.integers(0, 99))
def test_bias_fields_have_mean_1_and_the_strength_asked_for(size, strength, order, seed):
    fields = bias_field(5, size, strength, generator(seed), order)
    assert fields.shape == (5, 1, *size) and (fields > 0).all()
    deviation = (fields - 1).flatten(1)
    torch.testing.assert_close(deviation.mean(1), torch.zeros(5), rtol=0, atol=1e-5)
    most = strength if max(size) > 1 else 0.0              # a single voxel does not vary
    torch.testing.assert_close(deviation.abs().amax(1), torch.full((5,), most), rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_bias_fields_are_smooth(order):
    deviation = bias_field(20, (24, 32), 0.3, generator(), order)[:, 0] - 1
    strengths = torch.from_numpy(fft.dctn(deviation.numpy(), axes=(1, 2))).abs().amax(0)    # by half waves per axis
    waves = torch.arange(24)[:, None] + torch.arange(32)
    within = (waves > 0) & (waves <= order)
    assert (strengths[within] > 1).all() and (strengths[~within] < 1e-3).all()


def test_bias_fields_differ_and_come_again_with_the_seed(device):
    fields = bias_field(2, (8, 9, 10), 0.2, generator(), device=device)
    assert fields.device.type == device.type and not torch.allclose(fields[0], fields[1])
    torch.testing.assert_close(fields.cpu(), bias_field(2, (8, 9, 10), 0.2, generator()))
    assert bias_field(1, (4, 4), 0.2, generator(device=device)).device.type == device.type


@pytest.mark.parametrize(("change", "message"), [
    ({"strength": 1.0}, "strength is 1.0"), ({"strength": -0.1}, "strength is -0.1"), ({"order": 0}, "order is 0"),
])
def test_what_is_no_bias_field(change, message):
    with pytest.raises(ValueError, match=message):
        bias_field(1, (4, 4), generator=generator(), **{"strength": 0.1, **change})


# Noise


@pytest.mark.parametrize("snr", [0.0, 0.5, 1.0, 3.0, 20.0])
def test_rician_moments(snr):
    sigma = 2.0
    noisy = rician(torch.full((DRAWS,), snr * sigma, dtype=torch.float64), sigma, generator())
    theory = stats.rice(snr, scale=sigma)
    assert abs(noisy.mean() - theory.mean()) < 4 * theory.std() / math.sqrt(DRAWS)
    assert abs(noisy.var() / theory.var() - 1) < 0.02
    assert stats.kstest(noisy.numpy(), theory.cdf).pvalue > 0.001
    second = noisy.square().mean()                                     # exactly s^2 + 2 sigma^2
    assert abs(second / ((snr * sigma) ** 2 + 2 * sigma**2) - 1) < 0.01


def test_air_is_rayleigh_and_bright_tissue_gaussian():
    air = rician(torch.zeros(DRAWS), 3.0, generator())
    assert abs(air.mean() / (3 * math.sqrt(math.pi / 2)) - 1) < 0.01 and (air >= 0).all()
    bright = rician(torch.full((DRAWS,), 300.0), 3.0, generator())
    assert abs(bright.mean() - 300) < 0.05 and abs(bright.std() - 3) < 0.03


def test_rician_with_its_own_sigma_for_each_image(device):
    images = torch.ones(2, 1, 40, 40, device=device)
    noisy = rician(images, torch.tensor([0.0, 0.1], device=device).view(2, 1, 1, 1), generator())
    assert torch.equal(noisy[0], images[0]) and 0.08 < noisy[1].std() < 0.12 and noisy.device.type == device.type


def test_same_seed_same_noise(device):
    image = torch.rand(2, 1, 8, 8, generator=generator(5))
    torch.testing.assert_close(rician(image.to(device), 0.1, generator()).cpu(), rician(image, 0.1, generator()))
    assert not torch.equal(rician(image, 0.1, generator()), rician(image, 0.1, generator(1)))


@pytest.mark.parametrize("sigma", [-0.1, torch.tensor([0.1, -0.2]), math.nan])
def test_sigma_must_not_be_negative(sigma):
    with pytest.raises(ValueError, match="but must not be negative"):
        rician(torch.zeros(2), sigma, generator())
