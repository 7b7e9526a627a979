"""Items judged: each by its best part, by our rule and by the published ones."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.benchmark.items import Benchmark, Item
from memaudit.audits.benchmark.layouts import ANSWER, CONTEXT, OFFERED, QUESTION
from memaudit.findings import Control
from memaudit.report.wording import counted
from memaudit.text.corpus.rows import split_place
from memaudit.text.scan.matching import Match, Matcher
from memaudit.text.scan.patterns import SEED, Needle, Patterns, tells_little
from memaudit.text.scan.result import Scan, natural_key
from memaudit.text.scan.rules import RULES
from memaudit.text.scan.stream import scan_texts

CONTROL_ITEMS = 50
"""Items that are planted to see whether they are found."""

ItemVerdict = Literal["contaminated", "clean", "undecided", "not judged"]
Unjudged = Literal["short", "generic"]
"""Why an item cannot be judged: fewer than five words in a row, or none but those that occur everywhere."""


@dataclass(frozen=True, slots=True)
class JudgedItem:
    """An item with all that was found of it, the most similar document first."""

    item: Item
    place: int
    """Of the item in its benchmark, from 0: needles name it so."""
    verdict: ItemVerdict
    unjudged: Unjudged | None
    matches: list[Match]
    parts: frozenset[str]
    """Parts that were found in some document."""
    rules: dict[str, bool | None]
    """What each published rule says; None where it says nothing about an item so short."""
    templated: bool = False
    """Whether so little of it is its own that only the whole of it counts: others fill in its template too."""

    @property
    def most_rules(self) -> bool:
        """Whether two published rules flag the item, and more than half of those that are defined for it."""
        said = [fired for fired in self.rules.values() if fired is not None]
        return sum(said) > max(1, len(said) / 2)


def judge(benchmark: Benchmark, patterns: Patterns, scan: Scan, *, doubted: bool = False) -> list[JudgedItem]:
    """Judge every item by its best part, and ask the published rules about the whole of it.

    A passage that questions are asked about (``context``) was public before the benchmark was made: that it
    occurs in the corpus is counted, and flags no item.

    Args:
        benchmark: The items.
        patterns: Made of them.
        scan: What was found.
        doubted: Whether the search was not whole, so that no item that was not found is clean.
    """
    matcher = Matcher(patterns)
    matches: defaultdict[int, list[Match]] = defaultdict(list)
    for match in scan.matches:
        matches[_item_of(match, patterns)].append(match)
    whole = _whole_needles(patterns)
    verdicts = {name: [rule.verdict(patterns, scan, needle)[0] for needle in whole] for name, rule in RULES.items()}
    parts = [needle.part for needle in patterns.needles]
    templated = {n for n, needle in enumerate(whole) if patterns.exact[needle] and not patterns.generic[needle]}
    long_enough = {n.item for i, n in enumerate(patterns.needles) if patterns.length(i) >= SEED and n.part != CONTEXT}
    judged = []
    for number, item in enumerate(benchmark.items):
        found = frozenset(parts[match.candidate.needle] for match in matches[number] if match.found)
        best = _best_matches(match for match in matches[number] if parts[match.candidate.needle] != CONTEXT)
        unjudged: Unjudged | None = "generic" if matcher.is_generic(whole[number]) else None
        unjudged = unjudged if number in long_enough else "short"
        verdict: ItemVerdict = "not judged" if unjudged else "undecided" if doubted else "clean"
        if best and best[0].found:
            verdict, unjudged = "contaminated", None
        rules = {name: said[number] for name, said in verdicts.items()}
        made = JudgedItem(item, number, verdict, unjudged, best, found, rules, templated=number in templated)
        judged.append(made)
    copies = _copies(judged, patterns)
    doubts = (j.templated and j.most_rules and j.verdict == "clean" for j in judged)
    return [
        dataclasses.replace(made, verdict="undecided")
        if doubt and not _explained(whole[number], copies, patterns, scan)
        else made
        for number, (made, doubt) in enumerate(zip(judged, doubts, strict=True))
    ]


def _copies(judged: Sequence[JudgedItem], patterns: Patterns) -> list[tuple[NDArray[np.int32], set[str]]]:
    """Return the runs of five words of every text that occurs somewhere word for word, and where."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for match in (match for item in judged for match in item.matches if match.found and match.kind != "edited"):
        found[match.candidate.needle].add(match.candidate.source)
    return [(np.unique(patterns.seed_ids(needle)), sources) for needle, sources in found.items()]


