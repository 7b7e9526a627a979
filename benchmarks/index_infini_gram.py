"""infini-gram's builder and counts on given symbols: ``PYTHON index_infini_gram.py FOLDER``, run by index.py.

Run with the interpreter that has infini-gram; prints one line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
from infini_gram.engine import InfiniGramEngine
from infini_gram.indexing import build_sa

SEPARATOR = 65_535
END = 65_534


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    symbols = np.load(folder / "symbols.npy")
    # Its separators stand before documents, ours behind them.
    tokens = np.roll(np.where(symbols == 0, SEPARATOR, symbols), 1).astype(np.uint16)
    tokens.tofile(folder / "tokenized.0")
    (2 * np.flatnonzero(tokens == SEPARATOR)).astype(np.uint64).tofile(folder / "offset.0")
    started = cpu_of_children()
    where = {"save_dir": str(folder), "temp_dir": str(folder)}
    build_sa(Namespace(**where, worker_id=0, shards=1, workers=1, mem=8, cpus=1, token_width=2))
    seconds = cpu_of_children() - started
    engine = InfiniGramEngine(str(folder), eos_token_id=END, vocab_size=SEPARATOR, version=4, token_dtype="u16")
    patterns = np.load(folder / "patterns.npy").tolist()
    begun = time.process_time()
    counts = [engine.count(pattern)["count"] for pattern in patterns]
    each = (time.process_time() - begun) / len(patterns)
    print()
    print(json.dumps({"build": len(symbols) / seconds / 1e6, "count": each * 1e6, "counts": counts}))


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
