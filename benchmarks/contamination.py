"""The contamination gate on a planted fixture: is it right, is it fast, and what do others do on the same files?

``--peers DIR`` makes an environment for each tool of others in ``DIR`` with pip; one that exists can be named by
``MEMAUDIT_PEER_JANITOR=/path/to/python`` and so on. Some need Python 3.12: it is looked for on the path, with pyenv
and with uv, or named by ``MEMAUDIT_PEER_PYTHON``. What has none is left out, and why is said. All times are CPU
seconds; each tool runs in a process of its own. Peers run on the slice of the corpus: those that are asked document
by document as far as they come in the time given, those that read files themselves on all of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path
from typing import Any

from common import Report
from contamination_batch import TOOLS as WHOLE
from contamination_batch import rows
from contamination_environments import PEERS, UnavailableError, interpreter
from planted import ABSENT, BOILERPLATE, Plan, words_of

HERE = Path(__file__).parent
GOALS = {"janitor": 65, "datatrove": 300, "python-set": 15, "ahocorasick": 9}
VERDICTS = {0, 1, 3}
"""Exit codes of a gate that came to a verdict."""
RULE_DOCUMENTS = 5000
RUNS = 3


@dataclass(frozen=True, slots=True)
class Done:
    """A child process that has ended."""

    exit_code: int
    seconds: float
    """CPU time, of all its threads and children."""
    megabytes: float
    """Largest resident memory."""
    output: str


def run(command: list[str], codes: Container[int] = VERDICTS, **environment: str) -> Done:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output, tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen(command, stdout=output, stderr=errors, env=os.environ | environment)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode not in codes:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)}: exit code {child.returncode}\n{errors.read()}")
        output.seek(0)
        return Done(child.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000, output.read())


class Gate:
    """``memaudit contamination`` in a process of its own."""

    def __init__(self, fixture: Path, work: Path) -> None:
        self._fixture = fixture
        self._work = work
        self._runs = 0
        self._kernels = tempfile.mkdtemp(prefix="kernels-", dir=work)

    def __call__(self, benchmark: str, corpus: str) -> tuple[Done, dict[str, Any]]:
        self._runs += 1
        folder = self._work / f"run-{os.getpid()}-{self._runs}"
        files = [str(self._fixture / benchmark), "--corpus", str(self._fixture / corpus), "--out", str(folder)]
        command = [sys.executable, "-m", "memaudit", "contamination", *files, "--format", "html,junit"]
        done = run(command, NUMBA_CACHE_DIR=self._kernels)
        assert (folder / "report.html").is_file() and (folder / "junit.xml").is_file()
        return done, json.loads((folder / "report.json").read_text(encoding="utf-8"))


def found(report: dict[str, Any]) -> set[int]:
    """Return the numbers of the items that the gate calls contaminated."""
    return {finding["number"] for finding in report["findings"]}


def documents_named(report: dict[str, Any]) -> set[tuple[int, int]]:
    """Return the pairs of item and line of the corpus that are called copies in the evidence."""
    return {
        (finding["number"], line_of(evidence["source"]))
        for finding in report["findings"]
        for evidence in finding["evidence"]
    }


def head(source: Path, target: Path, megabytes: float) -> None:
    with source.open("rb") as lines:
        taken, size = [], 0
        for line in lines:
            taken.append(line)
            size += len(line)
            if size >= megabytes * 1e6:
                break
    target.write_bytes(b"".join(taken))


def measure_command(table: Report, gate: Gate, fixture: Path) -> dict[str, Any]:
    """Cold start to HTML, JUnit and exit code: time and memory; returns the report on the whole corpus."""
    megabytes = (fixture / "corpus.jsonl").stat().st_size / 1e6
    first, _ = gate("benchmark.jsonl", "slice.jsonl")
    times, peaks = [], []
    for _ in range(RUNS):
        done, report = gate("benchmark.jsonl", "corpus.jsonl")
        times.append(done.seconds)
        peaks.append(done.megabytes)
    head(fixture / "corpus.jsonl", fixture / "third.jsonl", megabytes / 3)
    third, _ = gate("benchmark.jsonl", "third.jsonl")
    corpus = f"{len(rows(fixture / 'benchmark.jsonl')):,} items against {megabytes:.0f} MB"
    note = f"best of {RUNS}; exit code {done.exit_code}"
    table.add(f"command, {corpus} of JSONL to HTML + JUnit", min(times), unit="CPU s", goal=4, at_most=True, note=note)
    table.add("command, first run ever, on the slice: compiles its kernels", first.seconds, unit="CPU s")
    table.add(f"memory, {corpus}", max(peaks), unit="MB", goal=300, at_most=True)
    table.add("memory, whole corpus to a third of it", max(peaks) / third.megabytes, goal=1.1, at_most=True)
    return report


def measure_scan(table: Report, fixture: Path) -> float:
    """Speed of the scan without and with reading the file; returns the first in MB/s of text."""
    from memaudit.text.corpus.specs import parse_spec
    from memaudit.text.scan.batch import BatchReader
    from memaudit.text.scan.patterns import Needle, build_patterns
    from memaudit.text.scan.stream import _Scanner, scan_source

    items = [row["text"] for row in rows(fixture / "benchmark.jsonl")]
    patterns = build_patterns([Needle(number, "text", text) for number, text in enumerate(items)])
    (source,) = parse_spec(str(fixture / "corpus.jsonl")).sources
    batches = [(batch.data.copy(), batch.offsets.copy()) for batch in BatchReader(source, "file")]

    def scan_batches() -> None:
        scanner = _Scanner(patterns)
        for data, offsets in batches:
            scanner.read(data, offsets, lambda i, d=data, o=offsets: d[o[i] : o[i + 1]].tobytes().decode(), str)
        scanner.result()

    scan = sum(len(data) for data, _ in batches) / 1e6 / best(scan_batches)
    note = "text in memory to counts and candidates"
    table.add("scan, normalised with full Unicode folding", scan, unit="MB/s", goal=400, note=note)
    whole = (fixture / "corpus.jsonl").stat().st_size / 1e6 / best(lambda: scan_source(source, patterns))
    table.add("JSONL file to hits", whole, unit="MB/s", goal=200, note="SHA-256 of the file included")
    return scan


def best(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(RUNS):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def by_class(hits: set[int], truth: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Return for every class how many of its items were found, and how many there are."""
    sizes = Counter(row["class"] for row in truth)
    counts = Counter(row["class"] for row in truth if row["id"] in hits)
    return {name: (counts[name], size) for name, size in sizes.items()}


