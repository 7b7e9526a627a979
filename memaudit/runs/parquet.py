"""The windows of an audit as a table for pandas, DuckDB, R."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from memaudit.records import WindowRecord
from memaudit.runs.files import write_atomic


def write_parquet(records: Sequence[WindowRecord], path: Path) -> None:
    r"""Write one row per window, in the order given: a table for pandas, DuckDB, R.

    Lone surrogates, which Parquet cannot hold, are written as the six characters ``\ud800``.

    Raises:
        RunError: If the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {
        "int": pa.int64(),
        "float": pa.float64(),
        "bool": pa.bool_(),
        "str": pa.string(),
        "list[int]": pa.list_(pa.int32()),
        "list[str]": pa.list_(pa.string()),
        "list[list[str]]": pa.list_(pa.list_(pa.string())),
    }
    columns, schema = [], []
    for field in fields(WindowRecord):
        values = [getattr(record, field.name) for record in records]
        if field.name == "others" or (field.name == "turns" and not any(values)):  # of texts, which have none
            continue
        kind, _, optional = str(field.type).partition(" | ")
        if kind == "str":
            values = [value and _utf8(value) for value in values]
        if kind == "list[str]":
            values = [value and list(map(_utf8, value)) for value in values]
        if kind == "list[list[str]]":
            values = [value and [list(map(_utf8, turn)) for turn in value] for value in values]
        columns.append(pa.array(values, kinds[kind]))
        schema.append(pa.field(field.name, kinds[kind], nullable=bool(optional)))
    for name in dict.fromkeys(name for record in records for name in record.others or ()):
        columns.append(pa.array([record.value(name) for record in records], pa.float64()))
        schema.append(pa.field(name, pa.float64()))
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, schema=pa.schema(schema)), buffer, compression="zstd")
    write_atomic(path, buffer.getvalue())


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
