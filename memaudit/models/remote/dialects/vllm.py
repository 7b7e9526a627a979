"""vLLM: log-probability and rank of every token of a prompt, by its id.

Checked against a running vLLM 0.32. An entry of ``prompt_logprobs`` holds the token that was sent and, beside it, the
likeliest one; ranks count from 1, and all tokens that are as likely as one stand before it, so a tie with the likeliest
is settled here. A prompt needs room for one token more, which has to be written. A text that has no more room than
that is cut short without a word.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from memaudit.models.remote.dialects.answers import check_usage, id_of, log_prob_of, only_choice, stopped
from memaudit.models.remote.dialects.base import SCORES
from memaudit.models.remote.dialects.given_text import AGREES, NEUTRAL, GivenText, check_same, seed_for, without_end
from memaudit.models.remote.results import Written
from memaudit.models.remote.transport import BadAnswerError, RefusedRequestError
from memaudit.records import Decoding, TokenIds

PATH = "/completions"
NAMED = "token_id:"
"""What stands before an id that is given in the place of a token's text."""
FIXED: Mapping[str, Any] = {
    **NEUTRAL, "n": 1, "stream": False, "echo": False, "stop": [], "add_special_tokens": False,
    "skip_special_tokens": False, "spaces_between_special_tokens": False, "ignore_eos": True, "min_tokens": 0,
    "return_token_ids": True, "return_tokens_as_token_ids": True,
}  # fmt: skip
"""Its ``ignore_eos`` lets the end token be written and goes on behind it, as our own decoding does."""


class Vllm(GivenText):
    """See the module."""

    name: ClassVar[str] = "vllm"
    label: ClassVar[str] = "vLLM, prompt_logprobs"
    path: ClassVar[str] = PATH

    def recognise(self, prompt: TokenIds, suffix: TokenIds) -> bool:
        """Look for entries of a prompt that are keyed by id and have a rank."""

        def read(answer: Any) -> bool:
            entries = only_choice(answer).get("prompt_logprobs")
            rows = [entry for entry in entries if entry] if isinstance(entries, list) else []
            return bool(rows) and all(_is_row(row) for row in rows)

        try:
            ids = np.concatenate([prompt, suffix]).tolist()
            found = self.transport.ask(PATH, self._scoring(ids), _or_not(read), tokens=len(ids) + 1, kept=False)
        except RefusedRequestError:
            return False
        self.gives, self.listed = SCORES, None
        return bool(found)

    def write(
        self, prompt: TokenIds, length: int, decoding: Decoding, *, seed: int = 0, attempt: int = 0, kept: bool = True
    ) -> Written:
        """Let it write as many tokens as are asked for, end tokens among them."""
        body = self._body(prompt.tolist(), length) | {"logprobs": 0}
        if not decoding.greedy:
            body |= {"temperature": decoding.temperature, "seed": seed_for(prompt, seed, attempt)}
            body |= {"top_k": decoding.top_k or -1, "top_p": decoding.top_p or 1.0}
        read = partial(self._read_written, sent=body["prompt"], most=length)
        most = len(prompt) + length
        return Written(**self.transport.ask(PATH, body, read, tokens=most, attempt=attempt, kept=kept))

    def _body(self, ids: list[int], length: int) -> dict[str, Any]:
        return {"model": self.served, "prompt": ids, "max_tokens": length, "temperature": 0.0, **FIXED}

    def _scoring(self, ids: list[int]) -> dict[str, Any]:
        return self._body(ids, 1) | {"prompt_logprobs": 1}

    def _read_scores(self, answer: Any, *, ids: list[int]) -> dict[str, list[Any]]:
        choice = self._checked(answer, ids, 1)
        entries = choice.get("prompt_logprobs")
        if not isinstance(entries, list):
            raise BadAnswerError("no prompt_logprobs")
        if len(entries) != len(ids):
            raise BadAnswerError(f"prompt_logprobs for {len(entries):,} tokens, {len(ids):,} were sent")
        if entries[0] is not None:
            raise BadAnswerError("a log-probability of the first token: something stands before what was sent")
        found = [_read_row(entry, token, place) for place, (entry, token) in enumerate(zip(entries, ids, strict=True))]
        return {"log_prob": [value for value, _ in found[1:]], "rank": [rank for _, rank in found[1:]]}

    def _read_written(self, answer: Any, *, sent: list[int], most: int) -> dict[str, Any]:
        choice = self._checked(answer, sent, most)
        ids = ids_of(choice)
        if ids is None:
            raise BadAnswerError("no ids of the tokens that it wrote")
        if len(ids) > most or not all(id_of(token) < self.tokenizer.vocab_size for token in ids):
            raise BadAnswerError("more tokens than were asked for, or some that the vocabulary does not have")
        ended, text = stopped(choice), choice.get("text")
        if not isinstance(text, str):
            raise BadAnswerError("no text")
        values = token_log_probs(choice, len(ids))
        kept = without_end(ids, (self.tokenizer.eos_id, choice.get("stop_reason")), ended=ended)
        values = None if values is None else values[: len(kept)]
        return {"text": self.tokenizer.decode(kept), "ids": kept, "ended": ended, "log_prob": values}

    def _checked(self, answer: Any, sent: list[int], most: int) -> Mapping[str, Any]:
        """Return the choice of an answer to the prompt that was sent."""
        choice = only_choice(answer)
        check_usage(answer, len(sent), most)
        read = choice.get("prompt_token_ids")
        if isinstance(read, list):
            check_same(read, sent, "an answer")
        return choice


