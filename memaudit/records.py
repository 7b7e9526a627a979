"""Frozen records that travel between the stages, in the order in which the data flows.

Document -> Window -> TokenScores -> WindowRecord. They hold numpy arrays and plain values only, so a
finished run can be read and scored again on a machine without torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Literal, NamedTuple, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import InputError

TokenIds = NDArray[np.int32]
AnyIds = NDArray[np.integer[Any]]
"""Token ids of any width."""
FloatArray = NDArray[np.float64]
Objective = Literal["next-token", "masked"]
StartToken = Literal["as-trained", "none", "both"]
"""Whether a model is given the token that its tokenizer puts before a text; see `memaudit.models.start`."""
START_TOKENS: tuple[StartToken, ...] = get_args(StartToken)
MAX_COMPARED = 10_000
"""Places of the training text that are compared with a span character for character."""
MAX_NAMED = 3
"""Documents that are named of those that hold a span."""


class Capability(StrEnum):
    """What a model can give. Whatever needs more than that is not measured, which is said before work begins."""

    CONTINUATIONS = "continuations"
    """Of a prompt, as long as was asked; by filling in masks too."""
    WRITING = "text written from left to right"
    """Continuations that know nothing of what follows: a prompt can be answered, a text can be ended."""
    LOG_PROBS = "log-probabilities and ranks"
    """Of true tokens: pseudo-log-likelihoods too."""
    MOMENTS = "moments of log p over the vocabulary"
    LEFT_TO_RIGHT = "next-token scores from left to right"
    """Of which the ranks decide what greedy decoding gives, and the log-probabilities add up to that of a text."""
    DISTRIBUTIONS = "next-token distributions"
    INFILLING = "infilling"
    """Of any places of a text, in any order."""


Capabilities = frozenset[Capability]
ORDINARY: Mapping[str, Capabilities] = {
    "next-token": frozenset(Capability) - {Capability.INFILLING},
    "masked": frozenset(
        (Capability.CONTINUATIONS, Capability.LOG_PROBS, Capability.MOMENTS, Capability.INFILLING),
    ),
}
"""What a model of an objective gives that gives all it can."""


def capabilities_in(model: Mapping[str, Any]) -> Capabilities:
    """Return what a plan says that its model gives: all that its objective allows, but what it ``lacks``."""
    return ORDINARY[model.get("objective", "next-token")] - set(map(Capability, model.get("lacks", ())))


def not_given(needs: Capabilities, gives: Capabilities) -> str:
    """Say which of the needs a model does not give; empty where it gives all of them."""
    *others, last = [f"no {capability}" for capability in Capability if capability in needs - gives] or [""]
    listed = " and ".join(filter(None, (", ".join(others), last)))
    return f"the model gives {listed}" if listed else ""


class Turn(NamedTuple):
    """What one side of a conversation says at a time."""

    role: str
    """As chat templates name it: ``system``, ``developer``, ``user`` or ``assistant``."""
    content: str


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a corpus and where it came from."""

    id: str
    """Unique within its corpus: the ``id`` field of the record, or else ``source``."""
    text: str
    source: str
    """``file:line`` of the record, or ``file`` where the whole file is one document."""
    domain: str | None = None
    """Part of a mixture (web, code, books), as the Pile names its parts."""
    date: str | None = None
    copies: int | None = None
    """How often the text occurs in the training data, where that is known (planted passages)."""
    turns: tuple[Turn, ...] | None = None
    """Who says what, of a conversation; its ``text`` is what the turns say, without roles."""
    layout: str | None = None
    """Of a conversation: which fields of its record hold it."""
    joined: bool = False
    """Of a conversation: whether it was given as two texts, which follow each other where no chat template says
    otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A prefix and its true continuation, cut on the token ids of the whole document."""

    prefix: TokenIds
    suffix: TokenIds
    document: str = ""
    source: str = ""
    start: int = 0
    """Index of the first prefix token in the document; of a reply, that of its first token in the conversation."""
    member: bool = True
    """True for training text, False for held-out text."""
    domain: str | None = None
    copies: int | None = None
    prefix_text: str = ""
    suffix_text: str = ""
    turns: tuple[Turn, ...] | None = None
    """Of a reply: what was said before it."""
    more: bool = False
    """Of a reply: whether it is longer than the suffix."""
    cut: bool = False
    """Of a reply: whether what was said before it is cut from the left, for the model reads no more."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How a continuation is chosen. Always ours: a model folder never sets it."""

    temperature: float = 0.0
    """0 is greedy decoding (ties go to the smallest id); 1 samples from the model's own distribution."""
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"temperature must be finite and at least 0, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k must be at least 1, not {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InputError(f"top_p must lie in (0, 1], not {self.top_p}")

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is always taken."""
        return self.temperature == 0

    @property
    def unchanged(self) -> bool:
        """Whether tokens keep the probabilities that the model gives them; greedy decoding has none of its own."""
        return self.greedy or (self.temperature == 1 and self.top_k is None and self.top_p is None)

    @property
    def in_words(self) -> str:
        """How samples are drawn: ``temperature 1, top-k 40``."""
        cuts = ("top-k", self.top_k), ("top-p", self.top_p)
        return ", ".join([f"temperature {self.temperature:g}", *(f"{name} {cut:g}" for name, cut in cuts if cut)])


GREEDY = Decoding()


@dataclass(frozen=True, slots=True, eq=False)
class TokenScores:
    """One row per target token (the suffix tokens of all windows, in order). No metric asks for logits.

    ``log_prob`` is natural-log p(x_t | x_<t) for next-token models and the pseudo-log-likelihood term
    p(x_t | x_\\t) for masked ones, under the decoding it was asked for (temperature, then top-k, then
    top-p; ``-inf`` for a token that decoding can never emit; under greedy decoding the model's own).
    ``rank`` counts the tokens that greedy decoding would prefer to the true one: strictly more probable,
    or equally probable with a smaller id; 0 means greedy decoding emits the true token. ``mean`` and
    ``std`` are the expectation and standard deviation of log p under the model's own distribution over
    the vocabulary, as Min-K%++ needs them (Zhang et al. 2024).
    """

    offsets: NDArray[np.int64]
    """Shape [windows + 1]: rows of window ``i`` are ``offsets[i]:offsets[i + 1]``."""
    log_prob: FloatArray
    rank: NDArray[np.int32]
    mean: FloatArray
    std: FloatArray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[TokenScores]:
        """Yield the scores of one window at a time."""
        for first, last in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield TokenScores(
                np.array([0, last - first]),
                self.log_prob[first:last],
                self.rank[first:last],
                self.mean[first:last],
                self.std[first:last],
            )

    @staticmethod
    def of_lengths(lengths: list[int]) -> TokenScores:
        """Return empty (zero) scores for windows whose suffixes have these lengths, to be filled in."""
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        total = int(offsets[-1])
        return TokenScores(offsets, np.zeros(total), np.zeros(total, np.int32), np.zeros(total), np.zeros(total))


@dataclass(frozen=True, slots=True)
class WindowRecord:
    """What an audit found out about one window: one line of the run log, one row of records.parquet.

    Values that need the model's own continuation are None where none was decoded.
    """

    index: int
    """Place of the window in the plan; the order of all results."""
    member: bool
    document: str
    source: str
    domain: str | None
    copies: int | None
    start: int
    prefix_ids: list[int]
    suffix_ids: list[int]
    prefix_text: str
    suffix_text: str
    log_prob: float | None
    """Natural log-probability of the suffix (masked: pseudo-log-likelihood); None if it is zero probability, or if the
    model gives none."""
    matched: int
    """Suffix tokens that greedy decoding reproduces before its first difference."""
    extractable: bool
    """Whether greedy decoding reproduces the whole suffix (k-extractable, k = prefix length)."""
    extraction_strength: float | None
    """Share of the suffix that follows greedily once enough of it is given (0: not even its last token);
    None for models without next-token scores from left to right, as masked ones are."""
    continuation_ids: list[int] | None = None
    """As many tokens as the suffix has; of a text that the model ended, those before the end token; of one that was
    given up, those until then."""
    continuation_text: str | None = None
    longest_common: int | None = None
    """Longest run of tokens shared by continuation and suffix, at any place in each."""
    edit_similarity: float | None = None
    """1 - Levenshtein distance of token ids / longer length, in [0, 1]."""
    edit_similarity_text: float | None = None
    rouge_l: float | None = None
    """F-measure of the longest common subsequence of token ids, in [0, 1]."""
    rouge_l_text: float | None = None
    bleu: float | None = None
    """Sentence BLEU of token ids up to 4-grams, in [0, 1]."""
    copies_normalised: int | None = None
    """Places of the training text where the suffix occurs after normalisation, by its whole words; None where that
    was not counted, or no word lies whole in the suffix."""
    copies_exact: int | None = None
    """How many of them hold the suffix character for character; of the first `MAX_COMPARED` where there are more."""
    elsewhere: int | None = None
    """Places of the training text where the continuation occurs after normalisation; None where that was not counted,
    or it is the suffix after all, or has fewer than 8 whole words."""
    copies_in: list[str] | None = None
    """Documents of the training text, but the window's own, that hold the suffix, as ``id (file:line)``: the first
    `MAX_NAMED`, those that hold it character for character before others. None where copies were not counted."""
    elsewhere_in: list[str] | None = None
    """Documents of the training text that hold the continuation which is not the suffix, named likewise."""
    ended: bool | None = None
    """Whether greedy decoding gives an end token where the suffix has another token: the model ended the text, and what
    follows is no continuation. None where that was not asked, of masked models, and where no end token is known."""
    sampled: bool = True
    """Whether it is one of the random sample of which everything was measured; of others, what makes them a hit."""
    given_up: bool = False
    """Whether the continuation ends where no metric could reach its threshold any more: no metric of it is measured,
    and none is a hit."""
    others: dict[str, float | None] | None = None
    """Values of metrics that other packages declare, by name; None where there are none."""
    turns: list[list[str]] | None = None
    """Role and content of every turn before a reply; None where the window is not of a conversation."""

    def value(self, name: str) -> float | None:
        """Return the value of a metric by its name: a field of this record, or one of the others."""
        value: float | None = getattr(self, name) if name in _FIELDS else (self.others or {}).get(name)
        return value

    def row(self) -> dict[str, Any]:
        """Return the record as one flat row: a column for each of the others too."""
        row = {name: getattr(self, name) for name in _FIELDS}
        others = row.pop("others") or {}
        if row["turns"] is None:  # of a text, which has none
            del row["turns"]
        return {**row, **others}

    @classmethod
    def of_line(cls, line: Mapping[str, Any]) -> WindowRecord:
        """Return the record that a line of the log holds.

        Equal ids are one object: Python makes a new one, of 28 bytes, of every number above 256 that it reads.
        """
        ids = {name: [_ID.setdefault(i, i) for i in line[name]] for name in _IDS if line.get(name) is not None}
        return cls(**{**line, **ids})

    def line(self) -> dict[str, Any]:
        """Return the record as the log holds it."""
        values = ((name, getattr(self, name)) for name in _FIELDS)  # no copies: it is a third of a small audit's time
        return {name: value for name, value in values if _AS_A_RULE.get(name, ...) is not value}


_AS_A_RULE = {"others": None, "sampled": True, "given_up": False, "turns": None}
"""What the log leaves out."""
_IDS = ("prefix_ids", "suffix_ids", "continuation_ids")
_ID: dict[int, int] = {}
_FIELDS = {field.name: None for field in fields(WindowRecord)}
"""Names of the fields, in order."""


class FirstWindow(TypedDict):
    """The first window as the model was given it, for whoever repeats it with other tools."""

    source: str
    start: int
    suffix_at: int
    """Place of the first token of the suffix among the ids."""
    ids: list[int] | None
    """None where texts are not shown."""


def first_window(model: Mapping[str, Any], records: Sequence[WindowRecord]) -> FirstWindow | None:
    """Return the ids of the first window as the model was given them, for whoever repeats it with other tools.

    Args:
        model: What a plan knows of the model: ``frame`` holds the ids before and behind every window.
        records: All windows of the run, in order.
    """
    if not records:
        return None
    first, (before, behind) = records[0], model.get("frame", ([], []))
    ids = [*before, *first.prefix_ids, *first.suffix_ids, *behind]
    return {"source": first.source, "start": first.start, "suffix_at": len(before) + len(first.prefix_ids), "ids": ids}


@dataclass(frozen=True, slots=True)
class Shown:
    """What may be shown of the texts of a run."""

    text: bool = True
    """Whether training text, held-out text and continuations stand in it, or only their lengths and hashes."""
    personal: bool = False
    """Whether e-mail addresses, telephone numbers and keys in excerpts stay legible."""


SHOWN = Shown()
"""Texts are shown, addresses and numbers masked: what a person gets who asks for nothing else."""
