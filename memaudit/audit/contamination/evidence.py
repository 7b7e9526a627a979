"""From one finished scan to a report: counts by every rule, findings with their evidence, and the verdict.

A pure function of benchmark, patterns and scan: the same for any number of files, processes and shares.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import memaudit.stats as stats
from memaudit.audit.contamination.benchmark import Benchmark
from memaudit.audit.contamination.judgement import JudgedItem, check_own_items, judge
from memaudit.audit.contamination.layouts import ALL, BOTH, CONTEXT
from memaudit.audit.contamination.matching import (
    COMMON_SHARE,
    FEWEST_FUZZY_WORDS,
    MIN_COVERAGE,
    MIN_SIMILARITY,
    Match,
    mark_copied,
)
from memaudit.audit.contamination.scores import compare_scores, read_scores
from memaudit.baseline import read_baseline
from memaudit.errors import InputError, one_line
from memaudit.findings import EXIT_CODES, Control, Decision, ItemPolicy, decide_items, fingerprint
from memaudit.provenance import provenance_of
from memaudit.report.wording import counted
from memaudit.text.scan.patterns import SEED, Patterns
from memaudit.text.scan.result import Scan
from memaudit.text.scan.rules import RULES

SHOWN_DOCUMENTS = 3
"""Documents that a finding shows side by side."""
SHOWN_COMMON = 20
MAX_UNJUDGED = 0.5
"""Where more of the items than this are too short to judge, nothing was shown about the benchmark."""
_CUTS = {"line": re.compile(r"\n"), "paragraph": re.compile(r"\n\s*\n"), "block": re.compile(r"\n\s*\n")}
"""Where a text may be cut that is not searched whole."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What findings are judged by; none of it changes what is searched for."""

    max_items: int | None = 0
    max_rate: float | None = None
    baseline: str | None = None
    """File of accepted findings."""
    scores: tuple[str, ...] = ()
    """Files that say which items a model answers correctly."""
    redact: bool = False
    """Whether texts of benchmark and corpus are left out of every output."""

    def __post_init__(self) -> None:
        if self.max_items is not None and self.max_items < 0:
            raise InputError(f"max_items must be at least 0, not {self.max_items}")
        if self.max_rate is not None and not 0 <= self.max_rate <= 1:
            raise InputError(f"max_rate must lie in [0, 1], not {self.max_rate}")


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """What was found out about one item: one line of items.jsonl."""

    item: str
    number: int
    source: str
    verdict: str
    """``contaminated``, ``common`` (only text that stands in many documents), ``clean`` or ``not judged``."""
    part: str | None
    match: str | None
    similarity: float | None
    coverage: float | None
    documents: int | None
    evidence: str | None
    """Place of the likest document."""
    rules: list[str]
    """Published rules that call the item contaminated."""


def conclude(
    plan: Mapping[str, Any],
    benchmark: Benchmark,
    patterns: Patterns,
    scan: Scan,
    *,
    complete: bool,
    judgement: Judgement,
) -> tuple[dict[str, Any], list[ItemRecord]]:
    """Return what report.json holds, and one record per item.

    Args:
        plan: The run's plan.
        benchmark: The items.
        patterns: Made of the items.
        scan: What was found in all files that were read.
        complete: Whether these are all files of the plan.
        judgement: Policy, baseline, scores.
    """
    if judgement.redact:
        benchmark = dataclasses.replace(benchmark, first_rejected=_places(benchmark.first_rejected))
        scan = dataclasses.replace(scan, first_rejected=_places(scan.first_rejected))
    items = judge(benchmark, patterns, scan)
    controls = [check_own_items(benchmark)]
    contaminated = [item for item in items if item.verdict == "contaminated"]
    common = [item for item in items if item.verdict == "common"]
    judged = [item for item in items if item.verdict != "not judged"]
    accepted = read_baseline(judgement.baseline) if judgement.baseline else set()
    findings = [_finding(item, patterns, scan, accepted, judgement.redact) for item in contaminated]
    new = [finding for finding in findings if not finding["accepted"]]
    policy = ItemPolicy(judgement.max_items, judgement.max_rate)
    decision = _decide(len(new), len(judged), policy, _doubts(items, benchmark, patterns, scan, controls), complete)
    report = {
        "schema_version": 1,
        "kind": "contamination",
        "complete": complete,
        "verdict": decision.verdict,
        "exit_code": decision.exit_code,
        "headline": _headline(plan, len(findings), len(new), len(judged), scan.documents),
        "reasons": decision.reasons,
        "policy": dataclasses.asdict(policy),
        "benchmark": _describe_benchmark(benchmark, items),
        "corpus": _describe_corpus(plan, scan),
        "estimates": _estimates(items),
        "parts": _parts(items, patterns),
        "findings": findings,
        "common": [_finding(item, patterns, scan, set(), judgement.redact) for item in common[:SHOWN_COMMON]],
        "common_count": len(common),
        "groups": len({finding["evidence"][0]["source"] for finding in findings}),
        "scores": _scores(judgement, benchmark, judged, contaminated, plan["options"]["id_field"]),
        "baseline": _baseline(judgement, findings, accepted),
        "controls": [dataclasses.asdict(control) for control in controls],
        "limits": _limits(items, plan) + ([f"{benchmark.notice}."] if benchmark.notice else []),
        "options": plan["options"],
        "provenance": provenance_of(plan),
    }
    return report, [_record(item, patterns) for item in items]


