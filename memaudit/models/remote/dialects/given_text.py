"""What the dialects have in common that give log-probabilities of a text as it is sent: entries, ranks, seeds."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from memaudit.errors import ModelError
from memaudit.models.remote.dialects.base import Dialect
from memaudit.models.remote.results import Scored
from memaudit.models.remote.transport import BadAnswerError
from memaudit.records import TokenIds

AGREES = 1e-2
"""Nats by which two mentions of one log-probability in an answer may differ."""
NEUTRAL: Mapping[str, Any] = {
    "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}  # fmt: skip
"""Samplers as vLLM and SGLang name them, all switched off: else those of the model's folder or a launch flag hold."""


class GivenText(Dialect):
    """A dialect that scores a text as it is sent, in one request: it says how to ask for one, and reads what comes."""

    path: ClassVar[str]
    """As of `memaudit.models.remote.transport.Transport.ask`."""
    room: ClassVar[int] = 1

    def score(self, prompt: TokenIds, suffix: TokenIds, *, kept: bool = True, attempt: int = 0) -> Scored:
        """Ask for what is said of the whole text, and return that of its suffix.

        All of it is read and kept: where a suffix begins is not said in a request, so the same may be asked again for
        another one.

        Raises:
            ModelError: Nothing stands before the first token.
        """
        check_begun(prompt, self.transport.url)
        ids = np.concatenate([prompt, suffix]).tolist()
        read = partial(self._read_scores, ids=ids)
        most = len(ids) + self.room
        found = self.transport.ask(self.path, self._scoring(ids), read, tokens=most, attempt=attempt, kept=kept)
        return Scored(found["log_prob"][-len(suffix) :], found["rank"][-len(suffix) :])

    @abstractmethod
    def _scoring(self, ids: list[int]) -> dict[str, Any]:
        """Return the body that asks for what is said of all tokens of a text."""

    @abstractmethod
    def _read_scores(self, answer: Any, *, ids: list[int]) -> dict[str, list[Any]]:
        """Return ``log_prob`` and ``rank`` of all tokens of a text but the first, each of shape [tokens - 1].

        Raises:
            BadAnswerError: They are not of these tokens.
        """


def seed_for(prompt: TokenIds, seed: int, attempt: int) -> int:
    """Return the seed of a sample: of its own for every prompt and attempt, the same whenever it is drawn again."""
    told = f"{seed} {attempt} ".encode() + np.asarray(prompt, np.int32).tobytes()
    return int.from_bytes(hashlib.sha256(told).digest()[:4], "big") >> 1


def check_begun(prompt: TokenIds, url: str) -> None:
    """Refuse a text that begins with what is to be scored: servers give nothing for a first token.

    Raises:
        ModelError: Nothing stands before it.
    """
    if not len(prompt):
        raise ModelError(
            f"{url}: gives no log-probability of a token with nothing before it",
            "the tokenizer has no start token: ask for a longer --prefix",
        )


def check_same(shown: Sequence[Any], sent: Sequence[int], what: str) -> None:
    """Refuse tokens of a prompt that are not those that were sent.

    Args:
        shown: Ids, in order.
        sent: Ids.
        what: What shows them.
    """
    if len(shown) != len(sent):
        raise BadAnswerError(f"{what} for {len(shown):,} tokens, {len(sent):,} were sent")
    differ = [place for place, (one, other) in enumerate(zip(shown, sent, strict=True)) if one != other]
    if differ:
        raise BadAnswerError(f"{what} for other tokens than were sent, from token {differ[0] + 1:,} on")


def rank_among(token: int, own: float, top: Mapping[int, float], listed: int | None) -> int:
    """Return how many tokens are likelier than one, as far as the likeliest are known.

    Args:
        token: Its id.
        own: Its log-probability.
        top: Log-probabilities of the likeliest tokens; that token may stand among them.
        listed: How many of these count; a token beyond them has just this rank.

    Raises:
        BadAnswerError: Its log-probability is not the one that the list has for it, or too high for one outside.
    """
    least = min(top.values(), default=-math.inf)
    wrong = abs(top[token] - own) > AGREES if token in top else own > least + AGREES
    if wrong or not top:
        raise BadAnswerError("log-probabilities are not those of their tokens")
    if token not in top:
        return len(top) if listed is None else listed
    own = top[token]
    rank = sum(value > own or (value == own and other < token) for other, value in top.items())
    return rank if listed is None else min(rank, listed)


def without_end(ids: list[int], ends: Sequence[int | None], *, ended: bool) -> list[int]:
    """Return the tokens that were written without the one that ended them."""
    return ids[:-1] if ended and ids and ids[-1] in ends else ids
