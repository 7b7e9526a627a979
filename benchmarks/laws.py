"""The laws of Carlini et al. 2022 on small GPTs, LSTMs and n-grams: slopes, fits, and what the suites cost.

The suites stand in ``runs/laws-FAMILY`` and go on where they were stopped. The page of the first is kept in
``reports/gallery/laws.html``. ``--quick`` runs a small grid in ``runs/quick-laws-FAMILY`` and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from common import Report

from memaudit.audits.laws.run import LawsOptions, laws

ROOT = Path(__file__).parent.parent
RUNS, GALLERY = ROOT / "runs", ROOT / "reports" / "gallery" / "laws.html"
LARGEST_PAGE = 400_000
QUICK: dict[str, dict[str, Any]] = {
    "gpt": {"sizes": (8, 16, 32, 64), "epochs": 1.0, "seeds": 1, "per_dose": 8, "background": 50},
    "rnn": {"sizes": (8, 16, 32, 64), "epochs": 1.0, "seeds": 1, "per_dose": 8, "background": 50},
    "ngram": {"seeds": 1, "per_dose": 8, "background": 50},
}


def log(line: str) -> None:
    print(line, flush=True)


def minutes(folder: Path) -> tuple[float, dict[str, float]]:
    """Return the wall time of a suite, all its sessions added up, and the seconds of every training."""
    sessions = json.loads((folder / "times.json").read_bytes())["sessions"]
    stages = {name: seconds for session in sessions for name, seconds in session["stages"].items()}
    return sum(session["seconds"] for session in sessions) / 60, stages


def suite(report: Report, family: Any, quick: bool) -> Path:
    """Run one suite, add its figures, and return its page."""
    folder = RUNS / f"{'quick-' if quick else ''}laws-{family}"
    done = laws(folder, options=LawsOptions.for_family(family, **(QUICK[family] if quick else {})), log=log)
    first = family == "gpt"
    for law in done.report["laws"]:
        name = f"{family} {law['name'].lower()}"
        if law["slope"] is None:
            continue
        note = f"{law['words']}; by seed {', '.join(f'{100 * slope:+.1f}' for slope in law['by_seed'])}"
        report.add(f"{name}: slope", 100 * law["slope"], unit="points/decade", note=note)
        report.add(f"{name}: lower 95% limit", 100 * law["low"], unit="points/decade", goal=0 if first else None)
        report.add(f"{name}: upper 95% limit", 100 * law["high"], unit="points/decade")
        if law["r2"] is not None:
            report.add(f"{name}: R2", law["r2"], unit="")
    twins = [cell for cell in done.report["cells"] if not cell["copies"]]
    null = sum(cell["hits"] for cell in twins) / sum(cell["n"] for cell in twins)
    report.add(f"{family} twins extracted (the null)", null, unit="share")
    wall, stages = minutes(folder)
    for size in done.report["options"]["sizes"]:
        taken = [seconds for name, seconds in stages.items() if name.startswith(f"train {family} {size}, ")]
        parameters = next(t["parameters"] for t in done.report["trainings"] if t["size"] == size)
        note = f"{parameters:,} parameters, mean of {len(taken)}"
        report.add(f"{family} {size}: one training", sum(taken) / len(taken), unit="s", note=note)
    report.add(f"{family} suite", wall, unit="minutes", goal=30, at_most=True)
    return folder / "report.html"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--families", default="gpt,rnn,ngram")
    chosen = parser.parse_args()
    report = Report("laws")
    pages = [suite(report, family, chosen.quick) for family in chosen.families.split(",")]
    if chosen.quick:
        return
    if pages[0].stat().st_size < LARGEST_PAGE:
        GALLERY.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(pages[0], GALLERY)
    report.finish()


if __name__ == "__main__":
    main()
