"""Parts that the JSON files of several kinds of runs have in common: files, corpora, models, rates, controls, sections.

Every type here is what stands in a file, after one trip through JSON: tuples are lists of a fixed length. A value is
None only where it may be undefined; keys that older runs may lack are NotRequired.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from memaudit.records import Objective

SchemaVersion = Literal[1]
Split = Literal["auto", "file", "paragraph", "block", "line"]
"""How text files become documents."""
Format = Literal["jsonl", "json", "csv", "tsv", "parquet", "arrow", "warc", "text"]
"""What a file is read as."""


class FileDigest(TypedDict):
    """One source of a corpus as it was read."""

    path: str
    sha256: str
    """Of the bytes of the file; of a data set of the hub: of the fields that are read, as JSON."""
    bytes: int


class Summary(TypedDict):
    """What one full pass over a corpus found; documents + empty + rejected = physical records."""

    specs: list[str]
    files: list[FileDigest]
    documents: int
    empty: int
    """Records whose text is empty or white space: counted, never scored."""
    rejected: NotRequired[int]
    """Records that cannot be used; only where they may be skipped."""
    first_rejected: NotRequired[list[str]]
    """Place and reason of the first 20 of them."""
    units: str
    """One sentence that says what one document is."""
    domains: dict[str, int]
    """Documents per named domain."""
    conversations: NotRequired[dict[str, int]]
    """Documents that are conversations, by the layout of their records; absent where none is."""
    read_as: NotRequired[dict[str, Format]]
    """Files that are not read as what their names stand for, and as what they are; absent where there is none."""


class Line(TypedDict):
    """What every line holds."""

    index: int
    """Place of the item in the plan, from 0."""


class ReadFiles(TypedDict):
    """Files and the specs that stand for them."""

    specs: list[str]
    files: list[FileDigest]


class RecitalDescription(ReadFiles):
    """Text that a model behind an address is known to recite."""

    windows: int
    """That are asked for."""
    sha256: str
    """Of their tokens."""


class MaskedModel(TypedDict):
    """The model whose labels are predicted."""

    spec: str
    family: str
    parameters: int | None
    sha256: str


class LabelledSet(ReadFiles):
    """Labelled texts."""

    items: int
    sha256: str
    """Of texts and labels."""


class LabelledSets(TypedDict):
    """The texts that classifiers are trained on, and both halves of a test."""

    train: LabelledSet
    seen: LabelledSet
    unseen: LabelledSet


class TextDigest(TypedDict):
    """What was read, as every page of sections shows it."""

    specs: list[str]
    units: str
    """What was compared, in words."""
    sha256: str
    """Of all of it together."""


class Training(TypedDict):
    """How a model was trained, as its folder says; no verdict rests on it."""

    corpus: str
    """SHA-256 of the training text."""
    recipe: str
    """SHA-256 of family, size and settings."""
    seed: int


class HubCommit(TypedDict):
    """A commit of a repository of the Hugging Face hub."""

    id: str
    commit: str


class EndpointDescription(TypedDict):
    """A model behind an address: how it was asked, and what its server was found to give."""

    url: str
    served: str
    """Name of the model there."""
    api: Literal["completions", "chat"]
    dialect: str
    """How it was asked, in words."""
    gives: list[str]
    """Capabilities, in words."""
    sends: Literal["token ids", "text", "messages"]
    """What a prompt is sent as."""
    listed: int | None
    """Likeliest tokens among which a rank is looked up, a token outside them being *beyond* that; None: all, or no
    ranks at all."""
    start: str
    """What stands before every text, in words."""
    end: str
    """What the server does at the end token, in words."""
    fingerprint: str | None
    """``system_fingerprint`` of its answers."""
    template_sha256: str | None
    """Of the chat template that the server applies, where it is asked by messages and shows it."""
    checks: NotRequired[list[str]]
    """Names of the controls that its probe made."""
    instruction: NotRequired[str]
    """What is said before a text that is to be continued, where it is asked by messages."""


class DescribedModel(TypedDict):
    """A model, by what it says of itself."""

    name: str
    family: str
    objective: Objective
    parameters: int | None
    """None where the model does not say."""
    context_length: int | None
    """Tokens that one pass reads; None where there is no limit."""
    sha256: str
    tokenizer_sha256: str
    vocabulary: int
    device: str
    dtype: str
    attention: str | None
    """Kernel that computes attention, where one does."""
    start_token: int | None
    """Id of the token that stands before every text, where there is one."""
    missing_start: NotRequired[int | None]
    """Id of a start token that the model's folder names and its tokenizer does not add."""
    end_tokens: list[int]
    """Ids by which the model ends a text."""
    frame: NotRequired[tuple[list[int], list[int]]]
    """Ids before and behind every window."""
    frame_text: NotRequired[tuple[str, str]]
    """The same as text, by which methods call them."""
    omitted: NotRequired[tuple[str, str]]
    """What its tokenizer puts there, as text, of a model that was asked without."""
    notes: NotRequired[list[str]]
    placement: NotRequired[str]
    """Where the parts of a model lie that lie in several places; the same run whatever it is."""
    files: list[FileDigest]
    ignored: list[str]
    """Settings of the model's folder that were not followed."""
    commits: NotRequired[list[HubCommit]]
    """Of a model from the Hugging Face cache, and of an adapter's base model from there."""
    step: NotRequired[int]
    """Of its training, where its name says it or the trainer noted it beside the weights."""
    lacks: NotRequired[list[str]]
    """Capabilities that other models of its objective have."""
    training: NotRequired[Training]
    """Of a model that memaudit trained."""
    endpoint: NotRequired[EndpointDescription]
    """Of a model behind an address."""


