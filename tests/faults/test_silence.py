"""What could pass in silence: files of a pattern that hold nothing, items without text, work that is replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memaudit.audits.contamination.run import contamination
from memaudit.errors import InputError, RunError, one_line_of_both_ends
from memaudit.text.corpus.read import read_corpus
from memaudit.training.train import CorpusOptions, train_ngram
from tests.forked import call

TEXTS = [f"{word} stood by the harbour and counted the boats that came home that night" for word in ("Ann", "Bob")]
ITEM = "nobody in this town has ever seen the old clock strike thirteen times at noon"


def write(path: Path, *rows: object) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of two good files, and a benchmark that stands in neither."""
    for name, text in zip(("a", "c"), TEXTS, strict=True):
        write(tmp_path / "g" / f"{name}.jsonl", {"text": text})
    write(tmp_path / "bench.jsonl", {"question": ITEM})
    return tmp_path


def link(path: Path) -> None:
    path.symlink_to("nowhere")


HOLLOW: dict[str, tuple[Callable[[Path], None], str]] = {
    "a link to nothing": (link, "b.jsonl: is a link to nothing"),
    "a pipe": (os.mkfifo, "b.jsonl: is no regular file"),
    "a folder": (Path.mkdir, "b.jsonl: is a folder"),
    "an empty file": (Path.touch, "no records in .*b.jsonl"),
    "blank lines": (lambda path: path.write_text("\n \n"), "no records in .*b.jsonl"),
}


@pytest.mark.parametrize("kind", HOLLOW)
def test_no_file_of_a_pattern_is_passed_over(corpus: Path, kind: str) -> None:
    make, said = HOLLOW[kind]
    make(corpus / "g" / "b.jsonl")
    with pytest.raises(InputError, match=said):
        list(read_corpus([f"{corpus}/g/*.jsonl"]))
    with pytest.raises(InputError, match=said):
        contamination(str(corpus / "bench.jsonl"), f"{corpus}/g/*.jsonl", out=corpus / "run")


def test_a_format_that_is_asked_for_decides_what_is_empty(corpus: Path) -> None:
    for name in ("1.dat", "2.dat"):
        (corpus / name).write_text(json.dumps([{"text": TEXTS[0]}]) if name == "2.dat" else "")
    with pytest.raises(InputError, match=r"1\.dat"):
        contamination(str(corpus / "bench.jsonl"), f"json:{corpus}/*.dat", out=corpus / "run")


def test_a_file_of_bad_records_alone_is_counted_where_they_may_be_skipped(corpus: Path) -> None:
    (corpus / "g" / "b.jsonl").write_text("{not json}\n")
    report = contamination(str(corpus / "bench.jsonl"), f"{corpus}/g/*.jsonl", out=corpus / "run", skip_bad=True).report
    assert (report["corpus"]["rejected"], report["verdict"]) == (1, "inconclusive")


def test_an_empty_file_that_is_mended_costs_nothing_that_was_read(corpus: Path) -> None:
    hollow, asked = corpus / "g" / "b.jsonl", (str(corpus / "bench.jsonl"), f"{corpus}/g/*.jsonl")
    hollow.touch()
    with pytest.raises(InputError, match=r"no records in .*b\.jsonl"):
        contamination(*asked, out=corpus / "run")
    done = (corpus / "run" / "items.log").read_bytes()
    assert done
    write(hollow, {"text": "fetched again"})
    assert contamination(*asked, out=corpus / "run").verdict == "clean"
    assert (corpus / "run" / "items.log").read_bytes().startswith(done)


def test_empty_files_of_text_are_files_of_text(corpus: Path) -> None:
    """A package of Python has them; and ``**`` passes over folders, since it enters them."""
    (corpus / "g" / "__init__.py").touch()
    (corpus / "g" / "inner").mkdir()
    (corpus / "g" / "inner" / "m.py").write_text("x = 1\n")
    assert [document.text for document in read_corpus([f"{corpus}/g/**/*.py"])] == ["x = 1"]
    report = contamination(str(corpus / "bench.jsonl"), f"{corpus}/g/**/*.py", out=corpus / "run").report
    assert report["corpus"]["documents"] == 1


@pytest.mark.parametrize(("row", "said"), [({"question": None}, '"question" is null'), ({"question": ""}, "")])
def test_an_item_that_is_null_is_no_item_without_text(corpus: Path, row: object, said: str) -> None:
    bench = write(corpus / "null.jsonl", {"question": ITEM}, row)
    if said:
        with pytest.raises(InputError, match=rf"null.jsonl:2: {said}"):
            contamination(bench, f"{corpus}/g/*.jsonl", out=corpus / "run")
    else:
        report = contamination(bench, f"{corpus}/g/*.jsonl", out=corpus / "run").report
        assert report["benchmark"]["empty"] == 1


