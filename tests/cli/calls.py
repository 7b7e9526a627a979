"""Calls of the command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np

from tests.forked import call

ENVIRONMENT = os.environ | {"NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb"}


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return call(arguments, cwd, ENVIRONMENT)


def write_texts(path: Path, count: int, seed: int) -> Path:
    random = np.random.default_rng(seed)
    texts = [" ".join(f"{random.integers(10**6):x}" for _ in range(30)) for _ in range(count)]
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    return path


def audit_arguments(model: str, out: str) -> list[str]:
    return ["audit", model, "--train", "train.jsonl", "--heldout", "heldout.jsonl", "--prefix", "12",
            "--suffix", "12", "--out", out]  # fmt: skip
