"""Python runs this at start when its folder is on PYTHONPATH: connections to other machines are refused.

Kernels of notebooks get it from ``conftest.py`` and ``book/tools/notebooks.py``, so that no cell can depend on the
network. Connections within the machine stay open, as a kernel needs them.
"""

import ipaddress
import socket


class OfflineError(OSError):
    """A connection to another machine was tried while the network is blocked."""


def _check(host) -> None:
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return
    try:
        local = ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        local = False
    if not local:
        raise OfflineError(f"connection to {host!r} refused: tests and notebooks run without a network")


def _guard(name: str) -> None:
    original = getattr(socket.socket, name)

    def checked(self, address, *args):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _check(address[0])
        return original(self, address, *args)

    setattr(socket.socket, name, checked)


_guard("connect")
_guard("connect_ex")
_resolve = socket.getaddrinfo


def _getaddrinfo(host, *args, **kwargs):
    _check(host)
    return _resolve(host, *args, **kwargs)


socket.getaddrinfo = _getaddrinfo
