"""Does a batch change what is measured? Families of language models with small random weights, read every way.

python benchmarks/faults_families.py
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from common import Report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faults.families import CAUSAL, MASKED, TOLERANCE, disagreement, names, new_model, some_windows


def main() -> None:
    """Run the harness."""
    warnings.simplefilter("ignore")
    report = Report("faults_families")
    found = {}
    for name in names():
        found[name] = disagreement(new_model(name), some_windows(16, seed=0))
        report.add(f"{name}: nats per 20 tokens by which a batch moves a score", found[name].nats, unit="nats",
                   goal=TOLERANCE, at_most=True)  # fmt: skip
    report.add("families of transformers", len(CAUSAL) + len(MASKED), unit="families", goal=20)
    report.add("windows whose hits a batch changed", sum(f.hits for f in found.values()), unit="windows", goal=0,
               at_most=True, note="batches of 1, 2, 3, 8, 32, shuffled, 1 and 2 threads")  # fmt: skip
    report.add("windows whose greedy text a batch changed", sum(f.texts for f in found.values()), unit="windows",
               goal=0, at_most=True)  # fmt: skip
    report.finish()


if __name__ == "__main__":
    main()
