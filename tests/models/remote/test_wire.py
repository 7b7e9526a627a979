"""Connections that are cut off in time, whatever a server does to keep them."""

from __future__ import annotations

import gc
import gzip
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from memaudit.errors import EndpointError
from memaudit.models.remote import wire as module
from memaudit.models.remote.faults import Fault
from memaudit.models.remote.secret import Secret
from memaudit.models.remote.waits import StoppedError
from memaudit.models.remote.wire import UnreachableError, Wire

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
NEVER = threading.Event()
Serve = Callable[[socket.socket, threading.Event], None]


@pytest.fixture(autouse=True)
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMAUDIT_TEST_LOOPBACK", "1")


@contextmanager
def served(serve: Serve) -> Iterator[str]:
    """Yield an address where every connection is served by a function, once a request came."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            take(connection)  # whole: what is left unread resets a connection that is closed
            serve(connection, over)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=one, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


def take(connection: socket.socket) -> bytes:
    """Return a request with a body of ``{}`` or none."""
    came = b""
    while not came.endswith((b"\r\n\r\n{}", b"\r\n\r\n")) or (b"Content-Length: 2" in came and came[-2:] != b"{}"):
        came += connection.recv(65536)
    return came


@contextmanager
def wire(url: str, timeout: float = 20.0, key: str = "") -> Iterator[Wire]:
    made = Wire(url, timeout, 2, Secret(key))
    try:
        yield made
    finally:
        made.close()


def drip(text: bytes) -> Serve:
    """Return what sends a text and then a space every now and then, for ever."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(text)
        while not over.wait(0.02):
            connection.sendall(b" ")

    return serve


def say(text: bytes) -> Serve:
    return lambda connection, _: connection.sendall(text)


@pytest.mark.parametrize(
    "text",
    [b"HTTP/1.1 200 OK\r\nX-A: ", HEAD + b"Content-Length: 100000\r\n\r\n{}", HEAD + b"Connection: close\r\n\r\n{}"],
)
def test_a_server_that_drips_is_cut_off(text: bytes) -> None:
    with served(drip(text)) as url, wire(url, 0.3) as made, pytest.raises(Fault, match=r"no whole answer within 0.3 s"):
        made.send("POST", url, b"{}", NEVER)


def test_what_ends_with_the_connection_is_whole() -> None:
    with served(say(HEAD + b"Connection: close\r\n\r\n[1]")) as url, wire(url) as made:
        reply = made.send("POST", url, b"{}", NEVER)
    assert (reply.status, reply.body) == (200, b"[1]")
    assert "[1]" not in repr(reply)


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_without_end_is_given_up(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 1 << 20)
    body, how = b" " * (3 << 20), b""
    if packed:
        body, how = gzip.compress(body), b"Content-Encoding: gzip\r\n"
    text = HEAD + how + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with (
        served(say(text)) as url,
        wire(url) as made,
        pytest.raises(EndpointError, match="more than 1 MiB in one answer"),
    ):
        made.send("POST", url, b"{}", NEVER)


def test_packed_answers_are_unpacked() -> None:
    body = gzip.compress(b'{"a": 1}')
    text = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with served(say(text)) as url, wire(url) as made:
        assert made.send("POST", url, b"{}", NEVER).body == b'{"a": 1}'


@pytest.mark.parametrize(
    "text", [b"", b"\x00\x01SSH-2.0\r\n\r\n", HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"]
)
def test_what_is_no_http_is_a_fault(text: bytes) -> None:
    with served(say(text)) as url, wire(url) as made, pytest.raises(Fault, match="the connection broke: ") as caught:
        made.send("POST", url, b"{}", NEVER)
    assert caught.value.sent
    assert caught.value.__context__ is None


@pytest.mark.parametrize("text", [b"HTTP/1.1 200 OK\r\n", HEAD + b"Content-Length: 9\r\n\r\n", HEAD + b"\r\n"])
def test_an_interruption_cuts_off_what_is_under_way(text: bytes) -> None:
    begun, ended = threading.Event(), list[BaseException]()

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(text)
        begun.set()
        over.wait(30)

    def ask() -> None:
        try:
            made.send("POST", url, b"{}", NEVER)
        except BaseException as error:
            ended.append(error)

    with served(serve) as url, wire(url) as made:
        thread = threading.Thread(target=ask)
        thread.start()
        begun.wait(10)
        made.cut()
        thread.join(10)
        assert [type(error) for error in ended] == [StoppedError]
        stopping = threading.Event()
        stopping.set()
        with pytest.raises(StoppedError):
            made.send("POST", url, b"{}", stopping)


def test_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with wire(url) as made, pytest.raises(UnreachableError, match=r"no connection: .*refused") as caught:
        made.send("GET", url, None, NEVER)
    assert not caught.value.sent


def test_the_key_is_in_one_header() -> None:
    came: list[bytes] = []

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
        came.append(take(connection))
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")

    with served(serve) as url, wire(url, key="sk-12345678") as made:
        for _ in range(2):
            assert made.send("POST", url, b"{}", NEVER).body == b"{}"
    assert came[0].count(b"sk-12345678") == 1
    assert b"Authorization: Bearer sk-12345678\r\n" in came[0]


def test_connections_are_let_go_without_a_word() -> None:
    with served(say(HEAD + b"Content-Length: 2\r\n\r\n{}")) as url:
        made = Wire(url, 20.0, 2, Secret(""))
        made.send("GET", url, None, NEVER)
        gone = weakref.ref(made)
        del made
        gc.collect()
        assert gone() is None


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://models.example/v1", "http://p.example:3128"),
        ("https://models.example/v1", "http://q.example"),
        ("http://127.0.0.1:8000/v1", None),
        ("http://[::1]:8000/v1", None),
        ("http://localhost/v1", None),
        ("http://inner.example/v1", None),
    ],
)
def test_proxies_of_the_environment(url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("http_proxy", "p.example:3128")
    monkeypatch.setenv("https_proxy", "http://q.example")
    monkeypatch.setenv("no_proxy", "inner.example")
    assert module._proxy_to(url) == proxy
