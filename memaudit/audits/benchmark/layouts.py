"""Well-known layouts of benchmarks: which columns hold the question, and which the answer.

A layout is known by its columns alone; the first in the table whose columns are all there is taken. Names
are compared without case, and a space counts as an underscore: ``Best Answer`` is ``best_answer``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from string import ascii_uppercase
from typing import Any

from memaudit.config import did_you_mean
from memaudit.errors import InputError
from memaudit.text.corpus.json_format import json_type
from memaudit.text.corpus.rows import RecordError

QUESTION, ANSWER, CONTEXT, BOTH, ALL = "question", "answer", "context", "both", "all"
OFFERED = "question and choices"
"""The question with all answers to choose from: how such an item is most often printed."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the items of one benchmark are written."""

    name: str
    columns: str
    """Columns that a record must have, separated by spaces; a dot reaches into an object."""
    parts: Mapping[str, str]
    """Part -> its column."""
    choices: str = ""
    """Columns of the answers to choose from: one that holds them all, or one for each."""
    label: str = ""
    """Column that says which choice is right, where there is one: a label, a letter, an index from 0, or the text."""


def _asks(
    name: str, columns: str, question: str, answer: str = "", *, context: str = "", choices: str = "", label: str = ""
) -> Layout:
    """Return the layout of a benchmark that asks: its parts are the question, the answer, what it is about."""
    parts = {CONTEXT: context, QUESTION: question, ANSWER: answer}
    return Layout(name, columns, {part: column for part, column in parts.items() if column}, choices, label)


LAYOUTS = (
    _asks("HumanEval", "task_id prompt canonical_solution", "prompt", "canonical_solution"),
    _asks("MBPP", "task_id text code", "text", "code"),
    _asks("MBPP", "task_id prompt code", "prompt", "code"),
    _asks("MMLU", "question a b c d answer", "question", choices="a b c d", label="answer"),
    _asks("MMLU", "input a b c d target", "input", choices="a b c d", label="target"),
    _asks(
        "ARC or OpenBookQA",
        "question.stem question.choices",
        "question.stem",
        choices="question.choices",
        label="answerkey",
    ),
    _asks("OpenBookQA", "question_stem choices", "question_stem", choices="choices", label="answerkey"),
    _asks("ARC", "question choices answerkey", "question", choices="choices", label="answerkey"),
    _asks("MMLU", "question choices answer", "question", choices="choices", label="answer"),
    _asks("RACE", "article question options answer", "question", context="article", choices="options", label="answer"),
    _asks("MMLU-Pro", "question options answer", "question", choices="options", label="answer"),
    _asks("TruthfulQA", "question best_answer", "question", "best_answer"),
    _asks("GPQA", "question correct_answer", "question", "correct_answer"),
    _asks("HellaSwag", "ctx endings", "ctx", choices="endings", label="label"),
    _asks("PIQA", "goal sol1 sol2", "goal", choices="sol1 sol2", label="label"),
    _asks("BoolQ", "question passage", "question", context="passage"),
    _asks("SQuAD", "question context answers", "question", "answers", context="context"),
    _asks("TriviaQA", "question answer.value", "question", "answer.value"),
    _asks("MATH", "problem solution", "problem", "solution"),
    _asks("AIME", "problem answer", "problem", "answer"),
    _asks("GSM-Plus", "question solution answer", "question", "solution"),
    _asks("question and answer", "question answer", "question", "answer"),
    _asks("input and target", "input target", "input", "target"),
    _asks("prompt and completion", "prompt completion", "prompt", "completion"),
    _asks("questions", "question", "question"),
    _asks("problems", "problem", "problem"),
    _asks("prompts", "prompt", "prompt"),
    Layout("MNLI", "sentence1 sentence2", {"premise": "sentence1", "hypothesis": "sentence2"}),
    Layout("SNLI", "premise hypothesis", {"premise": "premise", "hypothesis": "hypothesis"}),
    Layout("AG News", "title description", {"title": "title", "description": "description"}),
    Layout("WinoGrande", "sentence option1 option2", {"text": "sentence"}),
    Layout("sentences", "sentence", {"text": "sentence"}),
    Layout("reviews", "review", {"text": "review"}),
    Layout("texts", "text", {"text": "text"}),
)


