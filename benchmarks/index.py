"""Suffix arrays and their queries on the text that a Python installation holds, against pydivsufsort and infini-gram.

One core, CPU seconds; symbols are word ids by first appearance, 0 after each document. infini-gram sorts in
processes of its own: name an interpreter that has it in MEMAUDIT_PEER_INFINI_GRAM, or its rows are left out.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common import Report, cpu_seconds
from numpy.typing import NDArray

from memaudit.text.index.search import find, first_ranges, longest_matches
from memaudit.text.index.suffix import lcp_array, suffix_array

Int32Array = NDArray[np.int32]
SIZES = (3_000_000, 20_000_000)
HARD_SIZE = 5_000_000
BRUTE_SIZE, BRUTE_CHECKS = 200_000, 50_000
PATTERN, PATTERNS, PASSAGE = 13, 100_000, 200
PEER = "MEMAUDIT_PEER_INFINI_GRAM"

MEASURE_MEMORY = """
import sys
import numpy as np
ours = sys.argv[2] == "memaudit"
if ours:
    from memaudit.text.index.suffix import suffix_array as build
else:
    from pydivsufsort import divsufsort as build
kind = np.int32 if ours else np.uint32
def kilobytes(name):
    return int(open("/proc/self/status").read().split(name + ":")[1].split()[0])
