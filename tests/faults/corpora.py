"""Fuzzed corpora whose every record is known: what must be read, what is empty, what is refused and on which line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zstandard
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.text.corpus.read import read_corpus

Fate = Literal["read", "empty", "refused"]
Record = tuple[bytes, Fate]
"""The bytes of a physical record, line end included, and what must become of it."""

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
words = texts.filter(lambda text: bool(text) and not text.isspace())


@dataclass(frozen=True)
class FuzzedCorpus:
    """A file and what is known of its records."""

    name: str
    content: bytes
    fates: tuple[Fate, ...]
    lines: tuple[int, ...]
    """The line on which each record starts."""

    def faults(self, folder: Path) -> list[str]:
        """Read it strictly and with skipping; return what was wrong."""
        path = folder / self.name
        path.write_bytes(self.content)
        bad = [line for line, fate in zip(self.lines, self.fates, strict=True) if fate == "refused"]
        good = self.fates.count("read")
        wrong = self._strict(path, bad, good)
        try:
            summary = read_corpus([str(path)], skip_bad=True).summary()
        except InputError as error:
            return wrong if not good and "no records in" in str(error) else [*wrong, f"skipping: {error}"]
        counts = summary["documents"], summary["empty"], summary["rejected"]
        if counts != (good, self.fates.count("empty"), len(bad)):
            wrong.append(f"{counts} read, empty, rejected of {len(self.fates)} records {self.fates}")
        named = [int(place.removeprefix(f"{path}:").partition(":")[0]) for place in summary["first_rejected"]]
        if named != bad[: len(named)]:
            wrong.append(f"rejected lines {named}, not {bad}")
        return wrong

    def _strict(self, path: Path, bad: list[int], good: int) -> list[str]:
        try:
            documents = list(read_corpus([str(path)]))
        except InputError as error:
            place = f"{path}:{bad[0]}:" if bad else "no records in"
            return [] if str(error).startswith(place) else [f"{place} expected, not {error}"]
        if bad:
            return [f"a bad record on line {bad[0]} was not refused"]
        return [] if len(documents) == good else [f"{len(documents)} documents of {good}"]


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
_not_text = _values.filter(lambda value: not isinstance(value, str))
_fields = st.dictionaries(texts.filter(lambda name: name not in {"text", "id", "domain", "date", "copies"}), _values,
                          max_size=2)  # fmt: skip
_good = st.builds(lambda text, more: (_json({"text": text} | more), "read"), words, _fields)
_empty = st.sampled_from(
    [(b"", "empty"), (b"  \t", "empty"), (b'{"text": ""}', "empty"), (b'{"text": " \\n"}', "empty")]
)
_refused = st.one_of(
    st.builds(lambda value: (_json({"text": value}), "refused"), _not_text),
    st.builds(lambda more: (_json(more), "refused"), _fields),
    st.sampled_from(
        [
            (line, "refused")
            for line in (
                b"{not json", b'{"text": "torn', b'{"text": "a"} {"text": "b"}', b"[1, 2]", b"3", b'"text"', b"null",
                b'{"text": "a", "text": "b"}', b'{"text": NaN}', b'{"text": "\\ud800"}', b'{"text": "a\xff"}',
                b'{"text": "' + "é".encode("latin-1") + b'"}', b"\xff\xfe{", b'{"text": "a",}', b"{'text': 'a'}",
                b'{"text": "a", "copies": -1}', b'{"text": "a", "copies": "many"}', b'{"text": "a", "id": [1]}',
                b'{"text": "a"', b"[" * 100_000, b'{"text": ' + b"[" * 100_000, b'{"text": ' + b"9" * 5_000 + b"}",
                b'{"text": "\\x"}', b'{"text": "a", "more": Infinity}',
            )
        ]
    ),
)  # fmt: skip
_said = st.one_of(words, words.map(lambda text: [{"type": "text", "text": text}]))
_turns = st.one_of(
    st.builds(
        lambda role, text: {"role": role, "content": text}, st.sampled_from(["user", "assistant", "system"]), _said
    ),
    st.builds(lambda role, text: {"from": role, "value": text}, st.sampled_from(["human", "gpt"]), _said),
)
_no_turn = st.one_of(
    _values.filter(lambda value: not isinstance(value, dict)),
    st.builds(lambda role: {"role": role, "content": "a"}, st.sampled_from(["tool", "", "\x1b[31m", "ipython"])),
    st.builds(lambda value: {"role": "user", "content": value}, _not_text.filter(lambda v: not isinstance(v, list))),
    st.sampled_from(
        [
            {"role": "user"}, {"content": "a"}, {"role": ["user"], "content": "a"}, {"from": "human", "content": "a"},
            {"role": "assistant", "content": "a", "tool_calls": [{"name": "f"}]},
            {"role": "user", "content": [{"type": "image", "image": "a.png"}]},
        ]
    ),
)  # fmt: skip
_conversations = st.one_of(
    st.builds(lambda turns: (_json({"messages": turns}), "read"), st.lists(_turns, min_size=1, max_size=4)),
    st.builds(lambda a, b: (_json({"prompt": a, "completion": b}), "read"), words, words),
    st.builds(lambda a, b: (_json({"instruction": a, "output": b, "input": ""}), "read"), words, words),
    st.builds(lambda a, b: (_json({"chosen": a, "rejected": b, "prompt": a}), "read"), words, texts),
    st.sampled_from(
        [
            (b'{"messages": []}', "empty"), (b'{"prompt": "", "completion": " "}', "empty"),
            (b'{"conversations": [{"from": "human", "value": "\\n"}]}', "empty"),
            (b'{"messages": [], "prompt": "a", "completion": "b"}', "refused"),
            (b'{"chosen": "a", "rejected": 1}', "refused"), (b'{"instruction": 1, "output": "b"}', "refused"),
            (b'{"messages": "a"}', "refused"), (b'{"messages": {"role": "user", "content": "a"}}', "refused"),
            (b'{"messages": ' + b"[" * 100_000, "refused"),
        ]
    ),
    st.builds(lambda some, bad: (_json({"messages": [*some, bad]}), "refused"), st.lists(_turns, max_size=2), _no_turn),
)  # fmt: skip
_lines = st.lists(st.one_of(_good, _good, _empty, _refused, _conversations), min_size=1, max_size=12)


def _jsonl(records: list[Record], end: bytes, last: bool) -> tuple[bytes, tuple[Fate, ...], tuple[int, ...]]:
    body = end.join(line for line, _ in records) + (end if last else b"")
    fates = tuple(fate for _, fate in records)
    if not last and not records[-1][0]:
        fates = fates[:-1]  # a line without anything, not even its end, is none
    return body, fates, tuple(range(1, len(fates) + 1))


@st.composite
def jsonl(draw: st.DrawFn) -> FuzzedCorpus:
    """JSON lines, plain or compressed."""
    records = draw(_lines)
    content, fates, lines = _jsonl(records, draw(st.sampled_from([b"\n", b"\r\n"])), draw(st.booleans()))
    if records[0][0].startswith((b"\xff\xfe", b"[")) or any(b"} {" in line for line, _ in records):
        # What a whole file would be taken for, not a line.
        content, fates, lines = b'{"text": "first"}\n' + content, ("read", *fates), (*lines, len(lines) + 1)
    packed = draw(st.sampled_from(["", ".gz", ".zst"]))
    if packed:
        content = gzip.compress(content) if packed == ".gz" else zstandard.compress(content)
    return FuzzedCorpus(f"corpus.jsonl{packed}", content, fates, lines)


@st.composite
def table(draw: st.DrawFn) -> FuzzedCorpus:
    """CSV or TSV with a header, cells that hold line ends, and rows that are too short or too long."""
    delimiter = draw(st.sampled_from([",", "\t"]))
    cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\0"), max_size=20)
    rows = draw(st.lists(st.tuples(cells, st.integers(0, 4), cells), min_size=1, max_size=10))
    body, line, fates, lines = "note,text\n".replace(",", delimiter), 2, [], []
    for note, kind, text in rows:
        row = {0: [note], 4: [note, text, "more"]}.get(kind, [note, text])
        buffer = io.StringIO()
        csv.writer(buffer, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(row)
        body += buffer.getvalue()
        lines.append(line)
        fates.append("refused" if len(row) != 2 else "empty" if not text or text.isspace() else "read")
        line += buffer.getvalue().count("\n")
    name = "corpus.csv" if delimiter == "," else "corpus.tsv"
    found: tuple[Fate, ...] = tuple(fates)  # type: ignore[arg-type]
    return FuzzedCorpus(name, body.encode(), found, tuple(lines))


corpora = st.one_of(jsonl(), jsonl(), table())
