"""Records of fine-tuning data: which are conversations, and what was said by whom.

The layouts are those that fine-tuning libraries read: ``messages`` with roles, ShareGPT's ``conversations``,
``prompt`` and ``completion``, Alpaca's ``instruction``, ``input`` and ``output``, preference pairs ``chosen`` and
``rejected``. What would be rendered into a prompt and is no text (an image, a call of a tool) is refused and never
left out in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from memaudit.records import Turn
from memaudit.text.corpus.json_format import json_type
from memaudit.text.corpus.rows import RecordError

Layout = Literal["messages", "prompt and completion", "instruction and output", "preference pair"]
LAYOUTS: Mapping[str, frozenset[str]] = {
    "messages": frozenset({"messages"}),
    "conversations": frozenset({"conversations"}),
    "chosen": frozenset({"chosen", "rejected"}),
    "completion": frozenset({"prompt", "completion"}),
    "output": frozenset({"instruction", "output"}),
}
"""The field that names a layout -> the fields that a record of it has."""
FIELDS = frozenset().union(*LAYOUTS.values(), {"input", "system", "tools", "label"})
"""All fields that are looked at."""
ROLES: Mapping[str, str] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
"""Role as data call it -> as chat templates do."""
NOT_READ = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking")
"""Parts of a message beside its content that templates render, and that are not read here."""
_HINT = "leave such records out, or --skip-bad counts and lists them"


class Conversation(NamedTuple):
    """What a record holds."""

    layout: Layout
    turns: tuple[Turn, ...]
    joined: bool = False
    """Whether it was given as two texts, which follow each other where no chat template says otherwise."""

    @property
    def text(self) -> str:
        """What was said, without roles: the contents of the turns that have any, a line end between them."""
        return "\n".join(turn.content for turn in self.turns if turn.content and not turn.content.isspace())


def conversation_of(row: Mapping[str, Any]) -> Conversation | None:
    """Return the conversation of a record by the fields that it has; None if they are those of no layout.

    Raises:
        RecordError: Several layouts fit, or the one that does is not as it should be.
    """
    present = {name for name in FIELDS if name in row}
    fitting = [name for name, needed in LAYOUTS.items() if needed <= present]
    if len(fitting) > 1:
        fitting = [name for name in fitting if all(row[field] is not None for field in LAYOUTS[name])]
    if len(fitting) > 1:
        fields = ", ".join(f'"{name}"' for name in fitting)
        raise RecordError(f"several conversations fit: {fields}", "--text-field names the field that was trained on")
    if not fitting:
        return None
    if "tools" in present and row["tools"]:
        raise RecordError('"tools" are offered to the model, which is not supported', _HINT)
    readers = {"chosen": _preferred, "completion": _completed, "output": _instructed}
    name = fitting[0]
    if reader := readers.get(name):
        return reader(row)
    return Conversation("messages", _with_system(row, turns_of(row[name], name)))


def turns_of(value: Any, name: str) -> tuple[Turn, ...]:
    """Return the turns of a list of messages, of roles and contents or as ShareGPT has them.

    Args:
        value: What the field holds.
        name: The field, for messages.

    Raises:
        RecordError: It is no list of messages with known roles and with text alone.
    """
    if not isinstance(value, list | tuple):
        raise RecordError(f'"{name}" is {json_type(value)}, expected an array of messages')
    return tuple(_turn(message, f"{name}[{place}]") for place, message in enumerate(value))


def is_messages(value: Any, name: str) -> bool:
    """Whether the value of a field looks like a list of messages; one without any does where the field is called so."""
    if not isinstance(value, list | tuple) or not (value or name.rpartition(".")[2] in LAYOUTS):
        return False
    return all(isinstance(each, Mapping) and ({"role", "from"} & set(each)) for each in value)


def _turn(message: Any, place: str) -> Turn:
    if not isinstance(message, Mapping):
        raise RecordError(f'"{place}" is {json_type(message)}, expected an object with role and content')
    names = ("role", "content") if message.get("role") is not None else ("from", "value")
    role, content = (message.get(name) for name in names)
    if not isinstance(role, str):
        fields = ", ".join(str(name)[:20] for name in list(message)[:8]) or "none"
        raise RecordError(f'"{place}" names no role; fields: {fields}', 'expected "role" and "content"')
    for name in NOT_READ:
        if message.get(name):
            raise RecordError(f'"{place}" holds "{name}", which is not supported', _HINT)
    if role.lower() not in ROLES:
        known = ", ".join(ROLES)
        raise RecordError(f'"{place}" has the role "{role[:40]}"', f"roles that are read: {known}; {_HINT}")
    return Turn(ROLES[role.lower()], _content(content, f"{place}.{names[1]}"))


def _content(value: Any, place: str) -> str:
    """Return the text of a message: a string, or parts that are all text, end to end as templates write them."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list | tuple):
        raise RecordError(f'"{place}" is {json_type(value)}, expected string')
    texts = []
    for part in value:
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(text, str) or kind not in (None, "text"):
            what = f'a part of type "{str(kind)[:40]}"' if kind else json_type(part)
            raise RecordError(f'"{place}" holds {what}; only text is read', _HINT)
        texts.append(text)
    return "".join(texts)


