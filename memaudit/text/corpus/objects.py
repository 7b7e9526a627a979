"""Text that a program holds, as a corpus: tables, data sets and lists, each row as if it were one of JSON lines.

Strings name files, here as everywhere, so that texts themselves come as `Texts`. No library is imported to see whether
an object is one of its tables: where it was never imported, there is none.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np

from memaudit.errors import InputError, MemauditError, one_line
from memaudit.records import Document
from memaudit.text.corpus.columns import value_of
from memaudit.text.corpus.json_format import json_type
from memaudit.text.corpus.rows import RecordError, Row

TextSource = Any
"""What is taken as text: a spec, an object that holds text (`TAKEN`), or a list of these."""
TAKEN = (
    "text comes as names of files, memaudit.Texts, a list of dicts, a pandas DataFrame, a pyarrow Table, or a Dataset"
    " or IterableDataset of datasets"
)
Listed = Sequence["str | HeldRows"]
"""Specs and objects, as `listed` returns them."""
ROWS = 1024
"""Rows of a table that are unpacked at once."""
_TURNS = (("role", "content"), ("from", "value"))
"""Keys of one message of a conversation, as the field writes them."""


class Texts(Sequence[str]):
    """Texts themselves, each one document, where a list of strings would name files.

    Args:
        texts: The texts; they are kept as a list.

    Raises:
        InputError: A single string was given.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        if isinstance(texts, str | bytes):
            raise InputError("memaudit.Texts takes a list of texts", "for one text: memaudit.Texts([text])")
        self._texts = list(texts)

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: Any) -> Any:
        return self._texts[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)


class HeldRows:
    """One object that holds text: a source of a corpus, as a file is."""

    def __init__(self, name: str, held: Any, kind: str) -> None:
        self.name = name
        """How messages call it: the name of the argument. Its rows are ``name[0]``, ``name[1]``, ..."""
        self.held = held
        self.kind = kind
        """What it is: ``DataFrame``."""

    def __str__(self) -> str:
        return self.name

    @property
    def spec(self) -> str:
        """What stands for it in a plan, where a file has its spec."""
        return self.name if self.name == self.kind else f"{self.name} ({self.kind})"

    def open(self) -> RowStream:
        """Return its rows, to be read once."""
        return RowStream(self.name, self.held, self.kind)


