"""Records of windows to evidence: rates beside their null, controls, power, findings, and the verdict.

A pure function of the plan and the records: nothing here asks a model, reads a corpus or looks at a clock,
so the same run gives the same bytes however often it was interrupted.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import memaudit.stats as stats
from memaudit.audits.extraction.controls import (
    BEATS_UNIGRAM,
    RECITAL,
    UNSEEN,
    check_against_unigram,
    check_ended,
    check_recital,
    check_unseen,
    likelihoods_apart,
)
from memaudit.audits.extraction.distributions import composition, counted_doses, distributions, growth
from memaudit.audits.extraction.power import design_of, power_of
from memaudit.audits.needs import notice_of
from memaudit.errors import one_line
from memaudit.findings import Control, Decision, Finding, Policy, decide, fingerprint
from memaudit.metrics import METRICS, PRIMARY
from memaudit.metrics.base import Metric, Outcome
from memaudit.records import Capability, WindowRecord, capabilities_in, first_window, not_given
from memaudit.runs.provenance import provenance_of
from memaudit.sections import ABOUT_DOCUMENTS

Records = Sequence[WindowRecord]


def conclude(plan: Mapping[str, Any], records: Records) -> dict[str, Any]:
    """Return what report.json holds: the verdict and everything it rests on.

    Args:
        plan: The run's plan.
        records: What was measured so far, in plan order; fewer than planned make an incomplete report.
    """
    options, windows = plan["options"], plan["windows"]
    complete = len(records) == windows["train"] + windows["heldout"]
    policy = Policy(options["max_rate"], options["alpha"])
    gives = capabilities_in(plan["model"])
    controls = [Control(**control) for control in plan["controls"]] + [check_against_unigram(records, gives)]
    controls += [check_recital(records, policy.max_rate, gives), check_unseen(records, policy.max_rate)]
    controls = [*_with_cause(controls, plan["model"]), check_ended(records)]
    estimates = _estimates(records, options["seed"])
    primary = next(e for e in estimates if e["primary"])
    train_rate = stats.Rate(**primary["train"])
    least_p = _least_p(records, options["seed"], primary["p_value"], policy)
    heldout_rate = stats.Rate(**primary["heldout"])
    decision = decide(train_rate, primary["p_value"], controls, complete, policy, heldout=heldout_rate, least_p=least_p)
    return {
        "schema_version": 1,
        "kind": "extraction",
        "complete": complete,
        "verdict": decision.verdict,
        "exit_code": decision.exit_code,
        "headline": _headline(plan, primary),
        "reasons": decision.reasons,
        "primary_metric": PRIMARY,
        "policy": dataclasses.asdict(policy),
        **{part: plan[part] for part in ("model", "train", "heldout", "options", "windows")},
        "estimates": estimates,
        "means": _means(records, plan["model"]),
        "ended": _ended(records),
        "copies": _copies(plan["copies"], records),
        "doses": _doses(records),
        "counted_doses": counted_doses(records),
        "growth": growth(records, options["seed"]),
        "distributions": distributions(records, options["suffix"]),
        "composition": composition(records, plan["train"].get("domains", {})),
        "domains": _domains(records),
        "controls": [dataclasses.asdict(control) for control in controls],
        "power": _power(records, train_rate, policy, controls),
        "limits": _limits(plan, records, decision),
        "first_window": first_window(plan["model"], records),
        "findings": [dataclasses.asdict(finding) for finding in _findings(records)],
        "provenance": provenance_of(plan),
    }


def _with_cause(controls: Sequence[Control], model: Mapping[str, Any]) -> list[Control]:
    """Name what may be behind a control that failed: a start token that the model had in training, and has not here."""
    if model.get("missing_start") is None:
        return list(controls)
    cause = f"config.json has bos_token_id {model['missing_start']}, the tokenizer adds none; "
    caused = {BEATS_UNIGRAM, RECITAL}
    return [
        dataclasses.replace(control, detail=cause + control.detail)
        if control.name in caused and not control.passed
        else control
        for control in controls
    ]


def _estimates(records: Records, seed: int) -> list[dict[str, Any]]:
    """Compare the sides metric by metric; the primary metric stands alone, Holm adjusts the others."""
    metrics = [m for m in METRICS.values() if m.threshold is not None and _measured(records, m.name)]
    sides = [[r for r in records if r.member == member] for member in (True, False)]
    rates = [[_rate(side, metric) for metric in metrics] for side in sides]
    means = [
        stats.document_means([[_hit(r, m) for m in metrics] for r in side], [r.document for r in side])
        if side
        else np.empty((0, len(metrics)))
        for side in sides
    ]
    p_values = stats.permutation_test(*means, seed=seed, windows=_windows(sides))
    others = [i for i, m in enumerate(metrics) if m.name != PRIMARY and p_values[i] is not None]
    adjusted = dict(zip(others, stats.holm([p_values[i] or 0.0 for i in others]), strict=True))
    return [
        {
            "metric": metric.name,
            "label": metric.label,
            "definition": metric.definition,
            "threshold": metric.threshold,
            "train": dataclasses.asdict(rates[0][i]),
            "heldout": dataclasses.asdict(rates[1][i]),
            "difference": _difference(rates[0][i], rates[1][i]),
            "p_value": p_values[i],
            "p_holm": adjusted.get(i),
            "unit": "document",
            "primary": metric.name == PRIMARY,
        }
        for i, metric in enumerate(metrics)
    ]


def _windows(sides: Sequence[Records]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    train, heldout = (stats.document_windows([record.document for record in side]) for side in sides)
    return train, heldout


def _least_p(records: Records, seed: int, p_value: float | None, policy: Policy) -> float | None:
    """Return the p-value of the primary metric, had the documents with most hits been those of the training text.

    None where that says nothing: p is small enough, or there is none.
    """
    if p_value is None or p_value <= policy.alpha:
        return None
    sides = [[r for r in records if r.member == member] for member in (True, False)]
    hits = [stats.document_means([_hit(r, METRICS[PRIMARY]) for r in s], [r.document for r in s]) for s in sides]
    shares, windows = np.concatenate(hits), np.concatenate(_windows(sides))
    order, train = np.argsort(-shares, kind="stable"), len(hits[0])
    best = [(values[order[:train]], values[order[train:]]) for values in (shares, windows)]
    return stats.permutation_test(*best[0], seed=seed, windows=best[1])[0]


def _measured(records: Records, name: str) -> bool:
    """Whether every window has a value: a rate over some of them would not be the rate of all."""
    return all(record.value(name) is not None for record in records)


def _hit(record: WindowRecord, metric: Metric) -> bool:
    return bool(metric.hit(record.value(metric.name)))


def _rate(records: Records, metric: Metric) -> stats.Rate:
    return stats.document_rate([_hit(r, metric) for r in records], [r.document for r in records])


def _difference(train: stats.Rate, heldout: stats.Rate) -> dict[str, float] | None:
    difference = stats.difference_interval(train, heldout)
    return None if difference is None else dataclasses.asdict(difference)


def _means(records: Records, model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Average the graded values a side; likelihood is in bits, so that models of any vocabulary compare.

    What other models of its objective give and this one does not stands there with the reason, and no value.
    """
    lacks = frozenset(map(Capability, model.get("lacks", ())))
    unmeasured = {name: not_given(metric.needs & lacks, frozenset()) for name, metric in METRICS.items()}
    shown = [
        metric
        for name, metric in METRICS.items()
        if metric.averaged and (metric.of == "likelihood" or unmeasured[name] or _measured(records, name))
    ]
    return [
        {
            "metric": metric.name,
            "label": metric.label,
            "unit": metric.unit,
            "train": _mean(_value(metric), (r for r in records if r.member)),
            "heldout": _mean(_value(metric), (r for r in records if not r.member)),
            **({"reason": f"not measured: {unmeasured[metric.name]}"} if unmeasured[metric.name] else {}),
        }
        for metric in shown
    ]


