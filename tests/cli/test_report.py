"""The report of a finished run, written again."""

from __future__ import annotations

from pathlib import Path

from tests.cli.calls import audit_arguments, run


def test_report_needs_neither_model_nor_corpus(oracle: Path, tmp_path: Path) -> None:
    run(*audit_arguments("model-train", "run-report"), cwd=oracle)
    page = (oracle / "run-report" / "report.html").read_bytes()
    (oracle / "run-report" / "report.html").unlink()
    done = run("report", oracle / "run-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (oracle / "run-report" / "report.html").read_bytes() == page
