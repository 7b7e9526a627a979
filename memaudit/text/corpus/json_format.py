"""Strict readers of JSON lines and of JSON documents: one row per object, nothing converted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from memaudit.errors import InputError
from memaudit.text.corpus.containers import ByteStream, joined, line_of
from memaudit.text.corpus.rows import RecordError, Row, not_utf8


def read_jsonl(lines: Iterable[bytes]) -> Iterator[Row]:
    """Yield the rows of JSON lines; a blank line is a row without fields."""
    for number, line in enumerate(lines, start=1):
        yield str(number), parse_line(line)


def parse_line(line: bytes) -> Mapping[str, Any] | RecordError | None:
    """Return the fields of a line, what is wrong with it, or None if it is blank."""
    try:
        return parse_object(line) if line.strip(b" \t\r") else None
    except RecordError as problem:
        return problem


def parse_object(line: bytes) -> Mapping[str, Any]:
    """Return the fields of one line of JSON lines; RecordError if it is not one strict JSON object."""
    try:
        value = _decode(line.decode())
    except UnicodeDecodeError as error:
        raise not_utf8(error) from error
    except json.JSONDecodeError as error:
        raise RecordError(f"not valid JSON ({error.msg} at column {error.colno})") from error
    except RecursionError as error:
        raise RecordError("JSON nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise RecordError("holds a whole number of more than 4,300 digits") from error
    return _checked_object(value, b"\\u" in line and (b"\\ud" in line or b"\\uD" in line))


def _decode(text: str) -> Any:
    """Return the value of a text; nearly every line is one value from end to end, which takes half the time."""
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError:  # white space in front, or an error that `decode` counts from the same start
        return _DECODER.decode(text)
    return value if end == len(text) else _DECODER.decode(text)


def _checked_object(value: Any, surrogates: bool) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise RecordError(f"{json_type(value)}, expected an object with fields")
    if surrogates:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise RecordError("lone surrogate", "half of a character, written as \\ud800 to \\udfff") from error
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RecordError(f'field "{twice}" appears twice in one object')
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise RecordError(f"not valid JSON ({name} is no JSON value)")


# Not strict: raw control characters inside strings, which crawled text holds, are kept as they are.
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant, strict=False)


def json_type(value: object) -> str:
    """Return the JSON name of a value's type, with its article where it has one."""
    if value is None:
        return "null"
    names: dict[type, str] = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    names |= {list: "an array", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


def read_json(stream: ByteStream) -> Iterator[Row]:
    """Read a JSON array of objects, or objects that follow each other, each on as many lines as it likes."""
    data = joined(stream, stream.name)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        problem = not_utf8(error)
        raise InputError(f"{stream.name}:{line_of(error)}: {problem.message}", problem.hint) from error
    surrogates = "\\ud" in text or "\\uD" in text
    line, line_start, last_line = 1, 0, 0
    for at, value in json_elements(text, stream.name):
        newlines = text.count("\n", line_start, at)
        if newlines:
            line, line_start = line + newlines, text.rindex("\n", 0, at) + 1
        place = f"{line}:{at - line_start + 1}" if line == last_line else str(line)
        last_line = line
        try:
            yield place, _checked_object(value, surrogates)
        except RecordError as problem:
            yield place, problem


def json_elements(text: str, name: str) -> Iterator[tuple[int, Any]]:
    """Yield where each element of a JSON array begins, and what it is; without an array, each value.

    Values that follow each other may be set apart by white space and by the separator of RFC 7464.
    """
    at = _skip_space(text, 0)
    is_array = text[at : at + 1] == "["
    at = _skip_space(text, at + 1) if is_array else at
    while at < len(text) and not (is_array and text[at] == "]"):
        start = at
        value, at = _element(text, at, name)
        yield start, value
        at = _skip_space(text, at)
        if is_array:
            if text[at : at + 1] not in {",", "]"}:
                raise _broken(text, start, name, "neither a comma nor ] after this record")
            comma = text[at] == ","
            at = _skip_space(text, at + 1) if comma else at
            if comma and text[at : at + 1] == "]":
                raise _broken(text, at, name, "no record after the last comma")
    if is_array and at == len(text):
        raise _broken(text, at, name, "the array does not end")
    if is_array and _skip_space(text, at + 1) != len(text):
        raise InputError(f"{name}: not valid JSON (text after the end of the array)")


def _broken(text: str, at: int, name: str, reason: str) -> InputError:
    return InputError(f"{name}:{text.count(chr(10), 0, at) + 1}: not valid JSON ({reason})")


def _element(text: str, at: int, name: str) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except RecordError as error:
        problem = InputError(f"{name}:{text.count(chr(10), 0, at) + 1}: {error.message}", error.hint)
        raise problem from error
    except json.JSONDecodeError as error:
        raise _broken(text, at, name, f"{error.msg} in the record that starts here") from error
    except RecursionError as error:
        raise InputError(f"{name}:{text.count(chr(10), 0, at) + 1}: JSON nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise _broken(text, at, name, str(error)) from error


def _skip_space(text: str, at: int) -> int:
    found = _JSON_SPACE.match(text, at)
    return found.end() if found else at


_JSON_SPACE = re.compile(r"[ \t\r\n\x1e]*")
