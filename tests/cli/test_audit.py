"""An audit on the command line: its outcome is an exit code, bad input is one line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.calls import audit_arguments, run
from tests.faults.memorised import save_adapted, write_corpora


def test_found_exits_1_and_says_so_first(oracle: Path) -> None:
    done = run(*audit_arguments("model-train", "run-found"), cwd=oracle)
    assert done.returncode == 1, done.stderr
    assert "FOUND" in done.stdout.splitlines()[0].upper() or "FOUND" in done.stdout.upper().split("\n\n")[0]
    assert "run-found/report.html" in done.stdout
    assert (oracle / "run-found" / "report.html").is_file()


def test_indexes_serve_training_and_audit(oracle: Path) -> None:
    for unit in (["--unit", "token", "--tokenizer", "model-train", "--out", "tokens"], ["--out", "words"]):
        assert run("index", "build", "train.jsonl", *unit, cwd=oracle).returncode == 0
    done = run("train", "ngram", "--index", "tokens", "--order", "infinity", "--out", "model-all", cwd=oracle)
    assert done.returncode == 0, done.stderr
    done = run(*audit_arguments("model-all", "run-all"), "--index", "words", cwd=oracle)
    assert done.returncode == 1, done.stderr
    assert "occurs once in training, 1 exact" in done.stdout
    report = json.loads((oracle / "run-all" / "report.json").read_bytes())
    assert report["copies"]["index"]["documents"] == 40
    done = run(*audit_arguments("model-all", "run-none"), "--no-copies", cwd=oracle)
    assert "in training" not in done.stdout
    done = run(*audit_arguments("model-all", "run-both"), "--index", "words", "--no-copies", cwd=oracle)
    assert (done.returncode, "leave out --index or --no-copies" in done.stderr) == (2, True)


def test_an_adapter_is_audited_beside_its_base_model(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    write_corpora(tmp_path)
    save_adapted(tmp_path / "adapter", tmp_path / "base")
    (tmp_path / "base").rename(tmp_path / "moved")
    asked = ["--train", "train.jsonl", "--heldout", "heldout.jsonl", "--prefix", "24", "--suffix", "24"]
    asked += ["--max-rate", "0.2", "--no-fuzzy"]
    done = run("audit", "adapter", *asked, "--out", "r", cwd=tmp_path)
    assert (done.returncode, "--base" in done.stderr) == (2, True)
    done = run("audit", "adapter", "--base", "moved", *asked, "--out", "r", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "so fine-tuning added 100.0 points" in " ".join(done.stdout.split())
    assert "What fine-tuning added" in (tmp_path / "r" / "report.html").read_text()
    done = run("audit", "adapter", "--base", "moved", *asked, "--no-base-control", "--out", "s", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "fine-tuning" not in done.stdout


def test_inconclusive_exits_3(oracle: Path) -> None:
    done = run(*audit_arguments("model-other", "run-inconclusive"), cwd=oracle)
    assert done.returncode == 3, done.stderr
    assert "INCONCLUSIVE" in done.stdout.upper()


def test_the_same_command_again_gives_the_same_report(oracle: Path) -> None:
    run(*audit_arguments("model-train", "run-again"), cwd=oracle)
    before = (oracle / "run-again" / "report.json").read_bytes()
    done = run(*audit_arguments("model-train", "run-again"), cwd=oracle)
    assert done.returncode == 1
    assert (oracle / "run-again" / "report.json").read_bytes() == before


def test_default_run_directory_is_found_again(oracle: Path) -> None:
    arguments = audit_arguments("model-train", "unused")[:-2]
    for _ in range(2):
        assert run(*arguments, cwd=oracle).returncode == 1
    assert len(list((oracle / "runs").iterdir())) == 1


REFUSED = {
    "no such model": (
        ["audit", "nowhere/model", "--train", "train.jsonl", "--heldout", "heldout.jsonl"],
        "nowhere/model",
    ),
    "no such corpus": (
        ["audit", "model-train", "--train", "missing.jsonl", "--heldout", "heldout.jsonl"],
        "missing.jsonl",
    ),
    "train is held-out": (
        [
            "audit",
            "model-train",
            "--train",
            "train.jsonl",
            "--heldout",
            "train.jsonl",
            "--prefix",
            "12",
            "--suffix",
            "12",
        ],
        "held-out documents share a span",
    ),
    "text too short": (
        ["audit", "model-train", "--train", "train.jsonl", "--heldout", "heldout.jsonl", "--prefix", "900"],
        "900",
    ),
    "wrong field": (
        ["audit", "model-train", "--train", "train.jsonl", "--heldout", "heldout.jsonl", "--text-field", "txt"],
        "no field 'txt'",
    ),
    "no such device": (
        ["audit", "model-train", "--train", "train.jsonl", "--heldout", "heldout.jsonl", "--device", "cuda"],
        "computes on the CPU",
    ),
    "bad order": (["train", "ngram", "--corpus", "train.jsonl", "--out", "x", "--order", "0"], "order"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_one_line_and_exit_2(oracle: Path, case: str) -> None:
    arguments, expected = REFUSED[case]
    done = run(*arguments, cwd=oracle)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    if case != "bad order":  # usage errors are Typer's own
        [line] = done.stderr.splitlines()
        assert line.startswith("memaudit: error: ")
        assert len(line) <= 300


def test_bad_line_is_named(oracle: Path) -> None:
    (oracle / "bad.jsonl").write_text('{"text": "good"}\n{not json}\n{"text": "good"}\n', encoding="utf-8")
    done = run("audit", "model-train", "--train", "bad.jsonl", "--heldout", "heldout.jsonl", cwd=oracle)
    assert done.returncode == 2
    assert "bad.jsonl:2: not valid JSON" in done.stderr


def test_busy_run_directory_names_the_process(oracle: Path) -> None:
    from memaudit.runs.directory import RunDirectory

    with RunDirectory.open(oracle / "run-busy", {"kind": "test"}):
        done = run(*audit_arguments("model-train", "run-busy"), cwd=oracle)
    assert done.returncode == 2
    assert f"in use by pid {os.getpid()}" in done.stderr


def test_a_module_that_exits_is_no_clean_verdict(oracle: Path) -> None:
    (oracle / "leaves.py").write_text("import sys\nsys.exit(0)\n", encoding="utf-8")
    done = run("audit", "python:leaves:model", "--train", "train.jsonl", "--heldout", "heldout.jsonl", cwd=oracle)
    assert done.returncode == 2
    assert "importing 'leaves' failed" in done.stderr


def test_folders_of_others_are_left_alone(oracle: Path) -> None:
    before = (oracle / "model-train" / "model.safetensors").read_bytes()
    for command in (
        ["train", "gpt", "--corpus", "train.jsonl", "--width", "8", "--heads", "1", "--out", "model-train"],
        audit_arguments("model-train", "model-train"),
    ):
        done = run(*command, cwd=oracle)
        assert done.returncode == 2
        assert "choose another --out" in done.stderr
    assert (oracle / "model-train" / "model.safetensors").read_bytes() == before


def test_the_same_plan_in_two_folders_gives_the_same_bytes(oracle: Path) -> None:
    for name in ("run-one", "run-two"):
        run(*audit_arguments("model-train", name), cwd=oracle)
    for name in ("report.json", "report.html", "records.parquet", "items.log"):
        assert (oracle / "run-one" / name).read_bytes() == (oracle / "run-two" / name).read_bytes()
