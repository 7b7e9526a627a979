"""Text beyond the positions of a model: a window of the text slides along as the model writes.

A token is chosen given the last tokens of the text alone, as many as the window holds then. The window begins at the
first token of the text; when it is full, it goes on from the last half of what it held, so that every token is chosen
given at least half as many tokens as a model can read, and a text of n windows is read about twice. What the model is
given before a text (`LanguageModel.frame`) stands before every window. Where the window begins follows from the length
of the text so far alone: a text that is continued from any token of itself comes out the same (but for rounding), which
is how a run resumes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import before_end
from memaudit.records import GREEDY, Decoding, TokenIds

GROWTH = 4
"""A model that remembers all of a text reads it again at every piece, so that pieces grow to a quarter of the text."""


@dataclass(frozen=True, slots=True)
class Sliding:
    """Where the window on a text begins, by the length of the text.

    Args:
        room: Tokens that the window and what is written behind it may have together; at least 1.
        share: Of the room, that the window holds after it has moved, in (0, 1).
    """

    room: int
    share: float = 0.5

    @property
    def step(self) -> int:
        """Tokens by which the window moves."""
        return self.room - min(max(int(self.room * self.share), 1), self.room - 1)

    def start(self, length: int) -> int:
        """Return where the window begins behind so many tokens; at least one more has room behind it."""
        over = length - self.room + 1
        return 0 if over <= 0 else self.step * -(-over // self.step)


def sliding_of(model: LanguageModel, context: int | None = None, share: float = 0.5) -> Sliding | None:
    """Return how the window slides; None for a model that reads a text of any length.

    Args:
        model: Whose positions they are.
        context: Positions that are used at most; None: all that the model has.
        share: Of the room, that the window holds after it has moved.

    Raises:
        InputError: The share is none, or there is no room for a token beside those that stand before every text.
    """
    if not 0 < share < 1:
        raise InputError(f"the share of a window that is kept must lie between 0 and 1, not {share}")
    limits = [limit for limit in (context, model.context_length) if limit is not None]
    if not limits:
        return None
    room = min(limits) - sum(map(len, model.frame))
    if room < 1:
        raise InputError(f"a context of {min(limits)} has no room for text", "use a larger one")
    return Sliding(room, share)


def continue_rolling(
    model: LanguageModel,
    prompts: Sequence[TokenIds],
    length: int,
    decoding: Decoding = GREEDY,
    *,
    sliding: Sliding | None = None,
    piece: int | None = None,
    ends: Collection[int] = (),
) -> Iterator[list[TokenIds]]:
    """Yield what a model writes behind prompts, piece by piece; whoever has enough stops asking.

    Every piece is one call of `LanguageModel.continuations`, which reads the window once and continues it with a cache.
    Greedy text does not depend on the pieces; sampled text depends on the seed and on where they begin, and equal
    prompts are different attempts: attempt i is the same however many follow it.

    Args:
        model: Any that continues prompts.
        prompts: Of equal length: several texts, or several attempts at one.
        length: Tokens that are written behind each at most.
        decoding: How a token is chosen; its seed is used as it is until a window has moved.
        sliding: How the window slides, as `sliding_of` says; None: every text is read whole.
        piece: Tokens of a piece at most; None: as many as the window has room for.
        ends: Tokens that end a text: the last of its row, which then has empty pieces.

    Yields:
        The new tokens of every prompt.

    Raises:
        InputError: Prompts of different lengths, or an empty one where nothing stands before a text.
        ModelError: The model gives no distribution.
    """
    if len({len(prompt) for prompt in prompts}) > 1:
        raise InputError("texts that are continued together must be equally long")
    texts = [np.asarray(prompt, np.int32) for prompt in prompts]
    going, written = list(range(len(texts))), 0
    while going and written < length:
        at = len(prompts[0]) + written
        start = _start(model, at, sliding, piece)
        count = min(length - written, _room(at, start, sliding, piece))
        windows = [texts[row][start:] for row in going]
        new = [np.empty(0, np.int32) for _ in texts]
        for row, tokens in zip(going, model.continuations(windows, count, _seeded(decoding, start, at)), strict=True):
            new[row] = tokens[: len(before_end(tokens, ends)) + 1]
            texts[row] = np.concatenate([texts[row], new[row]])
        yield new
        written += count
        going = [row for row in going if not np.isin(new[row][-1:], list(ends)).any()]


def _start(model: LanguageModel, at: int, sliding: Sliding | None, piece: int | None) -> int:
    """Return where the window begins: a model that looks back a few tokens alone need not read what lies before."""
    if sliding is not None:
        return sliding.start(at)
    return 0 if piece is None or model.reach is None else max(0, at - model.reach)


def _room(at: int, start: int, sliding: Sliding | None, piece: int | None) -> int:
    """Return how many tokens the next piece may have."""
    if sliding is not None:
        room = sliding.room - (at - start)
        return room if piece is None else min(room, piece)
    return np.iinfo(np.int64).max if piece is None else max(piece, (at - start) // GROWTH)


def _seeded(decoding: Decoding, start: int, at: int) -> Decoding:
    """Return the decoding with a seed of the piece once a window has moved: a window that comes again is another."""
    if decoding.greedy or not start:
        return decoding
    digest = hashlib.sha256(f"{decoding.seed}:{start}:{at}".encode()).digest()
    return replace(decoding, seed=int.from_bytes(digest[:8], "little") >> 1)
