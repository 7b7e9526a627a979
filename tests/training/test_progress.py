from __future__ import annotations

import io

from memaudit.training.progress import BarProgress, LineProgress, SilentProgress, Status, progress_on


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(progress: LineProgress | BarProgress, steps: int, first: int = 1) -> None:
    for step in range(first, steps + 1):
        progress.update(Status(step, steps, 3.25, 41234.5, 61.0 * (steps - step)))
    progress.note("held-out 2.1 bits per byte")
    progress.close()


def test_plain_lines_come_every_tenth() -> None:
    stream = io.StringIO()
    run(LineProgress(stream, "rnn"), 250)
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines[:-1]] == [f"{tenth}%" for tenth in range(10, 101, 10)]
    assert lines[0] == "rnn: 10%  step 25/250  loss 3.250 bits/token  41,234 tokens/s  228:45 left"
    assert lines[-1] == "rnn: held-out 2.1 bits per byte"
    assert "\x1b" not in stream.getvalue()


def test_a_training_of_few_steps_and_a_resumed_one_have_lines_too() -> None:
    stream = io.StringIO()
    run(LineProgress(stream, "gpt"), 3)
    assert [line.split()[1] for line in stream.getvalue().splitlines()[:-1]] == ["33%", "66%", "100%"]
    stream = io.StringIO()
    run(LineProgress(stream, "gpt"), 100, first=57)
    assert [line.split()[1] for line in stream.getvalue().splitlines()[:2]] == ["60%", "70%"]


def test_a_terminal_gets_a_bar_and_no_markup_from_labels() -> None:
    stream = Terminal()
    run(BarProgress(stream, "[/b] gpt [red]"), 20)
    text = stream.getvalue()
    assert "step 20/20" in text
    assert "[/b] gpt [red]: held-out 2.1 bits per byte" in text
    assert "━" in text


def test_the_report_suits_the_stream() -> None:
    assert isinstance(progress_on(Terminal(), "x"), BarProgress)
    assert isinstance(progress_on(io.StringIO(), "x"), LineProgress)
    assert isinstance(progress_on(Terminal(), "x", quiet=True), SilentProgress)
