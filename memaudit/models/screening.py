"""How far greedy decoding follows a true text, with as few tokens read as that takes.

Greedy decoding gives a suffix exactly when the true token is its choice at every place, given the prefix and the
true suffix so far (Carlini et al. 2022, definition 3.1). So a window is done with at its first difference: most
windows of most corpora after their prefix, of which the head sees one position only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memaudit.models.caches import cache_of, copied, gathered, merged, reading_on, token_bytes
from memaudit.models.torch_scores import HEAD_ROWS, Head, check_finite
from memaudit.models.transformer_base import chunks, equal_lengths
from memaudit.records import TokenIds

READ_TOKENS = {"cpu": 800, "cuda": 1 << 15}
"""Tokens read together: on a processor more would leave its cache, an accelerator needs more to be busy."""
CACHE_BYTES = {"cpu": 512 << 20, "cuda": 4 << 30}
"""Keys and values of the windows that wait for their next block; about twice as much exists while they are gathered."""

DIFFERS, AGREES, UNSURE = 0, 1, 2
Judge = Callable[[Tensor, Tensor], Tensor]
"""(logits [n, vocabulary], true ids [n]) -> whether each true token is chosen, [n]: one of these or a boolean."""
BoolArray = NDArray[np.bool_]
Places = NDArray[np.int64]


def is_choice(logits: Tensor, true: Tensor) -> Tensor:
    """Return whether greedy decoding chooses the true tokens: the first maximum of their logits.

    Raises:
        ModelError: A logit is NaN or infinite.
    """
    chosen, _ = _within(logits, true, 0.0)
    rows = torch.nonzero(chosen).flatten()
    chosen[rows] = logits[rows].argmax(dim=1) == true[rows]
    return chosen


def is_clear(logits: Tensor, true: Tensor, margin: float) -> Tensor:
    """Return `AGREES` or `DIFFERS` where the best token leads by more than ``margin``, else `UNSURE`; errors as above.

    A true token that another one beats by more differs, whichever the other is.
    """
    near, target = _within(logits, true, margin)
    found = near.to(torch.int8)
    rows = torch.nonzero(near).flatten()
    others = logits[rows].scatter(1, true[rows, None], -torch.inf).amax(dim=1)
    found[rows[target[rows] - others.double() <= margin]] = UNSURE
    return found


def _within(logits: Tensor, true: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Return whether no token beats the true one by more than ``margin``, and the logit of the true one."""
    high = logits.amax(dim=1)
    if not bool((torch.isfinite(high) & torch.isfinite(logits.amin(dim=1))).all()):
        check_finite(logits)
    target = logits.gather(1, true[:, None]).flatten().double()
    return target >= high.double() - margin, target


@dataclass(frozen=True, slots=True)
class Reader:
    """A causal model as a screen sees it: a body with a cache that `can_gather`, and a head that is asked."""

    body: Any
    head: Head
    device: torch.device
    judge: Judge = is_choice

    def read(self, ids: TokenIds, cache: Any = None) -> tuple[Tensor, Any]:
        """Read ids [n, t] on from a cache; return hidden states [n, t, d] and the cache (the given one is spent)."""
        past = {} if cache is None else reading_on(self.body, cache)
        output = self.body(input_ids=self._tensor(ids), use_cache=True, **past)
        return output.last_hidden_state, cache_of(output)

    def judged(self, hidden: Tensor, true: TokenIds) -> NDArray[np.int8]:
        """Return how the true tokens [n] compare with what hidden states [n, d] predict, a few logits at a time."""
        pieces = zip(torch.split(hidden, HEAD_ROWS), torch.split(self._tensor(true), HEAD_ROWS), strict=True)
        found = torch.cat([self.judge(self.head(states), ids) for states, ids in pieces])
        return found.to(torch.int8).cpu().numpy()

    def gathered(self, cache: Any, rows: Places, count: int) -> Any:
        """Return the cache of the texts at ``rows`` of the ``count`` that it holds."""
        return copied(cache) if np.array_equal(rows, np.arange(count)) else gathered(cache, self._tensor(rows))

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return torch.as_tensor(values, dtype=torch.long, device=self.device)


def matched_lengths(reader: Reader, prefixes: Sequence[TokenIds], suffixes: Sequence[TokenIds]) -> NDArray[np.int32]:
    """Return how many tokens of every suffix agree before the first difference, shape [windows].

    Args:
        reader: The model, and what counts as no difference.
        prefixes: What stands before each suffix, a start token included; not empty where there is a suffix.
        suffixes: The true continuations.

    Raises:
        ModelError: A logit is NaN or infinite.
    """
    return matched_and_sure(reader, prefixes, suffixes)[0]


def matched_and_sure(
    reader: Reader, prefixes: Sequence[TokenIds], suffixes: Sequence[TokenIds]
) -> tuple[NDArray[np.int32], BoolArray]:
    """Return the same, and whether no token that it rests on is `UNSURE`; a window is left at the first such token."""
    matched, sure = np.zeros(len(prefixes), np.int32), np.ones(len(prefixes), np.bool_)
    asked = [i for i in range(len(prefixes)) if len(suffixes[i])]
    for group in equal_lengths([prefixes[i] for i in asked], len(asked) + 1):
        windows = np.array([asked[i] for i in group])
        screen = _Screen(reader, [prefixes[i] for i in windows], [suffixes[i] for i in windows])
        matched[windows] = screen.run()
        sure[windows] = screen.sure
    return matched, sure


