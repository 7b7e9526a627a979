"""The run directory: a plan, an append-only log of finished items, and what is derived from them.

``plan.json`` says what is to be done and on what; ``items.log`` is the only place where results are
born; everything else can be written again from the two. A run may be killed at any byte and resumes
with the same command: nothing is lost, nothing is counted twice, and the derived files come out with
the same bytes.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from time import gmtime, perf_counter, strftime
from types import TracebackType
from typing import Any, Generic, TypedDict, TypeVar, cast

from memaudit.errors import RunError
from memaudit.records import SHOWN, Shown, WindowRecord
from memaudit.runs.files import LOG, PLAN, compact_json, read_json, strict_json, sync_folder, write_atomic, write_error
from memaudit.runs.inputs import current
from memaudit.runs.log import Log, foreign, line_of
from memaudit.runs.parts import SchemaVersion
from memaudit.runs.plan_changes import another_server, differing, same_models
from memaudit.runs.provenance import machine
from memaudit.runs.reports import REPORTS, AnyReport
from memaudit.runs.schema import misfit

REPORT, TIMES, LOCK = "report.json", "times.json", "run.lock"
ANSWERS = "answers.log"
"""What servers answered, of models behind an address: it may hold texts, as the log does, and is not asked again."""
PARQUET = "records.parquet"
ITEMS = "items.jsonl"
_SHOWN = ("command", "set_elsewhere", "judgement")
"""How the run was asked for last, and what its measurements are judged by: a report shows these."""
_NOT_IDENTITY = ("identity", "controls", *_SHOWN)
"""What is shown, follows from the rest, or only judges what was measured: a new policy needs no new run."""
_NOT_OF_MODEL = ("placement", "frame_text", "omitted")
"""What is shown of a model and follows from the rest, or from where it was loaded."""
Block = TypeVar("Block", bound=Sequence[int])
Plan = TypeVar("Plan")
Report = TypeVar("Report", bound=Mapping[str, Any], covariant=True)
"""What report.json of a kind holds: a TypedDict, ours in `memaudit.runs.reports`."""


class _Planned(TypedDict):
    identity: str


class _Complete(TypedDict):
    complete: bool


class _Times(TypedDict):
    sessions: list[Any]


def identity(plan: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a plan is about: all of it but how it was asked for, its controls and policy.

    The same flags in another order ask for the same run, controls follow from model and text, and the same
    measurements may be judged by another policy. Of the versions, the digest of the code is left out: a run continues
    after a change of a comment or a style sheet, and ``times.json`` says which code each session had. So is where the
    parts of a model lie: another session may have more memory. How the tokens around a text are written follows from
    their ids and the tokenizer.
    """
    body = {key: value for key, value in plan.items() if key not in _NOT_IDENTITY}
    if isinstance(body.get("model"), Mapping):
        body["model"] = {k: value for k, value in body["model"].items() if k not in _NOT_OF_MODEL}
    if isinstance(body.get("versions"), Mapping):
        body["versions"] = {name: version for name, version in body["versions"].items() if name != "code"}
    return hashlib.sha256(compact_json(body)).hexdigest()


def run_folder(out: str | Path | None, kind: str, plan: Mapping[str, Any]) -> Path:
    """Return where a run goes: the given folder, or ``runs/KIND-IDENTITY``: the same command finds it again."""
    return Path(out) if out else Path("runs") / f"{kind}-{plan['identity'][:12]}"


