"""An audit of whole works from the command line to the report, against sums written out."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import memaudit
from memaudit.audits.work.measured import coverage, fewest_windows, measured
from memaudit.audits.work.options import WorkOptions
from memaudit.audits.work.parts import Heading
from memaudit.audits.work.reading import Reading
from memaudit.audits.work.run import WorkRun
from memaudit.audits.work.texts import WholeWork
from memaudit.cli.app import app
from memaudit.errors import InputError
from memaudit.metrics.probability import THRESHOLDS, attempts_needed
from memaudit.metrics.surface import runs_of
from memaudit.models.base import LanguageModel
from memaudit.records import Decoding, Document, Shown
from memaudit.report.kinds.work import KIND
from memaudit.report.work_compare import compare_works, render_works
from memaudit.runs.directory import ReportInput, read_run
from memaudit.stats.rounding import percent, samples
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.train import CorpusOptions

DRAWN = random.Random(8)
WORDS = ["".join(DRAWN.choices("abcdefghijklm", k=DRAWN.randint(2, 6))) for _ in range(200)]
CHARACTERS = train_tokenizer("char", ["abcdefghijklmnopqrstuvwxyz \n"])


def prose(words: int) -> str:
    return "\n".join(" ".join(DRAWN.choices(WORDS, k=10)) for _ in range(words // 10))


CHAPTERS = [prose(120) for _ in range(4)]
BOOK = "".join(f"CHAPTER {number}\n\n{text}\n\n" for number, text in enumerate(CHAPTERS, 1))
OTHER = "".join(f"CHAPTER {number}\n\n{prose(120)}\n\n" for number in range(1, 4))
SMALL = {"prefix": 10, "suffix": 6, "stride": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a model that knows chapters 2 and 4 and the words of all, and of its corpus."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "seen.txt").write_text(f"{CHAPTERS[1]}\n{CHAPTERS[3]}\n" * 4, encoding="utf-8")
    (folder / "words.txt").write_text("CHAPTER 1 2 3 4\n\n" + "\n".join(WORDS), encoding="utf-8")
    trained(folder, 8)
    return folder


def trained(folder: Path, order: int) -> str:
    source = CorpusOptions([str(folder / "seen.txt"), str(folder / "words.txt")], unit="word")
    memaudit.train_ngram(source, folder / f"order-{order}", order=order)
    return str(folder / f"order-{order}")


@pytest.fixture(scope="module")
def model(place: Path) -> LanguageModel:
    return memaudit.load_model(str(place / "order-8"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("works")
    for name, text in (("book", BOOK), ("other", OTHER)):
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return str(folder / "book.txt"), str(folder / "other.txt")


@pytest.fixture(scope="module")
def done(model: LanguageModel, files: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> WorkRun:
    return memaudit.work(model, *files, out=tmp_path_factory.mktemp("run") / "run", **SMALL)


def test_parts_that_are_known_stand_out(done: WorkRun) -> None:
    book, other = done.report["works"]
    shares = {part["title"]: part["reached"][1]["share"] for part in book["parts"]}
    assert list(shares) == ["CHAPTER 1", "CHAPTER 2", "CHAPTER 3", "CHAPTER 4"]
    assert min(shares["CHAPTER 2"], shares["CHAPTER 4"]) > 0.9
    assert max(shares["CHAPTER 1"], shares["CHAPTER 3"]) < 0.2
    assert other["control"]
    assert other["reached"][1]["share"] < 0.05
    assert "most of it in CHAPTER 2, CHAPTER 4" in done.report["headline"]
    assert done.report["headline"].index("%") < 5


def test_the_report_says_what_every_window_says(done: WorkRun, model: LanguageModel) -> None:
    """Coverage from windows one by one, written as the definition has it."""
    book = done.report["works"][0]
    [encoding] = model.tokenizer.encode_batch([BOOK])
    ids, sums = encoding.ids, []
    for start in range(0, len(ids) - 15, 2):
        window = memaudit.Window(ids[start : start + 10], ids[start + 10 : start + 16])
        sums.append((start, float(model.score([window]).log_prob.sum())))
    assert len(book["levels"]) == len(book["greedy"]) == book["windows"] == len(sums)
    for threshold, reached in zip(THRESHOLDS, book["reached"][1:], strict=True):
        tokens = {
            token
            for start, log_p in sums
            if log_p >= np.log(threshold) - 1e-9
            for token in range(start + 10, start + 16)
        }
        assert reached["tokens"] == len(tokens)
        assert reached["share"] == len(tokens) / len(ids)
        assert sum(part["reached"][1 + THRESHOLDS.index(threshold)]["tokens"] for part in book["parts"]) == len(tokens)


def test_passages_and_holes_have_places(done: WorkRun) -> None:
    book = done.report["works"][0]
    longest, hole = book["longest"][0], book["holes"][0]
    assert longest["text"] is not None
    assert longest["text"] in BOOK
    assert BOOK.splitlines()[longest["line"] - 1].find(longest["text"].split()[0]) >= 0
    words = BOOK.split()
    assert words[longest["word"] : longest["word"] + longest["words"]] == longest["text"].split()
    assert book["parts"][longest["part"]]["title"] in ("CHAPTER 2", "CHAPTER 4")
    assert book["parts"][hole["part"]]["title"] in ("CHAPTER 1", "CHAPTER 2", "CHAPTER 3")
    assert hole["text"] is None
    assert book["words"] == len(words)
    assert book["lines"] == len(BOOK.splitlines())
    assert [p["tokens"] for p in book["longest"]] == sorted((p["tokens"] for p in book["longest"]), reverse=True)


def test_a_stopped_run_gives_the_same_report(done: WorkRun, model: LanguageModel, files: tuple[str, str]) -> None:
    log, report = done.folder / "items.log", (done.folder / "report.json").read_bytes()
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[: len(lines) // 2]))
    (done.folder / "report.json").unlink()
    memaudit.work(model, *files, out=done.folder, **SMALL)
    assert log.read_bytes() == b"".join(lines)
    assert (done.folder / "report.json").read_bytes() == report


def test_without_a_control_work_nothing_is_tested(model: LanguageModel, files: tuple[str, str], tmp_path: Path) -> None:
    alone = memaudit.work(model, files[0], out=tmp_path / "run", **SMALL)
    assert alone.verdict == "inconclusive"
    assert alone.exit_code == 3
    assert not alone.report["test"]["possible"]
    assert "control work" in (alone.report["test"]["why_not"] or "")
    assert "as often as" not in json.dumps(alone.report)
    assert alone.report["works"][0]["reached"][1]["share"] > 0.4
    unseen = memaudit.work(model, files[1], out=tmp_path / "unseen", **SMALL)
    assert unseen.verdict == "inconclusive"
    assert not unseen.report["findings"]


def test_several_works_from_records(model: LanguageModel, tmp_path: Path) -> None:
    rows = [{"id": f"w{number}", "text": text} for number, text in enumerate(CHAPTERS[:3])]
    (tmp_path / "works.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    report = memaudit.work(model, tmp_path / "works.jsonl", out=tmp_path / "run", parts="100", **SMALL).report
    assert [work["name"] for work in report["works"]] == ["w0", "w1", "w2"]
    assert "3 works" in report["headline"]
    assert [part["token"] for part in report["works"][0]["parts"]] == list(range(0, 240, 100))
    assert [finding["document"] for finding in report["findings"]] == ["w1"]


def test_works_of_the_same_name_are_called_by_their_paths(model: LanguageModel, tmp_path: Path) -> None:
    paths = [tmp_path / folder / "book.txt" for folder in ("first", "second")]
    for path, text in zip(paths, CHAPTERS, strict=False):
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
    report = memaudit.work(model, [str(path) for path in paths], out=tmp_path / "run", **SMALL).report
    assert [work["name"] for work in report["works"]] == [work["source"] for work in report["works"]]
    assert len({work["name"] for work in report["works"]}) == 2


def test_a_character_that_prefix_and_suffix_share_counts_once(tmp_path: Path) -> None:
    """Of tokens that are bytes, two windows of three are cut inside a Chinese character."""
    text = "".join(chr(0x4E00 + DRAWN.randrange(900)) for _ in range(300))
    (tmp_path / "work.txt").write_text(text, encoding="utf-8")
    memaudit.train_ngram(CorpusOptions([str(tmp_path / "work.txt")], unit="byte"), tmp_path / "bytes", order=3)
    run = memaudit.work(str(tmp_path / "bytes"), str(tmp_path / "work.txt"), out=tmp_path / "run", **SMALL)
    [control] = [control for control in run.report["controls"] if control["name"] == "tokenizer round trip"]
    assert control["passed"], control["detail"]


def test_the_first_line_claims_an_even_chance_and_no_more(done: WorkRun) -> None:
    headline = done.report["headline"]
    longest, cost = done.report["works"][0]["longest"][0], done.report["works"][0]["costs"][0]
    assert f"has {longest['tokens']:,} tokens, {longest['words']:,} words" in headline
    assert (
        f"for an even chance of each window behind the {percent(done.report['works'][0]['reached'][1]['share'])}"
        in headline
    )
    assert f"it takes {samples(cost['samples'])} samples, {samples(cost['tokens'])} tokens in all" in headline


def test_bad_input_is_refused(model: LanguageModel, files: tuple[str, str], tmp_path: Path) -> None:
    for options, said in (
        ({"stride": 7}, "passes over"),
        ({"threshold": 0.02}, "threshold"),
        ({"temperature": 0}, "probability of samples"),
        ({"parts": "("}, "no regular expression"),
        ({"max_rate": 1.0}, "max-rate"),
        ({"prefix": 0}, "prefix"),
        ({"prefix": 10**6}, "no work holds"),
    ):
        with pytest.raises(InputError, match=said):
            memaudit.work(model, files[0], out=tmp_path / "run", **{**SMALL, **options})
    with pytest.raises(InputError, match="no control of itself"):
        memaudit.work(model, files[0], [memaudit.Texts([BOOK])], out=tmp_path / "run", **SMALL)
    with pytest.raises(InputError, match="no work"):
        memaudit.work(model, [], out=tmp_path / "run")


def test_the_command(model: LanguageModel, files: tuple[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model.save(folder)
    lengths = ["--prefix", "10", "--suffix", "6", "--stride", "2"]
    formats = ["--format", "html,json,junit,sarif,md", "--redact", "--out", str(tmp_path / "run")]
    called = CliRunner().invoke(
        app, ["work", str(folder), "--text", files[0], "--heldout", files[1], *lengths, *formats]
    )
    assert called.exception is None or getattr(called.exception, "exit_code", None) in (0, 1, 3), called.output
    assert "of book can be had back at p" in " ".join(called.output.split())
    for name in ("report.html", "junit.xml", "results.sarif", "report.md"):
        assert (tmp_path / "run" / name).stat().st_size
    assert CHAPTERS[1].splitlines()[2] not in (tmp_path / "run" / "report.json").read_text(encoding="utf-8")


def whole_work(model: LanguageModel, text: str) -> WholeWork:
    [encoding] = model.tokenizer.encode_batch([text])
    return WholeWork(0, "d", Document("d", text, "d"), False, encoding, WorkOptions(**SMALL), None)


def made(hits: list[bool], stride: int, suffix: int) -> tuple[WholeWork, Reading]:
    options = WorkOptions(prefix=2, suffix=suffix, stride=stride)
    text = "ab cd\n" * ((len(hits) * stride + suffix + 8) // 6)
    [encoding] = CHARACTERS.encode_batch([text[: stride * (len(hits) - 1) + options.window]])
    work = WholeWork(
        0, "d", Document("d", text[: len(encoding)], "d"), False, encoding, options, None, [Heading(0, "all")]
    )
    reached, no = np.array(hits, np.bool_), np.full(len(hits), -np.inf)
    return work, Reading(np.where(reached, np.log(0.6), -np.inf), reached, np.ones(len(hits), np.bool_), no)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 5), st.integers(5, 9))
def test_the_fewest_windows_cover_all_that_is_covered(hits: list[bool], stride: int, suffix: int) -> None:
    work, reading = made(hits, stride, suffix)
    assert work.windows == len(hits)
    covered, chosen = coverage(work, reading.greedy), fewest_windows(work, reading.greedy)
    few = np.zeros(len(hits), np.bool_)
    few[chosen] = True
    assert np.array_equal(coverage(work, few), covered)
    assert not (few & ~reading.greedy).any()
    for window in chosen:  # none can be left out
        less = few.copy()
        less[window] = False
        assert not np.array_equal(coverage(work, less), covered)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 5), st.integers(5, 9))
def test_what_is_measured_adds_up(hits: list[bool], stride: int, suffix: int) -> None:
    work, reading = made(hits, stride, suffix)
    found: Any = measured(work, reading, 0.001)
    covered = {t for i, hit in enumerate(hits) if hit for t in range(2 + i * stride, 2 + i * stride + suffix)}
    assert found["reached"][1]["tokens"] == len(covered)
    assert found["coverable"] == len(work.ids) - 2
    assert [cost["windows"] for cost in found["costs"]] == [len(fewest_windows(work, reading.greedy))] * 4 + [0]
    needed = attempts_needed(float(np.log(0.6)), 0.5) or 0
    assert found["costs"][0]["tokens"] == found["costs"][0]["windows"] * needed * suffix
    spans = [*found["longest"], *found["holes"]]
    if len(runs_of(coverage(work, reading.greedy))) <= 12:
        places = sorted(t for span in spans for t in range(span["token"], span["token"] + span["tokens"]))
        assert set(places) <= set(range(len(work.ids)))
        assert len(places) == len(set(places))


def test_what_is_shown(done: WorkRun, model: LanguageModel) -> None:
    run = read_run(done.folder)
    book, other = done.report["works"]
    passages = [r for r in run.records if r.member and not r.sampled]
    work = whole_work(model, BOOK)
    every = [model.score([work.window(place)], Decoding(1.0)).log_prob.sum() for place in range(book["windows"])]
    for shown, passage in zip(passages, book["longest"], strict=True):
        inside = range(passage["token"], passage["token"] + passage["tokens"] - len(shown.suffix_ids) + 1)
        best = max(p for place, p in enumerate(every) if work.suffix_start(place) in inside)
        assert shown.start + 10 in inside and shown.log_prob == pytest.approx(best)
    assert all(r.continuation_text for r in passages)
    assert all(BOOK.find(r.prefix_text + r.suffix_text) >= 0 for r in passages)
    assert len([r for r in run.records if r.member and r.sampled]) == 8
    [best, *_] = controls = [r for r in run.records if not r.member]
    assert len(controls) == 4
    windows = (whole_work(model, OTHER).window(place) for place in range(other["windows"]))
    scores = [float(model.score([window], Decoding(1.0)).log_prob.sum()) for window in windows]
    assert best.log_prob == pytest.approx(max(scores))


def test_within_a_few_edits(model: LanguageModel, files: tuple[str, str], tmp_path: Path) -> None:
    run = memaudit.work(model, *files, out=tmp_path / "run", near_verbatim=12, **SMALL)
    _, section = run.report["sections"]
    [book, other] = section["tables"][0]["rows"]
    assert book[:2] == ["book", 12]
    assert other[0] == "other (control)"
    shares: Any = book[2:]
    assert shares == sorted(shares)
    again = memaudit.work(model, *files, out=run.folder, near_verbatim=12, **SMALL)
    assert again.report == run.report


def test_several_models_are_asked_one_by_one_and_compared(
    place: Path, files: tuple[str, str], tmp_path: Path, done: WorkRun
) -> None:
    models, sizes = [trained(place, 2), str(place / "order-8")], ["--prefix", "10", "--suffix", "6", "--stride", "2"]
    command = ["work", *models, "--text", files[0], "--heldout", files[1], *sizes, "--out", str(tmp_path / "runs")]
    outcome = CliRunner().invoke(app, command)
    reports = [json.loads((tmp_path / "runs" / f"order-{n}" / "report.json").read_bytes()) for n in (2, 8)]
    assert outcome.exit_code == max(report["exit_code"] for report in reports), outcome.output
    assert reports[1]["works"] == done.report["works"]
    assert reports[1]["provenance"]["command"].count("order-") == 1, "the report of one repeats that one"
    page = (tmp_path / "runs" / "compare.html").read_text()
    found = compare_works([tmp_path / "runs" / f"order-{n}" for n in (2, 8)])
    assert page == render_works(found)
    assert [row.name for row in found.grid] == ["book", "other"]
    assert found.apart[0].longest.rows[0][0] == "order-8"
    assert found.apart[0].longest.rows[0][2] in ("CHAPTER 2", "CHAPTER 4")
    assert CliRunner().invoke(app, command).exit_code == outcome.exit_code
    assert page == (tmp_path / "runs" / "compare.html").read_text()


def test_problems_are_the_works_that_are_found(done: WorkRun) -> None:
    assert KIND.problems({**done.report, "findings": []}) == []
    assert [finding["document"] for finding in done.report["findings"]] == ["book"]
    [problem] = KIND.problems({**done.report, "verdict": "found"})
    assert problem.id == done.report["findings"][0]["id"]
    assert "book" in problem.sentence


def test_texts_may_be_withheld(done: WorkRun, model: LanguageModel, files: tuple[str, str], tmp_path: Path) -> None:
    shown = KIND.disclosed(ReportInput(done.report, ()), Shown(text=False)).report
    assert shown["works"][0]["longest"][0]["text"] is None
    again = memaudit.work(model, *files, out=tmp_path / "run", shown=Shown(text=False), **SMALL)
    assert CHAPTERS[1].splitlines()[2] not in (again.folder / "report.json").read_text(encoding="utf-8")
