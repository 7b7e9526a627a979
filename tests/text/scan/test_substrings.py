from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.text.scan.substrings import LENGTH, PIECES, SHORTEST, build_substrings
from memaudit.text.words.words import encode_texts


def stripped(text: str) -> str:
    return "".join(character for character in text if character.isalnum())


def find(texts: list[str], documents: list[str]) -> dict[str, bool]:
    substrings = build_substrings(texts)
    found = np.zeros(len(substrings.pieces), np.bool_)
    substrings.find(*encode_texts(documents), found)
    return dict(zip(substrings.pieces, found.tolist(), strict=True))


def naive(pieces: dict[str, bool], documents: list[str]) -> dict[str, bool]:
    return {piece: any(piece in stripped(document) for document in documents) for piece in pieces}


ALPHABETS = ["ab", "ab -", "abcdefghijklmnopqrstuvwxyz .,", "aé ñ²٣x", "床前明a 。", "a𝒳b\ud800 \u0301", "AbBa\n\t"]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    rng = random.Random(draw(st.integers(0, 2**32)))
    alphabet = draw(st.sampled_from(ALPHABETS))
    texts = ["".join(rng.choices(alphabet, k=rng.randrange(150))) for _ in range(draw(st.integers(1, 5)))]
    documents = []
    for _ in range(draw(st.integers(1, 4))):
        pieces = ["".join(rng.choices(alphabet, k=rng.randrange(30)))]
        for text in rng.choices(texts, k=rng.randrange(3)):
            copied = stripped(text)[rng.randrange(20) :][: rng.choice([50, 69, 200])]
            pieces.append("".join(c + rng.choice(["", "", "", " ", "\n", "—", "..."]) for c in copied))
        documents.append("".join(pieces))
    return texts, documents


@settings(deadline=None, max_examples=100)
@given(cases())
def test_pieces_are_found_exactly_where_the_stripped_document_holds_them(case: tuple[list[str], list[str]]) -> None:
    texts, documents = case
    found = find(texts, documents)
    assert found == naive(found, documents)


@pytest.mark.parametrize("length", [SHORTEST, SHORTEST + 1, 33, LENGTH - 1, LENGTH, LENGTH + 1])
def test_a_piece_is_found_at_every_offset(length: int) -> None:
    rng = random.Random(length)
    piece = "".join(rng.choices("abcdefghij", k=length))
    for offset in range(70):
        spaced = "".join(c + " " * rng.choice([0, 0, 1, 9]) for c in piece)
        assert all(find([piece], ["x" * offset + spaced + "y" * rng.randrange(9)]).values())
        assert not any(find([piece], ["x" * offset + spaced.rstrip()[:-1]]).values())


def test_a_piece_does_not_reach_over_the_end_of_a_document() -> None:
    piece = "abcdefghijklmnopqrstuvwxyz"
    assert find([piece], [piece[:13], piece[13:]]) == {piece: False}
    assert find([piece], ["", piece[:13], piece]) == {piece: True}


def test_no_documents_and_empty_documents() -> None:
    piece = "abcdefghijklmnopqrstuvwxyz"
    assert find([piece], []) == find([piece], [""]) == find([piece], ["", "", "-"]) == {piece: False}
    assert find(["too short"], [piece]) == {}


def test_what_is_no_utf8_is_read_to_its_end_only() -> None:
    substrings = build_substrings(["abcdefghijklmnopqrstuvwxyz"])
    found = np.zeros(1, np.bool_)
    for byte in (0x80, 0xC3, 0xE2, 0xF4, 0xF7, 0xFF):
        for size in range(1, 140, 7):
            substrings.find(np.full(size, byte, np.uint8), np.array([0, size // 2, size]), found)
    cut = np.frombuffer(b"abcdefghijklm\xe2nopqrstuvwxyz", np.uint8)
    substrings.find(cut, np.array([0, 14, len(cut)]), found)
    assert not found.any()


def test_case_counts_and_signs_do_not() -> None:
    assert (
        find(["Call me Ishmael, some years ago"], ["«call me Ishmael» some years ago"])["CallmeIshmaelsomeyearsago"]
        is False
    )
    assert find(["Call me Ishmael, some years ago"], ["CALL"[:1] + "all-me  Ishmael!\nSome"[:15] + "some years ago."])[
        "CallmeIshmaelsomeyearsago"
    ]


@given(st.text(max_size=200))
def test_pieces_are_drawn_from_the_text(text: str) -> None:
    substrings = build_substrings([text, text])
    pieces = [substrings.pieces[number] for number in substrings.of(0)]
    whole = stripped(text)
    assert substrings.of(0) == substrings.of(1)
    assert all(piece in whole for piece in pieces)
    if len(whole) < SHORTEST:
        assert pieces == []
    elif len(whole) <= LENGTH:
        assert pieces == [whole]
    else:
        assert 1 <= len(pieces) <= PIECES
        assert {len(piece) for piece in pieces} == {LENGTH}


def test_pieces_of_a_text_do_not_depend_on_other_texts() -> None:
    text = "the same sixty letters and digits " * 3
    alone, beside = build_substrings([text]), build_substrings(["another text of the benchmark " * 4, text])
    assert [alone.pieces[n] for n in alone.of(0)] == [beside.pieces[n] for n in beside.of(1)]
