"""Several models given the same prompts: their continuations, how much each reproduces, and the effect of size."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import memaudit.stats as stats
from memaudit.errors import InputError
from memaudit.metrics.growth import SIZE, Slope, fit_slope, growth_table
from memaudit.records import SHOWN, Shown, WindowRecord
from memaudit.report import wording
from memaudit.report.alignment import Piece
from memaudit.report.charts.charts import MAX_SERIES, Chart, dose_chart, interval_chart
from memaudit.report.charts.graphs import graph_chart
from memaudit.report.disclosure import disclosed
from memaudit.report.endpoint import name_of
from memaudit.report.exhibits import discreet, exhibit, severity
from memaudit.report.page import render_page
from memaudit.report.replicates import replicate_table
from memaudit.report.sections import ShownTable, shown_table
from memaudit.report.training_curve import HELDOUT, TRAIN, AtStep, curve_graph, curve_sentence
from memaudit.runs import parts
from memaudit.runs.directory import ReportInput, read_finished
from memaudit.runs.extraction_report import ExtractionReport, MetricEstimate
from memaudit.runs.schema import as_record
from memaudit.runs.steps import step_of_name
from memaudit.runs.work_report import WorkReport
from memaudit.sections import Table

TITLE = "How much of the same text does each model reproduce?"
SIGN, HEAD = f"<title>{TITLE}</title>".encode(), 2_000
"""What a comparison holds, and among how many of its first bytes."""
PROMPTS = {"apart": 16, "sample": 8, "heldout": 4}
"""Prompts of each kind that are shown with what every model made of them."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One of the models that are compared."""

    name: str
    run: ReportInput[ExtractionReport]

    @property
    def report(self) -> ExtractionReport:
        """What its report.json holds."""
        return self.run.report

    @property
    def step(self) -> int | None:
        """Of its training, as its name says or the trainer noted; None where neither does."""
        return self.report["model"].get("step", step_of_name(self.report["model"]["name"]))

    @property
    def primary(self) -> MetricEstimate:
        """Its estimate of the metric that decides."""
        return next(estimate for estimate in self.report["estimates"] if estimate["primary"])


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models over the training windows of both."""

    first: str
    second: str
    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float | None
    """One-sided, documents being the unit: does the second reproduce more than the first?"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model made of a prompt."""

    name: str
    verbatim: int
    reproduced: bool
    said: list[Piece] | None