class NamedFields:
    """The fields that a user named: each is a part of its own, and they are one more together.

    Args:
        names: Columns; a dot reaches into an object.

    Raises:
        InputError: A name is given twice, or is the name of the joined part.
    """

    layout = None
    offers_choice = False

    def __init__(self, names: Sequence[str]) -> None:
        joined = BOTH if len(names) == 2 else ALL
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"--field {name} is given twice")
            if name == joined and len(names) > 1:
                raise InputError(f'"{name}" is reserved for the fields together', f"rename the field {name}")
        self.fields: dict[str, list[str]] = {name: [name] for name in names}
        if len(names) > 1:
            self.fields[joined] = list(names)

    def parts(self, record: Mapping[str, Any]) -> dict[str, str]:
        """Return the texts of a record by part, those without text left out.

        Raises:
            RecordError: A field is missing or holds no text.
        """
        texts = {}
        for name, path in self.fields.items():
            if len(path) == 1:
                value, found = _look_up(record, name)
                if not found:
                    raise _no_field(record, name)
                texts[name] = _text(value, name)
        return _with_joined(texts, list(self.fields)[-1], apart="")


class DetectedFields:
    """The parts of a well-known layout.

    Args:
        layout: One that `detect` found to fit.
        record: A record in it, for how its columns are spelled.
    """

    def __init__(self, layout: Layout, record: Mapping[str, Any]) -> None:
        self.layout: str | None = layout.name
        self._parts = {part: _spelled(record, column) or column for part, column in layout.parts.items()}
        self._choices = [_spelled(record, column) or column for column in layout.choices.split()]
        self.offers_choice = bool(self._choices)
        label = _spelled(record, layout.label)
        self._label = label or layout.label
        self.fields = {part: [column] for part, column in self._parts.items()}
        if self._choices:
            self.fields[ANSWER] = [*self._choices, *([label] if label else [])]
        joined = [column for part, columns in self.fields.items() if part != CONTEXT for column in columns]
        if self._choices and QUESTION in self._parts:
            self.fields[OFFERED] = [self._parts[QUESTION], *self._choices]
        if len(self.fields.keys() - {CONTEXT, OFFERED}) > 1:
            self.fields[BOTH] = joined

    def parts(self, record: Mapping[str, Any]) -> dict[str, str]:
        """Return the texts of a record by part, those without text left out.

        Raises:
            RecordError: A column is missing, holds no text, or names no choice.
        """
        texts = {}
        for part, column in self._parts.items():
            value, found = _look_up(record, column)
            if not found:
                raise _no_field(record, column)
            texts[part] = _text(value, column, distinct=part == ANSWER)
        if not self._choices:
            return _with_joined(texts, BOTH, apart=CONTEXT)
        answer, every = self._answers(record)
        parts = _with_joined(texts | {ANSWER: answer}, BOTH, apart=CONTEXT)
        question = parts.get(QUESTION, "")
        if answer == every or not question:
            return parts
        last, whole = parts.popitem()  # stays the last, for it stands for the item
        return {**parts, OFFERED: f"{question}\n{every}", last: whole}

    def _answers(self, record: Mapping[str, Any]) -> tuple[str, str]:
        """Return the right choice and all of them on lines of their own, twice the latter where nothing says it."""
        held = [_look_up(record, column)[0] for column in self._choices]
        texts, labels = _choices(held[0] if len(held) == 1 else held, ", ".join(self._choices))
        every = "\n".join(text for text in texts if text)
        label, _ = _look_up(record, self._label)
        if label is None or label in ("", -1, "-1"):
            return every, every
        return texts[_right_choice(label, texts, labels, self._label)], every


Fields = NamedFields | DetectedFields
"""How the parts of a record are found."""


def parts_of(record: Mapping[str, Any], fields: Fields) -> dict[str, str]:
    """Return the texts of a record by part; none where all of them are empty.

    Raises:
        RecordError: All that it has in their place is null, or as of `DetectedFields.parts`.
    """
    parts = fields.parts(record)
    columns = [column for column in chain(*fields.fields.values()) if _look_up(record, column)[1]]
    if not parts and columns and all(_look_up(record, column)[0] is None for column in columns):
        raise RecordError(f'"{columns[0]}" is null, expected string')
    return parts


def detect(record: Mapping[str, Any]) -> DetectedFields | None:
    """Return how to read records with the columns of this one, or None if no layout is known for them."""
    for layout in LAYOUTS:
        if all(_spelled(record, column) for column in layout.columns.split()):
            return DetectedFields(layout, record)
    return None


