"""Models that several commands are called with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calls import run, write_texts


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained n-gram oracle with its training and held-out text."""
    folder = tmp_path_factory.mktemp("cli")
    write_texts(folder / "train.jsonl", 40, 1)
    write_texts(folder / "heldout.jsonl", 40, 2)
    write_texts(folder / "other.jsonl", 40, 3)
    for name in ("train", "other"):
        done = run("train", "ngram", "--corpus", f"{name}.jsonl", "--order", "30", "--unit", "char",
                   "--smoothing", "mle", "--out", f"model-{name}", cwd=folder)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "n-grams up to order 30" in done.stdout
    return folder
