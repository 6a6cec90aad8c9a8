"""No test and no notebook reaches another machine."""

import os
import socket
import subprocess
import sys

import pytest
from pytest_socket import SocketBlockedError

CODE = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"


def test_tests_cannot_open_a_socket():
    with pytest.raises((SocketBlockedError, UserWarning)):      # it warns first, and warnings are errors here
        socket.socket(socket.AF_INET)


@pytest.mark.parametrize("address", ["192.0.2.1", "example.org"])
def test_kernels_refuse_other_machines(address):
    done = subprocess.run([sys.executable, "-c", CODE.replace("192.0.2.1", address)], capture_output=True, text=True)
    assert done.returncode == 1 and "OfflineError" in done.stderr and address in done.stderr


def test_kernels_reach_their_own_machine():
    code = ("import socket; s = socket.create_server(('127.0.0.1', 0)); "
            "socket.create_connection(('localhost', s.getsockname()[1]), timeout=5)")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_the_block_is_what_the_kernels_inherit():
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0].endswith("offline")
