"""A run survives being killed at any byte: nothing lost, nothing doubled, the same bytes in the end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import RunError
from memaudit.records import WindowRecord
from memaudit.runs.directory import RunDirectory, identity, read_run
from memaudit.runs.files import strict_json, write_atomic
from memaudit.runs.parquet import write_parquet

PLAN: dict[str, Any] = {
    "model": {"sha256": "aa", "name": "gpt"},
    "options": {"seed": 0},
    "windows": {"train": 2, "heldout": 1},
}
ITEMS, BLOCK = 400, 4

WORKER = """
import sys, time
from pathlib import Path
from memaudit.runs.directory import RunDirectory
sys.path.insert(0, sys.argv[2])
folder, items, block = Path(sys.argv[1]), int(sys.argv[3]), int(sys.argv[4])
blocks = [range(i, i + block) for i in range(0, items, block)]
with RunDirectory.open(folder, {"windows": items}) as run:
    print("ready", flush=True)
    for pending in run.pending(blocks):
        run.append([{"index": i, "text": f"item {i} " + "é" * (i % 50), "score": i / 7} for i in pending])
        time.sleep(0.002)
"""


def record(index: int, **changes: Any) -> WindowRecord:
    values: dict[str, Any] = {
        "index": index,
        "member": index % 2 == 0,
        "document": f"d{index}",
        "source": f"a.jsonl:{index}",
        "domain": None,
        "copies": index,
        "start": 0,
        "prefix_ids": [1, 2],
        "suffix_ids": [3],
        "prefix_text": "one",
        "suffix_text": " two",
        "log_prob": -1 / 3,
        "matched": 1,
        "extractable": True,
        "extraction_strength": 1.0,
    }
    return WindowRecord(**(values | changes))


def filled(folder: Path, count: int = 3) -> bytes:
    with RunDirectory.open(folder, PLAN) as run:
        run.append([{"index": i, "text": f"item {i}"} for i in range(count)])
    return (folder / "items.log").read_bytes()


def worker(folder: Path) -> subprocess.Popen[bytes]:
    arguments = [
        sys.executable,
        "-c",
        WORKER,
        str(folder),
        str(Path(__file__).parents[2]),
        str(ITEMS),
        str(BLOCK),
    ]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


def test_twenty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    calm = worker(tmp_path / "calm")
    calm.communicate()
    lot = random.Random(0)
    killed = 0
    while killed < 20:
        process = worker(tmp_path / "storm")
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(lot.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        log = tmp_path / "storm" / "items.log"
        if killed % 2:  # as if the power had failed within the last write
            os.truncate(log, max(0, log.stat().st_size - lot.randrange(60)))
        if process.returncode == 0:
            break
    worker(tmp_path / "storm").communicate()
    assert killed >= 10
    for name in ("plan.json", "items.log"):
        assert (tmp_path / "storm" / name).read_bytes() == (tmp_path / "calm" / name).read_bytes()
    with RunDirectory.open(tmp_path / "storm", {"windows": ITEMS}) as run:
        assert sorted(run.records) == list(range(ITEMS))


def test_tail_torn_at_every_byte_is_cut_and_done_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    whole = filled(folder)
    log = folder / "items.log"
    first = whole.rindex(b"\n", 0, -1) + 1
    for end in range(first, len(whole)):
        log.write_bytes(whole[:end])
        with RunDirectory.open(folder, PLAN) as run:
            assert sorted(run.records) == [0, 1]
            assert bool(run.notice) == (end > first)
            assert log.read_bytes() == whole[:first]
            run.append([{"index": 2, "text": "item 2"}])
        assert log.read_bytes() == whole


def test_damage_at_any_byte_before_the_tail_is_refused_with_its_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    whole = filled(folder)
    second = whole.index(b"\n") + 1
    for at in range(second):
        damaged = bytearray(whole)
        damaged[at] ^= 0x15
        (folder / "items.log").write_bytes(damaged)
        with pytest.raises(RunError, match=r"items\.log:1: damaged"):
            RunDirectory.open(folder, PLAN)
        assert (folder / "items.log").read_bytes() == damaged


def test_same_item_twice_is_one_and_a_different_one_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    whole = filled(folder)
    line = whole[: whole.index(b"\n") + 1]
    (folder / "items.log").write_bytes(whole + line)
    with RunDirectory.open(folder, PLAN) as run:
        assert sorted(run.records) == [0, 1, 2]
        run.append([{"index": 1, "text": "another"}, {"index": 3, "text": "new"}])
        assert run.records[1]["text"] == "item 1"
    other = tmp_path / "other"
    with RunDirectory.open(other, PLAN) as run:
        run.append([{"index": 0, "text": "different"}])
    (folder / "items.log").write_bytes(whole + (other / "items.log").read_bytes())
    with pytest.raises(RunError, match=r"items\.log:4: item 0 again, but different"):
        RunDirectory.open(folder, PLAN)


def test_second_process_is_refused_and_first_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with RunDirectory.open(folder, PLAN) as run:
        code = "import sys; from memaudit.runs.directory import *; RunDirectory.open(Path(sys.argv[1]), {})"
        second = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
        assert second.returncode == 1
        assert f"run directory in use by pid {os.getpid()}" in second.stderr
        run.append([{"index": 0}])
    with RunDirectory.open(folder, PLAN) as run:
        assert sorted(run.records) == [0]


def test_another_plan_is_refused_and_named(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    changed = PLAN | {"model": {"sha256": "bb", "name": "gpt"}, "options": {"seed": 1}}
    with pytest.raises(RunError) as caught:
        RunDirectory.open(tmp_path / "run", changed)
    assert caught.value.message == "run belongs to another plan: model.sha256 differs, options.seed differs"
    assert "--out" in caught.value.hint
    with RunDirectory.open(tmp_path / "run", PLAN | {"command": "in other words"}) as run:
        assert sorted(run.records) == [0, 1, 2]


def test_log_without_plan_and_folder_that_is_a_file_are_refused(tmp_path: Path) -> None:
    filled(tmp_path / "run")
    (tmp_path / "run" / "plan.json").unlink()
    with pytest.raises(RunError, match=r"items\.log but no plan\.json"):
        RunDirectory.open(tmp_path / "run", PLAN)
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="cannot create"):
        RunDirectory.open(tmp_path / "file", PLAN)


def test_full_disk_keeps_what_was_done(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    whole = filled(folder)
    code = """
