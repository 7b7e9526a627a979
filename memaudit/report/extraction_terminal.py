"""An extraction audit on a terminal: the verdict first, every metric, the three worst findings; several in a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from memaudit.errors import one_line
from memaudit.report import wording
from memaudit.report.terminal import EXCERPT, STYLES, controls_line, escape, heading, symbol
from memaudit.runs.extraction_report import DoseRate, ExtractionReport, MetricEstimate
from memaudit.runs.parts import Rate
from memaudit.sections import ABOUT_DOCUMENTS
from memaudit.stats import rounding


def print_extraction(report: ExtractionReport, console: Console) -> None:
    """Print a report on one screen: verdict, estimates, controls, the three worst findings."""

    def line(*parts: tuple[str, str]) -> None:
        console.print(Text.assemble(*((escape(text, encoding=console.encoding), style) for text, style in parts)))

    for parts in heading(report, console, "the run was stopped before all windows were scored"):
        line(*parts)
    console.print()
    console.print(_estimates(report["estimates"], console.encoding))
    line((ABOUT_DOCUMENTS.format(units="documents"), "dim"))
    line((controls_line(report["controls"]), ""))
    if chat := report.get("chat"):
        line((wording.chat(chat), ""))
    if unmeasured := [mean for mean in report.get("means", ()) if "reason" in mean]:
        line(("; ".join(f"{mean['label']}: {mean['reason']}" for mean in unmeasured), ""))
    if power := report.get("power", {}).get("verdict_sentence"):
        line((f"power: {power}", "dim"))
    if unasked := [entry for entry in report["windows"]["set_aside"] if entry["reason"] != wording.BEYOND_LIMIT]:
        sides = {"train": "training", "heldout": "held-out"}
        told = (f"{entry['count']:,} {sides[entry['side']]} ({entry['reason']})" for entry in unasked)
        line((f"documents that were not used: {'; '.join(told)}", ""))
    ended = report.get("ended")
    if ended and (ended["train"]["hits"] or ended["heldout"]["hits"]):
        counts = f"{wording.hits(ended['train'])} training, {wording.hits(ended['heldout'])} held-out windows"
        line((f"ended by the model before the end of the window: {counts}", ""))
    elsewhere = report["copies"].get("elsewhere") if "copies" in report else None
    if elsewhere and elsewhere["train"]["hits"]:
        line((f"other continuations found elsewhere in training: {wording.hits(elsewhere['train'])}", ""))
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
        if text := finding.get("text"):
            line(("    " + one_line(" ".join(text.split()), EXCERPT), STYLES["found"]))
    if len(report["findings"]) > 3:
        line((f"  and {len(report['findings']) - 3:,} more findings", "dim"))


def print_demo(reports: Sequence[ExtractionReport], console: Console) -> None:
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
            escape(symbol(r["verdict"], console) + " " + r["verdict"], encoding=encoding),
            STYLES[r["verdict"]],
        )
        for r in reports
    ]
    table.add_section()
    table.add_row(Text("verdict"), *words)
    console.print(table)
    similarity = wording.mean_similarity(reports)
    note = f"reproduced word for word, {similarity}; beneath it the 95% interval; 0 copies: held out"
    console.print(Text(note, "dim"))
    console.print(Text(ABOUT_DOCUMENTS.format(units="documents"), "dim"))


def _estimates(estimates: Sequence[MetricEstimate], encoding: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("metric", overflow="fold")
    for name in ("train", "held-out", "difference, points", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for e in estimates:
        cells = [
            e["label"],
            f"{rounding.percent(e['train']['rate'])} ({_hits(e['train'])})",
            f"{rounding.percent(e['heldout']['rate'])} ({_hits(e['heldout'])})",
            f"{wording.points(e['difference'])} {wording.point_interval(e['difference'])}",
            rounding.p_value(e["p_value"]),
        ]
        table.add_row(*(Text(escape(cell, encoding=encoding), "bold" if e["primary"] else "") for cell in cells))
    return table


def _hits(rate: Rate) -> str:
    return f"{rate['hits']:,}/{rate['n']:,}"


def _dose(dose: DoseRate | None, encoding: str) -> Text:
    if dose is None:
        return Text(escape(rounding.NONE, encoding=encoding))
    above = f"{rounding.percent(dose['rate'])}  {rounding.number(dose['edit_similarity'])}"
    return Text.assemble(
        escape(above, encoding=encoding), "\n", (escape(wording.interval(dose), encoding=encoding), "dim")
    )
