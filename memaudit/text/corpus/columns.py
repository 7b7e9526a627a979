"""Rows of Parquet and Arrow files, whose columns are looked at only where somebody asks for them.

What is not wanted stops nothing, of whatever type it is. What is wanted must not grow beyond reason: one text in
a dictionary stands for any number of rows.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from memaudit.errors import InputError
from memaudit.runs.inputs import held_still
from memaudit.text.corpus.containers import ByteStream
from memaudit.text.corpus.rows import RecordError, Row, not_utf8

ROWS = 1024
"""Rows that are unpacked at once, at most."""
ROOM = 128 << 20
"""Bytes that they may take where one value stands for many rows; but never fewer than `FEWEST` rows."""
FEWEST = 4
LABELS = frozenset({"id", "domain", "date", "copies"})
"""Columns that are never objects."""


def read_parquet(stream: ByteStream, wanted: Collection[str] | None) -> Iterator[Row]:
    """Yield the rows of a Parquet file, which is read twice and must hold still.

    Args:
        stream: The file; its digest is complete after the last row.
        wanted: Columns whose values may be asked for; None: all.

    Raises:
        InputError: The file is none, two columns share a name, or it expands too far.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        with held_still(stream.path):
            plain = parquet.ParquetFile(stream.path)
            inside = _texts_inside(plain, wanted)
            file = parquet.ParquetFile(stream.path, read_dictionary=inside) if inside else plain
            yield from _parquet_rows(stream, file, wanted)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise _unreadable(stream, "Parquet", error) from error
    except OSError as error:
        if error.errno is None:
            raise _unreadable(stream, "Parquet", error) from error
        raise InputError(f"{stream.name}: {error.strerror}") from error


