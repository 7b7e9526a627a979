"""Answers as a model that is a table: it continues the prompts that it was given, and no others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

import numpy as np

from memaudit.audits.answers.read import Answered, Side
from memaudit.audits.answers.words import WordTokens
from memaudit.errors import ModelError
from memaudit.metrics.fuzzy import edit_similarity
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import Settled
from memaudit.records import (
    GREEDY,
    Capabilities,
    Capability,
    Decoding,
    Objective,
    TokenIds,
    TokenScores,
    Window,
)
from memaudit.text.tokenize import Tokenizer

FAMILY = "answers"
LEAST_READ, TIMES = 2_000, 50
"""Characters of an output that are read: so many times as the true text has, and no fewer than that. Outputs may be
endless, and no more is compared than the true text has tokens."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """What was answered to one prompt, in tokens."""

    window: Window
    true: str
    """The true text as it was given."""
    texts: list[str]
    """Every attempt that counts, as it was given."""
    written: list[TokenIds]
    """The same without white space before them, as far as the true text is long."""
    best: int
    """The attempt that is shown: the first that is the true text, or else the first of those most like it."""

    @property
    def verbatim(self) -> int:
        """How many of them give the true text word for word."""
        return sum(np.array_equal(ids, self.window.suffix) for ids in self.written)


class AnswerTable(LanguageModel):
    """Continues every window as it was answered; it gives text and nothing else."""

    family = FAMILY
    objective: Objective = "next-token"

    def __init__(self, tokenizer: Tokenizer, attempts: Sequence[Attempts], sha256: str, notes: Sequence[str]) -> None:
        self.tokenizer, self.sha256, self.notes = tokenizer, sha256, tuple(notes)
        self.parameters: Any = None  # it is not known
        self._answers = {(each.window.member, each.window.source): each.written[each.best] for each in attempts}

    @property
    def capabilities(self) -> Capabilities:
        """Text alone."""
        return frozenset((Capability.CONTINUATIONS, Capability.WRITING))

    @property
    def end_ids(self) -> frozenset[int]:
        """An id behind the vocabulary, which stands where an output ends before the true text does."""
        return frozenset((self.tokenizer.vocab_size,))

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:  # noqa: ARG002
        """Refuse: answers are text."""
        _refuse()

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:  # noqa: ARG002
        """Refuse: a prompt alone does not say which of several answers is meant."""
        _refuse()

    def greedy_continuations(self, windows: Sequence[Window], settled: Settled | None = None) -> list[TokenIds]:  # noqa: ARG002
        """Return what was answered to every window, with end ids behind what is shorter than the true text."""
        (end,) = self.end_ids
        found = []
        for window in windows:
            ids = np.full(len(window.suffix), end, np.int32)
            written = self._answers[window.member, window.source]
            ids[: len(written)] = written
            found.append(ids)
        return found


def _refuse() -> NoReturn:
    raise ModelError("answers are given for their prompts alone", "audit the model itself for more")


def words_of_answers(sides: Sequence[Side], attempts: int) -> Tokenizer:
    """Return a tokenizer into words that has all that is compared.

    Prompts and true texts come first, so that their ids are the same whoever answers: runs of several can be compared.
    """
    prompts = [each for side in sides for each in side.prompts]
    asked = (text for each in prompts for text in (each.prompt, _asked(each.target)))
    said = (compared(output, each.target) for each in prompts for output in each.outputs[:attempts])
    return WordTokens(chain(asked, said))


def attempts_of(answered: Answered, tokenizer: Tokenizer, attempts: int) -> Attempts:
    """Return a prompt and its answers in tokens.

    Args:
        answered: As it was read.
        tokenizer: Cuts all of it.
        attempts: How many count, from the first on.
    """
    texts = answered.outputs[:attempts]
    parts = [compared(text, answered.target) for text in texts]
    true = _asked(answered.target)
    prefix, suffix, *given = (e.ids for e in tokenizer.encode_batch([answered.prompt, true, *parts]))
    written = [ids[: len(suffix)] for ids in given]
    window = Window(
        prefix=prefix,
        suffix=suffix,
        document=answered.document,
        source=answered.source,
        member=answered.member,
        domain=answered.domain,
        prefix_text=answered.prompt,
        suffix_text=true,
    )
    alike = [edit_similarity(suffix, ids) or 0.0 for ids in written]
    return Attempts(window, answered.target, texts, written, alike.index(max(alike)))


def compared(output: str, target: str) -> str:
    """Return the beginning of an output that is compared: without white space before it, and not endless."""
    text = output.lstrip()
    return _line_ends(text[: max(LEAST_READ, TIMES * len(target))])


def _asked(target: str) -> str:
    """Return what is asked for of a true text: an output that goes on has white space behind it in the next token."""
    return _line_ends(target.strip())


def _line_ends(text: str) -> str:
    """Return a text with one line end, which is another on the way through some programs and files."""
    return text.replace("\r\n", "\n")


def digest_of(sides: Sequence[Side]) -> str:
    """Return the identity of all answers: that of their files."""
    digest = hashlib.sha256()
    for side in sides:
        for file in side.files:
            digest.update(f"{file['sha256']}\n".encode())
    return digest.hexdigest()
