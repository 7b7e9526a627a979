"""The texts of a WET file: the ``conversion`` records of a web archive (ISO 28500), each one document.

Records of another kind hold no text of their own (``warcinfo``, ``request``, ``metadata``), or a page as it was
sent (``response``, ``resource``), markup, headers and all: that is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator

from memaudit.errors import InputError
from memaudit.text.corpus.containers import MAX_RECORD, ByteStream
from memaudit.text.corpus.rows import Row, not_utf8

MAX_HEADER = 1 << 20
"""Bytes of the header of a record, at most."""

_PASSED_OVER = {b"warcinfo", b"request", b"metadata", b"revisit"}


def read_warc(stream: ByteStream, text_field: str) -> Iterator[Row]:
    """Yield the texts of a web archive, each at the line its record begins on, with the date and address of the page.

    Args:
        stream: The file; its digest is complete after the last row.
        text_field: The name under which the text appears.

    Raises:
        InputError: The archive is torn or damaged, or holds pages instead of their texts.
    """
    source = _Source(stream)
    while source.skip_blank():
        place = source.line
        at = f"{stream.name}:{place}"
        headers = _headers(source, at)
        kind = headers.get(b"warc-type", b"").lower()
        size = headers.get(b"content-length", b"")
        if not size.isdigit() or int(size) > MAX_RECORD:
            raise InputError(f"{at}: a WARC record of {size.decode('ascii', 'replace')[:20] or 'no'} bytes")
        if kind not in _PASSED_OVER | {b"conversion"}:
            shown = kind.decode("ascii", "replace")[:20]
            hint = "give the WET file of the same crawl, or the texts as JSON lines"
            raise InputError(f"{at}: a WARC {shown} record, which is a page and no text", hint)
        content = source.take(int(size), at)
        if kind != b"conversion":
            continue
        try:
            fields = {text_field: content.decode()}
        except UnicodeDecodeError as error:
            yield str(place), not_utf8(error)
            continue
        for name, header in (("date", b"warc-date"), ("url", b"warc-target-uri")):
            fields.setdefault(name, headers.get(header, b"").decode("utf-8", "replace"))
        yield str(place), fields


def _headers(source: _Source, at: str) -> dict[bytes, bytes]:
    if not source.line_of(at).startswith(b"WARC/"):
        raise InputError(f"{at}: no WARC record begins here", "fetch the file again")
    found: dict[bytes, bytes] = {}
    while line := source.line_of(at):
        name, _, value = line.partition(b":")
        found[name.strip().lower()] = value.strip()
    return found


class _Source:
    """Bytes that are taken by lines and by numbers of bytes; counts the lines."""

    def __init__(self, stream: ByteStream) -> None:
        self.line = 1
        """The line that comes next."""
        self._chunks = iter(stream)
        self._buffer = bytearray()
        self._at = 0

    def skip_blank(self) -> bool:
        """Go over line ends; return whether anything follows."""
        while self._fill(1):
            if self._buffer[self._at] not in b"\r\n":
                return True
            self.line += self._buffer[self._at] == ord("\n")
            self._at += 1
        return False

    def line_of(self, at: str) -> bytes:
        """Return the next line without its end; none of a header is left open."""
        found = self._buffer.find(b"\n", self._at)
        while found < 0:
            left = len(self._buffer) - self._at
            if left > MAX_HEADER or not self._fill(left + 1):
                raise InputError(f"{at}: the header of this WARC record does not end", "fetch the file again")
            found = self._buffer.find(b"\n", self._at)
        line = bytes(self._buffer[self._at : found]).rstrip(b"\r")
        self._at = found + 1
        self.line += 1
        return line

    def take(self, size: int, at: str) -> bytes:
        """Return so many bytes."""
        if not self._fill(size):
            raise InputError(f"{at}: this WARC record is not all there", "fetch the file again")
        content = bytes(self._buffer[self._at : self._at + size])
        self._at += size
        self.line += content.count(b"\n")
        return content

    def _fill(self, size: int) -> bool:
        """See to it that so many bytes are at hand; return whether they are."""
        while len(self._buffer) - self._at < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            del self._buffer[: self._at]
            self._at = 0
            self._buffer += chunk
        return True
