"""Requests over HTTP: connections, what is asked again and what is not, budgets, and the key that nobody sees."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson

from memaudit.errors import EndpointError, MemauditError, one_line
from memaudit.models.remote import faults
from memaudit.models.remote.address import Endpoint, key_of
from memaudit.models.remote.budget import Booking, Budget, Limits
from memaudit.models.remote.crew import Crew, stopping
from memaudit.models.remote.faults import BadAnswerError, Fault, KeyRefusedError, NoAnswerError, RefusedRequestError
from memaudit.models.remote.journal import Journal, Spent, digest
from memaudit.models.remote.secret import Secret
from memaudit.models.remote.waits import CAP, StoppedError, Waits
from memaudit.models.remote.wire import Reply, UnreachableError, Wire

__all__ = ["BadAnswerError", "NoAnswerError", "Read", "RefusedRequestError", "Transport"]

Answer = TypeVar("Answer")
Read = Callable[[Any], Any]
"""Takes what a server sent, parsed as JSON; returns what is kept of it, in values of JSON; raises `BadAnswerError`."""

TRIES = 10
"""Times that a request is sent: about a minute and a half in all."""
BAD_TRIES = 5
"""Answers otherwise than asked that are taken for a mishap."""
FIRST_TRIES = 2
"""Times that a run's first request is sent where no connection comes about."""
GET_TRIES = 3
SHOWN = 200
"""Characters of what a server says that are shown."""
MOST_SHOWN = 10**9
"""Seconds that somebody may ask to wait; whatever is longer is shown as that."""
_OK, _TOO_SLOW, _SERVERS = 200, 408, 500
_GIVEN_UP = digest("", b"given up", 0)
"""What a journal holds the reason under for which a run was given up."""
_KEPT = "what was answered is kept: run the same again"