def _value(metric: Metric) -> Callable[[WindowRecord], float | None]:
    """Return how the value of a metric is had of a record: that of a likelihood follows from what it holds."""
    return likelihood_of(metric) if metric.of == "likelihood" else lambda record: record.value(metric.name)


def likelihood_of(metric: Metric) -> Callable[[WindowRecord], float | None]:
    """Return how a metric of likelihood is computed of a record."""

    def value(record: WindowRecord) -> float | None:
        suffix = np.array(record.suffix_ids, np.int32)
        return metric.compute(Outcome(suffix, record.suffix_text, np.empty(0, np.int32), record.log_prob))

    return value


def _mean(value: Callable[[WindowRecord], float | None], records: Iterable[WindowRecord]) -> float | None:
    """Return the mean, or None where one value is undefined: an average over the rest would flatter."""
    values = [value(record) for record in records]
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if values and len(defined) == len(values) else None


def _ended(records: Records) -> dict[str, Any]:
    """Return how many windows of each side the model ended, of those that were asked."""
    asked = [record for record in records if record.ended is not None]
    return {
        name: dataclasses.asdict(stats.document_rate([bool(r.ended) for r in side], [r.document for r in side]))
        for name, member in (("train", True), ("heldout", False))
        for side in [[record for record in asked if record.member == member]]
    }


def _doses(records: Records) -> list[dict[str, Any]]:
    """Return the rate per number of copies in training, twins that were never inserted as dose 0."""
    groups: dict[int, list[WindowRecord]] = defaultdict(list)
    for record in records:
        if record.copies is not None:
            groups[record.copies].append(record)
    return [
        {
            "copies": copies,
            **dataclasses.asdict(_rate(groups[copies], METRICS[PRIMARY])),
            "edit_similarity": _mean(lambda r: r.edit_similarity, groups[copies]),
        }
        for copies in sorted(groups)
    ]


def _copies(planned: Mapping[str, Any], records: Records) -> dict[str, Any]:
    """Return how copies were counted, and how many continuations stand elsewhere in the training text.

    Asked are those that are not the true suffix and long enough to be looked for.
    """
    asked = [record for record in records if record.elsewhere is not None]
    elsewhere = {
        name: stats.document_rate([bool(r.elsewhere) for r in side], [r.document for r in side])
        for name, member in (("train", True), ("heldout", False))
        for side in [[record for record in asked if record.member == member]]
    }
    return {**planned, "elsewhere": {name: dataclasses.asdict(rate) for name, rate in elsewhere.items()}}


