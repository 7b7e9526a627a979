"""The baseline: a file of findings that somebody looked at and accepted, so that only new ones fail.

It holds fingerprints, which survive moved lines and moved folders, and no text of the benchmark; a note may
say why a finding was accepted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from memaudit.errors import InputError, RunError, one_line
from memaudit.runs.files import strict_json, write_atomic
from memaudit.runs.inputs import read_file

SCHEMA_VERSION = 1
_FINGERPRINT = re.compile(r"v1:[0-9a-f]{32}")
Finding = TypeVar("Finding", bound=Mapping[str, Any])


def write_baseline(report: Mapping[str, Any], path: str | Path) -> int:
    """Write a file that accepts every finding of a report; notes of an older baseline there are kept.

    Args:
        report: What report.json holds.
        path: Written atomically; the same findings give the same bytes.

    Returns:
        The number of entries.

    Raises:
        InputError: If there is a file at ``path`` that is no baseline of this kind of run.
        RunError: If the findings have no fingerprints of this version, or the file cannot be written.
    """
    path = Path(path)
    ids = {finding["id"] for finding in report["findings"]}
    if not all(isinstance(id, str) and _FINGERPRINT.fullmatch(id) for id in ids):
        raise RunError("the findings have no fingerprints of this version", "run the check again")
    notes = _read(path, report["kind"]) if path.exists() else {}
    entries = [{"id": id, **({"note": notes[id]} if notes.get(id) else {})} for id in sorted(ids)]
    head = {"schema_version": SCHEMA_VERSION, "tool": "memaudit", "kind": report["kind"]}
    write_atomic(path, strict_json({**head, "accepted": entries}))
    return len(entries)


def read_baseline(path: str | Path, kind: str = "contamination") -> set[str]:
    """Return the fingerprints of the findings that a baseline accepts.

    Args:
        path: A file that ``write_baseline`` wrote; entries may have been removed, and notes added, by hand.
        kind: Of the run whose findings are accepted.

    Raises:
        InputError: If the file cannot be read, is damaged, was made by another tool, for another kind of
            run or in another version.
    """
    return set(_read(Path(path), kind))


def split(findings: Sequence[Finding], accepted: Collection[str]) -> tuple[list[Finding], list[Finding], int]:
    """Part findings by a baseline.

    Args:
        findings: Each with its fingerprint as ``id``.
        accepted: Fingerprints that ``read_baseline`` returned.

    Returns:
        New findings, accepted findings, and the number of entries that match no finding any more.
    """
    new = [finding for finding in findings if finding["id"] not in accepted]
    known = [finding for finding in findings if finding["id"] in accepted]
    return new, known, len(set(accepted) - {finding["id"] for finding in known})


def _read(path: Path, kind: str) -> dict[str, str]:
    """Return the fingerprints of a baseline, each with its note, empty where there is none."""
    content = _load(path)
    if not isinstance(content, dict) or content.get("tool") != "memaudit" or "accepted" not in content:
        raise _not_usable(path, "not a baseline of memaudit")
    version = content.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise _not_usable(
            path, f"schema_version {_shown(version)}, and this version of memaudit reads {SCHEMA_VERSION}"
        )
    if content.get("kind") != kind:
        raise _not_usable(path, f"a baseline of kind {_shown(content.get('kind'))}, not '{kind}'")
    unknown = sorted(content.keys() - {"schema_version", "tool", "kind", "accepted"})
    if unknown or not isinstance(content["accepted"], list):
        raise _not_usable(path, f"unknown key {_shown(unknown[0])}" if unknown else '"accepted" is not a list')
    notes: dict[str, str] = {}
    for number, entry in enumerate(content["accepted"], 1):
        id, note = _entry(path, number, entry)
        if id in notes:
            raise _not_usable(path, f"entry {number} repeats {id}")
        notes[id] = note
    return notes


def _entry(path: Path, number: int, entry: object) -> tuple[str, str]:
    if not isinstance(entry, dict) or "id" not in entry or entry.keys() - {"id", "note"}:
        raise _not_usable(path, f'entry {number} is not {{"id": ..., "note": ...}}')
    id, note = entry["id"], entry.get("note", "")
    if not isinstance(id, str) or not _FINGERPRINT.fullmatch(id):
        raise _not_usable(path, f"entry {number}: {_shown(id)} is not a fingerprint of this version")
    if not isinstance(note, str):
        raise _not_usable(path, f"entry {number}: the note is not a text")
    return id, note


def _load(path: Path) -> Any:
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: is no regular file", "name the file that `memaudit baseline` wrote")
    try:
        return json.loads(read_file(path)[0].decode("utf-8"), object_pairs_hook=_unique)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "name the file that `memaudit baseline` wrote") from error
    except json.JSONDecodeError as error:
        raise _not_usable(path, f"not valid JSON ({error.msg})", error.lineno) from error
    except UnicodeDecodeError as error:
        raise _not_usable(path, f"not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise _not_usable(path, "nested too deeply") from error
    except ValueError as error:
        raise _not_usable(path, str(error)) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"duplicate key {_shown(key)}")
        found[key] = value
    return found


def _not_usable(path: Path, problem: str, line: int | None = None) -> InputError:
    where = f"{path}:{line}" if line else str(path)
    return InputError(f"{where}: {problem}", "write it again with `memaudit baseline RUN --out FILE`")


def _shown(value: object) -> str:
    return f"'{one_line(str(value), 40)}'"
