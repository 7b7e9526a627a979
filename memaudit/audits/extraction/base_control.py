"""The base model of an adapter as a control: what it reproduces of the same windows, fine-tuning did not add.

A window is a pair: the fine-tuned model reproduces it or not, and so does the base model. Only what makes a window a
hit is asked of the base model, which takes few tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

import memaudit.stats as stats
from memaudit.audits.documents import about_window
from memaudit.audits.extraction.plan import BLOCK
from memaudit.models.base import LanguageModel
from memaudit.models.memory import in_halves
from memaudit.records import FloatArray, Window, WindowRecord
from memaudit.runs import parts
from memaudit.runs.directory import RunDirectory
from memaudit.runs.extraction_report import BaseComparison, PairedRates
from memaudit.runs.measured_lines import BaseLine
from memaudit.runs.plans import BaseDescription
from memaudit.runs.schema import as_record
from memaudit.sections import Column, Section, Table, Value
from memaudit.stats.rounding import p_value, points

BASE = "base"
"""Name of its lines in the log and of its section."""
_METHOD = (
    "Both models are given the same windows. Rates are means over documents; their difference is paired: the limits of"
    " the two rates are combined with the correlation of the two over documents (Newcombe 1998b, method 10; MOVER for"
    " correlated rates, Zou & Donner 2008). p is one-sided, of the test that turns the sign of each document's"
    " difference (McNemar's exact test where a document has one window)."
)


def describe_base(model: LanguageModel) -> BaseDescription:
    """Return what a plan says of a base model, and how many windows are logged together."""
    return {"family": model.family, "parameters": model.parameters, "sha256": model.sha256, "block": BLOCK}


def measure_base(base: LanguageModel, windows: Sequence[Window], run: RunDirectory) -> None:
    """Log how far the base model follows every window that the log lacks; its lines stand behind the windows.

    Args:
        base: The base model.
        windows: Of the audit.
        run: Keeps the log.
    """
    first = len(windows)
    blocks = [range(first + at, first + min(at + BLOCK, first)) for at in range(0, first, BLOCK)]
    for block in run.pending(blocks):
        some = [windows[place - first] for place in block]
        matched, _ = in_halves(lambda part: base.screen(part).tolist(), some)
        run.append([_line(i, window, n) for i, window, n in zip(block, some, matched, strict=True)])


def _line(index: int, window: Window, matched: int) -> dict[str, Any]:
    found = {"tokens": len(window.suffix), "matched": matched}
    return {**about_window(window), **found, "index": index, "measure": BASE}


def base_lines(windows: int, run: RunDirectory) -> list[BaseLine]:
    """Return the lines of a run with so many windows, in their order."""
    return [cast("BaseLine", run.records[windows + i]) for i in range(windows)]


def compare_with_base(records: Sequence[WindowRecord], lines: Sequence[BaseLine], seed: int) -> BaseComparison:
    """Compare both models on the windows of either side.

    Args:
        records: What the fine-tuned model did.
        lines: What the base model did, in the same order.
        seed: Of the test.
    """
    sides = [
        _paired([(r, line) for r, line in zip(records, lines, strict=True) if r.member is member], seed)
        for member in (True, False)
    ]
    return {"train": sides[0], "heldout": sides[1]}


def base_clause(found: BaseComparison) -> str:
    """Return what the verdict's sentence says of the base model, from its semicolon on."""
    side = found["train"]
    tuned, base, difference = side["tuned"], side["base"], side["difference"]
    if difference is None:
        return ""
    counted = f"{base['hits']} of {base['n']}"
    if not base["hits"] and not tuned["hits"]:
        return f"; its base model reproduces {counted} too"
    added = _in_points(difference)
    if difference["low"] > 0:
        return f"; its base model reproduces {counted}, so fine-tuning added {added}"
    if base["hits"]:
        return f"; its base model already reproduces {counted} (difference {added})"
    return f"; its base model reproduces {counted}, and the difference, {added}, may be chance"