def _places(rejected: Sequence[str]) -> list[str]:
    """Return where records were rejected without why: reasons may quote them."""
    return [entry.partition(": ")[0] for entry in rejected]


def _decide(new: int, judged: int, policy: ItemPolicy, doubts: list[str], complete: bool) -> Decision:
    if complete:
        return decide_items(new, judged, policy, doubts)
    partial = "only a share of the corpus was read: merge the other shares, or run the same command without --shard"
    return Decision("inconclusive", EXIT_CODES["inconclusive"], [partial, *doubts])


def _doubts(
    items: Sequence[JudgedItem], benchmark: Benchmark, patterns: Patterns, scan: Scan, controls: Sequence[Control]
) -> list[str]:
    """Say why *clean* would claim more than was looked at."""
    doubts = [f"the control '{c.name}' did not pass: {c.detail}" for c in controls if not c.passed]
    if benchmark.rejected:
        skipped = counted(benchmark.rejected, "record of the benchmark was", "records of the benchmark were")
        doubts.append(f"{skipped} skipped, first {benchmark.first_rejected[0]}")
    if scan.rejected:
        skipped = counted(scan.rejected, "record of the corpus was", "records of the corpus were")
        doubts.append(f"{skipped} skipped, first {scan.first_rejected[0]}")
    missed = sum(
        scan.longest[place] == patterns.length(place) >= SEED and items[needle.item].verdict == "clean"
        for place, needle in enumerate(patterns.needles)
        if needle.part != CONTEXT
    )
    if missed:
        stand = counted(missed, "text stands", "texts stand")
        doubts.append(f"{stand} whole in a document that was not kept: too many hold pieces of the same words")
    doubts += _everywhere(items, patterns, scan)
    if not scan.documents:
        doubts.append("no document of the corpus was read")
    unjudged = sum(item.verdict == "not judged" for item in items)
    if unjudged + benchmark.empty > MAX_UNJUDGED * (len(items) + benchmark.empty):
        of = f"{unjudged:,} of {counted(len(items), 'item has', 'items have')}"
        doubts.append(f"{of} fewer than {SEED} words, too few to judge")
    return doubts


def _everywhere(items: Sequence[JudgedItem], patterns: Patterns, scan: Scan) -> list[str]:
    """Say which items stand whole in so many documents that all of their words are common text.

    A sentence that is a part of an item is boilerplate there; a whole item may be, or the corpus is full of it.
    """
    last = {needle.item: place for place, needle in enumerate(patterns.needles)}
    whole = [
        (items[number], int(scan.seed_documents[patterns.distinct_seeds(place)].min()))
        for number, place in last.items()
        if items[number].verdict == "common" and scan.longest[place] == patterns.length(place) >= FEWEST_FUZZY_WORDS
    ]
    if not whole:
        return []
    first, documents = whole[0]
    stand = counted(len(whole), "item stands", "items stand")
    return [
        f"{stand} whole in so many documents that it counts as common text, first {first.item.source}: {documents:,}"
    ]


