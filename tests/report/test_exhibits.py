"""Exhibits: chosen by rule, ranked among all windows, with the odds that a measure logged."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from memaudit.records import Shown
from memaudit.report.alignment import Piece
from memaudit.report.exhibits import LONGEST_TEXT, MOST_TURNS, choose, exhibit, galleries

Factory = Callable[..., tuple[dict[str, Any], list[Any]]]


def test_galleries_follow_their_rules(factory: Factory) -> None:
    _, records = factory()
    worst, sample, heldout = (chosen.records for chosen in choose(records, 0, worst=20, sample=10, heldout=5))
    assert [len(chosen) for chosen in (worst, sample, heldout)] == [20, 10, 5]
    assert all(r.extractable and r.member for r in worst)
    copies = [r.copies for r in worst]
    assert copies == sorted(copies)
    assert all(r.member for r in sample)
    assert heldout[0].longest_common == max(r.longest_common for r in records if not r.member)
    assert not any(r.member for r in heldout)
    assert choose(records, 0, worst=20, sample=10, heldout=5)[1].records == sample
    assert choose(records, 1, worst=20, sample=10, heldout=5)[1].records != sample


def test_one_window_a_document_and_most_hits_first(factory: Factory) -> None:
    _, records = factory()
    base = [r for r in records if r.extractable][:4]
    windows = [replace(r, document="twice" if i in (1, 3) else f"d{i}") for i, r in enumerate(base)]
    worst = choose(windows, 0, worst=20, sample=0, heldout=0)[0]
    assert [r.document for r in worst.records] == ["twice", "d0", "d2"]


def test_the_worst_are_those_of_which_something_was_copied(factory: Factory) -> None:
    _, records = factory()
    worst = choose(records, 0, worst=1000, sample=0, heldout=0)[0].records
    assert all(r.extractable or max(r.matched, r.longest_common) >= 25 for r in worst)
    assert {r.document for r in records if r.extractable} <= {r.document for r in worst}


def test_no_hits_show_the_nearest_few(factory: Factory) -> None:
    _, records = factory(strength=0.0)
    worst = choose(records, 0, worst=20, sample=10, heldout=5)[0]
    assert worst.title == "The nearest to a copy"
    assert len(worst.records) == 5
    assert galleries([], 0) == []


def test_continuation_that_was_not_asked_for(factory: Factory) -> None:
    _, records = factory()
    hit = next(r for r in records if r.extractable)
    said = exhibit(replace(hit, continuation_text=None)).said or []
    assert [p.text for p in said if p.kind == "copied"] == [hit.suffix_text.strip()]
    assert exhibit(replace(hit, continuation_text=None, extractable=False)).said is None


def test_ranks_count_all_windows_of_the_side(factory: Factory) -> None:
    _, records = factory()
    worst, sample, heldout = galleries(records, 0)
    assert all(e.standing.asked == 112 for gallery in (worst, sample, heldout) for e in gallery.exhibits)
    assert worst.exhibits[0].standing.rank == 1
    ranks = {e.record.index: e.standing.rank for e in (*worst.exhibits, *sample.exhibits)}
    for e in sample.exhibits:
        better = [
            r for r in records if r.member and (r.extractable, r.matched) > (e.record.extractable, e.record.matched)
        ]
        assert ranks[e.record.index] > len(better)
    first = heldout.exhibits[0]
    assert (first.standing.rank, first.record.member) == (1, False)


def test_odds_are_those_that_a_measure_logged(factory: Factory) -> None:
    _, records = factory()
    hit = choose(records, 0, worst=1, sample=0, heldout=0)[0].records[0]
    about = {"measure": "probability", "member": True, "document": hit.document, "start": hit.start}

    def odds(log_p: float | None) -> str | None:
        return galleries(records, 0, measured=[{**about, "log_p": log_p}])[0].exhibits[0].probability

    assert odds(math.log(0.25)) == "0.25 in one sample, 3 samples for an even chance"
    assert odds(-0.1) == "0.905 in one sample, 1 sample for an even chance"
    assert odds(1e-4) == "1 in one sample, 1 sample for an even chance"
    assert odds(-700.0) == "9.86e-305 in one sample"
    assert odds(None) == "0 in one sample"
    assert galleries(records, 0)[0].exhibits[0].probability is None


def test_long_texts_are_cut_and_say_so(factory: Factory) -> None:
    _, records = factory()
    long = "one two three " * 400
    made = exhibit(replace(records[0], prefix_text=long, suffix_text=long, continuation_text=long, extractable=True))
    assert sum(len(p.text) for p in made.truth if p.kind != "left out") == LONGEST_TEXT
    assert made.truth[-1] == Piece(f"… {len(long) - LONGEST_TEXT:,} characters …", "left out")
    assert made.prompt[0].kind == "left out"
    assert long.endswith(made.prompt[1].text)


def test_withheld_texts_leave_lengths_and_digests(factory: Factory) -> None:
    _, records = factory()
    hit = next(r for r in records if r.extractable)
    made = exhibit(hit, shown=Shown(text=False))
    assert made.said == made.truth
    assert {p.kind for p in made.truth} == {"plain", "copied", "left out"}
    assert Piece(f"{len(hit.suffix_text.strip())} characters", "copied") in made.truth
    assert hit.suffix_text.strip()[:12] not in str(made.truth)


@pytest.mark.parametrize("personal", [True, False])
def test_addresses_are_compared_before_they_are_masked(factory: Factory, personal: bool) -> None:
    _, records = factory()
    one = replace(
        records[0],
        extractable=False,
        prefix_text="Write to",
        suffix_text=" the office of a.b@example.org or call 555-123-4567 today",
        continuation_text=" the office of x.y@example.org or call 555-765-4321 today",
    )
    made = exhibit(one, shown=Shown(personal=personal))
    truth = "".join(p.text for p in made.truth)
    assert ("example" in truth) == ("4567" in truth) == personal
    copied = [[len(p.text) for p in side or [] if p.kind == "copied"] for side in (made.said, made.truth)]
    plain = exhibit(one, shown=Shown(personal=True))
    assert copied[0] == copied[1] == [len(p.text) for p in plain.truth if p.kind == "copied"]
    assert len(copied[0]) == 2  # the names differ, whatever they look like masked


def test_an_exhibit_names_what_else_holds_its_texts(factory: Factory) -> None:
    _, records = factory()
    named = replace(records[0], member=True, copies_in=["a:1", "b (c:2)"], elsewhere_in=["d:3"])
    also, said = ("the true text in", ["a:1", "b (c:2)"]), ("the continuation in", ["d:3"])
    assert exhibit(named).places == [also, said]
    assert exhibit(replace(named, member=False, elsewhere_in=[])).places == [also]
    assert exhibit(replace(named, copies_in=None, elsewhere_in=None)).places == []


def test_what_lies_across_the_seam_is_masked(factory: Factory) -> None:
    _, records = factory()
    secret = replace(records[0], prefix_text="his password = ", suffix_text="hunter2hunter9 is", continuation_text=None)
    shown = exhibit(replace(secret, extractable=True))
    assert "".join(piece.text for piece in shown.truth) == "•••••••••••••• is"
    assert "".join(piece.text for piece in shown.said or []) == "•••••••••••••• is"
    split = exhibit(replace(secret, prefix_text="mail bob.smith@exam", suffix_text="ple.org today"))
    assert "".join(piece.text for piece in split.prompt) == "mail •••.•••••@••••"
    assert "".join(piece.text for piece in split.truth) == "•••.••• today"
    assert "hunter" in "".join(piece.text for piece in exhibit(secret, shown=Shown(personal=True)).truth)


def test_a_reply_is_shown_with_who_said_what_before_it(factory: Factory) -> None:
    _, records = factory()
    turns = [["system", "Be brief."], ["user", "Write to a.b@example.org. " + "x" * 2000]]
    shown = exhibit(replace(records[0], turns=turns)).said_before or []
    assert [turn.role for turn in shown] == ["system", "user"]
    texts = ["".join(piece.text for piece in turn.pieces) for turn in shown]
    assert texts[0] == "Be brief."
    assert texts[1].startswith("Write to •.•@•••")
    assert len(texts[1]) < 900
    assert exhibit(records[0]).said_before is None
    withheld = exhibit(replace(records[0], turns=turns), shown=Shown(text=False)).said_before or []
    assert not any("brief" in piece.text for turn in withheld for piece in turn.pieces)


def test_of_a_long_conversation_the_first_turn_and_the_last_ones_are_shown(factory: Factory) -> None:
    _, records = factory()
    turns = [["system", "start"], *(["user", f"turn {number}"] for number in range(20))]
    shown = exhibit(replace(records[0], turns=turns)).said_before or []
    assert [(turn.role, turn.pieces[0].text) for turn in shown[:3]] == [
        ("system", "start"),
        ("", "14 turns left out"),
        ("user", "turn 14"),
    ]
    assert len(shown) == 2 + MOST_TURNS