@dataclass(frozen=True, slots=True)
class Prompted:
    """One prompt with the true text and every answer."""

    record: WindowRecord
    prompt: list[Piece]
    truth: list[Piece]
    answers: list[Answer]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Models over the same windows: in the order given, checkpoints of a training in the order of their steps."""

    contenders: list[Contender]
    pairs: list[Pair]
    """Every model beside the one before it."""
    replicates: Table | None = None
    """Means over trainings that differ in their seed alone."""

    @property
    def steps(self) -> list[AtStep]:
        """What was found at every step, where all models are of different steps; else none."""
        found = [
            AtStep(s, c.primary["train"], c.primary["heldout"]) for c in self.contenders if (s := c.step) is not None
        ]
        return found if len({point.step for point in found}) == len(self.contenders) else []

    @property
    def sentence(self) -> str:
        """What the last checkpoint reproduces beside the first; empty where these are no checkpoints."""
        return curve_sentence(self.steps[0], self.steps[-1]) if self.steps else ""


def compare(folders: Sequence[Path], shown: Shown = SHOWN, *, replicates: bool = False) -> Comparison:
    """Read runs over the same windows.

    Args:
        folders: Run directories of extraction audits, at least two, in the order of the page. Where each is of another
            step of training, by its name (``checkpoint-500``, ``@step1000``), they are put in the order of the steps.
        shown: What may be shown of their texts.
        replicates: Whether models of one family and size differ in the seed of their training alone, where their
            folders do not say so.

    Raises:
        InputError: Fewer than two, runs of another kind, or over different windows.
        RunError: A folder holds no finished run.
    """
    if len(folders) < 2:
        raise InputError("a comparison needs two runs or more", "give the run directories of several audits")
    runs = [disclosed(read_finished(folder), shown) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        _refuse(folder, run.report, folders[0], runs[0].report)
    contenders = [
        Contender(name, run) for name, run in zip(names_of(folders, [run.report for run in runs]), runs, strict=True)
    ]
    if Comparison(contenders, []).steps:
        contenders.sort(key=lambda contender: contender.step or 0)
    pairs = [_pair(*both) for both in pairwise(contenders)]
    return Comparison(contenders, pairs, replicate_table(runs, declared=replicates))


def render_comparison(comparison: Comparison) -> str:
    """Return the page: the same runs give the same bytes."""
    contenders = comparison.contenders
    report = contenders[0].report
    return render_page(
        "compare.html.j2",
        TITLE,
        report["provenance"]["versions"],
        contenders=contenders,
        pairs=comparison.pairs,
        replicates=comparison.replicates and shown_table(as_record(comparison.replicates, parts.Table)),
        growth=_growth(contenders),
        report=report,
        sentence=comparison.sentence,
        curve=_curve(comparison.steps),
        charts=[chart for chart in _charts(comparison) if chart],
        groups=_prompts(contenders),
        text_shown=contenders[0].run.shown.text,
    )


def refuse_foreign(out: Path) -> None:
    """Refuse to write over a file that is no comparison.

    Raises:
        InputError: There is such a file.
    """
    if out.exists() and not (out.is_file() and SIGN in out.read_bytes()[:HEAD]):
        raise InputError(f"{out}: exists and is no comparison of memaudit", "choose another --out")


def _refuse(folder: Path, report: ExtractionReport, first: Path, other: ExtractionReport) -> None:
    """Refuse a run whose windows are not those of the first."""
    if report["kind"] != "extraction":
        raise InputError(f"{folder}: a run of kind '{report['kind']}'", "only extraction audits can be compared")
    if not report["complete"]:
        raise InputError(f"{folder}: the run is not complete", "the command of the audit resumes it")
    if report["windows"]["sha256"] != other["windows"]["sha256"]:
        same = report["model"]["tokenizer_sha256"] == other["model"]["tokenizer_sha256"]
        hint = (
            "audit both with the same --train, --heldout, --prefix, --suffix, --limit and --seed"
            if same
            else "their tokenizers differ: windows are cut on tokens, so train both models with one vocabulary"
        )
        raise InputError(f"{folder}: uses other windows than {first}", hint)


def names_of(folders: Sequence[Path], reports: Sequence[ExtractionReport | WorkReport]) -> list[str]:
    """Return what to call each model: the end of its name, or else its whole name, or else its run.

    Of one behind an address, that by which its server knows it, and where that is.
    """
    names = [str(report["model"]["name"]) for report in reports]
    ends = [name.rstrip("/").rpartition("/")[2] for name in names]
    ends = [name_of(report["model"]) or end for report, end in zip(reports, ends, strict=True)]
    for found in (ends, names, [f.name for f in folders]):
        if len(set(found)) == len(found):
            return found
    return [str(folder) for folder in folders]


def _pair(first: Contender, second: Contender) -> Pair:
    sides = [[r for r in contender.run.records if r.member] for contender in (first, second)]
    hits = [(one.extractable, other.extractable) for one, other in zip(*sides, strict=True)]
    documents = [record.document for record in sides[0]]
    gains = stats.document_means([float(b) - float(a) for a, b in hits], documents)
    return Pair(
        first.name,
        second.name,
        both=hits.count((True, True)),
        only_first=hits.count((True, False)),
        only_second=hits.count((False, True)),
        neither=hits.count((False, False)),
        p_value=stats.sign_flip_test(gains, seed=first.report["options"]["seed"]),
    )


def _charts(comparison: Comparison) -> tuple[Chart | None, ...]:
    contenders = comparison.contenders
    sizes = None if comparison.steps else _sizes(contenders)
    return _rates(contenders), sizes, _doses(contenders)


def _curve(steps: Sequence[AtStep]) -> Chart | None:
    """Draw the rates of both sides over the steps of a training, if models are its checkpoints."""
    if not steps:
        return None
    lines = {TRAIN: [(p.step, p.train) for p in steps], HELDOUT: [(p.step, p.heldout) for p in steps]}
    return graph_chart(as_record(curve_graph(lines), parts.Graph), "compared-steps")


def _rates(contenders: Sequence[Contender]) -> Chart | None:
    chart = interval_chart([{**c.primary, "label": c.name} for c in contenders], "compared-rates")
    return chart and replace(
        chart,
        title="Reproduced word for word, model by model",
        description="Share of windows whose true continuation the model gives exactly, with 95% intervals: training"
        " text as filled circles, held-out text as open diamonds.",
        columns=["Model", *chart.columns[1:]],
    )


def _sizes(contenders: Sequence[Contender]) -> Chart | None:
    """Draw the rate against the number of parameters, a line a family; counts of an n-gram are its parameters."""
    families: dict[str, list[list[float | None]]] = {}
    for c in sorted(contenders, key=lambda c: c.report["model"]["parameters"] or 0):
        train, size = c.primary["train"], c.report["model"]["parameters"]
        if size and train["rate"] is not None:
            point = [float(size), train["rate"], train["low"], train["high"]]
            families.setdefault(wording.family(c.report["model"]["family"]), []).append(point)
    graph: parts.Graph = {
        "title": "Reproduced word for word, by size",
        "description": "Share of training windows reproduced against the number of parameters, with 95% intervals;"
        " models of one family are joined. What n-grams count are their parameters.",
        "x": "Parameters",
        "y": "Reproduced",
        "x_scale": "log",
        "y_share": True,
        "series": [{"name": name, "points": points} for name, points in families.items()],
    }
    return graph_chart(graph, "compared-sizes")


def _growth(contenders: Sequence[Contender]) -> ShownTable | None:
    """Return how the rate grows with size, family by family, beside published laws; None where sizes do not differ."""
    families: dict[str, list[Contender]] = {}
    for c in contenders:
        if c.report["model"]["parameters"]:
            families.setdefault(wording.family(c.report["model"]["family"]), []).append(c)
    slopes = [_slope(name, some) for name, some in families.items()]
    fitted = [slope for slope in slopes if slope]
    return shown_table(as_record(growth_table(SIZE, fitted), parts.Table)) if fitted else None


def _slope(family: str, contenders: Sequence[Contender]) -> Slope | None:
    sizes = [float(c.report["model"]["parameters"] or 0) for c in contenders]
    x = sorted(set(sizes))
    asked = [(x.index(n), r) for n, c in zip(sizes, contenders, strict=True) for r in c.run.records if r.member]
    places, records = [place for place, _ in asked], [record for _, record in asked]
    seed = contenders[0].report["options"]["seed"]
    return fit_slope(family, x, places, [r.document for r in records], [r.extractable for r in records], seed)


def _doses(contenders: Sequence[Contender]) -> Chart | None:
    if len(contenders) > MAX_SERIES:
        return None
    doses = [(c.name, c.report["doses"] or c.report.get("counted_doses", [])) for c in contenders]
    return dose_chart(doses, "compared-doses")


def _prompts(contenders: Sequence[Contender]) -> list[tuple[str, str, list[Prompted]]]:
    """Return (title, rule, prompts): where models part ways, a random sample, held-out text."""
    windows = list(zip(*(c.run.records for c in contenders), strict=True))
    members = [window for window in windows if window[0].member]
    others = [window for window in windows if not window[0].member]
    seed = contenders[0].report["options"]["seed"]
    apart = [w for w in members if len({r.extractable for r in w}) > 1]
    reproduced = [sum(w[k].extractable for w in members) for k in range(len(contenders))]
    best = max(range(len(contenders)), key=lambda k: (reproduced[k], k))
    name = contenders[best].name
    most = "most" if reproduced.count(reproduced[best]) == 1 else "as many as any"
    apart.sort(key=lambda w: (not w[best].extractable, sum(r.extractable for r in w), w[0].index))
    lot = random.Random(seed).sample(members, min(PROMPTS["sample"], len(members)))
    near = sorted(others, key=lambda w: (*(-s for s in max(map(severity, w))), w[0].index))
    groups = [
        (
            "Where they differ",
            f"{min(len(apart), PROMPTS['apart'])} of {len(apart):,} training windows that some models reproduce and"
            f" others do not, first those that {name}, which reproduces {most}, reproduces and the fewest others do.",
            apart[: PROMPTS["apart"]],
        ),
        (
            "A random sample",
            f"{len(lot)} of {len(members):,} training windows, drawn by seed {seed}.",
            sorted(lot, key=lambda w: w[0].index),
        ),
        (
            "The best of the held-out text",
            f"The {min(len(near), PROMPTS['heldout'])} of {len(near):,} windows of text that no model saw and that any"
            " of them continued best.",
            near[: PROMPTS["heldout"]],
        ),
    ]
    names = [c.name for c in contenders]
    shown = contenders[0].run.shown
    return [(title, rule, [_prompted(names, w, shown) for w in chosen]) for title, rule, chosen in groups if chosen]


def _prompted(names: Sequence[str], window: Sequence[WindowRecord], shown: Shown) -> Prompted:
    record = window[0]
    made = [exhibit(each, shown=shown) for each in window]
    answers = [Answer(name, e.verbatim, e.record.extractable, e.said) for name, e in zip(names, made, strict=True)]
    truth = discreet([Piece(record.suffix_text)], shown, before=record.prefix_text)
    return Prompted(record, made[0].prompt, truth, answers)
