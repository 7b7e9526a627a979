"""What report.json of an extraction audit holds."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from memaudit.records import FirstWindow
from memaudit.runs.options import AuditOptions
from memaudit.runs.parts import Difference, Finding, ModelDescription, Rate, Section, Summary, Table
from memaudit.runs.plans import AnswersDescription, ChatDescription, CopiesDescription, WindowsDescription
from memaudit.runs.report_parts import Compared, Judged, PolicyVerdict, ReportHead


class RatePolicy(TypedDict):
    """What is tolerated."""

    max_rate: float
    """Largest tolerated rate of the primary metric on training text, in [0, 1]."""
    alpha: float
    """Level of the test of training text against held-out text, in [0, 1]."""


class MetricEstimate(Compared):
    """A metric that makes a window a hit or not, compared between the sides."""

    metric: str
    label: str
    definition: str
    threshold: float
    """Value from which on a window is a hit."""
    p_value: float | None
    """One-sided permutation test; None where there is nothing to compare."""
    p_holm: float | None
    """Adjusted over all metrics but the primary one, which has none."""
    unit: Literal["document"]
    primary: bool


class MetricMean(TypedDict):
    """Mean of a graded metric over the windows of each side; None where one value is undefined."""

    metric: str
    label: str
    unit: str
    train: float | None
    heldout: float | None
    reason: NotRequired[str]
    """Why it was not measured, of a model that cannot give what it needs."""
    sampled: NotRequired[bool]
    """It is a mean over the random sample of windows."""


class Sample(TypedDict):
    """Windows of each side in the random sample, which alone was scored and continued whole."""

    train: int
    heldout: int


class SideRates(TypedDict):
    """A rate of each side."""

    train: Rate
    heldout: Rate


class DoseRate(Rate):
    """Verbatim rate of the windows of one number of planted copies; twins are dose 0."""

    copies: int
    edit_similarity: float | None
    """Mean, in [0, 1]; None where one is undefined."""


class CountedDoseRate(Rate):
    """Verbatim rate of the windows whose suffixes were counted so often in the training text."""

    copies: int
    """The least."""
    most: NotRequired[int]


class DistributionGroup(TypedDict):
    """Windows of all text, or of one domain, by bin."""

    domain: str | None
    """None for all text."""
    train: list[int]
    heldout: list[int]
    train_median: float | None
    heldout_median: float | None


class Distribution(TypedDict):
    """How the values of a metric are distributed on each side."""

    metric: str
    label: str
    unit: str
    edges: list[float]
    """Of the bins: one more than there are; the last bin holds its upper edge."""
    groups: list[DistributionGroup]
    sampled: NotRequired[bool]
    """They are the values of the random sample of windows."""


class DomainShare(TypedDict):
    """A part of the training text, and how much of it is reproduced."""

    domain: str
    documents: int
    counted: int
    """Windows whose copies are known."""
    repeated: int
    """Windows whose suffix occurs more than once in the training text."""
    train: Rate | None


class DomainRates(TypedDict):
    """Verbatim rate of the windows of one domain on each side; None where it has none there."""

    domain: str
    train: Rate | None
    heldout: Rate | None


class CopiesFound(CopiesDescription):
    """How copies were counted, and how many other continuations occur elsewhere in the training text."""

    elsewhere: NotRequired[SideRates]


class RatePoint(TypedDict):
    """How likely the verdicts are at a true rate; all in [0, 1]."""

    rate: float
    found: float
    clean: float


class RatePower(TypedDict):
    """What so many documents can show."""

    upper_bound: float | None
    """One-sided 95% limit of the rate; None without a document."""
    documents: int
    documents_needed: int | None
    """For a rate of 0 to be called clean; None where no number is enough."""
    minimum_detectable_rate: float | None
    """Smallest rate that is found with a probability of .8; None where there is none."""
    correlation: float
    """Of hits within a document, in [0, 1]."""
    heldout_rate: float
    verdicts: NotRequired[list[RatePoint]]
    verdict_sentence: NotRequired[str]
    about: NotRequired[str]
    """What the probabilities are of, and what they assume."""
    sentence: str


class PairedRates(TypedDict):
    """Verbatim rates of a fine-tuned model and of its base model over the same windows of one side."""

    tuned: Rate
    base: Rate
    difference: Difference | None
    """Tuned - base, paired by document; None without a document."""
    only_tuned: int
    """Windows that only the fine-tuned model reproduces."""
    only_base: int
    p_value: float | None
    """One-sided, of turning the signs of documents; None without a document."""


class BaseComparison(TypedDict):
    """What fine-tuning added, on either side."""

    train: PairedRates
    heldout: PairedRates


class ExtractionReport(ReportHead, Judged):
    """Report of an extraction audit."""

    kind: Literal["extraction"]
    verdict: PolicyVerdict
    primary_metric: str
    policy: RatePolicy
    model: ModelDescription
    train: Summary
    heldout: Summary
    options: AuditOptions
    windows: WindowsDescription
    estimates: list[MetricEstimate]
    base: NotRequired[BaseComparison]
    """Of an adapter whose base model was given the same windows."""
    sample: NotRequired[Sample]
    """All windows, where there are few or it was asked for; absent from reports of before there was a sample."""
    means: list[MetricMean]
    ended: NotRequired[SideRates]
    """Windows that the model ended."""
    copies: NotRequired[CopiesFound]
    chat: NotRequired[ChatDescription]
    doses: list[DoseRate]
    counted_doses: NotRequired[list[CountedDoseRate]]
    growth: NotRequired[Table | None]
    """Slope of the rate over copies; None with fewer than two numbers of copies."""
    distributions: NotRequired[list[Distribution]]
    composition: NotRequired[list[DomainShare]]
    domains: list[DomainRates]
    power: RatePower
    first_window: NotRequired[FirstWindow | None]
    """None where nothing was measured."""
    answers: NotRequired[AnswersDescription]
    """Where there was no model, but what one answered."""
    findings: list[Finding]
    sections: NotRequired[list[Section]]
    """Of the measures that were taken beside the windows."""