def name_columns(cells: Sequence[str]) -> list[str] | None:
    """Return the columns of a file whose first row is already a record, or None if it may be a header.

    MMLU, AG News and SST-2 were published without one. A row is taken for a record of theirs only if no header
    could look like it: it ends in the letter of a choice, begins with the number of a class before texts of
    several words, or ends in the class 0 or 1 after such a text.
    """
    words = [len(cell.split()) for cell in cells]
    if len(cells) == 6 and cells[5] in ("A", "B", "C", "D") and list(cells[2:5]) != ["A", "B", "C"]:
        return ["question", "A", "B", "C", "D", "answer"]
    if len(cells) == 3 and cells[0].isdecimal() and min(words[1:]) > 1:
        return ["class", "title", "description"]
    if len(cells) == 2 and cells[1] in ("0", "1") and words[0] > 1:
        return ["sentence", "label"]
    return None


def _with_joined(texts: Mapping[str, str], joined: str, apart: str) -> dict[str, str]:
    """Return the texts that are not blank, and last, where they are several, all of them but ``apart`` as one."""
    parts = {part: text for part, text in texts.items() if text and not text.isspace()}
    together = [text for part, text in parts.items() if part != apart]
    if len(together) > 1:
        parts[joined] = "\n".join(together)
    return parts


def _spelled(record: Mapping[str, Any], column: str) -> str | None:
    """Return how a record spells a column of the table, or None if it has none of that name."""
    path: list[str] = []
    value: Any = record
    for wanted in column.split("."):
        names = value if isinstance(value, Mapping) else ()
        spelled = next((name for name in names if name.strip().casefold().replace(" ", "_") == wanted), None)
        if spelled is None:
            return None
        path.append(spelled)
        value = value[spelled]
    return ".".join(path)


def _look_up(record: Mapping[str, Any], name: str) -> tuple[Any, bool]:
    """Return the value of a field, and whether it is there; within null, everything is null."""
    if name in record:
        return record[name], True
    value: Any = record
    for key in name.split("."):
        if value is None:
            return None, True
        if not isinstance(value, Mapping) or key not in value:
            return None, False
        value = value[key]
    return value, True


def _text(value: Any, name: str, distinct: bool = False) -> str:
    """Return the text of a field: null has none, numbers and booleans are spelled as in JSON, lists are lines."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list):
        lines = [line for element in value if (line := _text(element, name))]
        return "\n".join(dict.fromkeys(lines) if distinct else lines)
    if isinstance(value, Mapping) and "text" in value:
        return _text(value["text"], name, distinct)
    hint = f"name what it holds: --field {name}.{next(iter(value))}" if isinstance(value, Mapping) and value else ""
    raise RecordError(f'"{name}" is {json_type(value)}, expected text or a list of texts', hint)


def _choices(held: Any, name: str) -> tuple[list[str], list[str]]:
    """Return the texts to choose from and their labels, which are letters where they carry none."""
    if isinstance(held, Mapping) and isinstance(held.get("text"), list):
        texts, labels = held["text"], held.get("label")
    elif isinstance(held, list) and all(isinstance(choice, Mapping) for choice in held):
        texts, labels = held, [choice.get("label") for choice in held]
    elif isinstance(held, Mapping):
        texts, labels = list(held.values()), list(held)
    else:
        texts, labels = held, None
    if not isinstance(texts, list):
        raise RecordError(f'"{name}" is {json_type(held)}, expected a list of choices')
    if not texts:
        raise RecordError(f'"{name}" holds no choice')
    if not isinstance(labels, list) or len(labels) != len(texts) or None in labels:
        labels = list(ascii_uppercase[: len(texts)])
    return [_text(text, name) for text in texts], [str(label) for label in labels]


def _right_choice(label: Any, texts: Sequence[str], labels: Sequence[str], name: str) -> int:
    """Return which choice is meant: the one with this label, at this index, or with this text, in that order."""
    if isinstance(label, str | int) and not isinstance(label, bool):
        spelled = str(label).strip()
        if isinstance(label, str) and spelled in labels:
            return labels.index(spelled)
        if spelled.isdecimal() and int(spelled) < len(texts):
            return int(spelled)
        if label in texts:
            return texts.index(str(label))
    problem = f'"{name}" is {json.dumps(label, default=str)[:40]}, expected a label or the index of one of'
    raise RecordError(f"{problem} {len(texts)} choices")


def _no_field(record: Mapping[str, Any], name: str) -> RecordError:
    names = list(_paths(record))
    shown = ", ".join(name[:20] for name in names[:8]) or "none"
    shown += f" and {len(names) - 8} more" if len(names) > 8 else ""
    message = f"no field '{name}'; fields: {shown}. {did_you_mean(name, names)}".rstrip()
    return RecordError(message, "--field names the fields to check")


def _paths(record: Mapping[str, Any]) -> Iterator[str]:
    for name, value in record.items():
        yield name
        if isinstance(value, Mapping):
            yield from (f"{name}.{path}" for path in _paths(value))
