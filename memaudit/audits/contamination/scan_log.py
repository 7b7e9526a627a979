"""What a contamination run finds in run directories: plans to be joined, scans to continue; all of it is checked."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import numpy as np

from memaudit.audits.contamination.search_target import CorpusOptions, SearchTarget
from memaudit.errors import InputError, RunError
from memaudit.runs.directory import RunDirectory, read_plan
from memaudit.runs.files import LOG, PLAN
from memaudit.runs.log_lines import ScanLine, ScanRecord
from memaudit.runs.plans import ContaminationPlan
from memaudit.runs.schema import misfit
from memaudit.text.scan.patterns import Patterns
from memaudit.text.scan.result import Scan


def common_plan(runs: Sequence[Path], options: type[CorpusOptions]) -> ContaminationPlan:
    """Return the plan of which every run did a share.

    Args:
        runs: Their folders.
        options: What the options of a plan are made into.

    Raises:
        RunError: A folder holds no contamination run of this version, or one of another plan.
    """
    if not runs:
        raise InputError("no run to merge")
    plans = [read_plan(run) for run in runs]
    for folder, plan in zip(runs, plans, strict=True):
        if plan.get("kind") != "contamination":
            raise RunError(f"{folder}: no contamination run", "only their shares can be merged")
        problem = misfit(plan, ContaminationPlan, "the plan")
        if problem or plan["options"].keys() != {field.name for field in fields(options)}:
            problem = problem or "it has other options than this version of memaudit"
            raise RunError(f"{folder / PLAN}: {problem}", "delete the folder and run again")
        if (plan["identity"], plan["judgement"]) != (plans[0]["identity"], plans[0]["judgement"]):
            raise RunError(f"{folder}: another plan than {runs[0]}", "merge the shares of one command only")
    return cast("ContaminationPlan", plans[0])


def check_scans(records: Mapping[int, Mapping[str, Any]], units: int, patterns: Patterns, folder: Path) -> None:
    """Refuse a log that holds anything but scans for these patterns.

    Args:
        records: Lines of the log, by their unit.
        units: Units of the plan.
        patterns: What was searched for.
        folder: The run directory.

    Raises:
        RunError: One line says which record, and what is wrong with it.
    """
    nothing = Scan.nothing(patterns)
    for unit, record in records.items():
        problem = misfit(record, ScanLine, "it") or _mismatch(record["scan"], nothing)
        if not 0 <= unit < units:
            problem = f"the plan has {units} of them"
        if problem:
            raise RunError(f"{folder / LOG}: record {unit} cannot be used: {problem}", "delete the folder, run again")


def refuse_change(target: SearchTarget, run: RunDirectory) -> None:
    """Refuse to continue where a file is no longer what the first part of the run read."""
    for unit, record in run.records.items():
        files = record["scan"]["files"]
        if files and target.sha256(unit) not in (None, files[0]["sha256"]):
            problem = f"{target.units[unit]}: changed since this run read it"
            raise RunError(problem, f"choose another --out or delete {run.folder}")


def _mismatch(record: ScanRecord, nothing: Scan) -> str:
    """Say why a record of the right shape is no scan that can be added to ``nothing``; empty where it can."""
    try:
        scan = Scan.from_record(record)
    except (ValueError, TypeError, zlib.error) as error:
        return f"it cannot be decoded ({error})"
    if scan.patterns != nothing.patterns:
        return "it is of another search"
    counts = ("seed_documents", "longest", "covered", "substrings", "scripts")
    same = all(np.shape(getattr(scan, name)) == np.shape(getattr(nothing, name)) for name in counts)
    sizes = {n: len(found) for n, found in scan.gram_documents.items()}
    if not same or sizes != {n: len(found) for n, found in nothing.gram_documents.items()}:
        return "it counts another number of words"
    seeds, needles = len(nothing.seed_documents), len(nothing.longest)
    for candidate in (match.candidate for match in scan.matches):
        if not 0 <= candidate.needle < needles or any(not 0 <= seed < seeds for seed in candidate.seeds):
            return "it names texts that the benchmark does not have"
    return ""
