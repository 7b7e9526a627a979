"""Corpora that break: fuzzed files whose records are known, and bombs.

python benchmarks/faults_fuzz.py [--corpora 10000]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from common import Report
from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faults.bombs import BOMBS, read_all
from tests.faults.corpora import FuzzedCorpus, corpora
from tests.faults.isolation import isolated
from tests.faults.tampering import MEBIBYTES, SECONDS


def main() -> None:
    """Run the harness."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", type=int, default=10_000)
    asked = parser.parse_args()
    report = Report("faults_fuzz")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tried, records, wrong = 0, 0, []

        @settings(max_examples=asked.corpora, deadline=None, database=None, derandomize=True,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(corpora)
        def one(corpus: FuzzedCorpus) -> None:
            nonlocal tried, records
            tried += 1
            records += len(corpus.fates)
            wrong.extend(corpus.faults(folder))

        one()
        report.add("fuzzed corpora (JSON lines, CSV, TSV, gzip, zstd)", tried, unit="corpora", goal=asked.corpora)
        report.add("records in them", records, unit="records")
        report.add(
            "records unaccounted for, or errors with another line", len(wrong), unit="faults", goal=0, at_most=True
        )
        for what, (file, make) in BOMBS.items():
            make(folder / file)
            outcome = isolated(lambda path=folder / file: read_all(path), 6 * SECONDS)
            (folder / file).unlink()
            named = outcome.exit_code == 2 and outcome.message.startswith(f"{folder / file}:")
            seconds = outcome.seconds if named and outcome.mebibytes <= MEBIBYTES else float("inf")
            report.add(f"bomb: {what}: refused by name within", seconds, unit="s", goal=SECONDS, at_most=True,
                       note=f"{outcome.mebibytes:.0f} MiB")  # fmt: skip
    print("\n".join(wrong[:20]))
    report.finish()


if __name__ == "__main__":
    main()
