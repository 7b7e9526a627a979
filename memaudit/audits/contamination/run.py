"""Which items of a benchmark occur in a corpus?

`contamination` reads top to bottom as the data flows: items -> patterns -> one pass over the corpus, a log
line a file -> document frequencies of all files -> matches, rules and verdict -> run directory. A run may
do its share of the files only (``shard``); `merge` joins such runs to the bytes of one that did them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from memaudit.audits.benchmark.items import Benchmark, benchmark_sources, read_benchmark
from memaudit.audits.benchmark.scores import read_scores
from memaudit.audits.contamination.baseline import read_baseline
from memaudit.audits.contamination.clean_split import split_targets, write_clean_split
from memaudit.audits.contamination.conclude import Judgement, conclude
from memaudit.audits.contamination.evidence import ItemRecord
from memaudit.audits.contamination.judgement import needles_of
from memaudit.audits.contamination.scan_log import check_scans, common_plan, refuse_change
from memaudit.audits.contamination.search_target import (
    CorpusOptions,
    SearchTarget,
    open_target,
    refuse_itself,
    refuse_nothing,
)
from memaudit.audits.lifecycle import Delivery, Question, carry_out, in_folder, refined
from memaudit.audits.result import RunResult, VerdictResult
from memaudit.engines.processes import Work, in_workers
from memaudit.errors import InputError, RunError
from memaudit.records import Shown
from memaudit.report.formats import writers
from memaudit.runs.contamination_report import ContaminationReport
from memaudit.runs.directory import ITEMS, RunDirectory, read_items
from memaudit.runs.files import compact_json, write_atomic
from memaudit.runs.inputs import reads_files
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.log_lines import ScanRecord
from memaudit.runs.options import ContaminationOptions as StoredOptions
from memaudit.runs.options import Judgement as StoredJudgement
from memaudit.runs.plans import ContaminationPlan, ContaminationSubject
from memaudit.runs.schema import as_record
from memaudit.text.corpus.objects import Listed, TextSource, listed, specs_of
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
class Contamination(VerdictResult[ContaminationReport]):
    """A finished search and the run directory it lies in."""

    items: list[ItemRecord] = field(default_factory=list)
    """One record per item, in the order of the benchmark."""


def contamination(
    benchmark: TextSource,
    corpus: TextSource = (),
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
        benchmark: Files of items, or objects whose rows are items.
        corpus: Specs of the corpus to stream, or objects that hold it; or else
        index: Folder of an index of it, or of several, which add up.
        out: Run directory; the same call resumes what is in it. By default ``runs/contamination-IDENTITY``.
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
    corpus = sorted(listed(corpus, "corpus"), key=str)  # the same command, in whatever order it was typed
    repeated = invocation or python_call("memaudit.contamination", contamination, locals())
    judged = judgement or Judgement()
    question = Search(
        Searched(
            listed(benchmark, "benchmark"),
            corpus,
            tuple(map(str, [index] if isinstance(index, str | Path) else index or ())),
        ),
        dataclasses.replace(options or ContaminationOptions(), **fields),
        judged,
        Share(*shard, processes),
        None if clean_split is None else Path(clean_split),
        progress,
    )
    return carry_out(question, Delivery(repeated, out, formats, Shown(not judged.redact, personal)))


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
    question = Merge(runs)
    return in_folder(question, question.stored, out, writers(formats, shown=question.shown), question.shown)


@dataclass(frozen=True, slots=True)
class Searched:
    """What is searched for, and where."""

    benchmark: Listed
    """Files of items, or objects that hold them."""
    corpus: Listed
    """What to stream; or else"""
    index: Sequence[str]
    """folders of indexes of it."""


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the files that a run does."""

    number: int = 1
    """From 1."""
    shares: int = 1
    """Every so many-th file."""
    processes: int = 1
    """Files scanned at the same time."""

    def of(self, units: int) -> range:
        """Return the units of this share.

        Raises:
            InputError: There is no such share.
        """
        if not 1 <= self.number <= self.shares:
            raise InputError(f"there is no share {self.number} of {self.shares}", "the first is 1/N, the last N/N")
        return range(self.number - 1, units, self.shares)


class _Judged(Question[Contamination, ContaminationReport]):
    """Scans of the items, joined and judged."""

    kind = "contamination"
    items: Benchmark
    patterns: Patterns
    judgement: Judgement

    def conclude(self, run: RunDirectory) -> ContaminationReport:
        """Join the scans of all logged units, and judge."""
        plan = run.plan_as(ContaminationPlan)
        logged: list[ScanRecord] = [run.records[index]["scan"] for index in sorted(run.records)]
        complete = len(logged) == len(plan["corpus"]["units"])
        if complete:
            refuse_nothing(plan["corpus"], [record["documents"] for record in logged])
        scan = Scan.joined(map(Scan.from_record, logged), self.patterns)
        report, self.records = conclude(
            plan, self.items, self.patterns, scan, complete=complete, judgement=self.judgement
        )
        return report

    def derive(self, run: RunDirectory, shown: Shown) -> None:  # noqa: ARG002 (a record of an item holds no text)
        """Write one line an item."""
        lines = (compact_json(dataclasses.asdict(record)) + b"\n" for record in self.records)
        write_atomic(run.folder / ITEMS, b"".join(lines))

    def notices(self) -> Iterator[str]:
        """Yield what was noticed about the benchmark."""
        yield self.items.notice

    def result(self, outcome: RunResult[ContaminationReport]) -> Contamination:
        """Return the outcome with one record an item."""
        return refined(outcome, Contamination, items=self.records)


