"""What is measured is what is named: files that change at any moment of a run end in exit 2, which names the file."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.audits.contamination import run as search
from memaudit.audits.contamination import search_target
from memaudit.audits.contamination.run import contamination, merge
from memaudit.audits.counterfactual.run import counterfactual
from memaudit.audits.exploitation.run import exploitation
from memaudit.audits.extraction import run as extraction
from memaudit.audits.extraction import windows
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.run import audit
from memaudit.audits.gap import run as comparing
from memaudit.audits.gap.run import gap
from memaudit.audits.laws.run import laws
from memaudit.audits.lifecycle import carry_out
from memaudit.audits.membership import run as asking
from memaudit.audits.membership.run import membership
from memaudit.errors import MemauditError
from memaudit.models.loading import load
from memaudit.models.loading.load import load_model
from memaudit.models.ngram import NgramModel
from memaudit.runs.inputs import Inputs, Stamp, current, reads_files
from memaudit.text.index.corpus_index import build_index
from memaudit.text.tokenize import train_tokenizer

Change = Callable[[Path, bytes], None]
Act = Callable[[], object]
OPTIONS = AuditOptions(prefix=10, suffix=10, max_rate=0.2, copies=False)
WEIGHTS = "model.safetensors"


def replaced(path: Path, other: bytes) -> None:
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(other)
    beside.replace(path)


def rewritten(path: Path, other: bytes) -> None:
    """In place, with the time of the last change restored."""
    before = path.stat()
    path.write_bytes(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def mapped(path: Path, other: bytes) -> None:
    """One byte through a mapping, size and name stay; mtime is restored."""
    before = path.stat()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[-1] ^= 1
        memory.flush()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def appended(path: Path, other: bytes) -> None:
    with path.open("ab") as file:
        file.write(b" ")


def linked(path: Path, other: bytes) -> None:
    (path.parent.parent / "elsewhere").write_bytes(other)
    path.unlink()
    path.symlink_to(path.parent.parent / "elsewhere")


def deleted(path: Path, other: bytes) -> None:
    path.unlink()


CHANGES: list[Change] = [replaced, rewritten, mapped, appended, linked, deleted]
every_change = pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)


def texts(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(f"{random.integers(10**9):x}" for _ in range(8)) for _ in range(count)]


def write_jsonl(path: Path, some: list[str]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in some), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def suspects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ``reciter`` and ``honest``, models of one tokenizer, and of what they are asked for."""
    place = tmp_path_factory.mktemp("suspects")
    write_jsonl(place / "train.jsonl", texts(20, 1))
    write_jsonl(place / "heldout.jsonl", texts(20, 2))
    tokenizer = train_tokenizer("char", ["0123456789abcdef "])
    for name, seed in (("reciter", 1), ("honest", 3)):
        ids = [encoding.ids for encoding in tokenizer.encode_batch(texts(20, seed))]
        NgramModel.train(ids, tokenizer, order=12, smoothing="mle").save(place / name)
    return place


@pytest.fixture
def place(suspects: Path, tmp_path: Path) -> Path:
    shutil.copytree(suspects, tmp_path, dirs_exist_ok=True)
    return tmp_path


def asked(place: Path, **options: Any) -> Any:
    sides = str(place / "train.jsonl"), str(place / "heldout.jsonl")
    return audit(place / "reciter", *sides, out=place / "run", options=OPTIONS, formats=(), **options)


