"""The JSON Schemas of what run directories hold, for other programs: plan, log line and report of every kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from memaudit.errors import InputError, RunError
from memaudit.runs.files import write_atomic
from memaudit.runs.log_lines import LOGS
from memaudit.runs.plans import PLANS
from memaudit.runs.reports import REPORTS
from memaudit.runs.schema import Schema, json_schema

What = Literal["plan", "log", "report"]
_TYPES: Mapping[What, Mapping[str, Any]] = {"plan": PLANS, "log": LOGS, "report": REPORTS}
_TITLES: Mapping[What, str] = {
    "plan": "plan.json of a run of kind {kind}",
    "log": "A line of items.log of a run of kind {kind}, without the checksum before it",
    "report": "report.json of a run of kind {kind}",
}


def schema_of(what: What, kind: str) -> Schema:
    """Return the JSON Schema (2020-12) of a file of a run.

    Args:
        what: Which file.
        kind: Of the run: ``extraction``, ``gap``, ...

    Raises:
        InputError: There is no such kind, or its runs log nothing.
    """
    if kind not in _TYPES[what]:
        problem = f"runs of kind {kind} log nothing" if kind in PLANS else f"no kind of run: {kind}"
        raise InputError(problem, f"choose from {', '.join(_TYPES[what])}")
    return json_schema(_TYPES[what][kind], _TITLES[what].format(kind=kind))


def all_schemas() -> Iterator[tuple[str, Schema]]:
    """Yield every schema after the name of its file: ``gap.report.json``."""
    for what, kinds in _TYPES.items():
        for kind in kinds:
            yield f"{kind}.{what}.json", schema_of(what, kind)


def schema_text(schema: Schema) -> str:
    """Return a schema as text: keys in the order of the type, two spaces a level."""
    return json.dumps(schema, indent=2, ensure_ascii=False)


def write_schemas(folder: Path) -> list[Path]:
    """Write all schemas into a folder, and return their paths.

    Raises:
        RunError: The folder cannot be made, or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot create {folder}: {error.strerror}", "choose another --out") from error
    written = []
    for name, schema in all_schemas():
        write_atomic(folder / name, schema_text(schema).encode() + b"\n")
        written.append(folder / name)
    return written
