"""What a server sends that is no answer: what is asked again, what is not, and what it says about it."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeGuard

import orjson

from memaudit.errors import EndpointError, ModelError

ASKED_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504, *range(520, 530)))
"""Statuses that another time may give an answer; those from 520 on are of proxies that cannot reach their server."""
KEY_REFUSED = frozenset((401, 403))
PAYMENT_REQUIRED = 402
TOO_MANY = 429
_QUOTA = ("quota", "billing", "credit", "payment", "balance")
"""Words by which a status of 429 is told from "not so fast": that one ends some time by itself."""
_USAGE, _LLAMA_CPP = ("prompt_tokens", "completion_tokens"), ("tokens_evaluated", "tokens_predicted")
"""Tokens read and written: in OpenAI's interface and SGLang's, and in llama.cpp's own."""
MOST_COUNTED = 2**40
"""Tokens of one request; whoever counts as many counts nothing."""
SHOWN = 2000
"""Characters of what a server says that are looked at."""


class BadAnswerError(Exception):
    """An answer with status 200 that is not one to what was asked: asked again, and an error by name in the end."""


class RefusedRequestError(ModelError):
    """A request that a server refuses for good (400, 404, 422, ...): the same again would be refused again."""

    def __init__(self, message: str, hint: str = "", *, status: int) -> None:
        super().__init__(message, hint)
        self.status = status


class KeyRefusedError(EndpointError):
    """The server wants a key, or another one."""


class NoAnswerError(EndpointError):
    """No answer came, however often it was asked."""


class Fault(Exception):  # noqa: N818 (most are no errors in the end)
    """A request that came to nothing but may be sent again.

    Args:
        why: In words, without the key.
        sent: Whether anything of it can have reached the server.
        wait: Seconds that the server asks to wait; None where it does not.
        bad: Whether the server answered, but otherwise than it was asked.
    """

    def __init__(self, why: str, *, sent: bool = True, wait: float | None = None, bad: bool = False) -> None:
        super().__init__(why)
        self.why, self.sent, self.wait, self.bad = why, sent, wait, bad


def is_of_request(status: int, said: str) -> bool:
    """Whether a server says that it failed over what it was asked: llama.cpp does with tokens that no grammar takes."""
    return status == 500 and "grammar" in said.lower()


def is_quota(status: int, said: str) -> bool:
    """Whether an answer says that what was paid for is used up: asked again, it says so again."""
    told = any(word in said.lower() for word in _QUOTA)
    return status == PAYMENT_REQUIRED or (status == TOO_MANY and told)


def text_of(body: bytes) -> str:
    """Return the beginning of a body that is no JSON on one line; it is hostile and may hold the key."""
    return " ".join(body[:SHOWN].decode("utf-8", "replace").split())


def what_is_said(body: bytes) -> str:
    """Return what the body of an error says: the message in its JSON, else its text. It is hostile and has the key."""
    try:
        told = orjson.loads(body)
    except ValueError:
        return text_of(body)
    error = told.get("error", told) if isinstance(told, dict) else told
    if isinstance(error, dict):
        words = [error.get(name) for name in ("type", "code", "message", "detail")]
        error = ": ".join(word for word in words if isinstance(word, str)) or error
    return error if isinstance(error, str) else text_of(body)


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return what ``Retry-After`` asks for in seconds, by its own clock; None where it is absent or garbled."""
    told = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,300}(\.\d*)?", told, re.ASCII):
        seconds = float(told)
        return seconds if math.isfinite(seconds) else None
    until = _moment(told)
    if until is None:
        return None
    now = _moment(headers.get("date", ""))
    return max(0.0, until - (time.time() if now is None else now))


def _moment(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def tokens_used(answer: Any) -> int | None:
    """Return the tokens that an answer says it took, read and written; None where it does not say."""
    if not isinstance(answer, dict):
        return None
    for told, names in ((answer.get("usage"), _USAGE), (answer.get("meta_info"), _USAGE), (answer, _LLAMA_CPP)):
        if isinstance(told, dict):
            read, written = (told.get(name) for name in names)
            if _is_count(read) and _is_count(written):
                return read + written
    return None


def _is_count(told: Any) -> TypeGuard[int]:
    return type(told) is int and 0 <= told < MOST_COUNTED
