"""Stands where a transport does, and answers by a function of what is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.dialects.base import Dialect
from memaudit.models.remote.model import RemoteModel
from memaudit.models.remote.probe import Probed
from memaudit.models.remote.transport import Read, Transport

Body = Mapping[str, Any]
Answer = Callable[[Body], Any]


class Told:
    """What was asked is noted; the budget of each request has room for what may be written."""

    url, endpoint, spent = "http://told/v1", Endpoint(), "nothing"

    def __init__(self, answer: Answer) -> None:
        self.answer, self.asked = answer, list[Body]()

    def ask(self, path: str, body: Body, read: Read, *, tokens: int, **_: Any) -> Any:
        self.asked.append(body)
        assert tokens >= body.get("max_tokens", 1)
        return read(self.answer(body))

    def each(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        return [job() for job in jobs]

    def keep_in(self, folder: Path) -> None:
        """Keep nothing."""

    def remember(self, name: str, value: Any) -> Any:
        """Remember nothing: what is given now is what was given first."""
        return value

    def close(self) -> None:
        """Let nothing go."""

    def as_transport(self) -> Transport:
        return cast("Transport", self)


def asked(dialect: Dialect) -> list[Body]:
    """Return what a dialect asked."""
    return cast("Told", dialect.transport).asked


def remote_of(dialect: Dialect, context: int | None = None) -> RemoteModel:
    """Return a model behind a dialect that was recognised."""
    probed = Probed(dialect, "m", context, (), (), {}, [], 0.0, list)
    about = {
        "url": Told.url, "served": "m", "api": "completions" if dialect.joins else "chat", "dialect": dialect.label,
        "gives": [], "sends": "text", "listed": None, "start": "", "end": "", "fingerprint": None,
        "template_sha256": None,
    }  # fmt: skip
    return RemoteModel(dialect.transport, probed, dialect.tokenizer, about, "0" * 64)
