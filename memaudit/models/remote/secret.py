"""The key of a server: it stands in one header and is struck out of everything else."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

STRUCK = "***"
_PART = 8
"""Characters of the key in a row that are struck out wherever they stand: servers quote keys in part."""
_SECRET = 16
"""Characters of a key that is one: what is given to a server that wants none (``EMPTY``) may stand in any text."""


class Secret:
    """A key that no ``repr`` shows.

    Args:
        key: As it is sent; empty: none is.
    """

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"Secret({STRUCK if self._key else 'none'})"

    def __reduce__(self) -> str:
        raise TypeError("a key is not written anywhere")

    def header(self) -> dict[str, str]:
        """Return the header that holds it; none without a key."""
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def struck_from(self, text: str) -> str:
        """Return a text without the key, however it was escaped, and without longer parts of it."""
        key = self._key
        if not key:
            return text
        for form in (*self._in_json(), html.escape(key), quote(key, safe="")):
            text = text.replace(form, STRUCK)
        return self._without_parts(text)

    def struck_from_answer(self, body: bytes) -> bytes:
        """Return an answer without the key: a server may put it into its fingerprint, a name, or a text."""
        for form in self._in_json() if len(self._key) >= _SECRET else ():
            body = body.replace(form.encode(), STRUCK.encode())
        return body

    def _in_json(self) -> tuple[str, ...]:
        forms = self._key, json.dumps(self._key)[1:-1]
        return *forms, *(form.replace("/", "\\/") for form in forms)

    def _without_parts(self, text: str) -> str:
        kept, place = [], 0
        while place < len(text):
            length = 0
            while place + length < len(text) and text[place : place + length + 1] in self._key:
                length += 1
            kept.append(STRUCK if length >= _PART else text[place])
            place += length if length >= _PART else 1
        return "".join(kept)
