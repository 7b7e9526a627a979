"""What a file holds, by its first 64 KiB and whatever it is called; what is neither records nor text is refused.

The rules, in their order (`memaudit.text.corpus.specs` says what a name stands for):

1. Parquet, Arrow and WARC say so in their first bytes.
2. JSON from the first character on, as far as the head goes, is JSON: an array is a document, and so are objects that
   span lines or share one (or are set apart as RFC 7464 has it); objects one to a line are JSON lines. So is a file
   of which more than every fourth line is an object: the strict reader names the first that is none.
3. Else the name decides, where it stands for a format.
4. Else it is text, unless it is YAML, a Python literal, or holds bytes that no text holds.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from memaudit.errors import InputError
from memaudit.text.corpus.containers import COMPRESSED, ByteStream, compression
from memaudit.text.corpus.formats import Format

HEAD = 64 << 10
"""Bytes that are looked at, once unpacked."""
SHARE = 4
"""More than one line in so many that is a JSON object makes a file one of JSON lines."""
NULS = 8
"""As many null bytes may stand in any text, and more where they are fewer than one in a hundred bytes."""

AS_TEXT = "name it text:FILE to search it as it is written"

_WARC = re.compile(r"WARC/\d+\.\d+\r?\n")
_PYTHON = re.compile(r"\s*\[?\s*\{\s*'[^'\n]*'\s*:")
_SPACE = re.compile(r"[ \t\r\n\x1e]*")
_OBJECT = r'\{\s*"(?:[^"\\]++|\\.)*+"\s*:\s*(?:["\[{\d-]|true|false|null|$)'
_BEGUN = re.compile(rf'{_OBJECT}|\[\s*(?:{_OBJECT}|"(?:[^"\\]++|\\.)*+(?:"\s*,\s*["\[{{]|"?$))', re.S)
"""How JSON begins that is broken further on, or longer than the head: with a name or a list of texts."""
_ISO_2022 = re.compile(r"\x1b\$(?:[@AB]|\([A-D])")
_ENCODED_MAIL = re.compile(
    r"\A(?:From \S|[A-Z][A-Za-z-]+:[ \t])(?s:.*?)"
    r"^Content-Transfer-Encoding:[ \t]*(?:base64|quoted-printable)[ \t]*\r?$",
    re.M,
)
_KEY = re.compile(r"""([A-Za-z_][\w.-]*|"[^"\n]+"|'[^'\n]+')[ \t]*:(?:[ \t]|$)""")
_DECODER = json.JSONDecoder(strict=False)


