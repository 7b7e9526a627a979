"""What report.json of every kind of run holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict

from memaudit.runs.contamination_report import ContaminationReport
from memaudit.runs.extraction_report import ExtractionReport
from memaudit.runs.options import ComparisonOptions, CounterfactualOptions, ExploitationOptions, GapOptions, PlannedLaws
from memaudit.runs.parts import (
    BlindBaseline,
    Control,
    Difference,
    Finding,
    LabelledSets,
    MaskedModel,
    ModelDescription,
    Rate,
    ReadFiles,
    TextDigest,
)
from memaudit.runs.plans import (
    BenchmarkSide,
    CounterfactualCorpus,
    HeldoutSide,
    PassageCorpus,
    ReferenceDescription,
)
from memaudit.runs.reconstruction_report import ReconstructionReport
from memaudit.runs.report_parts import ConfoundedVerdict, Effect, Judged, ReportHead, Sections, Verdict
from memaudit.runs.work_report import WorkReport


class GapItems(TypedDict):
    """How many items there are of each sort."""

    read: int
    old: int
    new: int
    across: int
    """Left out: their date may be on either side of the cutoff."""
    missing: int
    """Left out: a model has no result of them."""


class Gap(TypedDict):
    """How much more a model loses than its controls, in shares: .1 is ten points."""

    estimate: float
    low: float | None
    """95% interval (Welch); None where no item differs from another."""
    high: float | None
    standard_error: float
    old: int
    """Items."""
    new: int


class GapPoint(TypedDict):
    """How likely the verdicts are at a true gap; all in [0, 1]."""

    gap: float
    found: float
    no_evidence: float


class GapReport(ReportHead, Judged, Sections):
    """Report of a comparison of old and new items."""

    kind: Literal["gap"]
    verdict: Verdict
    options: GapOptions
    corpus: TextDigest
    results: ReadFiles
    items: GapItems
    gap: Gap | None
    """None with too few items."""
    p_value: float | None
    """One-sided permutation test; None with too few items."""
    minimum_detectable_gap: float | None
    """Smallest gap that is found with a probability of .8; None where there is none, or nothing is known of it."""
    verdicts: list[GapPoint]


class SmallTraining(TypedDict):
    """One training of the grid."""

    size: int
    seed: int
    parameters: int
    loss: float | None
    """In nats a token; None for models that are counted."""


class Law(TypedDict):
    """One fitted law; None where there is one x only."""

    name: str
    unit: str
    x: list[float]
    rates: list[float]
    """Fraction extracted at each x, averaged over the other axes, in [0, 1]."""
    slope: float | None
    """Change of the fraction when x is ten times as large."""
    low: float | None
    high: float | None
    r2: float | None
    """Of a line against the logarithm of x."""
    r2_linear: float | None
    """Of a line against x itself."""
    by_seed: list[float]
    """The slope in each seed alone."""
    holds: bool | None
    """None where it was not decided."""
    words: str


class Cell(TypedDict):
    """Passages of one cell of the grid, all seeds."""

    size: int
    copies: int
    """0 for twins."""
    context: int
    """Tokens."""
    hits: int
    n: int


class LawsReport(ReportHead, Sections):
    """Report of a grid of trainings."""

    kind: Literal["laws"]
    exit_code: int
    headline: str
    options: PlannedLaws
    corpus: PassageCorpus
    trainings: list[SmallTraining]
    laws: list[Law]
    cells: list[Cell]


class CounterfactualModel(TypedDict):
    """One model of a random part of the corpus."""

    index: int
    parameters: int
    loss: float | None
    """In nats a token; None for models that are counted."""


class DescribedDocument(TypedDict):
    """A document of the corpus."""

    document: str
    source: str
    domain: str | None
    text: int
    """A number that copies of one text share."""
    copies: int
    tokens: int
    """That are scored."""


class CounterfactualDocument(DescribedDocument):
    """A document and how well it is known, in shares of its tokens; None where a value is undefined."""

    memorization: float | None
    """Inside less outside, in [-1, 1]."""
    inside: float | None
    """Mean over models that saw it, in [0, 1]."""
    outside: float | None
    """Mean over models that did not, in [0, 1]."""
    error: float | None
    """Standard error of memorization."""
    p_value: float | None


class CounterfactualReport(ReportHead, Sections):
    """Report of a counterfactual run."""

    kind: Literal["counterfactual"]
    exit_code: int
    headline: str
    options: CounterfactualOptions
    corpus: CounterfactualCorpus
    models: list[CounterfactualModel]
    documents: list[CounterfactualDocument]


class NamedDifference(Difference):
    """A difference and what it is called."""

    name: Literal["difference"]


class LabelEstimate(TypedDict):
    """How much better the labels of the seen half are known."""

    metric: Literal["mem", "expl"]
    label: str
    definition: str
    primary: bool
    p_value: float
    """One-sided permutation test."""
    p_holm: float
    """Adjusted for both tests."""
    unit: Literal["text"]
    effect: NamedDifference
    """Seen less unseen."""
    seen: Rate
    unseen: Rate
    minimum_detectable: float
    """Smallest true difference that is found with a probability of .8."""


class ExploitationReport(ReportHead, Judged, Sections):
    """Report of a run of labels."""

    kind: Literal["exploitation"]
    verdict: ConfoundedVerdict
    model: MaskedModel
    corpus: TextDigest
    sets: LabelledSets
    left_out: dict[str, int]
    """Texts that were left out, by the reason."""
    options: ExploitationOptions
    estimates: list[LabelEstimate]


class DetectorFinding(TypedDict):
    """What one detector says by itself."""

    name: str
    label: str
    definition: str
    p_value: float | None
    """One-sided; None where the test could not be run."""
    reason: str
    """Why there is no p-value, else what kind of test it is of."""
    effect: Effect
    members: int
    """Suspects with a score."""
    heldout: int
    undefined: int
    """Documents without a score."""
    effect_size: float | None
    """Cohen's d."""
    controls: list[Control]
    null_correlations: NotRequired[list[tuple[str, float]]]
    """Of its scores with those of each null model, in [-1, 1]."""


