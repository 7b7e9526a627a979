"""How windows lie: by counted copies, by how much was copied, by domain."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from memaudit.audits.extraction.distributions import composition, counted_doses, distributions, growth
from memaudit.records import WindowRecord
from memaudit.stats.rounding import points
from tests.report.conftest import record


def records(count: int = 40) -> list[WindowRecord]:
    lot = random.Random(0)
    return [record(i, lot, 4 if i < count else 0, 2.0) for i in range(2 * count)]


def with_copies(counts: list[int | None], member: bool = True) -> list[WindowRecord]:
    base = records(1)[0]
    return [
        replace(base, index=i, member=member, document=f"d{i}", copies_normalised=c, extractable=bool(c and c > 2))
        for i, c in enumerate(counts)
    ]


def test_doses_double_and_begin_with_held_out_text() -> None:
    found = counted_doses([*with_copies([1, 1, 2, 3, 4, 7, 8, 100]), *with_copies([0, 0, 0], member=False)])
    assert [(d["copies"], d["most"], d["hits"], d["n"]) for d in found] == [
        (0, 0, 0, 3),
        (1, 1, 0, 2),
        (2, 3, 1, 2),
        (4, 7, 2, 2),
        (8, 15, 1, 1),
        (64, 127, 1, 1),
    ]
    assert found[0]["low"] == 0 < found[0]["high"]


def test_growth_is_the_slope_over_planted_or_else_counted_copies() -> None:
    counted = [replace(r, copies=None) for r in with_copies([1, 1, 2, 3, 4, 7, 8, 100] * 10)]
    x = np.log10([1, np.sqrt(6), np.sqrt(28), np.sqrt(120), np.sqrt(64 * 127)])
    found = growth([*counted, *with_copies([0, 0], member=False)], 0)
    assert found is not None
    assert found["rows"][0][:2] == [
        "This model, copies that were counted",
        f"{points(np.polyfit(x, [0, 0.5, 1, 1, 1], 1)[0])} points",
    ]
    planted = [
        replace(r, copies=c, extractable=c > 1)
        for r, c in zip(counted, [1, 1, 10, 10, 100, 100, 0, 0] * 10, strict=True)
    ]
    found = growth(planted, 0)
    assert found is not None
    assert found["rows"][0][0] == "This model, copies that were planted"
    assert found["rows"][0][1] == "+50.0 points"
    assert growth(with_copies([1, 1]), 0) is None


def test_windows_that_tell_nothing_of_copies_are_left_out() -> None:
    unknown = with_copies([None, 0])  # not counted; a training window that stands nowhere in the index
    seen = with_copies([3], member=False)  # held-out text that stands in the training text
    assert counted_doses([*unknown, *seen]) == []
    assert [d["n"] for d in counted_doses([*unknown, *seen, *with_copies([1])])] == [1]


def test_bins_hold_every_window_once() -> None:
    made = records()
    runs, similarities = distributions(made, 50)
    assert (runs["metric"], similarities["metric"]) == ("longest_common", "edit_similarity")
    assert runs["edges"] == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50]
    for entry in (runs, similarities):
        assert [group["domain"] for group in entry["groups"]] == [None, "code", "prose"]
        whole, *domains = entry["groups"]
        for side in ("train", "heldout"):
            assert sum(whole[side]) == 40
            assert [sum(bins) for bins in zip(*(d[side] for d in domains), strict=True)] == whole[side]
    recited = sum(r.extractable for r in made)
    assert runs["groups"][0]["train"][-1] >= recited > 0
    assert runs["groups"][0]["heldout_median"] < runs["groups"][0]["train_median"]


def test_without_continuations_matched_tokens_are_shown() -> None:
    made = [replace(r, longest_common=None, edit_similarity=None) for r in records()]
    assert [entry["metric"] for entry in distributions(made, 50)] == ["matched"]
    assert distributions([], 50) == []


def test_short_suffixes_have_a_bin_a_token() -> None:
    made = [replace(r, longest_common=min(r.longest_common or 0, 3)) for r in records()]
    assert distributions(made, 3)[0]["edges"] == [0, 1, 2, 3]


def test_composition_counts_repeats_among_windows_whose_copies_are_known() -> None:
    made = [replace(r, copies_normalised=None if r.index == 0 else r.copies_normalised) for r in records()]
    rows = composition(made, {"prose": 300, "code": 100, "poetry": 5})
    assert [row["domain"] for row in rows] == ["prose", "code", "poetry"]
    prose = [r for r in made if r.member and r.domain == "prose"]
    assert rows[0]["counted"] == len(prose) - 1
    assert rows[0]["repeated"] == rows[0]["counted"]
    assert rows[0]["train"]["hits"] == sum(r.extractable for r in prose)
    assert rows[2]["train"] is None
