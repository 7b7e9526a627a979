"""The terminal: the verdict first, one screen, and nothing that a model wrote does anything there."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from memaudit.report.extraction_terminal import print_demo, print_extraction
from memaudit.report.terminal import (
    console,
    escape,
    print_continuations,
    progress_bar,
)

Factory = Callable[..., tuple[dict[str, Any], list[Any]]]


def printed(show: Callable[[Console], None], width: int = 110, terminal: bool = False, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    show(
        Console(
            file=stream,
            width=width,
            force_terminal=terminal,
            highlight=False,
            color_system="truecolor" if terminal else None,
        )
    )
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("verdict", "word"), [("found", "● FOUND"), ("clean", "○ CLEAN"), ("inconclusive", "◐ INCONCLUSIVE")]
)
def test_verdict_comes_first_and_all_fits_one_screen(factory: Factory, verdict: str, word: str) -> None:
    report, _ = factory(verdict=verdict)
    text = printed(lambda c: print_extraction(report, c))
    lines = text.splitlines()
    assert lines[0].startswith(f"{word}  {report['headline']}")
    assert len(lines) <= 24
    for estimate in report["estimates"]:
        row = next(line for line in lines if line.startswith(estimate["label"]))
        assert f"{estimate['train']['hits']}/{estimate['train']['n']}" in row
        assert f"{estimate['heldout']['hits']}/{estimate['heldout']['n']}" in row
        assert "[+" in row
    assert "controls NOT passed: matched held-out text (no domains to match)" in " ".join(text.split())
    assert [f["document"] in text for f in report["findings"][:4]] == [True, True, True, False]
    assert len(re.findall(r"\n    occurs (once|\d+ times) in training, \d+ exact", text)) == 3
    hits, count = (report["copies"]["elsewhere"]["train"][name] for name in ("hits", "n"))
    assert f"other continuations found elsewhere in training: {hits} of {count}" in text
    assert f"power: {report['power']['verdict_sentence']}" in " ".join(text.split())
    assert "\x1b" not in text


def test_a_report_of_before_copies_can_be_printed(factory: Factory) -> None:
    report, _ = factory()
    del report["copies"]
    for finding in report["findings"]:
        del finding["copies_exact"], finding["copies_normalised"]
    assert "in training" not in printed(lambda c: print_extraction(report, c))


def test_incomplete_and_undefined(factory: Factory) -> None:
    report, _ = factory(complete=False, findings=[])
    empty = {"hits": 0, "n": 0, "documents": 0, "rate": None, "low": None, "high": None}
    undefined = report["estimates"][0] | {"train": empty, "difference": None, "p_value": None}
    text = printed(lambda c: print_extraction(report | {"estimates": [undefined]}, c))
    assert "INCOMPLETE" in text
    assert "– (0/0)" in text
    assert "– –" in text


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_hostile_text_does_nothing(factory: Factory, terminal: bool, width: int) -> None:
    made = [factory(name, hostile=True) for name in ("gpt", "rnn")]
    hostile = [(r.document, r.suffix_text) for r in made[0][1][:20]]

    def show(target: Console) -> None:
        for report, _ in made:
            print_extraction(report, target)
        print_demo([report for report, _ in made], target)
        print_continuations("\x1b]0;x\x07[/b]", hostile, target)

    text = printed(show, width, terminal)
    if terminal:  # our own colours, and no other sequence
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    assert r"\x1b]0;" in text.replace("\n", "").replace(" ", "") or width == 40
    assert "[link=" in text or width == 40


def test_escape_shows_every_control() -> None:
    assert escape("a\x1b[0m\x9b\u202e\x07\r\n\ud800é") == r"a\x1b[0m\x9b\u202e\x07\x0d\x0a\ud800é"
    assert escape("é●", encoding="ascii") == r"\xe9\u25cf"
    assert escape("x" * 50, 10) == "x" * 9 + "…"


def test_terminal_without_unicode(factory: Factory) -> None:
    report, _ = factory(headline="é")
    text = printed(lambda c: print_extraction(report, c), encoding="ascii")
    assert text.startswith("> FOUND  \\xe9")
    assert printed(lambda c: print_demo([report], c), encoding="ascii").isascii()


def test_demo_table_fits_eighty_columns(factory: Factory) -> None:
    reports = [factory(name)[0] for name in ("ngram", "rnn", "gpt", "bert")]
    text = printed(lambda c: print_demo(reports, c), width=80)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in text
    assert re.match(r" *copies +n-gram +RNN +GPT +BERT", lines[0])
    for report in reports:
        for dose in report["doses"]:
            assert f"{dose['edit_similarity']:.2f}" in text
    assert [line.split()[0] for line in lines[1:-5:2]] == ["0", "1", "2", "4", "8", "16", "32", "64"]


def test_continuations_stand_side_by_side_or_beneath_each_other() -> None:
    texts = [("a", " upon\n\ta time"), ("b", " more [b]")]
    wide = printed(lambda c: print_continuations("Once", texts, c), 100)
    assert [line.split() for line in wide.splitlines() if line.strip()] == [
        ["a", "b"],
        ["Once", "upon", "Once", "more", "[b]"],
        ["a", "time"],
    ]
    narrow = printed(lambda c: print_continuations("Once", texts, c), 40)
    assert [line.rstrip() for line in narrow.splitlines() if line.strip()] == [
        "a",
        "  Once upon",
        "          a time",
        "b",
        "  Once more [b]",
    ]
    assert printed(lambda c: print_continuations("Once", texts[:1], c), 40).strip() == "Once upon\n        a time"


def test_progress_is_a_line_a_tenth_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("windows") as progress:
        for done in range(1, 1001):
            progress(done, 1000)
    err = capsys.readouterr().err
    assert err.splitlines() == [f"windows: {tenth * 100:,} of 1,000" for tenth in range(1, 11)]
    assert "\x1b" not in err


def test_every_part_of_the_work_shows_its_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Measures count from their own beginnings: a second one is not silent because the first was finished."""
    with progress_bar("pieces") as progress:
        for total in (20, 20, 8, 1):
            for done in range(1, total + 1):
                progress(done, total)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.endswith("of 20")] == [f"pieces: {n} of 20" for n in range(2, 21, 2)] * 2
    assert lines[20:] == [*(f"pieces: {n} of 8" for n in range(1, 9)), "pieces: 1 of 1"]


def test_progress_is_told_every_half_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10**6, 20))
    monkeypatch.setattr("memaudit.report.terminal.monotonic", lambda: next(clock))
    with progress_bar("pieces") as progress:
        for done in range(1, 5):
            progress(done, 1000)
    assert capsys.readouterr().err.splitlines() == ["pieces: 2 of 1,000", "pieces: 4 of 1,000"]


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("windows") as progress:
        progress(5, 10)
    assert "windows" in screen.getvalue()


def test_console_is_plain_and_wide_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    target = console()
    assert target.width == 110
    target.print("[b]x[/b] :smile: 123")
    assert sys.stdout.getvalue() == "[b]x[/b] :smile: 123\n"