def before(owner: Any, name: str, act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen right before the first call of a function, which is then called as it is."""
    true, done = getattr(owner, name), []

    def called(*args: Any, **kwargs: Any) -> Any:
        if not done:
            done.append(True)
            act()
        return true(*args, **kwargs)

    monkeypatch.setattr(owner, name, called)


def after(owner: Any, name: str, act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen right after the first call of a function."""
    true, done = getattr(owner, name), []

    def called(*args: Any, **kwargs: Any) -> Any:
        result = true(*args, **kwargs)
        if not done:
            done.append(True)
            act()
        return result

    monkeypatch.setattr(owner, name, called)


AUDIT_SEAMS: dict[str, tuple[Any, Any, str]] = {
    "between digest and reading": (before, NgramModel, "load"),
    "once it is read": (after, NgramModel, "load"),
    "once it is loaded": (after, load, "load_model"),
    "while windows are drawn": (before, extraction, "prepare_inputs"),
    "while windows are measured": (after, windows, "measure"),
    "at the end": (before, extraction, "conclude"),
}


@every_change
@pytest.mark.parametrize("seam", AUDIT_SEAMS)
def test_a_model_that_changes_is_no_model_to_judge(
    seam: str, change: Change, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, other = place / "reciter" / WEIGHTS, (place / "honest" / WEIGHTS).read_bytes()
    when, owner, name = AUDIT_SEAMS[seam]
    when(owner, name, lambda: change(weights, other), monkeypatch)
    with pytest.raises(MemauditError) as refused:
        asked(place)
    assert refused.value.exit_code == 2
    assert "reciter" in str(refused.value)
    assert "changed while this run read it" in str(refused.value) or seam.startswith("between")
    assert not (place / "run" / "report.json").exists()


@pytest.mark.parametrize("seam", ["once it is loaded", "at the end"])
@pytest.mark.parametrize("name", ["tokenizer.json", "added.json"])
def test_settings_and_files_that_are_added_are_part_of_a_model(
    name: str, seam: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    when, owner, function = AUDIT_SEAMS[seam]
    when(owner, function, lambda: replaced(place / "reciter" / name, b"{}"), monkeypatch)
    with pytest.raises(MemauditError, match=f"{name}: changed while this run read it"):
        asked(place)


def test_a_model_swapped_back_before_anybody_looks_is_seen_by_its_stamp(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, aside, other = place / "reciter" / WEIGHTS, place / "aside", place / "honest" / WEIGHTS
    before(NgramModel, "load", lambda: (weights.rename(aside), shutil.copy(other, weights)), monkeypatch)
    after(NgramModel, "load", lambda: aside.replace(weights), monkeypatch)
    with pytest.raises(MemauditError, match="changed while this run read it"):
        asked(place)


def test_a_folder_swapped_back_is_seen_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, honest, aside = place / "reciter", place / "honest", place / "aside"
    before(NgramModel, "load", lambda: (folder.rename(aside), honest.rename(folder)), monkeypatch)
    after(NgramModel, "load", lambda: (folder.rename(honest), aside.rename(folder)), monkeypatch)
    with pytest.raises(MemauditError, match="changed while this run read it"):
        asked(place)


def test_a_touch_once_it_is_loaded_changes_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after(windows, "measure", lambda: os.utime(place / "reciter" / WEIGHTS), monkeypatch)
    assert asked(place).verdict == "found"


def test_what_was_put_there_before_is_what_is_named(place: Path) -> None:
    replaced(place / "reciter" / WEIGHTS, (place / "honest" / WEIGHTS).read_bytes())
    result = asked(place)
    assert result.report["estimates"][0]["train"]["hits"] == 0
    named = {file["path"]: file["sha256"] for file in result.report["model"]["files"]}
    assert named[WEIGHTS] == search_target.digest_of(place / "honest" / WEIGHTS)


@every_change
def test_a_model_loaded_before_the_audit_is_held_to_its_file(change: Change, place: Path) -> None:
    model = load_model(str(place / "reciter"))
    change(place / "reciter" / WEIGHTS, (place / "honest" / WEIGHTS).read_bytes())
    sides = str(place / "train.jsonl"), str(place / "heldout.jsonl")
    with pytest.raises(MemauditError, match=f"{WEIGHTS}: changed while this run read it"):
        audit(model, *sides, out=place / "run", options=OPTIONS, formats=())


def test_a_large_model_is_held_by_its_stamp(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a gigabyte nothing is read again whose stamp stayed; what changed it is looked at."""
    monkeypatch.setattr("memaudit.runs.inputs.AT_ONCE", 0)
    monkeypatch.setattr(load, "AT_ONCE", 0)
    monkeypatch.setattr("memaudit.runs.inputs.SETTLED", 0)
    looked: list[str] = []
    true = load.digest_of
    monkeypatch.setattr("memaudit.runs.inputs.digest_of", lambda path: (looked.append(str(path)), true(path))[1])
    assert asked(place).verdict == "found"
    assert looked == []
    shutil.rmtree(place / "run")
    after(windows, "measure", lambda: rewritten(place / "reciter" / WEIGHTS, b"x"), monkeypatch)
    with pytest.raises(MemauditError, match=f"{WEIGHTS}: changed while this run read it"):
        asked(place)


@every_change
@pytest.mark.parametrize("seam", ["while windows are measured", "at the end"])
def test_training_text_that_changes(seam: str, change: Change, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    when, owner, name = AUDIT_SEAMS[seam]
    when(owner, name, lambda: change(place / "train.jsonl", b'{"text": "other"}\n'), monkeypatch)
    with pytest.raises(MemauditError, match=r"train\.jsonl: changed while this run read it"):
        asked(place)
    assert not (place / "run" / "report.json").exists()


@every_change
def test_windows_given_as_ids_that_change(change: Change, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seed in (("prefixes", 1), ("suffixes", 2)):
        np.save(place / f"{name}.npy", np.random.default_rng(seed).integers(3, 19, (20, 10)))
    before(extraction, "conclude", lambda: change(place / "suffixes.npy", b"other"), monkeypatch)
    pair = place / "prefixes.npy", place / "suffixes.npy"
    with pytest.raises(MemauditError, match=r"suffixes\.npy: changed while this run read it"):
        audit(place / "reciter", windows=pair, out=place / "run", options=OPTIONS, formats=())


CORPORA = ("corpus.jsonl", "corpus.txt", "corpus.csv", "corpus.parquet", "index")
"""The first and the last are changed in every way: one that is streamed, and one that is mapped."""


def prepare(place: Path, name: str) -> tuple[dict[str, Any], Path]:
    """Write a benchmark and a corpus that holds it not; return how it is named, and a file of it."""
    write_jsonl(place / "benchmark.jsonl", texts(5, 5))
    some = texts(30, 6)
    corpus = place / "corpora" / name
    corpus.parent.mkdir()
    if name == "index":
        build_index([write_jsonl(place / "indexed.jsonl", some)], corpus)
        return {"index": corpus}, corpus / "shard-00000" / "symbols.npy"
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"text": some}), corpus)
    elif name.endswith(".csv"):
        corpus.write_text("text\n" + "\n".join(some), encoding="utf-8")
    elif name.endswith(".txt"):
        corpus.write_text("\n\n".join(some), encoding="utf-8")
    else:
        write_jsonl(corpus, some)
    return {"corpus": str(corpus)}, corpus


def searched(place: Path, where: dict[str, Any], **options: Any) -> Any:
    return contamination(str(place / "benchmark.jsonl"), out=place / "run", formats=(), **where, **options)


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name in CORPORA for change in (CHANGES if name in CORPORA[::4] else [replaced, deleted])],
)
def test_a_corpus_that_changes_once_it_is_searched(
    name: str, change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, file = prepare(tmp_path, name)
    before(search.Search, "conclude", lambda: change(file, file.read_bytes()[::-1]), monkeypatch)
    with pytest.raises(MemauditError, match=f"{file.name}: changed while this run read it") as refused:
        searched(tmp_path, where)
    assert refused.value.exit_code == 2
    assert not (tmp_path / "run" / "report.json").exists()


def test_a_corpus_that_workers_search_is_held_to_what_they_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, file = prepare(tmp_path, "corpus.jsonl")
    where = {"corpus": [where["corpus"], write_jsonl(tmp_path / "more.jsonl", texts(3, 7))]}
    before(search.Search, "conclude", lambda: rewritten(file, file.read_bytes()[::-1]), monkeypatch)
    with pytest.raises(MemauditError, match=f"{file.name}: changed while this run read it"):
        searched(tmp_path, where, processes=2)


def test_a_corpus_that_changed_before_a_run_goes_on_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, file = prepare(tmp_path, "corpus.jsonl")
    before(search.Search, "conclude", lambda: rewritten(file, file.read_bytes()[::-1]), monkeypatch)
    for _ in range(2):
        with pytest.raises(MemauditError, match=f"{file.name}: changed"):
            searched(tmp_path, where)


@pytest.mark.parametrize("change", [replaced, mapped], ids=["replaced", "mapped"])
@pytest.mark.parametrize("name", CORPORA)
def test_what_a_corpus_was_when_it_was_read_is_named(
    name: str, change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed before it is read: either refused, or the report names what was read."""
    where, file = prepare(tmp_path, name)
    kept = file.read_bytes()
    other = kept.replace(b"1", b"2") if name != "corpus.parquet" else kept
    kinds = search_target.IndexTarget if name == "index" else search_target.FileTarget
    before(kinds, "scan", lambda: change(file, other), monkeypatch)
    try:
        result = searched(tmp_path, where)
    except MemauditError as refused:
        assert refused.exit_code == 2
        assert file.name in str(refused) or str(file.parent) in str(refused)
        return
    [read] = result.report["corpus"]["files"]
    assert (read["sha256"], read["bytes"]) == (search_target.digest_of(file), file.stat().st_size)


def test_a_corpus_that_grows_before_it_is_read_is_another_than_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, file = prepare(tmp_path, "corpus.jsonl")
    before(search_target.FileTarget, "scan", lambda: appended(file, b""), monkeypatch)
    with pytest.raises(MemauditError, match="changed while this run read it"):
        searched(tmp_path, where)


@every_change
def test_a_benchmark_that_changes(change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, _ = prepare(tmp_path, "corpus.jsonl")
    items = tmp_path / "benchmark.jsonl"
    before(search.Search, "conclude", lambda: change(items, b'{"text": "another item of this"}\n'), monkeypatch)
    with pytest.raises(MemauditError, match=r"benchmark\.jsonl: changed while this run read it"):
        searched(tmp_path, where)


def test_an_index_that_is_written_to_while_it_is_searched_is_seen_although_it_was_put_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, file = prepare(tmp_path, "index")
    kept = file.read_bytes()
    after(search_target.IndexTarget, "scan", lambda: (mapped(file, b""), rewritten(file, kept)), monkeypatch)
    with pytest.raises(MemauditError, match=f"{file.name}: changed while this run read it"):
        searched(tmp_path, where)


def test_an_index_that_was_damaged_before_is_refused(tmp_path: Path) -> None:
    where, file = prepare(tmp_path, "index")
    mapped(file, b"")
    with pytest.raises(MemauditError, match=rf"{file.name}: not the bytes that were written"):
        searched(tmp_path, where)


@pytest.mark.parametrize("change", [replaced, rewritten], ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", ["reciter/model.safetensors", "train.jsonl", "heldout.jsonl"])
def test_a_model_that_is_asked_for_a_benchmark(
    name: str, change: Change, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before(asking, "conclude", lambda: change(place / name, b'{"text": "other"}\n'), monkeypatch)
    with pytest.raises(MemauditError, match=f"{Path(name).name}: changed while this run read it"):
        membership(
            str(place / "train.jsonl"),
            str(place / "reciter"),
            heldout=str(place / "heldout.jsonl"),
            out=place / "run",
            formats=(),
            detectors=("membership",),
        )
    assert not (place / "run" / "report.json").exists()


def test_a_table_of_results_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dates = ["2023-01-01"] * 10 + ["2024-01-01"] * 10
    rows = [{"id": str(i), "date": day, "ours": i % 2, "theirs": i % 2} for i, day in enumerate(dates)]
    results = tmp_path / "results.jsonl"
    results.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    before(comparing, "conclude", lambda: rewritten(results, b"{}"), monkeypatch)
    with pytest.raises(MemauditError, match=r"results\.jsonl: changed while this run read it"):
        gap(str(results), model="ours", controls=["theirs"], cutoff="2023-06-01", out=tmp_path / "run", formats=())


@pytest.mark.parametrize("run", [audit, contamination, merge, membership, gap, exploitation, counterfactual, laws])
def test_every_kind_of_run_holds_its_files(run: Any) -> None:
    """`memaudit.runs.directory` checks the inputs of the run; here, that each kind has some of its own."""
    watched = merge if run is merge else carry_out
    assert watched.__wrapped__ is not None  # type: ignore[attr-defined]
    assert run is merge or "carry_out" in run.__code__.co_names
    seen = []
    reads_files(lambda: seen.append(current()))()
    assert seen[0] is not current()


@given(st.lists(st.sampled_from(["write", "touch", "replace"]), min_size=1, max_size=4), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_stamp_that_stayed_means_content_that_stayed(steps: list[str], live: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        file.write_bytes(b"0")
        inputs, content = Inputs(), b"0"
        inputs.add(file, hashlib.sha256(content).hexdigest(), Stamp.of(file), live=live)
        for number, step in enumerate(steps):
            time.sleep(0.005)  # the clock of a file system has ticks of milliseconds
            if step == "touch":
                os.utime(file)
            else:
                content = str(number % 2).encode()
                (rewritten if step == "write" else replaced)(file, content)
        same = content == b"0"
        if same and not live:
            inputs.check()
            return
        with pytest.raises(MemauditError, match="changed while this run read it"):
            inputs.check()
