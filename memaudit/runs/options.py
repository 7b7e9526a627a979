"""The options of every kind of run, as plan.json and report.json hold them.

They are those of a dataclass of the same name (`memaudit.audits.gap.run.GapOptions`, ...), which says more of them and
checks their values; `tests/runs/test_schema.py` holds the two together.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from memaudit.runs.parts import Split


class GapOptions(TypedDict):
    """What is compared, and what it is judged by."""

    model: str
    controls: list[str]
    cutoff: str
    """Last day of the model's training data, as ``2023-09-30``."""
    date_field: str | None
    alpha: float
    """Level of the test, in (0, 1)."""
    least_gap: float
    """Gap that must be detectable before no evidence is concluded: a share, in (0, 1)."""
    permutations: int
    seed: int


class LawsOptions(TypedDict):
    """What is trained and queried for the laws of memorization."""

    family: str
    sizes: list[int]
    """Widths of networks, orders of n-grams."""
    doses: list[int]
    """Copies of a planted passage."""
    contexts: list[int]
    """Tokens right before the suffix."""
    suffix: int
    """Tokens that must be reproduced."""
    seeds: int
    """Trainings a size."""
    per_dose: int
    """Passages."""
    background: int
    """Passages that occur once in the training text and are not queried."""
    epochs: float
    seed: int


class PlannedLaws(LawsOptions):
    """The options, and what follows from them."""

    passage_tokens: int


class CounterfactualOptions(TypedDict):
    """What is trained for counterfactual memorization."""

    family: str
    size: int
    models: int
    share: float
    """Of the models that see a document, in (0, 1)."""
    epochs: float
    vocab_size: int
    tokens: int
    """Tokens of a document that are scored."""
    seed: int
    text_field: str | list[str]
    split: Split


class ExploitationOptions(TypedDict):
    """How labels are predicted, and how classifiers are trained."""

    seeds: int
    """Classifiers."""
    seed: int
    template: str
    tokens: int
    """Tokens of a text that are read."""
    epochs: float
    batch_size: int
    learning_rate: float | None
    pooling: Literal["mean", "first"]
    text_field: str | list[str]
    label_field: str
    alpha: float
    """Family-wise level, in (0, 1)."""
    limit: float
    """Difference of accuracies that the run must be able to show, in (0, 1)."""


class WorkOptions(TypedDict):
    """How whole works are read, cut into parts and judged."""

    prefix: int
    """Tokens that the model is given."""
    suffix: int
    """Tokens that it must give back."""
    stride: int
    """Tokens between the starts of windows."""
    exact: bool
    """Whether every window is read by itself."""
    temperature: float
    top_k: int | None
    top_p: float | None
    start_token: Literal["as-trained", "none", "both"]
    parts: str | None
    """What headings look like, a regular expression, or a number of tokens; None: they are looked for."""
    threshold: float
    """Of p_z, that the verdict rests on, in (0, 1]."""
    max_rate: float
    """Share of a work's windows that may reach it, in [0, 1)."""
    alpha: float
    """Level of the test, in (0, 1)."""
    near_verbatim: int
    """Windows a work that are asked for within a few edits too."""
    seed: int


class Levels(TypedDict):
    """What a verdict about membership is held to."""

    alpha: float
    """Family-wise level, in (0, 1)."""
    detectable: float
    """AUC that must be detectable before no evidence is concluded, in (0.5, 1)."""


class DetectorOptions(Levels):
    """What decides what the membership detectors measure and conclude, beside their references."""

    tokens: int
    """Tokens of a document that are scored."""
    masks: int | None
    """Random maskings a document; None: exact."""
    randomised: bool
    """Whether a coin decided which documents are members."""
    paired: bool
    reference_corpus: list[str]
    order_permutations: int
    order_tokens: int
    overlap_prefix: float
    """Share of a document that the model is given, in (0, 1)."""
    guided: str
    guided_split: str
    fields: list[str]
    id_field: str | None
    skip_bad: bool
    max_expand: int | None
    """Bytes."""
    text_field: str | list[str]
    split: Split
    start_token: NotRequired[Literal["as-trained", "none", "both"]]
    """Whether the model is given its start token before every text; as it was trained where this is absent."""
    detectors: list[str]
    seed: int


class MembershipOptions(DetectorOptions):
    """Everything that decides what the detectors measure and conclude, as it was asked for."""

    references: list[str]
    """Specs; ``train`` for one that is trained."""


class ComparisonOptions(DetectorOptions):
    """The options as plan and report show them: the references that come of them stand beside."""

    asked_references: list[str]


class AuditOptions(TypedDict):
    """Everything that decides what an extraction audit measures and concludes."""

    prefix: int
    """Tokens."""
    suffix: int
    """Tokens."""
    limit: int
    """Windows a side."""
    seed: int
    allow_overlap: bool
    max_rate: float
    """Tolerated share of training documents, in [0, 1]."""
    alpha: float
    """Level of the test, in [0, 1]."""
    fuzzy: bool
    exhaustive: NotRequired[bool]
    """Whether every window was scored and continued whole, as all were before there was this option."""
    copies: bool
    unprompted: NotRequired[bool]
    """Whether samples of what the model writes by itself were looked up in the training text."""
    measures: list[str]
    membership: MembershipOptions | None
    temperature: float
    """Of measures that sample, above 0."""
    top_k: int | None
    top_p: float | None
    """In (0, 1]."""
    text_field: str | list[str]
    train_field: NotRequired[str | list[str] | None]
    """Of the training text alone."""
    heldout_field: NotRequired[str | list[str] | None]
    """Of the held-out text alone."""
    start_token: NotRequired[Literal["as-trained", "none", "both"]]
    """Whether the model is given its start token before every window; as it was trained where this is absent."""
    chat_template: NotRequired[str | None]
    """File of the template that writes conversations, or ``none``; None: the model's own."""
    split: Split
    skip_bad: bool
    max_expand: int | None
    """Bytes."""


class ContaminationOptions(TypedDict):
    """Everything that decides what is searched for, and where."""

    text_field: str | list[str]
    split: Split
    skip_bad: bool
    max_expand: int | None
    """Bytes."""
    fields: list[str]
    id_field: str | None


class ItemPolicy(TypedDict):
    """How much of a benchmark may be contaminated; where both limits are given, both hold."""

    max_items: int | None
    max_rate: float | None
    """Share of the judged items, in [0, 1]."""


class Judgement(ItemPolicy):
    """What findings are judged by; none of it changes what is searched for."""

    baseline: str | None
    """File of accepted findings."""
    scores: list[str]
    """Files that say which items a model answers correctly."""
    redact: bool
