"""OpenAI's older completions with ``echo``: log-probabilities of a prompt, whose tokens are named by their texts.

Where a server gives ids in the place of texts (vLLM's ``return_tokens_as_token_ids``), these are compared with the ones
that were sent. Else texts are compared with those of the tokens; one that is a part of a character has no text of its
own, so that of several is looked at together. Two tokens of one text take each other's place in a list of the likeliest
ones: a rank is then told from the probability that is left for those that are not listed, and counts all of them where
that does not tell. Which samplers a server knows beside OpenAI's cannot be seen: only temperature and top-p are asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from memaudit.errors import ModelError
from memaudit.models.remote.dialects.answers import check_usage, log_prob_of, only_choice, stopped
from memaudit.models.remote.dialects.base import SCORES
from memaudit.models.remote.dialects.given_text import AGREES, GivenText, check_same, rank_among, seed_for, without_end
from memaudit.models.remote.dialects.vllm import ids_named, token_log_probs
from memaudit.models.remote.results import Written
from memaudit.models.remote.transport import BadAnswerError, RefusedRequestError, Transport
from memaudit.records import Decoding, TokenIds
from memaudit.text.tokenize import HuggingFaceTokenizer, Tokenizer, TrainedTokenizer

PATH = "/completions"
NEUTRAL: Mapping[str, Any] = {
    "n": 1, "stream": False, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
}  # fmt: skip
"""What every server with this API knows."""
NAMED_BY_ID: Mapping[str, Any] = {"return_tokens_as_token_ids": True, "add_special_tokens": False}
WAYS: tuple[tuple[int, Mapping[str, Any]], ...] = ((20, NAMED_BY_ID), (5, NAMED_BY_ID), (20, {}), (5, {}), (2, {}))
"""How many tokens are to be listed, and what else is asked for: the first that is not refused."""
UNREADABLE = "\ufffd"
RAW = "bytes:"
"""What stands before the bytes of a part of a character in answers of OpenAI."""


class Listing(NamedTuple):
    """``logprobs`` of an answer, of the prompt and of what was written."""

    names: list[str]
    values: list[Any]
    tops: list[Any]


class Echo(GivenText):
    """See the module; how many tokens are listed, and whether by id, is settled by `recognise`."""

    name: ClassVar[str] = "echo"
    label: ClassVar[str] = "OpenAI's completions, echo"
    path: ClassVar[str] = PATH

    def __init__(self, transport: Transport, served: str, tokenizer: Tokenizer) -> None:
        super().__init__(transport, served, tokenizer)
        self.listed: int | None = 1
        self._asked, self._also = WAYS[0]
        self._texts: dict[int, frozenset[str]] = {}

    def recognise(self, prompt: TokenIds, suffix: TokenIds) -> bool:
        """Look for the tokens of a prompt, with log-probabilities and lists of the likeliest tokens."""
        ids = np.concatenate([prompt, suffix]).tolist()

        def read(answer: Any) -> list[int]:
            try:
                listing = listing_of(only_choice(answer))
            except BadAnswerError:
                return [0, 0]
            # One is what was asked for, without an echo.
            most = _most_listed(listing) if len(listing.names) > 2 else 0
            return [most, int(ids_named(listing.names) is not None)]

        for self._asked, self._also in WAYS:
            try:
                most, by_id = self.transport.ask(PATH, self._scoring(ids), read, tokens=len(ids) + 1, kept=False)
            except RefusedRequestError:
                continue
            if not most:
                return False
            # Far fewer than were asked for are all that it lists; some fewer, by text, are those of one text.
            if 2 * most > self._asked:
                self.gives, self.listed = SCORES, min(most, self._asked) if by_id else self._asked - 1
                return True
        return False

    def write(
        self, prompt: TokenIds, length: int, decoding: Decoding, *, seed: int = 0, attempt: int = 0, kept: bool = True
    ) -> Written:
        """Let it write until it ends the text.

        Raises:
            ModelError: Top-k is asked for.
        """
        body = self._body(prompt.tolist(), length) | {"logprobs": 1}
        if decoding.top_k is not None and not decoding.greedy:
            raise ModelError(
                f"{self.transport.url}: whether it follows a top-k cannot be seen", "leave out --top-k: use --top-p"
            )
        if not decoding.greedy:
            body |= {"temperature": decoding.temperature, "top_p": decoding.top_p or 1.0}
            body["seed"] = seed_for(prompt, seed, attempt)
        read = partial(self._read_written, sent=len(prompt), most=length)
        most = len(prompt) + length
        return Written(**self.transport.ask(PATH, body, read, tokens=most, attempt=attempt, kept=kept))

    def _body(self, ids: list[int], length: int) -> dict[str, Any]:
        asked = {"model": self.served, "prompt": ids, "max_tokens": length, "temperature": 0.0}
        return {**asked, **NEUTRAL, **self._also}

    def _scoring(self, ids: list[int]) -> dict[str, Any]:
        return self._body(ids, 1) | {"echo": True, "logprobs": self._asked}

    def _read_scores(self, answer: Any, *, ids: list[int]) -> dict[str, list[Any]]:
        check_usage(answer, len(ids), 1)
        choice = only_choice(answer)
        listing = listing_of(choice)
        # The end token that a server stopped at may be left out.
        least = len(ids) + (not stopped(choice))
        if not least <= len(listing.names) <= len(ids) + 1:
            raise BadAnswerError(f"{len(listing.names):,} tokens are echoed, {len(ids):,} were sent and 1 asked for")
        self._check_names(listing.names[: len(ids)], ids)
        if listing.values[0] is not None or listing.tops[0]:
            raise BadAnswerError("a log-probability of the first token: something stands before what was sent")
        rows = slice(1, len(ids))
        values = [log_prob_of(value) for value in listing.values[rows]]
        places = zip(listing.names[rows], ids[rows], values, listing.tops[rows], strict=True)
        return {"log_prob": values, "rank": [self._rank(*place) for place in places]}

    def _rank(self, name: str, token: int, own: float, top: Any) -> int:
        if not isinstance(top, Mapping) or not top:
            raise BadAnswerError("a token without a list of the likeliest ones")
        values, listed = {str(other): log_prob_of(value) for other, value in top.items()}, self.listed or 1
        ids = ids_named(list(values)) if ids_named([name]) else None
        if ids is None:
            return rank_by_value(own, list(values.values()), self._asked)
        if len(values) < listed:
            raise BadAnswerError("the likeliest tokens are not as many as were asked for")
        return rank_among(token, own, dict(zip(ids, values.values(), strict=True)), listed)

    def _check_names(self, names: Sequence[str], ids: list[int]) -> None:
        """Refuse echoed tokens that are not those that were sent, by id or by text."""
        shown = ids_named(list(names))
        if shown is not None:
            check_same(shown, ids, "an echo")
            return
        at = 0
        while at < len(ids):
            parts = at
            while parts < len(ids) and not self._has_text(ids[parts]):
                parts += 1
            if parts > at:
                told, true = "".join(names[at:parts]), self.tokenizer.decode(ids[at:parts])
                same = told == true or UNREADABLE in told or RAW in told or UNREADABLE in true
                at = parts
            else:
                same = names[at] in self._texts_of(ids, at)
                at += 1
            if not same:
                raise BadAnswerError(f"an echo of other tokens than were sent, by token {at:,}")

    def _has_text(self, token: int) -> bool:
        text = self.tokenizer.decode([token])
        return bool(text) and UNREADABLE not in text

    def _texts_of(self, ids: Sequence[int], at: int) -> frozenset[str]:
        """Return what a server may call a token: its text alone or behind the one before, or its vocabulary's entry."""
        token = ids[at]
        if token not in self._texts:
            names = {self.tokenizer.decode([token]), _entry_of(self.tokenizer, token)}
            self._texts[token] = frozenset(name for name in names if name)
        before = self.tokenizer.decode(ids[max(at - 1, 0) : at])
        both = self.tokenizer.decode(ids[max(at - 1, 0) : at + 1])
        return self._texts[token] | ({both[len(before) :]} if both.startswith(before) else set())

    def _read_written(self, answer: Any, *, sent: int, most: int) -> dict[str, Any]:
        check_usage(answer, sent, most)
        choice = only_choice(answer)
        text, ended = choice.get("text"), stopped(choice)
        if not isinstance(text, str):
            raise BadAnswerError("no text")
        logprobs = choice.get("logprobs")
        names = logprobs.get("tokens") if isinstance(logprobs, Mapping) else None
        ids = ids_named(names) if isinstance(names, list) and names else None
        values = token_log_probs(choice, len(names)) if isinstance(names, list) else None
        if (names is not None and len(names) > most) or not all(i < self.tokenizer.vocab_size for i in ids or ()):
            raise BadAnswerError("more tokens than were asked for, or some that the vocabulary does not have")
        if ids is not None:
            ids = without_end(ids, (self.tokenizer.eos_id, choice.get("stop_reason")), ended=ended)
            text, values = self.tokenizer.decode(ids), None if values is None else values[: len(ids)]
        return {"text": text, "ids": ids, "ended": ended, "log_prob": values}