def sniff(stream: ByteStream, named: Format | None) -> Format:
    """Return the format of a file.

    Args:
        stream: The file, of which the beginning is read; read it anew with another.
        named: What its name stands for; None: nothing but text.

    Raises:
        InputError: It is neither records nor text, and what it is can be said.
    """
    first = next(stream.raw(), b"")
    if columns := _columnar(first):
        return columns
    try:
        head, whole = _head(stream)
    except InputError:
        head, whole = b"", True  # whoever reads it will say what is wrong
    text = head.decode("utf-8", "replace")
    if _WARC.match(text):
        return "warc"
    if found := _json(text, whole, named):
        return found
    if head.count(0) > max(NULS, len(head) // 100):
        raise InputError(f"{stream.name}: binary data (null bytes), no text", "give plain UTF-8 text, .gz or .zst")
    if named in {"parquet", "arrow"} and (compression(first) or Path(stream.name).suffix.lower() in COMPRESSED):
        raise InputError(f"{stream.name}: a compressed {str(named).title()} file is not read", "decompress it")
    if named is None:
        _refuse_notation(text, stream.name)
        _refuse_encoding(text, stream.name)
    return named or "text"


def _columnar(first: bytes) -> Format | None:
    if first.startswith(b"PAR1\x15"):
        return "parquet"
    stream = first.startswith(b"\xff\xff\xff\xff") and 0 < int.from_bytes(first[4:8], "little") < 1 << 28
    return "arrow" if stream or first.startswith(b"ARROW1\0") else None


def head_of(stream: ByteStream) -> str:
    """Return how a file begins, as far as it can be unpacked; bytes that are no UTF-8 are replaced."""
    try:
        head, _ = _head(stream)
    except InputError:  # whoever reads it will say what is wrong
        return ""
    return head.decode("utf-8", "replace").removeprefix("\ufeff")


def _head(stream: ByteStream) -> tuple[bytes, bool]:
    """Return how a file begins, and whether that is all of it."""
    head = bytearray()
    for chunk in ByteStream(stream.name, path=stream.path):
        head += chunk[: HEAD + 1 - len(head)]
        if len(head) > HEAD:
            return bytes(head[:HEAD]), False
    return bytes(head), True


class _Values(NamedTuple):
    """The JSON values that a text begins with."""

    array: bool = False
    """One array is all there is, as far as the head goes."""
    spans: bool = False
    """One of them stands on several lines, or behind the separator of RFC 7464."""
    shares: bool = False
    """Two stand on one line."""
    torn: bool = False
    """The first begins as JSON, and is no JSON or not all there."""


def _json(text: str, whole: bool, named: Format | None) -> Format | None:
    """Return ``jsonl`` or ``json`` for a text that is one or the other, else None."""
    found = _values(text, tables=named in {"csv", "tsv"})
    if found and (found.array or found.spans):
        return "json"
    objects, filled = _objects(text, whole)
    if (found and not found.torn and (objects or not found.shares)) or objects * SHARE > filled:
        return "jsonl"
    if found is None or (found.torn and named is not None):
        return None
    return "json" if found.shares or "\n" in text.strip() else "jsonl"


def _values(text: str, tables: bool) -> _Values | None:
    """Return how the JSON values stand that a text consists of; None if something else does, or none has content.

    Args:
        text: The beginning of a file.
        tables: Whether texts in quotes are cells, and no JSON.
    """
    at, end, count = _skip(text, 0), 0, 0
    content = spans = shares = False
    value: Any = None
    while at < len(text):
        between = text[end:at]
        spans = spans or "\x1e" in between
        shares = shares or (count > 0 and "\n" not in between)
        if text[at] not in ("{[" if tables else '{["'):
            return None
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            if not (_BEGUN.match(text, at) or isinstance(error, RecursionError)):
                return None
            return _Values(text[at] == "[", spans, shares, torn=True) if not count else _Values(False, spans, shares)
        count += 1
        written = text[at:end]
        spans = spans or "\n" in written
        content = content or _has_content(value, written)
        at = _skip(text, end)
    return _Values(count == 1 and isinstance(value, list), spans, shares) if content else None


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _has_content(value: Any, written: str) -> bool:
    """Return whether a JSON value holds names or texts: ``[1]`` may be a footnote, and ``"Yes!"`` is a quotation."""
    if isinstance(value, list):
        return any(isinstance(element, str | dict) for element in value)
    return "\\" in written if isinstance(value, str) else bool(value)


def _objects(text: str, whole: bool) -> tuple[int, int]:
    """Return how many lines are JSON objects, and how many are not blank."""
    lines = text.split("\n")
    lines = [line.strip() for line in (lines if whole or len(lines) == 1 else lines[:-1])]
    objects = sum(line.startswith("{") and line.endswith("}") and _is_object(line) for line in lines)
    return objects, sum(map(bool, lines))


def _is_object(line: str) -> bool:
    try:
        value = _DECODER.decode(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and bool(value)


def _refuse_notation(text: str, name: str) -> None:
    """Refuse what writes texts with escapes or folded lines, so that they do not stand there as they are."""
    if _PYTHON.match(text):
        raise InputError(f"{name}: Python literals, no text", f"write them as JSON lines, or {AS_TEXT}")
    if name.lower().endswith((".yaml", ".yml")) or text.startswith("%YAML") or _is_yaml(text):
        raise InputError(f"{name}: YAML, no text", f"write its texts as JSON lines, or {AS_TEXT}")


def _refuse_encoding(text: str, name: str) -> None:
    """Refuse text whose letters are written as others: no word of it would be found."""
    if _ISO_2022.search(text):
        raise InputError(f"{name}: ISO-2022 (escape sequences for letters), no UTF-8", "convert it: iconv -t UTF-8")
    if _ENCODED_MAIL.search(text):
        raise InputError(f"{name}: mail whose text is encoded (base64 or quoted-printable)", f"decode it, or {AS_TEXT}")


def _is_yaml(text: str) -> bool:
    """Return whether a text is a mapping of YAML: names at the left, each once, and lines below at least one of them.

    A text with front matter is none: other lines follow after it.
    """
    lines = [line.rstrip() for line in text.split("\n") if line.strip() and not line.startswith("#")]
    marked = bool(lines) and lines[0] == "---"
    outer = [line for line in lines if not line.startswith((" ", "\t", "-"))]
    names = [key[1] for line in outer if (key := _KEY.match(line))]
    if len(names) < len(outer) or len(set(names)) < max(2, len(names)):
        return False
    nested = len(outer) < len(lines)
    return marked or (nested and len(names) > 2 and all(name == name.lower() for name in names))
