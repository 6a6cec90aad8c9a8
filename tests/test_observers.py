"""companion.observers: two pixels by hand, the order of the observers, closed forms against samples and a network."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch.testing import assert_close

from companion import curves, observers, tomography
from companion.models.small_cnn import SmallCNN

SIZE = (16, 16)


@pytest.fixture(scope="module")
def task() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A faint disk, the power spectrum of CT-like noise, and its covariance."""
    spectrum = observers.ct_spectrum(SIZE, 20.0, floor=0.05)
    return observers.disk(SIZE, 3, 6.0), spectrum, observers.covariance(spectrum)


def templates(task) -> dict[str, torch.Tensor]:
    signal, _, covariance = task
    channels = observers.dog_channels(SIZE, count=3, first=0.03, step=2)
    return {"ideal": observers.ideal(signal, covariance), "matched": observers.matched(signal),
            "channelised": observers.channelised(signal, covariance, channels)}


def test_two_pixels_by_hand():
    # K = [1, .5; .5, 1], s = [1, 0]: K⁻¹s = [4/3, -2/3], the second pixel tells what noise to take off the first
    signal, covariance = torch.tensor([1.0, 0.0]), torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    ideal = observers.ideal(signal, covariance)
    assert_close(ideal, torch.tensor([4 / 3, -2 / 3]).double(), check_dtype=False)
    assert observers.detectability(ideal, signal, covariance) == pytest.approx(math.sqrt(4 / 3))
    assert observers.detectability(observers.matched(signal), signal, covariance) == pytest.approx(1)
    assert observers.detectability(torch.tensor([0.0, 1.0]), signal, covariance) == 0
    both = torch.tensor([[1.0, 1.0]])                                    # one channel: the sum, with variance 3
    one = observers.channelised(signal, covariance, both)
    assert_close(one, torch.tensor([1 / 3, 1 / 3]).double())
    assert observers.detectability(one, signal, covariance) == pytest.approx(1 / math.sqrt(3))


@pytest.mark.parametrize("d", [-1.0, 0.0, 0.5, 1.81, 4.0])
def test_auc_is_the_normal_distribution(d):
    assert observers.auc(d) == pytest.approx(norm.cdf(d / math.sqrt(2)), abs=1e-12)


def test_in_white_noise_the_matched_filter_is_ideal():
    signal, sigma = observers.disk(SIZE, 3, 2.0), 5.0
    white = sigma ** 2 * torch.eye(256)
    ideal = observers.ideal(signal, white)
    assert_close(ideal, signal / sigma ** 2)
    expected = signal.norm().item() / sigma
    for template in (ideal, observers.matched(signal), observers.channelised(signal, white, signal[None])):
        assert observers.detectability(template, signal, white) == pytest.approx(expected)


def test_the_ideal_beats_the_others_in_coloured_noise(task):
    signal, _, covariance = task
    d = {name: observers.detectability(t, signal, covariance) for name, t in templates(task).items()}
    assert d["ideal"] > d["matched"] + 0.1 and d["ideal"] > d["channelised"] + 0.1
    assert d["ideal"] == pytest.approx((signal.flatten() @ templates(task)["ideal"].flatten()).sqrt().item())


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 2 ** 31), pixels=st.integers(2, 9), count=st.integers(1, 3), contrast=st.floats(0.1, 10))
def test_no_template_beats_the_ideal_one(seed, pixels, count, contrast):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(pixels, pixels, generator=generator, dtype=torch.float64)
    covariance = root @ root.T + 0.1 * torch.eye(pixels)
    signal, other = torch.randn(2, pixels, generator=generator, dtype=torch.float64)
    channels = torch.randn(min(count, pixels), pixels, generator=generator, dtype=torch.float64)

    def d(template, contrast=1.0):
        return observers.detectability(template, contrast * signal, covariance)

    best = d(observers.ideal(signal, covariance))
    seen = d(observers.channelised(signal, covariance, channels))
    assert best >= max(d(other), d(signal), seen) - 1e-9
    assert seen >= max(d(channel) for channel in channels) - 1e-9        # ideal among what the channels let through
    assert d(observers.channelised(signal, covariance, root)) == pytest.approx(best)        # channels that hide nothing
    assert d(observers.ideal(contrast * signal, covariance), contrast) == pytest.approx(contrast * best)


def test_stationary_noise_in_pixels_and_in_frequencies(task):
    signal, spectrum, covariance = task
    ideal = observers.ideal(signal, covariance)
    assert_close(ideal, observers.ideal_stationary(signal, spectrum), atol=1e-9, rtol=1e-6)
    assert_close(covariance.diagonal(), torch.full((256,), 400.0).double())
    power = torch.fft.fft2(signal).abs().square() / (spectrum * signal.numel())
    d = observers.detectability(ideal, signal, covariance)
    assert d == pytest.approx(power.sum().sqrt().item())


def test_noise_has_the_spectrum_and_the_covariance_asked_for(task, generator, device):
    _, spectrum, covariance = task
    images = observers.noise(4000, spectrum.to(device), generator).cpu()
    assert images.shape == (4000, 1, *SIZE) and images.dtype == torch.float32
    assert images.mean().abs() < 0.1
    measured = torch.fft.fft2(images.double()).abs().square().mean((0, 1)) / 256
    assert (measured / spectrum).sub(1).abs().max() < 0.12
    assert torch.cov(images.flatten(1).T.double()).sub(covariance).abs().max() < 40
    again = observers.noise(4000, spectrum, torch.Generator().manual_seed(0))
    assert_close(images, again)