def test_columns_of_one_name_are_refused(corpus: Path) -> None:
    columns = [pa.array(["a b"]), pa.array(["c d"])]
    pq.write_table(pa.table(columns, names=["text", "text"]), corpus / "t.parquet")
    with pytest.raises(InputError, match=r't\.parquet: column "text" appears twice'):
        list(read_corpus([str(corpus / "t.parquet")]))


def test_the_same_command_goes_on_once_its_input_is_mended(corpus: Path) -> None:
    bad, run = corpus / "g" / "b.jsonl", corpus / "run"
    asked = str(corpus / "bench.jsonl"), f"{corpus}/g/*.jsonl"
    bad.write_text("{not json}\n")
    with pytest.raises(InputError, match=r"b\.jsonl:1: not valid JSON"):
        contamination(*asked, out=run)
    done = (run / "items.log").read_bytes()
    assert done, "the file before it was finished"
    write(bad, {"text": "mended and read"})
    assert contamination(*asked, out=run).verdict == "clean"
    assert (run / "items.log").read_bytes().startswith(done)
    contamination(*asked, out=corpus / "undisturbed")
    for name in ("report.json", "report.html", "items.log"):
        assert (run / name).read_bytes() == (corpus / "undisturbed" / name).read_bytes()


def test_what_was_read_must_not_change(corpus: Path) -> None:
    bad, asked = corpus / "g" / "b.jsonl", (str(corpus / "bench.jsonl"), f"{corpus}/g/*.jsonl")
    bad.write_text("{not json}\n")
    with pytest.raises(InputError):
        contamination(*asked, out=corpus / "run")
    write(bad, {"text": "mended"})
    write(corpus / "g" / "a.jsonl", {"text": "changed after it was read"})
    with pytest.raises(RunError, match=r"run belongs to another plan: corpus\.units differs"):
        contamination(*asked, out=corpus / "run")


def test_a_plan_without_any_work_gives_way_and_one_with_work_does_not(corpus: Path) -> None:
    only = write(corpus / "only.jsonl", {"text": TEXTS[0]})
    (corpus / "bad.jsonl").write_text("{not json}\n")
    with pytest.raises(InputError):
        contamination(str(corpus / "bench.jsonl"), str(corpus / "bad.jsonl"), out=corpus / "run")
    assert contamination(str(corpus / "bench.jsonl"), only, out=corpus / "run").verdict == "clean"
    with pytest.raises(RunError, match="run belongs to another plan"):
        contamination(str(corpus / "bench.jsonl"), f"{corpus}/g/a.jsonl", out=corpus / "run")


def test_another_ngram_is_not_replaced(corpus: Path) -> None:
    first, other = ([f"{corpus}/g/{name}.jsonl"] for name in ("a", "c"))
    train_ngram(CorpusOptions(first), corpus / "m")
    before = (corpus / "m" / "model.safetensors").read_bytes()
    train_ngram(CorpusOptions(first), corpus / "m")
    with pytest.raises(RunError, match="holds another model"):
        train_ngram(CorpusOptions(other), corpus / "m")
    assert (corpus / "m" / "model.safetensors").read_bytes() == before
    assert not list((corpus / "m").glob(".saving*"))


def test_names_of_files_do_not_act_on_the_terminal(corpus: Path) -> None:
    out = "m\x1b]8;;http:/evil\x07\x9bdel[/b]"
    command = ["train", "ngram", "--corpus", "g/a.jsonl", "--out", out]
    done = call(command, corpus, os.environ)
    assert done.returncode == 0, done.stderr
    assert "m\\x1b]8;;http:/evil\\x07\\x9bdel[/b]: " in done.stdout
    assert not set(done.stdout + done.stderr) & {"\x1b", "\x07"}
    assert (corpus / out).is_dir()


def test_a_page_is_written_over_a_page_alone(corpus: Path) -> None:
    from memaudit.report.compare import TITLE, refuse_foreign
    from memaudit.report.page import render_page

    refuse_foreign(corpus / "new.html")
    result = contamination(str(corpus / "bench.jsonl"), f"{corpus}/g/*.jsonl", out=corpus / "run")
    for file in (corpus / "bench.jsonl", result.folder / "report.html"):
        with pytest.raises(InputError, match=rf"{file.name}: exists and is no comparison of memaudit"):
            refuse_foreign(file)
    title = render_page("page.html.j2", TITLE, {})
    (corpus / "new.html").write_text(title, encoding="utf-8")
    refuse_foreign(corpus / "new.html")


def test_a_long_path_leaves_room_for_line_and_reason() -> None:
    said = one_line_of_both_ends(f"memaudit: error: {'d' * 400}/bad.jsonl:2: not valid JSON (correct it)")
    assert len(said) == 300
    assert said.startswith("memaudit: error: ddd")
    assert said.endswith("/bad.jsonl:2: not valid JSON (correct it)")
    assert one_line_of_both_ends("a\x1bb") == "a\\x1bb"
