"""Connections to one server: one request at a time on each, cut off when its time is over or the run ends.

Nothing that a library raises leaves this file: its text and its frames hold headers, and a header holds the key.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from memaudit.errors import EndpointError, one_line
from memaudit.models.remote.faults import Fault
from memaudit.models.remote.secret import Secret
from memaudit.models.remote.waits import StoppedError

if TYPE_CHECKING:
    import httpx2

LARGEST = 512 << 20
"""Bytes of an answer, unpacked; a larger one is given up."""
CONNECT = 10.0
"""Seconds within which a server must take a connection."""
IDLE = 3.0
"""Seconds for which an idle connection is used again: most servers close them after 5."""
_OVERDUE, _STOPPED = "time", "stop"


class UnreachableError(Fault):
    """No connection: nothing of the request was sent."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server sent; it may have sent the key back, so that no ``repr`` shows it."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Wire:
    """All connections to one server. Safe for threads.

    Args:
        url: Any address of it: scheme, host and port count.
        timeout: Seconds for one request, its whole answer included.
        connections: Requests that are under way together.
        secret: Is sent with every request.
    """

    def __init__(self, url: str, timeout: float, connections: int, secret: Secret) -> None:
        self._url, self._timeout, self._secret = url, timeout, secret
        self._room = threading.Semaphore(connections)
        self._lock = threading.Lock()
        self._lines: list[_Line] = []
        self._idle: list[_Line] = []
        self._closed = threading.Event()
        self._verify: ssl.SSLContext | None = None
        # It tells a log of details all headers of an answer, and a server may put there what it was sent.
        logging.getLogger("httpcore2").setLevel(logging.INFO)
        self.close = weakref.finalize(self, _close, self._lines, self._closed)
        """Let all connections go; happens by itself in the end."""

    def send(self, method: str, url: str, body: bytes | None, stopping: threading.Event) -> Reply:
        """Send a request and return what came back, whatever its status.

        Raises:
            Fault: Nothing came back, or not all of it.
            StoppedError: The job is to end.
            EndpointError: More came back than can be an answer.
        """
        with self._room:
            line = self._take()
            try:
                return line.exchange(method, url, body, stopping)
            finally:
                with self._lock:
                    self._idle.append(line)

    def cut(self) -> None:
        """End all requests under way at once; their threads find out by themselves."""
        for line in list(self._lines):
            line.cut(_STOPPED)

    def _take(self) -> _Line:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if not self._lines:
                self._watch()
            line = _Line(self._transport(), self._timeout, self._secret)
            self._lines.append(line)
            return line

    def _transport(self) -> httpx2.HTTPTransport:
        import httpx2

        if self._verify is None:  # once: certificates take as long to read as ten requests
            encrypted = self._url.startswith("https:")
            self._verify = httpx2.create_ssl_context() if encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE)
        return httpx2.HTTPTransport(verify=self._verify, limits=limits, proxy=_proxy_to(self._url))

    def _watch(self) -> None:
        tick = min(0.25, self._timeout / 8)
        threading.Thread(target=_cut_overdue, args=(self._lines, self._closed, tick), daemon=True).start()


class _Line:
    """One connection, which is made again whenever it broke."""

    def __init__(self, transport: httpx2.HTTPTransport, timeout: float, secret: Secret) -> None:
        self._transport, self._timeout, self._secret = transport, timeout, secret
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.deadline: float | None = None
        """Of the request under way, on the monotonic clock."""
        self._cut_for = ""

    def exchange(self, method: str, url: str, body: bytes | None, stopping: threading.Event) -> Reply:
        """Send a request; see `Wire.send`."""
        with self._lock:
            if stopping.is_set():
                raise StoppedError
            self._cut_for, self.deadline = "", time.monotonic() + self._timeout
        failed: BaseException
        try:
            reply = self._exchange(method, url, body)
        except BaseException as error:
            failed = self._plain(error, url)
        else:
            if not self._end():
                return reply
            failed = self._plain(TimeoutError(), url)  # it was cut off, and what came of it looks whole
        finally:
            self._end()
        # Outside of the handler: what is raised here leads to no frame of a library.
        raise failed

    def cut(self, why: str, now: float | None = None) -> None:
        """End the request under way, if there is one, or only if it is overdue."""
        with self._lock:
            if self.deadline is None or (now is not None and now < self.deadline):
                return
            self._cut_for = self._cut_for or why
            self._shut()

    def close(self) -> None:
        """Let the connection go."""
        self.cut(_STOPPED)
        self._transport.close()

    def _end(self) -> str:
        with self._lock:
            self.deadline = None
            return self._cut_for

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                # Of the class, not of its subclass for TLS: that one would take from a reader what it reads from.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _seen(self, event: str, info: Mapping[str, Any]) -> None:
        """Take the socket of a new connection; libraries call it at every step."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
                if self._cut_for:
                    self._shut()

    def _exchange(self, method: str, url: str, body: bytes | None) -> Reply:
        import httpx2

        seconds = self._timeout
        timeout = {"connect": min(CONNECT, seconds), "read": seconds, "write": seconds, "pool": seconds}
        headers = {"User-Agent": "memaudit", "Accept-Encoding": "gzip, deflate", **self._secret.header()}
        if body is not None:
            headers["Content-Type"] = "application/json"
        extensions = {"timeout": timeout, "trace": self._seen}
        response = self._transport.handle_request(
            httpx2.Request(method, url, headers=headers, content=body, extensions=extensions)
        )
        try:
            parts, size = [], 0
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > LARGEST:
                    raise _TooLargeError
            return Reply(response.status_code, response.headers, b"".join(parts))
        finally:
            response.close()

    def _plain(self, error: BaseException, url: str) -> BaseException:
        """Return what to raise for an error, without its frames, their locals, and what it came from."""
        import httpx2

        if self._cut_for == _STOPPED:
            return StoppedError()
        said = one_line(self._secret.struck_from(str(error)), 120)
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.UnsupportedProtocol):
            return UnreachableError(f"no connection: {said or 'it takes too long'}", sent=False)
        if self._cut_for or isinstance(error, httpx2.TimeoutException):
            return Fault(f"no whole answer within {self._timeout:g} s (--timeout)")
        if isinstance(error, httpx2.ProxyError):
            return UnreachableError(f"the proxy refuses: {said}", sent=False)
        if isinstance(error, httpx2.HTTPError | OSError):
            return Fault(f"the connection broke: {said or type(error).__name__}")
        if isinstance(error, _TooLargeError):
            return EndpointError(
                f"{url}: more than {LARGEST >> 20} MiB in one answer", "is this the address of a model?"
            )
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)


class _TooLargeError(Exception):
    pass


def _proxy_to(url: str) -> str | None:
    """Return the proxy that the environment names for an address; none for this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _cut_overdue(lines: list[_Line], closed: threading.Event, tick: float) -> None:
    """Cut off what is overdue: a server that sends a byte now and then keeps every timeout of a library."""
    while not closed.wait(tick):
        now = time.monotonic()
        for line in list(lines):
            line.cut(_OVERDUE, now)


def _close(lines: list[_Line], closed: threading.Event) -> None:
    closed.set()
    for line in lines:
        line.close()
