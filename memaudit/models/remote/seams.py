"""Text that a server is sent and gives back, beside token ids: where these cut a character, and where it differs.

A text can hold whole characters alone, and a tokenizer may cut what was written elsewhere than the model did. So what
is compared are the bytes of tokens, where a tokenizer has tokens of bytes, and else its text.
"""

from __future__ import annotations

import codecs
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from memaudit.models.sampling import continuation_text
from memaudit.records import TokenIds
from memaudit.text.token_bytes import bytes_of
from memaudit.text.tokenize import Tokenizer, special_ids

BROKEN = "\ufffd"
"""What stands for a part of a character."""
LONGEST = 4
"""Bytes of a character, at most."""
SEAM = 32
"""Tokens before a text that it is encoded and decoded with, as some tokenizers drop or add a space at the beginning."""


@dataclass(frozen=True, slots=True)
class Sendable:
    """Tokens as a text that can be sent."""

    text: str
    """Whole characters alone."""
    begun: bytes = b""
    """Of the character that the tokens end inside: it is not sent, and whatever is written begins with it."""
    cut: bool = False
    """Whether a character at the beginning or at the end is not sent, since the tokens hold a part of it."""


def as_text(tokenizer: Tokenizer, ids: TokenIds) -> Sendable:
    """Return tokens as a text that can be sent, without the parts of characters at its ends.

    It is the text that is read as these tokens, if there is one: some tokenizers drop or add a space at the beginning.
    """
    pieces, text = bytes_of(tokenizer, ids), tokenizer.decode(ids)
    if pieces is None:
        return Sendable(text)
    whole = b"".join(pieces)
    first = next((i for i, byte in enumerate(whole) if not _inside(byte)), len(whole))
    reader = codecs.getincrementaldecoder("utf-8")("replace")
    kept, begun = reader.decode(whole[first:]), reader.getstate()[0]
    if kept.startswith(" ") and not first:
        ways = [kept, kept[1:]] if text.startswith(" ") else [kept[1:], kept]
        read = tokenizer.encode_batch(ways)
        sure = len(ids) - LONGEST if begun else None
        kept = next((w for w, e in zip(ways, read, strict=True) if np.array_equal(e.ids[:sure], ids[:sure])), ways[0])
    return Sendable(kept, begun, bool(first or begun))


def spare(tokenizer: Tokenizer, prompt: TokenIds, true: TokenIds | None) -> int:
    """Return how many tokens more must be written for a text to be compared with true tokens.

    Those that the prompt lost at its end are written again, and a character that the true tokens end inside must be
    whole to be seen.
    """
    lost = len(as_text(tokenizer, prompt).begun)
    last = b"" if true is None else b"".join(bytes_of(tokenizer, true[-LONGEST:]) or [])
    ends_inside = bool(last) and last.decode("utf-8", "replace").endswith(BROKEN)
    return lost + (LONGEST - 1 if ends_inside else 0)


def ids_behind(
    tokenizer: Tokenizer,
    prompt: TokenIds,
    text: str,
    true: TokenIds | None,
    *,
    ended: bool = False,
    apart: bool = False,
) -> TokenIds:
    """Return the tokens of a text that was written behind a prompt.

    A tokenizer may cut it elsewhere than the model did. So as far as the text is that
    of the true tokens, these are what it is read as; the rest is encoded. The result has all true tokens exactly where
    the text begins with theirs.

    Args:
        tokenizer: Of the model.
        prompt: What the text stands behind, without a start token.
        text: What the server gave.
        true: The tokens it is compared with, if any.
        ended: Whether the model ended it; else it may end inside a character.
        apart: Whether it is a reply of its own: white space at its beginning is then that of the true text.
    """
    true = np.empty(0, np.int32) if true is None else np.asarray(true, np.int32)
    if apart:
        before = continuation_text(tokenizer, prompt, true)
        text = before[: len(before) - len(before.lstrip())] + text.lstrip()
    same, kept, rest = _split(tokenizer, prompt, true, text)
    if same == len(true) and len(true):
        return np.concatenate([true, _encoded(tokenizer, np.concatenate([prompt, true]), rest)]).astype(np.int32)
    if not ended:
        rest = rest.rstrip(BROKEN)
    ids = np.concatenate([true[:kept], _encoded(tokenizer, np.concatenate([prompt, true[:kept]]), rest)])
    return _differing(tokenizer, ids.astype(np.int32), true, same)


