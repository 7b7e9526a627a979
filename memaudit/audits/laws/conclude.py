"""The report of a grid of trainings: what was trained, the laws, and every cell that they rest on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memaudit.audits.laws.fit import Suite, fit_laws, make_suite
from memaudit.audits.laws.section import make_section
from memaudit.runs import parts, reports
from memaudit.runs.log_lines import LawsLine
from memaudit.runs.options import PlannedLaws
from memaudit.runs.plans import LawsPlan
from memaudit.runs.report_parts import report_head
from memaudit.runs.reports import LawsReport
from memaudit.runs.schema import as_record


def conclude(plan: LawsPlan, records: Sequence[LawsLine]) -> LawsReport:
    """Return the report of a finished suite: the same plan and records give the same report.

    Args:
        plan: As `memaudit.audits.laws.run` makes it.
        records: One a training, in any order.
    """
    suite = make_suite(plan["options"], records)
    laws = fit_laws(suite, plan["options"]["seed"])
    section = make_section(plan["options"], suite, laws)
    return {
        **report_head(plan),
        "kind": "laws",
        "exit_code": 0,
        "headline": section.summary,
        "options": plan["options"],
        "corpus": plan["corpus"],
        "trainings": [_training(record) for record in records],
        "laws": [as_record(law, reports.Law) for law in laws],
        "cells": list(_cells(plan["options"], suite)),
        "sections": [as_record(section, parts.Section)],
    }


def _training(record: LawsLine) -> reports.SmallTraining:
    return {
        "size": record["size"],
        "seed": record["seed"],
        "parameters": record["parameters"],
        "loss": record["loss"],
    }


def _cells(options: PlannedLaws, suite: Suite) -> Iterable[reports.Cell]:
    for place, size in enumerate(options["sizes"]):
        for copies in [0.0, *suite.axes[1].tolist()]:
            for at, context in enumerate(options["contexts"]):
                found = suite.answers[suite.copies == copies][:, place, at]
                yield {
                    "size": size,
                    "copies": int(copies),
                    "context": context,
                    "hits": int(found.sum()),
                    "n": len(found),
                }
