"""Exhibits: chosen by rule, marked where text was copied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.report.exhibits import choose, exhibit, mark_copied

Factory = Callable[..., tuple[dict[str, Any], list[Any]]]


def marked(pieces: list[tuple[str, bool]]) -> list[str]:
    return [piece for piece, copied in pieces if copied]


@given(st.text(), st.text())
@settings(deadline=None, max_examples=100)
def test_pieces_give_the_text_back_and_marks_agree(said: str, truth: str) -> None:
    ours, theirs = mark_copied(said, truth)
    assert "".join(piece for piece, _ in ours) == said
    assert "".join(piece for piece, _ in theirs) == truth
    assert marked(ours) == marked(theirs)
    assert all(piece.strip() for piece in marked(ours))


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
    ours, theirs = mark_copied(said, truth)
    assert marked(ours) == marked(theirs) == copied


def test_galleries_follow_their_rules(factory: Factory) -> None:
    _, records = factory()
    worst, sample, heldout = choose(records, 0, worst=20, sample=10, heldout=5)
    assert [len(g.exhibits) for g in (worst, sample, heldout)] == [20, 10, 5]
    assert all(e.record.extractable and e.record.member for e in worst.exhibits)
    copies = [e.record.copies for e in worst.exhibits]
    assert copies == sorted(copies)
    assert all(e.record.member for e in sample.exhibits)
    best = max(r.longest_common for r in records if not r.member)
    assert heldout.exhibits[0].record.longest_common == best
    assert not any(e.record.member for e in heldout.exhibits)
    assert choose(records, 0, worst=20, sample=10, heldout=5)[1] == sample
    assert choose(records, 1, worst=20, sample=10, heldout=5)[1] != sample


def test_one_window_a_document_and_most_hits_first(factory: Factory) -> None:
    _, records = factory()
    base = [r for r in records if r.extractable][:4]
    windows = [replace(r, document="twice" if i in (1, 3) else f"d{i}") for i, r in enumerate(base)]
    worst = choose(windows, 0, worst=20, sample=0, heldout=0)[0]
    assert [e.record.document for e in worst.exhibits] == ["twice", "d0", "d2"]


def test_no_hits_show_the_nearest_few(factory: Factory) -> None:
    _, records = factory(strength=0.0)
    worst = choose(records, 0, worst=20, sample=10, heldout=5)[0]
    assert worst.title == "The nearest to a copy"
    assert len(worst.exhibits) == 5
    assert choose([], 0, worst=20, sample=10, heldout=5) == []


def test_continuation_that_was_not_asked_for(factory: Factory) -> None:
    _, records = factory()
    hit = next(r for r in records if r.extractable)
    assert marked(exhibit(replace(hit, continuation_text=None)).said or []) == [hit.suffix_text.strip()]
    assert exhibit(replace(hit, continuation_text=None, extractable=False)).said is None