class Transport:
    """All that goes over the wire to one server.

    Args:
        url: From `memaudit.models.remote.address.address_of`.
        endpoint: How it is reached.
        tell: Takes a line for the user: that it waits, that it asks again.
    """

    def __init__(self, url: str, endpoint: Endpoint, tell: Callable[[str], None]) -> None:
        self.url, self.endpoint, self.tell = url, endpoint, tell
        self._secret = Secret(key_of(endpoint))
        self._wire = Wire(url, endpoint.timeout, endpoint.connections, self._secret)
        self._journal = Journal()
        self._budget = Budget(Limits(endpoint.max_requests, endpoint.max_tokens), self._journal, url)
        self._waits = Waits(tell)
        self._lock = threading.Lock()
        self._asked: dict[str, threading.Event] = {}
        """What is asked at the moment, and is not asked twice."""
        self._reached = self._spoke = False
        """Whether anything came back so far, and whether it was JSON."""

    @property
    def fingerprint(self) -> str | None:
        """``system_fingerprint`` of the first answer that has one; another one later ends the run by name."""
        return self._journal.fingerprint

    def get(self, path: str) -> Any | None:
        """Return the JSON at a path behind the address (``/models``), None where there is none or no JSON.

        A path that begins with ``^`` stands behind the server's root instead: ``^/props``.

        Raises:
            EndpointError: It cannot be reached, refuses the key, or the budget does not allow the request.
        """
        behind = not path.startswith("^")  # what stands elsewhere, other programs may answer

        def once(again: bool) -> Reply:
            with self._budget.book(0, again=again, stopping=stopping()) as booking:
                return self._reply("GET", path, None, booking)

        try:
            return orjson.loads(self._persist(path, once, TRIES if behind else GET_TRIES).body)
        except (RefusedRequestError, ValueError):
            return None
        except (KeyRefusedError, NoAnswerError):
            if behind or not self._reached:
                raise
            return None

    def ask(
        self, path: str, body: Mapping[str, Any], read: Read, *, tokens: int, attempt: int = 0, kept: bool = True
    ) -> Any:
        """POST a body and return what ``read`` makes of the answer.

        What was answered once is not asked again: the same path, body and attempt give the same from the journal.

        Args:
            path: As of `get`.
            body: Sent as JSON.
            read: Checks the answer; see `Read`.
            tokens: Most that it can cost: those of the prompt and those that may be written.
            attempt: Tells repetitions of one request apart that are meant as such.
            kept: Whether it is looked up in the journal and kept there; False for what must be asked anew.

        Raises:
            RefusedRequestError: The server will not answer this.
            EndpointError: It cannot be reached or does not answer as it should however often it is asked, says that a
                quota is used up or a key is wrong, asks to wait longer than the cap, its fingerprint changed, or the
                budget does not allow the request.
        """
        sent = _as_sent(body)
        key = digest(path, sent, attempt)

        def once(again: bool) -> Any:
            return self._answer(path, sent, read, tokens, key if kept else None, again=again)

        if not kept:
            return self._persist(path, once, TRIES)
        while True:
            with self._lock:
                found = self._journal.find(key)
                if found is not None:
                    return orjson.loads(found)
                asked = self._asked.get(key)
                if asked is None:
                    mine = self._asked[key] = threading.Event()
                    break
            _await(asked)  # by another job: two answers to one question would not be the same another time
        try:
            return self._persist(path, once, TRIES)
        finally:
            with self._lock:
                del self._asked[key]
            mine.set()

    def each(self, jobs: Sequence[Callable[[], Answer]]) -> list[Answer]:
        """Do jobs that call `ask`, as many together as there are connections, and return what they return, in order.

        The first error is raised as soon as the jobs that are under way have ended; no other is begun. An interruption
        cuts off the requests under way.
        """
        return Crew(jobs).work(self.endpoint.connections, self._wire.cut)

    def keep_in(self, folder: Path) -> None:
        """Keep answers in a run directory from now on, those so far included, and know what is kept there.

        Raises:
            RunError: What is kept there is damaged, or cannot be written.
            EndpointError: The server called itself otherwise then, or the run was given up.
        """
        name = self.fingerprint
        self._journal.keep_in(folder)
        if (why := self._journal.find(_GIVEN_UP)) is not None:
            raise self._given_up(str(orjson.loads(why)))
        if name is not None:
            self._check_name({"system_fingerprint": name})

    def remember(self, name: str, value: Any) -> Any:
        """Return what a run remembers under a name: the value that it was given first, in values of JSON."""
        key = digest("", name.encode(), 0)
        self._journal.keep(key, _as_json(value), Spent())
        return orjson.loads(self._journal.find(key) or b"null")

    def give_up(self, why: str) -> None:
        """End a run for good: nothing follows from its answers, in a later session neither.

        Raises:
            EndpointError: Always, with the reason.
        """
        self._journal.keep(_GIVEN_UP, _as_json(why), Spent())
        raise self._given_up(why)

    def _given_up(self, why: str) -> EndpointError:
        return EndpointError(f"{self.url}: {why}", "run again in a new folder, once one model answers")

    def count(self, folder: Path) -> None:
        """Count what a run has spent that may be gone on with: a budget is that of all its sessions together.

        Raises:
            RunError: What is kept there is damaged.
        """
        self._journal.count(folder)

    @property
    def spent(self) -> str:
        """Requests, tokens and repetitions so far, in words: ``1,204 requests, 61,000 tokens, 14 asked again``."""
        return self._journal.spent.words(self.endpoint.max_requests, self.endpoint.max_tokens)

    def close(self) -> None:
        """Let the connections and the journal go."""
        self._wire.close()
        self._journal.close()

    def _persist(self, path: str, once: Callable[[bool], Answer], tries: int) -> Answer:
        """Return what a try gives, at most so many of them."""
        bad = number = 0
        while True:
            number += 1
            self._waits.pass_pause(stopping())
            try:
                return once(number > 1)
            except MemauditError as error:
                raise error.with_traceback(None)  # noqa: B904 (frames hold what the server sent: the key, if it is odd)
            except Fault as fault:
                last = fault
            bad += last.bad
            if isinstance(last, UnreachableError) and not self._reached and number >= FIRST_TRIES:
                raise NoAnswerError(f"{self.url}: {last.why}", "is this the address, and is the server running?")
            if bad >= BAD_TRIES:
                raise NoAnswerError(f"{self.url}{path}: answers otherwise than it is asked: {last.why}")
            if number >= tries:
                raise NoAnswerError(f"{self.url}{path}: no answer in {number} tries: {last.why}", _KEPT)
            if last.wait is not None:
                self._waits.pause(last.wait, f"{self.url}: {last.why}")
            self._waits.back_off(number, f"{self.url}: {last.why}", stopping(), bad=last.bad, paused=last.wait or 0.0)

    def _answer(self, path: str, sent: bytes, read: Read, tokens: int, key: str | None, *, again: bool) -> Any:
        """Ask once, and return what is kept of the answer."""
        with self._budget.book(tokens, again=again, stopping=stopping()) as booking:
            reply = self._reply("POST", path, sent, booking)
            try:
                answer = orjson.loads(reply.body)
            except ValueError:
                # A gateway in trouble, where the server has spoken before; else no server of models at all.
                raise Fault(f"no JSON: {self._shown(faults.text_of(reply.body))}", bad=not self._spoke) from None
            self._spoke = True
            used = faults.tokens_used(answer)
            if used is not None:
                booking.took(used)
            self._check_name(answer)
            try:
                taken = _as_json(read(answer))
            except (BadAnswerError, LookupError, TypeError, ValueError, AttributeError) as error:
                raise Fault(self._shown(_said_of(error, answer, reply.body)), bad=True) from None
            if key is not None:
                self._journal.keep(key, taken, booking.settled())
            return orjson.loads(taken)

    def _reply(self, method: str, path: str, body: bytes | None, booking: Booking) -> Reply:
        """Return what came back with status 200.

        Raises:
            Fault: Something else, which is to be asked again.
            EndpointError: Something else, which is not.
        """
        try:
            reply = self._wire.send(method, self._place(path), body, stopping())
        except UnreachableError:
            booking.was_not_sent()
            raise
        self._reached = True
        if reply.status == _OK:
            return Reply(reply.status, reply.headers, self._secret.struck_from_answer(reply.body))
        if 400 <= reply.status < 500 and reply.status != _TOO_SLOW:
            booking.took(0)
        raise self._refusal(path, reply)

    def _refusal(self, path: str, reply: Reply) -> Exception:
        status, said = reply.status, faults.what_is_said(reply.body)
        shown = f"{status}: {self._shown(said)}".removesuffix(": ")
        if faults.is_quota(status, said):
            return EndpointError(f"{self.url}: a quota is used up: {shown}", _KEPT)
        if status in faults.ASKED_AGAIN and not faults.is_of_request(status, said):
            wait = faults.seconds_to_wait(reply.headers)
            if wait is not None and wait > CAP:
                asked = f"asks to wait {math.ceil(min(wait, MOST_SHOWN)):,} s (Retry-After), longer than {CAP:g} s"
                return EndpointError(f"{self.url}: {asked}: {shown}", f"{_KEPT} later")
            return Fault(shown, wait=wait)
        if status in faults.KEY_REFUSED:
            option = self.endpoint.api_key_env
            hint = f"is the key in {option} right?" if option else "name the variable with the key: --api-key-env"
            return KeyRefusedError(f"{self.url}{path}: {shown}", hint)
        if status < 300:
            return Fault(f"{status} without an answer")
        if status < 400:
            to = self._shown(reply.headers.get("location", ""))
            return NoAnswerError(f"{self.url}{path}: {status}: it has moved: {to}", "give that address")
        hint = "ask for fewer tokens: --prefix, --suffix" if "context" in said and status < _SERVERS else ""
        return RefusedRequestError(f"{self.url}{path}: {shown}", hint, status=status)

    def _check_name(self, answer: Any) -> None:
        name = answer.get("system_fingerprint") if isinstance(answer, dict) else None
        if not isinstance(name, str) or not name:
            return
        name = self._shown(name)
        with self._lock:
            first = self._journal.fingerprint
            if first is None:
                self._journal.note(Spent(), name)
            elif first != name:
                raise EndpointError(
                    f"{self.url}: system_fingerprint was {first}, is {name}: another model "
                    "or another server answers now",
                    "run again in a new folder",
                )

    def _place(self, path: str) -> str:
        if not path.startswith("^"):
            return self.url + path
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{path[1:]}"

    def _shown(self, text: str) -> str:
        """Return what somebody else wrote as it may be shown."""
        return one_line(self._secret.struck_from(text[: faults.SHOWN]), SHOWN)


def _await(asked: threading.Event) -> None:
    told = stopping()
    while not asked.wait(0.1):
        if told.is_set():
            raise StoppedError


def _as_sent(body: Mapping[str, Any]) -> bytes:
    """Return a body as it is sent and known by: the same bytes for the same values."""
    try:
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # half a surrogate pair
        return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _as_json(value: Any) -> bytes:
    """Return a value in JSON.

    Raises:
        ValueError: It holds NaN or an infinity, which JSON does not have and the library writes as ``null``.
    """
    told = orjson.dumps(value)
    if b"null" in told:
        json.dumps(value, allow_nan=False)
    return told


def _said_of(error: Exception, answer: Any, body: bytes) -> str:
    """Return what is wrong with an answer, and what the server says of that where it does."""
    wrong = str(error) if isinstance(error, BadAnswerError) else f"another form ({type(error).__name__}: {error})"
    own = isinstance(answer, dict) and answer.get("error")
    return f"{faults.what_is_said(body)}: {wrong}" if own else wrong