build(np.array([2, 1, 2, 1, 3], kind))
before = kilobytes("VmRSS")
symbols = np.load(sys.argv[1])
build(symbols.view(kind))
print((kilobytes("VmHWM") - before) * 1024 / len(symbols))
"""


class Index(NamedTuple):
    symbols: Int32Array
    suffixes: Int32Array
    buckets: NDArray[np.int64]


def main() -> None:
    report = Report("index")
    corpus = word_ids(SIZES[-1])
    sizes = sorted({min(size, len(corpus)) for size in SIZES})
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            build_rates(report, corpus[:size])
            memory(report, corpus[:size], Path(folder))
        for size in sizes:
            infini_gram(report, corpus[:size], Path(folder) / str(size))
    hard_inputs(report, corpus)
    for size in sizes:
        queries(report, index_of(corpus[:size]))
    brute_force(report, corpus[:BRUTE_SIZE])
    report.finish()


def word_ids(count: int) -> Int32Array:
    """Return the words of sources and documents that Python and its packages come with, files in random order."""
    kinds = {".py", ".pyi", ".md", ".rst", ".txt", ".html", ".h"}
    roots = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}
    files = sorted({f for root in roots for f in root.rglob("*") if f.suffix in kinds and f.is_file()})
    random.Random(1).shuffle(files)
    ids: dict[str, int] = {}
    parts: list[Int32Array] = []
    total = 0
    for file in files:
        if not 200 < file.stat().st_size < 2_000_000:
            continue
        text = file.read_text(encoding="utf-8", errors="replace").lower()
        parts.append(np.array([ids.setdefault(w, len(ids) + 1) for w in re.findall(r"[^\W_]+", text)] + [0], np.int32))
        total += len(parts[-1])
        if total >= count:
            break
    return np.concatenate(parts)[:count]


def index_of(symbols: Int32Array) -> Index:
    suffixes = suffix_array(symbols)
    return Index(symbols, suffixes, first_ranges(symbols, suffixes, int(symbols.max()) + 1))


def build_rates(report: Report, symbols: Int32Array) -> None:
    import pydivsufsort

    name = f"{len(symbols) / 1e6:.0f}M words"
    alphabet = f"{int(symbols.max()):,} different"
    ours = rate(lambda: suffix_array(symbols), symbols)
    report.add(f"suffix array, {name}", ours, unit="Msymbol/s", goal=8, note=alphabet)
    suffixes = suffix_array(symbols)
    report.add(f"common prefixes, {name}", rate(lambda: lcp_array(symbols, suffixes), symbols), unit="Msymbol/s")
    theirs, expected = timed(lambda: pydivsufsort.divsufsort(symbols.view(np.uint32)))
    same = np.array_equal(suffixes, expected)
    note = f"pydivsufsort {len(symbols) / theirs / 1e6:.2f} Msymbol/s; the same array: {same}"
    report.add(f"suffix array against pydivsufsort, {name}", ours * theirs * 1e6 / len(symbols), goal=1.5, note=note)


def memory(report: Report, symbols: Int32Array, folder: Path) -> None:
    """Add the peak of resident memory, with the input, over what the process had before."""
    if not Path("/proc/self/status").exists():
        print("memory: left out, needs /proc")
        return
    np.save(folder / "symbols.npy", symbols)
    for builder, goal in (("memaudit", 16), ("pydivsufsort", None)):
        command = [sys.executable, "-c", MEASURE_MEMORY, str(folder / "symbols.npy"), builder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        what = f"peak memory, {len(symbols) / 1e6:.0f}M words, {builder}"
        report.add(what, float(done.stdout), unit="B/symbol", goal=goal, at_most=True)


def infini_gram(report: Report, symbols: Int32Array, folder: Path) -> None:
    """Compare with infini-gram on ids of 16 bits: it wants tens of gigabytes for a wider alphabet."""
    interpreter = os.environ.get(PEER)
    if not interpreter:
        print(f"infini-gram: left out, {PEER} names no interpreter")
        return
    folder.mkdir()
    index = index_of(np.minimum(symbols, 65_000))
    starts = np.random.default_rng(3).integers(0, len(symbols) - PATTERN, 1000)
    patterns = index.symbols[starts[:, None] + np.arange(PATTERN)]
    patterns = patterns[(patterns > 0).all(axis=1)]
    np.save(folder / "symbols.npy", index.symbols)
    np.save(folder / "patterns.npy", patterns)
    script = Path(__file__).with_name("index_infini_gram.py")
    done = subprocess.run([interpreter, script, folder], capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])
    name = f"{len(symbols) / 1e6:.0f}M words"
    ours = rate(lambda: suffix_array(index.symbols), symbols)
    note = f"infini-gram {theirs['build']:.2f} Msymbol/s, ours {ours:.2f}, both with 65,000 different words"
    report.add(f"suffix array against infini-gram, {name}", ours / theirs["build"], goal=1.5, note=note)
    counts = np.diff(find(*index, patterns.ravel(), offsets(len(patterns)))).ravel().tolist()
    batch = np.tile(patterns, (PATTERNS // len(patterns), 1))
    per_query = cpu_seconds(lambda: find(*index, batch.ravel(), offsets(len(batch)))) / len(batch) * 1e6
    note = (
        f"infini-gram {theirs['count']:.0f} us, ours {per_query:.2f} us; the same counts: {counts == theirs['counts']}"
    )
    report.add(f"count against infini-gram, {name}", theirs["count"] / per_query, goal=10, note=note)


def hard_inputs(report: Report, words: Int32Array) -> None:
    """Add rates on inputs that make weak builders slow."""
    n = HARD_SIZE
    rng = np.random.default_rng(1)
    copies = np.tile(words[:50_000], n // 50_000)
    inputs = {
        "one symbol": np.ones(n, np.int32),
        "two in turn": np.tile(np.array([1, 2], np.int32), n // 2),
        "period of 1,000": np.tile(rng.integers(1, 50, 1000).astype(np.int32), n // 1000),
        "Fibonacci": fibonacci(n),
        "100 copies of documents": copies,
        "100 copies, 1% changed": np.where(rng.random(len(copies)) < 0.01, 1, copies).astype(np.int32),
        "random, 4 symbols": rng.integers(0, 4, n).astype(np.int32),
        "random, n symbols": rng.integers(0, n, n).astype(np.int32),
        "all different": rng.permutation(n).astype(np.int32),
        "any int32": rng.integers(-(2**31), 2**31, n).astype(np.int32),
    }
    for name, symbols in inputs.items():
        goal = None if name == "any int32" else 8  # ranks have to be found first, by a sort of numpy's
        seconds, _ = timed(lambda symbols=symbols: suffix_array(symbols))
        report.add(f"suffix array, {name}", len(symbols) / seconds / 1e6, unit="Msymbol/s", goal=goal)


def fibonacci(size: int) -> Int32Array:
    one, two = np.array([1], np.int32), np.array([1, 0], np.int32)
    while len(two) < size:
        one, two = two, np.concatenate([two, one])
    return two[:size]


def queries(report: Report, index: Index) -> None:
    name = f"{len(index.symbols) / 1e6:.0f}M words"
    for share, kind in ((0.0, "present"), (0.1, "a tenth of the words replaced")):
        patterns = passages(index.symbols, PATTERNS, PATTERN, share)
        seconds = cpu_seconds(lambda patterns=patterns: find(*index, patterns, offsets(PATTERNS)))
        what = f"count of {PATTERN} words, {name}, {kind}"
        report.add(what, seconds / PATTERNS * 1e6, unit="us", goal=2, at_most=True)
    for share, kind in ((0.0, "copied"), (0.1, "a tenth replaced"), (1.0, "random words")):
        text = passages(index.symbols, 1000, PASSAGE, share)
        seconds = cpu_seconds(lambda text=text: longest_matches(*index, text))
        what = f"longest match per word, {name}, {kind}"
        report.add(what, seconds / len(text) * 1e6, unit="us", goal=1.5, at_most=True)


def passages(symbols: Int32Array, count: int, length: int, share: float) -> Int32Array:
    """Return passages of a corpus end to end, a share of their symbols replaced by others of the corpus."""
    rng = np.random.default_rng(2)
    starts = rng.integers(0, len(symbols) - length, count)
    text = symbols[starts[:, None] + np.arange(length)].ravel()
    return np.where(rng.random(len(text)) < share, symbols[rng.integers(0, len(symbols), len(text))], text)


def offsets(patterns: int) -> NDArray[np.int64]:
    return np.arange(0, PATTERN * patterns + 1, PATTERN)


def brute_force(report: Report, symbols: Int32Array) -> None:
    """Compare counts with those of every n-gram, and longest matches with a substring search by Python."""
    index = index_of(symbols)
    values = symbols.tolist()
    counters = [Counter(zip(*(values[k:] for k in range(n)), strict=False)) for n in range(PATTERN + 1)]
    lengths = np.random.default_rng(4).integers(1, PATTERN + 1, BRUTE_CHECKS)
    ends = np.cumsum(lengths)
    text = passages(symbols, int(ends[-1]) // PASSAGE + 1, PASSAGE, 0.03)
    ranges = find(*index, text, np.concatenate([[0], ends]))
    queries = [tuple(text[a:b].tolist()) for a, b in itertools.pairwise([0, *ends.tolist()])]
    wrong = sum(last - first != counters[len(q)][q] for (first, last), q in zip(ranges.tolist(), queries, strict=True))

    text = passages(symbols, BRUTE_CHECKS // PASSAGE, PASSAGE, 0.1)
    haystack, needle = "".join(map(chr, values)), "".join(map(chr, text.tolist()))
    found, ranges = longest_matches(*index, text)
    for i, (length, first) in enumerate(zip(found.tolist(), ranges[:, 0].tolist(), strict=True)):
        place = index.suffixes[first]
        stands = haystack[place : place + length] == needle[i : i + length]
        ended = i + length == len(needle) or needle[i + length] == "\0" or needle[i : i + length + 1] not in haystack
        wrong += not (stands and ended)
    note = f"{len(queries) + len(text):,} queries on {len(symbols):,} words"
    report.add("answers that differ from brute force", wrong, unit="", goal=0, at_most=True, note=note)


def rate(build: Callable[[], object], symbols: Int32Array) -> float:
    return len(symbols) / cpu_seconds(build) / 1e6


def timed(work: Callable[[], Int32Array]) -> tuple[float, Int32Array]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


if __name__ == "__main__":
    main()
