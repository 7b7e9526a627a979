"""A run on a terminal: the verdict first, on one screen, plain where the output is no terminal.

Nothing of what a model or a corpus holds is read as markup, and no control character of theirs reaches
the terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from time import monotonic

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from memaudit.errors import one_line
from memaudit.report import wording
from memaudit.runs.parts import Control
from memaudit.runs.reports import VerdictReport
from memaudit.stats.rounding import duration

STYLES = {
    "found": "bold red",
    "clean": "bold green",
    "no-evidence": "bold",
    "inconclusive": "bold yellow",
    "confounded": "bold yellow",
}
EXCERPT = 72
"""Characters of a finding that are shown."""
PLAIN_WIDTH = 110
"""Columns where the output is no terminal."""
NARROWEST_COLUMN = 34
PLAIN_STEPS, PLAIN_SECONDS = 10, 30
"""Lines of progress where the output is no terminal."""


def console(*, stderr: bool = False) -> Console:
    """Return a console that colours nothing by itself and keeps tables whole in files."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        width=None if stream.isatty() else PLAIN_WIDTH,
    )


def escape(text: str, limit: int = sys.maxsize, encoding: str = "utf-8") -> str:
    r"""Return a text that does nothing to a terminal: controls and bidirectional marks as ``\x1b``.

    Args:
        text: Any text; it becomes one line.
        limit: Most characters of the result.
        encoding: What the terminal can show; the rest is written as ``\u2026``.
    """
    return one_line(text, limit).encode(encoding, "backslashreplace").decode(encoding)


def heading(report: VerdictReport, console: Console, incomplete: str) -> Iterator[list[tuple[str, str]]]:
    """Yield the first lines of any report, each as (text, style): the verdict and why.

    Args:
        report: Of any kind.
        console: Decides whether the verdict's symbol can be shown.
        incomplete: What an incomplete run has not done.
    """
    verdict = report["verdict"]
    word = f"{symbol(verdict, console)} {wording.VERDICTS[verdict].upper()}"
    yield [(word, STYLES[verdict]), (f"  {report['headline']}", "bold")]
    if not report["complete"]:
        yield [(f"INCOMPLETE: {incomplete}", STYLES["inconclusive"])]
    for reason in report["reasons"]:
        yield [(f"  {reason}", "dim")]


def print_continuations(prompt: str, texts: Sequence[tuple[str, str]], console: Console) -> None:
    """Print what each model makes of the same prompt, side by side where the terminal is wide enough.

    Args:
        prompt: Shown before every continuation.
        texts: (name of the model, its continuation), in order.
        console: Where to.
    """
    names = [Text(escape(name, encoding=console.encoding), "bold") for name, _ in texts]
    shown = [
        Text(_paragraphs(prompt, console.encoding), "dim").append(_paragraphs(text, console.encoding), "not dim")
        for _, text in texts
    ]
    if len(texts) == 1:
        console.print(shown[0])
    elif console.width >= NARROWEST_COLUMN * len(texts):
        table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="")
        for name in names:
            table.add_column(name, ratio=1)
        table.add_row(*shown)
        console.print(table)
    else:
        for name, text in zip(names, shown, strict=True):
            console.print(name, Padding(text, (0, 0, 1, 2)), sep="\n")


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Print to somebody who may have seen enough (``head``, a pager): a closed pipe changes no outcome."""
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich turns the first into the second, with 1: a verdict of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@cache
def announce_compilation() -> None:
    """Have the first compilation of a kernel explained on stderr: it takes seconds, once after installation."""
    from numba.core import event

    class Announcement(event.Listener):
        said = False

        def on_start(self, _: object) -> None:
            if not self.said:
                self.said = True
                with suppress(OSError):
                    print("memaudit: compiling kernels, once after installation", file=sys.stderr, flush=True)  # noqa: T201

        def on_end(self, _: object) -> None:
            pass

    event.register("numba:compile", Announcement())  # type: ignore[no-untyped-call]


class _Beside(ProgressColumn):
    """What stands behind a bar, and changes by itself."""

    def __init__(self, told: Callable[[], str]) -> None:
        super().__init__()
        self.told = told

    def render(self, task: Task) -> Text:  # noqa: ARG002 (the same for all)
        return Text(escape(self.told()), "dim")


@contextmanager
def progress_bar(label: str, beside: Callable[[], str] = lambda: "") -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that shows progress on stderr: a bar, or a line every tenth or half minute.

    What is counted may come in several parts, each from its own beginning.

    Args:
        label: What is counted.
        beside: Returns what else is to be shown, as it is by then: what was asked, and what it cost.
    """
    screen = console(stderr=True)
    if screen.is_terminal:
        columns = TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), _Beside(beside)
        with Progress(*columns, console=screen, transient=True) as bar:
            task = bar.add_task(label)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    shown, before, told = 0, (0, 0), monotonic()
    begun = told, 0

    def more(done: int, total: int) -> str:
        cost, since, first = beside(), *begun
        if not cost:
            return ""
        left = (monotonic() - since) * (total - done) / (done - first) if done > first else None
        return f"; {cost}" + ("" if left is None else f"; about {duration(left)} left")

    def plain(done: int, total: int) -> None:
        nonlocal shown, before, told, begun
        if total != before[1] or done <= before[0]:
            shown = 0  # another part
            begun = (monotonic(), done) if before[1] else begun
        before = done, total
        tenth = PLAIN_STEPS * done // max(total, 1)
        if tenth > shown or monotonic() - told > PLAIN_SECONDS:
            shown, told = tenth, monotonic()
            with suppress(OSError):  # progress is a courtesy
                print(f"{label}: {done:,} of {total:,}{more(done, total)}", file=sys.stderr, flush=True)  # noqa: T201

    yield plain


def controls_line(controls: Sequence[Control]) -> str:
    """Return on one line which controls did not pass, or else that all did."""
    missing = [f"{control['name']} ({control['detail']})" for control in controls if not control["passed"]]
    if missing:
        return "controls NOT passed: " + "; ".join(missing)
    passed = [control["name"] for control in controls if control["passed"]]
    return f"controls passed: {', '.join(passed) or 'none'}"


def _paragraphs(text: str, encoding: str) -> str:
    return "\n".join(escape(line.expandtabs(), encoding=encoding) for line in text.split("\n"))


def symbol(verdict: str, console: Console) -> str:
    """Return the sign of a verdict, or a plain one where the terminal cannot show it."""
    return wording.SYMBOLS[verdict] if console.encoding.lower().startswith("utf") else ">"
