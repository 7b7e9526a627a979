"""How a work is asked for: give its first tokens, let the model write on, and see when it writes the work no more.

Two phases, after Ahmed et al. 2026 (arXiv 2601.02671), for every piece of the work that is given:

1. Probe: one piece is asked for, several times where it is sampled, and the attempt that agrees best with what follows
   in the work is gone on with: by words in runs of five or more, then by words before the first difference.
2. Continuation: the model writes on from its own words, a piece at a time, until it ends the text, comes to the end of
   the work, has written as many tokens as were allowed, or has written no new words of the work for so many tokens
   (`Progress`: twenty in a row, each place of the work counted once).

Where it stopped before the end of the work, the next tokens may be given: those behind the words up to which the model
followed the work. It is then given these tokens alone, as the first ones were. What was given is help and counts so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.reconstruction.matching import Progress, matching_runs, symbols_of
from memaudit.audits.reconstruction.options import ReconstructionOptions
from memaudit.audits.reconstruction.texts import Work
from memaudit.audits.reconstruction.writer import Begun, Written
from memaudit.runs.reconstruction_report import Stop
from memaudit.text.words.words import words_of

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Probe:
    """The first piece behind given tokens."""

    agreeing: list[int]
    """Words of each attempt that stand in runs of the words that follow in the work."""
    words: list[int]
    """Words that each attempt wrote."""
    chosen: int


@dataclass(slots=True)
class Stretch:
    """What was given, and what the model wrote behind it."""

    given: range
    """Tokens of the work."""
    text: str = ""
    tokens: int = 0
    seen: list[int] | None = None
    probe: Probe | None = None
    """None before anything was written."""
    stop: Stop | None = None
    since: int = 0
    """Tokens written since the last new words of the work."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be asked next."""

    begun: Begun
    tokens: int
    attempts: int


@dataclass(eq=False)
class Course:
    """The procedure for one work, step by step: what to ask, and what became of it.

    It holds nothing but what follows from the answers, so that a run resumes by taking those of its log again.
    """

    work: Work
    options: ReconstructionOptions
    piece: int
    stretches: list[Stretch] = field(default_factory=list)
    generated: int = 0
    """Tokens of all attempts."""
    _open: str = ""
    """The last words that were written, of which the last may not be complete."""

    def __post_init__(self) -> None:
        self._progress = Progress(self.work.words.hashes)
        self.limit = self.options.max_tokens or self.work.tokens
        self._give(0)

    @property
    def written(self) -> int:
        """Tokens that were gone on with."""
        return sum(stretch.tokens for stretch in self.stretches)

    def next(self) -> Ask | None:
        """Return what to ask next; None when it is over."""
        stretch = self.stretches[-1]
        if stretch.stop is not None:
            return None
        begun = Begun(self.work, stretch.given, stretch.text, stretch.seen)
        attempts = self.options.attempts if stretch.probe is None else 1
        return Ask(begun, min(self.piece, self.limit - self.written), attempts)

    def choose(self, attempts: Sequence[Written]) -> Probe:
        """Return which attempt agrees best with the work."""
        given = self.stretches[-1].given
        agreeing, first, words = [], [], []
        for attempt in attempts:
            truth, written = self.next_words(given, words_of(attempt.text).hashes)
            agreeing.append(sum(run.words for run in matching_runs(*symbols_of(truth[: 2 * len(written)], written))))
            first.append(alike(truth, written))
            words.append(len(written))
        best = max(range(len(attempts)), key=lambda i: (agreeing[i], first[i], -i))
        return Probe(agreeing, words, best)

    def next_words(self, given: range, written: Hashes) -> tuple[Hashes, Hashes]:
        """Return the words that follow given tokens in the work, and those written behind them, without a word's rest.

        Args:
            given: Tokens of the work.
            written: Words, of which the first is the rest of one where the tokens end within it.
        """
        behind = self.work.words.hashes[self.work.words_in(given).stop :]
        return behind, written[1:] if self.work.cuts_word(given) else written

    def take(self, attempts: Sequence[Written], probe: Probe | None) -> None:
        """Go on with what was written.

        Args:
            attempts: What came of `next`.
            probe: Where this was the first piece behind given tokens.
        """
        stretch = self.stretches[-1]
        stretch.probe = probe or stretch.probe
        chosen = attempts[probe.chosen if probe else 0]
        self.generated += sum(attempt.tokens for attempt in attempts)
        stretch.text += chosen.text
        stretch.tokens += chosen.tokens
        stretch.seen = None if chosen.seen is None else [*(stretch.seen or ()), *chosen.seen]
        stretch.since = 0 if self._progress.note(self._complete(chosen)) else stretch.since + chosen.tokens
        stretch.stop = self._stop(stretch, chosen)
        again = stretch.stop in ("end of the text", "no new words") and len(self.stretches) <= self.options.reseeds
        if again and self.written < self.limit:
            self._give(max(stretch.given.stop, self.work.token_behind(self._progress.reached)))

    def _give(self, first: int) -> None:
        """Give the next tokens of the work; nothing where none follows them."""
        given = range(first, first + self.options.seed_tokens)
        if given.stop >= self.work.tokens:
            return
        words = self.work.words_in(given)
        self._progress.note(self.work.words.hashes[words.start : words.stop])
        self._progress.reached = max(self._progress.reached, words.stop)
        self.stretches.append(Stretch(given))
        self._open = ""

    def _complete(self, written: Written) -> NDArray[np.uint64]:
        """Return the words that are complete by now, with as many before them as make a run with the first."""
        self._open += written.text
        words = words_of(self._open)
        count = len(words) if written.ended else max(len(words) - 1, 0)
        kept = max(0, count - self._progress.words + 1)
        if kept < len(words):
            self._open = self._open[int(words.starts[kept]) :]
        return words.hashes[:count]

    def _stop(self, stretch: Stretch, chosen: Written) -> Stop | None:
        if self._progress.reached >= len(self.work.words):
            return "end of the work"
        if chosen.ended or not chosen.tokens:
            return "end of the text"
        if self.written >= self.limit:
            return "token limit"
        return "no new words" if stretch.since >= self.options.patience else None


def alike(one: Hashes, other: Hashes) -> int:
    """Return how many words two texts begin with alike."""
    count = min(len(one), len(other))
    different = np.flatnonzero(one[:count] != other[:count])
    return int(different[0]) if len(different) else count
