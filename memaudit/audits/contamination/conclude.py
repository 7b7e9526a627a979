"""From one finished scan to a report: counts by every rule, findings with their evidence, and the verdict.

A pure function of benchmark, patterns and scan: the same for any number of files, processes and shares.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memaudit.audits.benchmark.items import Benchmark
from memaudit.audits.benchmark.scores import compare_scores, read_scores
from memaudit.audits.contamination.baseline import read_baseline
from memaudit.audits.contamination.doubts import UNJUDGED, benchmark_gaps, limits_of, search_gaps, why_spared
from memaudit.audits.contamination.judgement import JudgedItem, check_own_items, judge
from memaudit.audits.contamination.likeness import count_likeness
from memaudit.audits.contamination.marking import mark_copied
from memaudit.errors import InputError, one_line
from memaudit.findings import ItemPolicy, decide_items, fingerprint, undecided
from memaudit.report.wording import counted
from memaudit.runs.provenance import provenance_of
from memaudit.sections import ABOUT_DOCUMENTS
from memaudit.text.scan.matching import AMPLE_COVERAGE, MIN_SIMILARITY, Match
from memaudit.text.scan.patterns import SEED, Patterns
from memaudit.text.scan.result import Scan
from memaudit.text.scan.rules import RULES

SHOWN_DOCUMENTS = 3
"""Documents that a finding shows side by side."""
SHOWN_SPARED = 20


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
    """``contaminated``, ``clean``, ``undecided`` (the search was not whole), or ``not judged`` (too short, generic)."""
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
    controls = [check_own_items(benchmark, patterns)]
    gaps = search_gaps(scan, controls, complete=complete)
    items = judge(benchmark, patterns, scan, doubted=bool(gaps))
    contaminated = [item for item in items if item.verdict == "contaminated"]
    spared = [item for item in items if item.verdict != "contaminated" and item.most_rules]
    judged = [item for item in items if item.verdict != "not judged"]
    accepted = read_baseline(judgement.baseline) if judgement.baseline else set()
    findings = [_finding(item, patterns, scan, accepted, judgement.redact) for item in contaminated]
    new = [finding for finding in findings if not finding["accepted"]]
    policy = ItemPolicy(judgement.max_items, judgement.max_rate)
    doubts = [*gaps, *benchmark_gaps(items, benchmark, scan)]
    decision = decide_items(len(new), len(judged), policy, doubts) if complete else undecided(doubts)
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
        "estimates": _estimates(items, patterns, scan),
        "parts": _parts(items, patterns),
        "likeness": count_likeness(items),
        "findings": findings,
        "spared": [_spared(item, patterns, scan) for item in spared[:SHOWN_SPARED]],
        "spared_count": len(spared),
        "groups": len({finding["evidence"][0]["source"] for finding in findings}),
        "scores": _scores(judgement, benchmark, judged, contaminated, plan["options"]["id_field"]),
        "baseline": _baseline(judgement, findings, accepted),
        "controls": [dataclasses.asdict(control) for control in controls],
        "limits": [
            *limits_of(items, plan),
            *([ABOUT_DOCUMENTS.format(units="items")] if judgement.scores else []),
            *([f"{benchmark.notice}."] if benchmark.notice else []),
        ],
        "options": plan["options"],
        "provenance": provenance_of(plan),
    }
    return report, [_record(item, patterns, scan) for item in items]


def _places(rejected: Sequence[str]) -> list[str]:
    """Return where records were rejected without why: reasons may quote them."""
    return [entry.partition(": ")[0] for entry in rejected]


def _headline(plan: Mapping[str, Any], found: int, new: int, judged: int, documents: int) -> str:
    where = ", ".join(plan["corpus"]["specs"] or [index["path"] for index in plan["corpus"]["indices"]])
    accepted = f", {found - new:,} of them accepted by the baseline" if found > new else ""
    stand = counted(judged, "item stands", "items stand")
    return f"{found:,} of {stand} in {one_line(where, 80)} ({counted(documents, 'document')}){accepted}"


def _describe_benchmark(benchmark: Benchmark, items: Sequence[JudgedItem]) -> dict[str, Any]:
    unjudged = Counter(item.unjudged for item in items if item.unjudged)
    return {
        "files": benchmark.files,
        "layout": benchmark.layout,
        "fields": benchmark.fields,
        "items": len(items),
        "judged": len(items) - unjudged.total(),
        "not_judged": [{"reason": UNJUDGED[why], "count": count} for why, count in sorted(unjudged.items())],
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


def _estimates(items: Sequence[JudgedItem], patterns: Patterns, scan: Scan) -> list[dict[str, Any]]:
    """Count items by our rule and by every published one, each over the items that it can judge."""
    whole = {needle.item: place for place, needle in enumerate(patterns.needles)}.values()
    ours: list[bool | None] = [
        None if item.verdict == "not judged" else item.verdict == "contaminated" for item in items
    ]
    definition = (
        f"at least {MIN_SIMILARITY:.0%} of the item's own words, by weight, stand in one document in their order, or"
        f" {AMPLE_COVERAGE:.0%} of its runs of {SEED} words in any order; its own are the words that are neither"
        " boilerplate of the benchmark nor the wording of tests"
    )
    rows = [_estimate("memaudit", "memaudit", definition, None, ours)]
    for name, rule in RULES.items():
        row = _estimate(name, rule.label, rule.definition, rule.source, [item.rules[name] for item in items])
        if rule.classes:
            counts = rule.count_classes(rule.verdict(patterns, scan, place)[1] for place in whole)
            row["classes"] = [{"name": name, "count": count} for name, count in counts.items()]
        rows.append(row)
    return rows


def _estimate(
    metric: str, label: str, definition: str, source: str | None, said: Sequence[bool | None]
) -> dict[str, Any]:
    defined = [fired for fired in said if fired is not None]
    hits, n = sum(defined), len(defined)
    # No interval: every item of the benchmark was examined, and of no other items is anything said.
    return {
        "metric": metric,
        "label": label,
        "definition": definition,
        "source": source,
        "primary": metric == "memaudit",
        "hits": hits,
        "n": n,
        "rate": hits / n if n else None,
        "undefined": len(said) - n,
        "classes": [],
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
    shown = [match for match in judged.matches if match.found][:SHOWN_DOCUMENTS]
    documents = documents_of(best, scan)
    id = fingerprint("contamination", "", item.whole)
    return {
        "id": id,
        "kind": "contamination",
        "item": item.id,
        "number": item.number,
        "source": item.source,
        "part": patterns.needles[best.candidate.needle].part,
        "match": best.kind,
        "score": best.similarity,
        "coverage": best.coverage,
        "documents": documents,
        "rules": _fired(judged),
        "accepted": id in accepted,
        "evidence": [_evidence(match, patterns, scan, redact) for match in shown],
        "more_documents": max(0, documents - len(shown)),
    }


def _evidence(match: Match, patterns: Patterns, scan: Scan, redact: bool) -> dict[str, Any]:
    """Return both texts with the copied words marked, and how many documents hold each copied span."""
    needle = match.candidate.needle
    text = patterns.needles[needle].text
    ours, theirs, runs = mark_copied(text, match.candidate.text)
    ids, words = patterns.seed_ids(needle), patterns.words[needle]
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


def documents_of(match: Match, scan: Scan) -> int:
    """Return the document frequency of the rarest run of five words that an item and a document share."""
    return int(scan.seed_documents[list(match.candidate.seeds)].min(initial=scan.documents))


def _spared(judged: JudgedItem, patterns: Patterns, scan: Scan) -> dict[str, Any]:
    """Return an item that most published rules convict and ours does not, and why it does not."""
    return {
        "item": judged.item.id,
        "source": judged.item.source,
        "rules": _fired(judged),
        "reason": why_spared(judged, patterns, scan),
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


def _record(judged: JudgedItem, patterns: Patterns, scan: Scan) -> ItemRecord:
    best = judged.matches[0] if judged.matches else None
    return ItemRecord(
        item=judged.item.id,
        number=judged.item.number,
        source=judged.item.source,
        verdict=judged.verdict,
        part=patterns.needles[best.candidate.needle].part if best else None,
        match=best.kind if best else None,
        similarity=best.similarity if best else None,
        coverage=best.coverage if best else None,
        documents=documents_of(best, scan) if best else None,
        evidence=best.candidate.source if best else None,
        rules=_fired(judged),
    )
