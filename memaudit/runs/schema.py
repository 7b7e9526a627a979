"""What the JSON files of a run must look like, asked once where they are read: a folder may come from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from memaudit.records import WindowRecord

Shape = Any
"""A type; a set of the texts and numbers that may stand there; ``{key: shape}``, where other keys may stand too;
``[shape]``, a list of any length; ``[shape, shape]``, one of just these; ``(shape,)``: that, or null."""

_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}

_FILE = {"path": str, "sha256": str, "bytes": int}
_CONTROL = {"name": str, "passed": (bool,), "detail": str}
_ESTIMATE = {"metric": str, "label": str, "definition": str, "primary": bool}
_ESTIMATED: dict[str, Shape] = {
    "schema_version": {1},
    "kind": str,
    "complete": bool,
    "verdict": {"found", "clean", "inconclusive"},
    "exit_code": int,
    "headline": str,
    "reasons": [str],
    "controls": [_CONTROL],
    "limits": [str],
    "options": dict,
    "estimates": [_ESTIMATE],
    "findings": [{"id": str, "source": str, "score": float}],
    "provenance": {"identity": str, "command": str, "versions": dict},
}
_TABLE = {"caption": str, "columns": [{"label": str, "kind": str}], "rows": [list]}
_GRAPH = {"title": str, "description": str, "x": str, "y": str, "series": [{"name": str, "points": [list]}]}
_SECTION = {"title": str, "summary": str, "method": str, "tables": [_TABLE], "graphs": [_GRAPH], "notes": [str]}
_ITEMS: dict[str, Shape] = {"specs": [str], "files": [_FILE], "items": int}
SECTIONS: dict[str, Shape] = {
    "schema_version": {1},
    "complete": bool,
    "exit_code": int,
    "headline": str,
    "options": dict,
    "corpus": {"specs": [str], "units": str},
    "sections": [_SECTION],
    "provenance": {"identity": str, "command": str, "versions": dict},
}
"""What the report of a run made of sections holds, whatever its kind."""
JUDGED: dict[str, Shape] = {"reasons": [str], "controls": [_CONTROL], "limits": [str]}
"""And of a run that comes to a verdict."""
ANY_REPORT: dict[str, Shape] = {
    "schema_version": {1},
    "kind": str,
    "complete": bool,
    "provenance": {"identity": str, "command": str, "versions": dict},
}
"""What every report holds; what more it must hold, a kind of another package says."""
_MATCH = {"raw", "normalised", "edited"}
_PIECES = ([[str, bool]],)
_EVIDENCE = {
    "source": str,
    "start": int,
    "score": float,
    "match": _MATCH,
    "item_pieces": _PIECES,
    "corpus_pieces": _PIECES,
    "spans": [{"text": (str,), "documents": int}],
}
_ITEM = {
    "id": str,
    "item": str,
    "number": int,
    "source": str,
    "part": str,
    "match": _MATCH,
    "score": float,
    "coverage": float,
    "documents": int,
    "rules": [str],
    "accepted": bool,
    "evidence": [_EVIDENCE],
    "more_documents": int,
}
_COUNT = {"hits": int, "n": int, "rate": (float,)}
_RATE = _COUNT | {"low": (float,), "high": (float,)}
_DIFFERENCE = {"estimate": (float,), "low": (float,), "high": (float,)}
_SCORES = {
    "file": str,
    "model": str,
    "sentence": str,
    "clean": _RATE,
    "contaminated": _RATE,
    "difference": (_DIFFERENCE,),
    "p_value": (float,),
    "items_without_score": int,
    "scores_not_used": int,
}
_READ = {"files": [_FILE], "empty": int, "rejected": int, "first_rejected": [str]}
_LIKENESS = {
    "bins": {20},
    "least": float,
    "lowest_found": (float,),
    "highest_other": (float,),
    "rules": [str],
    "counts": [
        {
            "bin": (set(range(20)),),
            "verdict": {"contaminated", "clean", "undecided", "not judged"},
            "items": int,
            "convicted": [int],
        }
    ],
}
_POLICY = {"max_items": (int,), "max_rate": (float,)}

REPORTS: Mapping[str, Shape] = {
    "extraction": _ESTIMATED | {"kind": {"extraction"}},
    "laws": SECTIONS | {"kind": {"laws"}},
    "counterfactual": SECTIONS | {"kind": {"counterfactual"}},
    "gap": SECTIONS | JUDGED | {"kind": {"gap"}, "verdict": {"found", "no-evidence", "inconclusive"}},
    "exploitation": SECTIONS
    | JUDGED
    | {"kind": {"exploitation"}, "verdict": {"found", "no-evidence", "inconclusive", "confounded"}},
    "membership": SECTIONS
    | {
        "kind": {"membership"},
        "verdict": {"found", "no-evidence", "inconclusive", "confounded"},
        "reasons": [str],
        "controls": [_CONTROL],
        "limits": [str],
        "model": dict,
        "benchmark": _ITEMS,
        "heldout": _ITEMS,
        "primary": str,
        "detections": [{"name": str, "label": str, "p_value": (float,), "p_holm": (float,), "speaks": bool}],
        "findings": [{"id": str, "source": str, "score": float}],
    },
    "contamination": _ESTIMATED
    | {
        "kind": {"contamination"},
        "policy": _POLICY,
        "benchmark": _READ
        | {
            "layout": (str,),
            "fields": dict,
            "items": int,
            "judged": int,
            "not_judged": [{"reason": str, "count": int}],
        },
        "corpus": _READ | {"documents": int, "words": int, "bytes": int, "index": (str,)},
        "estimates": [
            _COUNT | _ESTIMATE | {"source": (str,), "undefined": int, "classes": [{"name": str, "count": int}]}
        ],
        "parts": [{"part": str, "hits": int, "n": int}],
        "likeness": _LIKENESS,
        "findings": [_ITEM],
        "spared": [{"item": str, "source": str, "rules": [str], "reason": str}],
        "spared_count": int,
        "groups": int,
        "scores": ([_SCORES],),
        "baseline": ({"path": str, "entries": int, "accepted": int, "stale": int},),
    },
}
"""Kind of run -> what its report.json holds."""

CONTAMINATION_PLAN: Shape = {
    "benchmark": {"specs": [str], "files": [_FILE]},
    "corpus": {"specs": [str], "units": [[str, (int,), str]], "indices": [{"path": str}]},
    "options": {"fields": [str]},
    "judgement": _POLICY | {"baseline": (str,), "scores": [str], "redact": bool},
    "command": str,
    "versions": dict,
}
SCAN_RECORD: Shape = {
    "scan": {
        "patterns": str,
        "documents": int,
        "words": int,
        "bytes": int,
        "seed_documents": str,
        "gram_documents": dict,
        "longest": str,
        "covered": str,
        "substrings": str,
        "scripts": [int],
        "matches": [
            {
                "candidate": {"needle": int, "source": str, "start": int, "text": str, "seeds": [int]},
                "kind": {"raw", "normalised", "edited"},
                "similarity": float,
                "coverage": float,
                "why": {"copy", "generic", "boilerplate", "choice", "short", "little", "other"},
            }
        ],
        "empty": int,
        "rejected": int,
        "first_rejected": [str],
        "files": [_FILE],
    }
}
"""A line of the log of a contamination run."""


_KINDS = {"int": int, "float": float, "bool": bool, "str": str, "list[int]": [int]}
WINDOW_RECORD: Shape = {
    field.name: (_KINDS[kind],) if optional else _KINDS[kind]
    for field in fields(WindowRecord)
    for kind, _, optional in [str(field.type).partition(" | ")]
    if field.default is MISSING
}
"""A line of the log of an extraction audit, as far as every version wrote it."""


def misfit(value: object, shape: Shape, name: str) -> str:
    """Say what is not as it must be; empty where everything is.

    Args:
        value: What a JSON file holds.
        shape: See `Shape`.
        name: What to call the value.
    """
    if isinstance(shape, tuple):
        return "" if value is None else misfit(value, shape[0], name)
    if isinstance(shape, set):
        fits = type(value) in (str, int) and value in shape
        return "" if fits else f"{name} is not {' or '.join(map(str, sorted(shape)))}"
    kind = shape if isinstance(shape, type) else type(shape)
    fits = isinstance(value, int | float if kind is float else kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        return f"{name} is {_NAMES[type(value)]}, not {_NAMES[kind]}"
    inner: list[tuple[object, Shape, str]] = []
    if isinstance(shape, dict) and isinstance(value, dict):
        if missing := [key for key in shape if key not in value]:
            return f"{name} has no '{missing[0]}'"
        inner = [(value[key], shape[key], f"{name}.{key}") for key in shape]
    elif isinstance(shape, list) and isinstance(value, list):
        if len(shape) > 1 and len(value) != len(shape):
            return f"{name} has {len(value)} entries, not {len(shape)}"
        shapes = shape if len(shape) > 1 else shape * len(value)
        inner = [(one, each, f"{name}.{i}") for i, (one, each) in enumerate(zip(value, shapes, strict=True))]
    return next(filter(None, (misfit(*each) for each in inner)), "")
