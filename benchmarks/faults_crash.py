"""Work that is cut off, runs out of room, or meets a disk that fails: is anything lost, or done twice?

python benchmarks/faults_crash.py [--blows 200] [--step 2]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from common import Report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faults.failing import faults_at, limited, points
from tests.faults.storms import Tally, storm
from tests.faults.workloads import AUDIT, SEARCH, TRAINING, WORKS, prepare, warm_up

SHARE = {AUDIT: 0.3, SEARCH: 0.5, TRAINING: 0.2}
SIZES = {AUDIT: (500, 2_000, 5_000, 20_000, 50_000), SEARCH: (500, 2_000, 5_000, 10_000), TRAINING: (500, 2_000, 5_000)}


def main() -> None:
    """Run the harness."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blows", type=int, default=200)
    parser.add_argument("--step", type=int, default=2, help="try every n-th point at which a call can fail")
    asked = parser.parse_args()
    report = Report("faults_crash")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        calm = warm_up(folder)
        wrong: list[str] = []
        for kind, gentle, blows in (("SIGKILL", False, asked.blows), ("SIGINT or SIGTERM", True, asked.blows // 5)):
            tallies = {w: storm(w, folder, calm[w.name], round(blows * SHARE[w]), 7, gentle=gentle) for w in WORKS}
            wrong += _tell(report, kind, list(tallies.values()), blows)
        tried = 0
        for work in WORKS:
            for point in points(work, folder)[:: asked.step]:
                tried += 1
                wrong += _shown(faults_at(point, folder, calm[work.name]))
            for size in SIZES[work]:
                tried += 1
                wrong += _shown(limited(work, folder, calm[work.name], size))
        report.add(
            "calls that failed once (no room, I/O error, half a write, killed there)", tried, unit="points", goal=300
        )
        report.add("lost, doubled, of other bytes, or told otherwise than in one line", len(wrong), unit="faults",
                   goal=0, at_most=True)  # fmt: skip
    report.finish()


def _tell(report: Report, kind: str, tallies: list[Tally], blows: int) -> list[str]:
    report.add(f"{kind} that hit, over three kinds of work", sum(t.blows for t in tallies), unit="blows", goal=blows)
    if tails := sum(t.tails for t in tallies):
        report.add("tails torn off their logs", tails, unit="tails", goal=blows // 2)
    report.add(f"{kind}: works that came to their end in between", sum(t.finished for t in tallies), unit="works")
    return _shown([fault for tally in tallies for fault in tally.wrong])


def _shown(wrong: list[str]) -> list[str]:
    """Print faults as soon as they are known: a run of hours may be cut off."""
    for fault in wrong:
        print(f"  {fault}", flush=True)
    return wrong


if __name__ == "__main__":
    main()