class RowStream:
    """The rows of an object, read once.

    ``sha256`` and ``bytes`` are of the fields that were read, one line of JSON a row, what is null left out: equal
    rows have one digest, whatever holds them.
    """

    def __init__(self, name: str, held: Any, kind: str) -> None:
        self.name = name
        self.bytes = 0
        self._held, self._kind = held, kind
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the rows read so far."""
        return self._hash.hexdigest()

    def rows(self, columns: Collection[str] | None, text_field: str = "text") -> Iterator[Row]:
        """Yield the rows, each with its place ``[0]``, ``[1]``, ...

        Args:
            columns: Fields whose values may be asked for; None: all. The others are there and null.
            text_field: The field under which `Texts` appear.

        Raises:
            InputError: The object cannot be read to its end, or two columns share a name.
        """
        number = 0
        try:
            for held in self._rows(columns, text_field):
                row = _checked(held)
                if not isinstance(row, RecordError):
                    row, data = _canonical(row, columns)
                    self._hash.update(data)
                    self.bytes += len(data)
                yield f"[{number}]", row
                number += 1
        except (MemauditError, MemoryError):
            raise
        except Exception as error:  # whatever the code behind somebody's data set raises
            reason = one_line(f"{type(error).__name__}: {error}", 150)
            raise InputError(f"{self.name}: cannot be read after {number:,} rows: {reason}") from error

    def _rows(self, columns: Collection[str] | None, text_field: str) -> Iterator[Any]:
        if self._kind == "DataFrame":
            return _frame_rows(self.name, self._held, columns)
        if self._kind == "Table":
            return _table_rows(self.name, self._held, columns)
        if self._kind in ("Dataset", "IterableDataset"):
            return _dataset_rows(self._held, columns)
        if self._kind == "Texts":
            return ({text_field: text} if isinstance(text, str) else _no_text(text) for text in self._held)
        return iter(self._held)


def listed(given: TextSource, name: str = "") -> list[str | HeldRows]:
    """Return what was given as text as a list of specs and of objects.

    Args:
        given: A spec, a path, an object that holds text, or a list of specs and such objects. A list of dicts is one
            object, whose rows they are; so is a list of conversations, each a list of messages.
        name: Of the argument; by default objects go by what they are.

    Raises:
        InputError: Something in it holds no text that is known here; one line says what is taken.
    """
    if isinstance(given, str | os.PathLike):
        return [os.fspath(given)]
    if isinstance(given, HeldRows):
        return [given]
    if not isinstance(given, list | tuple):
        return [_held(given, name)]
    if given and all(isinstance(one, Mapping | Document) or _is_conversation(one) for one in given):
        return [HeldRows(name or "list", given, "list")]
    return [_one_of(one, f"{name or 'list'}[{place}]") for place, one in enumerate(given)]


def specs_of(given: Listed) -> list[str]:
    """Return what stands for specs and objects in a plan."""
    return [one if isinstance(one, str) else one.spec for one in given]


def _one_of(given: Any, name: str) -> str | HeldRows:
    """Return one of several: a spec, or an object."""
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    if isinstance(given, HeldRows):
        return given
    if isinstance(given, Mapping | Document) and _splits(given) is None:
        raise InputError(f"{name}: a row among other things", "put rows into a list of their own")
    return _held(given, name)


def _held(given: Any, name: str) -> HeldRows:
    kind = next((kind for kind, home in _HOMES.items() if _is_a(given, home, kind)), "")
    name = name or kind or type(given).__name__
    if (splits := _splits(given)) is not None:
        raise InputError(f"{name}: a {type(given).__name__} of several splits", f"give one of them: {splits}")
    if isinstance(given, Texts):
        return HeldRows(name, given, "Texts")
    if kind:
        return HeldRows(name, given, kind)
    if isinstance(given, Mapping):
        raise InputError(f"{name}: one {type(given).__name__} is one row", "give a list of rows")
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise InputError(f"{name}: of type {type(given).__name__}, which is not read as text", TAKEN)
    if iter(given) is given:
        raise InputError(f"{name}: a {type(given).__name__} can be read once", "text is read again: make a list of it")
    first = next(iter(given), None)
    if first is not None and not (isinstance(first, Mapping | Document) or _is_conversation(first)):
        hint = "for texts themselves: memaudit.Texts(...)" if isinstance(first, str) else TAKEN
        raise InputError(f"{name}: a {type(given).__name__} of {json_type(first)}", hint)
    return HeldRows(name, given, type(given).__name__ if isinstance(given, list) else "rows")


_HOMES = {"DataFrame": "pandas", "Table": "pyarrow", "Dataset": "datasets", "IterableDataset": "datasets"}


def _is_a(given: Any, package: str, name: str) -> bool:
    """Whether an object is of a class of a package, which is not imported for that."""
    kind = getattr(sys.modules.get(package), name, None)
    return isinstance(kind, type) and isinstance(given, kind)


def _splits(given: Any) -> str | None:
    """Return the names of the splits of a data set that was not split apart; None of anything else."""
    if any(_is_a(given, "datasets", name) for name in ("DatasetDict", "IterableDatasetDict")):
        return ", ".join(f"[{name!r}]" for name in given)
    return None


def _is_conversation(given: Any) -> bool:
    """Whether an object is a list of messages."""
    return (
        isinstance(given, list | tuple)
        and len(given) > 0
        and all(isinstance(turn, Mapping) and any(set(keys) <= turn.keys() for keys in _TURNS) for turn in given)
    )


def _no_text(value: Any) -> RecordError:
    return RecordError(f"{json_type(plain(value))}, expected a text")


def _checked(held: Any) -> Mapping[str, Any] | RecordError:
    """Return a row of any object as a mapping, or why it is none."""
    if isinstance(held, Mapping | RecordError):
        return held
    if isinstance(held, Document):
        return {name: value for name, value in asdict(held).items() if name != "source"}
    if _is_conversation(held):
        return {"messages": held}
    return RecordError(f"{json_type(held)}, expected a dict with fields")


def _canonical(row: Mapping[str, Any], columns: Collection[str] | None) -> tuple[dict[str, Any] | RecordError, bytes]:
    """Return a row in plain values, and as one line of JSON."""
    try:
        read = {str(name): plain(row[name]) for name in row if columns is None or name in columns}
        there = {name: value for name, value in read.items() if value is not None}
        data = json.dumps(there, ensure_ascii=False, sort_keys=True, default=_named).encode() + b"\n"
    except RecordError as problem:
        return problem, b"\n"
    except UnicodeEncodeError:
        return RecordError("lone surrogate", "half of a character, \\ud800 to \\udfff"), b"\n"
    except RecursionError:
        return RecordError("nested too deeply"), b"\n"
    return {str(name): read.get(str(name)) for name in row}, data


def plain(value: Any) -> Any:
    """Return a value as JSON would have it: what is missing (NaN, NA, NaT) is null, arrays are lists."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if value != value else float(value)
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return [plain(inner) for inner in value.tolist()] if value.ndim else plain(value.item())
    if isinstance(value, np.generic):
        return plain(value.item())
    pandas = sys.modules.get("pandas")
    return None if pandas is not None and any(value is getattr(pandas, name, ...) for name in ("NA", "NaT")) else value


