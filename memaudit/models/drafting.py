"""Greedy continuation with the true text as a draft: checked many tokens at a time, decoded only where it differs.

What greedy decoding gives is fixed by induction: a drafted token stands exactly when it is the choice after the text
before it, so a draft saves time and never changes a token (Leviathan et al. 2023, at temperature 0). A text of which
more would tell nothing is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from torch import Tensor

from memaudit.models.decoding import Settled, is_whole
from memaudit.models.screening import READ_TOKENS
from memaudit.models.slots import Ids, Slots, SlotShape
from memaudit.models.torch_scores import Head, greedy_tokens
from memaudit.models.transformer_base import chunks
from memaudit.records import TokenIds

MAX_ROWS = 128
"""Texts decoded together: a product with more rows is no quicker per row."""
MAX_BYTES = 1 << 30
"""Keys and values of the texts decoded together; as much again while texts wait for them."""
FIRST_BLOCK = 6
"""Drafted tokens checked after the first; only a draft that passes is checked to its end."""
AGREED = 3
"""Decoded tokens that must agree with the draft before it is tried again; twice as many after it gained little."""
WORTH = 8
"""Tokens that must be left for a draft to be tried again; a try that gains fewer was not worth it."""
CROWDED = 0.75
"""Share of the texts decoded together that must still go on; below it the others leave their places to those that wait
(a copy of what was read costs less than decoding for nothing)."""


@dataclass(slots=True, eq=False)
class Text:
    """A text that is being continued."""

    ids: Ids
    """Shape [prompt + continuation]; filled up to ``known``."""
    draft: Ids
    """The same with the true continuation."""
    known: int
    memory: Tensor | None = None
    """Keys and values of all known tokens but the last."""
    patience: int = AGREED
    prompt: int = field(init=False)
    """Tokens of the prompt."""
    settled: bool = False
    """Whether more of it would tell nothing."""

    def __post_init__(self) -> None:
        self.prompt = self.known

    @property
    def left(self) -> int:
        """Tokens still to be found."""
        return 0 if self.settled else len(self.ids) - self.known

    @property
    def continuation(self) -> TokenIds:
        """What was found so far."""
        return self.ids[self.prompt : self.known].astype(np.int32)

    def found(self, tokens: Any, settled: Settled | None) -> None:
        """Add one token or several, of which at most the last differs from the draft."""
        count = np.size(tokens)
        self.ids[self.known : self.known + count] = tokens
        self.known += count
        if settled is not None and self.left:
            self.settled = is_whole(self.draft[self.prompt :], self.ids[self.prompt : self.known], settled)

    def agrees(self, count: int) -> bool:
        """Return whether the last ``count`` known tokens are those of the draft, and more are to be found."""
        last = slice(self.known - count, self.known)
        return self.left > 0 and np.array_equal(self.ids[last], self.draft[last])


@dataclass(frozen=True, slots=True)
class Drafter:
    """A causal model that can be read by slots."""

    body: Any
    head: Head
    shape: SlotShape
    limit: int | None = None
    """Slots that the family reads at most, hidden ones included: its context."""
    settled: Settled | None = None
    """Where a continuation need not go on; None: all are as long as their drafts."""

    def continued(self, prompts: Sequence[TokenIds], drafts: Sequence[TokenIds]) -> list[TokenIds]:
        """Return the greedy continuation of every prompt, as long as its draft; ties go to the smaller id.

        Args:
            prompts: What stands before, a start token included; not empty.
            drafts: The continuations that are likely, or `no_draft` of their length.

        Raises:
            ModelError: A logit is NaN or infinite.
        """
        texts = [_text(prompt, draft) for prompt, draft in zip(prompts, drafts, strict=True)]
        size = max((len(text.ids) for text in texts), default=1)
        most = int(np.clip(MAX_BYTES // (self.shape.bytes * size), 1, MAX_ROWS))
        order = sorted((text for text in texts if text.left), key=lambda text: (text.known, text.left))
        parked: list[Text] = []
        for group in chunks(order, most):
            self._start(group)
            parked += self._checked([text for text in group if text.left])
            while len(parked) >= most:
                parked = self._advanced(parked[:most]) + parked[most:]
        while parked:
            parked = self._advanced(parked[:most]) + parked[most:]
        return [text.continuation for text in texts]

    def _start(self, texts: list[Text]) -> None:
        """Read prompts and find the first token of each."""
        for known, same in groupby(texts, key=lambda text: text.known):
            for batch in chunks(same, self._rows(known)):
                slots = Slots(self.shape, len(batch), known)
                states = slots.read(self.body, np.stack([text.ids[:known] for text in batch]))[:, -1]
                for row, (text, token) in enumerate(zip(batch, greedy_tokens(states, self.head), strict=True)):
                    text.found(token, self.settled)
                    text.memory = slots.text(row, known) if text.left else None

    def _checked(self, texts: list[Text]) -> list[Text]:
        """Check the drafts of texts that agree so far; return those texts that are not complete."""
        following = [text for text in texts if text.agrees(1)]
        for block in (FIRST_BLOCK, None):
            following.sort(key=lambda text: text.left)
            for batch in chunks(following, self._rows(block or max((text.left for text in following), default=1))):
                self._check(batch, block or batch[-1].left)
            following = [text for text in following if text.agrees(1)]
        return [text for text in texts if text.left]

    def _check(self, texts: list[Text], block: int) -> None:
        """Read up to ``block`` tokens of every draft, the last known one first, and keep what is chosen anyway."""
        block = self._room(texts, block)
        slots = Slots(self.shape, _memories(texts), block)
        counts = np.array([min(block, text.left) for text in texts])
        ids = np.zeros((len(texts), block), np.int64)
        for row, (text, count) in enumerate(zip(texts, counts, strict=True)):
            ids[row, :count] = text.draft[text.known - 1 : text.known - 1 + count]
        chosen = greedy_tokens(slots.read(self.body, ids, counts).flatten(0, 1), self.head).reshape(ids.shape)
        for row, (text, count) in enumerate(zip(texts, counts, strict=True)):
            different = np.flatnonzero(chosen[row, :count] != text.draft[text.known : text.known + count])
            gained = int(different[0]) + 1 if len(different) else int(count)
            if len(different):
                text.patience = AGREED if gained >= WORTH else 2 * text.patience
            text.found(chosen[row, :gained], self.settled)
            text.memory = slots.text(row, slots.end + gained) if text.left else None

    def _advanced(self, texts: list[Text]) -> list[Text]:
        """Decode on and try drafts again where that is worth it; return those texts that are not complete."""
        self._decode(texts)
        self._checked([text for text in texts if _hopeful(text)])
        return [text for text in texts if text.left]

    def _decode(self, texts: list[Text]) -> None:
        """Find a token of every text at a time, until no slot is left, all agree with their drafts or many are done."""
        texts = sorted(texts, key=lambda text: -text.left)
        room = self._room(texts, texts[0].left)
        slots = Slots(self.shape, _memories(texts), room)
        going = len(texts)
        for _ in range(room):
            last = np.array([[text.ids[text.known - 1]] for text in texts[:going]])
            tokens = greedy_tokens(slots.read(self.body, last)[:, -1], self.head)
            slots.end += 1
            for text, token in zip(texts[:going], tokens, strict=True):
                if text.left:  # one that is settled keeps its place until many are
                    text.found(token, self.settled)
            while going and not texts[going - 1].left:
                going -= 1
            # Only all together: a batch that goes on without some rows costs more than their drafts save (measured).
            if all(_hopeful(text) for text in texts[:going]):
                break
            if sum(text.left > 0 for text in texts[:going]) < CROWDED * going:
                break
        for row, text in enumerate(texts[:going]):
            text.memory = slots.text(row, slots.end) if text.left else None

    def _room(self, texts: list[Text], wanted: int) -> int:
        """Return how many of the slots that are wanted after the longest of texts the family can read."""
        return wanted if self.limit is None else min(wanted, self.limit + 1 - max(text.known for text in texts))

    def _rows(self, tokens: int) -> int:
        """Return how many texts are read together, at this many tokens each."""
        return max(1, READ_TOKENS.get(self.shape.device.type, READ_TOKENS["cuda"]) // tokens)


def no_draft(length: int) -> TokenIds:
    """Return the draft of a text of which nothing is known: it agrees with no id."""
    return np.full(length, -1, np.int32)


def _text(prompt: TokenIds, draft: TokenIds) -> Text:
    whole = np.concatenate([prompt, draft]).astype(np.int64)
    return Text(whole.copy(), whole, len(prompt))


def _hopeful(text: Text) -> bool:
    """Return whether it is worth it to try the draft again."""
    at = text.known - 1  # the last token first: it nearly always decides
    return bool(text.ids[at] == text.draft[at]) and text.left >= WORTH and text.agrees(text.patience)


def _memories(texts: list[Text]) -> list[Tensor]:
    """Return the keys and values of texts, which give them up."""
    memories = [text.memory for text in texts if text.memory is not None]
    for text in texts:
        text.memory = None
    return memories
