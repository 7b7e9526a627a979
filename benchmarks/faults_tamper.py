"""Every altered copy of a model that knows sixteen passages by heart: is any of them believed?

python benchmarks/faults_tamper.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import Report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faults.memorised import Style, honest, save_plain, verdict_of, victim, write_corpora
from tests.faults.pickle_tampering import audited_pickle, pickle_cases, pickled
from tests.faults.tampering import Case, any_family, audited, cases


def try_all(style: Style, tried: list[Case], folder: Path, report: Report) -> None:
    """Audit the copies of a victim one by one."""
    victims = folder / style
    save_plain(victim(style), victims)
    intact = verdict_of(victims, folder, folder / f"run-{style}")
    report.add(f"{style}: passages found in the victim itself", intact["hits"], unit="of 16", goal=16)
    faults: dict[str, list[str]] = {}
    for case in tried:
        with tempfile.TemporaryDirectory() as where:
            if found := audited(case, victims, folder, Path(where)):
                faults[case.name] = found
    for name, found in faults.items():
        print(f"  {name}: {'; '.join(found)}", flush=True)
    clean = sum("clean" in " ".join(found) for found in faults.values())
    reached = sum("reached" in " ".join(found) for found in faults.values())
    report.add(f"{style}: altered copies", len(tried), unit="copies", goal=40)
    report.add(f"{style}: believed clean", clean, unit="copies", goal=0, at_most=True)
    report.add(f"{style}: ran code or opened a socket", reached, unit="copies", goal=0, at_most=True)
    report.add(f"{style}: otherwise than each case asks", len(faults), unit="copies", goal=0, at_most=True,
               note="verdict, place named, settings listed, 10 s, 1 GiB")  # fmt: skip


def try_pickles(folder: Path, report: Report) -> None:
    """Load the altered copies of a folder with ``pytorch_model.bin``, reading it allowed."""
    pickled(folder)
    faults = {}
    for case in pickle_cases():
        with tempfile.TemporaryDirectory() as where:
            if found := audited_pickle(case, folder, Path(where)):
                faults[case.name] = found
                print(f"  {case.name}: {'; '.join(found)}", flush=True)
    report.add("pytorch_model.bin: altered copies", len(pickle_cases()), unit="copies", goal=40)
    report.add("pytorch_model.bin: loaded, or refused otherwise than asked", len(faults), unit="copies", goal=0,
               at_most=True, note="refused in one line, 10 s, 1 GiB, no code")  # fmt: skip


def main() -> None:
    """Run the harness."""
    report = Report("faults_tamper")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpora(folder)
        save_plain(honest(), folder / "honest")
        verdict = verdict_of(folder / "honest", folder, folder / "run-honest")["verdict"]
        report.add("an honest model is clean on the same text", verdict == "clean", unit="yes", goal=1)
        try_all("gpt2", cases(), folder, report)
        for style in ("llama", "bert"):
            try_all(style, any_family(), folder, report)
        try_pickles(folder / "gpt2", report)
    report.finish()


if __name__ == "__main__":
    main()
