"""The report of a finished run, written again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.cli.calls import audit_arguments, run
from tests.golden.cases import FROZEN


def test_report_needs_neither_model_nor_corpus(oracle: Path, tmp_path: Path) -> None:
    run(*audit_arguments("model-train", "run-report"), cwd=oracle)
    page = (oracle / "run-report" / "report.html").read_bytes()
    (oracle / "run-report" / "report.html").unlink()
    done = run("report", oracle / "run-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (oracle / "run-report" / "report.html").read_bytes() == page


def test_exhibits_for_paper(tmp_path: Path) -> None:
    for name in ("extraction", "extraction-redacted", "gap"):
        shutil.copytree(FROZEN / name, tmp_path / name)
    done = run("report", "extraction", "--exhibit", "B1,A1", "--exhibit", "A1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "exhibits: extraction/exhibits.html\n")
    page = (tmp_path / "extraction" / "exhibits.html").read_text(encoding="utf-8")
    assert re.findall(r"Exhibit (\w+), page 1", page) == ["B1", "A1"]
    hidden = run("report", "extraction", "--exhibit", "A1", "--redact", cwd=tmp_path)
    assert hidden.returncode == 0
    assert "characters" in (tmp_path / "extraction" / "exhibits.html").read_text(encoding="utf-8")
    for arguments, said in (
        (("extraction", "--exhibit", "A1,Z9"), "--exhibit Z9: not in this run (choose from A1"),
        (("gap", "--exhibit", "A1"), "a run of kind 'gap' has no exhibits"),
        (("extraction", "--exhibit", "A1", "--format", "md"), "exhibits are written as html"),
    ):
        refused = run("report", *arguments, cwd=tmp_path)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert said in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
