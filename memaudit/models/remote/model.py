"""A model that answers over HTTP, as a language model of ours: it gives what its server was found to give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from memaudit.errors import EndpointError, ModelError
from memaudit.findings import Control
from memaudit.metrics.verbatim import matched_tokens
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import Settled, attempts_of, is_whole
from memaudit.models.remote.dialects.base import Dialect
from memaudit.models.remote.dialects.text import Text
from memaudit.models.remote.probe import Probed
from memaudit.models.remote.probing.trials import are_of_one_model
from memaudit.models.remote.results import Scored, Written
from memaudit.models.remote.seams import LONGEST, ids_behind, moved, spare
from memaudit.models.remote.transport import Transport
from memaudit.records import (
    GREEDY,
    Capabilities,
    Capability,
    Decoding,
    FloatArray,
    Objective,
    TokenIds,
    TokenScores,
    Window,
)
from memaudit.text.tokenize import Tokenizer

PROMPTS = "prompts are read as the tokens that they were cut as"
READ_OTHERWISE = 0.1
"""Share of prompts that a server may read as other tokens: what it knows behind these may not come back."""
MIXED = "another model answers at the end of a session than at its beginning: what was answered is of both"
RETOLD = 3
"""Times that a text is asked for whose tokens, as it is read, are fewer than those that were written."""


class RemoteModel(LanguageModel):
    """Asks a server, several windows at a time; what it does not give is not asked (`capabilities`).

    Args:
        transport: To the server.
        probed: What was found out about it.
        tokenizer: Of the model; its start token is put before every text.
        about: What a plan says of the server (`memaudit.runs.parts.EndpointDescription`).
        sha256: Identity of the model, as far as an address has one.
    """

    family = "endpoint"
    objective: Objective = "next-token"
    device = "remote"
    dtype = "unknown"

    def __init__(
        self, transport: Transport, probed: Probed, tokenizer: Tokenizer, about: Mapping[str, Any], sha256: str
    ) -> None:
        self.transport, self.probed, self.dialect = transport, probed, probed.dialect
        self.tokenizer, self.context_length = tokenizer, room_in(probed.dialect, probed.context_length)
        self.endpoint, self.sha256, self.checks = about, sha256, probed.controls
        self.behaviour, self.recital = probed.behaviour, transport.endpoint.recital

    @property
    def capabilities(self) -> Capabilities:
        """What the server was found to give."""
        return self.dialect.gives

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        """The start token, which stands before every text."""
        start = self.tokenizer.bos_id
        return ([] if start is None else [start]), []

    def without_frame(self) -> Self:
        """Return the model that is given the ids of a text alone.

        Raises:
            ModelError: The server puts a start token before a text by itself, or a chat template.
        """
        if not self.dialect.joins:
            raise ModelError(f"{self.transport.url}: a chat template begins every text", "leave out --start-token")
        if self.dialect.puts_start:
            raise ModelError(f"{self.transport.url}: puts a start token before every text", "leave out --start-token")
        return super().without_frame()

    def check_prompts(self, windows: Sequence[Window]) -> list[Control]:
        """Count prompts that a server which takes text reads as other tokens, or without a part of a character."""
        if self.dialect.takes_ids or not windows:
            return []
        cut, otherwise = moved(self.tokenizer, [window.prefix for window in windows if window.turns is None])
        detail = (
            f"of {len(windows):,} prompts, sent as text, {otherwise:,} are read as other tokens than they were cut as,"
            f" and {cut:,} begin or end inside a character, which is left out"
        )
        return [Control(PROMPTS, otherwise <= READ_OTHERWISE * len(windows), detail)]

    def keep_in(self, folder: Path) -> None:
        """Keep answers in a run directory: what was answered is not asked again.

        Raises:
            EndpointError: They are another model's.
        """
        folder.mkdir(mode=0o700, exist_ok=True)
        self.transport.keep_in(folder)
        begun_with = self.transport.remember("marks", self.probed.marks)
        if not are_of_one_model(begun_with, self.probed.marks, self.probed.noise):
            raise EndpointError(
                f"{self.transport.url}: another model answers than when the run began: it says other things of the same"
                " passages",
                "choose another --out",
            )

    def check_unchanged(self) -> None:
        """Refuse to conclude where the server answers the probe's passages otherwise than at the beginning.

        Raises:
            EndpointError: It does; what was answered is of two models, and the run directory remembers that.
        """
        if not are_of_one_model(self.probed.marks, self.probed.again(), self.probed.noise):
            self.transport.give_up(MIXED)

    @property
    def spent(self) -> str:
        """What it cost so far, in words."""
        return self.transport.spent

    def check_scored(self, decoding: Decoding) -> None:
        """Refuse a decoding that changes probabilities: servers give those of the model alone."""
        if not decoding.unchanged:
            raise ModelError(
                f"{self.transport.url}: gives log-probabilities at temperature 1 without top-k and top-p alone",
                "leave out --temperature, --top-k and --top-p",
            )

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score every suffix token; see `memaudit.models.remote.results.Scored` for ranks beyond a list."""
        self.check_scored(decoding)
        self._check_room(max((len(w.prefix) + len(w.suffix) for w in windows), default=0))
        jobs = [partial(self.dialect.score, self._begun(w.prefix), w.suffix) for w in windows if len(w.suffix)]
        answers = iter(self.transport.each(jobs))
        scores = TokenScores.of_lengths([len(window.suffix) for window in windows])
        for window, first in zip(windows, scores.offsets, strict=False):
            if len(window.suffix):
                _fill(scores, slice(first, first + len(window.suffix)), next(answers))
        return scores

    def screen(self, windows: Sequence[Window]) -> NDArray[np.int32]:
        """Return how many suffix tokens it writes before its first difference; asked for text, which costs least."""
        written = self.greedy_continuations(windows)
        return np.array([matched_tokens(np.not_equal(ids, w.suffix)) for ids, w in zip(written, windows, strict=True)])

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        """Return log p of every token behind each prefix, of a server that lists all of them."""
        if Capability.DISTRIBUTIONS not in self.capabilities:
            return super().next_log_probs(prefixes)
        rows = np.full((len(prefixes), self.tokenizer.vocab_size), -np.inf)
        jobs = [partial(self.dialect.next_log_probs, self._begun(prefix)) for prefix in prefixes]
        for row, listed in zip(rows, self.transport.each(jobs), strict=True):
            row[list(listed)] = list(listed.values())
        normalised: FloatArray = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
        return normalised

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        """Continue every prompt; where the server ended the text, the rest is the end token.

        Samples are drawn by the server, which may draw others another time; within a run they stay as they are.
        """
        attempts = attempts_of(prompts)
        jobs = [
            partial(self._continue, prompt, length, decoding, attempt)
            for prompt, attempt in zip(prompts, attempts, strict=True)
        ]
        return self.transport.each(jobs)

    def greedy_continuations(self, windows: Sequence[Window], settled: Settled | None = None) -> list[TokenIds]:
        """Continue every prefix; where text alone comes back, it is read as the true tokens as far as it is theirs.

        It stops at what is settled within a continuation that came in one piece: a request costs more than a token.
        """
        jobs = [partial(self._continue_window, window) for window in windows]
        whole = self.transport.each(jobs)
        if settled is None:
            return whole
        return [_until_settled(window.suffix, ids, settled) for window, ids in zip(windows, whole, strict=True)]

    def write_on(self, texts: Sequence[str], length: int, decoding: Decoding = GREEDY) -> list[Written]:
        """Return what a server that takes text puts behind texts, as text; equal texts are attempts of their own.

        Raises:
            ModelError: It takes token ids, or a request fails.
        """
        dialect = self.dialect
        if not isinstance(dialect, Text):
            raise ModelError(f"{self.transport.url}: takes token ids", "ask for continuations")
        often: Counter[str] = Counter()
        jobs = []
        for text in texts:
            write = partial(dialect.go_on, starts=bool(self.frame[0]), seed=decoding.seed, attempt=often[text])
            jobs.append(partial(write, text, length, decoding))
            often[text] += 1
        return self.transport.each(jobs)

    def _continue(self, prompt: TokenIds, length: int, decoding: Decoding, attempt: int) -> TokenIds:
        """Return exactly ``length`` tokens."""
        self._check_room(len(prompt) + length)
        write = partial(self.dialect.write, decoding=decoding, seed=decoding.seed, attempt=attempt)
        return self._filled(self._written(write, prompt, None, length), length)

    def _continue_window(self, window: Window) -> TokenIds:
        """Return as many tokens as its suffix has. A true end token inside a row of documents is gone past."""
        true, length = window.suffix, len(window.suffix)
        self._check_room(len(window.prefix) + length)
        ids = self._written(partial(self.dialect.continue_window, window), window.prefix, true, length)
        write = partial(self.dialect.write, decoding=GREEDY)
        while self.dialect.joins and len(ids) < length and int(true[len(ids)]) in self.end_ids:
            if not np.array_equal(ids, true[: len(ids)]):
                break
            ids = np.append(ids, true[len(ids)]).astype(np.int32)
            begun = np.concatenate([window.prefix, ids])
            ids = np.concatenate([ids, self._written(write, begun, true[len(ids) :], length - len(ids))])
        return self._filled(ids, length)

    def _written(
        self, write: Callable[[TokenIds, int], Written], prompt: TokenIds, true: TokenIds | None, length: int
    ) -> TokenIds:
        """Return at most so many tokens, fewer where the text was ended."""
        if not length:
            return np.empty(0, np.int32)
        asked = length if self.dialect.takes_ids else length + spare(self.tokenizer, prompt, true)
        for _ in range(RETOLD):
            written = write(self._begun(prompt), asked)
            ids = self._ids_of(written, prompt, true)[:length]
            if written.ids is not None or written.ended or len(ids) == length:
                break
            asked += 2 * (length - len(ids)) + LONGEST  # its text has fewer tokens than it wrote
        if len(ids) < length and not written.ended and written.ids is not None:
            raise ModelError(
                f"{self.transport.url}: wrote {len(ids)} tokens of {length} and did not end the text",
                "its context may be shorter than it says: lower --prefix or --suffix",
            )
        return ids

    def _ids_of(self, written: Written, prompt: TokenIds, true: TokenIds | None) -> TokenIds:
        if written.ids is not None:
            return np.asarray(written.ids, np.int32)
        apart = not self.dialect.joins
        return ids_behind(self.tokenizer, prompt, written.text, true, ended=written.ended, apart=apart)

    def _filled(self, ids: TokenIds, length: int) -> TokenIds:
        if len(ids) == length:
            return ids
        if self.tokenizer.eos_id is None:
            raise ModelError(
                f"{self.transport.url}: ended a text, and its tokenizer has no end token",
                "name the tokenizer of this model with --tokenizer",
            )
        return np.append(ids, np.full(length - len(ids), self.tokenizer.eos_id)).astype(np.int32)

    def _begun(self, prompt: TokenIds) -> TokenIds:
        return np.concatenate([np.asarray(self.frame[0], np.int32), prompt]).astype(np.int32)

    def _check_room(self, tokens: int) -> None:
        tokens += len(self.frame[0])
        if self.context_length is not None and tokens > self.context_length:
            raise ModelError(
                f"{self.transport.url}: {tokens:,} tokens, the server reads {self.context_length:,}",
                "ask for fewer tokens: --prefix, --suffix",
            )


def room_in(dialect: Dialect, context_length: int | None) -> int | None:
    """Return the tokens of a text that a server scores, which may need some of its context for itself."""
    return None if context_length is None else context_length - dialect.room


def _fill(scores: TokenScores, rows: slice, scored: Scored) -> None:
    scores.log_prob[rows], scores.rank[rows] = scored.log_prob, scored.rank
    unknown = np.full(len(scored.rank), np.nan)
    scores.mean[rows] = unknown if scored.mean is None else scored.mean
    scores.std[rows] = unknown if scored.std is None else scored.std


def _until_settled(suffix: TokenIds, ids: TokenIds, settled: Settled) -> TokenIds:
    """Return as much of a continuation as a model would have written that stops where it is settled."""
    lengths = range(1, len(suffix) + 1)
    return ids[: next((n for n in lengths if is_whole(suffix, ids[:n], settled)), len(suffix))]