def _with_system(row: Mapping[str, Any], turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Return the turns behind the system prompt that stands in a field of its own, if there is one."""
    system = row.get("system")
    if system is None or system == "" or (turns and turns[0].role == "system"):
        return turns
    return (Turn("system", _text(system, "system")), *turns)


def _completed(row: Mapping[str, Any]) -> Conversation:
    """Return a prompt and its completion; one that is labelled as unwanted (KTO) was trained away from."""
    label = row.get("label")
    if label is not None and str(label).lower() in ("false", "0", "0.0"):  # a column of numbers or of words says it too
        raise RecordError('"label" is false: an unwanted answer', _HINT)
    return _answered(row["prompt"], row["completion"], "completion", "prompt and completion")


def _instructed(row: Mapping[str, Any]) -> Conversation:
    instruction, output = (_text(row[name], name) for name in ("instruction", "output"))
    given = row.get("input")
    more = "" if given is None else _text(given, "input")
    asked = f"{instruction}\n{more}" if more and instruction else instruction or more
    turns = (Turn("user", asked), Turn("assistant", output)) if output or asked else ()
    return Conversation("instruction and output", _with_system(row, turns))


def _preferred(row: Mapping[str, Any]) -> Conversation:
    """Return the chosen answer with what it answers; the rejected one is no text that was trained towards."""
    chosen, rejected = row["chosen"], row["rejected"]
    prompt = row.get("prompt")
    if isinstance(chosen, str) and prompt is None:
        if not isinstance(rejected, str):
            raise RecordError(f'"rejected" is {json_type(rejected)}, "chosen" a string')
        differing = (i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b)
        prompt = chosen[: next(differing, min(len(chosen), len(rejected)))].rstrip(" ")  # as TRL finds it
        return Conversation("preference pair", _asked(prompt, chosen[len(prompt) :]), joined=True)
    return _answered(prompt, chosen, "chosen", "preference pair")


def _answered(prompt: Any, answer: Any, name: str, layout: Layout) -> Conversation:
    """Return the conversation of a prompt and its answer, each a string or a list of messages."""
    if isinstance(prompt, str) and isinstance(answer, str):
        return Conversation(layout, _asked(prompt, answer), joined=True)
    before: tuple[Turn, ...] = ()
    if prompt is not None:
        before = (Turn("user", prompt),) if isinstance(prompt, str) else turns_of(prompt, "prompt")
    if isinstance(answer, str):
        return Conversation(layout, (*before, Turn("assistant", answer)))
    turns = turns_of(answer, name)
    # Some data sets repeat the prompt at the start of both answers.
    repeated = turns[: len(before)] == before and len(turns) > len(before)
    return Conversation(layout, turns if repeated else (*before, *turns))


def _asked(prompt: str, answer: str) -> tuple[Turn, ...]:
    return (Turn("user", prompt), Turn("assistant", answer)) if prompt or answer else ()


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise RecordError(f'"{name}" is {json_type(value)}, expected string')
    return value


def said_of(units: Sequence[str], documents: int, counts: Mapping[str, int]) -> list[str]:
    """Return the sentences about the units of a corpus, with those about its conversations.

    Args:
        units: What is said of documents: ``24 records of 1 file, each one document``.
        documents: Their number.
        counts: Conversations among them by the layout of their records.
    """
    named = {layout: f"({layout}{_UNREAD if layout == 'preference pair' else ''})" for layout in sorted(counts)}
    if len(counts) == 1 and sum(counts.values()) == documents:
        (layout,) = named.values()
        return [unit.replace("each one document", f"each one conversation {layout}") for unit in units]
    several = (f"{counts[name]:,} conversation{'s' * (counts[name] != 1)} {layout}" for name, layout in named.items())
    return [*units, *several]


_UNREAD = ": the chosen answer is read, the rejected one is not"
