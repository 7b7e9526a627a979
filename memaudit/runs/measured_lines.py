"""What measures and detectors log: lines of items.log that name their ``measure``.

The log adds the fields of `MeasuredLine`. What else a measure from another package logs is known to it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict

from memaudit.runs.parts import BlindBaseline, Line


class MeasuredLine(Line):
    """What every line of a measure holds beside what was found."""

    measure: str
    """Its name."""


class SideFields(TypedDict):
    """Which side a line is of, and which document."""

    member: bool
    document: str


class DocumentFields(SideFields):
    """Which document a line is of."""

    source: str
    domain: str | None
    copies: int | None


class BaseLine(DocumentFields):
    """How far the base model follows a window."""

    start: int
    tokens: int
    """Of the suffix."""
    matched: int
    """Before the first difference; all of them make the window a hit."""


class CoverageLine(DocumentFields):
    """Tokens of a document that lie in extractable windows."""

    matched: bool
    """Whether the other side has a document of its domain and length, so that windows of it were drawn."""
    tokens: int
    coverable: int
    """Tokens that lie in the suffix of any window."""
    covered: int
    coverage: float | None
    """Share of all tokens, in [0, 1]; None where there is no whole window."""
    longest_span: int
    longest_span_start: int | None
    passages: list[list[int]]
    """First token and length of the longest runs of covered tokens."""
    holes: list[list[int]]
    """The same of tokens that nothing covers, those before the first suffix left out."""
    windows: int
    windows_asked: int
    control: int
    """Windows that were asked for to check the shortcut."""
    control_hits: int


class SurfaceLine(DocumentFields):
    """Tokens of a document that greedy decoding gives, whatever the length of the prompt."""

    tokens: int
    left_out: int
    hits: str
    """Packed bits in hexadecimal: whether each token is the most probable."""
    extraction_strength: float | None
    """In [0, 1]."""
    longest_run: int
    longest_run_start: int | None


class ClozeLine(DocumentFields):
    """Names that were masked in a document."""

    names: list[str]
    right: list[bool]
    unreadable: int


class WindowFields(DocumentFields):
    """Which window a line is of."""

    start: int


class ProbabilityLine(WindowFields):
    """How probable a sample is that holds the suffix."""

    log_p: float | None
    """Natural logarithm; None for probability 0."""
    greedy: bool


class NearVerbatimLine(WindowFields):
    """How probable a sample is that comes near the suffix."""

    sampled: bool
    """Whether the window was drawn, whatever came of it."""
    log_bounds: list[float | None]
    """Lower bound within 0, 1, ... edits, as a natural logarithm; None for 0."""
    found: int
    """Texts."""


class Fill(TypedDict):
    """How masked tokens of a suffix were filled."""

    share: float
    """Of the suffix that was masked, in (0, 1]."""
    order: Literal["left-to-right", "confident", "one-shot"]
    masked: int
    right: float
    """Share of the masked tokens, in [0, 1]."""
    exact: bool
    edit_similarity: float
    """In [0, 1]."""


class InfillingLine(DocumentFields):
    """How the masked suffix of a window was filled."""

    mean_log_prob: float | None
    """Nats a token; None for probability 0."""
    fills: list[Fill]


class TaxonomyLine(SideFields):
    """Why a window may be reproduced."""

    source: str
    extractable: bool
    anywhere: bool | None
    """Whether the continuation occurs anywhere in the training text."""
    copies: int | None
    template: Literal["repeating", "counting", "one shape"] | None
    """Rule by which the suffix follows from its prefix."""
    kind: str | None
    """None where it is not reproduced."""


class ProtocolLine(SideFields):
    """One guess of the training data extraction benchmark."""

    correct: bool
    loss: float
    """Mean of the guess, in nats a token."""


class UseLine(TypedDict):
    """One prompt and what was given away."""

    way: str
    """How the model was prompted."""
    member: bool | None
    """None for prompts that are of no document."""
    document: str
    source: str
    prompt_tokens: int
    longest: int
    """Tokens of the longest run that occurs in the training text."""
    copied: int
    """Tokens in long runs."""
    tokens: int
    """Of the continuation."""


class UnpromptedLine(TypedDict):
    """A sample of what the model writes by itself, or a piece of held-out text, and what of it is training text."""

    way: str
    """How the model was prompted, or that it is held-out text."""
    document: str
    """Whose first tokens were the prompt; of an unprompted sample, its number."""
    words: int
    copied: int
    """Words in long runs that occur in the training text."""
    longest: int
    """Words of the longest such run; 0 where there is none."""
    excerpt: NotRequired[str]
    """The longest run."""
    count: NotRequired[int]
    """Places of the training text where it occurs."""
    documents: NotRequired[int]
    """That hold it."""
    held_by: NotRequired[list[str]]
    """The first of them, as ``id (file:line)``."""
    refused: NotRequired[str]
    """Why the model gave no sample."""


class StartLine(WindowFields):
    """A window that was asked for with the model's start token and without."""

    with_start: dict[str, bool]
    """Metric -> whether it is a hit."""
    without: dict[str, bool]
    log_prob_with_start: float | None
    """Natural log of the suffix's probability; None for 0, and of models that give none."""
    log_prob: float | None
    """The same without a start token."""


