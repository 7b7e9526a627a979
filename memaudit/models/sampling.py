"""Text in, text out: what a model makes of a prompt."""

from __future__ import annotations

import numpy as np

from memaudit.models.base import LanguageModel
from memaudit.records import GREEDY, Decoding, TokenIds


def continue_text(model: LanguageModel, prompt: str, length: int, decoding: Decoding = GREEDY) -> str:
    """Return the text of ``length`` tokens that the model puts after ``prompt``; an empty prompt starts a text."""
    ids = model.tokenizer.encode_batch([prompt])[0].ids
    [continuation] = model.continuations([ids], length, decoding)
    return continuation_text(model, ids, continuation)


def continuation_text(model: LanguageModel, prefix: TokenIds, continuation: TokenIds) -> str:
    """Decode a continuation as it follows its prefix: some tokenizers drop the space of a first word."""
    head = model.tokenizer.decode(prefix)
    whole = model.tokenizer.decode(np.concatenate([prefix, continuation]))
    return whole[len(head) :] if whole.startswith(head) else model.tokenizer.decode(continuation)
