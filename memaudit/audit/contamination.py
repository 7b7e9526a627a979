"""Which items of a benchmark stand in a corpus?

`contamination` reads top to bottom as the data flows: items -> patterns -> one pass over the corpus, a log
line a file -> document frequencies of all files -> matches, rules and verdict -> run directory. A run may
do its share of the files only (``shard``); `merge` joins such runs to the bytes of one that did them all.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

from memaudit.audit.benchmark import Benchmark, read_benchmark
from memaudit.audit.clean_split import split_targets, write_clean_split
from memaudit.audit.contamination_evidence import ItemRecord, Judgement, conclude
from memaudit.audit.haystack import CorpusOptions, Haystack, open_haystack, refuse_nothing
from memaudit.audit.judgement import needles_of
from memaudit.audit.scores import read_scores
from memaudit.baseline import read_baseline
from memaudit.errors import InputError, RunError
from memaudit.files import compact_json, read_json, strict_json, write_atomic
from memaudit.provenance import versions
from memaudit.report.formats import writers
from memaudit.runs import ITEMS, PLAN, RunDirectory, identity, read_items
from memaudit.text.scan.patterns import Needle, Patterns, build_patterns
from memaudit.text.scan.result import Scan

RUNS = Path("runs")
"""Where a run goes that was given no folder: ``runs/contamination-IDENTITY``."""

Progress = Callable[[int, int], None]
"""Called with (files done, files in all)."""


@dataclass(frozen=True, slots=True)
class ContaminationOptions(CorpusOptions):
    """Everything that decides what is searched for, and where."""

    fields: tuple[str, ...] = ()
    """Fields of an item to check; empty: those of its layout, where that is well known."""


@dataclass(frozen=True, slots=True)
class Contamination:
    """A finished search and the run directory it lies in."""

    folder: Path
    report: dict[str, Any]
    """What report.json holds."""
    items: list[ItemRecord]
    """One record per item, in the order of the benchmark."""
    files: list[Path]
    """What was written beside report.json and items.jsonl."""
    notice: str = ""

    @property
    def verdict(self) -> str:
        """``found``, ``clean`` or ``inconclusive``."""
        return str(self.report["verdict"])

    @property
    def exit_code(self) -> int:
        """0 clean, 1 found, 3 inconclusive."""
        return int(self.report["exit_code"])

    def __str__(self) -> str:
        return f"{self.verdict}: {self.report['headline']} ({self.folder})"


def contamination(
    benchmark: str | Sequence[str],
    corpus: str | Sequence[str] = (),
    *,
    index: str | Path | None = None,
    out: str | Path | None = None,
    options: ContaminationOptions | None = None,
    judgement: Judgement | None = None,
    clean_split: str | Path | None = None,
    shard: tuple[int, int] = (1, 1),
    processes: int = 1,
    formats: Sequence[str] = ("html",),
    progress: Progress | None = None,
    **fields: Any,
) -> Contamination:
    """Search a corpus for the items of a benchmark.

    Args:
        benchmark: Files of items.
        corpus: Specs of the corpus to stream; or else
        index: Folder of an index of it.
        out: Run directory; the same call resumes what stands in it. By default ``runs/contamination-IDENTITY``.
        options: What to search for.
        judgement: The policy, the baseline, the scores: what the findings are judged by.
        clean_split: Folder for the clean and the contaminated items as two files.
        shard: ``(i, n)``: do only every n-th file, from the i-th, counted from 1.
        processes: Files scanned at the same time.
        formats: What to write beside report.json and items.jsonl.
        progress: Told after every file.
        **fields: Single options by name (``skip_bad=True``), over those in ``options``.

    Returns:
        The verdict, the report, one record per item, and where they lie.

    Raises:
        MemauditError: Bad input, or a run directory that cannot be used.
    """
    chosen = dataclasses.replace(options or ContaminationOptions(), **fields)
    judged = judgement or Judgement()
    chosen_writers = writers(formats)
    if clean_split is not None:
        split_targets(_listed(benchmark), Path(clean_split))
    _read_judgement(judged)
    items = _read_items(_listed(benchmark), chosen)
    haystack = open_haystack(_listed(corpus), index, chosen)
    plan = _plan(items, _listed(benchmark), haystack, chosen, judged)
    folder = Path(out) if out else RUNS / f"contamination-{plan['identity'][:12]}"
    patterns = build_patterns(needles_of(items))
    with RunDirectory.open(folder, plan) as run:
        started = perf_counter()
        _scan_all(haystack, patterns, run, shard, processes, progress)
        run.times["scan"] = perf_counter() - started
        report, records = _finish(run, items, patterns, judged)
        files = [write(folder) for write in chosen_writers]
    if clean_split is not None:
        files += _split(items, _listed(benchmark), records, Path(clean_split), chosen.max_expand)
    return Contamination(folder, report, records, files, run.notice)


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
    plan = _common_plan(runs)
    options = ContaminationOptions(**{**plan["options"], "fields": tuple(plan["options"]["fields"])})
    judgement = Judgement(**{**plan["judgement"], "scores": tuple(plan["judgement"]["scores"])})
    items = _read_items(plan["benchmark"]["specs"], options)
    if [file["sha256"] for file in items.files] != [file["sha256"] for file in plan["benchmark"]["files"]]:
        raise InputError(f"{items.files[0]['path']}: changed since the runs", "run them again")
    units = plan["corpus"]["units"]
    with RunDirectory.open(out, plan) as run:
        for folder in runs:
            shares = read_items(folder)
            twice = [unit for unit, share in shares.items() if run.records.get(unit, share) != share]
            if twice:
                raise RunError(f"{folder}: read another {units[twice[0]][0]} than the shares before it", "run it again")
            run.append([shares[index] for index in sorted(shares)])
        report, records = _finish(run, items, build_patterns(needles_of(items)), judgement)
        files = [write(out) for write in writers(formats)]
    return Contamination(out, report, records, files, run.notice)


def _read_judgement(judgement: Judgement) -> None:
    """Read what findings are judged by, so that a wrong file is named before a long search and not after it."""
    if judgement.baseline is not None:
        read_baseline(judgement.baseline)
    for path in judgement.scores:
        read_scores(path)


def _listed(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _read_items(specs: Sequence[str], options: ContaminationOptions) -> Benchmark:
    return read_benchmark(specs, options.fields or None, skip_bad=options.skip_bad, max_expand=options.max_expand)


def _plan(
    items: Benchmark,
    specs: Sequence[str],
    haystack: Haystack,
    options: ContaminationOptions,
    judgement: Judgement,
) -> dict[str, Any]:
    body = {
        "schema_version": 1,
        "kind": "contamination",
        "benchmark": {"specs": list(specs), "files": items.files, "fields": items.fields, "items": len(items.items)},
        "corpus": haystack.describe(),
        "options": dataclasses.asdict(options),
        "versions": versions(),
    }
    shown = {"judgement": dataclasses.asdict(judgement), "command": _command(body, judgement)}
    plan: dict[str, Any] = json.loads(strict_json(body | shown | {"identity": identity(body)}))
    return plan


def _command(plan: Mapping[str, Any], judgement: Judgement) -> str:
    """Return the command that repeats a run: the same for every share, order of flags and folder."""
    corpus, options = plan["corpus"], plan["options"]
    words = ["memaudit", "contamination", *plan["benchmark"]["specs"]]
    flags: list[tuple[str, object]] = [("corpus", spec) for spec in corpus["specs"]]
    flags += [("index", corpus["index"] and corpus["index"]["path"])]
    flags += [("field", name) for name in options["fields"]]
    flags += [("max-items", judgement.max_items), ("max-rate", judgement.max_rate), ("baseline", judgement.baseline)]
    flags += [("scores", path) for path in judgement.scores]
    defaults = dataclasses.asdict(ContaminationOptions())
    changed = {name: options[name] for name in ("text_field", "split", "max_expand") if options[name] != defaults[name]}
    flags += [(name.replace("_", "-"), value) for name, value in changed.items()]
    for flag, value in flags:
        words += [] if value is None else [f"--{flag}", str(value)]
    words += ["--skip-bad"] * options["skip_bad"] + ["--redact"] * judgement.redact
    return shlex.join(words)


def _common_plan(runs: Sequence[Path]) -> dict[str, Any]:
    """Return the plan of which every run did a share."""
    plans = [read_json(run / PLAN) for run in runs]
    for folder, plan in zip(runs, plans, strict=True):
        if plan.get("kind") != "contamination":
            raise RunError(f"{folder}: no contamination run", "only their shares can be merged")
        if (plan["identity"], plan["judgement"]) != (plans[0]["identity"], plans[0]["judgement"]):
            raise RunError(f"{folder}: another plan than {runs[0]}", "merge the shares of one command only")
    if not plans:
        raise InputError("no run to merge")
    return dict(plans[0])


def _scan_all(
    haystack: Haystack,
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
    mine = range(number - 1, len(haystack.units), shares)
    pending = [unit for unit in mine if unit not in run.records]
    _refuse_change(haystack, run)
    for done, (unit, record) in enumerate(_scanned(haystack, patterns, pending, processes), 1):
        run.append([{"index": unit, "scan": record}])
        if progress:
            progress(len(mine) - len(pending) + done, len(mine))


def _refuse_change(haystack: Haystack, run: RunDirectory) -> None:
    """Refuse to go on where a file is no longer what the first part of the run read."""
    for unit, record in run.records.items():
        files = record["scan"]["files"]
        if files and haystack.sha256(unit) not in (None, files[0]["sha256"]):
            problem = f"{haystack.units[unit]}: changed since this run read it"
            raise RunError(problem, f"choose another --out or delete {run.folder}")


def _scanned(
    haystack: Haystack, patterns: Patterns, units: Sequence[int], processes: int
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (unit, record of its scan) as they are finished: the order does not matter to any result."""
    if processes == 1 or len(units) < 2:
        for unit in units:
            yield unit, haystack.scan(unit, patterns).to_record()
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(haystack, patterns.needles)) as pool:
        futures = {pool.submit(_scan_unit, unit): unit for unit in units}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(haystack: Haystack, needles: Sequence[Needle]) -> None:
    """Give a worker process what it searches, and for what."""
    global _work
    _work = haystack, build_patterns(needles)


_work: tuple[Haystack, Patterns]


def _scan_unit(unit: int) -> dict[str, Any]:
    haystack, patterns = _work
    return haystack.scan(unit, patterns).to_record()


def _split(
    items: Benchmark, specs: Sequence[str], records: Sequence[ItemRecord], folder: Path, max_expand: int | None
) -> list[Path]:
    return write_clean_split(
        specs,
        {record.number for record in records if record.verdict == "contaminated"},
        folder,
        judged={record.number for record in records if record.verdict != "not judged"},
        files=items.files,
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