class Detection(DetectorFinding):
    """What one detector says, among all that were declared."""

    p_holm: float | None
    """Adjusted over all declared detectors."""
    speaks: bool
    """Whether its p-value may count as evidence: no control of its own failed."""
    rejects: bool


class AucPoint(TypedDict):
    """How likely the verdicts are where the primary detector has an AUC; all in [0, 1]."""

    auc: float
    found: float
    """At least."""
    no_evidence: float
    """At most."""


class AucPower(TypedDict):
    """What the verdict would be, by the AUC of the primary detector."""

    members: int
    heldout: int
    level: float
    """Of one test, in (0, 1)."""
    minimum_detectable_auc: float | None
    """Smallest that is found with a probability of .8; None where there is none."""
    sentence: str
    verdicts: list[AucPoint]
    about: str
    """What the probabilities are of, and what they assume."""


class MembershipReport(ReportHead, Judged, Sections):
    """Report of a membership run."""

    kind: Literal["membership"]
    verdict: ConfoundedVerdict
    primary: str
    """Name of the primary test."""
    options: ComparisonOptions
    references: list[ReferenceDescription]
    null: str
    """Name of the null model."""
    model: ModelDescription
    benchmark: BenchmarkSide
    heldout: HeldoutSide
    corpus: TextDigest
    detections: list[Detection]
    blind: BlindBaseline | None
    """None where no detector compares the sides."""
    power: AucPower
    findings: list[Finding]


class AnyReport(ReportHead):
    """What every report holds; what more it must hold, a kind of another package says."""

    kind: str


class TextUnits(TypedDict):
    """What was read, as a page of sections shows it."""

    specs: list[str]
    units: str


class SectionsReport(AnyReport, Sections):
    """Report of a run made of sections, whatever its kind."""

    exit_code: int
    headline: str
    options: dict[str, Any]
    corpus: TextUnits


class JudgedReport(AnyReport, Judged, Sections):
    """And of one that comes to a verdict."""

    verdict: Literal["found", "clean", "no-evidence", "inconclusive", "confounded"]
    options: dict[str, Any]
    corpus: TextUnits


VerdictReport = (
    ExtractionReport
    | ContaminationReport
    | MembershipReport
    | GapReport
    | ExploitationReport
    | WorkReport
    | ReconstructionReport
    | JudgedReport
)
"""Any report that comes to a verdict."""
SectionedReport = (
    MembershipReport
    | GapReport
    | ExploitationReport
    | LawsReport
    | CounterfactualReport
    | WorkReport
    | ReconstructionReport
    | SectionsReport
    | JudgedReport
)
"""Any report that is made of sections alone."""
REPORTS: Mapping[str, type] = {
    "extraction": ExtractionReport,
    "contamination": ContaminationReport,
    "membership": MembershipReport,
    "gap": GapReport,
    "laws": LawsReport,
    "counterfactual": CounterfactualReport,
    "exploitation": ExploitationReport,
    "work": WorkReport,
    "reconstruction": ReconstructionReport,
}
"""Kind of run -> what its report.json holds."""