def measure_recall(table: Report, report: dict[str, Any], fixture: Path, where: str) -> None:
    """Share of the items of every class that is found; share of absent items and of other documents that is flagged."""
    extra = where == "extra"
    truth = rows(fixture / ("extra-truth.jsonl" if extra else "truth.jsonl"))
    whole = where == "corpus"
    for name, (hits, size) in sorted(by_class(found(report), truth).items()):
        absent = name.startswith(ABSENT)
        goal = 0.01 if absent else 0.99 if name == "edited" else 1.0
        table.add(
            f"{where}: {name} items {'flagged' if absent else 'found'}",
            hits / size,
            unit="of all",
            goal=None if absent and whole else goal,
            at_most=absent,
            note=f"{hits} of {size}" + near_copies(report, truth) * absent,
        )
    planted = {line_of(row["document"]): row["id"] for row in truth if row["document"]}
    wrong = {line for item, line in documents_named(report) if planted.get(line) != item}
    others = report["corpus"]["documents"] - len(planted)
    goal = None if extra else 0.0005
    note = f"{len(wrong)} of {others}, among the documents that the report shows for each item"
    table.add(
        f"{where}: unplanted documents flagged", len(wrong) / others, unit="of all", goal=goal, at_most=True, note=note
    )


def near_copies(report: dict[str, Any], truth: list[dict[str, Any]]) -> str:
    """Say how much of the absent items that were flagged stands in the passages shown, by a measure of its own."""
    absent = {row["id"] for row in truth if row["class"].startswith(ABSENT)}
    shares = []
    for finding in report["findings"]:
        if finding["number"] in absent:
            evidence = finding["evidence"][0]
            item, passage = (
                words_of("".join(text for text, _ in evidence[f"{side}_pieces"])) for side in ("item", "corpus")
            )
            blocks = SequenceMatcher(None, item, passage, autojunk=False).get_matching_blocks()
            shares.append(sum(block.size for block in blocks) / len(item))
    listed = ", ".join(f"{share:.0%}" for share in sorted(shares))
    return f"; share of their words that stands in one passage, in order: {listed}" if shares else ""


def line_of(place: str) -> int:
    return int(place.rsplit(":", 1)[1])


def measure_boilerplate(table: Report, gate: Gate, plain: dict[str, Any]) -> None:
    _, changed = gate("boilerplate-benchmark.jsonl", "boilerplate-corpus.jsonl")
    moved = found(plain) ^ found(changed)
    what = f"boilerplate of {len(BOILERPLATE.split())} words in half of the documents: verdicts that move"
    table.add(what, len(moved), unit="items", goal=0, at_most=True, note=" ".join(map(str, sorted(moved)[:10])))


def measure_rules(table: Report, fixture: Path) -> None:
    """Every published rule against the oracle that was written from the papers, on real documents and all items."""
    from memaudit.text.scan.patterns import Needle, build_patterns
    from memaudit.text.scan.rules import RULES
    from memaudit.text.scan.stream import scan_texts

    sys.path.append(str(HERE.parent))
    from tests.text.scan.papers import Documents, by_the_papers

    texts = [row["text"] for row in islice(read(fixture / "slice.jsonl"), RULE_DOCUMENTS)]
    items = [row["text"] for row in rows(fixture / "benchmark.jsonl")]
    needles = [Needle(number, "text", text) for number, text in enumerate(items)]
    patterns = build_patterns(needles)
    scan = scan_texts(texts, patterns, [f"corpus:{number}" for number in range(1, len(texts) + 1)])
    expected = by_the_papers(Documents(texts), needles, patterns)
    truth = rows(fixture / "truth.jsonl")
    for name, rule in RULES.items():
        ours = [rule.verdict(patterns, scan, k)[0] for k in range(len(items))]
        same = sum(a is b for a, (b, _) in zip(ours, expected[name], strict=True))
        counts = by_class({k for k, fired in enumerate(ours, 1) if fired}, truth)
        note = ", ".join(f"{kind} {hits}/{size}" for kind, (hits, size) in sorted(counts.items()))
        what = f"rule {name}: as the papers say on {len(texts):,} documents"
        table.add(what, same / len(items), unit="of items", goal=1.0, note=f"fires: {note}")