def test_closed_forms_agree_with_samples(task):
    signal, spectrum, covariance = task
    generator, truth = torch.Generator().manual_seed(1), torch.arange(4000) % 2
    images = observers.noise(4000, spectrum, generator) + truth.view(-1, 1, 1, 1) * signal.float()
    for template in templates(task).values():
        seen = curves.delong(observers.scores(template, images), truth)
        expected = observers.auc(observers.detectability(template, signal, covariance))
        assert abs(seen.auc - expected) < 3 * seen.covariance.sqrt()


def test_a_network_comes_close_to_the_ideal_observer_and_not_above(task):
    signal, white = observers.disk(SIZE, 3, 1.0), torch.ones(SIZE)
    limit = observers.auc(observers.detectability(signal, 0.35 * signal, torch.eye(256)))
    generator, truth = torch.Generator().manual_seed(0), torch.arange(64) % 2
    torch.manual_seed(0)
    model = SmallCNN(1, 2, size=16, widths=(4, 8), hidden=16)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)

    def images(truth):
        return observers.noise(len(truth), white, generator) + 0.35 * truth.view(-1, 1, 1, 1) * signal.float()

    for _ in range(300):
        optimiser.zero_grad()
        F.cross_entropy(model(images(truth)), truth).backward()
        optimiser.step()
    truth = torch.arange(3000) % 2
    with torch.no_grad():
        logits = model(images(truth))
    seen = curves.delong(logits[:, 1] - logits[:, 0], truth)
    assert limit - 0.06 < seen.auc < limit + 3 * seen.covariance.sqrt()


def test_channels_pass_rings_and_lie_in_the_middle():
    channels = observers.dog_channels((64, 48), count=5, first=0.02)
    assert channels.shape == (5, 64, 48) and channels.sum((1, 2)).abs().max() < 1e-12
    passed = torch.fft.fft2(channels).abs().flatten(1).max(1).indices
    rings = observers.frequencies((64, 48)).flatten()[passed]
    assert (rings.diff() > 0).all() and 0.02 < rings[0] < 0.04
    for channel in channels:
        assert divmod(channel.argmax().item(), 48) == (32, 24)
        assert_close(channel[1:].flip(0), channel[1:])                   # rows 1 to 63 lie evenly about row 32
    assert observers.dog_channels((32, 32)).shape == (10, 32, 32)


def test_disk_has_its_area_contrast_and_place():
    disk = observers.disk((40, 50), 8.0, 3.0)
    assert disk.sum().item() / 3 == pytest.approx(math.pi * 64, rel=0.02)
    assert disk[20, 25] == 3 and disk[20, 25 + 8] == pytest.approx(1.5) and disk[20, 34] == 0


def test_ct_noise_is_a_windowed_ramp_with_a_floor():
    spectrum, f = observers.ct_spectrum((64, 64), 10.0, floor=0.1), observers.frequencies((64, 64))
    assert spectrum.mean().item() == pytest.approx(100)
    assert spectrum[0, 0] == spectrum.min() and (f.flatten()[spectrum.argmax()] - 0.153).abs() < 0.015
    assert spectrum[0, 0].item() == pytest.approx(spectrum.max().item() * 0.1 / 1.1)


def test_ct_noise_and_signal_are_those_of_filtered_back_projection(generator):
    size, angles = (48, 48), tomography.view_angles(120)
    projector = tomography.Projector(size, angles)
    views = torch.randn(300, 120, projector.detectors, generator=generator)
    images = tomography.fbp(views, projector, window="hann")[:, 8:40, 8:40]            # away from the border
    power = torch.fft.fft2(images - images.mean((1, 2), keepdim=True)).abs().square().mean(0)
    model, f = observers.ct_spectrum((32, 32), 1.0, floor=0.01), observers.frequencies((32, 32))
    rings = [(f >= low) & (f < low + 0.05) for low in torch.arange(0.05, 0.45, 0.05).tolist()]
    power, model = (torch.stack([p[ring].mean() for ring in rings]).double() for p in (power, model))
    assert_close(power / power.sum(), model / model.sum(), atol=0.045, rtol=0)     # finite cells blur a little more
    disk = observers.disk(size, 6)
    seen = tomography.fbp(projector(disk.float()), projector, window="hann").double()
    assert (seen - observers.ct_signal(disk))[8:40, 8:40].abs().max() < 0.1


@pytest.mark.parametrize("call, match", [
    (lambda: observers.ideal(torch.ones(3), torch.eye(2)), r"shape \(2, 2\), but a signal"),
    (lambda: observers.ideal(torch.ones(2), torch.ones(2, 2)), "positive definite"),
    (lambda: observers.ideal(torch.ones(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]])), "not symmetric"),
    (lambda: observers.ideal_stationary(torch.ones(2, 3), torch.ones(2, 2)), "must agree"),
    (lambda: observers.ideal_stationary(torch.ones(2, 2), torch.zeros(2, 2)), "positive everywhere"),
    (lambda: observers.covariance(-torch.ones(2, 2)), "positive everywhere"),
    (lambda: observers.noise(1, torch.ones(4), torch.Generator()), r"must be \(H, W\)"),
    (lambda: observers.channelised(torch.ones(2), torch.eye(2), torch.ones(1, 3)), r"must be \(C, \*size\)"),
    (lambda: observers.channelised(torch.ones(2), torch.eye(2), torch.ones(2, 2)), "linear dependence"),
    (lambda: observers.detectability(torch.zeros(2), torch.ones(2), torch.eye(2)), "hold one at least"),
    (lambda: observers.dog_channels((8, 8), step=1), "step and ratio are 1"),
    (lambda: observers.dog_channels((8, 8), count=0), "count, size and first are 0"),
    (lambda: observers.ct_spectrum((8, 8), 0.0), "deviation is 0.0"),
    (lambda: observers.ct_spectrum((8, 8), 1.0, floor=0), "floor 0, but")])
def test_what_makes_no_sense_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
