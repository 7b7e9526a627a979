"""Continuations on the command line."""

from __future__ import annotations

from pathlib import Path

from tests.cli.calls import run


def test_sample_prints_models_side_by_side(oracle: Path) -> None:
    done = run("sample", "model-train", "model-other", "--prompt", "1", "--length", "20", cwd=oracle)
    assert done.returncode == 0, done.stderr
    assert "model-train" in done.stdout
    assert "model-other" in done.stdout
    again = run("sample", "model-train", "model-other", "--prompt", "1", "--length", "20", cwd=oracle)
    assert again.stdout == done.stdout
