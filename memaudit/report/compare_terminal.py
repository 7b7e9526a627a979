"""A comparison on a terminal: a line a model, and what each reproduces that the one before it does not."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from memaudit.report import wording
from memaudit.report.compare import Comparison
from memaudit.report.endpoint import in_short
from memaudit.report.sections_terminal import drawn_table
from memaudit.report.terminal import STYLES, escape
from memaudit.runs import parts
from memaudit.runs.schema import as_record
from memaudit.sections import ABOUT_DOCUMENTS
from memaudit.stats import rounding


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the rates of all models, then each beside the one before it."""
    encoding = console.encoding
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("model", overflow="fold")
    for name in ("parameters", "train", "held-out", "difference, points"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for c in comparison.contenders:
        sides = c.primary["train"], c.primary["heldout"]
        cells = [
            c.name,
            rounding.number(c.report["model"]["parameters"]),
            *(f"{rounding.percent(side['rate'])} {wording.interval(side)}" for side in sides),
            f"{wording.points(c.primary['difference'])} {wording.point_interval(c.primary['difference'])}",
        ]
        verdict = c.report["verdict"]
        table.add_row(*(Text(escape(cell, encoding=encoding)) for cell in cells), Text(verdict, STYLES[verdict]))
    console.print(table)
    for c in comparison.contenders:
        if told := in_short(c.report["model"]):
            console.print(Text(escape(f"{c.name}: {told}", encoding=encoding), "dim"))
    console.print(Text(ABOUT_DOCUMENTS.format(units="documents"), "dim"))
    console.print()
    if comparison.replicates:
        console.print(Text(escape(f"{comparison.replicates.caption}:", encoding=encoding), "dim"))
        console.print(drawn_table(as_record(comparison.replicates, parts.Table), encoding))
        console.print()
    if comparison.sentence:
        console.print(Text(escape(comparison.sentence, encoding=encoding)))
        console.print()
    for pair in comparison.pairs:
        alone = f"{pair.first} {pair.only_first:,}, {pair.second} {pair.only_second:,}"
        line = f"windows that one of two alone reproduces: {alone} (p = {rounding.p_value(pair.p_value)})"
        console.print(Text(escape(line, encoding=encoding), "dim"))