def _explained(
    needle: int, copies: Sequence[tuple[NDArray[np.int32], set[str]]], patterns: Patterns, scan: Scan
) -> bool:
    """Return whether every document that holds what a template shares holds another item by it, word for word.

    What else does may be an edited copy, or the template as somebody else filled it in: nobody can tell.
    """
    seeds = np.unique(patterns.seed_ids(needle))
    seeds = seeds[seeds >= 0]
    alike = [sources for theirs, sources in copies if 2 * np.isin(seeds, theirs).sum() >= len(seeds)]
    return int(scan.seed_documents[seeds].max(initial=0)) <= len(set[str]().union(*alike))


def needles_of(benchmark: Benchmark) -> list[Needle]:
    """Return what is searched for: every part of every item, by its number from 0.

    A question is searched for with its choices where it tells too little by itself; else it would be found anyway.
    """
    offering = [number for number, item in enumerate(benchmark.items) if item.offers_choice and OFFERED in item.parts]
    little = tells_little([benchmark.items[number].parts[QUESTION] for number in offering])
    needed = {number for number, generic in zip(offering, little, strict=True) if generic}
    files = {file["path"]: number for number, file in enumerate(benchmark.files)}
    needles = []
    for number, item in enumerate(benchmark.items):
        file = files.get(split_place(item.source)[0], 0)
        last = list(item.parts)[-1]
        for part, text in item.parts.items():
            offered = part == OFFERED and item.offers_choice
            if offered and number not in needed:
                continue
            joined, choice = offered or (part == last and item.joined), part == ANSWER and item.offers_choice
            needles.append(Needle(number, part, text, joined, choice, file, lead=QUESTION if offered else None))
    return needles


def check_own_items(benchmark: Benchmark, patterns: Patterns) -> Control:
    """Look for items of the benchmark in documents that hold them: what is planted must be found."""
    matcher = Matcher(patterns)
    sound = (
        place
        for place, needle in enumerate(_whole_needles(patterns))
        if patterns.length(needle) >= SEED and not matcher.is_generic(needle)
    )
    chosen = {place: benchmark.items[place] for place in islice(sound, CONTROL_ITEMS)}
    documents = [f"Before it. {item.whole}\nAfter it." for item in chosen.values()]
    planted = scan_texts(documents, patterns, [item.source for item in chosen.values()])
    found_in = {(_item_of(match, patterns), match.candidate.source) for match in planted.matches if match.found}
    missed = [item.source for place, item in chosen.items() if (place, item.source) not in found_in]
    name = "finds items that were planted"
    if not chosen:
        return Control(name, None, "no item is long and distinct enough")
    if missed:
        return Control(name, False, f"{len(missed)} of {len(chosen)} were not found, first {missed[0]}")
    found = counted(len(chosen), "item was", "items were")
    return Control(name, True, f"{len(chosen)} of {found} found in documents made of them")


def _item_of(match: Match, patterns: Patterns) -> int:
    return patterns.needles[match.candidate.needle].item


def _best_matches(matches: Iterable[Match]) -> list[Match]:
    """Return the best match of every document, the best document first."""
    best: dict[str, Match] = {}
    for match in matches:
        known = best.get(match.candidate.source)
        if known is None or match.strength > known.strength:
            best[match.candidate.source] = match
    return sorted(
        best.values(),
        key=lambda m: (*(-s for s in m.strength), natural_key(m.candidate.source), m.candidate.source),
    )


def _whole_needles(patterns: Patterns) -> list[int]:
    """Return for every item the needle of its last part, which joins the others."""
    last: dict[int, int] = {needle.item: place for place, needle in enumerate(patterns.needles)}
    return [last[item] for item in sorted(last)]
