"""What a run says on a terminal: the verdict first, on one screen, plain where nobody watches.

Nothing of what a model or a corpus holds is read as markup, and no control character of theirs reaches
the terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from time import monotonic
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from memaudit.errors import one_line
from memaudit.report import wording
from memaudit.sections import ABOUT_DOCUMENTS

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


def print_verdict(report: Mapping[str, Any], console: Console) -> None:
    """Print a report on one screen: verdict, estimates, controls, the three worst findings."""

    def line(*parts: tuple[str, str]) -> None:
        console.print(Text.assemble(*((escape(text, encoding=console.encoding), style) for text, style in parts)))

    for parts in heading(report, console, "the run was stopped before all windows were scored"):
        line(*parts)
    console.print()
    console.print(_estimates(report["estimates"], console.encoding))
    line((ABOUT_DOCUMENTS.format(units="documents"), "dim"))
    line((controls_line(report["controls"]), ""))
    if unmeasured := [mean for mean in report.get("means", ()) if "reason" in mean]:
        reasons = "; ".join(f"{mean['label']}: {mean['reason']}" for mean in unmeasured)
        line((reasons, ""))
    if power := report.get("power", {}).get("verdict_sentence"):
        line((f"power: {power}", "dim"))
    if unasked := [entry for entry in report["windows"]["set_aside"] if entry["reason"] != wording.BEYOND_LIMIT]:
        sides = {"train": "training", "heldout": "held-out"}
        told = (f"{entry['count']:,} {sides[entry['side']]} ({entry['reason']})" for entry in unasked)
        line((f"documents that were not asked: {'; '.join(told)}", ""))
    ended = report.get("ended", {})
    if any(side["hits"] for side in ended.values()):
        counts = f"{wording.hits(ended['train'])} training, {wording.hits(ended['heldout'])} held-out windows"
        line((f"ended by the model before the end of the window: {counts}", ""))
    elsewhere = report.get("copies", {}).get("elsewhere", {}).get("train", {})
    if elsewhere.get("hits"):
        line((f"other continuations that stand elsewhere in training: {wording.hits(elsewhere)}", ""))
    for section in report.get("sections", []):
        line((f"{section['title']}: ", "bold"), (section["summary"], ""))
    for finding in report["findings"][:3]:
        copies = finding.get("copies")
        details = [] if finding["source"] == finding["document"] else [finding["source"]]
        details += [] if copies is None else [f"copies: {copies}"]
        where = finding["document"] + (f" ({', '.join(details)})" if details else "")
        line(("  " + one_line(where, EXCERPT), "bold"))
        if counted := wording.copies(finding.get("copies_exact"), finding.get("copies_normalised")):
            line((f"    {counted}", "dim"))
        if finding.get("text"):
            line(("    " + one_line(" ".join(finding["text"].split()), EXCERPT), STYLES["found"]))
    if len(report["findings"]) > 3:
        line((f"  and {len(report['findings']) - 3:,} more findings", "dim"))


def heading(report: Mapping[str, Any], console: Console, incomplete: str) -> Iterator[list[tuple[str, str]]]:
    """Yield the first lines of any report, each as (text, style): the verdict and why.

    Args:
        report: Of any kind.
        console: Decides whether the verdict's symbol can be shown.
        incomplete: What an incomplete run has not done.
    """
    verdict = report["verdict"]
    word = f"{_symbol(verdict, console)} {wording.VERDICTS[verdict].upper()}"
    yield [(word, STYLES[verdict]), (f"  {report['headline']}", "bold")]
    if not report["complete"]:
        yield [(f"INCOMPLETE: {incomplete}", STYLES["inconclusive"])]
    for reason in report["reasons"]:
        yield [(f"  {reason}", "dim")]


def print_demo(reports: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print the table of copies by models: verbatim rate with its interval, and the mean edit similarity."""
    encoding = console.encoding
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("copies", justify="right", no_wrap=True)
    for report in reports:
        table.add_column(Text(escape(wording.family(report["model"]["family"]), encoding=encoding)), no_wrap=True)
    doses = [{dose["copies"]: dose for dose in report["doses"]} for report in reports]
    for copies in sorted(set().union(*doses)):
        cells = [_dose(known.get(copies), encoding) for known in doses]
        table.add_row(Text(f"{copies:,}"), *cells)
    words = [
        Text(
            escape(_symbol(r["verdict"], console) + " " + r["verdict"], encoding=encoding),
            STYLES[r["verdict"]],
        )
        for r in reports
    ]
    table.add_section()
    table.add_row(Text("verdict"), *words)
    console.print(table)
    note = "recited word for word, mean edit similarity; beneath it the 95% interval; 0 copies: held out"
    console.print(Text(note, "dim"))
    console.print(Text(ABOUT_DOCUMENTS.format(units="documents"), "dim"))


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


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that shows progress on stderr: a bar, or a line every tenth or half minute.

    Work may come in several parts, each counted from its own beginning.
    """
    screen = console(stderr=True)
    if screen.is_terminal:
        columns = TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=screen, transient=True) as bar:
            task = bar.add_task(label)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    shown, before, told = 0, (0, 0), monotonic()

    def plain(done: int, total: int) -> None:
        nonlocal shown, before, told
        if total != before[1] or done <= before[0]:
            shown = 0  # another part
        before = done, total
        tenth = PLAIN_STEPS * done // max(total, 1)
        if tenth > shown or monotonic() - told > PLAIN_SECONDS:
            shown, told = tenth, monotonic()
            with suppress(OSError):  # progress is a courtesy
                print(f"{label}: {done:,} of {total:,}", file=sys.stderr, flush=True)  # noqa: T201

    yield plain


def _estimates(estimates: Sequence[Mapping[str, Any]], encoding: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("metric", overflow="fold")
    for name in ("train", "held-out", "difference, points", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for e in estimates:
        cells = [
            e["label"],
            f"{wording.percent(e['train']['rate'])} ({_hits(e['train'])})",
            f"{wording.percent(e['heldout']['rate'])} ({_hits(e['heldout'])})",
            f"{wording.points(e['difference'])} {wording.point_interval(e['difference'])}",
            wording.p_value(e["p_value"]),
        ]
        table.add_row(*(Text(escape(cell, encoding=encoding), "bold" if e["primary"] else "") for cell in cells))
    return table


def _hits(rate: Mapping[str, Any]) -> str:
    return f"{rate['hits']:,}/{rate['n']:,}"


def controls_line(controls: Sequence[Mapping[str, Any]]) -> str:
    """Return on one line which controls did not pass, or else that all did."""
    missing = [f"{control['name']} ({control['detail']})" for control in controls if not control["passed"]]
    if missing:
        return "controls NOT passed: " + "; ".join(missing)
    passed = [control["name"] for control in controls if control["passed"]]
    return f"controls passed: {', '.join(passed) or 'none'}"


def _dose(dose: Mapping[str, Any] | None, encoding: str) -> Text:
    if dose is None:
        return Text(escape(wording.NONE, encoding=encoding))
    above = f"{wording.percent(dose['rate'])}  {wording.number(dose['edit_similarity'])}"
    return Text.assemble(
        escape(above, encoding=encoding), "\n", (escape(wording.interval(dose), encoding=encoding), "dim")
    )


def _paragraphs(text: str, encoding: str) -> str:
    return "\n".join(escape(line.expandtabs(), encoding=encoding) for line in text.split("\n"))


def _symbol(verdict: str, console: Console) -> str:
    return wording.SYMBOLS[verdict] if console.encoding.lower().startswith("utf") else ">"
