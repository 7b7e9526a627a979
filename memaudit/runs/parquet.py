"""The windows of an audit as a table for pandas, DuckDB, R."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memaudit.records import WindowRecord
from memaudit.runs.files import write_atomic

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 8192
"""Rows of a row group: as many stand in memory as columns at a time."""


def write_parquet(records: Sequence[WindowRecord], path: Path) -> None:
    r"""Write one row per window, in the order given: a table for pandas, DuckDB, R.

    Lone surrogates, which Parquet cannot hold, are written as the six characters ``\ud800``.

    Raises:
        RunError: If the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(records)
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, schema, compression="zstd") as writer:
        for at in range(0, max(len(records), 1), ROWS):
            some = records[at : at + ROWS]
            columns = [pa.array(_values(some, field), field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    write_atomic(path, buffer.getvalue())


def _schema(records: Sequence[WindowRecord]) -> pa.Schema:
    """Return a column for each field, and one for each metric that other packages declare."""
    import pyarrow as pa

    kinds = {
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "str": pa.string(),
        "list[int]": pa.list_(pa.int32()),
        "list[str]": pa.list_(pa.string()),
        "list[list[str]]": pa.list_(pa.list_(pa.string())),
    }
    columns = []
    for field in fields(WindowRecord):
        kind, _, optional = str(field.type).partition(" | ")
        # Texts have no turns.
        if field.name != "others" and (field.name != "turns" or any(record.turns for record in records)):
            columns.append(pa.field(field.name, kinds[kind], nullable=bool(optional)))
    others = dict.fromkeys(name for record in records for name in record.others or ())
    return pa.schema([*columns, *(pa.field(name, pa.float64()) for name in others)])


def _values(records: Sequence[WindowRecord], column: pa.Field) -> list[Any]:
    own = hasattr(WindowRecord, column.name)
    return [_utf8(getattr(r, column.name) if own else r.value(column.name)) for r in records]


def _utf8(value: Any) -> Any:
    """Return a value whose texts, also in lists, Parquet can hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return list(map(_utf8, value)) if isinstance(value, list) and value and not isinstance(value[0], int) else value