def _in_points(difference: parts.Difference) -> str:
    estimate, low, high = (points(difference[name], sign=False) for name in ("estimate", "low", "high"))
    return f"{estimate} points [{low}, {high}]"


def base_section(found: BaseComparison, asked: str) -> parts.Section:
    """Return the section of the report; ``asked`` says what stands before a text (`memaudit.report.wording`)."""
    rows: list[list[Value]] = []
    for name, side in (("Training", found["train"]), ("Held-out", found["heldout"])):
        rows.append([name, *_cells(side)])
    columns = [Column("Windows")]
    for who in ("Fine-tuned model", "Base model"):
        columns += [Column(f"{who}: verbatim", "number"), Column("Of", "number"), Column("Documents", "share")]
    columns += [Column("Difference in points, 95% interval"), Column("Only after fine-tuning", "number")]
    columns += [Column("Only before", "number"), Column("p")]
    notes = [
        "What both reproduce the base model knew before: from its own training, or because the text says itself what"
        " comes next. What only the fine-tuned model reproduces was added by fine-tuning.",
        "Tokens that came with the adapter the base model reads as the mean of its own embeddings.",
    ]
    section = Section(
        BASE,
        "What fine-tuning added",
        _summary(found),
        " ".join(filter(None, (_METHOD, asked))),
        [Table("The same windows", columns, rows)],
        [],
        notes,
    )
    return as_record(section, parts.Section)


def _paired(pairs: Sequence[tuple[WindowRecord, BaseLine]], seed: int) -> PairedRates:
    names = [record.document for record, _ in pairs]
    hits = np.array([[record.extractable, _hit(line)] for record, line in pairs], np.bool_).reshape(-1, 2)
    rates = [stats.document_rate(hits[:, column], names) for column in (0, 1)]
    shares = stats.document_means(hits, names) if names else np.empty((0, 2))
    difference = stats.paired_difference(rates[0], rates[1], shares)
    return {
        "tuned": as_record(rates[0], parts.Rate),
        "base": as_record(rates[1], parts.Rate),
        "difference": None if difference is None else as_record(difference, parts.Difference),
        "only_tuned": int((hits[:, 0] & ~hits[:, 1]).sum()),
        "only_base": int((hits[:, 1] & ~hits[:, 0]).sum()),
        "p_value": _p_value(shares[:, 0] - shares[:, 1], seed),
    }


def _p_value(differences: FloatArray, seed: int) -> float | None:
    """Return the p-value of documents' differences; where there is none, its sign says nothing."""
    found = differences[differences != 0]
    return stats.sign_flip_test(found, seed=seed) if len(found) else (1.0 if len(differences) else None)


def _hit(line: BaseLine) -> bool:
    return line["matched"] == line["tokens"]


def _cells(side: PairedRates) -> list[Value]:
    tuned, base, difference = side["tuned"], side["base"], side["difference"]
    told = None if difference is None else _in_points(difference).replace(" points", "")
    rates: list[Value] = [tuned["hits"], tuned["n"], tuned["rate"], base["hits"], base["n"], base["rate"]]
    return [*rates, told, side["only_tuned"], side["only_base"], p_value(side["p_value"])]


def _summary(found: BaseComparison) -> str:
    told = []
    for name, side in (("training", found["train"]), ("held-out", found["heldout"])):
        tuned, base, difference = side["tuned"], side["base"], side["difference"]
        if difference is not None:
            counted = f"{tuned['hits']} of {tuned['n']} {name} windows, its base model {base['hits']}"
            told.append(f"{counted}: {_in_points(difference)}")
    verdict = _verdict(found["train"])
    return f"The fine-tuned model reproduces {'; '.join(told)}.{verdict}" if told else "No window was asked."


def _verdict(side: PairedRates) -> str:
    difference = side["difference"]
    if difference is None or difference["low"] > 0 or not side["base"]["hits"]:
        return ""
    return " The base model already reproduces the training text: fine-tuning is not seen to have added to it."
