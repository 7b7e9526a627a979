"""From one finished scan to a report: counts by every rule, findings with their evidence, and the verdict.

A pure function of benchmark, patterns and scan: the same for any number of files, processes and shares.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from memaudit.audits.benchmark.items import Benchmark
from memaudit.audits.benchmark.scores import compare_scores, read_scores
from memaudit.audits.contamination.baseline import read_baseline
from memaudit.audits.contamination.doubts import UNJUDGED, benchmark_gaps, limits_of, search_gaps
from memaudit.audits.contamination.evidence import ItemRecord, finding_of, record_of, spared_of
from memaudit.audits.contamination.judgement import JudgedItem, check_own_items, judge
from memaudit.audits.contamination.likeness import count_likeness
from memaudit.errors import InputError, one_line
from memaudit.findings import Control, Decision, ItemPolicy, decide_items, undecided
from memaudit.report.wording import counted
from memaudit.runs import options, parts
from memaudit.runs.contamination_report import (
    BaselineUse,
    BenchmarkRead,
    ContaminationReport,
    CorpusRead,
    ItemFinding,
    ModelScores,
    PartCount,
    RuleEstimate,
)
from memaudit.runs.plans import ContaminationPlan
from memaudit.runs.report_parts import report_head
from memaudit.runs.schema import as_record
from memaudit.sections import ABOUT_DOCUMENTS
from memaudit.stats.rounding import stated
from memaudit.text.scan.matching import AMPLE_COVERAGE, MIN_SIMILARITY
from memaudit.text.scan.patterns import SEED, Patterns
from memaudit.text.scan.result import Scan
from memaudit.text.scan.rules import RULES

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

    @property
    def policy(self) -> ItemPolicy:
        """How much may be contaminated."""
        return ItemPolicy(self.max_items, self.max_rate)


def conclude(
    plan: ContaminationPlan,
    benchmark: Benchmark,
    patterns: Patterns,
    scan: Scan,
    *,
    complete: bool,
    judgement: Judgement,
) -> tuple[ContaminationReport, list[ItemRecord]]:
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
    outcome = _outcome(benchmark, patterns, scan, judgement, complete=complete)
    report = _report(plan, benchmark, patterns, scan, outcome, judgement)
    return report, [record_of(item, patterns, scan) for item in outcome.items]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a search comes to."""

    complete: bool
    items: list[JudgedItem]
    control: Control
    findings: list[ItemFinding]
    accepted: set[str]
    """Fingerprints of the baseline."""
    new: int
    """Findings that it does not accept."""
    decision: Decision


def _outcome(benchmark: Benchmark, patterns: Patterns, scan: Scan, judgement: Judgement, *, complete: bool) -> _Outcome:
    control = check_own_items(benchmark, patterns)
    gaps = search_gaps(scan, [control], complete=complete)
    items = judge(benchmark, patterns, scan, doubted=bool(gaps))
    accepted = read_baseline(judgement.baseline) if judgement.baseline else set()
    found = [item for item in items if item.verdict == "contaminated"]
    findings = [finding_of(item, patterns, scan, accepted, judgement.redact) for item in found]
    new = sum(not finding["accepted"] for finding in findings)
    doubts = [*gaps, *benchmark_gaps(items, benchmark, scan)]
    decision = decide_items(new, len(_judged(items)), judgement.policy, doubts) if complete else undecided(doubts)
    return _Outcome(complete, items, control, findings, accepted, new, decision)


def _report(
    plan: ContaminationPlan,
    benchmark: Benchmark,
    patterns: Patterns,
    scan: Scan,
    outcome: _Outcome,
    judgement: Judgement,
) -> ContaminationReport:
    items, findings, decision = outcome.items, outcome.findings, outcome.decision
    spared = [item for item in items if item.verdict != "contaminated" and item.most_rules]
    return {
        **report_head(plan, complete=outcome.complete),
        "kind": "contamination",
        "verdict": decision.verdict,
        "exit_code": decision.exit_code,
        "headline": _headline(plan, outcome, scan.documents),
        "reasons": decision.reasons,
        "policy": as_record(judgement.policy, options.ItemPolicy),
        "benchmark": _describe_benchmark(benchmark, items),
        "corpus": _describe_corpus(plan, scan),
        "estimates": _estimates(items, patterns, scan),
        "parts": _parts(items, patterns),
        "likeness": count_likeness(items),
        "findings": findings,
        "spared": [spared_of(item, patterns, scan) for item in spared[:SHOWN_SPARED]],
        "spared_count": len(spared),
        "groups": len({finding["evidence"][0]["source"] for finding in findings}),
        "scores": _scores(judgement, benchmark, items, plan["options"]["id_field"]),
        "baseline": _baseline(judgement, findings, outcome.accepted),
        "controls": [as_record(outcome.control, parts.Control)],
        "limits": _limits(items, plan, benchmark, judgement),
        "options": plan["options"],
    }


