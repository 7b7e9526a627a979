"""Two texts aligned: what is copied, what is edited, and what of it may be shown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.audits.contamination.marking import mark_copied
from memaudit.report.alignment import Piece, align, digest, masked, number_edits, shorten, squeeze, withheld


def of_kind(pieces: list[Piece], kind: str) -> list[str]:
    return [piece.text for piece in pieces if piece.kind == kind]


def joined(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


@given(st.text(alphabet="ab \n,人", max_size=60), st.text(alphabet="ab \n,人", max_size=60))
@settings(deadline=None, max_examples=200)
def test_pieces_give_the_text_back_and_marks_agree(said: str, truth: str) -> None:
    ours, theirs = align(said, truth)
    assert joined(ours) == said
    assert joined(theirs) == truth
    assert of_kind(ours, "copied") == of_kind(theirs, "copied")
    assert all(piece.strip() for piece in of_kind(ours, "copied"))
    edits = [[piece.edit for piece in side if piece.edit] for side in (ours, theirs)]
    assert edits[0] == edits[1] == list(range(1, len(edits[0]) + 1))


@pytest.mark.parametrize(
    ("said", "truth", "copied"),
    [
        (" a b c d", " a b c e", ["a b c"]),
        ("one two", "one two", ["one two"]),
        ("one two x", "one two y", []),
        ("x the quick brown fox y", "z the quick brown fox", ["the quick brown fox"]),
        ("人人生而自由，在", "人人生而自由。", ["人人生而自由"]),
        ("มนุษย์ทั้งหลาย", "มนุษย์ทั้งปวง", ["มนุษย์ทั้ง"]),
        ("كل الناس أحرار هنا", "كل الناس أحرار هناك", ["كل الناس أحرار"]),
        ("if x:\n    return y\n", "if x:\n    return z\n", ["if x:\n    return"]),
        ("   ", "   ", []),
        ("", "", []),
    ],
)
def test_copied_words(said: str, truth: str, copied: list[str]) -> None:
    ours, theirs = align(said, truth)
    assert of_kind(ours, "copied") == of_kind(theirs, "copied") == copied


@given(st.text(alphabet="abc \n,.", max_size=80), st.text(alphabet="abc \n,.", max_size=80))
@settings(deadline=None, max_examples=200)
def test_numbered_edits_keep_the_texts_and_what_was_marked(item: str, passage: str) -> None:
    marked = mark_copied(item, passage)[:2]
    sides = number_edits(*marked)
    for text, before, pieces in zip((item, passage), marked, sides, strict=True):
        assert joined(pieces) == text
        assert of_kind(pieces, "copied") == [text for text, copied in before if copied]
    edits = [[piece.edit for piece in side if piece.edit] for side in sides]
    assert edits[0] == edits[1] == list(range(1, len(edits[0]) + 1))


def test_edits_between_copied_spans_have_the_same_number_on_both_sides() -> None:
    ours, theirs = align(
        "I saw the quick brown fox jump over the lazy dog and then it went home alone",
        "x saw the quick brown fox leap over the lazy dog then it went home",
    )
    assert [piece for piece in ours if piece.edit] == [Piece("jump", "edited", 1), Piece("and", "edited", 2)]
    assert [piece for piece in theirs if piece.edit] == [Piece("leap", "edited", 1), Piece("", "edited", 2)]
    assert of_kind(ours, "plain")[0] == "I "
    assert of_kind(ours, "plain")[-1] == " alone"


def test_long_gaps_are_no_edits() -> None:
    ours, _ = align("one two three " + "x " * 20 + "four five six", "one two three " + "y " * 20 + "four five six")
    assert of_kind(ours, "copied") == ["one two three", "four five six"]
    assert not of_kind(ours, "edited")


def test_an_address_in_several_pieces_is_masked_whole() -> None:
    pieces = [Piece("write to bob", "copied"), Piece("@example"), Piece(".org now", "copied")]
    assert masked(pieces) == [Piece("write to •••", "copied"), Piece("@•••••••"), Piece(".••• now", "copied")]


def test_withheld_pieces_say_how_long_they_were() -> None:
    pieces = [Piece("a secret text", "copied"), Piece("", "edited", 1), Piece("!")]
    assert withheld(pieces) == [
        Piece("13 characters", "copied"),
        Piece("1 character"),
        Piece(f"sha256 {digest('a secret text!')}", "left out"),
    ]
    assert withheld([]) == []


@given(st.lists(st.text(max_size=9), max_size=6), st.integers(0, 30), st.booleans())
def test_shortened_texts_keep_one_end(texts: list[str], most: int, keep_end: bool) -> None:
    pieces = [Piece(text) for text in texts]
    shown = shorten(pieces, most, keep_end=keep_end)
    whole = "".join(texts)
    if len(whole) <= most:
        assert shown == pieces
        return
    kept = "".join(piece.text for piece in shown if piece.kind != "left out")
    assert kept == (whole[len(whole) - most :] if keep_end else whole[:most])
    assert f"{len(whole) - most:,} character" in "".join(of_kind(shown, "left out"))


def test_texts_of_many_lines_are_cut() -> None:
    pieces = [Piece(";\n\n" * 50, "copied")]
    assert [p.text.count("\n") for p in shorten(pieces, 10_000)] == [23, 0]
    assert [p.text.count("\n") for p in shorten(pieces, 10_000, keep_end=True)] == [0, 23]


def test_empty_lines_are_counted() -> None:
    assert squeeze([Piece("a:\n\n \n\n\nb"), Piece("c\n\n\n\n\n", "copied"), Piece("d\n\ne")]) == [
        Piece("a:\n"),
        Piece("… 5 line breaks …", "left out"),
        Piece("b"),
        Piece("c\n\n\n\n\n", "copied"),
        Piece("d\n\ne"),
    ]
    assert squeeze([Piece("\n" * 9), Piece("", "edited", 1)])[-1] == Piece("", "edited", 1)