class ModelDescription(DescribedModel):
    """What a run says of the model that it audits."""

    self_test: list[float | str | None]
    """Log-probabilities of three windows, in nats: what the model is recognised by; None for probability 0."""


class Control(TypedDict):
    """A check of the instrument."""

    name: str
    passed: bool | None
    """None where it could not be run."""
    detail: str
    comparison: NotRequired[bool]
    """Whether the comparison with held-out text rests on it."""


class Rate(TypedDict):
    """How often windows are hits, with a two-sided 95% interval; None where there is no document."""

    hits: int
    """Windows that are hits."""
    n: int
    """Windows."""
    documents: int
    rate: float | None
    """Mean over documents of the share of their windows that are hits, in [0, 1]."""
    low: float | None
    high: float | None
    effective_n: NotRequired[float]
    """Independent windows that would carry as much information about the rate, in [documents, n]."""


class Difference(TypedDict):
    """Difference of two rates with its 95% interval, in [-1, 1]."""

    estimate: float
    low: float
    high: float


class Finding(TypedDict):
    """One piece of evidence."""

    id: str
    """Fingerprint, the same in every run that finds the same."""
    kind: str
    document: str
    source: str
    """``file:line``."""
    metric: str
    score: float
    copies: int | None
    """How often the document was planted in the training text, where the corpus says so."""
    text: str | None
    """None where texts are not shown."""
    copies_exact: NotRequired[int | None]
    copies_normalised: NotRequired[int | None]
    characters: NotRequired[int]
    """Of the text, where it is not shown."""
    sha256: NotRequired[str]
    """Of the text, where it is not shown."""


class MeasureDescription(TypedDict):
    """A measure that is taken beside the windows."""

    name: str
    block: int
    """Items that are measured and logged together."""


class Auc(TypedDict):
    """Area under the ROC curve with its 95% interval, in [0, 1]."""

    estimate: float
    low: float
    high: float


class FeatureSet(TypedDict):
    """How well one kind of features separates the sides."""

    name: str
    auc: Auc


class BlindBaseline(TypedDict):
    """What text alone reveals about membership, without any model."""

    features: list[FeatureSet]
    confounded: bool
    """Whether the lower limit of any AUC lies above what is tolerated."""
    words: list[str]
    """Those that weigh most for either side."""
    left_out: dict[str, str]
    """Why a kind of features has no AUC, by its name."""
    reason: str
    """Why there is no baseline at all; empty where there is one."""


class Column(TypedDict):
    """One column of a table."""

    label: str
    kind: Literal["text", "number", "share", "interval", "excerpt"]
    """Words, a number, a share in [0, 1], ``[low, high]`` shares, or words of somebody's text."""


class Table(TypedDict):
    """Rows of values under labelled columns."""

    caption: str
    columns: list[Column]
    rows: list[list[str | int | float | list[float] | None]]


class Series(TypedDict):
    """One line of a chart, in the order of its points."""

    name: str
    points: list[list[float | None]]
    """``[x, y, low, high]`` each; low and high are None where there is no interval."""


class Graph(TypedDict):
    """Lines with their intervals on common axes."""

    title: str
    description: str
    x: str
    y: str
    series: list[Series]
    x_scale: Literal["linear", "log", "symlog"]
    y_share: bool
    """Whether y is a share in [0, 1]."""
    x_share: NotRequired[bool]
    y_scale: NotRequired[Literal["linear", "log"]]


class Section(TypedDict):
    """The outcome of one measure."""

    name: str
    title: str
    summary: str
    """The answer in one sentence, with its numbers."""
    method: str
    """What was done, with formula and source."""
    tables: list[Table]
    graphs: list[Graph]
    notes: list[str]
    """What this does not show, and what was left out and why."""
