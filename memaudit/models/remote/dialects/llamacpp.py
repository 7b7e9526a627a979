"""llama.cpp: log-probabilities of the tokens that it generates, which are made to be the true ones.

It has no scores of a given text. But a grammar may name the very tokens that come next, and what it reports of a token
is the model's own log-probability, whatever the grammar or a bias made of the choice. So one request scores a whole
suffix. A token that ends the text fits no grammar: it is forced by a bias. Of one that is a part of a character nothing
is reported where it is written last: it is looked up in a list of all tokens, beside another that is forced.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from memaudit.errors import ModelError
from memaudit.models.remote.dialects.answers import (
    ROUNDING,
    check_usage,
    id_of,
    log_prob_of,
    only_choice,
)
from memaudit.models.remote.dialects.base import KNOWS_ALL, SCORES, WRITES, Dialect
from memaudit.models.remote.dialects.given_text import seed_for
from memaudit.models.remote.results import Scored, Written
from memaudit.models.remote.transport import BadAnswerError, Read, RefusedRequestError, Transport
from memaudit.records import GREEDY, Decoding, FloatArray, TokenIds
from memaudit.text.tokenize import Tokenizer, special_ids

SCORING, WRITING = "/completions", "^/completion"
"""Its own interface returns the ids of all that it wrote; OpenAI's leaves out parts of characters."""
WHOLE = 2048
"""Largest vocabulary of which every token is listed: a list takes 85 bytes a token."""
LISTED = 50
"""Likeliest tokens that are listed of a larger one."""
ALL = 10_000_000
"""Tokens of any vocabulary."""
PIECE = 256
"""Tokens that one request forces at most."""
BIAS = 1000.0
"""Added to the logit of a token that is to come: any model prefers it then."""
AGREES = 1e-2
"""Nats by which a log-probability may differ from itself, asked in another way."""
SAME = 1e-6
"""Nats by which two words of one answer about one token may differ: a recited text has nothing but small ones."""
NEUTRAL: Mapping[str, Any] = {
    "top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0, "top_n_sigma": -1.0, "xtc_probability": 0.0,
    "dynatemp_range": 0.0, "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
    "dry_multiplier": 0.0, "mirostat": 0, "ignore_eos": False, "cache_prompt": False, "post_sampling_probs": False,
    "stream": False, "n": 1, "stop": [],
}  # fmt: skip
"""What a launch flag or a default would set otherwise. Without a cache an answer does not depend on the one before."""
SAMPLING: Mapping[str, Any] = {"samplers": ["temperature", "top_k", "top_p"]}
"""Temperature first, as everywhere here."""


Way = Literal["grammar", "bias", "list"]
UNREADABLE = "\ufffd"


class Entry(NamedTuple):
    """What an answer says of one place."""

    id: int
    log_prob: float
    top: dict[int, float]
    """The likeliest tokens."""


