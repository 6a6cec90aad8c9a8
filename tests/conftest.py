"""Fixtures for all tests. Sockets are blocked but for the browser test's local server."""

import pytest
import torch
from pytest_socket import disable_socket


def pytest_runtest_setup(item):
    """Block sockets in every test except those marked ``browser``, which talk to a server on this machine."""
    if not item.get_closest_marker("browser"):
        disable_socket(allow_unix_socket=True)


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request) -> torch.device:
    """The CPU, and a GPU where there is one."""
    return torch.device(request.param)


@pytest.fixture
def generator() -> torch.Generator:
    """A fresh random stream with a fixed seed."""
    return torch.Generator().manual_seed(0)