class RecitalLine(TypedDict):
    """How far a model behind an address follows a window of text that it is known to recite."""

    source: str
    start: int
    """First token of the window in its text."""
    tokens: int
    """Of the suffix."""
    matched: int
    """Before the first difference."""


class FinishedLine(TypedDict):
    """The whole continuation of a window that is shown and was given up."""

    window: int
    """Its place in the plan."""
    continuation_text: str
    ended: bool
    """Whether the model ended the text."""


class DoseLine(SideFields):
    """A planted passage as a window, or a canary whose secret was ranked."""

    type: Literal["window", "canary"]
    source: str
    domain: str | None
    copies: int | None
    kind: str
    variant: str
    variant_known: bool
    extractable: NotRequired[bool]
    """Of a window."""
    log_p: NotRequired[float | None]
    """Of a window: natural logarithm of its suffix's probability; None for 0."""
    bits: NotRequired[float]
    """Of a canary: exposure."""
    limit: NotRequired[float]
    """Of a canary: the largest exposure that could be found, in bits."""
    exact: NotRequired[bool]
    space: NotRequired[int]
    """Of a canary: possible secrets."""
    fitted_bits: NotRequired[float | None]
    not_fitted: NotRequired[str]


class UnigramEntropies(TypedDict):
    """Entropy of the tokens of either side, in nats; None where there is no token."""

    members: float | None
    heldout: float | None


class TextLine(TypedDict):
    """What text alone says of the sides."""

    blind: BlindBaseline
    unigram: UnigramEntropies


class MembershipLine(SideFields):
    """Scores of a document; None where one is undefined."""

    source: str
    domain: str | None
    tokens: int
    scores: dict[str, float | None]
    """By the model: name of a score -> its value."""
    null: dict[str, dict[str, float | None]]
    """The same by models that never saw the document, by their names."""


class OrderLine(TypedDict):
    """An order of documents beside others."""

    type: Literal["skipped", "whole", "shard", "text"]
    documents: int
    given: int
    """Documents of the suspects in all."""
    reason: NotRequired[str]
    """Why there is no order."""
    canonical: NotRequired[float]
    """Total of the order of the file, in nats."""
    others: NotRequired[list[float]]


class Completion(TypedDict):
    """A continuation beside the true one, which is as long."""

    compared: int
    """Tokens."""
    matched: int
    longest: int
    edit_similarity: float
    """In [0, 1]."""
    rouge_l: float
    """In [0, 1]."""


class OverlapAnswer(TypedDict):
    """What is given of a document; None where it is too short."""

    accuracy: float | None
    """Share of the n-grams, in [0, 1]."""
    starts: int
    """N-grams."""
    completion: Completion | None


class OverlapLine(DocumentFields, OverlapAnswer):
    """What the model gives of a document, and what the null model gives."""

    tokens: int
    read: int
    null: dict[str, OverlapAnswer]


class GuidedLine(DocumentFields):
    """ROUGE-L of the answers to both instructions, in [0, 1]; None where they were not given."""

    room: bool
    """Whether the model reads the instruction as a whole."""
    guided: float | None
    general: float | None


MEASURED: Mapping[str, type] = {
    "base": BaseLine,
    "coverage": CoverageLine,
    "coverage-exact": CoverageLine,
    "surface": SurfaceLine,
    "cloze": ClozeLine,
    "probability": ProbabilityLine,
    "near-verbatim": NearVerbatimLine,
    "infilling": InfillingLine,
    "taxonomy": TaxonomyLine,
    "protocol": ProtocolLine,
    "use": UseLine,
    "exhibits": FinishedLine,
    "recital": RecitalLine,
    "start-token": StartLine,
    "unprompted": UnpromptedLine,
    "dose": DoseLine,
    "text": TextLine,
    "membership": MembershipLine,
    "order": OrderLine,
    "overlap": OverlapLine,
    "guided": GuidedLine,
}
"""Name of a measure or detector -> what it logs."""