def read(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def measure_peer(table: Report, name: str, python: str, fixture: Path, seconds: float, ours: float) -> None:
    files = [str(fixture / "slice.jsonl"), str(fixture / "benchmark.jsonl")]
    if name in WHOLE:
        done = run([python, str(HERE / "contamination_batch.py"), name, *files], codes={0})
    else:
        timed = [*files, "--seconds", str(seconds)]
        done = run([python, str(HERE / "contamination_peers.py"), name, *timed], codes={0})
    peer = json.loads(done.output.splitlines()[-1])
    speed = peer["bytes"] / 1e6 / peer["seconds"]
    whole = (fixture / "corpus.jsonl").stat().st_size / 1e6
    fixed = peer["setup"] if name in WHOLE else done.seconds - peer["seconds"]
    note = f"on {peer['bytes'] / 1e6:.1f} MB; {fixed + whole / speed:.0f} CPU s for {whole:.0f} MB, extrapolated"
    if name in WHOLE:
        note = f"{peer['version']}, {note}; {peer['whole']:.1f} for the slice, {fixed:.1f} of them start and index"
    table.add(f"{name}: scan", speed, unit="MB/s", note=note)
    table.add(f"{name}: our scan is faster by", ours / speed, goal=GOALS.get(name))
    truth = rows(fixture / "truth.jsonl")
    lines = {row["id"]: line_of(row["document"]) for row in truth if row["document"]}
    reached = [row for row in truth if lines.get(row["id"], 0) <= peer["documents"]]
    flagged = set(peer["flagged"])
    by_item = peer["level"] == "item"
    hits = set(peer["items"]) if by_item else {item for item, line in lines.items() if line in flagged}
    counts = by_class(hits, [row for row in reached if by_item or row["document"]])
    note = ", ".join(f"{kind} {hit}/{size}" for kind, (hit, size) in sorted(counts.items()))
    planted = sum(hit for kind, (hit, _) in counts.items() if kind != ABSENT)
    total = sum(size for kind, (_, size) in counts.items() if kind != ABSENT)
    what = f"{name}: {'items' if by_item else 'documents with an item'} found"
    table.add(what, planted / total, unit="of planted", note=note)
    unplanted = peer["documents"] - sum(line <= peer["documents"] for line in lines.values())
    false = len(flagged - set(lines.values()))
    table.add(f"{name}: unplanted documents flagged", false / unplanted, unit="of all", note=f"{false} of {unplanted}")


def measure_peers(table: Report, names: list[str], options: argparse.Namespace, fixture: Path, ours: float) -> None:
    for name in names:
        try:
            python = interpreter(name, options.peers)
        except UnavailableError as reason:
            print(f"{name}: left out, {reason}")
        else:
            measure_peer(table, name, python, fixture, options.peer_seconds, ours)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the contamination gate on a planted fixture.")
    parser.add_argument("--work", type=Path, help="folder for the fixture, kept and used again")
    parser.add_argument("--peers", type=Path, help="folder for the environments of peers, made with pip")
    parser.add_argument("--peer-seconds", type=float, default=30, help="CPU time for each peer that can be stopped")
    only = "measure only this peer, beside our scan, and keep no results; can be given again"
    parser.add_argument("--only", action="append", choices=PEERS, help=only)
    parser.add_argument("--text", action="append", default=[], metavar="GLOB", help="files to make the fixture of")
    parser.add_argument("--seed", type=int, default=Plan().seed)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        fixture = (options.work or Path(temporary)).resolve() / f"planted-{options.seed}"
        # In a process of its own: the largest memory of a child counts that of the parent which started it.
        make = [sys.executable, str(HERE / "planted.py"), "--out", str(fixture), "--seed", str(options.seed)]
        run([*make, *(word for pattern in options.text for word in ("--text", pattern))])
        table = Report("contamination")
        if options.only:
            measure_peers(table, options.only, options, fixture, measure_scan(table, fixture))
            return
        gate = Gate(fixture, Path(temporary))
        report = measure_command(table, gate, fixture)
        ours = measure_scan(table, fixture)
        _, plain = gate("benchmark.jsonl", "slice.jsonl")
        _, extra = gate("extra-benchmark.jsonl", "extra-corpus.jsonl")
        for where, judged in (("slice", plain), ("corpus", report), ("extra", extra)):
            measure_recall(table, judged, fixture, where)
        measure_boilerplate(table, gate, plain)
        measure_rules(table, fixture)
        measure_peers(table, list(PEERS), options, fixture, ours)
        table.finish()


if __name__ == "__main__":
    main()
