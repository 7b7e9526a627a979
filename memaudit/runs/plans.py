"""What plan.json of every kind of run holds: what the run is about, what made it, and how it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict

from memaudit.runs.options import (
    AuditOptions,
    ComparisonOptions,
    ContaminationOptions,
    CounterfactualOptions,
    ExploitationOptions,
    GapOptions,
    Judgement,
    PlannedLaws,
)
from memaudit.runs.parts import (
    BlindBaseline,
    Control,
    FileDigest,
    Format,
    LabelledSets,
    MaskedModel,
    MeasureDescription,
    ModelDescription,
    ReadFiles,
    RecitalDescription,
    SchemaVersion,
    Summary,
)
from memaudit.runs.reconstruction import ReconstructionSubject
from memaudit.runs.work_plan import WorkSubject


class PlanHead(TypedDict):
    """What every plan holds beside its kind and what it is about."""

    schema_version: NotRequired[SchemaVersion]
    versions: dict[str, str]
    """Of memaudit, Python and the libraries that touch a number."""
    command: str
    """What asks for the same run again."""
    set_elsewhere: NotRequired[list[str]]
    """Where the options that were not typed came from."""
    identity: str
    """SHA-256 of what the run is about."""


class GapSubject(TypedDict):
    """What a comparison of old and new items is about."""

    options: GapOptions
    results: ReadFiles


class GapPlan(PlanHead, GapSubject):
    """Plan of a comparison of old and new items."""

    kind: Literal["gap"]


class PassageCorpus(TypedDict):
    """The text of which passages are taken; by default that of the Python installation, which has no files."""

    specs: list[str]
    units: str
    files: NotRequired[list[FileDigest]]
    documents: NotRequired[int]
    empty: NotRequired[int]
    rejected: NotRequired[int]
    first_rejected: NotRequired[list[str]]
    domains: NotRequired[dict[str, int]]
    conversations: NotRequired[dict[str, int]]
    read_as: NotRequired[dict[str, Format]]
    passages: int
    sha256: str
    """Of all passages."""


class LawsSubject(TypedDict):
    """What a grid of trainings is about."""

    options: PlannedLaws
    corpus: PassageCorpus
    tokenizer_sha256: str


class LawsPlan(PlanHead, LawsSubject):
    """Plan of a grid of trainings."""

    kind: Literal["laws"]


class CounterfactualCorpus(Summary):
    """The text of which every model reads a random part."""

    too_short: int
    """Documents of a single token, left out."""
    sha256: str
    """Of all texts."""


class CounterfactualSubject(TypedDict):
    """What a counterfactual run is about."""

    options: CounterfactualOptions
    corpus: CounterfactualCorpus
    tokenizer_sha256: str


class CounterfactualPlan(PlanHead, CounterfactualSubject):
    """Plan of a counterfactual run."""

    kind: Literal["counterfactual"]


class ExploitationSubject(TypedDict):
    """What a run of labels is about."""

    model: MaskedModel
    options: ExploitationOptions
    labels: list[str]
    sets: LabelledSets
    left_out: dict[str, int]
    """Texts that were left out, by the reason."""


class ExploitationPlan(PlanHead, ExploitationSubject):
    """Plan of a run of labels."""

    kind: Literal["exploitation"]


class ReferenceDescription(TypedDict):
    """A model that never saw the suspects."""

    name: str
    family: str
    trained: bool
    """Whether it was trained in the run."""
    documents: int | None
    """That it was trained on; None where it was given."""
    sha256: str
    """Of the model, or of what it is trained on."""


class MembershipDesign(ComparisonOptions):
    """What the scores of whole documents are compared by."""

    references: list[ReferenceDescription]
    null: str
    """Name of the null model."""
    set_apart: int
    """Held-out documents that references are trained on."""
    excluded: int
    """Documents that references are not trained on, because they contain a compared one."""


class BenchmarkSide(TypedDict):
    """The items of one side, as they were read."""

    specs: list[str]
    files: list[FileDigest]
    layout: str | None
    fields: dict[str, list[str]]
    """Part of an item -> the fields that it is made of."""
    items: int
    empty: int
    rejected: int
    first_rejected: list[str]
    repeated: int
    """Items that repeat another word for word."""
    set_aside: int
    """Held-out items that occur in the benchmark, or contain an item of it."""
    first_set_aside: list[str]


class HeldoutSide(BenchmarkSide):
    """The held-out items, as they were read."""

    compared: int
    """That no reference is trained on."""


class MembershipSubject(TypedDict):
    """What a membership run is about."""

    model: ModelDescription
    benchmark: BenchmarkSide
    heldout: HeldoutSide
    membership: MembershipDesign
    measures: list[MeasureDescription]
    controls: list[Control]
    declared: list[str]
    """The family of tests."""
    primary: str
    """Name of the primary test."""


class MembershipPlan(PlanHead, MembershipSubject):
    """Plan of a membership run."""

    kind: Literal["membership"]


class SetAside(TypedDict):
    """Documents that gave no window."""

    side: str
    reason: str
    count: int


class Overlap(TypedDict):
    """A held-out document and the first training document with which it shares a span."""

    heldout: str
    train: str
    view: str
    """How the texts were read where they share it."""


class WindowsDescription(TypedDict):
    """The windows that were drawn."""

    train: int
    heldout: int
    train_documents: int
    heldout_documents: int
    matching: str
    """How alike the sides are, in words."""
    set_aside: list[SetAside]
    overlaps: list[Overlap]
    sha256: str
    """Of all windows."""


class IndexDescription(TypedDict):
    """An index of the training text."""

    sha256: str
    documents: int
    words: int


class CopiesDescription(TypedDict):
    """Whether copies in the training text are counted."""

    counted: bool
    reason: str | None
    """Why not."""
    index: IndexDescription | None
    """The index that was given; None for one made in memory."""


class BaseDescription(TypedDict):
    """The base model of an adapter, which is given the same windows as a control."""

    family: str
    parameters: int
    sha256: str
    block: int
    """Windows that are screened and logged together."""


class AnswersDescription(TypedDict):
    """Answers that somebody else produced, in place of a model."""

    fields: dict[str, str]
    """Part of a record -> the field that it was read from."""
    attempts: int
    """That count of every prompt, on either side."""
    most: int
    """Attempts that one prompt has at most."""
    tokens: str
    """What is compared, in words."""
    searched: NotRequired[Summary]
    """Training text in which copies are counted."""


class ChatDescription(TypedDict):
    """How conversations were written for the model, and which replies were asked for."""

    template: str
    """Where the chat template is from, in words."""
    sha256: str | None
    """Of the template; None where there is none."""
    least: int
    """Tokens that a reply must have."""
    longest_prompt: int
    """Tokens."""
    cut: int
    """Windows whose prompt was cut from the left, for it is longer than the model reads."""
    left_out: list[SetAside]
    """Replies that gave no window."""
    dated: bool
    """Whether the template writes a date, which is 26 July 2024 here."""


class ExtractionSubject(TypedDict):
    """What an extraction audit is about."""

    model: ModelDescription
    base: NotRequired[BaseDescription]
    """Of a model that is an adapter, unless it was asked without."""
    train: Summary
    heldout: Summary
    options: AuditOptions
    windows: WindowsDescription
    copies: CopiesDescription
    chat: NotRequired[ChatDescription]
    """Of an audit of conversations."""
    measures: NotRequired[list[MeasureDescription]]
    metrics: NotRequired[list[str]]
    """Names of metrics that other packages declare; they are computed of every window too."""
    membership: NotRequired[MembershipDesign]
    answers: NotRequired[AnswersDescription]
    """Where there is no model, but what one answered."""
    recital: NotRequired[RecitalDescription]
    """Of a model behind an address, where it was named."""
    block_size: int
    """Windows that are scored and logged together."""
    sample_size: NotRequired[int]
    """Windows a side that are scored and continued whole, where not all are."""
    controls: list[Control]


class ExtractionPlan(PlanHead, ExtractionSubject):
    """Plan of an extraction audit."""

    kind: Literal["extraction"]


class SearchedBenchmark(ReadFiles):
    """The items that are searched for."""

    fields: dict[str, list[str]]
    """Part of an item -> the fields that it is made of."""
    items: int


class SearchedIndex(TypedDict):
    """An index that is searched."""

    path: str
    sha256: str


class SearchedCorpus(TypedDict):
    """What is searched, in units that are searched apart."""

    specs: list[str]
    units: list[tuple[str, int | None, str]]
    """Name of a unit, its bytes where it is a file, and the spec that stands for it."""
    indices: list[SearchedIndex]
    read_as: NotRequired[dict[str, Format]]
    objects: NotRequired[dict[str, str]]
    """Name of an object -> SHA-256 of its rows."""


class ContaminationSubject(TypedDict):
    """What a search for a benchmark is about."""

    benchmark: SearchedBenchmark
    corpus: SearchedCorpus
    options: ContaminationOptions
    words: str
    """Version of the rules by which text becomes words."""
    judgement: Judgement


class ContaminationPlan(PlanHead, ContaminationSubject):
    """Plan of a search for a benchmark."""

    kind: Literal["contamination"]


class ReconstructionPlan(PlanHead, ReconstructionSubject):
    """Plan of a reconstruction."""

    kind: Literal["reconstruction"]


class WorkPlan(PlanHead, WorkSubject):
    """Plan of an audit of whole works."""

    kind: Literal["work"]


class MeasuredPlan(TypedDict):
    """What measures and detectors read of the plan of their run, which an audit or a membership run may be."""

    model: ModelDescription
    options: NotRequired[AuditOptions]
    copies: NotRequired[CopiesDescription]
    chat: NotRequired[ChatDescription]
    """Of an audit, as options and copies are: of one of conversations."""
    membership: NotRequired[MembershipDesign]
    """Of a membership run, and of an audit that compares whole documents."""
    blind: NotRequired[BlindBaseline | None]
    """What text alone says; absent before it was compared, None where it was not asked. No plan holds it."""


PLANS: Mapping[str, type] = {
    "extraction": ExtractionPlan,
    "contamination": ContaminationPlan,
    "membership": MembershipPlan,
    "gap": GapPlan,
    "laws": LawsPlan,
    "counterfactual": CounterfactualPlan,
    "exploitation": ExploitationPlan,
    "work": WorkPlan,
    "reconstruction": ReconstructionPlan,
}
"""Kind of run -> what its plan.json holds."""
