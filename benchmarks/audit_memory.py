"""Peak memory of a whole audit of 100,000 windows a side, above that of its model.

The model is an n-gram over 5,000 characters, so that most token ids are numbers above 256, of which Python makes a new
object each time it reads one. The audit is the whole of ``memaudit.audit``: windows, log, verdict, table and page.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Report
from memory import peak_mib

VOCABULARY, LENGTH = 5_000, 50
GOAL = 1.2 * 1e9 / 2**20
"""MiB."""


def audit_of(folder: str, size: int) -> Callable[[], Any]:
    """Return an audit of ``size`` windows a side by a model that is in memory already, and all that it imports."""
    from memaudit.audits.extraction.run import audit
    from memaudit.models.ngram import NgramModel
    from memaudit.text.tokenize import train_tokenizer

    tokenizer = train_tokenizer("char", ["".join(map(chr, range(0x4E00, 0x4E00 + VOCABULARY)))])
    rng = np.random.default_rng(0)

    def ids(*shape: int) -> np.ndarray[Any, np.dtype[np.int32]]:
        return rng.integers(3, tokenizer.vocab_size, shape, dtype=np.int32)

    model = NgramModel.train(list(ids(50, 100)), tokenizer, order=3)
    files = {}
    for side in ("train", "heldout"):
        files[side] = (f"{folder}/{side}-prefix.npy", f"{folder}/{side}-suffix.npy")
        for name in files[side]:
            np.save(name, ids(size, LENGTH))
    return partial(
        audit, model, windows=files["train"], heldout_windows=files["heldout"], limit=size, out=f"{folder}/run"
    )


def main() -> None:
    """Measure two sizes: what a window takes, and what the larger one takes in all."""
    sizes = [int(size) for size in sys.argv[1:]] or [10_000, 100_000]
    report, peaks = Report("audit_memory"), []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            peaks.append(peak_mib(partial(audit_of, folder, size)))
            log = (Path(folder) / "run" / "items.log").stat().st_size / 2**20
        goal = GOAL if size == 100_000 else None
        note = f"the log of the run is {log:,.0f} MiB"
        report.add(f"{size:,} windows a side", peaks[-1], unit="MiB", goal=goal, at_most=True, note=note)
    per_window = (peaks[-1] - peaks[0]) * 1024 / (2 * (sizes[-1] - sizes[0]))
    report.add("each further window", per_window, unit="KiB")
    report.finish()


if __name__ == "__main__":
    main()