@dataclass(frozen=True, slots=True)
class _Alive:
    """Windows without a difference so far, all read equally far."""

    windows: Places
    cache: Any
    """Keys and values of their prefix and of all agreeing suffix tokens but the last."""


class _Screen:
    """Windows whose prefixes are equally long, and how far each of them is known to agree.

    Prefixes are read in small batches, one that several windows share once. Windows that differ at their first
    token leave; the others of all batches are gathered. From then on blocks of suffix tokens are read, each as long
    as the windows ran so far for every difference among them, and whatever differs leaves.
    """

    def __init__(self, reader: Reader, prefixes: list[TokenIds], suffixes: list[TokenIds]) -> None:
        self.reader = reader
        self.prefixes = prefixes
        self.lengths = np.array([len(suffix) for suffix in suffixes], np.int32)
        self.text = np.zeros((len(suffixes), self.lengths.max()), np.int32)
        for row, suffix in zip(self.text, suffixes, strict=True):
            row[: len(suffix)] = suffix
        self.matched = np.zeros(len(suffixes), np.int32)
        self.sure = np.ones(len(suffixes), np.bool_)
        self.tokens = READ_TOKENS.get(reader.device.type, READ_TOKENS["cuda"])
        self.bytes = CACHE_BYTES.get(reader.device.type, CACHE_BYTES["cuda"])
        self.agreed = self.differed = 0

    def run(self) -> NDArray[np.int32]:
        """Return how many suffix tokens of every window agree before the first difference."""
        sharing: dict[bytes, list[int]] = {}
        for window, prefix in enumerate(self.prefixes):
            sharing.setdefault(prefix.tobytes(), []).append(window)
        size = len(self.prefixes[0])
        waiting: list[_Alive] = []
        for batch in chunks(sharing.values(), max(1, self.tokens // size)):
            hidden, cache = self.reader.read(np.stack([self.prefixes[same[0]] for same in batch]))
            windows = np.concatenate([np.array(same, np.int64) for same in batch])
            rows = np.repeat(np.arange(len(batch)), [len(same) for same in batch])
            alive = np.flatnonzero(self._judge(windows, hidden[torch.from_numpy(rows), -1:]))
            most = max(1, self.bytes // (token_bytes(cache) * (size + self.text.shape[1])))
            for kept in np.split(alive, range(most, len(alive), most)):
                waiting.append(_Alive(windows[kept], self.reader.gathered(cache, rows[kept], len(batch))))
                if sum(len(part.windows) for part in waiting) >= most:
                    self._follow(waiting)
                    waiting = []
        self._follow(waiting)
        return self.matched

    def _follow(self, waiting: list[_Alive]) -> None:
        """Read the suffixes of windows whose prefix is read, until each is done with."""
        while waiting := [part for part in waiting if len(part.windows)]:
            alive = _Alive(np.concatenate([part.windows for part in waiting]), merged([p.cache for p in waiting]))
            block, count = self._block(alive.windows), len(alive.windows)
            size = max(1, self.tokens // block)
            waiting = [
                self._advance(_Alive(alive.windows[rows], self.reader.gathered(alive.cache, rows, count)), block)
                for rows in np.split(np.arange(count), range(size, count, size))
            ]

    def _block(self, windows: Places) -> int:
        """Return how many tokens to read next: as many as agreed for every difference when last read."""
        run = self.agreed // max(1, self.differed)
        self.agreed = self.differed = 0
        return int(np.clip(run, 1, (self.lengths - self.matched)[windows].max()))

    def _advance(self, alive: _Alive, block: int) -> _Alive:
        """Read the next ``block`` suffix tokens; return the windows that have more and no difference."""
        last = self.matched[alive.windows[0]] - 1
        hidden, cache = self.reader.read(self.text[alive.windows, last : last + block], alive.cache)
        rows = np.flatnonzero(self._judge(alive.windows, hidden))
        return _Alive(alive.windows[rows], self.reader.gathered(cache, rows, len(alive.windows)))

    def _judge(self, windows: Places, hidden: Tensor) -> BoolArray:
        """Count on from the states [n, b, d] that predict the next b tokens; return which have more to agree with."""
        places = self.matched[windows][:, None] + np.arange(hidden.shape[1])
        asked = places < self.lengths[windows][:, None]
        judged = np.full(asked.shape, AGREES, np.int8)
        true = self.text[np.broadcast_to(windows[:, None], asked.shape)[asked], places[asked]]
        judged[asked] = self.reader.judged(hidden[torch.from_numpy(asked)], true)
        agree = judged == AGREES
        whole, first = agree.all(axis=1), agree.argmin(axis=1)
        gained = np.where(whole, asked.sum(axis=1), first)
        self.matched[windows] += gained.astype(np.int32)
        self.sure[windows] = whole | (judged[np.arange(len(windows)), first] == DIFFERS)
        self.agreed += int(gained.sum())
        self.differed += int((~whole).sum())
        more: BoolArray = whole & (self.matched[windows] < self.lengths[windows])
        return more
