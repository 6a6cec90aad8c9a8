"""What ``companion doctor`` finds; the command itself is tested in test_train.py."""

from companion import doctor


def test_a_gpu_is_described(monkeypatch):
    import torch

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
