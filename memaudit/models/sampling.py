"""Text in, text out: what a model makes of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from memaudit.errors import InputError, one_line
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import before_end
from memaudit.models.rolling import continue_rolling, sliding_of
from memaudit.records import GREEDY, Decoding, TokenIds
from memaudit.text.tokenize import Tokenizer, unknown_parts


class Continued(NamedTuple):
    """What a model makes of a prompt."""

    text: str
    ended: int | None
    """Tokens after which the model ended the text; None where it did not."""
    slid: bool
    """Whether text and prompt are longer than the model can read, so that it wrote the end without the beginning."""


def continue_text(model: LanguageModel, prompt: str, length: int, decoding: Decoding = GREEDY) -> Continued:
    """Return the text of ``length`` tokens that the model puts after ``prompt``, however few positions it has.

    An empty prompt starts a text. What a model would write behind an end token is no continuation.
    """
    try:
        prompt.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"the prompt is not UTF-8: {one_line(repr(prompt), 60)}") from None
    ids = model.tokenizer.encode_batch([prompt])[0].ids
    [continuation] = continue_long(model, [ids], length, decoding)
    written = before_end(continuation, model.end_ids)
    ended = len(written) if len(written) < len(continuation) else None
    slid = not fits(model, len(ids) + len(written))
    return Continued(continuation_text(model.tokenizer, ids, written), ended, slid)


def fits(model: LanguageModel, tokens: int) -> bool:
    """Whether a model reads so many tokens of a text at once, with what stands before it."""
    room = None if model.context_length is None else model.context_length - sum(map(len, model.frame))
    return room is None or tokens <= room


def continue_long(
    model: LanguageModel, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY
) -> list[TokenIds]:
    """Continue every prompt by ``length`` tokens; where these are more than the model can read, by a sliding context.

    As `LanguageModel.continuations` where all fit, and otherwise as `memaudit.models.rolling.continue_rolling` says.
    """
    if fits(model, length + max(map(len, prompts), default=0)):
        return model.continuations(prompts, length, decoding)
    written: dict[int, TokenIds] = {}
    for size in sorted({len(prompt) for prompt in prompts}):
        places = [i for i, prompt in enumerate(prompts) if len(prompt) == size]
        asked = [prompts[i] for i in places]
        pieces = list(continue_rolling(model, asked, length, decoding, sliding=sliding_of(model)))
        written |= {i: np.concatenate([piece[row] for piece in pieces]) for row, i in enumerate(places)}
    return [written[i] for i in range(len(prompts))]


def not_in_vocabulary(model: LanguageModel, prompt: str) -> list[str]:
    """Return the parts of a prompt that the model reads as its unknown token."""
    [encoding] = model.tokenizer.encode_batch([prompt])
    return unknown_parts(prompt, encoding, model.tokenizer.unknown_id)


def continuation_text(tokenizer: Tokenizer, prefix: TokenIds, continuation: TokenIds) -> str:
    """Decode a continuation as it follows its prefix: some tokenizers drop the space of a first word."""
    head = tokenizer.decode(prefix)
    whole = tokenizer.decode(np.concatenate([prefix, continuation]))
    return whole[len(head) :] if whole.startswith(head) else tokenizer.decode(continuation)