def _domains(records: Records) -> list[dict[str, Any]]:
    names = sorted({r.domain for r in records if r.domain is not None})
    sides = {"train": True, "heldout": False}
    return [
        {"domain": name}
        | {
            side: dataclasses.asdict(_rate(group, METRICS[PRIMARY])) if group else None
            for side, member in sides.items()
            for group in [[r for r in records if r.domain == name and r.member == member]]
        }
        for name in names
    ]


def _power(records: Records, rate: stats.Rate, policy: Policy, controls: Sequence[Control]) -> dict[str, Any]:
    """Return what so many documents can show: of the rate itself, and of the verdict by the true rate."""
    train, heldout = (
        [(r.document, bool(r.extractable)) for r in records if r.member == member] for member in (True, False)
    )
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
        "verdicts": [dataclasses.asdict(point) for point in power.verdicts],
        "verdict_sentence": power.sentence,
        "about": power.about,
        "sentence": stats.power_sentence(rate, policy.max_rate, remedy=sound),
    }


def _headline(plan: Mapping[str, Any], primary: Mapping[str, Any]) -> str:
    asked = plan["options"]
    sides = [f"{_counted(primary[side])} {name}" for side, name in (("train", "training"), ("heldout", "held-out"))]
    return (
        f"given {asked['prefix']} tokens, {one_line(plan['model']['name'], 80)} continues {sides[0]} and"
        f" {sides[1]} windows verbatim for {asked['suffix']} tokens"
    )


def _counted(side: Mapping[str, Any]) -> str:
    # Where documents have unequally many windows, the rate is no quotient of the two numbers.
    plain = side["rate"] is not None and side["n"] == side["documents"]
    return f"{side['hits']} of {side['n']}" + (f" ({stats.percent(side['rate'])})" if plain else "")


def _limits(plan: Mapping[str, Any], records: Records, decision: Decision) -> list[str]:
    """Say what the audit does not show, in the words of somebody who would rather not be misread."""
    options, windows = plan["options"], plan["windows"]
    limits = [
        f"Only greedy decoding after {options['prefix']} tokens of prefix was asked for {options['suffix']} tokens;"
        " text that sampling, a longer prefix or another prompt would bring out is not counted.",
        "A document that is not reproduced may still have been in the training data.",
        ABOUT_DOCUMENTS.format(units="documents"),
    ]
    asked = {measure["name"] for measure in plan.get("measures", ())}
    if decision.verdict == "found" and "use" not in asked:
        limits.append("How often ordinary use would bring the text out was not measured: these prompts are an attack.")
    if lacking := notice_of(plan["model"].get("lacks", ())):
        limits.append(f"{lacking[0].upper()}{lacking[1:]}.")
    if Capability.WRITING not in capabilities_in(plan["model"]):
        limits.append("A masked model fills in its suffix from left to right, which it was not trained to do.")
    sides = {"training": True, "held-out": False}
    ended = {name: sum(bool(r.ended) for r in records if r.member == member) for name, member in sides.items()}
    if any(ended.values()):
        counts = " and ".join(f"{count:,} {name}" for name, count in ended.items())
        limits.append(
            f"The model ended the text in {counts} windows: what it was made to write behind an end token is not"
            " counted, and what it would have gone on with is not known."
        )
    if not windows["heldout"]:
        limits.append("No held-out text was given: nothing says how often guessing alone would hit.")
    elif windows["matching"].startswith("not matched"):
        limits.append(f"Held-out text differs in kind from the training text ({windows['matching']}).")
    for aside in windows["set_aside"]:
        documents = "document" if aside["count"] == 1 else "documents"
        limits.append(f"{aside['side']}: {aside['count']:,} {documents} set aside: {aside['reason']}.")
    if windows["overlaps"]:
        limits.append(f"{len(windows['overlaps'])} held-out documents overlapped with the training text.")
    copies = plan["copies"]
    if not copies["counted"]:
        limits.append(f"Copies in the training text were not counted: {copies['reason']}.")
    if absent := sum(record.copies_normalised == 0 for record in records if record.member):
        limits.append(
            f"The suffixes of {absent} of {windows['train']} training windows stand nowhere in the index: it is not one"
            " of all the training text, so copies are too few."
        )
    if known := sum(bool(record.copies_exact) for record in records if not record.member):
        limits.append(
            f"The suffixes of {known} of {windows['heldout']} held-out windows stand in the training text,"
            " character for character."
        )
    limits += [f"{note}." for note in plan["model"].get("notes", ())]
    if plan["model"].get("missing_start") is not None:
        limits.append(
            f"config.json has bos_token_id {plan['model']['missing_start']}, the tokenizer adds none: a model that was"
            " trained behind this start token is asked without it."
        )
    ignored = plan["model"]["ignored"]
    limits += [f"The model's folder asked for {setting}, which was not followed." for setting in ignored]
    return limits


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
