"""A model that came through the ``python:`` door: its facts are checked, and so is every answer it gives."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, TypeVar

import numpy as np

from memaudit.errors import MemauditError, ModelError, one_line
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import checked_log_probs
from memaudit.records import (
    GREEDY,
    ORDINARY,
    Capabilities,
    Capability,
    Decoding,
    FloatArray,
    TokenIds,
    TokenScores,
    Window,
)

MEMBERS = ("tokenizer", "continuations")
TOKENIZER_MEMBERS = (
    "vocab_size", "bos_id", "eos_id", "mask_id", "unknown_id", "sha256", "encode_batch", "decode",
)  # fmt: skip
Answer = TypeVar("Answer")
_TEXT_ALONE = {Capability.CONTINUATIONS, Capability.WRITING}


class ExternalModel(LanguageModel):
    """Hands questions on to an object with the interface and refuses answers that do not fit them.

    An object without ``score`` writes text and gives nothing else; with a member ``capabilities`` it names, as values
    of `memaudit.records.Capability`, what it gives of what its methods promise.

    Args:
        spec: How the user named the model, for messages.
        model: The object.
        sha256: Its identity where it states none.

    Raises:
        ModelError: A member is missing or of the wrong kind.
    """

    def __init__(self, spec: str, model: Any, sha256: str) -> None:
        self.spec, self.model = spec, model
        scored = hasattr(model, "score")
        missing = [name for name in (*MEMBERS, *(["objective"] if scored else [])) if not hasattr(model, name)]
        if not missing:
            missing = [f"tokenizer.{name}" for name in TOKENIZER_MEMBERS if not hasattr(model.tokenizer, name)]
        if missing:
            hint = "subclass memaudit.NextTokenModel"
            raise ModelError(f"{spec}: {type(model).__name__} lacks {', '.join(missing)}", hint)
        self.objective, self.tokenizer = getattr(model, "objective", "next-token"), model.tokenizer
        if not isinstance(self.objective, str) or self.objective not in ORDINARY:
            raise ModelError(f"{spec}: objective is {self.objective!r}", 'it must be "next-token" or "masked"')
        self._capabilities = self._given()
        self.family = self._fact("family", str) or type(model).__name__
        self.parameters = self._fact("parameters", int)
        self.context_length = self._fact("context_length", int)
        self.ignored = tuple(map(str, self._fact("ignored", tuple, list)))
        self.sha256 = self._fact("sha256", str) or sha256
        self.device, self.dtype = self._fact("device", str), self._fact("dtype", str)

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        """What a model of ours behind the door says; a stranger's own doing is not known here."""
        return self.model.frame if isinstance(self.model, LanguageModel) else ([], [])

    def without_frame(self) -> Self:
        """Return the door to a model of ours without its frame; a stranger's cannot be told what to leave out.

        Raises:
            ModelError: It is a stranger's, whose tokenizer has a start token.
        """
        if not isinstance(self.model, LanguageModel):
            raise ModelError(
                f"{self.spec}: puts its start token before a text by itself, if it does",
                "give its tokenizer the bos_id None and let it put nothing there, or leave out --start-token",
            )
        bare = copy.copy(self)
        bare.model = self.model.without_frame()
        bare.tokenizer = bare.model.tokenizer
        return bare

    @property
    def capabilities(self) -> Capabilities:
        """What the object gives."""
        return self._capabilities

    def _given(self) -> Capabilities:
        """Return what the object's methods promise, or the part of it that it names itself."""
        promised = set(ORDINARY[self.objective])
        if not hasattr(self.model, "score"):
            promised &= _TEXT_ALONE
        if not hasattr(self.model, "next_log_probs"):
            promised.discard(Capability.DISTRIBUTIONS)
        promised.discard(Capability.INFILLING)  # the door has no method for it
        named = getattr(self.model, "capabilities", None)
        if named is None:
            return frozenset(promised)
        if isinstance(named, str) or not isinstance(named, Iterable):
            raise ModelError(f"{self.spec}: capabilities is {one_line(repr(named), 60)}, expected names of them")
        named = set(named)
        if unknown := sorted(map(repr, named - set(Capability))):
            raise ModelError(f"{self.spec}: capabilities names {unknown[0]}", f"there are: {', '.join(Capability)}")
        given = promised & named
        if Capability.LOG_PROBS not in given:
            given &= _TEXT_ALONE
        return frozenset(given | {Capability.CONTINUATIONS})

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score every suffix token of every window; refuse scores of another shape, and NaN."""
        if Capability.LOG_PROBS not in self.capabilities:
            raise ModelError(f"{self.spec}: gives no log-probabilities", "leave out what is measured by them")
        for window in windows:
            self._check_length(len(window.prefix) + len(window.suffix))
        scores = self._ask("score", lambda: self.model.score(windows, decoding))
        wanted = np.cumsum([0, *(len(window.suffix) for window in windows)])
        if not isinstance(scores, TokenScores) or not np.array_equal(scores.offsets, wanted):
            raise ModelError(f"{self.spec}: score gave no TokenScores of {len(windows)} windows")
        if any(len(column) != wanted[-1] for column in (scores.log_prob, scores.rank, scores.mean, scores.std)):
            raise ModelError(f"{self.spec}: score gave columns that are not one row a suffix token")
        if np.isnan(scores.log_prob).any():
            raise ModelError(f"{self.spec}: score gave log-probabilities that are not a number")
        if Capability.MOMENTS not in self.capabilities:  # whatever stands there is not to be read by anybody
            unknown = np.full(len(scores.log_prob), np.nan)
            return TokenScores(scores.offsets, scores.log_prob, scores.rank, unknown, unknown)
        if np.isnan(scores.mean).any() or np.isnan(scores.std).any():
            raise ModelError(
                f"{self.spec}: score gave means or deviations that are not a number",
                f"leave '{Capability.MOMENTS}' out of its capabilities",
            )
        return scores

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        """Continue every prompt; refuse continuations of another length or with ids beyond the vocabulary."""
        for prompt in prompts:
            self._check_length(len(prompt) + length)
        given = self._ask("continuations", lambda: self.model.continuations(prompts, length, decoding))
        rows = self._ask("continuations", lambda: [np.asarray(row, dtype=np.int32) for row in given])
        if [row.shape for row in rows] != [(length,)] * len(prompts):
            raise ModelError(f"{self.spec}: continuations did not give {length} ids for each of {len(prompts)} prompts")
        if any(row.min(initial=0) < 0 or row.max(initial=0) >= self.tokenizer.vocab_size for row in rows):
            raise ModelError(f"{self.spec}: continuations gave ids beyond the vocabulary")
        return rows

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        """Return log p(next token | prefix), shape [prefixes, vocabulary]; refuse what are no distributions."""
        if Capability.DISTRIBUTIONS not in self.capabilities:
            return super().next_log_probs(prefixes)
        for prefix in prefixes:
            self._check_length(len(prefix))
        given = self._ask("next_log_probs", lambda: self.model.next_log_probs(prefixes))
        return checked_log_probs(given, len(prefixes), self.tokenizer.vocab_size)

    def _fact(self, name: str, *kinds: type) -> Any:
        value = getattr(self.model, name, None)
        if value is None:
            value = getattr(LanguageModel, name, None)
        if value is not None and not isinstance(value, kinds):
            raise ModelError(f"{self.spec}: {name} is {one_line(repr(value), 60)}, expected {kinds[0].__name__}")
        return value

    def _check_length(self, tokens: int) -> None:
        if self.context_length is not None and tokens > self.context_length:
            what = f"{tokens} tokens, the model reads {self.context_length}"
            raise ModelError(f"{self.spec}: {what}", "ask for fewer tokens")

    def _ask(self, what: str, question: Callable[[], Answer]) -> Answer:
        try:
            return question()
        except MemauditError:
            raise
        except (Exception, SystemExit) as error:  # nothing that a stranger raises may end as a verdict
            reason = one_line(f"{type(error).__name__}: {error}", 150)
            raise ModelError(f"{self.spec}: {what} failed: {reason}", "--debug shows where") from error