class RunDirectory:
    """One run on disk, held by one process; use it as a context manager.

    Attributes:
        folder: Where it lies.
        plan: The plan as it stands in ``plan.json``, with its ``identity``.
        records: What was done so far: index of the item -> its record, read from the log when it is asked for.
        notice: What the user should know; at first about how the log was found, and empty as a rule.
        times: Seconds per stage, to be filled in by the caller; they go to ``times.json``.
    """

    def __init__(self, folder: Path, plan: dict[str, Any], lock: int) -> None:
        self.folder = folder
        self.plan = plan
        self.times: dict[str, float] = {}
        self._lock = lock
        self._inputs = current()
        self._started = perf_counter(), strftime("%Y-%m-%dT%H:%M:%SZ", gmtime())
        path = folder / LOG
        self._log = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self.records = Log(path)
            os.ftruncate(self._log, self.records.whole)
            os.lseek(self._log, 0, os.SEEK_END)
            sync_folder(folder)
        except BaseException:
            os.close(self._log)
            raise
        self.notice = self.records.notice
        self._found = len(self.records)

    @staticmethod
    def open(folder: Path, plan: Mapping[str, Any]) -> RunDirectory:
        """Start the run of ``plan`` in ``folder``, or resume it.

        Args:
            folder: Created when absent.
            plan: Strict JSON values; ``identity`` is computed when absent.

        Raises:
            RunError: If another process holds the folder, if it belongs to another plan, or if its log is
                damaged before its last line.
        """
        wanted = {**plan, "identity": plan.get("identity") or identity(plan)}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot create {folder}: {error.strerror}", "choose another --out") from error
        started = (folder / PLAN).exists() or (folder / LOG).exists()
        if not started and any(not _ours(path.name) for path in folder.iterdir()):
            raise RunError(f"{folder}: holds other files", "choose another --out: a run has a folder of its own")
        lock = _take_lock(folder)
        try:
            settled = _settle_plan(folder, wanted)
            for name in (PLAN, REPORT, TIMES, PARQUET, ITEMS):
                for leftover in folder.glob(f".{name}.*.tmp"):
                    leftover.unlink()
            return RunDirectory(folder, settled, lock)
        except BaseException:
            os.close(lock)
            raise

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def plan_as(self, kind: type[Plan]) -> Plan:
        """Return the plan as the type that says what it holds (`memaudit.runs.plans`).

        Raises:
            RunError: It is of another kind or version.
        """
        if problem := misfit(self.plan, kind, "the plan"):
            raise foreign(self.folder / PLAN, problem)
        return cast("Plan", self.plan)

    def pending(self, blocks: Sequence[Block]) -> list[Block]:
        """Return the blocks of which an item is missing; a block is always done again as a whole.

        So that a resumed run forms the same floating-point sums as an undisturbed one.
        """
        return [block for block in blocks if any(index not in self.records for index in block)]

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add finished items to the log with one write and wait until they are on the disk.

        Items that the log already holds (of a block that was cut off) keep their first record.

        Args:
            records: Strict JSON values, each with an integer ``index``.

        Raises:
            RunError: If they cannot be written; the log then ends where it ended before.
            InputError: If a file that is read on has changed: what was measured of it is not logged.
            ValueError: For NaN and infinities.
        """
        self._inputs.check_stamps(live=True)
        lines = {record["index"]: line_of(record) for record in records if record["index"] not in self.records}
        together = b"".join(lines.values())
        try:
            written = os.write(self._log, together)
            if written < len(together):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._log)
        except OSError as error:
            os.ftruncate(self._log, self.records.whole)
            os.lseek(self._log, self.records.whole, os.SEEK_SET)
            raise write_error(LOG, error) from error
        for index, line in lines.items():
            self.records.add(index, len(line))

    def finish(self, report: Mapping[str, Any]) -> None:
        """Write ``report.json``, atomically and byte-stable; what else is derived must stand there already.

        Raises:
            InputError: If a file is no longer what this run read: there is no report about another.
        """
        self._inputs.check()
        write_atomic(self.folder / REPORT, strict_json(report))

    def close(self) -> None:
        """Note the wall time of this session in ``times.json`` and let the folder go."""
        if self._lock < 0:
            return
        try:
            # Times are a courtesy: where they cannot be written, the run does not fail over them.
            with suppress(RunError):
                self._write_times()
        finally:
            self.records.close()
            os.close(self._log)
            os.close(self._lock)
            self._lock = -1

    def _write_times(self) -> None:
        path = self.folder / TIMES
        stored: Any = read_json(path) if path.exists() else None
        sessions = [] if misfit(stored, _Times, TIMES) else stored["sessions"]
        began, started = self._started
        session = {
            "started": started,
            "seconds": perf_counter() - began,
            "items": len(self.records) - self._found,
            "stages": self.times,
            "machine": machine(),
        }
        write_atomic(path, strict_json({"sessions": [*sessions, session]}))


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it was found on disk: all that a report is made of."""

    plan: dict[str, Any]
    records: list[WindowRecord]
    """In the order of the plan; of an audit of whole works, those that are shown."""
    measured: list[dict[str, Any]]
    """What further measures logged, in the order of the plan; each names its ``measure``."""
    report: dict[str, Any] | None
    """None if the run was stopped before it wrote one."""
    complete: bool
    """Whether a report was written over all items of the plan."""


def read_run(folder: Path) -> StoredRun:
    """Return what a run directory holds, without locking or changing it.

    Raises:
        RunError: If there is no plan, or if a file is damaged or was not written by this version.
    """
    plan = read_plan(folder)
    report = read_json(folder / REPORT) if (folder / REPORT).exists() else None
    if problem := misfit(report, _Complete | None, "the report"):
        raise foreign(folder / REPORT, problem)
    windows = plan.get("kind", "extraction") in ("extraction", "work")
    records: list[WindowRecord] = []
    measured: list[dict[str, Any]] = []
    for line in _lines(folder) if windows else ():
        if "measure" in line:
            measured.append(line)
        else:
            records.append(_window_record(folder, line))
    return StoredRun(plan, records, measured, report, report is not None and report["complete"])


def _window_record(folder: Path, line: Mapping[str, Any]) -> WindowRecord:
    index = line["index"]
    problem = misfit(line, WindowRecord, f"record {index}")
    if problem or line.keys() - {field.name for field in fields(WindowRecord)}:
        raise foreign(folder / LOG, problem or f"record {index} is of another version of memaudit")
    return WindowRecord.of_line(line)


