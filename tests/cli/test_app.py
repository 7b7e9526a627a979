"""The command line as a newcomer meets it: options from files, and help with examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from memaudit.cli.app import app
from tests.cli.calls import audit_arguments, run


def test_settings_file_and_environment(oracle: Path) -> None:
    (oracle / "memaudit.toml").write_text("[audit]\nlimt = 5\n", encoding="utf-8")
    try:
        done = run(*audit_arguments("model-train", "run-config"), cwd=oracle)
        assert done.returncode == 2
        assert "limit" in done.stderr
        (oracle / "memaudit.toml").write_text("[audit]\nlimit = 5\n", encoding="utf-8")
        run(*audit_arguments("model-train", "run-config"), cwd=oracle)
        plan = json.loads((oracle / "run-config" / "plan.json").read_bytes())
        assert plan["options"]["limit"] == 5
    finally:
        (oracle / "memaudit.toml").unlink()


def test_version(oracle: Path) -> None:
    done = run("--version", cwd=oracle)
    assert (done.returncode, done.stdout.split()[0]) == (0, "memaudit")


def test_one_value_in_the_settings_file_serves_for_a_list(oracle: Path) -> None:
    (oracle / "memaudit.toml").write_text(
        '[audit]\ntrain = "train.jsonl"\nheldout = ["heldout.jsonl"]\n', encoding="utf-8"
    )
    try:
        done = run("audit", "model-train", "--prefix", "12", "--suffix", "12", "--out", "run-list", cwd=oracle)
        assert done.returncode == 1, done.stderr
    finally:
        (oracle / "memaudit.toml").unlink()


ROOT = typer.main.get_command(app)
GROUPS = {name: command for name, command in ROOT.commands.items() if hasattr(command, "commands")}  # type: ignore[attr-defined]
COMMANDS = [[], *([name] for name in ROOT.commands)] + [  # type: ignore[attr-defined]
    [name, child] for name, group in GROUPS.items() for child in group.commands
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_has_examples(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], terminal_width=120)
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"memaudit {' '.join(command)}".strip() in result.output
