"""Which fields of a record hold the prompt, the true text and the output: told by their names, or refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from memaudit.config import did_you_mean
from memaudit.errors import InputError
from memaudit.text.corpus.fields import look_up
from memaudit.text.corpus.json_format import json_type
from memaudit.text.corpus.rows import RecordError

NAMES: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt", "prefix", "input", "question", "instruction", "query", "context", "passage"),
    "target": (
        *("target", "reference", "true_text", "truth", "ground_truth", "gold", "original", "expected", "suffix"),
        "true_continuation",
    ),
    "output": (
        *("output", "outputs", "answer", "answers", "completion", "completions", "continuation", "prediction"),
        *("predictions", "predicted", "response", "responses", "generation", "generations", "generated"),
        *("generated_text", "model_output"),
    ),
}
"""Names by which the field calls each part. A record with two of one part is not guessed at."""
_CALLED = {"prompt": "prompt", "target": "true text", "output": "output"}
ID_NAMES = ("id", "doc_id", "prompt_id", "question_id", "task_id", "item_id", "custom_id", "qid", "uid", "idx")
"""Fields that may tell prompts apart: the first that is there."""
DOCUMENT_NAMES = ("document", "document_id")
MEMBER_NAMES = ("member", "is_member")
_MEMBERS: Mapping[Any, bool] = {
    **dict.fromkeys((1, "1", "true", "member", "members", "train", "training", "seen"), True),
    **dict.fromkeys(
        (0, "0", "false", "nonmember", "non-member", "heldout", "held-out", "held_out", "test", "unseen"), False
    ),
}


@dataclass(frozen=True, slots=True)
class AnswerFields:
    """Names of the fields of a record; empty: told by the columns, or there is none."""

    prompt: str = ""
    target: str = ""
    output: str = ""
    id: str = ""
    """What tells prompts apart: records of one id are attempts at one prompt."""
    document: str = ""
    """What several prompts may belong to; the unit of all statistics."""
    domain: str = ""
    """Part of which rates are shown apart: a book, a task."""
    member: str = ""
    """Whether the model was trained on it."""

    def settled(self, columns: Collection[str], name: str) -> AnswerFields:
        """Return the fields of a file by the columns of its first record.

        Args:
            columns: Names of its fields.
            name: Of the file.

        Raises:
            InputError: There is no field of the true text or the output, or several that may be one part; one that was
                named is not there.
        """
        found = {field.name: self._named(field.name, columns, name) for field in dataclasses.fields(self)}
        for part, known in NAMES.items():
            if not found[part]:
                found[part] = _told(part, known, columns, name)
        taken = set(found.values())
        for part, known in (("document", DOCUMENT_NAMES), ("member", MEMBER_NAMES), ("id", ID_NAMES)):
            found[part] = found[part] or next((n for n in known if n in columns and n not in taken), "")
        return AnswerFields(**found)

    def _named(self, part: str, columns: Collection[str], name: str) -> str:
        """Return the field that was named for a part; one inside an object is looked for in every record."""
        named: str = getattr(self, part)
        if named and named not in columns and named.split(".")[0] not in columns:
            raise InputError(f"{name}: no field {named!r}", did_you_mean(named, columns) or _listed(columns))
        return named


def _told(part: str, known: Collection[str], columns: Collection[str], name: str) -> str:
    found = [column for column in known if column in columns]
    if len(found) > 1:
        both = " or ".join(repr(column) for column in found)
        raise InputError(f"{name}: which field is the {_CALLED[part]}, {both}?", f"--{part}-field names it")
    if not found and part != "prompt":
        raise InputError(f"{name}: no field of the {_CALLED[part]}; {_listed(columns)}", f"--{part}-field names it")
    return found[0] if found else ""


def _listed(columns: Collection[str]) -> str:
    names = ", ".join(column[:30] for column in list(columns)[:12]) or "none"
    return f"fields: {names}" + (f" and {len(columns) - 12} more" if len(columns) > 12 else "")


def text_in(row: Mapping[str, Any], field: str, part: str) -> str:
    """Return the text of a field.

    Raises:
        RecordError: The record lacks it, or it is no text.
    """
    there, value = look_up(row, field)
    if not there:
        raise RecordError(f"no field {field!r}, which holds the {part} in the first record")
    if part == "prompt" and isinstance(value, list) and value:
        return "\n".join(_turn(turn) for turn in value)
    if not isinstance(value, str):
        raise RecordError(f'"{field}" is {json_type(value)}, expected a string: the {part}')
    return value


def _turn(turn: Any) -> str:
    """Return one message of a conversation that was the prompt."""
    content = turn.get("content") if isinstance(turn, Mapping) else None
    if not isinstance(content, str):
        raise RecordError("the prompt is a list of something else than messages with a content")
    return f"{turn.get('role', 'user')}: {content}"


def outputs_in(row: Mapping[str, Any], field: str) -> list[str]:
    """Return the outputs of a record: one text, or the attempts in a list.

    Raises:
        RecordError: There is none, or one is no text: what was never produced is no output without text.
    """
    there, value = look_up(row, field)
    if not there:
        raise RecordError(f"no field {field!r}, which holds the output in the first record")
    outputs = value if isinstance(value, list) else [value]
    for output in outputs:
        if not isinstance(output, str):
            hint = "an output without text is written as an empty string; --skip-bad leaves the record out"
            raise RecordError(f'"{field}" holds {json_type(output)}, expected a string: the output', hint)
    if not outputs:
        raise RecordError(f'"{field}" is an empty list: no output')
    return outputs


def label_in(row: Mapping[str, Any], field: str) -> str | None:
    """Return the value of an optional field as text; None where it has none.

    Raises:
        RecordError: It is neither a text nor a whole number.
    """
    value = look_up(row, field)[1] if field else None
    if value is None or value == "":
        return None
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise RecordError(f'"{field}" is {json_type(value)}, expected a string or a whole number')


def member_in(row: Mapping[str, Any], field: str) -> bool | None:
    """Return whether a record is of training text; None where no field says so.

    Raises:
        RecordError: The field says something else.
    """
    if not field:
        return None
    value = look_up(row, field)[1]
    key = value.strip().lower() if isinstance(value, str) else value
    if isinstance(key, str | int) and key in _MEMBERS:
        return _MEMBERS[key]
    raise RecordError(f'"{field}" is {str(value)[:40]!r}, expected true or false: whether the model was trained on it')
