"""Requests over HTTP: connections, what is asked again and what is not, budgets, and the key that nobody sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from memaudit.errors import ModelError
from memaudit.models.remote.address import Endpoint

Answer = TypeVar("Answer")
Read = Callable[[Any], Any]
"""Takes what a server sent, parsed as JSON; returns what is kept of it, in values of JSON; raises `BadAnswerError`."""


class BadAnswerError(Exception):
    """An answer with status 200 that is not one to what was asked: asked again, and an error by name in the end."""


class RefusedRequestError(ModelError):
    """A request that a server refuses for good (400, 404, 422, ...): the same again would be refused again."""

    def __init__(self, message: str, hint: str = "", *, status: int) -> None:
        super().__init__(message, hint)
        self.status = status


class Transport:
    """All that goes over the wire to one server.

    Args:
        url: From `memaudit.models.remote.address.address_of`.
        endpoint: How it is reached.
        tell: Takes a line for the user: that it waits, that it asks again.
    """

    def __init__(self, url: str, endpoint: Endpoint, tell: Callable[[str], None]) -> None:
        self.url, self.endpoint, self.tell = url, endpoint, tell
        self.fingerprint: str | None = None
        """``system_fingerprint`` of the first answer that has one; another one later ends the run by name."""

    def get(self, path: str) -> Any | None:
        """Return the JSON at a path behind the address (``/models``), None where there is none or no JSON.

        A path that begins with ``^`` stands behind the server's root instead: ``^/props``.
        """
        raise NotImplementedError

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
            ModelError: It cannot be reached or does not answer as it should however often it is asked, says that a
                quota is used up or a key is wrong, asks to wait longer than the cap, its fingerprint changed, or the
                budget does not allow the request.
        """
        raise NotImplementedError

    def each(self, jobs: Sequence[Callable[[], Answer]]) -> list[Answer]:
        """Do jobs that call `ask`, as many together as there are connections, and return what they return, in order.

        The first error is raised as soon as the jobs that are under way have ended; no other is begun.
        """
        raise NotImplementedError

    def keep_in(self, folder: Path) -> None:
        """Keep answers in a run directory from now on, those so far included, and know what is kept there."""
        raise NotImplementedError

    @property
    def spent(self) -> str:
        """Requests, tokens and repetitions so far, in words: ``1,204 requests, 61,000 tokens, 14 asked again``."""
        raise NotImplementedError

    def close(self) -> None:
        """Let the connections and the journal go."""
        raise NotImplementedError
