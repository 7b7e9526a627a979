"""Stands between a client and a real server: keeps count of what is asked, commits faults, rewrites what passes.

Whether a request meets a fault depends on the seed, the request and how often it came, not on the order of requests:
however many there are under way together, the same ones fail, and asked again they succeed in the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import random
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import urlsplit

STATUSES = {"408": 408, "429": 429, "500": 500, "503": 503}
WITHOUT_ANSWER = (*STATUSES, "reset", "hang", "html")
"""Faults that the server behind never hears of."""
FAULTS = (*WITHOUT_ANSWER, "half", "missing", "shifted")
"""All ten."""
HTML = b"<html><body><h1>Bad gateway</h1>This is fine.</body></html>"
_MEANT = ("choices", "text", "meta_info", "tokens", "content")
_PASSED = ("authorization", "content-type", "accept")


@dataclass
class Seen:
    """A request that came."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    fault: str = ""
    """Committed on it; empty: none."""
    whole: bool = False
    """Whether the server's true answer was written to the client from its first byte to its last."""

    @property
    def asked(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass
class Proxy:
    """A proxy before a server; a context manager.

    Attributes:
        behind: Address of the server; `url` is the proxy's own.
        faults: Which are committed, on POST requests only.
        share: Share of requests that commits each of them.
        seed: Of the faults.
        hang: Most seconds that a hanging request is held.
        change_request: Takes path and body of a POST; returns the body that goes on.
        change_answer: Takes path, body that was asked, and answer with status 200; returns the answer that goes back.
        answer: Takes a request; returns a status, headers and body to answer in the server's place, or None.
    """

    behind: str
    faults: Sequence[str] = ()
    share: float = 0.05
    seed: int = 0
    hang: float = 30.0
    change_request: Callable[[str, Any], Any] | None = None
    change_answer: Callable[[str, Any, Any], Any] | None = None
    answer: Callable[[Seen], tuple[int, dict[str, str], bytes] | None] | None = None
    seen: list[Seen] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._often: dict[bytes, int] = {}
        self.closing = threading.Event()
        parts = urlsplit(self.behind)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{parts.path}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    @property
    def posts(self) -> list[Seen]:
        """The POST requests so far."""
        with self._lock:
            return [one for one in self.seen if one.method == "POST"]

    @property
    def committed(self) -> list[str]:
        """The faults so far, in no order that means anything."""
        return [one.fault for one in self.posts if one.fault]

    def fault_of(self, seen: Seen) -> str:
        """Note a request, and return the fault that it is to meet."""
        body = hashlib.sha256(f"{self.seed} {seen.path} ".encode() + seen.body).digest()
        with self._lock:
            self.seen.append(seen)
            often = self._often[body] = self._often.get(body, 0) + 1
        if seen.method != "POST":
            return ""
        draw = random.Random(body + bytes([often % 256])).random() / self.share if self.share else len(self.faults)
        return self.faults[int(draw)] if draw < len(self.faults) else ""


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the client is gone: it was killed, or had enough


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def _pass_on(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length)
            if len(body) < length:  # killed while it asked
                self.close_connection = True
                return None
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(self.command, self.path, body, headers)
            seen.fault = proxy.fault_of(seen)
            if proxy.answer and (made := proxy.answer(seen)):
                self._send(*made)
            elif seen.fault in WITHOUT_ANSWER:
                self._commit(seen)
            else:
                status, headers, told = self._ask(seen)
                if seen.fault == "half":
                    return self._send(status, headers, told, half=True)
                # Noted before it is sent: whoever has the answer may look at once, while this thread still waits.
                seen.whole = not seen.fault and status == 200
                try:
                    self._send(status, headers, _spoilt(seen.fault, told))
                except BaseException:
                    seen.whole = False
                    raise
            return None

        def _commit(self, seen: Seen) -> None:
            if seen.fault == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
            elif seen.fault == "hang":
                proxy.closing.wait(proxy.hang)
                self.close_connection = True
            elif seen.fault == "html":
                self._send(200, {"content-type": "text/html"}, HTML)
            else:
                wait = {"retry-after": str(len(seen.body) % 2)} if seen.fault == "429" else {}
                error = {"error": {"message": "as if", "type": "server_error"}}
                self._send(STATUSES[seen.fault], wait, json.dumps(error).encode())

        def _ask(self, seen: Seen) -> tuple[int, dict[str, str], bytes]:
            body = seen.body
            if proxy.change_request and seen.method == "POST":
                body = json.dumps(proxy.change_request(seen.path, seen.asked)).encode()
            passed = {name: value for name, value in seen.headers.items() if name in _PASSED}
            connection = http.client.HTTPConnection(proxy.host, proxy.port, timeout=60)
            try:
                connection.request(seen.method, seen.path, body or None, passed)
                answer = connection.getresponse()
                told = answer.read()
            finally:
                connection.close()
            if proxy.change_answer and seen.method == "POST" and answer.status == 200:
                told = json.dumps(proxy.change_answer(seen.path, seen.asked, json.loads(told))).encode()
            return answer.status, {"content-type": answer.headers.get("content-type", "")}, told

        def _send(self, status: int, headers: dict[str, str], told: bytes, *, half: bool = False) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told[: len(told) // 2] if half else told)
            self.wfile.flush()
            if half:
                self.close_connection = True

    return Handler


def _spoilt(fault: str, told: bytes) -> bytes:
    if fault not in ("missing", "shifted"):
        return told
    answer = json.loads(told)
    if fault == "shifted" and shift(answer):
        return json.dumps(answer).encode()
    return json.dumps(without_fields(answer, len(told))).encode()


def without_fields(answer: dict[str, Any], which: int = 0) -> dict[str, Any]:
    """Return an answer of a server of completions without its log-probabilities or, if there are none, its choices."""
    choices = answer.get("choices") or []
    if which % 2 and any(choice.get("logprobs") for choice in choices):
        return {**answer, "choices": [{k: v for k, v in choice.items() if k != "logprobs"} for choice in choices]}
    return {name: value for name, value in answer.items() if name not in _MEANT}


def shift(answer: Any) -> bool:
    """Put the log-probability of every token to the token before it, in place; whether there was any to move.

    Tokens and lists of the likeliest ones stay where they are.
    """
    if isinstance(answer, list):
        if len(answer) > 1 and all(isinstance(one, dict) and "logprob" in one and "id" in one for one in answer):
            values = [one["logprob"] for one in answer]
            for one, value in zip(answer, values[1:] + values[:1], strict=True):
                one["logprob"] = value
            return True
        moved_any = [shift(one) for one in answer]
        return any(moved_any)
    if not isinstance(answer, dict):
        return False
    moved = False
    for name, value in answer.items():
        if name in ("token_logprobs", "prompt_logprobs") and isinstance(value, list) and len(value) > 2:
            answer[name] = [value[0], *value[2:], value[1]]
            moved = True
        elif name != "top_logprobs":
            moved = shift(value) or moved
    return moved