def _parquet_rows(stream: ByteStream, file: Any, wanted: Collection[str] | None) -> Iterator[Row]:
    for _ in stream.raw():
        pass  # hashes the bytes
    columns = _Columns(stream, file.schema_arrow, wanted)
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    chunks = [list(_chunks(group, columns.read)) for group in groups]
    sizes = [chunk.total_uncompressed_size for group in chunks for chunk in group]
    listed = [chunk.num_values for group in chunks for chunk in group if "." in chunk.path_in_schema]
    stream.refuse_expansion(max(sum(sizes), file.metadata.num_rows, sum(listed)))
    with Path(stream.path).open("rb") as raw:
        repeated = [sum(_repeatable(chunk, raw) for chunk in group) for group in chunks]
    step = max(FEWEST, min(ROWS, ROOM // max([1, *repeated])))
    yield from columns.rows(file.iter_batches(batch_size=step, columns=columns.read))


def read_arrow(stream: ByteStream, wanted: Collection[str] | None) -> Iterator[Row]:
    """Yield the rows of an Arrow file or stream; arguments and errors are those of `read_parquet`."""
    import pyarrow
    from pyarrow import ipc

    try:
        with held_still(stream.path), pyarrow.memory_map(stream.path) as source:
            for _ in stream.raw():
                pass
            random_access = source.read(6) == b"ARROW1"
            source.seek(8 if random_access else 0)
            stream.refuse_expansion(_expanded(ipc.MessageReader.open_stream(source)))
            source.seek(0)
            opened = ipc.open_file(source) if random_access else ipc.open_stream(source)
            columns = _Columns(stream, opened.schema, wanted)
            batches = map(opened.get_batch, range(opened.num_record_batches)) if random_access else iter(opened)
            yield from columns.rows((batch.select(columns.read) for batch in batches), checked=False)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise _unreadable(stream, "Arrow", error) from error
    except OSError as error:
        if error.errno is None:
            raise _unreadable(stream, "Arrow", error) from error
        raise InputError(f"{stream.name}: {error.strerror}") from error


class _Columns:
    """The columns of a file: which are read, and what is wrong with those that are wanted and are not."""

    def __init__(self, stream: ByteStream, schema: Any, wanted: Collection[str] | None) -> None:
        if twice := [name for name, count in Counter(schema.names).items() if count > 1]:
            raise InputError(f'{stream.name}: column "{twice[0]}" appears twice', "rename one of them")
        self.names: list[str] = schema.names
        self.wrong: dict[str, RecordError] = {}
        """Columns that should be text and hold lists or objects: they are not even unpacked."""
        if wanted is not None:
            nested = [field for field in schema if field.name in wanted and not _can_hold_text(field)]
            self.wrong = {field.name: RecordError(f'"{field.name}" is a {field.type}, expected string')
                          for field in nested}  # fmt: skip
        self.read = [name for name in self.names if (wanted is None or name in wanted) and name not in self.wrong]
        self._stream = stream
        self._given = 0

    def rows(self, batches: Iterator[Any], *, checked: bool = True) -> Iterator[Row]:
        """Yield the rows of batches of the columns that are read; an offset that was not checked may lie."""
        number = 0
        for batch in batches:
            self.give(batch.num_rows)
            found = batch.columns if checked else map(_validated, batch.columns)
            arrays = dict(zip(self.read, found, strict=True))
            self.give(sum(_size(array) for array in arrays.values() if _is_messages(array)))
            for index in range(batch.num_rows):
                number += 1
                yield str(number), _Record(self, arrays, index)

    def give(self, size: int) -> None:
        """Count what a row or a text takes."""
        self._given += size
        self._stream.refuse_expansion(self._given)


class _Record(Mapping[str, Any]):
    """The fields of one row; a value is made when it is asked for."""

    def __init__(self, columns: _Columns, arrays: Mapping[str, Any], index: int) -> None:
        self._columns = columns
        self._arrays = arrays
        self._index = index

    def __getitem__(self, name: str) -> Any:
        array = self._columns.wrong.get(name) or self._arrays[name]
        if isinstance(array, RecordError):
            raise array
        value = value_of(array[self._index])
        if isinstance(value, str):
            if _is_messages(array):  # it holds what Python has not, and stands as it would be printed
                raise RecordError(f'"{name}" is a {array.type}, expected string')
            self._columns.give(len(value))
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.names)

    def __len__(self) -> int:
        return len(self._columns.names)

    def __contains__(self, name: object) -> bool:
        return name in self._columns.names


def value_of(scalar: Any) -> Any:
    """Return a cell as Python has it, or as text where Python has none: a date of the year 33658."""
    import pyarrow

    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        raise not_utf8(error) from error
    except Exception:  # whatever dates, time zones and extensions raise
        try:
            return str(scalar.cast(pyarrow.string()).as_py())
        except (pyarrow.ArrowException, ValueError, OverflowError):
            return f"{getattr(scalar, 'value', 'a value')} as {scalar.type}"


def _is_nested(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_nested(kind) and not types.is_run_end_encoded(kind))


def _is_messages(array: Any) -> bool:
    return not isinstance(array, RecordError) and _is_nested(array.type) and _is_plain_inside(array.type)


def _can_hold_text(field: Any) -> bool:
    """Whether a column is plain, or of objects or lists of them that are made of plain values: messages."""
    plain = not _is_nested(field.type)
    return plain or (field.name not in LABELS and "struct<" in str(field.type) and _is_plain_inside(field.type))


def _is_plain_inside(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return all(_is_plain_inside(field.type) for field in kind)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_plain_inside(kind.value_type)
    if types.is_dictionary(kind):
        return bool(types.is_string(kind.value_type) or types.is_large_string(kind.value_type))
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_primitive(kind) or types.is_null(kind))


def _size(array: Any) -> int:
    """Return the bytes of the texts in a column of objects or lists, each as often as it stands there."""
    import pyarrow.compute as pc
    from pyarrow import types

    kind = array.type
    if types.is_struct(kind):
        return sum(map(_size, array.flatten()))
    if _is_nested(kind):
        return _size(array.flatten())
    if types.is_dictionary(kind):
        lengths = pc.take(pc.binary_length(array.dictionary), array.indices)
    elif types.is_string(kind) or types.is_large_string(kind):
        lengths = pc.binary_length(array)
    else:
        return 8 * len(array)
    return (pc.sum(lengths).as_py() or 0) + 8 * len(array)


def _texts_inside(file: Any, wanted: Collection[str] | None) -> list[str]:
    """Return the texts within lists and objects, which are kept as a dictionary holds them: once.

    Raises:
        InputError: Values are written as what they share with the one before, which cannot be kept so.
    """
    columns = [f.name for f in file.schema_arrow if _is_nested(f.type) and _is_plain_inside(f.type)]
    groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    names = [name for name in columns if wanted is not None and name in wanted]
    chunks = [chunk for group in groups for chunk in _chunks(group, names) if chunk.physical_type == "BYTE_ARRAY"]
    if any("DELTA_BYTE_ARRAY" in chunk.encodings for chunk in chunks):
        raise InputError("texts in lists are written as differences (DELTA_BYTE_ARRAY)", "save the file without that")
    return list(dict.fromkeys(chunk.path_in_schema for chunk in chunks))


def _chunks(group: Any, names: Sequence[str]) -> Iterator[Any]:
    """Yield the columns of a row group, those within lists and objects too."""
    inside = tuple(f"{name}." for name in names)
    for chunk in map(group.column, range(group.num_columns)):
        if chunk.path_in_schema in names or chunk.path_in_schema.startswith(inside):
            yield chunk


def _repeatable(chunk: Any, raw: BinaryIO) -> int:
    """Return the bytes of a column that may stand for any number of rows: a dictionary, or prefixes that values share.

    How large a dictionary is stands before it: a page begins with its type and its size once unpacked, two numbers of
    Thrift's compact protocol.
    """
    whole = int(chunk.total_uncompressed_size)
    if "DELTA_BYTE_ARRAY" in chunk.encodings:
        return whole
    if not any("DICTIONARY" in encoding for encoding in chunk.encodings):
        return 0
    raw.seek(chunk.dictionary_page_offset or 0)
    header = re.match(rb"\x15[\x80-\xff]*[\0-\x7f]\x15([\x80-\xff]*[\0-\x7f])", raw.read(24), re.DOTALL)
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(header[1])) >> 1 if header else whole


