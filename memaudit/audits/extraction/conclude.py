"""Records of windows to evidence: rates beside their null, controls, power, findings, and the verdict.

A pure function of the plan and the records: nothing here asks a model, reads a corpus or looks at a clock,
so the same run gives the same bytes however often it was interrupted.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

import memaudit.stats as stats
from memaudit.audits.extraction.base_control import base_clause, base_section
from memaudit.audits.extraction.controls import (
    BEATS_UNIGRAM,
    REPRODUCTION,
    UNSEEN,
    check_against_unigram,
    check_ended,
    check_reproduction,
    check_unseen,
    likelihoods_apart,
)
from memaudit.audits.extraction.distributions import composition, counted_doses, distributions, growth
from memaudit.audits.extraction.limits import limits_of
from memaudit.audits.extraction.means import known_of_all, mean, means
from memaudit.audits.extraction.power import design_of, power_of
from memaudit.audits.extraction.recital import RECITES, check_recital
from memaudit.audits.server_section import server_sections
from memaudit.errors import one_line
from memaudit.findings import Control, Decision, Finding, Policy, decide, fingerprint
from memaudit.metrics import METRICS, PRIMARY
from memaudit.metrics.base import Metric
from memaudit.records import Capability, WindowRecord, capabilities_in, first_window
from memaudit.report.endpoint import VERBATIM, VERBATIM_DEFINITION, in_chat
from memaudit.report.wording import asked_with
from memaudit.runs import parts
from memaudit.runs.extraction_report import (
    BaseComparison,
    CopiesFound,
    DomainRates,
    DoseRate,
    ExtractionReport,
    MetricEstimate,
    RatePoint,
    RatePolicy,
    RatePower,
    SideRates,
)
from memaudit.runs.measured_lines import RecitalLine
from memaudit.runs.plans import CopiesDescription, ExtractionPlan
from memaudit.runs.report_parts import report_head
from memaudit.runs.schema import as_record
from memaudit.stats.rounding import percent

Records = Sequence[WindowRecord]


def conclude(
    plan: ExtractionPlan,
    records: Records,
    sections: Sequence[parts.Section] = (),
    base: BaseComparison | None = None,
    recited: Sequence[RecitalLine] = (),
) -> ExtractionReport:
    """Return what report.json holds: the verdict and everything it rests on.

    Args:
        plan: The run's plan.
        records: What was measured so far, in plan order; fewer than planned make an incomplete report.
        sections: Of the measures that were taken beside the windows.
        base: What the base model of an adapter does with the same windows.
        recited: What a model behind an address makes of text that it is known to recite.
    """
    options, windows = plan["options"], plan["windows"]
    complete = len(records) == windows["train"] + windows["heldout"]
    sampled = [record for record in records if record.sampled]
    policy = Policy(options["max_rate"], options["alpha"])
    controls = _controls(plan, records, policy, recited)
    estimates = _called(_estimates(records, options["seed"]), plan["model"])
    decision = _decision(records, options["seed"], _primary(estimates)["p_value"], controls, policy, complete=complete)
    report_controls = [as_record(control, parts.Control) for control in controls]
    report: ExtractionReport = {
        **report_head(plan, complete=complete),  # type: ignore[typeddict-item]  # mypy misses the keys that follow
        "kind": "extraction",
        "verdict": decision.verdict,
        "exit_code": decision.exit_code,
        "headline": _headline(plan, _primary(estimates)) + ("" if base is None else base_clause(base)),
        "reasons": decision.reasons,
        "primary_metric": PRIMARY,
        "policy": as_record(policy, RatePolicy),
        "model": plan["model"],
        "train": plan["train"],
        "heldout": plan["heldout"],
        "options": options,
        "windows": windows,
        "estimates": estimates,
        "sample": {"train": sum(r.member for r in sampled), "heldout": sum(not r.member for r in sampled)},
        "means": means(records, plan["model"]),
        "ended": _ended(sampled),
        "copies": _copies(plan["copies"], sampled),
        "doses": _doses(records),
        "counted_doses": counted_doses(records),
        "growth": growth(records, options["seed"]),
        "distributions": distributions(records, options["suffix"]),
        "composition": composition(records, plan["train"].get("domains", {})),
        "domains": _domains(records),
        "controls": report_controls,
        "power": _power(records, policy, controls),
        "limits": limits_of(plan, records, decision, recites=RECITES in {c.name for c in controls if c.passed}),
        "first_window": first_window(plan["model"], records),
        "findings": [as_record(finding, parts.Finding) for finding in _findings(records)],
        "sections": [*server_sections(plan["model"], report_controls), *sections],
    }
    if base is not None:
        report["base"] = base
        report["sections"] = [base_section(base, asked_with(plan["model"])), *report["sections"]]
    if "chat" in plan:
        report["chat"] = plan["chat"]
    return report


def _primary(estimates: Sequence[MetricEstimate]) -> MetricEstimate:
    return next(estimate for estimate in estimates if estimate["primary"])


def _decision(
    records: Records, seed: int, p_value: float | None, controls: Sequence[Control], policy: Policy, *, complete: bool
) -> Decision:
    train, heldout = (_rate(side, METRICS[PRIMARY]) for side in _sides(records))
    least_p = _least_p(records, seed, p_value, policy)
    return decide(train, p_value, controls, complete, policy, heldout=heldout, least_p=least_p)


def _controls(plan: ExtractionPlan, records: Records, policy: Policy, recited: Sequence[RecitalLine]) -> list[Control]:
    gives, max_rate = capabilities_in(plan["model"]), policy.max_rate
    knows = [check_against_unigram(records, gives), check_reproduction(records, max_rate, gives)]
    recites = check_recital(plan, recited)
    if recites and Capability.LOG_PROBS not in gives:
        knows = []  # both could not be run, and a recital shows what they would: that it knows text and says so
    controls = [*map(_control_of, plan["controls"]), *knows, *recites, check_unseen(records, max_rate)]
    return [*_with_cause(controls, plan["model"]), check_ended(records)]


def _called(estimates: list[MetricEstimate], model: parts.ModelDescription) -> list[MetricEstimate]:
    """Return estimates by the names that they have where the model was asked by messages."""
    if in_chat(model):
        for estimate in estimates:
            if estimate["primary"]:
                estimate["label"], estimate["definition"] = VERBATIM, VERBATIM_DEFINITION
    return estimates


def _control_of(stored: parts.Control) -> Control:
    return Control(stored["name"], stored["passed"], stored["detail"], stored.get("comparison", False))


def _sides(records: Records) -> tuple[Records, Records]:
    """Return the records of training and of held-out text."""
    return [r for r in records if r.member], [r for r in records if not r.member]


def _with_cause(controls: Sequence[Control], model: parts.ModelDescription) -> list[Control]:
    """Name what may be behind a control that failed: a start token that the model had in training, and has not here."""
    if model.get("missing_start") is None:
        return list(controls)
    cause = f"config.json has bos_token_id {model['missing_start']}, the tokenizer adds none; "
    caused = {BEATS_UNIGRAM, REPRODUCTION}
    return [
        dataclasses.replace(control, detail=cause + control.detail)
        if control.name in caused and not control.passed
        else control
        for control in controls
    ]


def _estimates(records: Records, seed: int) -> list[MetricEstimate]:
    """Compare the sides metric by metric; the primary metric stands alone, Holm adjusts the others."""
    metrics = [m for m in METRICS.values() if m.threshold is not None and known_of_all(records, m.name)]
    sides = _sides(records)
    means = [
        stats.document_means([[_hit(r, m) for m in metrics] for r in side], [r.document for r in side])
        if side
        else np.empty((0, len(metrics)))
        for side in sides
    ]
    p_values = stats.permutation_test(*means, seed=seed, windows=_windows(sides))
    others = [i for i, m in enumerate(metrics) if m.name != PRIMARY and p_values[i] is not None]
    adjusted = dict(zip(others, stats.holm([p_values[i] or 0.0 for i in others]), strict=True))
    return [_estimate(metric, sides, p_values[i], adjusted.get(i)) for i, metric in enumerate(metrics)]


def _estimate(
    metric: Metric, sides: tuple[Records, Records], p_value: float | None, p_holm: float | None
) -> MetricEstimate:
    assert metric.threshold is not None, "nothing else is a hit or not"
    train, heldout = (_rate(side, metric) for side in sides)
    difference = stats.difference_interval(train, heldout)
    return {
        "metric": metric.name,
        "label": metric.label,
        "definition": metric.definition,
        "threshold": metric.threshold,
        "train": as_record(train, parts.Rate),
        "heldout": as_record(heldout, parts.Rate),
        "difference": None if difference is None else as_record(difference, parts.Difference),
        "p_value": p_value,
        "p_holm": p_holm,
        "unit": "document",
        "primary": metric.name == PRIMARY,
    }


def _windows(sides: Sequence[Records]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    train, heldout = (stats.document_windows([record.document for record in side]) for side in sides)
    return train, heldout


def _least_p(records: Records, seed: int, p_value: float | None, policy: Policy) -> float | None:
    """Return the p-value of the primary metric, had the documents with most hits been those of the training text.

    None where that says nothing: p is small enough, or there is none.
    """
    if p_value is None or p_value <= policy.alpha:
        return None
    sides = _sides(records)
    hits = [stats.document_means([_hit(r, METRICS[PRIMARY]) for r in s], [r.document for r in s]) for s in sides]
    shares, windows = np.concatenate(hits), np.concatenate(_windows(sides))
    order, train = np.argsort(-shares, kind="stable"), len(hits[0])
    best = [(values[order[:train]], values[order[train:]]) for values in (shares, windows)]
    return stats.permutation_test(*best[0], seed=seed, windows=best[1])[0]


def _hit(record: WindowRecord, metric: Metric) -> bool:
    return bool(metric.hit(record.value(metric.name)))


def _rate(records: Records, metric: Metric) -> stats.Rate:
    return stats.document_rate([_hit(r, metric) for r in records], [r.document for r in records])


def _ended(records: Records) -> SideRates:
    """Return how many windows of each side the model ended, of those that were asked."""
    return _side_rates([record for record in records if record.ended is not None], lambda r: bool(r.ended))


def _side_rates(records: Records, hit: Callable[[WindowRecord], bool]) -> SideRates:
    train, heldout = (
        as_record(stats.document_rate([hit(r) for r in side], [r.document for r in side]), parts.Rate)
        for side in _sides(records)
    )
    return {"train": train, "heldout": heldout}


def _doses(records: Records) -> list[DoseRate]:
    """Return the rate per number of copies in training, twins that were never inserted as dose 0.

    The similarity is the mean of those windows of the random sample that have so many.
    """
    groups: dict[int, list[WindowRecord]] = defaultdict(list)
    for record in records:
        if record.copies is not None:
            groups[record.copies].append(record)
    return [
        {
            "copies": copies,
            **as_record(_rate(groups[copies], METRICS[PRIMARY]), parts.Rate),
            "edit_similarity": mean(lambda r: r.edit_similarity, (r for r in groups[copies] if r.sampled)),
        }
        for copies in sorted(groups)
    ]


def _copies(planned: CopiesDescription, records: Records) -> CopiesFound:
    """Return how copies were counted, and how many continuations stand elsewhere in the training text.

    Asked are those that are not the true suffix and long enough to be looked for.
    """
    asked = [record for record in records if record.elsewhere is not None]
    return {**planned, "elsewhere": _side_rates(asked, lambda r: bool(r.elsewhere))}


def _domains(records: Records) -> list[DomainRates]:
    names = sorted({r.domain for r in records if r.domain is not None})
    return [
        {"domain": name, "train": train, "heldout": heldout}
        for name in names
        for train, heldout in [map(_verbatim, _sides([r for r in records if r.domain == name]))]
    ]


def _verbatim(records: Records) -> parts.Rate | None:
    return as_record(_rate(records, METRICS[PRIMARY]), parts.Rate) if records else None


def _power(records: Records, policy: Policy, controls: Sequence[Control]) -> RatePower:
    """Return what so many documents can show: of the rate itself, and of the verdict by the true rate."""
    rate = _rate(_sides(records)[0], METRICS[PRIMARY])
    train, heldout = ([(r.document, bool(r.extractable)) for r in side] for side in _sides(records))
    fixed = [control for control in controls if control.name != UNSEEN]
    design = design_of(
        train,
        heldout,
        policy,
        comparable=all(control.passed for control in fixed if control.comparison),
        sound=all(control.passed for control in fixed) and not likelihoods_apart(records),
    )
    power, sound = power_of(design), all(control.passed for control in controls)
    return {
        "upper_bound": rate.upper(),
        "documents": rate.documents,
        "documents_needed": stats.documents_needed(policy.max_rate),
        "minimum_detectable_rate": power.minimum_detectable_rate,
        "correlation": design.correlation,
        "heldout_rate": design.heldout_rate,
        "verdicts": [as_record(point, RatePoint) for point in power.verdicts],
        "verdict_sentence": power.sentence,
        "about": power.about,
        "sentence": stats.power_sentence(rate, policy.max_rate, remedy=sound),
    }


def _headline(plan: ExtractionPlan, primary: MetricEstimate) -> str:
    asked = plan["options"]
    sides = f"{_counted(primary['train'])} training", f"{_counted(primary['heldout'])} held-out"
    name = one_line(plan["model"]["name"], 80)
    if "chat" in plan:
        return (
            f"given its conversations up to each reply, {name} gives {sides[0]} and {sides[1]} replies verbatim for up"
            f" to {asked['suffix']} tokens"
        )
    if in_chat(plan["model"]):
        return (
            f"given {asked['prefix']} tokens of a text as a message, {name} answers {sides[0]} and {sides[1]} windows"
            f" verbatim for {asked['suffix']} tokens"
        )
    start = " without its start token" if "omitted" in plan["model"] else ""
    return (
        f"given {asked['prefix']} tokens{start}, {name} continues {sides[0]} and {sides[1]} windows verbatim for"
        f" {asked['suffix']} tokens"
    )


def _counted(side: parts.Rate) -> str:
    # Where documents have unequally many windows, the rate is no quotient of the two numbers.
    rate = side["rate"] if side["n"] == side["documents"] else None
    return f"{side['hits']} of {side['n']}" + ("" if rate is None else f" ({percent(rate)})")


def _steady_id(record: WindowRecord) -> str:
    """Return the document's own id; a place in a file is none, since lines move."""
    return "" if record.document == record.source else record.document


def _findings(records: Records) -> list[Finding]:
    """Return one finding for every training window that is reproduced verbatim."""
    return [
        Finding(
            id=fingerprint("extractable", _steady_id(record), record.suffix_text),
            kind="extractable",
            document=record.document,
            source=record.source,
            metric=PRIMARY,
            score=1.0,
            copies=record.copies,
            text=record.suffix_text,
            copies_exact=record.copies_exact,
            copies_normalised=record.copies_normalised,
        )
        for record in records
        if record.member and record.extractable
    ]
