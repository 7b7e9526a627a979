"""A contamination check on a terminal: the verdict first, every rule, the ten worst items.

No control character of a benchmark or a corpus reaches the terminal, and no text of theirs is read as a
command by a continuous integration that watches the output: ours stands first on every line.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from memaudit.errors import one_line
from memaudit.report import wording
from memaudit.report.contamination_wording import MATCHES, and_others, spared_words, worst_first
from memaudit.report.terminal import EXCERPT, STYLES, controls_line, escape, heading
from memaudit.runs.contamination_report import ContaminationReport, ItemFinding, RuleEstimate
from memaudit.sections import ABOUT_DOCUMENTS
from memaudit.stats import rounding

WORST = 10


def print_contamination(report: ContaminationReport, console: Console) -> None:
    """Print a report on one screen: verdict, rules, what was not judged, the ten worst items."""

    def line(*parts: tuple[str, str]) -> None:
        text = Text.assemble(*((_harmless(text, console.encoding), style) for text, style in parts))
        # A log is never folded: a text of theirs would then begin a line.
        console.print(text, soft_wrap=not console.is_terminal)

    for parts in heading(report, console, "only a share of the corpus was read"):
        line(*parts)
    for text in report["limits"][:1]:
        line((f"  {one_line(text)}", "" if report["verdict"] == "clean" else "dim"))
    console.print()
    console.print(_rules(report["estimates"], console.encoding))
    console.print()
    line((controls_line(report["controls"]), ""))
    for text in _asides(report):
        line((text, "dim"))
    for model in report["scores"] or []:
        line((one_line(model["sentence"]), ""))
    if report["scores"]:
        line((ABOUT_DOCUMENTS.format(units="items"), "dim"))
    new = [finding for finding in worst_first(report["findings"]) if not finding["accepted"]]
    if new:
        console.print()
    for finding in new[:WORST]:
        for parts in _finding(finding):
            line(*parts)
    if len(new) > WORST:
        line((f"  and {wording.counted(len(new) - WORST, 'more contaminated item')}", "dim"))


def _rules(estimates: Sequence[RuleEstimate], encoding: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("rule", overflow="fold")
    for name in ("contaminated", "rate", "undefined"):
        table.add_column(name, justify="right", no_wrap=True)
    for e in estimates:
        cells = [
            e["label"],
            wording.hits(e),
            rounding.percent(e["rate"]),
            f"{e['undefined']:,}" if e["undefined"] else "",
        ]
        table.add_row(*(Text(_harmless(cell, encoding), "bold" if e["primary"] else "") for cell in cells))
    return table


def _asides(report: ContaminationReport) -> list[str]:
    """Return the classes of rules that have more than two, what was left out of the count, and why."""
    benchmark, corpus, baseline = report["benchmark"], report["corpus"], report["baseline"]
    counted = wording.counted
    lines = [f"{e['label']}: {wording.classes(e)}" for e in report["estimates"] if e["classes"]]
    lines += [f"not judged: {counted(entry['count'], 'item')}, {entry['reason']}" for entry in benchmark["not_judged"]]
    for name, side in (("benchmark", benchmark), ("corpus", corpus)):
        if side.get("empty"):
            lines.append(f"empty in the {name}: {counted(side['empty'], 'record')} without text")
        if side["rejected"]:
            lines.append(
                f"skipped in the {name}: {counted(side['rejected'], 'record')}, first {side['first_rejected'][0]}"
            )
    if spared := spared_words(report):
        first = report["spared"][0]
        lines.append(f"not counted: {spared}, first {first['source']}: {first['reason']}")
    if baseline:
        stale = counted(baseline["stale"], "of its entries matches", "of its entries match")
        accepted = f"{counted(baseline['accepted'], 'finding')} accepted"
        lines.append(f"baseline {baseline['path']}: {accepted}{f'; {stale} nothing' if baseline['stale'] else ''}")
    return lines


def _finding(finding: ItemFinding) -> list[list[tuple[str, str]]]:
    """Return what is said of an item, as lines of (text, style)."""
    evidence = finding["evidence"][0]
    measures = f"{finding['part']}, {MATCHES[finding['match']]}, similarity {rounding.percent(finding['score'])}"
    where = f"{finding['source']} occurs in {evidence['source']}{and_others(finding)}"
    lines = [
        [(f"  {one_line(str(finding['item']), EXCERPT)}", "bold"), (f"  {measures}", "")],
        [(f"    {where}", "")],
    ]
    if copied := max((text for text, marked in evidence["item_pieces"] or [] if marked), key=len, default=""):
        lines.append([(f"    > {one_line(' '.join(copied.split()), EXCERPT)}", STYLES["found"])])
    return lines


def _harmless(text: str, encoding: str) -> str:
    """Return a text that does nothing to a terminal, nor to a log that is read for ``##[commands]``."""
    return escape(text, encoding=encoding).replace("##[", r"#\x23[")
