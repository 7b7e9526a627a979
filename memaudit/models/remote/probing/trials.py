"""The same things asked again and again: alone, piece by piece, and in company."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from memaudit.models.remote.dialects.base import Dialect
from memaudit.models.remote.probing.witness import Witness
from memaudit.models.remote.results import Scored, Written
from memaudit.records import GREEDY, Capability, TokenIds
from memaudit.text.tokenize import Tokenizer

WRITTEN = 8
"""Tokens that are written behind a prompt."""
TRUE = 8
"""Tokens of a passage that are scored behind its beginning."""
ROUNDS = 2
"""Times that each is asked in company."""
OTHER = 0.1
"""Nats by which a log-probability moves that another model gives, and no noise that lets a verdict stand."""
LEAST = 4
"""Tokens that a continuation has at least which others are checked by."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A beginning, start token included, and what follows it in the passage."""

    prompt: TokenIds
    suffix: TokenIds


@dataclass
class Trial:
    """What a server made of one passage, asked alone, twice."""

    passage: Passage
    written: list[Written]
    scored: list[Scored] = field(default_factory=list)
    """Of the true suffix; none where there are no log-probabilities."""
    again: Scored | None = None
    """Of what was written, where that is known as ids."""

    def ids(self, tokenizer: Tokenizer) -> TokenIds | None:
        """Return what was written as ids, None where only its text is known and may have been other ones."""
        first = self.written[0]
        if first.ids is not None:
            return np.array(first.ids, np.int32)
        read = tokenizer.encode_batch([first.text])[0].ids
        counted = first.log_prob is not None and len(first.log_prob) == len(read)
        return read if counted and tokenizer.decode(read) == first.text else None


@dataclass(frozen=True, slots=True)
class Noise:
    """How much the same question is answered otherwise."""

    difference: float
    """Largest of log-probabilities, in nats; 0 where none are given."""
    other: int
    """Continuations that differ from the first of their prompt."""
    continuations: int
    scores: int
    """Log-probabilities that were compared."""


def try_alone(dialect: Dialect, passages: Sequence[Passage]) -> list[Trial]:
    """Ask everything twice, one request after another."""
    trials = [Trial(passage, [_write(dialect, passage.prompt) for _ in range(2)]) for passage in passages]
    if Capability.LOG_PROBS in dialect.gives:
        for trial in trials:
            # First, for all of these tokens stand in lists of the likeliest ones: what is wrong with them shows best.
            ids = trial.ids(dialect.tokenizer)
            if ids is not None and len(ids) >= LEAST:
                trial.again = dialect.score(trial.passage.prompt, ids, kept=False)
        for trial in trials:
            trial.scored = [_score(dialect, trial.passage) for _ in range(2)]
    return trials


def try_in_company(witness: Witness, dialect: Dialect, trials: Sequence[Trial]) -> list[Trial]:
    """Ask everything again, all of it together."""
    jobs: list[Callable[[], Written | Scored]] = []
    for _ in range(ROUNDS):
        jobs += [partial(_write, dialect, trial.passage.prompt) for trial in trials]
        if Capability.LOG_PROBS in dialect.gives:
            jobs += [partial(_score, dialect, trial.passage) for trial in trials]
    told = witness.each(jobs)
    written = [one for one in told if isinstance(one, Written)]
    values = [one for one in told if isinstance(one, Scored)]
    count = len(trials)
    return [Trial(trial.passage, written[i::count], values[i::count]) for i, trial in enumerate(trials)]


def noise_between(alone: Sequence[Trial], company: Sequence[Trial]) -> Noise:
    """Compare every answer with the first to the same question."""
    difference, other, continuations, scores = 0.0, 0, 0, 0
    for first, again in zip(alone, company, strict=True):
        written = [*first.written[1:], *again.written]
        other += sum(told_of(one) != told_of(first.written[0]) for one in written)
        continuations += len(written)
        for one in [*first.scored[1:], *again.scored]:
            difference = max(difference, largest(one.log_prob, first.scored[0].log_prob))
            scores += len(one.log_prob)
    return Noise(difference, other, continuations, scores)


def largest(values: Sequence[float], others: Sequence[float]) -> float:
    """Return the largest difference of log-probabilities; two of impossible tokens are the same."""
    pairs = zip(values, others, strict=True)
    return max((0.0 if a == b else abs(a - b) for a, b in pairs), default=0.0)


def told_of(written: Written) -> tuple[object, ...]:
    """Return what two continuations are compared by."""
    return (written.text if written.ids is None else tuple(written.ids), written.ended)


def digest(written: Written) -> str:
    """Return a digest of a continuation."""
    return hashlib.sha256(repr(told_of(written)).encode()).hexdigest()[:12]


def behaviour_of(trials: Sequence[Trial], *, quiet: bool) -> tuple[float | str | None, ...]:
    """Return what the model is recognised by in any session: it must not hang on the last bit of anything.

    Log-probabilities of single tokens to one decimal; digests of what is written where there are none. Nothing where
    answers move by themselves: any figure would lie at an edge some day (see `marks_of`).
    """
    if not quiet:
        return ()
    if not all(trial.scored for trial in trials):
        return tuple(digest(trial.written[0]) for trial in trials)
    values = [trial.scored[0].log_prob[place] for trial in trials for place in (0, TRUE // 2)]
    return tuple(round(value * 10) / 10 + 0.0 if math.isfinite(value) else None for value in values)


def marks_of(trials: Sequence[Trial]) -> list[list[float | str | None]]:
    """Return what a model is recognised by as it was said, to be compared with `are_of_one_model`: a list a passage."""
    if not all(trial.scored for trial in trials):
        return [[digest(written) for written in trial.written] for trial in trials]
    return [[v if math.isfinite(v) else None for v in trial.scored[0].log_prob] for trial in trials]


def are_of_one_model(then: Sequence[Sequence[Any]], now: Sequence[Sequence[Any]], noise: float) -> bool:
    """Return whether two lists of marks can be those of one model.

    Log-probabilities differ by at most `OTHER`, or by ten times what asking again changes. Of continuations one is
    that of before.

    Args:
        then: Of an earlier session.
        now: Of this one.
        noise: Nats by which the same answer moves.
    """
    if [len(marks) for marks in then] != [len(marks) for marks in now]:
        return False
    if any(isinstance(mark, str) for marks in (*then, *now) for mark in marks):
        return any(set(one) & set(other) for one, other in zip(then, now, strict=True))
    pairs = [pair for one, other in zip(then, now, strict=True) for pair in zip(one, other, strict=True)]
    return all(
        one == other or (None not in (one, other) and abs(one - other) <= max(OTHER, 10 * noise))
        for one, other in pairs
    )


def ask_marks(dialect: Dialect, trials: Sequence[Trial]) -> list[list[float | str | None]]:
    """Ask once more what was asked alone, a request a passage, and return the marks of who answers now."""
    if all(trial.scored for trial in trials):
        return marks_of([Trial(t.passage, t.written, [_score(dialect, t.passage)]) for t in trials])
    return marks_of([Trial(t.passage, [_write(dialect, t.passage.prompt)] * len(t.written)) for t in trials])


def _write(dialect: Dialect, prompt: TokenIds) -> Written:
    return dialect.write(prompt, WRITTEN, GREEDY, kept=False)


def _score(dialect: Dialect, passage: Passage) -> Scored:
    return dialect.score(passage.prompt, passage.suffix, kept=False)