def _headline(plan: Mapping[str, Any], found: int, new: int, judged: int, documents: int) -> str:
    where = ", ".join(plan["corpus"]["specs"] or [index["path"] for index in plan["corpus"]["indices"]])
    accepted = f", {found - new:,} of them accepted by the baseline" if found > new else ""
    stand = counted(judged, "item stands", "items stand")
    return f"{found:,} of {stand} in {one_line(where, 80)} ({counted(documents, 'document')}){accepted}"


def _describe_benchmark(benchmark: Benchmark, items: Sequence[JudgedItem]) -> dict[str, Any]:
    unjudged = sum(item.verdict == "not judged" for item in items)
    reason = f"fewer than {SEED} words in every part"
    return {
        "files": benchmark.files,
        "layout": benchmark.layout,
        "fields": benchmark.fields,
        "items": len(items),
        "judged": len(items) - unjudged,
        "not_judged": [{"reason": reason, "count": unjudged}] if unjudged else [],
        "empty": benchmark.empty,
        "rejected": benchmark.rejected,
        "first_rejected": benchmark.first_rejected,
    }


def _describe_corpus(plan: Mapping[str, Any], scan: Scan) -> dict[str, Any]:
    return {
        "files": sorted(scan.files, key=lambda file: file["path"]),
        "documents": scan.documents,
        "words": scan.words,
        "bytes": scan.bytes_,
        "empty": scan.empty,
        "rejected": scan.rejected,
        "first_rejected": scan.first_rejected,
        "index": ", ".join(index["path"] for index in plan["corpus"]["indices"]) or None,
    }


def _estimates(items: Sequence[JudgedItem]) -> list[dict[str, Any]]:
    """Count items by our rule and by every published one, each over the items that it can judge."""
    ours: list[bool | None] = [
        None if item.verdict == "not judged" else item.verdict == "contaminated" for item in items
    ]
    definition = (
        f"words in seeds of {SEED}, weighed by inverse document frequency, at least {MIN_COVERAGE:.0%} of them in one"
        f" document, and a similarity of at least {MIN_SIMILARITY:.0%} to its passage"
    )
    rows = [_estimate("memaudit", "memaudit", definition, None, ours)]
    for name, rule in RULES.items():
        rows.append(_estimate(name, rule.label, rule.definition, rule.source, [item.rules[name] for item in items]))
    return rows


def _estimate(
    metric: str, label: str, definition: str, source: str | None, said: Sequence[bool | None]
) -> dict[str, Any]:
    defined = [fired for fired in said if fired is not None]
    hits, n = sum(defined), len(defined)
    limits = stats.clopper_pearson(hits, n)
    return {
        "metric": metric,
        "label": label,
        "definition": definition,
        "source": source,
        "primary": metric == "memaudit",
        "hits": hits,
        "n": n,
        "rate": hits / n if n else None,
        "low": limits.low if limits else None,
        "high": limits.high if limits else None,
        "undefined": len(said) - n,
    }


def _parts(items: Sequence[JudgedItem], patterns: Patterns) -> list[dict[str, Any]]:
    """Count, for every part, the items that have it, long enough to judge, and those in which it was found."""
    names = list(dict.fromkeys(needle.part for needle in patterns.needles))
    long_enough = Counter(n.part for i, n in enumerate(patterns.needles) if patterns.length(i) >= SEED)
    found: Counter[str] = Counter()
    for item in items:
        found.update(item.parts)
    return [{"part": name, "hits": found[name], "n": long_enough[name]} for name in names]


def _finding(judged: JudgedItem, patterns: Patterns, scan: Scan, accepted: set[str], redact: bool) -> dict[str, Any]:
    item, best = judged.item, judged.matches[0]
    shown = [match for match in judged.matches if match.found == best.found][:SHOWN_DOCUMENTS]
    id = fingerprint("contamination", "", item.whole)
    return {
        "id": id,
        "kind": "contamination",
        "item": item.id,
        "number": item.number,
        "source": item.source,
        "part": patterns.needles[best.needle].part,
        "match": best.kind,
        "score": best.similarity,
        "coverage": best.coverage,
        "documents": best.documents,
        "rules": _fired(judged),
        "accepted": id in accepted,
        "evidence": [_evidence(match, patterns, scan, redact) for match in shown],
        "more_documents": max(0, best.documents - len(shown)),
    }


