"""What a corpus index says on a terminal: the statistics of a corpus, the traces of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from memaudit.report.terminal import escape
from memaudit.report.wording import between
from memaudit.stats.rounding import NONE, number, percent, significant

SHOWN = 5
"""Domains, groups of duplicates and repeated spans that are shown."""
EXCERPT = 96
PASSAGE = 400
"""Characters of a repeated span, and of a traced one."""


def print_statistics(statistics: Mapping[str, Any], console: Console) -> None:
    """Print the statistics of an index, as `memaudit.text.index.statistics` gives them."""
    unit, duplicates = statistics["unit"], statistics["duplicates"]
    _line(
        console,
        f"{_count(statistics['symbols'], unit)}, {statistics['distinct_symbols']:,} distinct, of "
        f"{_count(statistics['documents'], 'document')} in {_count(statistics['shards'], 'shard')}",
        "bold",
    )
    copies = f"{_count(duplicates['documents'], 'document')} ({_count(duplicates['symbols'], unit)})"
    without = f"; {_count(duplicates['empty'], 'document')} without a {unit}" if duplicates["empty"] else ""
    _line(console, f"{copies if duplicates['documents'] else 'no document'} equal to an earlier one{without}")
    if len(statistics["domains"]) > 1:
        rows = [
            [d["domain"] or NONE, number(d["documents"]), number(d["symbols"]), percent(d["share"])]
            for d in statistics["domains"][: 2 * SHOWN]
        ]
        _table(console, ["domain", "documents", f"{unit}s", "share"], rows)
    classes = [between(cell["least"], cell["most"]) for cell in statistics["repeated"][0]["copies"]]
    rows = [
        [f"at least {row['length']}", number(row["symbols"]), percent(row["share"])]
        + [number(cell["spans"]) for cell in row["copies"]]
        for row in statistics["repeated"]
    ]
    _table(console, ["repeated span", f"{unit}s", "share", *(f"×{copies}" for copies in classes)], rows)
    note = "×: different spans of exactly this length, by their copies"
    if statistics["shards"] > 1:
        note += "; repeats are found within each shard and added up"
    _line(console, note, "dim")
    console.print()
    for span in statistics["spans"][:SHOWN]:
        times = f"{_count(span['count'], 'time')} in {_count(span['documents'], 'document')}"
        _line(console, f"{times}, {_count(span['symbols'], unit)}, as in {span['sources'][0]}", "bold")
        _line(console, "  " + _excerpt(span["text"], EXCERPT))
    if len(statistics["spans"]) > SHOWN:
        _line(console, f"and {len(statistics['spans']) - SHOWN} more repeated spans (--out shows them)", "dim")


def print_trace(found: Mapping[str, Any], console: Console) -> None:
    """Print where a text occurs, as `memaudit.text.index.trace` gives it."""
    spans, words, covered = found["spans"], found["words"], found["covered_words"]
    least = f"spans of at least {_count(found['min_words'], 'word')}"
    share = percent(covered / words)
    _line(console, f"{covered:,} of {_count(words, 'word')} ({share}) occur in the corpus, in {least}", "bold")
    shown = 0
    for passage in found["passages"]:
        console.print()
        _line(console, _excerpt(passage["text"], PASSAGE))
        for span in passage["spans"]:
            shown += 1
            _span(passage, span, console)
    if spans > shown:
        console.print()
        _line(console, f"and {_count(spans - shown, 'less rare span')} (--limit shows more)", "dim")


def _span(passage: Mapping[str, Any], span: Mapping[str, Any], console: Console) -> None:
    times = f"{_count(span['count'], 'time')} in {_count(span['documents'], 'document')}"
    _line(console, f"  {times} · {_count(span['words'], 'word')} · rarity {significant(span['rarity'])}", "bold")
    if len(passage["spans"]) > 1:
        text = passage["text"][span["start"] - passage["start"] : span["end"] - passage["start"]]
        _line(console, "  " + _excerpt(text, EXCERPT))
    for place in span["sources"]:
        domain = f" ({place['domain']})" if place["domain"] else ""
        _line(console, f"    {place['source']}{domain}, characters {place['start']:,} to {place['end']:,}", "dim")
    more = span["documents"] - len(span["sources"])
    if more:
        _line(console, f"    and {_count(more, 'more document')}", "dim")


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(Text(escape(text, encoding=console.encoding), style), soft_wrap=True)


def _table(console: Console, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for i, name in enumerate(names):
        shown = Text(escape(name, encoding=console.encoding))
        table.add_column(shown, justify="right" if i else "left", no_wrap=bool(i), overflow="fold")
    for row in rows:
        table.add_row(*(Text(escape(cell, encoding=console.encoding)) for cell in row))
    console.print()
    console.print(table)


def _excerpt(text: str, limit: int) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= limit else joined[: limit - 1] + "…"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
