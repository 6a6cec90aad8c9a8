"""The choice of device and the seeds."""

import pytest
import torch

from companion import hardware


def test_device_is_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.delenv("COMPANION_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert hardware.device() == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware.device() == torch.device("cpu")


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "meta"])
def test_the_environment_decides_where_it_says_something(monkeypatch, name):
    monkeypatch.setenv("COMPANION_DEVICE", name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: name == "cpu")           # the opposite of what is asked
    assert hardware.device() == torch.device(name)


def test_an_empty_environment_variable_says_nothing(monkeypatch):
    monkeypatch.setenv("COMPANION_DEVICE", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware.device() == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:first", "cpu 0"])
def test_an_unknown_device_is_refused_by_name(monkeypatch, name):
    monkeypatch.setenv("COMPANION_DEVICE", name)
    with pytest.raises(ValueError, match=f"COMPANION_DEVICE is '{name}', .*use cpu, cuda or cuda:1"):
        hardware.device()


def test_tensors_go_where_the_device_is(device, monkeypatch):
    monkeypatch.setenv("COMPANION_DEVICE", str(device))
    assert torch.zeros(1, device=hardware.device()).device.type == device.type


def test_the_same_seed_starts_both_streams_again():
    def draw(number: int) -> tuple[list[float], list[float]]:
        generator = hardware.seed(number)
        return torch.rand(4).tolist(), torch.rand(4, generator=generator).tolist()

    first = draw(7)
    torch.rand(3)
    assert draw(7) == first
    assert draw(8)[0] != first[0] and draw(8)[1] != first[1]


def test_the_two_streams_do_not_disturb_each_other():
    generator = hardware.seed(7)
    expected = torch.rand(4, generator=generator).tolist()
    generator = hardware.seed(7)
    torch.rand(100)                                                                  # initial weights are drawn between
    assert torch.rand(4, generator=generator).tolist() == expected


def test_the_generator_is_on_the_cpu():
    assert hardware.seed(0).device == torch.device("cpu")


def test_best_is_plain_float32_on_the_cpu():
    best = hardware.Hardware.best(torch.device("cpu"))
    assert (best.precision, best.channels_last, best.compiled) == (None, False, False)


def test_best_on_a_gpu_asks_for_bfloat16_and_channels_last(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    best = hardware.Hardware.best(torch.device("cuda"))
    assert (best.precision, best.channels_last) == (torch.bfloat16, True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert hardware.Hardware.best(torch.device("cuda")).precision is None


@pytest.mark.parametrize("axes", [2, 3])
def test_channels_last_changes_the_layout_and_no_value(device, axes):
    conv = (torch.nn.Conv2d, torch.nn.Conv3d)[axes - 2](3, 4, 3)
    x = torch.rand(2, 3, *[8] * axes)
    expected = conv(x)
    last = hardware.Hardware(device, channels_last=True)
    assert last.prepare(conv) is conv
    moved = last.move(x)
    assert moved.shape == x.shape and moved.stride(1) == 1 and conv.weight.stride(1) == 1
    torch.testing.assert_close(conv(moved).cpu(), expected, rtol=1e-4, atol=1e-5)
    assert last.move(torch.zeros(3)).shape == (3,)                                   # labels have no layout


def test_autocast_computes_in_the_precision_asked_for(device):
    layer = torch.nn.Linear(2, 2).to(device)
    for precision, found in ((None, torch.float32), (torch.bfloat16, torch.bfloat16)):
        with hardware.Hardware(device, precision).autocast():
            assert layer(torch.zeros(1, 2, device=device)).dtype == found


def test_compiled_asks_torch_to_compile(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: asked.append(self))
    layer = torch.nn.Linear(1, 1)
    hardware.Hardware(torch.device("cpu")).prepare(layer)
    assert not asked
    hardware.Hardware(torch.device("cpu"), compiled=True).prepare(layer)
    assert asked == [layer]