def _evidence(match: Match, patterns: Patterns, scan: Scan, redact: bool) -> dict[str, Any]:
    """Return both texts with the copied words marked, and how many documents hold each copied span."""
    text = patterns.needles[match.needle].text
    ours, theirs, runs = mark_copied(text, match.candidate.text)
    ids, words = patterns.seed_ids(match.needle), patterns.words[match.needle]
    spans = [
        {
            "text": None if redact else text[words.starts[first] : words.ends[last - 1]],
            "documents": int(scan.seed_documents[ids[first : last - SEED + 1]].min()),
        }
        for first, last in runs
        if last - first >= SEED
    ]
    return {
        "source": match.candidate.source,
        "start": match.candidate.start,
        "score": match.similarity,
        "match": match.kind,
        "item_pieces": None if redact else ours,
        "corpus_pieces": None if redact else theirs,
        "spans": spans,
    }


def _fired(judged: JudgedItem) -> list[str]:
    return [name for name, fired in judged.rules.items() if fired]


def _scores(
    judgement: Judgement,
    benchmark: Benchmark,
    judged: Sequence[JudgedItem],
    contaminated: Sequence[JudgedItem],
    id_field: str | None,
) -> list[dict[str, Any]]:
    models = [model for path in judgement.scores for model in read_scores(path, id_field)]
    return compare_scores(models, benchmark, {i.item.id for i in judged}, {i.item.id for i in contaminated})


def _baseline(judgement: Judgement, findings: Sequence[Mapping[str, Any]], accepted: set[str]) -> dict[str, Any] | None:
    if judgement.baseline is None:
        return None
    used = {finding["id"] for finding in findings if finding["accepted"]}
    return {
        "path": judgement.baseline,
        "entries": len(accepted),
        "accepted": sum(finding["accepted"] for finding in findings),
        "stale": len(accepted - used),
    }


def _limits(items: Sequence[JudgedItem], plan: Mapping[str, Any]) -> list[str]:
    """Say what the search does not show."""
    limits = [
        "Words are compared: a paraphrase or a translation that keeps few of them in order is not found.",
        "Nor is a text whose words stand in another order, are written backwards, without spaces, with digits for"
        " letters, with a mark between every few of them, or in letters set apart (h e l l o).",
        "An item that was found stands in the corpus; whether a model was trained on that document, and remembers"
        " it, is another question.",
        f"Text that stands in more than {COMMON_SHARE:.0%} of the documents is boilerplate and convicts no item.",
    ]
    unjudged = sum(item.verdict == "not judged" for item in items)
    if unjudged:
        were = "was" if unjudged == 1 else "were"
        limits.append(f"{counted(unjudged, 'item')} of fewer than {SEED} words {were} not judged.")
    limits += _cut_in_two(items, plan)
    return limits


def _cut_in_two(items: Sequence[JudgedItem], plan: Mapping[str, Any]) -> list[str]:
    """Say how many items can be missed because text files were not searched whole."""
    split = plan["options"]["split"]
    if split not in _CUTS or plan["corpus"]["indices"]:
        return []
    apart = [[text.strip() for name, text in i.item.parts.items() if name not in (BOTH, ALL)] for i in items]
    count = sum(any(_CUTS[split].search(text) for text in texts) for texts in apart)
    spans = counted(count, "item spans more than one, and", "items span more than one, and")
    said = f"Text files were searched piece by piece (--split {split}): {spans} can be missed there."
    return [f"{said} Without --split, files are searched whole."] if count else []


def _record(judged: JudgedItem, patterns: Patterns) -> ItemRecord:
    best = judged.matches[0] if judged.matches else None
    return ItemRecord(
        item=judged.item.id,
        number=judged.item.number,
        source=judged.item.source,
        verdict=judged.verdict,
        part=patterns.needles[best.needle].part if best else None,
        match=best.kind if best else None,
        similarity=best.similarity if best else None,
        coverage=best.coverage if best else None,
        documents=best.documents if best else None,
        evidence=best.candidate.source if best else None,
        rules=_fired(judged),
    )
