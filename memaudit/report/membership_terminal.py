"""A membership run on a terminal: the verdict first, every detector, a line a section."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from memaudit.report.terminal import controls_line, escape, heading
from memaudit.runs.reports import MembershipReport
from memaudit.stats import rounding
from memaudit.stats.rounding import auc


def print_membership(report: MembershipReport, console: Console) -> None:
    """Print a membership run on one screen: verdict, detectors, a line a section, what it does not show."""
    encoding = console.encoding

    def line(*parts: tuple[str, str]) -> None:
        console.print(Text.assemble(*((escape(text, encoding=encoding), style) for text, style in parts)))

    for parts in heading(report, console, "the run was stopped before all was measured"):
        line(*parts)
    console.print()
    console.print(_detectors(report, encoding))
    console.print()
    line((controls_line(report["controls"]), ""))
    line((f"power: {report['power']['sentence']}", "dim"))
    for section in report["sections"][1:]:
        line((f"{section['title']}: ", "bold"), (section["summary"], ""))
    for limit in report["limits"]:
        line((limit, "dim"))


def _detectors(report: MembershipReport, encoding: str) -> Table:
    """Return a row for every declared detector, the primary one in bold."""
    drawn = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for label in ("detector", "effect"):
        drawn.add_column(label, overflow="fold")
    for label in ("size", "95% interval", "p", "p, Holm"):
        drawn.add_column(label, justify="right", no_wrap=True)
    drawn.add_column("admissible", no_wrap=True)
    for d in report["detections"]:
        effect = d["effect"]
        size = auc if effect["name"] == "AUC" else rounding.effect
        limits = None if effect["low"] is None else f"[{size(effect['low'])}, {size(effect['high'])}]"
        cells = [
            d["label"],
            effect["name"],
            size(effect["estimate"]),
            limits or rounding.NONE,
            rounding.p_value(d["p_value"]),
            rounding.p_value(d["p_holm"]),
            "yes" if d["speaks"] else "no",
        ]
        style = "bold" if d["name"] == report["primary"] else ""
        drawn.add_row(*(Text(escape(cell, encoding=encoding), style) for cell in cells))
    return drawn