def _split(tokenizer: Tokenizer, prompt: TokenIds, true: TokenIds, text: str) -> tuple[int, int, str]:
    """Return how many true tokens a text begins with, how many of them end where a character does, and the rest."""
    pieces = bytes_of(tokenizer, true)
    if pieces is None:
        return _split_text(tokenizer, prompt, true, text)
    begun, said = as_text(tokenizer, prompt).begun, text.encode("utf-8", "surrogatepass")
    ends = list(accumulate(map(len, pieces), initial=len(begun)))
    alike = _common(begun + b"".join(pieces), said)
    same = max(0, bisect_right(ends, alike) - 1)
    kept = same
    while kept and ends[kept] < len(said) and _inside(said[ends[kept]]):
        kept -= 1
    at = ends[kept] if kept else 0
    if same == len(true):
        at = next((i for i in range(ends[same], len(said)) if not _inside(said[i])), len(said))
    return same, kept, said[at:].decode("utf-8", "surrogatepass")


def _split_text(tokenizer: Tokenizer, prompt: TokenIds, true: TokenIds, text: str) -> tuple[int, int, str]:
    """Return the same of a tokenizer whose tokens are whole characters: a search by halves."""

    def differs(count: int) -> bool:
        return count > 0 and not text.startswith(continuation_text(tokenizer, prompt, true[:count]))

    same = bisect_left(range(len(true) + 1), True, key=differs) - 1
    begun = continuation_text(tokenizer, prompt, true[:same]) if same else ""
    return same, same, text[len(begun) :]


def _encoded(tokenizer: Tokenizer, before: TokenIds, text: str) -> TokenIds:
    """Return the tokens of a text that decode to it where it stands, if there are such."""
    if not text:
        return np.empty(0, np.int32)
    seam = before[-SEAM:]
    alone = tokenizer.encode_batch([text])[0].ids
    if continuation_text(tokenizer, seam, alone) == text:
        return alone
    head = tokenizer.decode(seam)
    joined = tokenizer.encode_batch([head + text])[0]
    behind = joined.ids[joined.starts >= len(head)]
    return behind if continuation_text(tokenizer, seam, behind) == text else alone


def _differing(tokenizer: Tokenizer, ids: TokenIds, true: TokenIds, same: int) -> TokenIds:
    """Return ids that are not the true ones beyond as many as the text has: some tokenizers read two texts alike."""
    compared = min(len(ids), len(true))
    unequal = np.flatnonzero(ids[:compared] != true[:compared])
    first = int(unequal[0]) if len(unequal) else compared
    if first <= same or same >= compared:
        return ids
    others = [tokenizer.unknown_id, *range(tokenizer.vocab_size)]
    never = {None, int(true[same]), tokenizer.eos_id, *special_ids(tokenizer)} - {tokenizer.unknown_id}
    ids[same] = next(i for i in others if i not in never and i is not None and i != true[same])
    return ids


def _common(one: bytes, other: bytes) -> int:
    size = min(len(one), len(other))
    unequal = np.flatnonzero(np.frombuffer(one[:size], np.uint8) != np.frombuffer(other[:size], np.uint8))
    return int(unequal[0]) if len(unequal) else size


def _inside(byte: int) -> bool:
    """Whether a byte of UTF-8 is not the first of its character."""
    return 0x80 <= byte < 0xC0


def moved(tokenizer: Tokenizer, prompts: Sequence[TokenIds]) -> tuple[int, int]:
    """Return how many prompts end or begin inside a character, and how many others are read as other tokens."""
    special = list(special_ids(tokenizer))  # whose names a server reads as these
    cut = otherwise = 0
    for prompt in prompts:
        parts = np.split(prompt, np.flatnonzero(np.isin(prompt, special)))
        parts = [part[1:] if len(part) and part[0] in special else part for part in parts]
        sent = [as_text(tokenizer, part) for part in parts]
        read = tokenizer.encode_batch([each.text for each in sent])
        if any(each.cut for each in sent):
            cut += 1
        elif not all(np.array_equal(one.ids, part) for one, part in zip(read, parts, strict=True)):
            otherwise += 1
    return cut, otherwise
