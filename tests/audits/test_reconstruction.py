"""`memaudit reconstruct`: works that models write by themselves, from the first words to the page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from memaudit.audits.reconstruction import aligned
from memaudit.audits.reconstruction.options import ReconstructionOptions
from memaudit.audits.reconstruction.procedure import Course
from memaudit.audits.reconstruction.run import ReconstructionRun, reconstruct
from memaudit.audits.reconstruction.texts import Work, read_works
from memaudit.audits.reconstruction.writer import Begun, LocalWriter, Written, text_behind
from memaudit.cli.app import app
from memaudit.errors import InputError
from memaudit.models.base import NextTokenModel
from memaudit.models.ngram import NgramModel
from memaudit.records import FloatArray, Shown, TokenIds
from memaudit.report.formats.screen import print_report
from memaudit.report.kinds import kind_of
from memaudit.report.kinds.reconstruction import KIND
from memaudit.report.reconstruction_page import MAX_BYTES
from memaudit.report.terminal import console
from memaudit.runs.directory import read_finished
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.words.words import words_of

BYTES = train_tokenizer("byte", [])
SYLLABLES = [a + b for a in "bdfgklmnprst" for b in "aeiou"]


def prose(words: int, seed: int, vocabulary: int = 400) -> str:
    """A text of made-up words, some rare and some frequent, in sentences and paragraphs."""
    rng = np.random.default_rng(seed)
    known = ["".join(rng.choice(SYLLABLES, rng.integers(1, 4))) for _ in range(vocabulary)]
    drawn = rng.zipf(1.3, words).clip(max=vocabulary) - 1
    pieces = [
        known[i] + ("." if at % 9 == 8 else "") + ("\n\n" if at % 90 == 89 else " ") for at, i in enumerate(drawn)
    ]
    return "".join(pieces)


PLANTED, HELDOUT = prose(1500, 1), prose(1000, 2)
TOKENIZER = train_tokenizer("bpe", [PLANTED, HELDOUT], 700)


def trained(texts: Sequence[str], order: int = 9, tokenizer: Any = TOKENIZER) -> NgramModel:
    documents = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    return NgramModel.train(documents, tokenizer, order=order, smoothing="mle")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("works")
    for name, text in {"planted": PLANTED, "heldout": HELDOUT}.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    trained([PLANTED]).save(folder / "ngram")
    return {name: folder / f"{name}.txt" for name in ("planted", "heldout")} | {"model": folder / "ngram"}


@pytest.fixture(scope="module")
def done(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> ReconstructionRun:
    out = tmp_path_factory.mktemp("run") / "run"
    return reconstruct(files["model"], files["planted"], files["heldout"], out=out, name="ngram")


def wrote(text: str, model: Any, tmp_path: Path, **options: Any) -> Any:
    """Return what a report says of one work."""
    file = tmp_path / "work.txt"
    file.write_text(text, encoding="utf-8")
    return reconstruct(model, file, out=tmp_path / "run", formats=[], **options).report


def test_a_planted_work_is_had_back_and_a_control_work_is_not(done: ReconstructionRun) -> None:
    report = done.report
    planted, heldout = report["works"]
    assert (report["verdict"], done.exit_code) == ("found", 1)
    assert planted["recall"][0]["share"] >= 0.95 and planted["recall"][0]["token_share"] >= 0.95
    assert [recall["words"] for recall in heldout["recall"]] == [0, 0, 0]
    assert heldout["control"] and heldout["given"][0]["stop"] == "no new words"
    assert planted["help_tokens"] == 50 and planted["given"][0]["stop"] == "end of the work"
    assert "control" in report["reasons"][1]


def test_figures_say_what_was_written(done: ReconstructionRun) -> None:
    [planted, _] = done.report["works"]
    [passage] = planted["passages"]
    lines = [json.loads(line.partition(" ")[2]) for line in (done.folder / "items.log").read_text().splitlines()]
    text = "".join(line["rows"][0]["text"] for line in lines if line["work"] == 0)
    assert planted["written"] == sum(line["rows"][0]["tokens"] for line in lines if line["work"] == 0)
    assert planted["generated"] == planted["written"]
    work, output = words_of(PLANTED).texts, words_of(text).texts
    place, behind = passage["work"], passage["output"]
    assert passage["words"] == place["words"] == behind["words"] == passage["longest_run"]
    first = place["word"]
    assert work[first : first + place["words"]] == output[behind["word"] : behind["word"] + behind["words"]]
    given = words_of(TOKENIZER.decode(TOKENIZER.encode_batch([PLANTED])[0].ids[:50]))
    assert first == len(given) and planted["help_words"] == len(given)
    start = int(words_of(PLANTED).starts[first])
    assert place["line"] == PLANTED[:start].count("\n") + 1
    assert planted["recall"][0]["words"] == len(work) - len(given)


def test_what_was_given_is_never_counted(tmp_path: Path) -> None:
    """A model that knows nothing is given the work piece by piece: all of it is help."""
    report = wrote(PLANTED[:3000], trained([HELDOUT]), tmp_path, reseeds=100, patience=20, max_tokens=10**6)
    [work] = report["works"]
    assert work["help_share"] > 0.9 and [recall["words"] for recall in work["recall"]] == [0, 0, 0]
    assert report["verdict"] == "inconclusive" and report["exit_code"] == 3
    pieces = [(piece["token"], piece["token"] + piece["tokens"]) for piece in work["given"]]
    assert all(end <= start for (_, end), (start, _) in pairwise(pieces))


def test_a_model_that_repeats_what_it_was_given_has_nothing_back(tmp_path: Path) -> None:
    refrain = prose(40, 5)
    text = "".join(refrain + prose(60, seed) for seed in range(20, 26))
    model = trained([refrain * 3])
    given = len(TOKENIZER.encode_batch([refrain])[0])
    [work] = wrote(text, model, tmp_path, seed_tokens=given, max_tokens=1000)["works"]
    assert work["recall"][-1]["words"] == 0 and work["help_words"] >= 5 * 38


def test_a_hole_is_bridged_by_help_alone(tmp_path: Path) -> None:
    """Of three parts the middle one was never seen: with tokens given there the model finds the third."""
    parts = [prose(400, seed) for seed in (11, 12, 13)]
    model = trained([parts[0], parts[2]], tokenizer=BYTES, order=30)
    alone = wrote("".join(parts), model, tmp_path, patience=200)["works"][0]
    assert 0.25 < alone["recall"][0]["share"] < 0.34
    assert alone["given"][0]["stop"] in ("no new words", "end of the text")
    (tmp_path / "more").mkdir()
    helped = wrote("".join(parts), model, tmp_path / "more", patience=200, reseeds=200)["works"][0]
    assert 0.5 < helped["recall"][0]["share"] < 2 / 3
    assert len(helped["given"]) > 10 and helped["help_tokens"] == 50 * len(helped["given"])
    assert helped["diverged"]["word"] <= 401


def test_a_refrain_makes_the_model_loop_and_the_loop_ends(tmp_path: Path) -> None:
    refrain = prose(120, 3)
    text = refrain + prose(200, 4) + refrain + prose(200, 6)
    report = wrote(text, trained([text], order=5), tmp_path, patience=150, max_tokens=10**7)
    [work] = report["works"]
    assert work["given"][-1]["stop"] in ("no new words", "end of the work", "end of the text")
    assert work["generated"] < 10 * work["tokens"]
    covered = np.zeros(work["words"], int)
    for passage in work["passages"]:
        covered[passage["work"]["word"] : passage["work"]["word"] + passage["work"]["words"]] += 1
    assert covered.max(initial=0) <= 1


def test_a_model_that_ends_the_text_is_asked_no_more(tmp_path: Path) -> None:
    model = trained([PLANTED[:1500]])
    [work] = wrote(PLANTED, model, tmp_path)["works"]
    assert work["given"][0]["stop"] == "end of the text"
    assert work["recall"][0]["words"] > 100 and "<eos>" not in str(work["side_by_side"])


class Silent(NextTokenModel):
    """Ends every text at once."""

    family, tokenizer, parameters = "silent", BYTES, 0

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        rows = np.full((len(prefixes), 259), -np.inf)
        rows[:, 0] = 0
        return rows


def test_a_model_that_says_nothing(tmp_path: Path) -> None:
    report = wrote(PLANTED, Silent(), tmp_path, reseeds=2)
    [work] = report["works"]
    assert [piece["stop"] for piece in work["given"]] == ["end of the text"] * 3
    assert work["written_words"] == 0 and work["generated"] == 3 and report["verdict"] == "inconclusive"


class Recording(NextTokenModel):
    """Knows texts by heart as far as its few positions let it, and notes how much it is given."""

    family, tokenizer, parameters = "recording", BYTES, 0
    context_length = 24

    def __init__(self, text: str) -> None:
        self.text, self.longest = BYTES.encode_batch([text])[0].ids.tobytes(), 0

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        rows = np.full((len(prefixes), 259), -np.inf)
        for row, prefix in zip(rows, prefixes, strict=True):
            self.longest = max(self.longest, len(prefix))
            at = self.text.find(np.asarray(prefix, np.int32).tobytes())
            end = at + 4 * len(prefix)
            following = self.text[end : end + 4] if at >= 0 else b""
            row[int(np.frombuffer(following, np.int32)[0]) if following else 0] = 0
        return rows


def test_a_model_with_fewer_positions_than_are_given(tmp_path: Path) -> None:
    text = " ".join("".join(word) for word in np.random.default_rng(3).choice(list("abcdefghijklmn"), (300, 7)))
    model = Recording(text)
    [work] = wrote(text, model, tmp_path, seed_tokens=60)["works"]
    assert model.longest <= 24 and work["recall"][0]["share"] > 0.95


@pytest.mark.parametrize(
    "alphabet", ["的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生",
                 "กขคฆงจฉชซญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรลวศษสหฬอฮ"], ids=["Han", "Thai"]
)  # fmt: skip
def test_scripts_without_spaces_are_counted_by_their_signs(alphabet: str, tmp_path: Path) -> None:
    text = "".join(np.random.default_rng(4).choice(list(alphabet), 500)) + "\n"
    report = wrote(text, trained([text], tokenizer=BYTES, order=20), tmp_path)
    [work] = report["works"]
    assert work["words"] == 500 and report["verdict"] == "found"
    assert work["recall"][0]["words"] >= 480 - 1 and "\ufffd" not in str(work["side_by_side"])


def test_one_line_of_any_length(tmp_path: Path) -> None:
    line = PLANTED.replace("\n", " ")
    [work] = wrote(line, trained([line]), tmp_path)["works"]
    assert work["lines"] == 1 and work["recall"][0]["share"] > 0.95


def test_a_work_that_has_no_more_than_is_given_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"9 tokens, of which 50 would be given"):
        wrote("abcdefghi", trained([PLANTED], tokenizer=BYTES), tmp_path)
    with pytest.raises(InputError, match="would be given"):
        wrote("." * 200, trained([PLANTED], tokenizer=BYTES), tmp_path)


def test_works_of_one_name_are_told_apart(files: dict[str, Path], tmp_path: Path) -> None:
    for folder, text in (("a", HELDOUT[:900]), ("b", HELDOUT[900:1800])):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "work.txt").write_text(text, encoding="utf-8")
    paths = [tmp_path / folder / "work.txt" for folder in ("a", "b")]
    report = reconstruct(files["model"], *paths, out=tmp_path / "run", formats=[], max_tokens=20).report
    assert [work["name"] for work in report["works"]] == ["work.txt", str(paths[1])]


def test_what_cannot_be_asked_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    for fields, message in [
        ({"attempts": 3}, "greedy decoding writes the same"),
        ({"seed_tokens": 0}, "--seed-tokens must be at least 1"),
        ({"reseeds": -1}, "--reseeds"),
        ({"max_tokens": 0}, "--max-tokens"),
    ]:
        with pytest.raises(InputError, match=message):
            ReconstructionOptions(**fields)
    with pytest.raises(InputError, match="name it once"):
        reconstruct(files["model"], [files["planted"], files["planted"]], out=tmp_path / "twice")
    with pytest.raises(InputError, match="no control of itself"):
        reconstruct(trained([PLANTED]), files["planted"], files["planted"], out=tmp_path / "run")
    with pytest.raises(InputError, match="no work given"):
        reconstruct(trained([PLANTED]), [], out=tmp_path / "run")


def test_a_control_work_that_is_written_too_leaves_it_open(files: dict[str, Path], tmp_path: Path) -> None:
    model = trained([PLANTED, HELDOUT])
    report = reconstruct(model, files["planted"], files["heldout"], out=tmp_path / "run", formats=[]).report
    assert report["verdict"] == "inconclusive" and "control work was written too" in report["reasons"][0]


def test_attempts_are_counted_and_the_best_is_gone_on_with(files: dict[str, Path], tmp_path: Path) -> None:
    model = trained([PLANTED, *[HELDOUT] * 2, prose(900, 9)], order=3)
    run = reconstruct(
        model, files["planted"], out=tmp_path / "run", formats=[], temperature=1.0, attempts=4, max_tokens=500, seed=5
    )
    [work] = run.report["works"]
    probe = work["given"][0]["probe"]
    assert probe["agreeing"][probe["chosen"]] == max(probe["agreeing"]) and len(set(probe["agreeing"])) > 1
    assert work["generated"] == work["written"] + 3 * run.report["piece"]
    again = reconstruct(
        model, files["planted"], out=tmp_path / "again", formats=[], temperature=1.0, attempts=4, max_tokens=500, seed=5
    )
    assert again.report["works"] == run.report["works"]


def test_a_run_that_was_stopped_resumes_to_the_same_bytes(
    done: ReconstructionRun, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write, calls = tmp_path / "run", LocalWriter.write, 0

    def stopping(self: LocalWriter, begun: Begun, tokens: int, attempts: int) -> list[Written]:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return write(self, begun, tokens, attempts)

    def again() -> ReconstructionRun:
        return reconstruct(files["model"], files["planted"], files["heldout"], out=out, name="ngram")

    monkeypatch.setattr(LocalWriter, "write", stopping)
    with pytest.raises(KeyboardInterrupt):
        again()
    again()
    for name in ("items.log", "report.html"):
        assert (out / name).read_bytes() == (done.folder / name).read_bytes()
    asked, _ = calls, again()
    assert calls == asked  # all is in the log


class TextAlone:
    """What a service is like: text in, text out."""

    piece = 40

    def __init__(self, text: str) -> None:
        self.text = text

    def write(self, begun: Begun, tokens: int, attempts: int) -> list[Written]:
        prompt = (begun.given + begun.written)[-100:]
        at = self.text.find(prompt) + len(prompt)
        said = self.text[at : at + 4 * tokens]
        return [Written(said, tokens, not said)] * attempts


def work_of(text: str) -> Work:
    return Work("work", "work.txt", False, text, TOKENIZER.encode_batch([text])[0])


def test_a_writer_of_text_alone_will_do() -> None:
    course = Course(work_of(PLANTED), ReconstructionOptions(max_tokens=10**6), 40)
    writer = TextAlone(PLANTED)
    while (ask := course.next()) is not None:
        rows = writer.write(ask.begun, ask.tokens, ask.attempts)
        course.take(rows, course.choose(rows) if course.stretches[-1].probe is None else None)
    assert course.stretches[0].stop == "end of the work"
    assert course.work.cut(course.stretches[0].given) + course.stretches[0].text == PLANTED


@pytest.mark.parametrize("text", ["naïve – “ ” 漢字 🦔 end", PLANTED[:200]])
def test_pieces_of_text_joined_are_the_text(text: str) -> None:
    ids = BYTES.encode_batch([text])[0].ids
    for size in (1, 2, 3, 7):
        pieces = [text_behind(BYTES, ids[:at], ids[at : at + size]) for at in range(0, len(ids), size)]
        assert "".join(pieces) == text


def test_tokens_and_words_of_a_work_are_told_apart() -> None:
    work = work_of("One two, three.\nFour five six")
    assert work.lines == 2 and len(work.words) == 6
    for first in range(work.tokens):
        for last in range(first + 1, work.tokens + 1):
            text = work.cut(range(first, last))
            start = int(work.encoding.starts[first])
            words = work.words_in(range(first, last))
            spans = [(int(work.words.starts[i]), int(work.words.ends[i])) for i in range(6)]
            assert list(words) == [i for i, (a, b) in enumerate(spans) if a < start + len(text) and b > start]
            inside = any(a < start + len(text) < b for a, b in spans)
            assert work.cuts_word(range(first, last)) == inside
    assert work.place(range(3, 5)) == {"word": 3, "words": 2, "line": 2}
    everything = np.ones(6, bool)
    assert work.tokens_of(everything) == work.tokens and work.tokens_of(~everything) == 0
    assert work.tokens_of(np.arange(6) == 0) == work.token_behind(1)


def test_records_are_works_too(tmp_path: Path) -> None:
    file = tmp_path / "works.jsonl"
    file.write_text("\n".join(json.dumps({"id": f"w{i}", "body": prose(80, i)}) for i in range(3)))
    works, texts, heldout = read_works([str(file)], [], TOKENIZER, "body")
    assert [work.name for work in works] == ["w0", "w1", "w2"] and texts["documents"] == 3
    assert heldout["documents"] == 0


def test_the_page_sets_work_and_output_side_by_side(done: ReconstructionRun) -> None:
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "Found" in page and "<script" not in page and len(page) < MAX_BYTES
    assert page.count('<p class="label">The work</p>') == page.count('<p class="label">What the model wrote</p>') > 0
    copied = re.findall(r"<mark>([^<]*)</mark>", page)
    assert max(len(text.split()) for text in copied) == 250  # the beginning of the long passage, on either side
    assert "words of this passage left out here" in page and "Given: line 1" in page
    assert "not had back" in page  # of the control work


def test_pieces_that_were_given_in_vain_are_counted_on_the_page(tmp_path: Path) -> None:
    file = tmp_path / "work.txt"
    file.write_text(PLANTED[:3000])
    run = reconstruct(trained([HELDOUT]), file, out=tmp_path / "run", reseeds=100, patience=20)
    page, given = (run.folder / "report.html").read_text(), len(run.report["works"][0]["given"])
    assert page.count("Given: line") == 2 and f"{given - 2} more pieces of the work were given here" in page


def test_a_page_of_many_passages_shows_the_longest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aligned, "SHOWN", 5)
    text = "\n".join(prose(150, seed) + f" hole{seed} " * 13 for seed in range(100, 116))
    file = tmp_path / "work.txt"
    file.write_text(text)
    model = trained([re.sub(r"hole\d+ ", "", text)], order=6)
    run = reconstruct(model, file, out=tmp_path / "run", reseeds=100, patience=64, seed_tokens=64)
    page, [work] = (run.folder / "report.html").read_text(), run.report["works"]
    assert len(page) < MAX_BYTES and len(work["passages"]) > 6
    assert len([i for i in work["side_by_side"] if i["kind"] == "passage"]) == 5
    assert f"{len(work['passages']) - 5} passages are not shown here" in page


def test_texts_are_withheld_and_masked(files: dict[str, Path], tmp_path: Path) -> None:
    secret = PLANTED[:3000] + " Write to jane.doe@example.com today. " + PLANTED[3000:]
    file = tmp_path / "secret.txt"
    file.write_text(secret)
    model = trained([secret])

    def written(name: str, shown: Shown) -> tuple[str, str]:
        run = reconstruct(model, file, out=tmp_path / name, shown=shown)
        return (run.folder / "report.html").read_text(), (run.folder / "report.json").read_text()

    page, _ = written("shown", Shown())
    assert PLANTED.split()[100] in page
    for text in written("withheld", Shown(text=False)):
        assert not any(run in text for run in (PLANTED[400:440], PLANTED[60:100], "jane"))
    run = read_finished(tmp_path / "shown")
    item = next(i for i in run.report["works"][0]["side_by_side"] if i["kind"] == "passage")
    item["work_text"] = [["to jane.doe@", False], ["example.com now", True]]  # an address may lie in several pieces
    told, bare, whole = (
        kind_of(run.report).disclosed(run, shown).report["works"][0]["side_by_side"]
        for shown in (Shown(), Shown(text=False), Shown(personal=True))
    )
    place = run.report["works"][0]["side_by_side"].index(item)
    assert told[place]["work_text"] == [("to ••••.•••@", False), ("•••••••.••• now", True)]
    assert bare[place]["work_text"] is None and whole[place] == item


def test_findings_are_the_works_in_question(done: ReconstructionRun) -> None:
    [problem] = KIND.problems(done.report)
    assert problem.level == "error" and str(problem.place).startswith("planted.txt")
    assert problem.properties["longest"] == done.report["works"][0]["recall"][0]["longest"]
    assert KIND.problems({**done.report, "verdict": "inconclusive"}) == []


def test_every_format_is_written(files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = reconstruct(files["model"], files["planted"], out=out, formats=["json", "md", "junit", "sarif"])
    assert "no control work" in done.notice and "no control work was given" in done.report["reasons"][1]
    sarif = json.loads(next(out.glob("*.sarif")).read_text())
    [result] = sarif["runs"][0]["results"]
    assert "planted" in result["message"]["text"]
    print_report(done.shown_report, console())
    assert "<iframe" in done._repr_html_()


def test_the_command(files: dict[str, Path], tmp_path: Path) -> None:
    arguments = [str(files["model"]), "--text", str(files["planted"]), "--heldout", str(files["heldout"])]
    called = CliRunner().invoke(app, ["reconstruct", *arguments, "--out", str(tmp_path / "run"), "--redact"])
    assert called.exit_code == 1, called.output
    assert "FOUND" in called.output and " of planted.txt was had back" in called.output.replace("\n", " ")
    assert PLANTED[60:100] not in (tmp_path / "run" / "report.html").read_text()
    called = CliRunner().invoke(app, ["reconstruct", *arguments[:3], "--out", str(tmp_path / "no"), "--attempts", "2"])
    assert isinstance(called.exception, InputError)
