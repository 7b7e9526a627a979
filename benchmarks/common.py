"""What every benchmark shares: a table of measured figures against goals, and the file they are kept in.

Figures are ratios measured side by side in one run; absolute speeds are kept for orientation only.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass
class Report:
    """Collects figures, prints them, writes ``results/NAME.json`` and says whether all goals were met."""

    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    folder: Path = RESULTS

    def add(
        self,
        what: str,
        value: float,
        *,
        unit: str = "x",
        goal: float | None = None,
        at_most: bool = False,
        note: str = "",
    ) -> None:
        """Record one figure; with a goal, at least that much is expected, or at most."""
        value = float(value)  # of numpy too
        met = None if goal is None else bool(value <= goal if at_most else value >= goal)
        row = {"what": what, "value": value, "unit": unit, "goal": goal, "met": met, "note": note}
        self.rows.append(row | ({"at_most": True} if at_most else {}))
        against = "" if goal is None else f"  goal {'<=' if at_most else '>='} {goal:g}  {'met' if met else 'MISSED'}"
        print(f"{what:<64} {value:>12,.4g} {unit:<10}{against}  {note}", flush=True)

    def save(self) -> None:
        """Write ``results/NAME.json`` with all figures so far."""
        from memaudit.runs.provenance import versions

        self.folder.mkdir(exist_ok=True)
        machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "system": platform.system()}
        content = {"benchmark": self.name, "machine": machine, "versions": versions(), "figures": self.rows}
        (self.folder / f"{self.name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def finish(self) -> None:
        """Write the results and exit: 0 when every goal was met, else 1."""
        self.save()
        sys.exit(0 if all(row["met"] is not False for row in self.rows) else 1)


def cpu_seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """Return the median CPU time of ``work``, called once before to warm up."""
    work()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return statistics.median(times)


def interleaved(works: dict[str, Callable[[], Any]], repeats: int = 3) -> dict[str, float]:
    """Return the median CPU time of each work, measured in turns so that all see the same machine."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            started = time.process_time()
            work()
            times[name].append(time.process_time() - started)
    return {name: statistics.median(taken) for name, taken in times.items()}
