"""The overlap guard against brute force over all spans."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.records import Document
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.windows.overlap import OverlapGuard, span_hashes

TOKENIZER = train_tokenizer("char", ["abcdefghijklmnopqrstuvwxyz .ABC"])


def document(name: str, text: str) -> Document:
    return Document(name, text, f"{name}:1")


def guard_finds(heldout: list[str], train: list[str], span: int) -> dict[str, str]:
    held = [document(f"h{i}", t) for i, t in enumerate(heldout)]
    trained = [document(f"t{i}", t) for i, t in enumerate(train)]
    guard = OverlapGuard(held, TOKENIZER, span)
    guard.check(trained, [e.ids for e in TOKENIZER.encode_batch(train)])
    return {name: overlap.view for name, overlap in guard.overlaps.items()}


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.text("ab", max_size=30), min_size=1, max_size=4),
    st.lists(st.text("ab", max_size=30), min_size=1, max_size=4),
    st.integers(1, 8),
)
def test_equals_brute_force(heldout: list[str], train: list[str], span: int) -> None:
    spans = {t[i : i + span] for t in train for i in range(len(t) - span + 1)}
    expected = {
        f"h{i}" for i, t in enumerate(heldout) if any(t[j : j + span] in spans for j in range(len(t) - span + 1))
    }
    found = guard_finds(heldout, train, span)
    assert set(found) == expected
    assert set(found.values()) <= {"exact"}


def test_normalised_view_finds_case_and_disguise() -> None:
    text = "a passage that nobody would write twice by chance"
    assert guard_finds([text.upper()], [text], 20) == {"h0": "after normalisation"}
    assert guard_finds(["\u200b".join(text)], [text], 20) == {"h0": "after normalisation"}
    assert guard_finds([text], [f"before {text} after"], 20) == {"h0": "exact"}
    assert guard_finds([text[:19] + "zzzz" + text[19:]], [text[:25]], 20) == {}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 2**31 - 1), max_size=40), st.integers(1, 10))
def test_hash_of_a_span_is_the_hash_of_the_span_alone(ids: list[int], length: int) -> None:
    array = np.array(ids, np.int32)
    hashes = span_hashes(array, length)
    assert len(hashes) == max(0, len(ids) - length + 1)
    for i, value in enumerate(hashes):
        assert span_hashes(array[i : i + length], length)[0] == value


def test_different_spans_have_different_hashes() -> None:
    random = np.random.default_rng(0)
    spans = random.integers(0, 4, (20_000, 12)).astype(np.int32)
    unique = {row.tobytes() for row in spans}
    assert len({int(span_hashes(row, 12)[0]) for row in spans}) == len(unique)
