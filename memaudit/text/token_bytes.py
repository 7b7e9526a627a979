"""The bytes that tokens stand for: a token may be a part of a character, which no text shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import tokenizers

from memaudit.records import TokenIds
from memaudit.text.tokenize import HuggingFaceTokenizer, Tokenizer, TrainedTokenizer

SPACE = "\u2581"
"""What SentencePiece writes for a space."""
ToBytes = Callable[[str], bytes]


def bytes_of(tokenizer: Tokenizer, ids: TokenIds | Sequence[int]) -> list[bytes] | None:
    """Return the bytes of each token as it stands within a text, special tokens by name.

    Only tokenizers that can cut a character have tokens of bytes: byte-level ones, and those that fall back to bytes.

    Returns:
        None for any other tokenizer, of which `Tokenizer.decode` shows everything.
    """
    pipeline = _pipeline_of(tokenizer)
    to_bytes = None if pipeline is None else _reader(pipeline)
    if pipeline is None or to_bytes is None:
        return None
    return [to_bytes(pipeline.id_to_token(int(index)) or "") for index in ids]


def _reader(pipeline: tokenizers.Tokenizer) -> ToBytes | None:
    if pipeline.decoder is None:
        return None
    steps = _steps(json.loads(pipeline.decoder.__getstate__()))
    kinds = [step.get("type") for step in steps]
    if "ByteLevel" in kinds:
        return _of_alphabet
    if "ByteFallback" not in kinds:
        return None
    spaced = any(kind == "Metaspace" for kind in kinds) or {"String": SPACE} in [step.get("pattern") for step in steps]
    return _of_pieces if spaced else _of_fallback


def _steps(decoder: dict[str, Any]) -> list[dict[str, Any]]:
    if decoder.get("type") != "Sequence":
        return [decoder]
    return [step for each in decoder["decoders"] for step in _steps(each)]


def _pipeline_of(tokenizer: Tokenizer) -> tokenizers.Tokenizer | None:
    if isinstance(tokenizer, TrainedTokenizer):
        return tokenizer.pipeline
    if isinstance(tokenizer, HuggingFaceTokenizer) and tokenizer.tokenizer.is_fast:
        pipeline: tokenizers.Tokenizer = tokenizer.tokenizer.backend_tokenizer
        return pipeline
    return None


def _of_pieces(token: str) -> bytes:
    return _of_fallback(token.replace(SPACE, " "))


def _of_fallback(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        try:
            return bytes([int(token[3:5], 16)])
        except ValueError:
            pass
    return token.encode()


def _of_alphabet(token: str) -> bytes:
    """Return the bytes of a token that is written in one letter a byte; one that is not is a special token's name."""
    letters = _alphabet()
    try:
        return bytes([letters[letter] for letter in token])
    except KeyError:
        return token.encode()


@lru_cache(maxsize=1)
def _alphabet() -> dict[str, int]:
    """Return the byte of every letter: itself where it can be printed, else the next letter from U+0100 on."""
    printed = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(0x100 + place): byte for place, byte in enumerate(others)}