class LlamaCpp(Dialect):
    """See the module; what of it a server can do is settled by `recognise`."""

    name: ClassVar[str] = "llamacpp"
    label: ClassVar[str] = "llama.cpp, log-probabilities of tokens that it is made to write"

    def __init__(self, transport: Transport, served: str, tokenizer: Tokenizer) -> None:
        super().__init__(transport, served, tokenizer)
        self._by_grammar = False
        self._least = 1
        """Tokens that each list holds, as the first one did: a shorter one would be read as a rank."""
        self._ends = special_ids(tokenizer) | {i for i in (tokenizer.eos_id, tokenizer.bos_id) if i is not None}

    def recognise(self, prompt: TokenIds, suffix: TokenIds) -> bool:
        """Look whether it lists tokens by id, how many, and by what it can be made to write given ones."""
        most = WHOLE if self.tokenizer.vocab_size < WHOLE else LISTED
        try:
            likely = dict(self._list(prompt, most, kept=False))
            self.write(prompt, 1, GREEDY, kept=False)
        except (BadAnswerError, ModelError):
            return False
        whole = self.tokenizer.vocab_size <= len(likely) < most
        self.listed, self._least = None if whole else len(likely), len(likely)
        likeliest = sorted(likely, key=likely.__getitem__, reverse=True)
        fit = [token for token in (*likeliest, *suffix.tolist()) if self._is_whole(token) and token not in self._ends]
        if not self._gives_raw(prompt, fit[1:2], likely, "bias"):
            self.gives = WRITES
            return True
        self.gives = KNOWS_ALL if whole else SCORES
        self._by_grammar = self._gives_raw(prompt, fit[1:8], likely, "grammar")
        return True

    def score(self, prompt: TokenIds, suffix: TokenIds, *, kept: bool = True, attempt: int = 0) -> Scored:
        """Force the suffix, piece by piece, and read what is said of each token."""
        read: list[Mapping[str, Any]] = []
        at = 0
        for piece, way in self._pieces(suffix.tolist()):
            read += self._forced(np.concatenate([prompt, suffix[:at]]), piece, way, kept=kept, attempt=attempt)
            at += len(piece)
        columns = {name: [value for one in read for value in one[name]] for name in ("log_prob", "rank", "mean", "std")}
        if self.listed is not None:
            return Scored(columns["log_prob"], columns["rank"])
        return Scored(**columns)

    def next_log_probs(self, prompt: TokenIds, *, kept: bool = True) -> dict[int, float]:
        """Return the list of the whole vocabulary behind a prompt."""
        return {token: value for token, value in self._list(prompt, WHOLE, kept=kept) if self._known(token)}

    def write(
        self, prompt: TokenIds, length: int, decoding: Decoding, *, seed: int = 0, attempt: int = 0, kept: bool = True
    ) -> Written:
        """Let it write, by its own sampler where tokens are drawn."""
        how: dict[str, Any] = {"temperature": 0.0}
        if not decoding.greedy:
            how = {"temperature": decoding.temperature, "seed": seed_for(prompt, seed, attempt), **SAMPLING}
            how |= {"top_k": decoding.top_k or 0, "top_p": decoding.top_p or 1.0}
        body = {"prompt": prompt.tolist(), "n_predict": length, "return_tokens": True, **NEUTRAL, **how}
        read = partial(self._read_written, prompt=len(prompt), most=length)
        most = len(prompt) + length
        found = self.transport.ask(WRITING, body, read, tokens=most, attempt=attempt, kept=kept)
        return Written(self.tokenizer.decode(found["ids"]), found["ids"], found["ended"])

    def _ask(
        self, prompt: TokenIds, length: int, how: Mapping[str, Any], read: Read, *, kept: bool, attempt: int = 0
    ) -> Any:
        body = {"model": self.served, "prompt": prompt.tolist(), "max_tokens": length, "temperature": 0.0}
        body |= {**NEUTRAL, **how}
        most = len(prompt) + length
        return self.transport.ask(SCORING, body, read, tokens=most, attempt=attempt, kept=kept)

    def _list(self, prompt: TokenIds, most: int, *, kept: bool) -> list[tuple[int, float]]:
        def read(answer: Any) -> list[list[Any]]:
            check_usage(answer, len(prompt), 1)
            [entry] = entries_of(answer, 1, least=1, listed=self._least)
            return [[token, value] for token, value in entry.top.items()]

        # Another bias than of a token that is scored: of these two answers other things are kept.
        how = {"logprobs": most, "logit_bias": [[self._plain, BIAS / 2]]}
        listed = self._ask(prompt, 1, how, read, kept=kept)
        return [(token, value) for token, value in listed]

    def _forced(
        self, prompt: TokenIds, piece: Sequence[int], way: Way, *, kept: bool, attempt: int
    ) -> list[Mapping[str, Any]]:
        """Force a piece; one that no grammar takes, for whatever reason, token by token."""
        if way != "grammar":
            return [self._force(prompt, piece, way, kept=kept, attempt=attempt)]
        try:
            return [self._force(prompt, piece, way, kept=kept, attempt=attempt)]
        except RefusedRequestError:
            begun = [np.append(prompt, piece[:at]).astype(np.int32) for at in range(len(piece))]
            pairs = zip(begun, piece, strict=True)
            return [self._force(before, [token], "bias", kept=kept, attempt=attempt) for before, token in pairs]

    def _force(
        self, prompt: TokenIds, tokens: Sequence[int], way: Way, *, kept: bool, attempt: int = 0
    ) -> Mapping[str, Any]:
        """Return log p, rank and moments of tokens that are forced, each a list."""
        how: dict[str, Any] = {"logprobs": self.listed or WHOLE}
        if way == "grammar":
            how["grammar"] = "root ::= " + " ".join(f"<[{token}]>" for token in tokens)
        elif way == "bias":
            how["logit_bias"] = [[token, BIAS] for token in tokens]
        else:
            # The token that is looked up is named, by a bias of nothing: an answer is kept under all that was asked.
            how |= {"logprobs": ALL, "logit_bias": [[self._plain, BIAS], *([token, 0.0] for token in tokens)]}
        forced = tokens if way != "list" else [self._plain]
        read = partial(_read_forced, prompt=len(prompt), forced=forced, tokens=tokens)
        read = partial(read, listed=self.listed, least=self._least)
        found: Mapping[str, Any] = self._ask(prompt, len(tokens), how, read, kept=kept, attempt=attempt)
        return found

    def _gives_raw(self, prompt: TokenIds, tokens: Sequence[int], likely: Mapping[int, float], way: Way) -> bool:
        """Whether tokens can be forced so, and the first keeps the log-probability that it has unforced."""
        try:
            found = self._force(prompt, tokens, way, kept=False)
        except (BadAnswerError, ModelError):
            return False
        return tokens[0] not in likely or abs(found["log_prob"][0] - likely[tokens[0]]) <= AGREES

    def _pieces(self, suffix: Sequence[int]) -> Iterator[tuple[list[int], Way]]:
        """Yield what one request says of, and how."""
        piece: list[int] = []
        for token in suffix:
            whole = token in self._ends or self._is_whole(token)
            fits = whole and self._fits(token)
            if piece and (not fits or len(piece) == PIECE):
                yield piece, "grammar"
                piece = []
            if fits:
                piece.append(token)
            else:
                yield [token], "bias" if whole else "list"
        if piece:
            yield piece, "grammar"

    def _is_whole(self, token: int) -> bool:
        return UNREADABLE not in self.tokenizer.decode([token])

    def _fits(self, token: int) -> bool:
        """Whether a grammar takes a token: whole characters, none of them the one that ends a string in C."""
        text = self.tokenizer.decode([token])
        return self._by_grammar and token not in self._ends and bool(text) and "\0" not in text

    @cached_property
    def _plain(self) -> int:
        """A token of letters, of which something is reported wherever it stands."""
        ids = (i for i in range(self.tokenizer.vocab_size) if i not in self._ends)
        return next((i for i in ids if self.tokenizer.decode([i]).strip().isalpha()), 0)

    def _known(self, token: int) -> bool:
        return token < self.tokenizer.vocab_size

    def _read_written(self, answer: Any, *, prompt: int, most: int) -> dict[str, Any]:
        ids = answer.get("tokens") if isinstance(answer, Mapping) else None
        if not isinstance(ids, list) or len(ids) > most or not all(self._known(id_of(token)) for token in ids):
            raise BadAnswerError("no ids of the tokens that it wrote, or none of these")
        if answer.get("tokens_evaluated") != prompt:
            raise BadAnswerError(f"{answer.get('tokens_evaluated')} tokens of prompt were read, {prompt} were sent")
        reason = answer.get("stop_type")
        if reason not in ("eos", "limit") or (reason == "eos" and not (ids and ids[-1] in self._ends)):
            raise BadAnswerError("neither ended nor cut off, or ended without an end token")
        return {"ids": ids[:-1] if reason == "eos" else ids, "ended": reason == "eos"}


