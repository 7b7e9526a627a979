"""The one interface that every language model has here: two facts, two verbs, save and load.

Token ids in, numpy out. Nothing below imports torch, so a stranger's model needs nothing but numpy:
subclass `NextTokenModel`, give `next_log_probs`, and scoring and continuation follow.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import ModelError
from memaudit.findings import Control
from memaudit.metrics.verbatim import matched_tokens
from memaudit.models.decoding import (
    Settled,
    checked_log_probs,
    continue_prompts,
    continue_until_settled,
    score_log_probs,
)
from memaudit.records import (
    GREEDY,
    ORDINARY,
    Capabilities,
    Capability,
    Decoding,
    FloatArray,
    Objective,
    TokenIds,
    TokenScores,
    Window,
)
from memaudit.runs.inputs import Inputs
from memaudit.text.tokenize import Tokenizer

Branch = Callable[[Sequence[TokenIds], NDArray[np.int64] | None], FloatArray]
"""(texts, place of each one's beginning in the last call or None) -> log p(next token) [texts, vocabulary]."""


class LanguageModel(ABC):
    """A language model of any family, trained here or loaded.

    Contract, tested for every family: next-token distributions sum to 1; a batch of n equals n batches
    of one; all ranks are 0 over the true continuation exactly when greedy decoding reproduces it;
    a saved and loaded model scores bit-equal; the same seed gives the same text.
    """

    family: str
    """A name of `memaudit.families`, or the architecture's for loaded models."""
    objective: Objective
    tokenizer: Tokenizer
    context_length: int | None = None
    """Longest sequence of ids the model can read, or None where there is no limit."""
    reach: int | None = None
    """Tokens right before a token that its distribution depends on at most, or None where there is no limit."""
    parameters: int = 0
    """Number of trained values (for an n-gram: of stored n-grams)."""
    ignored: tuple[str, ...] = ()
    """Settings that the model's folder tried to make and that were not followed."""
    named_ends: tuple[int, ...] = ()
    """End tokens that the model's folder names beside the tokenizer's own."""
    as_trained: LanguageModel | None = None
    """Of a model that is asked without the tokens around a text, the same with them: `memaudit.models.start`."""
    missing_start: int | None = None
    """The start token that the model's configuration names and its tokenizer does not put before a text."""
    notes: tuple[str, ...] = ()
    """What a reader of its report should know of how it was made."""
    commits: tuple[tuple[str, str], ...] = ()
    """Hugging Face id and commit of the folder it was read from, and of its base model's, where a cache has them."""
    step: int | None = None
    """Step of its training at which it was saved, where the trainer noted that beside it."""
    sha256: str = ""
    """Identity of the weights and settings; set by `load_model`. Another model, another run."""
    files: tuple[Mapping[str, Any], ...] = ()
    """``path``, ``sha256`` and ``bytes`` of the files that make up its identity, where it has a folder."""
    inputs: Inputs | None = None
    """These files as they were when the model was read from them: a run ends in an error if they are others then."""
    attention: str | None = None
    """Which of torch's or our own kernels computes attention; chosen here, never by the model's folder."""
    device: str = "cpu"
    dtype: str = "float32"
    placement: str = ""
    """Where its parts lie, where they lie in several places: what is measured does not depend on it."""
    base: LanguageModel | None = None
    """What it was fine-tuned from, over the same tokenizer, where that is at hand: a control of the audit."""
    endpoint: Mapping[str, Any] | None = None
    """Of a model behind an address: `memaudit.runs.parts.EndpointDescription`."""
    checks: tuple[Control, ...] = ()
    """What was found out before it was loaded, for the controls of a run."""
    behaviour: tuple[float | str | None, ...] | None = None
    """What it is recognised by, where that was found out before it was loaded: it is asked for no self-test then."""
    recital: str = ""
    """File of text that it is known to recite, of a model behind an address: the control of one that gives text."""
    recurrent: bool = False
    """Whether it carries a state from one part of a text to the next, and is trained on streams of text."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can give: all that its objective allows, where it has the methods for that.

        Whatever needs more (see `memaudit.records.Capability`) is not measured, which is said before work begins.
        """
        lacking = set()
        if type(self).next_log_probs is LanguageModel.next_log_probs:
            lacking.add(Capability.DISTRIBUTIONS)
        if not callable(getattr(self, "fill", None)):
            lacking.add(Capability.INFILLING)
        return ORDINARY[self.objective] - lacking

    @property
    def lacks(self) -> list[Capability]:
        """What a run of it must do without that models of its objective give as a rule; a plan names it."""
        # Which measures can be taken at all is settled before there is a plan, so it need not know of these.
        missing = ORDINARY[self.objective] - self.capabilities - {Capability.DISTRIBUTIONS, Capability.INFILLING}
        return [capability for capability in Capability if capability in missing]

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end a text; none where none is known, and of a masked model, which only fills in masks.

        They end nothing while tokens are chosen: `continuations` are as long as requested.
        """
        own = self.tokenizer.eos_id
        if Capability.WRITING not in self.capabilities:
            return frozenset()
        return frozenset(self.named_ends if own is None else (own, *self.named_ends))

    @abstractmethod
    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score every suffix token of every window given what stands before it (masked: around it)."""

    @abstractmethod
    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        """Continue every prompt by exactly ``length`` tokens; special tokens are never cut off or hidden.

        Sampling of row i depends on ``decoding.seed`` and the prompt's ids alone, not on its batch.
        """

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        """Tokens that the model is given before and behind every text."""
        return [], []

    def without_frame(self) -> Self:
        """Return a model over the same weights that is given the ids of a text alone; see `memaudit.models.start`.

        That of a family whose frame does not come from its tokenizer has a frame still, unless it overrides this.
        """
        bare, tokenizer = copy.copy(self), copy.copy(self.tokenizer)
        try:
            tokenizer.bos_id = None  # type: ignore[misc]
        except AttributeError:
            return bare
        bare.tokenizer = tokenizer
        return bare

    def check_scored(self, decoding: Decoding) -> None:  # noqa: B027 (most can be scored under any)
        """Refuse to score under a decoding that it knows no probabilities of, before anything is measured.

        Raises:
            ModelError: It does not; the message says what to leave out.
        """

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        """Return log p(next token | prefix) in float64, shape [prefixes, vocabulary]; each row sums to 1 in p."""
        asked = f"; it was asked for {len(prefixes)}" if len(prefixes) > 1 else ""
        raise ModelError(f"a {self.family} model has no next-token distribution{asked}", "leave this measure out")

    def brancher(self) -> Branch:
        """Return `next_log_probs` for a search whose texts grow by one token a call.

        Called with the texts and the place in the last call of the text that each continues from (at first None);
        a family that can continue from what it has read overrides this.
        """
        return lambda texts, _parents: self.next_log_probs(texts)

    def screen(self, windows: Sequence[Window]) -> NDArray[np.int32]:
        """Return how many suffix tokens greedy decoding gives before its first difference, shape [windows].

        A window is k-extractable when that is its whole suffix. The same as from `score`, where a family can
        tell sooner than by scoring every token; where ranks do not tell what greedy decoding gives, it decodes.
        """
        if Capability.LEFT_TO_RIGHT in self.capabilities:
            return np.array([matched_tokens(scores.rank) for scores in self.score(windows)], np.int32)
        given = self.greedy_continuations(windows)
        missed = [(ids != window.suffix).astype(np.int32) for ids, window in zip(given, windows, strict=True)]
        return np.array([matched_tokens(ranks) for ranks in missed], np.int32)

    def greedy_continuations(self, windows: Sequence[Window], settled: Settled | None = None) -> list[TokenIds]:  # noqa: ARG002
        """Return the greedy continuation of every prefix, as long as its suffix: that of `continuations`.

        The true suffix is known here, so a family may use it as a draft that is only checked.

        Args:
            windows: Prefixes and true suffixes.
            settled: Where more of a continuation would tell nothing. A family may stop there, and returns as much as
                it wrote; one that does not stop returns whole continuations.
        """
        lengths = sorted({len(window.suffix) for window in windows})
        continued: dict[int, TokenIds] = {}
        for length in lengths:
            rows = [i for i, window in enumerate(windows) if len(window.suffix) == length]
            texts = self.continuations([windows[i].prefix for i in rows], length)
            continued |= zip(rows, texts, strict=True)
        return [continued[i] for i in range(len(windows))]

    def check_prompts(self, windows: Sequence[Window]) -> list[Control]:  # noqa: ARG002
        """Return a control for what a model is given otherwise than as the ids of its prefixes; most are given these.

        Args:
            windows: All that are asked for.
        """
        return []

    def keep_in(self, folder: Path) -> None:  # noqa: B027 (most have nothing to keep)
        """Keep what it answers in a run directory, where asking again would cost something."""

    def check_unchanged(self) -> None:  # noqa: B027 (most are what they were)
        """Refuse to conclude anything where another model answers at the end of a run than at its beginning."""

    @property
    def spent(self) -> str:
        """What asking it cost so far, in words; empty where that is nobody's concern."""
        return ""

    def save(self, folder: Path) -> None:
        """Write the model so that `load` gives it back bit-equal."""
        raise ModelError(f"{folder}: a {self.family} model cannot be saved", "only models trained here can")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        raise ModelError(f"{folder}: a {cls.__name__} cannot be loaded", "use memaudit.load_model")


class NextTokenModel(LanguageModel):
    """A next-token model known only by its next-token distribution: the interface for an external model."""

    objective: Objective = "next-token"

    @abstractmethod
    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        """Return log p(next token | prefix), shape [prefixes, vocabulary], each row summing to 1 in p."""

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score by asking for one distribution per suffix token, a window at a time."""
        scores = TokenScores.of_lengths([len(w.suffix) for w in windows])
        for window, first in zip(windows, scores.offsets, strict=False):
            if not len(window.suffix):
                continue
            text = np.concatenate([window.prefix, window.suffix])
            prefixes = [text[: len(window.prefix) + t] for t in range(len(window.suffix))]
            rows = slice(first, first + len(window.suffix))
            log_probs = checked_log_probs(self.next_log_probs(prefixes), len(prefixes), self.tokenizer.vocab_size)
            score_log_probs(log_probs, window.suffix, decoding, scores, rows)
        return scores

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        """Continue by asking for one distribution per prompt and step."""

        def step(texts: list[TokenIds], _new: TokenIds | None) -> FloatArray:
            return checked_log_probs(self.next_log_probs(texts), len(texts), self.tokenizer.vocab_size)

        return continue_prompts(step, prompts, length, decoding)

    def greedy_continuations(self, windows: Sequence[Window], settled: Settled | None = None) -> list[TokenIds]:
        """Continue until all are settled; a model with continuations of its own is quicker by them, as a rule."""
        if settled is None or type(self).continuations is not NextTokenModel.continuations:
            return super().greedy_continuations(windows)

        def read(texts: list[TokenIds]) -> FloatArray:
            return checked_log_probs(self.next_log_probs(texts), len(texts), self.tokenizer.vocab_size)

        return continue_until_settled(read, windows, settled)
