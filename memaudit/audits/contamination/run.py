"""Which items of a benchmark stand in a corpus?

`contamination` reads top to bottom as the data flows: items -> patterns -> one pass over the corpus, a log
line a file -> document frequencies of all files -> matches, rules and verdict -> run directory. A run may
do its share of the files only (``shard``); `merge` joins such runs to the bytes of one that did them all.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from memaudit.audits.benchmark.items import Benchmark, benchmark_sources, read_benchmark
from memaudit.audits.benchmark.scores import read_scores
from memaudit.audits.contamination.baseline import read_baseline
from memaudit.audits.contamination.clean_split import split_targets, write_clean_split
from memaudit.audits.contamination.conclude import ItemRecord, Judgement, conclude
from memaudit.audits.contamination.judgement import needles_of
from memaudit.audits.contamination.scan_log import check_scans, common_plan, refuse_change
from memaudit.audits.contamination.search_target import (
    CorpusOptions,
    SearchTarget,
    open_target,
    refuse_itself,
    refuse_nothing,
)
from memaudit.audits.result import VerdictResult
from memaudit.engines.processes import Work, in_workers
from memaudit.errors import InputError, RunError
from memaudit.records import Shown
from memaudit.report.formats import writers
from memaudit.runs.directory import ITEMS, RunDirectory, identity, read_items, run_folder
from memaudit.runs.files import compact_json, strict_json, write_atomic
from memaudit.runs.inputs import reads_files
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.provenance import versions
from memaudit.text.index.units import unit_of
from memaudit.text.scan.patterns import Needle, Patterns, build_patterns
from memaudit.text.scan.result import Scan

Progress = Callable[[int, int], None]
"""Called with (files done, files in all)."""


@dataclass(frozen=True, slots=True)
class ContaminationOptions(CorpusOptions):
    """Everything that decides what is searched for, and where."""

    fields: tuple[str, ...] = ()
    """Fields of an item to check; empty: those of its layout, where that is well known."""
    id_field: str | None = None
    """Field that names the items; None: the first well-known one that tells them apart."""


@dataclass(frozen=True, slots=True)
class Contamination(VerdictResult):
    """A finished search and the run directory it lies in."""

    items: list[ItemRecord] = field(default_factory=list)
    """One record per item, in the order of the benchmark."""


@reads_files
def contamination(
    benchmark: str | Sequence[str],
    corpus: str | Sequence[str] = (),
    *,
    index: str | Path | Sequence[str | Path] | None = None,
    out: str | Path | None = None,
    options: ContaminationOptions | None = None,
    judgement: Judgement | None = None,
    clean_split: str | Path | None = None,
    shard: tuple[int, int] = (1, 1),
    processes: int = 1,
    formats: Sequence[str] = ("html",),
    personal: bool = False,
    progress: Progress | None = None,
    invocation: Invocation | None = None,
    **fields: Any,
) -> Contamination:
    """Search a corpus for the items of a benchmark.

    Args:
        benchmark: Files of items.
        corpus: Specs of the corpus to stream; or else
        index: Folder of an index of it, or of several, which add up.
        out: Run directory; the same call resumes what stands in it. By default ``runs/contamination-IDENTITY``.
        options: What to search for.
        judgement: The policy, the baseline, the scores: what the findings are judged by.
        clean_split: Folder for the clean, the contaminated and the undecided items as files of their own.
        shard: ``(i, n)``: do only every n-th file, from the i-th, counted from 1.
        processes: Files scanned at the same time.
        formats: What to write beside report.json and items.jsonl.
        personal: Whether addresses, telephone numbers and keys stay legible in excerpts.
        progress: Told after every file.
        invocation: What repeats the run; by default this call.
        **fields: Single options by name (``skip_bad=True``), over those in ``options``.

    Returns:
        The verdict, the report, one record per item, and where they lie.

    Raises:
        MemauditError: Bad input, or a run directory that cannot be used.
    """
    corpus = sorted(_listed(corpus))  # the same command, in whatever order it was typed
    asked = invocation or python_call("memaudit.contamination", contamination, locals())
    chosen = dataclasses.replace(options or ContaminationOptions(), **fields)
    judged = judgement or Judgement()
    shown = Shown(not judged.redact, personal)
    chosen_writers = writers(formats, shown=shown)
    _read_judgement(judged, chosen)
    target = open_target(corpus, [index] if isinstance(index, str | Path) else index or (), chosen)
    refuse_itself(target, benchmark_sources(_listed(benchmark)))
    if clean_split is not None:
        split_targets(_listed(benchmark), Path(clean_split), _read_beside(target, judged))
    items = _read_items(_listed(benchmark), chosen)
    plan = _plan(items, _listed(benchmark), target, chosen, judged, asked)
    folder = run_folder(out, "contamination", plan)
    patterns = build_patterns(needles_of(items))
    with RunDirectory.open(folder, plan) as run:
        started = perf_counter()
        check_scans(run.records, len(target.units), patterns, folder)
        _scan_all(target, patterns, run, shard, processes, progress)
        run.times["scan"] = perf_counter() - started
        report, records = _finish(run, items, patterns, judged)
        files = [write(folder) for write in chosen_writers]
    if clean_split is not None:
        kept = _read_beside(target, judged)
        files += _split(items, _listed(benchmark), records, Path(clean_split), kept, chosen.max_expand)
    return Contamination(folder, report, files, _notices(run, items), shown, records)


@reads_files
def merge(runs: Sequence[Path], out: Path, formats: Sequence[str] = ("html",)) -> Contamination:
    """Join runs that each did a share of one plan; all shares together give the bytes of one run.

    Args:
        runs: Run directories of the same plan.
        out: Run directory to write; it may hold some shares already.
        formats: What to write beside report.json and items.jsonl.

    Raises:
        RunError: A folder holds no run, or one of another plan.
        InputError: The benchmark is not where it was, or has changed.
    """
    plan = common_plan(runs, ContaminationOptions)
    options = ContaminationOptions(**{**plan["options"], "fields": tuple(plan["options"]["fields"])})
    judgement = Judgement(**{**plan["judgement"], "scores": tuple(plan["judgement"]["scores"])})
    items = _read_items(plan["benchmark"]["specs"], options)
    if [file["sha256"] for file in items.files] != [file["sha256"] for file in plan["benchmark"]["files"]]:
        raise InputError(f"{items.files[0]['path']}: changed since the runs", "run them again")
    units, patterns = plan["corpus"]["units"], build_patterns(needles_of(items))
    with RunDirectory.open(out, plan) as run:
        check_scans(run.records, len(units), patterns, out)
        for folder in runs:
            shares = read_items(folder)
            check_scans(shares, len(units), patterns, folder)
            twice = [unit for unit, share in shares.items() if run.records.get(unit, share) != share]
            if twice:
                raise RunError(f"{folder}: read another {units[twice[0]][0]} than the shares before it", "run it again")
            run.append([shares[index] for index in sorted(shares)])
        report, records = _finish(run, items, patterns, judgement)
        shown = Shown(not judgement.redact)
        files = [write(out) for write in writers(formats, shown=shown)]
    return Contamination(out, report, files, _notices(run, items), shown, records)


def _notices(run: RunDirectory, items: Benchmark) -> str:
    return "; ".join(filter(None, (run.notice, items.notice)))


def _read_judgement(judgement: Judgement, options: ContaminationOptions) -> None:
    """Read what findings are judged by, so that a wrong file is named before a long search and not after it."""
    if judgement.baseline is not None:
        read_baseline(judgement.baseline)
    for path in judgement.scores:
        read_scores(path, options.id_field)


def _read_beside(target: SearchTarget, judgement: Judgement) -> list[str]:
    """Return the files that are read beside the benchmark: nothing may be written over them."""
    return [*target.files(), *judgement.scores, *([judgement.baseline] if judgement.baseline else [])]


def _listed(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _read_items(specs: Sequence[str], options: ContaminationOptions) -> Benchmark:
    told: dict[str, Any] = {
        "id_field": options.id_field,
        "skip_bad": options.skip_bad,
        "max_expand": options.max_expand,
    }
    return read_benchmark(specs, options.fields or None, **told)


def _plan(
    items: Benchmark,
    specs: Sequence[str],
    target: SearchTarget,
    options: ContaminationOptions,
    judgement: Judgement,
    invocation: Invocation,
) -> dict[str, Any]:
    body = {
        "schema_version": 1,
        "kind": "contamination",
        "benchmark": {"specs": list(specs), "files": items.files, "fields": items.fields, "items": len(items.items)},
        "corpus": target.describe(),
        "options": dataclasses.asdict(options),
        "words": unit_of("word").version,
        "versions": versions(),
    }
    shown = {"judgement": dataclasses.asdict(judgement)} | invocation.in_plan()
    plan: dict[str, Any] = json.loads(strict_json(body | shown | {"identity": identity(body)}))
    return plan


def _scan_all(
    target: SearchTarget,
    patterns: Patterns,
    run: RunDirectory,
    shard: tuple[int, int],
    processes: int,
    progress: Progress | None,
) -> None:
    """Search the units of a share that are not in the log yet, and log each as it is done."""
    number, shares = shard
    if not 1 <= number <= shares:
        raise InputError(f"there is no share {number} of {shares}", "the first is 1/N, the last N/N")
    mine = range(number - 1, len(target.units), shares)
    pending = [unit for unit in mine if unit not in run.records]
    refuse_change(target, run)
    for unit, logged in run.records.items():
        target.note(unit, logged["scan"]["files"])
    with closing(_scanned(target, patterns, pending, processes)) as scanned:
        for done, (unit, record) in enumerate(scanned, 1):
            target.note(unit, record["files"])
            run.append([{"index": unit, "scan": record}])
            if progress:
                progress(len(mine) - len(pending) + done, len(mine))


def _scanned(
    target: SearchTarget, patterns: Patterns, units: Sequence[int], processes: int
) -> Generator[tuple[int, dict[str, Any]]]:
    """Yield (unit, record of its scan) as they are finished: the order does not matter to any result."""
    if processes == 1 or len(units) < 2:
        for unit in units:
            yield unit, target.scan(unit, patterns).to_record()
        return
    yield from in_workers(_searcher, (target, patterns.needles), units, processes)


def _searcher(target: SearchTarget, needles: Sequence[Needle]) -> Work:
    """Return what a worker process does: it searches a unit."""
    patterns = build_patterns(needles)
    return lambda unit: target.scan(unit, patterns).to_record()


def _split(
    items: Benchmark,
    specs: Sequence[str],
    records: Sequence[ItemRecord],
    folder: Path,
    kept: Sequence[str],
    max_expand: int | None,
) -> list[Path]:
    return write_clean_split(
        specs,
        {record.number for record in records if record.verdict == "contaminated"},
        folder,
        clean={record.number for record in records if record.verdict == "clean"},
        files=items.files,
        kept=kept,
        max_expand=max_expand,
    ).files


def _finish(
    run: RunDirectory, items: Benchmark, patterns: Patterns, judgement: Judgement
) -> tuple[dict[str, Any], list[ItemRecord]]:
    """Join the scans of all logged units, judge, and write what is derived."""
    units = run.plan["corpus"]["units"]
    logged = [run.records[index]["scan"] for index in sorted(run.records)]
    complete = len(logged) == len(units)
    if complete:
        refuse_nothing(run.plan["corpus"], [record["documents"] for record in logged])
    scan = Scan.joined(map(Scan.from_record, logged), patterns)
    report, records = conclude(run.plan, items, patterns, scan, complete=complete, judgement=judgement)
    lines = (compact_json(dataclasses.asdict(record)) + b"\n" for record in records)
    write_atomic(run.folder / ITEMS, b"".join(lines))
    run.finish(report)
    return report, records