def _judged(items: Sequence[JudgedItem]) -> list[JudgedItem]:
    return [item for item in items if item.verdict != "not judged"]


def _limits(
    items: Sequence[JudgedItem], plan: ContaminationPlan, benchmark: Benchmark, judgement: Judgement
) -> list[str]:
    return [
        *limits_of(items, plan),
        *([ABOUT_DOCUMENTS.format(units="items")] if judgement.scores else []),
        *([f"{benchmark.notice}."] if benchmark.notice else []),
    ]


def _places(rejected: Sequence[str]) -> list[str]:
    """Return where records were rejected without why: reasons may quote them."""
    return [entry.partition(": ")[0] for entry in rejected]


def _headline(plan: ContaminationPlan, outcome: _Outcome, documents: int) -> str:
    found, new, judged = len(outcome.findings), outcome.new, len(_judged(outcome.items))
    where = ", ".join(plan["corpus"]["specs"] or [index["path"] for index in plan["corpus"]["indices"]])
    accepted = f", {found - new:,} of them accepted by the baseline" if found > new else ""
    stand = counted(judged, "item occurs", "items occur")
    return f"{found:,} of {stand} in {one_line(where, 80)} ({counted(documents, 'document')}){accepted}"


def _describe_benchmark(benchmark: Benchmark, items: Sequence[JudgedItem]) -> BenchmarkRead:
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


def _describe_corpus(plan: ContaminationPlan, scan: Scan) -> CorpusRead:
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


def _estimates(items: Sequence[JudgedItem], patterns: Patterns, scan: Scan) -> list[RuleEstimate]:
    """Count items by our rule and by every published one, each over the items that it can judge."""
    whole = {needle.item: place for place, needle in enumerate(patterns.needles)}.values()
    ours: list[bool | None] = [
        None if item.verdict == "not judged" else item.verdict == "contaminated" for item in items
    ]
    definition = (
        f"at least {stated(MIN_SIMILARITY)} of the item's own words, by weight, occur in one document in order,"
        f" or {stated(AMPLE_COVERAGE)} of its runs of {SEED} words in any order; its own words are those that"
        " are neither boilerplate of the benchmark nor test phrasing"
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
) -> RuleEstimate:
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


def _parts(items: Sequence[JudgedItem], patterns: Patterns) -> list[PartCount]:
    """Count, for every part, the items that have it, long enough to judge, and those in which it was found."""
    names = list(dict.fromkeys(needle.part for needle in patterns.needles))
    long_enough = Counter(n.part for i, n in enumerate(patterns.needles) if patterns.length(i) >= SEED)
    found: Counter[str] = Counter()
    for item in items:
        found.update(item.parts)
    return [{"part": name, "hits": found[name], "n": long_enough[name]} for name in names]


def _scores(
    judgement: Judgement, benchmark: Benchmark, items: Sequence[JudgedItem], id_field: str | None
) -> list[ModelScores]:
    models = [model for path in judgement.scores for model in read_scores(path, id_field)]
    found = {item.item.id for item in items if item.verdict == "contaminated"}
    return compare_scores(models, benchmark, {item.item.id for item in _judged(items)}, found)


def _baseline(judgement: Judgement, findings: Sequence[ItemFinding], accepted: set[str]) -> BaselineUse | None:
    if judgement.baseline is None:
        return None
    used = {finding["id"] for finding in findings if finding["accepted"]}
    return {
        "path": judgement.baseline,
        "entries": len(accepted),
        "accepted": sum(finding["accepted"] for finding in findings),
        "stale": len(accepted - used),
    }
