"""Text in, text out: what a model makes of a prompt."""

from __future__ import annotations

import numpy as np

from memaudit.errors import InputError, one_line
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import before_end
from memaudit.records import GREEDY, Decoding, TokenIds
from memaudit.text.tokenize import Tokenizer, unknown_parts


def continue_text(
    model: LanguageModel, prompt: str, length: int, decoding: Decoding = GREEDY
) -> tuple[str, int | None]:
    """Return the text of ``length`` tokens that the model puts after ``prompt``, and its tokens if it ended sooner.

    An empty prompt starts a text. What a model would write behind an end token is no continuation.
    """
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"the prompt is not UTF-8: {one_line(repr(prompt), 60)}") from None
    ids = model.tokenizer.encode_batch([prompt])[0].ids
    [continuation] = model.continuations([ids], length, decoding)
    written = before_end(continuation, model.end_ids)
    ended = len(written) if len(written) < len(continuation) else None
    return continuation_text(model.tokenizer, ids, written), ended


def not_in_vocabulary(model: LanguageModel, prompt: str) -> list[str]:
    """Return the parts of a prompt that the model reads as its unknown token."""
    [encoding] = model.tokenizer.encode_batch([prompt])
    return unknown_parts(prompt, encoding, model.tokenizer.unknown_id)


def continuation_text(tokenizer: Tokenizer, prefix: TokenIds, continuation: TokenIds) -> str:
    """Decode a continuation as it follows its prefix: some tokenizers drop the space of a first word."""
    head = tokenizer.decode(prefix)
    whole = tokenizer.decode(np.concatenate([prefix, continuation]))
    return whole[len(head) :] if whole.startswith(head) else tokenizer.decode(continuation)
