"""What words weigh, told by their hashes alone."""

from __future__ import annotations

import numpy as np
import pytest

from memaudit.text.scan.generic import GRAMMAR, IDEOGRAPH, NUMBER, weights_of
from memaudit.text.words.words import encode_texts, hash_words


def weights(text: str) -> list[float]:
    return weights_of(hash_words(*encode_texts([text]))[0]).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the with und при", [GRAMMAR] * 4),
        ("7 41 9999 10000", [NUMBER] * 3 + [1.0]),
        ("following statements x", [0.0, 0.0, 0.0]),
        ("heptagon Wasserfall водопад", [1.0] * 3),
        ("ねこ ကခ", [IDEOGRAPH] * 4),
    ],
)
def test_words_weigh_by_what_they_tell(text: str, expected: list[float]) -> None:
    assert weights(text) == expected


def test_ideographs_are_told_as_every_text_would_be() -> None:
    """Their hashes are made without the way that every text goes; radicals that fold into others are not words."""
    text = "".join(chr(code) for code in range(0x3400, 0xA000) if chr(code).isalpha())
    found = weights(text)
    assert len(found) == len(text)
    assert set(found) == {0.0, GRAMMAR, IDEOGRAPH}  # some stand for the wording of tests
    assert np.mean(np.array(found) == IDEOGRAPH) > 0.99
