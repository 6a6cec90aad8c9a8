"""What ``companion doctor`` finds; the command itself is tested in test_train.py."""

import pytest
import torch

from companion import doctor, train


@pytest.mark.parametrize(("name", "says"), [
    ("cuda:99", "cuda:99 asked for by COMPANION_DEVICE, but torch can not use it here"),
    ("meta", "meta asked for by COMPANION_DEVICE, but torch can not use it here"),
    ("nonsense", "COMPANION_DEVICE is 'nonsense', which torch does not know: use cpu")])
def test_a_device_that_can_not_be_used_is_reported(monkeypatch, capsys, name, says):
    monkeypatch.setenv("COMPANION_DEVICE", name)
    assert train.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert says in shown and "data folder" in shown and "Traceback" not in shown
    assert all(len(line.split()) > 1 for line in shown.splitlines())                # one line for each finding


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU that can be used")
def test_cuda_without_a_gpu_is_reported(monkeypatch):
    monkeypatch.setenv("COMPANION_DEVICE", "cuda")
    found = doctor.examine()
    assert found["device"].startswith("cuda asked for by COMPANION_DEVICE, but torch can not use it here (")
    assert found["precision"] == "none without a device"


def test_a_device_that_can_be_used_is_named_with_its_precision(monkeypatch, device):
    monkeypatch.setenv("COMPANION_DEVICE", str(device))
    found = doctor.examine()
    assert found["device"].startswith(device.type) and found["precision"] in ("float32", "bfloat16")


def test_a_gpu_is_described(monkeypatch):
    class Properties:
        total_memory = 80 * 2**30

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert doctor._device(torch.device("cuda:1")) == "cuda:1, Some GPU, 80 GiB; 2 in all"


def test_data_are_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path))
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "a-claim.json").write_text("{}")
    found = doctor.examine()
    assert found["stored studies"] == "1 (a-claim)" and found["downloaded sets"] == "0"
    assert found["data folder"] == f"{tmp_path} (there)"