def _validated(array: Any) -> Any:
    """Return a column, or what is wrong with it: offsets that point anywhere are read in good faith otherwise."""
    import pyarrow

    try:
        array.validate(full=not pyarrow.types.is_primitive(array.type))
    except pyarrow.ArrowException as error:
        return RecordError(f"not valid Arrow data ({str(error).splitlines()[0]})")
    return array


def _expanded(messages: Any) -> int:
    """Return the bytes of all messages, each as large as it says it is when it is unpacked."""
    size = 0
    for message in iter(lambda: _next(messages), None):
        body = memoryview(message.body) if message.body is not None else memoryview(b"")
        size += sum(_unpacked(body[start : start + length]) for start, length in _packed(bytes(message.metadata)))
    return size


def _next(messages: Any) -> Any:
    try:
        return messages.read_next_message()
    except StopIteration:
        return None


def _unpacked(buffer: memoryview) -> int:
    """Return the size of a compressed buffer, which stands before it; -1: it is not compressed."""
    size: int = struct.unpack_from("<q", buffer)[0] if len(buffer) >= 8 else 0
    return len(buffer) if size < 0 else size


def _packed(metadata: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and length of the compressed buffers of a message.

    The fields are those of Message.fbs of the Arrow format, laid out as a FlatBuffer: a table begins with the
    distance back to its list of where its fields stand, 0 for those that are absent.
    """

    def field(table: int, number: int) -> int:
        at = table - struct.unpack_from("<i", metadata, table)[0]
        size = struct.unpack_from("<H", metadata, at)[0]
        place = 4 + 2 * number
        offset: int = struct.unpack_from("<H", metadata, at + place)[0] if place < size else 0
        return table + offset if offset else 0

    def follow(at: int) -> int:
        return at + int(struct.unpack_from("<I", metadata, at)[0])

    try:
        message = follow(0)
        kind, header = field(message, 1), field(message, 2)
        table = follow(header) if kind and header and metadata[kind] in (2, 3) else 0
        if table and metadata[kind] == 2:  # a dictionary: its values are a record batch within
            table = follow(field(table, 1))
        if not table or not field(table, 3) or not field(table, 2):
            return
        buffers = follow(field(table, 2))
        for number in range(struct.unpack_from("<I", metadata, buffers)[0]):
            yield struct.unpack_from("<qq", metadata, buffers + 4 + 16 * number)
    except struct.error:
        return  # what is damaged so is refused when it is read


def _unreadable(stream: ByteStream, kind: str, error: Exception) -> InputError:
    return InputError(f"{stream.name}: not a readable {kind} file", (str(error) or kind).splitlines()[0])
