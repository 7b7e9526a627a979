"""What tokens are in bytes: joined, they are what the tokenizer decodes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.text.token_bytes import bytes_of
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from tests.strategies import SAMPLES

TEXTS = list(SAMPLES.values())
BYTE_LEVEL = [train_tokenizer("byte", []), train_tokenizer("bpe", TEXTS, 320)]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 258), max_size=30), st.sampled_from(BYTE_LEVEL))
def test_joined_bytes_are_what_any_ids_decode_to(ids: list[int], tokenizer: TrainedTokenizer) -> None:
    pieces = bytes_of(tokenizer, ids)
    assert pieces is not None and len(pieces) == len(ids)
    assert b"".join(pieces).decode("utf-8", "replace") == tokenizer.decode(ids)


@pytest.mark.parametrize("text", TEXTS)
def test_every_token_has_its_share_of_a_text(text: str) -> None:
    for tokenizer in BYTE_LEVEL:
        [encoding] = tokenizer.encode_batch([text])
        pieces = bytes_of(tokenizer, encoding.ids)
        assert pieces is not None and b"".join(pieces) == text.encode() and all(pieces)


def test_tokens_of_characters_and_words_need_no_bytes() -> None:
    for unit in ("char", "word"):
        tokenizer = train_tokenizer(unit, TEXTS)
        assert bytes_of(tokenizer, np.array([3, 4])) is None
