"""Calls of the command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

ENVIRONMENT = os.environ | {"NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb"}


def run(*arguments: str | Path, cwd: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "memaudit", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False, **settings)  # type: ignore[call-overload,no-any-return]


def write_texts(path: Path, count: int, seed: int) -> Path:
    random = np.random.default_rng(seed)
    texts = [" ".join(f"{random.integers(10**6):x}" for _ in range(30)) for _ in range(count)]
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    return path


def audit_arguments(model: str, out: str) -> list[str]:
    return ["audit", model, "--train", "train.jsonl", "--heldout", "heldout.jsonl", "--prefix", "12",
            "--suffix", "12", "--out", out]  # fmt: skip