def ids_of(choice: Mapping[str, Any]) -> list[Any] | None:
    """Return the ids of what was written, from where a server gives them; None where it does not."""
    ids, logprobs = choice.get("token_ids"), choice.get("logprobs")
    names = logprobs.get("tokens") if isinstance(logprobs, Mapping) else None
    named = ids_named(names) if isinstance(names, list) else None
    if isinstance(ids, list) and named is not None and ids != named:
        raise BadAnswerError("other token_ids than its log-probabilities are for")
    return ids if isinstance(ids, list) else named


def ids_named(names: list[Any]) -> list[int] | None:
    """Return the ids that stand in the place of tokens' texts; None where texts do."""
    if not all(isinstance(name, str) and name.startswith(NAMED) for name in names):
        return None
    ids = [name[len(NAMED) :] for name in names]
    return [int(one) for one in ids] if all(one.isascii() and one.isdigit() for one in ids) else None


def token_log_probs(choice: Mapping[str, Any], count: int) -> list[float] | None:
    """Return the log-probabilities of the tokens that were written; None where there are none."""
    logprobs = choice.get("logprobs")
    told = logprobs if isinstance(logprobs, Mapping) else {}
    names, values, tops = told.get("tokens"), told.get("token_logprobs"), told.get("top_logprobs")
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != count:
        raise BadAnswerError("log-probabilities for another number of tokens than were written")
    found = [log_prob_of(value) for value in values]
    if isinstance(names, list) and isinstance(tops, list) and ids_named(names) is not None:
        _check_listed(names, found, tops)
    return found


def _check_listed(names: list[Any], values: list[float], tops: list[Any]) -> None:
    """Refuse log-probabilities that are not those of the lists, in which a token that was written stands always."""
    places = list(zip(names, values, tops, strict=False))
    agree = (isinstance(t, Mapping) and name in t and abs(log_prob_of(t[name]) - v) <= AGREES for name, v, t in places)
    if not len(tops) == len(names) == len(values) or not all(agree):
        raise BadAnswerError("log-probabilities are not those of their tokens")


def _or_not(read: Any) -> Any:
    """Return a reader that says False of an answer that has not even the form."""

    def lenient(answer: Any) -> bool:
        try:
            return bool(read(answer))
        except BadAnswerError:
            return False

    return lenient


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or not row:
        return False
    return all(isinstance(one, dict) and "logprob" in one and "rank" in one for one in row.values())


def _read_row(row: Any, token: int, place: int) -> tuple[float, int]:
    """Return log-probability and rank, from 0, of the token that was sent; of the first there is nothing."""
    if place == 0:
        return -math.inf, 0
    if not _is_row(row) or len(row) > 2:
        raise BadAnswerError("prompt_logprobs: a token without its log-probability and rank")
    own = row.get(str(token))
    if own is None:
        raise BadAnswerError(f"prompt_logprobs for other tokens than were sent, from token {place + 1:,} on")
    value, rank = log_prob_of(own["logprob"]), own["rank"]
    if type(rank) is not int or rank < 1:
        raise BadAnswerError("prompt_logprobs: a rank that is none")
    beside = [(name, one) for name, one in row.items() if one is not own]
    if not beside:
        likeliest, best, fits = value, str(token), rank == 1
    else:
        [(best, one)] = beside
        likeliest, fits = log_prob_of(one["logprob"]), one["rank"] == 1 < rank
    if not fits or value > likeliest + AGREES or not (best.isascii() and best.isdigit()):
        raise BadAnswerError("prompt_logprobs: ranks are not those of their tokens")
    tied = value == likeliest
    return value, int(token > int(best)) if tied else rank - 1
