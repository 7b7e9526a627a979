"""What every kind of report says of the server that was asked in place of a model."""

from __future__ import annotations

from collections.abc import Sequence

from memaudit.report.endpoint import TITLE, checks, facts, in_chat, summary
from memaudit.runs import parts
from memaudit.runs.schema import as_record
from memaudit.sections import Column, Section, Table, Value

NAME = "server"
_METHOD = (
    "Before anything was measured, and again whenever the run was resumed, the server was asked what it gives and"
    " whether it answers what it is asked. Servers ignore what they do not know and answer all the same: nothing was"
    " believed for a name. Answers are kept in the run directory, and what was answered is not asked again."
)
_CHAT = (
    "Asked by messages, the model sees a text between what the template puts around it. What it answers verbatim is a"
    " finding about this way of asking; other hits would come of continuing the text."
)


def server_sections(model: parts.ModelDescription, controls: Sequence[parts.Control]) -> list[parts.Section]:
    """Return the section about the server, or none where the model was loaded here.

    Args:
        model: As the plan describes it.
        controls: All of the run.
    """
    known = facts(model)
    if not known:
        return []
    told: list[list[Value]] = [list(row) for row in known]
    checked: list[list[Value]] = [list(row) for row in checks(model, controls)]
    tables = [
        Table("What it was found to be", [Column("What"), Column("As found")], told),
        Table("What was checked", [Column("Check"), Column("Result"), Column("Detail")], checked),
    ]
    notes = [_CHAT] if in_chat(model) else []
    section = Section(NAME, TITLE, summary(model), _METHOD, [table for table in tables if table.rows], [], notes)
    return [as_record(section, parts.Section)]
