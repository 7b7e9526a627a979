"""Nothing is sent or looked up, and the guard that says so can see."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

LOOK_UP = "import socket; socket.getaddrinfo('example.org', 80)"


def test_the_guard_stops_this_process_and_those_it_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    monkeypatch.setenv("MEMAUDIT_TEST_REACHED", str(notes))
    with pytest.raises(RuntimeError, match="reached for the network"):
        socket.getaddrinfo("example.org", 80)
    with socket.socket() as plain, pytest.raises(RuntimeError, match="reached for the network"):
        plain.connect(("127.0.0.1", 9))
    child = subprocess.run([sys.executable, "-c", LOOK_UP], capture_output=True, text=True, check=False)
    assert "reached for the network" in child.stderr
    assert notes.read_text().count("\n") == 3


COMMANDS = [
    ["audit", "somebody/model", "--train", "train.jsonl", "--heldout", "train.jsonl"],
    ["contamination", "train.jsonl", "--corpus", "hf:wikitext:wikitext-2-raw-v1:train", "--field", "text"],
    ["train", "ngram", "--corpus", "hf:wikitext:wikitext-2-raw-v1:train", "--out", "model"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments[:3]))
def test_names_of_the_hub_are_looked_for_on_this_machine_alone(arguments: list[str], tmp_path: Path) -> None:
    """The variables that this suite sets are taken away: the command must keep quiet of itself."""
    (tmp_path / "train.jsonl").write_text(json.dumps({"text": "some words"}) + "\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [sys.executable, "-m", "memaudit", *arguments],
        cwd=tmp_path, env=environment | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "reached for the network" not in done.stderr
    assert done.stderr.startswith("memaudit: error: ")
