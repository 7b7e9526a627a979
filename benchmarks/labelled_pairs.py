"""Precision and recall of our rule and of every published one on pairs of real texts that were read and labelled.

``benchmarks/labelled/*.jsonl`` names pairs of an item and a document by their rows, with a label each (`RULE.md` says
what the labels mean); the texts are read from the data folder. A pair is judged as a run judges it: the item among all
items of its benchmark, the document as the only one of the corpus. *duplicate* and *same passage* are leaks, *template*
and *generic* are not.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import Report
from labelled.items import OFFERS_CHOICE, read

from memaudit.audits.benchmark.layouts import ANSWER, BOTH, OFFERED, QUESTION
from memaudit.stats import clopper_pearson
from memaudit.text.scan.matching import Match
from memaudit.text.scan.patterns import Needle, Patterns, build_patterns, tells_little
from memaudit.text.scan.rules import RULES
from memaudit.text.scan.stream import scan_texts

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "shared" / "data"
LEAKS = ("duplicate", "same passage")
LABELS = (*LEAKS, "template", "generic")
UNSURE = re.compile(r"border:|paraphrase")
"""How the notes begin of pairs that a careful reader may label otherwise, and of those that share few words."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A labelled pair and what every rule says of it."""

    pair: Mapping[str, Any]
    fired: dict[str, bool]
    """Rule -> whether it convicts the item by this document; ours is ``memaudit``."""
    best: Match | None

    @property
    def leak(self) -> bool:
        return self.pair["label"] in LEAKS


def pairs_in(folder: Path) -> list[dict[str, Any]]:
    """Return all labelled pairs, each with the file that it stands in."""
    files = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) | {"set": file.stem} for file in files for line in file.open(encoding="utf-8")]


def judge(pairs: Iterable[Mapping[str, Any]], data: Path) -> list[Judged]:
    """Judge every pair by every rule."""
    by_benchmark: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for pair in pairs:
        by_benchmark[pair["benchmark"]].append(pair)
    return [judged for name, same in sorted(by_benchmark.items()) for judged in _judge_benchmark(name, same, data)]


def _judge_benchmark(name: str, pairs: list[Mapping[str, Any]], data: Path) -> list[Judged]:
    items = read(name, data)
    numbers = {id: number for number, id in enumerate(items)}
    little = tells_little([parts.get(QUESTION, "") for parts in items.values()])
    patterns = build_patterns(
        [
            needle
            for id, number in numbers.items()
            for needle in needles(number, items[id], name)
            if needle.lead is None or little[number]
        ]
    )
    whole = {needle.item: place for place, needle in enumerate(patterns.needles)}
    corpora: dict[str, dict[int | str, dict[str, str]]] = {}
    judged = []
    for pair in pairs:
        documents = corpora.setdefault(pair["corpus"], read(pair["corpus"], data))
        number = numbers[pair["item"]]
        judged.append(_judge_pair(pair, patterns, number, whole[number], documents[pair["document"]]["document"]))
    return judged


def _judge_pair(pair: Mapping[str, Any], patterns: Patterns, item: int, whole: int, document: str) -> Judged:
    scan = scan_texts([document], patterns, ["document"])
    matches = [m for m in scan.matches if patterns.needles[m.candidate.needle].item == item]
    best = max(matches, key=lambda m: m.strength, default=None)
    fired = {"memaudit": best is not None and best.found}
    fired |= {rule: bool(RULES[rule].verdict(patterns, scan, whole)[0]) for rule in RULES}
    return Judged(pair, fired, best)


def needles(number: int, parts: Mapping[str, str], benchmark: str) -> list[Needle]:
    """Return what is searched for of one item, as a run of the gate would."""
    texts = {part: text for part, text in parts.items() if part != "document" and text.strip()}
    choice = benchmark in OFFERS_CHOICE
    # Each item as a benchmark of its own file: a document of the same set is no item of it here.
    offered = texts.pop(OFFERED, None)
    found = [Needle(number, p, text, choice=choice and p == ANSWER, benchmark=number) for p, text in texts.items()]
    if offered:
        found.append(Needle(number, OFFERED, offered, joined=True, benchmark=number, lead=QUESTION))
    joined = Needle(number, BOTH, "\n".join(texts.values()), joined=True, benchmark=number)
    return [*found, joined] if len(texts) > 1 else found


def table(judged: list[Judged], rules: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return for every rule how many pairs of each label it convicts."""
    return {rule: dict(Counter(j.pair["label"] for j in judged if j.fired[rule])) for rule in rules}


def add_rates(report: Report, name: str, rule: str, judged: list[Judged], goal: float | None) -> None:
    """Add precision and recall of one rule over some pairs."""
    fired = [j for j in judged if j.fired[rule]]
    hits, leaks = sum(j.leak for j in fired), sum(j.leak for j in judged)
    for what, n in (("precision", len(fired)), ("recall", leaks)):
        limits = clopper_pearson(hits, n)
        within = f" [{limits.low:.3f}, {limits.high:.3f}]" if limits else ""
        report.add(
            f"{name}: {rule}, {what}", hits / n if n else 0.0, unit="of 1", goal=goal, note=f"{hits} of {n}{within}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--wrong", action="store_true", help="list the pairs that our rule gets wrong")
    options = parser.parse_args()
    pairs = pairs_in(HERE / "labelled")
    judged = judge(pairs, options.data)
    report = Report("labelled_pairs")
    rules = ["memaudit", *RULES]
    for rule in rules:
        add_rates(report, "all pairs", rule, judged, 0.95 if rule == "memaudit" else None)
    for name in sorted({j.pair["set"] for j in judged}):
        add_rates(report, name, "memaudit", [j for j in judged if j.pair["set"] == name], None)
    sure = [j for j in judged if not UNSURE.match(j.pair.get("note", ""))]
    for rule in rules:
        add_rates(report, "without border cases and paraphrases", rule, sure, None)
    counts = Counter(pair["label"] for pair in pairs)
    for label in LABELS:
        report.add(f"pairs labelled {label}", counts[label], unit="pairs")
        for rule in rules:
            report.add(f"{rule}: convicts {label}", table(judged, [rule])[rule].get(label, 0), unit="pairs")
    report.finish()
    if options.wrong:
        for j in judged:
            if j.fired["memaudit"] != j.leak:
                shown = j.best and (j.best.kind, j.best.why, round(j.best.similarity, 2), round(j.best.coverage, 2))
                print(
                    *(j.pair[k] for k in ("set", "benchmark", "item", "document", "label")),
                    shown,
                    j.pair.get("note", ""),
                )


if __name__ == "__main__":
    main()