def entries_of(answer: Any, most: int, *, least: int = 0, listed: int = 1) -> list[Entry]:
    """Return what an answer says of each token that it holds, in order; from ``least`` to ``most``.

    Args:
        answer: As it came.
        most: Tokens.
        least: Tokens.
        listed: Likeliest tokens that are listed for each, at least.

    Raises:
        BadAnswerError: A field is missing, or what is said of a token and of the likeliest does not fit together.
    """
    logprobs = only_choice(answer).get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(content, list) or not least <= len(content) <= most:
        raise BadAnswerError("no log-probabilities, or more than were asked for")
    entries = [_entry(one) for one in content]
    if any(len(entry.top) < listed for entry in entries):
        raise BadAnswerError("the likeliest tokens are not as many as were asked for")
    return entries


def _entry(one: Any) -> Entry:
    if not isinstance(one, Mapping) or not isinstance(one.get("top_logprobs"), list):
        raise BadAnswerError("a token without its log-probability")
    token, value = id_of(one.get("id")), log_prob_of(one.get("logprob"))
    top = {id_of(each.get("id")): log_prob_of(each.get("logprob")) for each in one["top_logprobs"]}
    least = min(top.values(), default=-math.inf)
    if len(top) != len(one["top_logprobs"]) or not top:
        raise BadAnswerError("the likeliest tokens are not told apart")
    wrong = abs(top[token] - value) > SAME if token in top else value > least + SAME
    if wrong:
        raise BadAnswerError("log-probabilities are not those of their tokens")
    return Entry(token, value, top)


def _read_forced(
    answer: Any, *, prompt: int, forced: Sequence[int], tokens: Sequence[int], listed: int | None, least: int
) -> dict[str, list[Any]]:
    """Return what is kept of an answer that should hold forced tokens and no others, and says something of others."""
    check_usage(answer, prompt, len(tokens))
    entries = entries_of(answer, len(tokens), listed=least)
    if [entry.id for entry in entries] != list(forced):
        raise BadAnswerError("other tokens than the ones it was made to write")
    kept: dict[str, list[Any]] = {"log_prob": [], "rank": [], "mean": [], "std": []}
    for token, entry in zip(tokens, entries, strict=True):
        if token not in entry.top and token != entry.id:
            raise BadAnswerError("a list of all tokens without the one that is looked for")
        values = np.array(list(entry.top.values()))
        own = entry.log_prob if token == entry.id else entry.top[token]
        kept["log_prob"].append(own)
        rank = _rank(token, entry.top, values) if token in entry.top else len(values)
        kept["rank"].append(rank if listed is None else min(rank, listed))
        if listed is None:
            mean, deviation = _moments(values)
            kept["mean"].append(mean)
            kept["std"].append(deviation)
    return kept


def _rank(token: int, top: Mapping[int, float], values: FloatArray) -> int:
    ids, own = np.array(list(top)), top[token]
    return int(((values > own) | ((values == own) & (ids < token))).sum())


def _moments(values: FloatArray) -> tuple[float, float]:
    """Return expectation and standard deviation of log p over a vocabulary, all of which is listed."""
    probs = np.exp(values)
    if abs(probs.sum() - 1) > ROUNDING:
        raise BadAnswerError(f"the probabilities of the whole vocabulary add up to {probs.sum():g}")
    finite = np.where(probs > 0, values, 0.0)
    mean = float((probs * finite).sum())
    return mean, float(np.sqrt((probs * (finite - mean) ** 2).sum()))
