"""Who writes: the narrow door between a reconstruction and whatever is asked to go on with a text.

A `Writer` is given a text and gives text back, nothing else: no probabilities, no ids of the true tokens. So a model
behind an address can stand here as one on this machine does: where its server takes token ids, it is one; else its
`RemoteWriter` sends ``begun.given + begun.written`` (or the last part of it that its service takes) as a prompt, asks
for as many tokens as it is told, and hands back the text and whether it stopped by itself. ``seen`` is None then; what
is given is cut by the tokenizer that was named. Every call is complete in itself, so that a run resumes at any of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from memaudit.audits.reconstruction.texts import Work
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import before_end
from memaudit.models.remote.model import RemoteModel
from memaudit.models.remote.results import Written as Answered
from memaudit.models.rolling import Sliding, continue_rolling, sliding_of
from memaudit.records import Decoding, TokenIds
from memaudit.text.tokenize import Tokenizer

PIECE = 128
"""Tokens that are asked for together: after each piece it is seen how far the model came. Longer where a window is so
long that reading it again would cost more than what is written."""
READ_PER_WRITTEN = 4
"""Tokens of a window that are read again for a token that is written, at most."""
SEAM = 32
"""Tokens before a piece that it is decoded with, as a character may lie in two pieces."""
CHARACTER = 4
"""Tokens of a character at most: of a part of one nothing would come back, however often it is asked for."""
MARGIN = 4 + CHARACTER
"""Tokens by which a part of a text may have more than it has within the text, and room for a character."""
_BROKEN = "\ufffd"


@dataclass(frozen=True, slots=True)
class Begun:
    """A text that is to be gone on with."""

    work: Work
    tokens: range
    """Of the work, that are given; the model's own words follow."""
    written: str
    seen: TokenIds | None
    """Token ids of what was written, where the writer told them."""

    @property
    def given(self) -> str:
        """The text of the tokens that are given."""
        return self.work.cut(self.tokens)


class Written(NamedTuple):
    """What one attempt wrote."""

    text: str
    tokens: int
    ended: bool
    """Whether the model ended the text here."""
    seen: list[int] | None = None
    """Token ids, for a writer that goes on from them."""


class Writer(Protocol):
    """Goes on with texts."""

    @property
    def piece(self) -> int:
        """Tokens that it should be asked for together."""

    def write(self, begun: Begun, tokens: int, attempts: int) -> list[Written]:
        """Return what several attempts write next, at most so many tokens each; the same call gives the same text."""


class LocalWriter:
    """A model of ours: its window slides along (`memaudit.models.rolling`).

    Args:
        model: That writes.
        decoding: How it chooses tokens.
        context: Positions that are used at most; None: all it has.
    """

    def __init__(self, model: LanguageModel, decoding: Decoding, context: int | None = None) -> None:
        self.model, self.decoding = model, decoding
        self.sliding: Sliding | None = sliding_of(model, context)

    @property
    def piece(self) -> int:
        """Tokens that it should be asked for together."""
        return PIECE if self.sliding is None else max(PIECE, self.sliding.room // READ_PER_WRITTEN)

    def write(self, begun: Begun, tokens: int, attempts: int) -> list[Written]:
        """Return what several attempts write next; errors as of `memaudit.models.rolling.continue_rolling`."""
        given = begun.work.encoding.ids[begun.tokens.start : begun.tokens.stop]
        before = given if begun.seen is None else np.concatenate([given, begun.seen])
        ends = self.model.end_ids
        pieces = continue_rolling(
            self.model, [before] * attempts, tokens, self.decoding, sliding=self.sliding, piece=tokens, ends=ends
        )
        rows = [np.concatenate(row) for row in zip(*pieces, strict=True)]
        return [self._written(before, row, ends) for row in rows]

    def _written(self, before: TokenIds, new: TokenIds, ends: Collection[int]) -> Written:
        kept = before_end(new, ends)
        text = text_behind(self.model.tokenizer, before, kept)
        return Written(text, len(new), len(kept) < len(new), kept.tolist())


class RemoteWriter:
    """A model behind an address that takes text alone: the last part of a text that it can read is sent.

    Args:
        model: That writes.
        decoding: How it chooses tokens.
        context: Positions that are used at most; None: all it has.
    """

    def __init__(self, model: RemoteModel, decoding: Decoding, context: int | None = None) -> None:
        self.model, self.decoding = model, decoding
        whole = sliding_of(model, context)
        said = len(model.tokenizer.encode_batch([model.dialect.instruction])[0])
        self.sliding = None if whole is None else replace(whole, room=max(2, whole.room - said - MARGIN))

    @property
    def piece(self) -> int:
        """Tokens that it should be asked for together."""
        return PIECE if self.sliding is None else max(PIECE, self.sliding.room // READ_PER_WRITTEN)

    def write(self, begun: Begun, tokens: int, attempts: int) -> list[Written]:
        """Return what several attempts write next, a whole character at least; errors as of `RemoteModel.write_on`."""
        before = begun.given + begun.written
        rows = [Written("", 0, ended=False) for _ in range(attempts)]
        while going := [i for i, row in enumerate(rows) if not row.ended and row.tokens < tokens]:
            texts = [before + rows[i].text for i in going]
            windows, room = self._windows(texts)
            count = max(CHARACTER, min(room, tokens - max(rows[i].tokens for i in going)))
            # Texts that come again further on are other texts: each place has a seed of its own.
            seed = self.decoding.seed + max(map(len, texts))
            new = self.model.write_on(windows, count, replace(self.decoding, seed=seed))
            for i, text, each in zip(going, texts, new, strict=True):
                rows[i] = self._longer(rows[i], text, each, count)
        return rows

    def _longer(self, row: Written, text: str, new: Answered, count: int) -> Written:
        said = new.text if new.ended else new.text.rstrip(_BROKEN)
        if not self.model.dialect.joins and said and text and not (text[-1].isspace() or said[0].isspace()):
            said = f" {said}"  # an answer begins without the space
        used = min(count, len(self.model.tokenizer.encode_batch([said])[0])) if new.ended else count
        return Written(row.text + said, row.tokens + used, new.ended)

    def _windows(self, texts: Sequence[str]) -> tuple[list[str], int]:
        """Return the last parts of texts that leave room, and the tokens that there is room for behind each."""
        if self.sliding is None:
            return list(texts), np.iinfo(np.int32).max
        windows, longest = [], 0
        for text, encoding in zip(texts, self.model.tokenizer.encode_batch(texts), strict=True):
            start = self.sliding.start(len(encoding))
            windows.append(text[int(encoding.starts[start]) :] if start else text)
            longest = max(longest, len(encoding) - start)
        return windows, max(1, self.sliding.room - longest)


def writer_of(model: LanguageModel, decoding: Decoding, context: int | None = None) -> Writer:
    """Return who writes for a model: one behind an address that takes text alone is asked by text."""
    if isinstance(model, RemoteModel) and not model.dialect.takes_ids:
        return RemoteWriter(model, decoding, context)
    return LocalWriter(model, decoding, context)


def text_behind(tokenizer: Tokenizer, before: TokenIds, new: TokenIds) -> str:
    """Return the text of tokens as it stands behind others; the first part of a broken character comes with its rest.

    Args:
        tokenizer: Of the tokens.
        before: All tokens before them.
        new: The tokens.
    """
    seam = before[-SEAM:]
    head = tokenizer.decode(seam).rstrip(_BROKEN)
    whole = tokenizer.decode(np.concatenate([seam, new])).rstrip(_BROKEN)
    return whole[len(head) :] if whole.startswith(head) else tokenizer.decode(new)
