"""Labelled texts, read strictly from files of records: what a classifier is trained on and tested with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memaudit.audit.benchmark import benchmark_sources, open_records
from memaudit.errors import InputError
from memaudit.text.formats import RecordError
from memaudit.text.normalize import normalize
from memaudit.text.read import FileDigest


@dataclass(frozen=True, slots=True)
class Labelled:
    """One text with its label."""

    text: str
    label: str
    """As it is written, white space around it left out; numbers and truth values as JSON writes them."""
    source: str
    """``file:line``."""


@dataclass(frozen=True, slots=True)
class Halves:
    """Training texts and both halves of a test, no text in two of them."""

    train: list[Labelled]
    seen: list[Labelled]
    unseen: list[Labelled]
    labels: list[str]
    """All labels, sorted."""
    files: dict[str, list[FileDigest]]
    left_out: dict[str, int] = field(default_factory=dict)
    """Why -> how many records are in none of the three."""


def read_halves(
    train: Sequence[str], seen: Sequence[str], unseen: Sequence[str], *, text_field: str, label_field: str
) -> Halves:
    """Read three sets of labelled texts and leave out what would decide the outcome by itself.

    A text that stands in the training file, or in both halves, is left out of the halves: a classifier would know
    it for that reason. Of copies within a half one is kept. Texts are compared after normalisation.

    Args:
        train: Files of the training texts: .jsonl, .json, .csv, .tsv, .parquet.
        seen: Files of the half that may stand in the text the model was trained on.
        unseen: Files of the half that does not.
        text_field: Field of the text.
        label_field: Field of the label: a text, a whole number, true or false.

    Raises:
        InputError: A record has no text or no label (``file:line``), a half has a label that the training text has
            not, there is only one label, or a set is empty.
    """
    read, files = {}, {}
    for name, specs in (("train", train), ("seen", seen), ("unseen", unseen)):
        read[name], files[name] = _read(specs, text_field, label_field)
    labels = sorted({item.label for item in read["train"]})
    if len(labels) < 2:
        raise InputError(f"--train has the label {labels[0]!r} only", "a classifier needs two or more")
    for name in ("seen", "unseen"):
        stranger = next((item for item in read[name] if item.label not in labels), None)
        if stranger is not None:
            raise InputError(
                f"{stranger.source}: the label {stranger.label[:40]!r} does not stand in --train",
                f"labels there: {', '.join(label[:20] for label in labels[:8])}",
            )
    return _apart(read, labels, files)


def _read(specs: Sequence[str], text_field: str, label_field: str) -> tuple[list[Labelled], list[FileDigest]]:
    items: list[Labelled] = []
    files: list[FileDigest] = []
    for source in benchmark_sources(specs):
        stream, rows = open_records(source, None)
        for place, row in rows:
            at = f"{stream.name}:{place}"
            if isinstance(row, RecordError):
                raise InputError(f"{at}: {row.message}", row.hint)
            if row is not None:
                text, label = (_value(row, name, at) for name in (text_field, label_field))
                items.append(Labelled(text, label, at))
        files.append(FileDigest(path=stream.name, sha256=stream.sha256, bytes=stream.bytes))
    if not items:
        raise InputError(f"no records in {', '.join(specs)}")
    return items, files


def _value(row: Mapping[str, Any], name: str, place: str) -> str:
    if name not in row:
        columns = ", ".join(str(column)[:30] for column in list(row)[:8])
        raise InputError(f"{place}: no field {name!r}", f"fields: {columns}; --text-field and --label-field name them")
    value = row[name]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():  # a column of whole numbers in Parquet
        value = int(value)
    if not isinstance(value, str | int) or not str(value).strip():
        raise InputError(f"{place}: {name!r} is no text and no whole number", "give every record a text and a label")
    return str(value).strip()


def _apart(read: Mapping[str, Sequence[Labelled]], labels: list[str], files: dict[str, list[FileDigest]]) -> Halves:
    keys = {name: [normalize(item.text).text for item in items] for name, items in read.items()}
    trained, both = set(keys["train"]), set(keys["seen"]) & set(keys["unseen"])
    left_out: Counter[str] = Counter()
    kept: dict[str, list[Labelled]] = {}
    for name in ("seen", "unseen"):
        found: set[str] = set()
        kept[name] = []
        for item, key in zip(read[name], keys[name], strict=True):
            why = (
                "text stands in the training file" if key in trained
                else "text stands in both halves" if key in both
                else "copy of another in its half" if key in found
                else ""
            )  # fmt: skip
            found.add(key)
            if why:
                left_out[f"{name}: {why}"] += 1
            else:
                kept[name].append(item)
        if not kept[name]:
            raise InputError(
                f"--{name} has no text of its own", "; ".join(f"{n:,} {why}" for why, n in left_out.items())
            )
    return Halves(list(read["train"]), kept["seen"], kept["unseen"], labels, files, dict(sorted(left_out.items())))
