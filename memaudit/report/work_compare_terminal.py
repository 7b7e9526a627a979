"""A comparison over whole works on a terminal: a line a work and model, then what one has that the other lacks."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from memaudit.report.endpoint import in_short
from memaudit.report.terminal import STYLES, escape
from memaudit.report.work_compare import OTHER_WINDOWS, WorksComparison


def print_works(comparison: WorksComparison, console: Console) -> None:
    """Print the grid, then every model beside the one before it, work by work."""
    encoding = console.encoding
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("work", "model"):
        table.add_column(name, overflow="fold")
    heads = [f"p >= {comparison.threshold}", *([f"p >= {comparison.beside}"] if comparison.beside else [])]
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in comparison.grid:
        title = f"{row.name} (control)" if row.control else row.name
        for number, (contender, cell) in enumerate(zip(comparison.contenders, row.cells, strict=True)):
            cells = [title if number == 0 else "", contender.name, cell.at, cell.beside][: 2 + len(heads)]
            verdict = contender.report["verdict"]
            shown = Text("") if row.control else Text(verdict, STYLES[verdict])
            table.add_row(*(Text(escape(each, encoding=encoding)) for each in cells), shown)
    console.print(table)
    for contender in comparison.contenders:
        if told := in_short(contender.report["model"]):
            console.print(Text(escape(f"{contender.name}: {told}", encoding=encoding), "dim"))
    console.print()
    if comparison.other_windows:
        console.print(Text(OTHER_WINDOWS, "dim"))
    for apart in comparison.apart:
        console.print(Text(escape(f"{apart.work}: {apart.sentence}", encoding=encoding), "dim"))
