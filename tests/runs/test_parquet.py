"""The table of windows is written in groups of rows and read as one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from memaudit.records import WindowRecord
from memaudit.runs import parquet

LINE = {
    field.name: {"int": 0, "bool": True, "str": "a", "list[int]": [300, 300]}.get(str(field.type))
    for field in fields(WindowRecord)
}


def record(index: int) -> WindowRecord:
    own = {"index": index, "source": f"\ud800{index}", "copies_in": [f"d{index}\udc00"] if index % 2 else None}
    return WindowRecord.of_line({**LINE, **own, "others": {"theirs": index / 2} if index == 4 else None})


@pytest.mark.parametrize("count", [0, 1, 3, 6, 7])
def test_groups_of_rows_are_one_table(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [record(index) for index in range(count)]
    parquet.write_parquet(records, tmp_path / "whole.parquet")
    monkeypatch.setattr(parquet, "ROWS", 3)
    parquet.write_parquet(records, tmp_path / "grouped.parquet")
    whole, grouped = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("whole", "grouped"))
    assert grouped.equals(whole)
    assert whole.column("index").to_pylist() == list(range(count))
    assert whole.column("source").to_pylist() == [rf"\ud800{index}" for index in range(count)]
    assert whole.column("copies_in").to_pylist() == [
        [rf"d{index}\udc00"] if index % 2 else None for index in range(count)
    ]
    assert ("theirs" in whole.column_names) == (count > 4)
    assert pq.ParquetFile(tmp_path / "grouped.parquet").num_row_groups == max(1, -(-count // 3))


def test_equal_ids_are_one_object() -> None:
    one, other = WindowRecord.of_line(LINE), WindowRecord.of_line({**LINE, "suffix_ids": [int("300")]})
    assert one.prefix_ids[0] is other.suffix_ids[0]
    assert other.continuation_ids is None