def read_plan(folder: Path) -> dict[str, Any]:
    """Return the plan of a run directory.

    Raises:
        RunError: If there is none, or if it is not as memaudit wrote it.
    """
    path = folder / PLAN
    plan = read_json(path)
    if problem := misfit(plan, _Planned, "the plan"):
        raise foreign(path, problem)
    if problem := misfit(plan.get("schema_version", 1), SchemaVersion, "schema_version"):
        raise foreign(path, problem)
    if identity(plan) != plan["identity"]:
        raise foreign(path, "the plan was changed")
    return dict(plan)


def read_items(folder: Path) -> dict[int, dict[str, Any]]:
    """Return the finished items of a run directory by their index, without locking or changing it.

    Raises:
        RunError: If the log is damaged.
    """
    return {line["index"]: line for line in _lines(folder)}


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of the log, if there is one, in the order of the plan."""
    if (folder / LOG).exists():
        with closing(Log(folder / LOG)) as log:
            yield from (log[index] for index in sorted(log))


@dataclass(frozen=True, slots=True)
class ReportInput(Generic[Report]):
    """A run that came to a report: what report.json holds, and one record a window."""

    report: Report
    records: Sequence[WindowRecord]
    measured: Sequence[Mapping[str, Any]] = ()
    """What further measures logged."""
    shown: Shown = SHOWN


def read_finished(folder: Path) -> ReportInput[Any]:
    """Return report and records of a run.

    Raises:
        RunError: If there is no plan, if a file is damaged, or if the run never came to a report.
    """
    run = read_run(folder)
    if run.report is None:
        command = f"{run.plan.get('command', 'memaudit audit')} --out {shlex.quote(str(folder))}"
        raise RunError(f"{folder} has no report yet", f"resume with: {command}")
    kind = run.plan.get("kind", "extraction")
    problem = misfit(run.report, REPORTS.get(kind, AnyReport), "the report")
    if not problem and run.report["kind"] != kind:
        problem = f"the report.kind is not {kind}"
    if problem:
        raise foreign(folder / REPORT, problem)
    return ReportInput(run.report, run.records, run.measured)


def _ours(name: str) -> bool:
    """Whether a file may stand in a folder whose plan was not written yet."""
    return name == LOCK or (name.startswith(f".{PLAN}.") and name.endswith(".tmp"))


def _take_lock(folder: Path) -> int:
    """Return the descriptor that holds the folder; the kernel lets go of it when the process dies."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(lock, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise RunError(
            f"run directory in use by pid {holder}: {folder}", "wait for it or choose another --out"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _settle_plan(folder: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the plan on disk after comparing it with the wanted one; write the latter if there is none."""
    path = folder / PLAN
    if not path.exists():
        if (folder / LOG).exists():
            raise RunError(f"{folder} has {LOG} but no {PLAN}", "choose another --out or delete it")
        write_atomic(path, strict_json(wanted))
        return wanted
    stored = read_plan(folder)
    other = stored["identity"] != wanted["identity"]
    told = another_server(stored, wanted, _NOT_IDENTITY) if other else ""
    # What a server answered was paid for: it is not thrown away because another one answers today.
    paid = bool(told) and (folder / ANSWERS).exists()
    if other and not paid and _gives_way(folder, stored, wanted):
        if not same_models(stored, wanted):
            for kept in (folder / ANSWERS, *folder.glob(f"*/{ANSWERS}")):
                kept.unlink(missing_ok=True)  # which another model gave
        write_atomic(path, strict_json(wanted))
        return wanted
    if other:
        names = sorted(set(differing(stored, wanted, _NOT_IDENTITY)))[:4] or ["identity"]
        which = ", ".join(f"{name} differs" for name in names)
        if told:
            raise RunError(told, f"choose another --out to audit the model as it is now, or delete {folder}")
        raise RunError(f"run belongs to another plan: {which}", f"choose another --out or delete {folder}")
    shown = {name: wanted[name] for name in _SHOWN if name in wanted}
    settled = {name: value for name, value in stored.items() if name not in _SHOWN} | shown
    if settled != stored:
        write_atomic(path, strict_json(settled))
    return settled


def _gives_way(folder: Path, stored: dict[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a plan can take the place of another because nothing that was finished is touched by what differs.

    A run that stopped at bad input resumes once that is fixed: nothing was finished, or the plans differ in files of
    the corpus alone that were not read to their end.
    """
    if (folder / REPORT).exists():
        return False
    done = [line["index"] for line in _lines(folder)]
    if not done:
        return True
    corpus, units = stored.get("corpus"), (wanted.get("corpus") or {}).get("units")
    if not isinstance(corpus, dict) or not isinstance(units, list) or len(corpus.get("units", ())) != len(units):
        return False
    mended = identity({**stored, "corpus": {**corpus, "units": units}}) == wanted["identity"]
    return mended and all(index < len(units) and corpus["units"][index] == units[index] for index in done)
