"""companion.ct: attenuation and Hounsfield units, photon noise against theory, dose. (HU and window: test_ct.py.)"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from companion import ct
from companion.tomography import Projector, fbp, view_angles

DRAWS = 200_000


def generator(seed: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def rays(p: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Many rays of one line integral, so that a mean comes out sharp."""
    return torch.full((DRAWS,), p, dtype=dtype)


# Hounsfield units


def test_water_and_air_by_hand():
    hu = torch.tensor([0.0, -1000, 1000])
    torch.testing.assert_close(ct.hu_to_attenuation(hu), torch.tensor([ct.WATER, 0, 2 * ct.WATER]))
    torch.testing.assert_close(ct.hu_to_attenuation(hu, water=0.2), torch.tensor([0.2, 0, 0.4]))
    torch.testing.assert_close(ct.attenuation_to_hu(torch.tensor([0.03]), water=0.02), torch.tensor([500.0]))


@settings(derandomize=True, deadline=None)
@given(st.floats(-1024, 3071), st.floats(0.01, 1))
def test_there_and_back(hu, water):
    value = torch.tensor(hu, dtype=torch.float64)
    back = ct.attenuation_to_hu(ct.hu_to_attenuation(value, water), water)
    torch.testing.assert_close(back, value, rtol=0, atol=1e-9)


def test_hounsfield_units_do_not_depend_on_the_beam():
    hu = torch.tensor([[-1000.0, -100, 0], [40, 60, 1000]], dtype=torch.float64)
    projector = Projector((2, 3), view_angles(6), dtype=torch.float64)
    soft, hard = (fbp(projector(ct.hu_to_attenuation(hu, w)), projector) / w for w in (0.0206, 0.0171))
    torch.testing.assert_close(soft, hard)


# Photon noise


@pytest.mark.parametrize("p", [0.0, 2.0, 6.0])
def test_counts_have_mean_and_variance_of_poisson_and_electronics(p):
    expected, electronic = 1e4 * math.exp(-p), 7.0
    counts = ct.photon_counts(rays(p), 1e4, generator(), electronic)
    variance = expected + electronic**2
    assert abs(counts.mean() - expected) < 4 * math.sqrt(variance / DRAWS)
    assert abs(counts.var() / variance - 1) < 5 * math.sqrt((2 + 1 / expected) / DRAWS)


def test_without_electronic_noise_counts_are_whole_photons():
    counts = ct.photon_counts(rays(1.0)[:1000], 50, generator(), electronic_noise=0)
    assert torch.equal(counts, counts.round()) and (counts >= 0).all() and counts.unique().numel() > 10


def test_electronic_noise_makes_readings_of_no_photons_negative():
    counts = ct.photon_counts(rays(50.0)[:1000], 1e5, generator(), electronic_noise=10)
    assert 400 < (counts < 0).sum() < 600 and abs(counts.std() - 10) < 1


def test_log_transform_by_hand():
    counts = torch.tensor([100.0, 100 / math.e, 1, 0.1, 0, -25])
    expected = torch.tensor([0, 1, *[math.log(100)] * 4])
    torch.testing.assert_close(ct.log_transform(counts, 100), expected)
    torch.testing.assert_close(ct.log_transform(counts[-3:], 100, least=0.1), torch.full((3,), math.log(1000)))


@pytest.mark.parametrize(("photons", "p", "electronic"), [(1e5, 0.0, 0.0), (1e5, 4.0, 10.0), (1e4, 2.0, 20.0)])
def test_line_integrals_scatter_as_theory_says(photons, p, electronic):
    measured = ct.log_transform(ct.photon_counts(rays(p), photons, generator(), electronic), photons)
    count = photons * math.exp(-p)
    variance = 1 / count + (electronic / count) ** 2
    assert abs(measured.var() / variance - 1) < 0.02
    assert abs(measured.mean() - p - variance / 2) < 4 * math.sqrt(variance / DRAWS)         # a little too high


def test_a_starved_ray_saturates_and_stays_finite():
    measured = ct.log_transform(ct.photon_counts(rays(200.0)[:1000], 1e5, generator()), 1e5)
    assert measured.isfinite().all() and abs(measured.max() - math.log(1e5 / ct.LEAST_COUNT)) < 1e-9


@pytest.mark.parametrize("dose", [10, 2, 0.5])
def test_variance_goes_with_one_over_the_dose(dose):
    p = 1.5                                                            # many photons: electronics add 1 % at most
    variance = ct.low_dose(rays(p), dose, generator()).var()
    assert abs(variance * dose * ct.STANDARD_PHOTONS * math.exp(-p) - 1) < 0.02


def test_low_dose_is_the_chain_of_its_parts():
    sinogram = torch.rand(2, 1, 30, 40, generator=generator(1)) * 5
    chain = ct.log_transform(ct.photon_counts(sinogram, 2e4, generator()), 2e4)
    assert torch.equal(ct.low_dose(sinogram, 0.2, generator()), chain)