def _named(value: Any) -> str:
    """Return what stands in a digest for a value that JSON has not: the same in every process."""
    return value.isoformat() if isinstance(value, date) else f"a {type(value).__qualname__}"


def _column_names(name: str, given: Iterable[Any], columns: Collection[str] | None) -> tuple[list[str], list[int]]:
    """Return the names of all columns, and which of them are read: all where none of them is wanted."""
    names = [str(column) for column in given]
    if twice := next((column for place, column in enumerate(names) if column in names[:place]), None):
        raise InputError(f'{name}: column "{twice}" appears twice', "rename one of them")
    return names, [i for i, column in enumerate(names) if columns is None or column in columns]


def _frame_rows(name: str, frame: Any, columns: Collection[str] | None) -> Iterator[Any]:
    names, read = _column_names(name, frame.columns, columns)
    whole = {i for i in read if _is_whole(frame.iloc[:, i])}
    for start in range(0, len(frame), ROWS):
        part = frame.iloc[start : start + ROWS]
        cells = {i: part.iloc[:, i].tolist() for i in read}
        for row in range(len(part)):
            values = {i: int(cells[i][row]) if i in whole and cells[i][row] == cells[i][row] else cells[i][row]
                      for i in read}  # fmt: skip
            yield {column: values.get(i) for i, column in enumerate(names)}


def _is_whole(column: Any) -> bool:
    """Whether a column of fractions holds whole numbers beside missing ones, which pandas cannot tell apart."""
    if column.dtype.kind != "f" or not column.hasnans:
        return False
    return bool((column.dropna() % 1 == 0).all())


def _table_rows(name: str, table: Any, columns: Collection[str] | None) -> Iterator[Any]:
    names, read = _column_names(name, table.column_names, columns)
    read = read or list(range(len(names)))[:1]  # a table without columns has no rows
    for batch in table.select(read).to_batches(max_chunksize=ROWS):
        for row in range(batch.num_rows):
            try:
                values = {names[i]: value_of(batch.column(place)[row]) for place, i in enumerate(read)}
            except RecordError as problem:
                yield problem
                continue
            yield {column: values.get(column) for column in names}


def _dataset_rows(dataset: Any, columns: Collection[str] | None) -> Iterator[Any]:
    names = list(dataset.column_names or ())
    wanted = [column for column in names if columns is None or column in columns]
    if getattr(dataset, "format", {}).get("type") not in (None, "custom"):
        dataset = dataset.with_format(None)  # tensors and frames are other views of the same rows
    if wanted and len(wanted) < len(names):
        dataset = dataset.select_columns(wanted)
    for batch in dataset.iter(batch_size=ROWS):
        for row in range(len(next(iter(batch.values()), ()))):
            yield dict.fromkeys(names) | {column: values[row] for column, values in batch.items()}
