"""Words of texts in tables: shown, masked, withheld, and had back from what was logged."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from memaudit.records import Shown
from memaudit.report.excerpts import excerpts_shown, withheld
from memaudit.runs.parts import Section

PRIVATE, MASKED, WITHHELD = Shown(personal=True), Shown(), Shown(text=False)


def section(*excerpts: str | None) -> Section:
    kinds: Any = ("text", "excerpt", "number")
    columns: Any = [{"label": kind, "kind": kind} for kind in kinds]
    rows: Any = [[f"name {place}", excerpt, place] for place, excerpt in enumerate(excerpts)]
    return {
        "name": "n", "title": "t", "summary": "s", "method": "m", "graphs": [], "notes": [],
        "tables": [{"caption": "c", "columns": columns, "rows": rows}],
    }  # fmt: skip


def cells(sections: list[Section]) -> list[Any]:
    return [row[1] for each in sections for table in each["tables"] for row in table["rows"]]


@given(st.lists(st.text(min_size=1), max_size=4))
def test_what_was_withheld_comes_back_where_it_was_logged(texts: list[str]) -> None:
    before = [section(*texts)]
    hidden = excerpts_shown(before, [], WITHHELD)
    assert cells(hidden) == [withheld(text) for text in texts]
    logged = [{"excerpt": text, "measure": "n"} for text in texts]
    assert excerpts_shown(hidden, logged, PRIVATE) == before
    assert excerpts_shown(hidden, logged, WITHHELD) == hidden
    assert excerpts_shown(before, logged, PRIVATE) == before


def test_addresses_are_masked_and_other_columns_left_alone() -> None:
    before = [section("write to ann@example.org", None)]
    [shown] = excerpts_shown(before, [], MASKED)
    [table] = shown["tables"]
    assert table["rows"] == [["name 0", "write to •••@•••••••.•••", 0], ["name 1", None, 1]]
    assert cells(before) == ["write to ann@example.org", None]
    assert "ann" not in withheld("ann@example.org")
    assert withheld("ann@example.org").startswith("15 characters, sha256 ")
