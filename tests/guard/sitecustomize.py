"""Notes every attempt to reach a network, in the tests' own process and in every Python that they start.

Python imports a module of this name from ``PYTHONPATH`` when it starts; ``tests/conftest.py`` puts this folder there.
"""

from __future__ import annotations

import os
import sys

REACHED = "MEMAUDIT_TEST_REACHED"
"""Variable that names the file in which attempts are noted; unset: nobody wants to know."""
LOOPBACK = "MEMAUDIT_TEST_LOOPBACK"
"""Variable that lets this machine be reached: set only while tests drive a browser."""
_EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.sendto")


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _EVENTS or REACHED not in os.environ:
        return
    target = arguments[-1] if event in ("socket.connect", "socket.sendto") else arguments[0]
    if isinstance(target, str | bytes) and event == "socket.connect":
        return  # a socket of the file system
    host = target[0] if isinstance(target, tuple) and target else target
    if LOOPBACK in os.environ and host in ("localhost", "127.0.0.1", "::1", b"localhost", None):
        return
    line = f"{event} {target!r} by {sys.argv[:3]}\n".encode("ascii", "backslashreplace")
    handle = os.open(os.environ[REACHED], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, line)
    os.close(handle)
    raise RuntimeError(f"reached for the network: {event} {target!r}")


sys.addaudithook(_watch)
