"""Greedy continuation with the true text as a draft: checked many tokens at a time, decoded only where it differs.

What greedy decoding gives is fixed by induction: a drafted token stands exactly when it is the choice after the text
before it, so a draft saves time and never changes a token (Leviathan et al. 2023, at temperature 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from memaudit.models.screening import READ_TOKENS
from memaudit.models.slots import Ids, Slots, SlotShape
from memaudit.models.torch_scores import HEAD_ROWS, Head, check_finite
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

    @property
    def left(self) -> int:
        """Tokens still to be found."""
        return len(self.ids) - self.known

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
                self._finish(parked[:most])
                parked = parked[most:]
        self._finish(parked)
        return [text.ids[len(prompt) :].astype(np.int32) for text, prompt in zip(texts, prompts, strict=True)]

    def _start(self, texts: list[Text]) -> None:
        """Read prompts and find the first token of each."""
        for known, same in groupby(texts, key=lambda text: text.known):
            for batch in chunks(same, self._rows(known)):
                slots = Slots(self.shape, len(batch), known)
                states = slots.read(self.body, np.stack([text.ids[:known] for text in batch]))[:, -1]
                for row, (text, token) in enumerate(zip(batch, self._choices(states), strict=True)):
                    _found(text, token)
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
        chosen = self._choices(slots.read(self.body, ids, counts).flatten(0, 1)).reshape(ids.shape)
        for row, (text, count) in enumerate(zip(texts, counts, strict=True)):
            different = np.flatnonzero(chosen[row, :count] != text.draft[text.known : text.known + count])
            gained = int(different[0]) + 1 if len(different) else int(count)
            if len(different):
                text.patience = AGREED if gained >= WORTH else 2 * text.patience
            _found(text, chosen[row, :gained])
            text.memory = slots.text(row, slots.end + gained) if text.left else None

    def _finish(self, texts: list[Text]) -> None:
        """Complete all texts, trying a draft again where it is worth it."""
        while texts:
            self._decode(texts)
            again = [text for text in texts if _hopeful(text)]
            self._checked(again)
            texts = [text for text in texts if text.left]

    def _decode(self, texts: list[Text]) -> None:
        """Find a token of every text at a time, until no slot is left or all agree with their drafts again."""
        texts = sorted(texts, key=lambda text: -text.left)
        room = self._room(texts, texts[0].left)
        slots = Slots(self.shape, _memories(texts), room)
        going = len(texts)
        for _ in range(room):
            last = np.array([[text.ids[text.known - 1]] for text in texts[:going]])
            tokens = self._choices(slots.read(self.body, last)[:, -1])
            slots.end += 1
            for text, token in zip(texts, tokens, strict=False):
                _found(text, token)
            while going and not texts[going - 1].left:
                going -= 1
            # Only all together: a batch that goes on without some rows costs more than their drafts save (measured).
            if all(_hopeful(text) for text in texts[:going]):
                break
        for row, text in enumerate(texts[:going]):
            text.memory = slots.text(row, slots.end)

    def _room(self, texts: list[Text], wanted: int) -> int:
        """Return how many of the slots that are wanted after the longest of texts the family can read."""
        return wanted if self.limit is None else min(wanted, self.limit + 1 - max(text.known for text in texts))

    def _rows(self, tokens: int) -> int:
        """Return how many texts are read together, at this many tokens each."""
        return max(1, READ_TOKENS.get(self.shape.device.type, READ_TOKENS["cuda"]) // tokens)

    def _choices(self, hidden: Tensor) -> Ids:
        """Return the most probable token after each hidden state [n, d], shape [n]."""
        pieces = [_first_maximum(self.head(states)) for states in torch.split(hidden, HEAD_ROWS)]
        return np.concatenate(pieces)


def no_draft(length: int) -> TokenIds:
    """Return the draft of a text of which nothing is known: it agrees with no id."""
    return np.full(length, -1, np.int32)


def _text(prompt: TokenIds, draft: TokenIds) -> Text:
    whole = np.concatenate([prompt, draft]).astype(np.int64)
    return Text(whole.copy(), whole, len(prompt))


def _found(text: Text, tokens: Any) -> None:
    count = np.size(tokens)
    text.ids[text.known : text.known + count] = tokens
    text.known += count


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


def _first_maximum(logits: Tensor) -> Ids:
    # One sum tells whether all are finite; only if it is not are they looked at one by one.
    if not bool(torch.isfinite(logits.sum())):
        check_finite(logits)
    values = logits if logits.dtype == torch.float64 else logits.float()
    best: Ids = values.cpu().numpy().argmax(axis=-1)
    return best
