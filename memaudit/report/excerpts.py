"""Words of somebody's text in the tables of sections: as they are, masked, or withheld as a length and a digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memaudit.records import Shown
from memaudit.report.alignment import digest
from memaudit.report.masking import mask
from memaudit.runs.parts import Section, Table


def excerpts_shown(sections: Sequence[Section], measured: Sequence[Mapping[str, Any]], shown: Shown) -> list[Section]:
    """Return sections with no more of the texts in columns of excerpts than may be shown.

    Args:
        sections: Of a report, which may have withheld these texts already.
        measured: What measures logged; an ``excerpt`` there that was withheld comes back from there.
        shown: What may be shown.
    """
    texts = [line["excerpt"] for line in measured if isinstance(line.get("excerpt"), str)]
    known = {withheld(text): text for text in texts}

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = known.get(value, value)
        if shown.text:
            return text if shown.personal else mask(text)
        return value if value in known else withheld(text)

    def table(each: Table) -> Table:
        excerpt = [column["kind"] == "excerpt" for column in each["columns"]]
        rows = [[cell(v) if e else v for v, e in zip(row, excerpt, strict=True)] for row in each["rows"]]
        return {**each, "rows": rows} if any(excerpt) else each

    return [{**section, "tables": list(map(table, section["tables"]))} for section in sections]


def withheld(text: str) -> str:
    """Return what stands for a text that is not shown."""
    return f"{len(text):,} characters, sha256 {digest(text)}"
