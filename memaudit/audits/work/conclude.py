"""What an audit of whole works comes to: every work measured, the verdict, the first line, the findings."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from memaudit.audits.server_section import server_sections
from memaudit.audits.work.judgement import judge
from memaudit.audits.work.measured import measured
from memaudit.audits.work.near import near_section
from memaudit.audits.work.reading import BoolArray, Reading
from memaudit.audits.work.section import reading_section
from memaudit.audits.work.texts import WholeWork
from memaudit.audits.work.wording import headline
from memaudit.findings import Control, fingerprint
from memaudit.metrics.probability import THRESHOLDS
from memaudit.report.endpoint import limit
from memaudit.runs import parts
from memaudit.runs.measured_lines import NearVerbatimLine
from memaudit.runs.options import WorkOptions
from memaudit.runs.parts import Finding
from memaudit.runs.plans import WorkPlan
from memaudit.runs.report_parts import report_head
from memaudit.runs.schema import as_record
from memaudit.runs.work_report import WorkMeasured, WorkReport
from memaudit.stats.rounding import stated

LIMITS = (
    "Every probability is that of one sample after the true prefix of a window. Whoever does not have the text must"
    " guess the prefix, and a service may sample otherwise.",
    "That text can be had back shows that the model has learned it, not from which source: its training text may have"
    " held an edition, quotations or pages about the work.",
    "A threshold of p_z is a convention: a window below it may still be had back with more samples.",
    "The verdict compares with the control works that were given. Works of another kind, author or time may differ from"
    " these without any memorization.",
)


def conclude(
    plan: WorkPlan,
    works: Sequence[WholeWork],
    readings: Sequence[Reading],
    shared: Sequence[BoolArray],
    near: Sequence[NearVerbatimLine] = (),
) -> WorkReport:
    """Return the report: the same plan, texts and windows give the same report.

    Args:
        plan: As `memaudit.audits.work.run` makes it.
        works: Those in question, then the control works.
        readings: Their windows, in the same order.
        shared: Which of their windows touch text that a work of the other side holds too.
        near: What was found within a few edits of suffixes, where that was asked for.
    """
    options = plan["options"]
    found = [
        measured(work, reading, options["threshold"], flags)
        for work, reading, flags in zip(works, readings, shared, strict=True)
    ]
    judged = judge(found, options, [*(Control(**control) for control in plan["controls"]), _passed_over(found)])
    controls = [as_record(control, parts.Control) for control in judged.controls]
    sections = [reading_section(found, options, judged.method), *([near_section(near)] if near else [])]
    return {
        **report_head(plan),  # type: ignore[typeddict-item]  # mypy misses the keys that follow
        "kind": "work",
        "verdict": judged.verdict,
        "exit_code": judged.exit_code,
        "headline": headline(found, options["threshold"], judged.verdict),
        "reasons": judged.reasons,
        "controls": controls,
        "limits": [*LIMITS, *judged.limits, *filter(None, [limit(plan["model"])])],
        "model": plan["model"],
        "options": options,
        "corpus": {
            "specs": plan["texts"]["specs"],
            "units": "whole works, in order",
            "sha256": hashlib.sha256("".join(work["sha256"] for work in found).encode()).hexdigest(),
        },
        "thresholds": list(THRESHOLDS),
        "works": found,
        "test": judged.test,
        "findings": [_finding(work, options) for work in found if _is_found(work, options)],
        "sections": [
            *(as_record(section, parts.Section) for section in sections),
            *server_sections(plan["model"], controls),
        ],
    }


def _passed_over(works: Sequence[WorkMeasured]) -> Control:
    """Return whether windows that were passed over are below every threshold, as far as a sample of them shows."""
    name = "windows passed over"
    checked = sum(work["checked"] for work in works)
    hits = sum(work["check_hits"] for work in works)
    left = sum(work["windows"] - work["read"] for work in works)
    if not checked:
        return Control(name, True, "every window was read by itself, or there is none")
    detail = f"{checked:,} of those that a longer pass left out were read by themselves, and {hits:,} reach a threshold"
    if hits:
        detail += f"; so all that were left of these works were read, and {left:,} of other works were not"
    return Control(name, True, detail)


def _is_found(work: WorkMeasured, options: WorkOptions) -> bool:
    reached = work["reached"][1 + THRESHOLDS.index(options["threshold"])]
    return not work["control"] and reached["windows"] > options["max_rate"] * work["windows"]


def _finding(work: WorkMeasured, options: WorkOptions) -> Finding:
    reached = work["reached"][1 + THRESHOLDS.index(options["threshold"])]
    return {
        "id": fingerprint("work", work["name"], work["sha256"]),
        "kind": "work",
        "document": work["name"],
        "source": work["source"],
        "metric": f"p_z of at least {stated(options['threshold'])}",
        "score": reached["share"] or 0.0,
        "copies": None,
        "text": work["longest"][0]["text"] if work["longest"] else None,
    }
