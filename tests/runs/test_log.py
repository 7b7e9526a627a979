"""The log of a run is read from the disk item by item: what was logged is not held in memory."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.errors import RunError
from memaudit.runs.directory import RunDirectory
from memaudit.runs.log import Log, line_of

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
items = st.lists(st.dictionaries(st.text(min_size=1).filter("index".__ne__), values, max_size=3), max_size=8)


@given(items, st.randoms(use_true_random=False))
def test_what_is_read_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, items: Any, random: Any) -> None:
    records = [{**item, "index": index} for index, item in enumerate(items)]
    random.shuffle(records)
    path = tmp_path_factory.mktemp("log") / "items.log"
    path.write_bytes(b"".join(map(line_of, records)))
    log = Log(path)
    assert dict(log) == {record["index"]: record for record in records}
    assert list(log) == [record["index"] for record in records]
    assert (log.whole, log.notice) == (path.stat().st_size, "")
    log.close()


@given(items.filter(bool), st.data())
def test_a_log_cut_at_any_byte_keeps_its_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, items: Any, data: st.DataObject
) -> None:
    lines = [line_of({**item, "index": index}) for index, item in enumerate(items)]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.mktemp("log") / "items.log"
    path.write_bytes(whole[:cut])
    log = Log(path)
    kept = sum(sum(map(len, lines[: n + 1])) <= cut for n in range(len(lines)))
    assert sorted(log) == list(range(kept))
    assert log.whole == sum(map(len, lines[:kept]))
    assert bool(log.notice) == (log.whole < cut)
    log.close()


def test_an_item_twice_must_be_the_same(tmp_path: Path) -> None:
    first, other = line_of({"index": 0, "value": 1}), line_of({"index": 1, "value": 2})
    path = tmp_path / "items.log"
    path.write_bytes(first + other + first + other)
    log = Log(path)
    assert dict(log) == {0: {"index": 0, "value": 1}, 1: {"index": 1, "value": 2}}
    log.close()
    path.write_bytes(first + other + line_of({"index": 0, "value": 3}))
    with pytest.raises(RunError, match=r"items\.log:3: item 0 again, but different"):
        Log(path)


def test_a_run_holds_none_of_what_it_logged(tmp_path: Path) -> None:
    class Told(str):
        """A text that can be watched."""

    with RunDirectory.open(tmp_path / "run", {"windows": 50}) as run:
        records = [{"index": index, "text": Told(f"item {index}")} for index in range(50)]
        watched = [weakref.ref(record["text"]) for record in records]
        run.append(records)
        del records
        gc.collect()
        assert not any(held() for held in watched)
        assert run.records[49] == {"index": 49, "text": "item 49"}
        assert run.records[7] is not run.records[7]
        run.append([{"index": 50, "text": "behind what was read"}])
        assert run.records[50]["text"] == "behind what was read"
        assert len(run.records) == 51
        assert 51 not in run.records
