"""Items judged: each by its best part, by our rule and by the published ones."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from memaudit.audit.contamination.benchmark import Benchmark, Item
from memaudit.audit.contamination.layouts import CONTEXT
from memaudit.audit.contamination.matching import Match, Matcher, best_matches
from memaudit.findings import Control
from memaudit.report.wording import counted
from memaudit.text.scan.patterns import SEED, Needle, Patterns, build_patterns
from memaudit.text.scan.result import Scan
from memaudit.text.scan.rules import RULES
from memaudit.text.scan.stream import scan_texts
from memaudit.text.words import words_of

CONTROL_ITEMS = 50
"""Items that are planted to see whether they are found."""

ItemVerdict = Literal["contaminated", "common", "clean", "not judged"]


@dataclass(frozen=True, slots=True)
class JudgedItem:
    """An item with all that was found of it, the likest document first."""

    item: Item
    verdict: ItemVerdict
    matches: list[Match]
    parts: frozenset[str]
    """Parts that were found in some document."""
    rules: dict[str, bool | None]
    """What each published rule says; None where it says nothing about an item so short."""


def judge(benchmark: Benchmark, patterns: Patterns, scan: Scan) -> list[JudgedItem]:
    """Judge every item by its best part, and ask the published rules about the whole of it.

    A passage that questions are asked about (``context``) was public before the benchmark was made: that it
    stands in the corpus is counted, and convicts no item.
    """
    matcher = Matcher(patterns, scan)
    matches: defaultdict[int, list[Match]] = defaultdict(list)
    for candidate in scan.candidates:
        matches[patterns.needles[candidate.needle].item].append(matcher.match(candidate))
    whole = _whole_needles(patterns)
    verdicts = {name: [rule.verdict(patterns, scan, needle)[0] for needle in whole] for name, rule in RULES.items()}
    parts = [needle.part for needle in patterns.needles]
    long_enough = {n.item for i, n in enumerate(patterns.needles) if patterns.length(i) >= SEED and n.part != CONTEXT}
    judged = []
    for number, item in enumerate(benchmark.items):
        found = frozenset(parts[match.needle] for match in matches[number] if match.found)
        best = best_matches(match for match in matches[number] if parts[match.needle] != CONTEXT)
        verdict: ItemVerdict = "clean" if number in long_enough else "not judged"
        if best:
            verdict = "contaminated" if best[0].found else "common" if best[0].common else verdict
        judged.append(JudgedItem(item, verdict, best, found, {name: said[number] for name, said in verdicts.items()}))
    return judged


def needles_of(benchmark: Benchmark) -> list[Needle]:
    """Return what is searched for: every part of every item, by its number from 0."""
    return [
        Needle(number, part, text) for number, item in enumerate(benchmark.items) for part, text in item.parts.items()
    ]


def check_own_items(benchmark: Benchmark) -> Control:
    """Look for items of the benchmark in documents that hold them: what is planted must be found."""
    long_enough = (item for item in benchmark.items if len(words_of(item.whole).texts) >= SEED)
    chosen = list(islice(long_enough, CONTROL_ITEMS))
    missed = []
    for item in chosen:
        patterns = build_patterns([Needle(0, "whole", item.whole)])
        scan = scan_texts([f"Before it. {patterns.needles[0].text}\nAfter it."], patterns, ["control"])
        matcher = Matcher(patterns, scan)
        if not any(matcher.match(candidate).found for candidate in scan.candidates):
            missed.append(item.source)
    name = "finds items that were planted"
    if not chosen:
        return Control(name, None, f"no item has {SEED} words")
    if missed:
        return Control(name, False, f"{len(missed)} of {len(chosen)} were not found, first {missed[0]}")
    found = counted(len(chosen), "item was", "items were")
    return Control(name, True, f"{len(chosen)} of {found} found in documents made of them")


def _whole_needles(patterns: Patterns) -> list[int]:
    """Return for every item the needle of its last part, which joins the others."""
    last: dict[int, int] = {needle.item: place for place, needle in enumerate(patterns.needles)}
    return [last[item] for item in sorted(last)]
