"""Does the text that is audited get loss? Training that masks, cuts off or lacks it cannot be seen to memorise it.

Windows are looked for in the rows of training batches, as the model is given them: a row may hold several documents
(packing), a part of one (truncation), or tokens whose label is ignored (prompts, other roles).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from memaudit.records import TokenIds, WindowRecord
from memaudit.training.watching import Row

State = Literal["absent", "cut", "masked", "partly", "unlabelled", "counted"]
STATES: tuple[State, ...] = ("absent", "cut", "masked", "partly", "unlabelled", "counted")
"""What becomes of a window, from worst to best."""
ANCHOR = 8
"""Tokens of a suffix by which it is looked for."""
_BASE = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class LossCheck:
    """What training data say of the windows of an audit."""

    windows: int
    """Of training text."""
    counted: int
    """Stand there whole, with loss on every token of the suffix."""
    unlabelled: int
    """Stand there whole, in batches without labels of their own."""
    partly: int
    """With loss on some tokens alone."""
    masked: int
    """With loss on none: their labels are ignored."""
    cut: int
    """Their rows end inside of the suffix."""
    absent: int
    heldout: int
    """Windows of held-out text."""
    heldout_found: int
    """Stand in the training data, whole."""
    rows: int
    """Rows that were looked at."""
    of: int
    """Rows there are."""

    @property
    def passed(self) -> bool:
        """Whether all training text gets loss and no held-out text is in the data."""
        return self.counted + self.unlabelled == self.windows and not self.heldout_found

    def sentence(self) -> str:
        """Say it in one line."""
        told = {
            "masked": "are masked (label -100 on every token)",
            "partly": "get loss on some of their tokens alone",
            "cut": "are cut off by the end of a row",
            "unlabelled": "stand in rows without labels",
        }
        parts = [f"{self.counted} get loss"]
        parts += [f"{count} {what}" for name, what in told.items() if (count := getattr(self, name))]
        if self.absent:
            parts.append(f"{self.absent} are not in them")
        looked = f"{self.rows:,} rows" if self.rows == self.of else f"the first {self.rows:,} of {self.of:,} rows"
        leak = (
            f"; {self.heldout_found} of {self.heldout} held-out windows are in them too" if self.heldout_found else ""
        )
        text = f"of {self.windows} audited windows of training text"
        return f"{text}, in {looked} of training data, {', '.join(parts)}{leak}"

    def described(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {**asdict(self), "passed": self.passed, "sentence": self.sentence()}


def check_loss(records: Sequence[WindowRecord], rows: Iterable[Row], of: int) -> LossCheck:
    """Look for the windows of an audit in rows of training data.

    Args:
        records: Of the audit.
        rows: As the model is given them.
        of: Rows there are.
    """
    suffixes = [np.asarray(record.suffix_ids, np.int32) for record in records]
    members = [record.member for record in records]
    lots: dict[int, list[int]] = defaultdict(list)
    sizes = {min(ANCHOR, len(suffix)) for suffix in suffixes if len(suffix)}
    for i, suffix in enumerate(suffixes):
        if len(suffix):
            lots[_hashes(suffix, min(ANCHOR, len(suffix)))[0]].append(i)
    states, looked = [0] * len(records), 0
    for row in rows:
        looked += 1
        for place, i in _hits(row.ids, sizes, lots):
            states[i] = max(states[i], STATES.index(_state(row, place, suffixes[i])))
    ours = Counter(STATES[state] for state, member in zip(states, members, strict=True) if member)
    found = sum(state >= STATES.index("masked") for state, member in zip(states, members, strict=True) if not member)
    counts = {state: ours[state] for state in STATES}
    return LossCheck(
        windows=sum(members), heldout=len(members) - sum(members), heldout_found=found, rows=looked, of=of, **counts
    )


def _hits(ids: TokenIds, sizes: Iterable[int], lots: dict[int, list[int]]) -> Iterable[tuple[int, int]]:
    """Yield place and window for every beginning of a suffix in a row."""
    for size in sizes:
        if len(ids) >= size:
            for place, key in enumerate(_hashes(ids, size)):
                for i in lots.get(key, ()):
                    yield place, i


def _hashes(ids: TokenIds, size: int) -> list[int]:
    """Return a hash of every run of so many ids."""
    runs: NDArray[np.uint64] = np.lib.stride_tricks.sliding_window_view(ids.astype(np.uint64), size)
    found = np.full(len(runs), size, np.uint64)
    for column in range(size):
        found = (found ^ runs[:, column]) * _BASE
        found ^= found >> np.uint64(29)
    return [int(value) for value in found]


def _state(row: Row, place: int, suffix: TokenIds) -> State:
    there = row.ids[place : place + len(suffix)]
    if not np.array_equal(there, suffix[: len(there)]):
        return "absent"
    if len(there) < len(suffix):
        return "cut"
    if row.counted is None:
        return "unlabelled"
    counted = row.counted[place : place + len(suffix)]
    return "counted" if counted.all() else "partly" if counted.any() else "masked"