class Search(_Judged):
    """The items of a benchmark, in the files of a corpus or of an index."""

    def __init__(
        self,
        searched: Searched,
        options: ContaminationOptions,
        judgement: Judgement,
        share: Share,
        clean_split: Path | None,
        progress: Progress | None,
    ) -> None:
        self.searched, self.options, self.judgement = searched, options, judgement
        self.share, self.clean_split, self.progress = share, clean_split, progress

    def prepare(self) -> None:
        """Read policy and items, open the corpus, and refuse what would be written over."""
        _read_judgement(self.judgement, self.options)
        self.target = open_target(self.searched.corpus, self.searched.index, self.options)
        refuse_itself(self.target, benchmark_sources(self.searched.benchmark))
        if self.clean_split is not None:
            split_targets(self.searched.benchmark, self.clean_split, _read_beside(self.target, self.judgement))
        self.items = _read_items(self.searched.benchmark, self.options)
        self.patterns = build_patterns(needles_of(self.items))

    def plan(self) -> ContaminationSubject:
        """Return items, corpus and options; the judgement is shown beside them."""
        items = self.items
        return {
            "benchmark": {
                "specs": specs_of(self.searched.benchmark),
                "files": items.files,
                "fields": items.fields,
                "items": len(items.items),
            },
            "corpus": self.target.describe(),
            "options": as_record(self.options, StoredOptions),
            "words": unit_of("word").version,
            "judgement": as_record(self.judgement, StoredJudgement),
        }

    def measure(self, run: RunDirectory) -> None:
        """Search the units of this share that are not in the log yet, and log each as it is done."""
        started = perf_counter()
        check_scans(run.records, len(self.target.units), self.patterns, run.folder)
        mine = self.share.of(len(self.target.units))
        pending = [unit for unit in mine if unit not in run.records]
        refuse_change(self.target, run)
        for unit, logged in run.records.items():
            self.target.note(unit, logged["scan"]["files"])
        with closing(_scanned(self.target, self.patterns, pending, self.share.processes)) as scanned:
            for done, (unit, record) in enumerate(scanned, 1):
                self.target.note(unit, record["files"])
                run.append([{"index": unit, "scan": record}])
                if self.progress:
                    self.progress(len(mine) - len(pending) + done, len(mine))
        run.times["scan"] = perf_counter() - started

    def write_beside(self) -> list[Path]:
        """Write the clean, the contaminated and the undecided items as files of their own, where that was asked for."""
        if self.clean_split is None:
            return []
        return write_clean_split(
            self.searched.benchmark,
            {record.number for record in self.records if record.verdict == "contaminated"},
            self.clean_split,
            clean={record.number for record in self.records if record.verdict == "clean"},
            files=self.items.files,
            kept=_read_beside(self.target, self.judgement),
            max_expand=self.options.max_expand,
        ).files


class Merge(_Judged):
    """Shares of one plan, joined."""

    def __init__(self, runs: Sequence[Path]) -> None:
        self.runs = runs
        self.stored = stored = common_plan(runs, ContaminationOptions)
        self.judgement = _judgement_of(stored["judgement"])
        self.shown = Shown(not self.judgement.redact)
        self.items = items = _read_items(stored["benchmark"]["specs"], _options_of(stored["options"]))
        if [file["sha256"] for file in items.files] != [file["sha256"] for file in stored["benchmark"]["files"]]:
            raise InputError(f"{items.files[0]['path']}: changed since the runs", "run them again")
        self.patterns = build_patterns(needles_of(items))

    def plan(self) -> ContaminationSubject:
        """Return the plan of which every run did a share."""
        return self.stored

    def measure(self, run: RunDirectory) -> None:
        """Take over what the shares logged; what two of them did must be the same."""
        units = self.stored["corpus"]["units"]
        check_scans(run.records, len(units), self.patterns, run.folder)
        for folder in self.runs:
            shares = read_items(folder)
            check_scans(shares, len(units), self.patterns, folder)
            twice = [unit for unit, share in shares.items() if run.records.get(unit, share) != share]
            if twice:
                raise RunError(f"{folder}: read another {units[twice[0]][0]} than the shares before it", "run it again")
            run.append([shares[index] for index in sorted(shares)])


def _judgement_of(stored: StoredJudgement) -> Judgement:
    return Judgement(
        stored["max_items"], stored["max_rate"], stored["baseline"], tuple(stored["scores"]), stored["redact"]
    )


def _options_of(stored: StoredOptions) -> ContaminationOptions:
    return ContaminationOptions(
        text_field=stored["text_field"],
        split=stored["split"],
        skip_bad=stored["skip_bad"],
        max_expand=stored["max_expand"],
        fields=tuple(stored["fields"]),
        id_field=stored["id_field"],
    )


def _read_judgement(judgement: Judgement, options: ContaminationOptions) -> None:
    """Read what findings are judged by, so that a wrong file is named before a long search and not after it."""
    if judgement.baseline is not None:
        read_baseline(judgement.baseline)
    for path in judgement.scores:
        read_scores(path, options.id_field)


def _read_beside(target: SearchTarget, judgement: Judgement) -> list[str]:
    """Return the files that are read beside the benchmark: nothing may be written over them."""
    return [*target.files(), *judgement.scores, *([judgement.baseline] if judgement.baseline else [])]


def _read_items(specs: Listed, options: ContaminationOptions) -> Benchmark:
    return read_benchmark(
        specs,
        options.fields or None,
        id_field=options.id_field,
        skip_bad=options.skip_bad,
        max_expand=options.max_expand,
    )


def _scanned(
    target: SearchTarget, patterns: Patterns, units: Sequence[int], processes: int
) -> Generator[tuple[int, ScanRecord]]:
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
