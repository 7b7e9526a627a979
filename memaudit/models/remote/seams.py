"""Text that a server gives back, as token ids that can be compared with true ones."""

from __future__ import annotations

import numpy as np

from memaudit.models.remote.dialects.base import Written
from memaudit.models.sampling import continuation_text
from memaudit.records import TokenIds
from memaudit.text.tokenize import Tokenizer


def ids_behind(tokenizer: Tokenizer, prompt: TokenIds, written: Written, true: TokenIds | None) -> TokenIds:
    """Return the tokens of what was written behind a prompt.

    Where a server gives text alone, a tokenizer may cut it elsewhere than the model did. So as far as the text is that
    of the true tokens, these are what it is read as; the rest is encoded.

    Args:
        tokenizer: Of the model.
        prompt: What the text stands behind, without a start token.
        written: What the server gave.
        true: The tokens it is compared with, if any.
    """
    if written.ids is not None:
        return np.asarray(written.ids, np.int32)
    if true is None or not len(true):
        return tokenizer.encode_batch([written.text])[0].ids
    same = 0
    for count in range(len(true), 0, -1):
        if written.text.startswith(continuation_text(tokenizer, prompt, true[:count])):
            same = count
            break
    begun = continuation_text(tokenizer, prompt, true[:same]) if same else ""
    rest = tokenizer.encode_batch([written.text[len(begun) :]])[0].ids
    return np.concatenate([true[:same], rest]).astype(np.int32)