import resource, sys
from memaudit.runs.directory import *
from memaudit.errors import RunError
with RunDirectory.open(Path(sys.argv[1]), {plan}) as run:
    size = (run.folder / "items.log").stat().st_size
    for room in (0, 1, 17):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, resource.RLIM_INFINITY))
        try:
            run.append([{{"index": i, "text": "x" * 100}} for i in range(3, 6)])
        except RunError as error:
            print(error.message)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    run.append([{{"index": 3, "text": "item 3"}}])
"""
    done = subprocess.run([sys.executable, "-c", code.format(plan=PLAN), str(folder)], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["no space writing items.log; rerun to resume"] * 3, done.stderr
    assert (folder / "items.log").read_bytes().startswith(whole)
    with RunDirectory.open(folder, PLAN) as run:
        assert sorted(run.records) == [0, 1, 2, 3]
        assert not run.notice


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_lacks_are_refused_everywhere(bad: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        strict_json({"a": [{"b": bad}]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        identity({"a": bad})
    with (
        RunDirectory.open(tmp_path / "run", PLAN) as run,
        pytest.raises(ValueError, match="not JSON compliant"),
    ):
        run.append([{"index": 0, "score": bad}])
    assert (tmp_path / "run" / "items.log").read_bytes() == b""
    (tmp_path / "run" / "plan.json").write_text('{"a": NaN}')
    with pytest.raises(RunError, match="NaN is not a JSON number"):
        read_run(tmp_path / "run")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
@settings(deadline=None, max_examples=100)
def test_strict_json_round_trips_as_ascii_and_ignores_order(value: Any) -> None:
    data = strict_json(value)
    assert data.isascii()
    assert orjson.loads(data) == value == json.loads(data)
    if isinstance(value, dict):
        backwards = dict(reversed(value.items()))
        assert strict_json(backwards) == data
        assert identity(backwards) == identity(value)


@given(st.lists(st.text(st.characters(categories=("L", "N", "C", "Z", "S", "P"))), max_size=6))
@settings(deadline=None, max_examples=40)
def test_any_text_survives_the_log(texts: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        with RunDirectory.open(Path(name), PLAN) as run:
            run.append([{"index": i, "text": text} for i, text in enumerate(texts)])
        with RunDirectory.open(Path(name), PLAN) as run:
            assert [run.records[i]["text"] for i in range(len(texts))] == texts


def test_pending_gives_whole_blocks(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path, PLAN) as run:
        run.append([{"index": i} for i in (0, 1, 2, 3, 4)])
        assert run.pending([(0, 1), (2, 3), (4, 5), (6, 7)]) == [(4, 5), (6, 7)]


def test_finished_run_reads_back(tmp_path: Path) -> None:
    records = [record(2), record(0), record(1, continuation_text="\ud800 lone", domain="web")]
    with RunDirectory.open(tmp_path, PLAN) as run:
        run.append([asdict(r) for r in records])
        run.times["scoring"] = 1.5
        assert read_run(tmp_path).report is None
        assert not read_run(tmp_path).complete
        write_parquet(records, tmp_path / "records.parquet")
        run.finish({"complete": True, "verdict": "clean"})
    run_read = read_run(tmp_path)
    assert run_read.complete
    assert run_read.records == sorted(records, key=lambda r: r.index)
    assert run_read.plan["identity"] == identity(PLAN)
    times = json.loads((tmp_path / "times.json").read_bytes())["sessions"]
    assert [(session["items"], session["stages"]) for session in times] == [(3, {"scoring": 1.5})]
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o600}
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "items.log",
        "plan.json",
        "records.parquet",
        "report.json",
        "run.lock",
        "times.json",
    ]


def test_reading_leaves_a_torn_log_alone_and_refuses_foreign_records(tmp_path: Path) -> None:
    with RunDirectory.open(tmp_path, PLAN) as run:
        run.append([asdict(record(0))])
    log = tmp_path / "items.log"
    log.write_bytes(log.read_bytes() + b"0000")
    before = log.read_bytes()
    assert read_run(tmp_path).records == [record(0)]
    assert log.read_bytes() == before
    with RunDirectory.open(tmp_path, PLAN) as run:
        run.append([{"index": 1, "surprise": 2}])
    with pytest.raises(RunError, match=r"items\.log: record 1 has no 'member'"):
        read_run(tmp_path)
    with pytest.raises(RunError, match="No such file"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"items\.log: a file; a run is a folder \(FOLDER/\*/"):
        read_run(log)


def test_atomic_write_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("memaudit.runs.directory.os.fsync", full)
    with pytest.raises(RunError, match=r"no space writing a\.json"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_parquet_holds_every_field_and_the_same_bytes(tmp_path: Path) -> None:
    records = [
        record(0),
        record(1, log_prob=None, copies=None, continuation_ids=[5, 6], edit_similarity=0.25),
    ]
    write_parquet(records, tmp_path / "a.parquet")
    write_parquet(records, tmp_path / "b.parquet")
    write_parquet([], tmp_path / "empty.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    table = pq.read_table(tmp_path / "a.parquet")
    named = [field.name for field in fields(WindowRecord) if field.name != "others"]
    assert table.column_names == [name for name in named if name != "turns"]  # of conversations alone
    assert [WindowRecord(**row) for row in table.to_pylist()] == records
    assert pq.read_schema(tmp_path / "empty.parquet").equals(table.schema)
    asked = [record(0, turns=[["system", "Be brief."], ["user", "a\x00"]]), record(1)]
    write_parquet(asked, tmp_path / "c.parquet")
    table = pq.read_table(tmp_path / "c.parquet")
    assert table.column_names == named
    assert [WindowRecord(**row) for row in table.to_pylist()] == asked
    write_parquet([record(0, suffix_text="a\ud800b")], tmp_path / "s.parquet")
    assert pq.read_table(tmp_path / "s.parquet")["suffix_text"].to_pylist() == ["a\\ud800b"]