def listing_of(choice: Mapping[str, Any]) -> Listing:
    """Return the tokens of an answer with what is said of them, each as many.

    Raises:
        BadAnswerError: One of the lists is missing, or longer or shorter than the others.
    """
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, Mapping):
        raise BadAnswerError("no log-probabilities")
    lists = [logprobs.get(name) for name in ("tokens", "token_logprobs", "top_logprobs")]
    names, values, tops = lists
    if not (isinstance(names, list) and isinstance(values, list) and isinstance(tops, list)):
        raise BadAnswerError("no log-probabilities with the likeliest tokens")
    if not len(names) == len(values) == len(tops) or not all(isinstance(name, str) for name in names):
        raise BadAnswerError("log-probabilities for another number of tokens than are named")
    return Listing(names, values, tops)


def rank_by_value(own: float, values: Sequence[float], asked: int) -> int:
    """Return how many tokens are likelier than one, of which only texts are known; one less than ``asked`` beyond that.

    Args:
        own: Its log-probability.
        values: Log-probabilities of the likeliest, each text once; that of the token may stand beside them.
        asked: How many were to be listed. One that stands beside a list with a gap looks like the last one of it.

    Raises:
        BadAnswerError: Its log-probability is too high for one that does not stand there.
    """
    stands = any(abs(value - own) <= AGREES for value in values)
    if len(values) >= asked and not stands and own > min(values) + AGREES:
        raise BadAnswerError("log-probabilities are not those of their tokens")
    rank = sum(value > own for value in values)
    # Texts that stand there once for two tokens hide one of them, which may be the very one that is asked for.
    hidden = asked - len(values) - (not stands)
    left = 1 - sum(map(math.exp, values)) - (0 if stands else math.exp(own))
    if hidden > 0 and left > math.exp(own):
        rank += hidden
    return min(rank, asked - 1)


def _most_listed(listing: Listing) -> int:
    """Return how many likeliest tokens a server lists: one that stands beside them because it was sent is none."""
    most = 0
    for name, own, top in zip(*listing, strict=True):
        if isinstance(top, Mapping) and top and isinstance(own, int | float):
            beside = name in top and own <= min(value for value in top.values() if isinstance(value, int | float))
            most = max(most, len(top) - bool(beside and len(top) > 1))
    return most


def _entry_of(tokenizer: Tokenizer, token: int) -> str:
    """Return what a vocabulary calls a token, which is not its text where spaces have a sign; empty if unknown."""
    if isinstance(tokenizer, TrainedTokenizer):
        return tokenizer.pipeline.id_to_token(token) or ""
    if isinstance(tokenizer, HuggingFaceTokenizer):
        return str(tokenizer.tokenizer.convert_ids_to_tokens(token) or "")
    return ""
