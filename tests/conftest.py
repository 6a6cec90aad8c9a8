"""Fixtures for all tests. Sockets are blocked, but for tests that talk to a server or a kernel on this machine."""

from types import SimpleNamespace

import pytest
import torch
from pytest_socket import disable_socket, socket_allow_hosts

from companion.studies import store


def pytest_runtest_setup(item):
    """Block sockets; a test marked ``local`` may connect within this machine."""
    if item.get_closest_marker("local"):
        socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)
    else:
        disable_socket(allow_unix_socket=True)


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request) -> torch.device:
    """The CPU, and a GPU where there is one."""
    return torch.device(request.param)


@pytest.fixture
def generator() -> torch.Generator:
    """A fresh random stream with a fixed seed."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A study of the claim ``toy`` and an empty data folder."""
    source = tmp_path / "toy.py"
    source.write_text('"""Doc."""\nCLAIM = "toy"\n\n\ndef run(seed, device):\n    return {"x": seed}  # why\n')
    module = SimpleNamespace(CLAIM="toy", run=lambda seed, device: {"x": float(seed)}, __file__=str(source))
    monkeypatch.setattr(store, "find", lambda: {"toy": module})
    monkeypatch.setattr(store, "PACKAGE", tmp_path)
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path / "data"))
    return module