def test_noise_in_the_image_falls_with_the_root_of_the_dose():
    projector = Projector(48, view_angles(90), pixel=4.0)
    sinogram = projector(torch.full((8, 1, 48, 48), ct.WATER))
    noise = [ct.attenuation_to_hu(fbp(ct.low_dose(sinogram, d, generator()) - sinogram, projector) + ct.WATER)
             for d in (40.0, 10.0)]
    few, many = (float(n[..., 16:32, 16:32].std()) for n in noise[::-1])
    assert abs(few / many / 2 - 1) < 0.03 and 2 < few < 20             # HU


def test_same_seed_same_noise_and_whatever_the_device(device):
    sinogram = torch.rand(3, 1, 20, 30, generator=generator(1)) * 4
    noisy = ct.low_dose(sinogram.to(device), 0.1, generator())
    assert noisy.shape == sinogram.shape and noisy.device.type == device.type and noisy.dtype == torch.float32
    torch.testing.assert_close(noisy.cpu(), ct.low_dose(sinogram, 0.1, generator()))
    assert not torch.equal(noisy.cpu(), ct.low_dose(sinogram, 0.1, generator(2)))
    own = [ct.low_dose(sinogram.to(device), 0.1, generator(device=device)) for _ in range(2)]
    assert torch.equal(*own) and own[0].device.type == device.type


def before(line_integrals: Tensor, dose: float, generator: torch.Generator) -> Tensor:
    """Noise of one dose for all as first published: stored results rest on its bits."""
    expected = dose * ct.STANDARD_PHOTONS * (-line_integrals).exp()
    counts = torch.poisson(expected, generator)
    counts = counts + ct.ELECTRONIC_NOISE * torch.randn(counts.shape, generator=generator, dtype=counts.dtype)
    return (dose * ct.STANDARD_PHOTONS / counts.clamp_min(ct.LEAST_COUNT)).log()


@pytest.mark.parametrize("dose", [0.1, 0.3, 1, 2.7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_dose_gives_the_same_bits_as_a_number_as_a_tensor_and_as_before(dose, dtype):
    sinogram = torch.rand(3, 1, 20, 30, generator=generator(1), dtype=dtype) * 8
    expected = before(sinogram, dose, generator())
    assert torch.equal(ct.low_dose(sinogram, dose, generator()), expected)
    doses = torch.full((3, 1, 1, 1), dose, dtype=torch.float64)
    assert torch.equal(ct.low_dose(sinogram, doses, generator()), expected)


def test_each_image_has_its_dose(device):
    sinogram = torch.full((3, 1, 100, 200), 1.0, device=device)
    doses = torch.tensor([0.1, 1, 10], device=device).view(3, 1, 1, 1)
    measured = ct.low_dose(sinogram, doses, generator())
    assert measured.dtype == torch.float32 and measured.device.type == device.type
    expected = math.e / (doses * ct.STANDARD_PHOTONS).flatten().cpu()
    torch.testing.assert_close(measured.flatten(1).var(1).cpu() / expected, torch.ones(3), rtol=0.05, atol=0)
    torch.testing.assert_close(measured.cpu(), ct.low_dose(sinogram.cpu(), doses.cpu(), generator()))


@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (3, 2, 1, 1), (1, 3, 1, 1, 1)])
def test_doses_must_broadcast(shape):
    with pytest.raises(ValueError, match=r"photons \(or doses\) of shape .* do not broadcast to rays of shape \(3, 1,"):
        ct.low_dose(torch.zeros(3, 1, 4, 5), torch.ones(shape), generator())
    with pytest.raises(ValueError, match="do not broadcast"):
        ct.log_transform(torch.ones(3, 1, 4, 5), torch.ones(shape))


@pytest.mark.parametrize(("call", "message"), [
    (lambda x: ct.hu_to_attenuation(x, 0), "attenuation of water is 0"),
    (lambda x: ct.attenuation_to_hu(x, -0.02), "attenuation of water is -0.02"),
    (lambda x: ct.photon_counts(x, 0, generator()), "number of photons is 0"),
    (lambda x: ct.log_transform(x, math.nan), "number of photons is nan"),
    (lambda x: ct.log_transform(x, 10, least=0), "least count is 0"),
    (lambda x: ct.low_dose(x, -1, generator()), "dose is -1"),
    (lambda x: ct.low_dose(x, math.inf, generator()), "dose is inf"),
    (lambda x: ct.low_dose(x, torch.tensor([1.0, math.nan, 2]), generator()), "dose is nan"),
    (lambda x: ct.low_dose(x, torch.tensor([1, 0, 2]), generator()), "dose is 0"),
    (lambda x: ct.photon_counts(x, math.inf, generator()), "number of photons is inf"),
])
def test_what_must_be_positive(call, message):
    with pytest.raises(ValueError, match=f"the {message}, but must be positive and finite"):
        call(torch.zeros(3))


def test_electronic_noise_must_not_be_negative():
    with pytest.raises(ValueError, match="electronic noise is -1 photons"):
        ct.photon_counts(torch.zeros(3), 10, generator(), electronic_noise=-1)
