"""The command line as a newcomer meets it: outcomes are exit codes, failures are one line, help has examples."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.cli.failures import describe
from memaudit.errors import one_line

ENVIRONMENT = os.environ | {"NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb"}


def run(*arguments: str | Path, cwd: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "memaudit", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False, **settings)  # type: ignore[call-overload,no-any-return]


def write_texts(path: Path, count: int, seed: int) -> Path:
    random = np.random.default_rng(seed)
    texts = [" ".join(f"{random.integers(10**6):x}" for _ in range(30)) for _ in range(count)]
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
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


def audit_arguments(model: str, out: str) -> list[str]:
    return ["audit", model, "--train", "train.jsonl", "--heldout", "heldout.jsonl", "--prefix", "12",
            "--suffix", "12", "--out", out]  # fmt: skip


def test_found_exits_1_and_says_so_first(folder: Path) -> None:
    done = run(*audit_arguments("model-train", "run-found"), cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "FOUND" in done.stdout.splitlines()[0].upper() or "FOUND" in done.stdout.upper().split("\n\n")[0]
    assert "run-found/report.html" in done.stdout
    assert (folder / "run-found" / "report.html").is_file()


def test_indexes_serve_training_and_audit(folder: Path) -> None:
    for unit in (["--unit", "token", "--tokenizer", "model-train", "--out", "tokens"], ["--out", "words"]):
        assert run("index", "build", "train.jsonl", *unit, cwd=folder).returncode == 0
    done = run("train", "ngram", "--index", "tokens", "--order", "infinity", "--out", "model-all", cwd=folder)
    assert done.returncode == 0, done.stderr
    done = run(*audit_arguments("model-all", "run-all"), "--index", "words", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "stands once in training, 1 exact" in done.stdout
    report = json.loads((folder / "run-all" / "report.json").read_bytes())
    assert report["copies"]["index"]["documents"] == 40
    done = run(*audit_arguments("model-all", "run-none"), "--no-copies", cwd=folder)
    assert "in training" not in done.stdout
    done = run(*audit_arguments("model-all", "run-both"), "--index", "words", "--no-copies", cwd=folder)
    assert (done.returncode, "leave out --index or --no-copies" in done.stderr) == (2, True)


def test_inconclusive_exits_3(folder: Path) -> None:
    done = run(*audit_arguments("model-other", "run-inconclusive"), cwd=folder)
    assert done.returncode == 3, done.stderr
    assert "INCONCLUSIVE" in done.stdout.upper()


def test_the_same_command_again_gives_the_same_report(folder: Path) -> None:
    run(*audit_arguments("model-train", "run-again"), cwd=folder)
    before = (folder / "run-again" / "report.json").read_bytes()
    done = run(*audit_arguments("model-train", "run-again"), cwd=folder)
    assert done.returncode == 1
    assert (folder / "run-again" / "report.json").read_bytes() == before


def test_default_run_directory_is_found_again(folder: Path) -> None:
    arguments = audit_arguments("model-train", "unused")[:-2]
    for _ in range(2):
        assert run(*arguments, cwd=folder).returncode == 1
    assert len(list((folder / "runs").iterdir())) == 1


def test_report_needs_neither_model_nor_corpus(folder: Path, tmp_path: Path) -> None:
    run(*audit_arguments("model-train", "run-report"), cwd=folder)
    page = (folder / "run-report" / "report.html").read_bytes()
    (folder / "run-report" / "report.html").unlink()
    done = run("report", folder / "run-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (folder / "run-report" / "report.html").read_bytes() == page


def test_sample_prints_models_side_by_side(folder: Path) -> None:
    done = run("sample", "model-train", "model-other", "--prompt", "1", "--length", "20", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "model-train" in done.stdout
    assert "model-other" in done.stdout
    again = run("sample", "model-train", "model-other", "--prompt", "1", "--length", "20", cwd=folder)
    assert again.stdout == done.stdout


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
def test_bad_input_is_one_line_and_exit_2(folder: Path, case: str) -> None:
    arguments, expected = REFUSED[case]
    done = run(*arguments, cwd=folder)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    if case != "bad order":  # usage errors are Typer's own
        [line] = done.stderr.splitlines()
        assert line.startswith("memaudit: error: ")
        assert len(line) <= 300


def test_bad_line_is_named(folder: Path) -> None:
    (folder / "bad.jsonl").write_text('{"text": "good"}\n{not json}\n{"text": "good"}\n', encoding="utf-8")
    done = run("audit", "model-train", "--train", "bad.jsonl", "--heldout", "heldout.jsonl", cwd=folder)
    assert done.returncode == 2
    assert "bad.jsonl:2: not valid JSON" in done.stderr


def test_busy_run_directory_names_the_process(folder: Path) -> None:
    from memaudit.runs.directory import RunDirectory

    with RunDirectory.open(folder / "run-busy", {"kind": "test"}):
        done = run(*audit_arguments("model-train", "run-busy"), cwd=folder)
    assert done.returncode == 2
    assert f"in use by pid {os.getpid()}" in done.stderr


def test_settings_file_and_environment(folder: Path) -> None:
    (folder / "memaudit.toml").write_text("[audit]\nlimt = 5\n", encoding="utf-8")
    try:
        done = run(*audit_arguments("model-train", "run-config"), cwd=folder)
        assert done.returncode == 2
        assert "limit" in done.stderr
        (folder / "memaudit.toml").write_text("[audit]\nlimit = 5\n", encoding="utf-8")
        run(*audit_arguments("model-train", "run-config"), cwd=folder)
        plan = json.loads((folder / "run-config" / "plan.json").read_bytes())
        assert plan["options"]["limit"] == 5
    finally:
        (folder / "memaudit.toml").unlink()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_say_how_to_go_on(folder: Path, number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "memaudit", "train", "rnn", "--corpus", "train.jsonl", "--epochs", "5000",
               "--width", "16", "--threads", "1", "--out", f"model-{code}"]  # fmt: skip
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "%" in line:
            break
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "go on with: memaudit train rnn --corpus train.jsonl" in errors
    assert any((folder / f"model-{code}").iterdir())


@pytest.mark.parametrize("model", ["model-train", "model-other"])
def test_a_reader_that_leaves_changes_no_verdict(folder: Path, model: str) -> None:
    expected = {"model-train": 1, "model-other": 3}[model]
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "memaudit", *audit_arguments(model, f"run-pipe-{model}")]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.returncode == expected, done.stderr
    assert b"Traceback" not in done.stderr


def test_a_module_that_exits_is_no_clean_verdict(folder: Path) -> None:
    (folder / "leaves.py").write_text("import sys\nsys.exit(0)\n", encoding="utf-8")
    done = run("audit", "python:leaves:model", "--train", "train.jsonl", "--heldout", "heldout.jsonl", cwd=folder)
    assert done.returncode == 2
    assert "importing 'leaves' failed" in done.stderr


def test_what_cannot_be_said_is_still_an_exit_code(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "memaudit", *audit_arguments("model-other", "run-full")]
        done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, stderr=full, stdout=subprocess.DEVNULL, check=False)
        assert done.returncode == 3
        wrong = [sys.executable, "-m", "memaudit", *audit_arguments("nowhere", "run-full-2")]
        done = subprocess.run(wrong, cwd=folder, env=ENVIRONMENT, stderr=full, stdout=subprocess.DEVNULL, check=False)
        assert done.returncode == 2


def test_what_is_said_while_python_ends_does_not_change_the_exit_code(folder: Path) -> None:
    # As where a library has put a buffered stream in the place of standard error.
    late = "import atexit, sys; sys.stderr = open(2, 'w', closefd=False); atexit.register(sys.stderr.write, 'late')"
    script = f"{late}; sys.argv[:] = ['memaudit', '--version']; from memaudit.__main__ import main; main()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", script], cwd=folder, env=ENVIRONMENT, stderr=full, check=False)
    assert done.returncode == 0


def test_version(folder: Path) -> None:
    done = run("--version", cwd=folder)
    assert (done.returncode, done.stdout.split()[0]) == (0, "memaudit")


def test_folders_of_others_are_left_alone(folder: Path) -> None:
    before = (folder / "model-train" / "model.safetensors").read_bytes()
    for command in (
        ["train", "gpt", "--corpus", "train.jsonl", "--width", "8", "--heads", "1", "--out", "model-train"],
        audit_arguments("model-train", "model-train"),
    ):
        done = run(*command, cwd=folder)
        assert done.returncode == 2
        assert "choose another --out" in done.stderr
    assert (folder / "model-train" / "model.safetensors").read_bytes() == before


def test_the_same_plan_in_two_folders_gives_the_same_bytes(folder: Path) -> None:
    for name in ("run-one", "run-two"):
        run(*audit_arguments("model-train", name), cwd=folder)
    for name in ("report.json", "report.html", "records.parquet", "items.log"):
        assert (folder / "run-one" / name).read_bytes() == (folder / "run-two" / name).read_bytes()


def test_debug_may_stand_behind_the_command(folder: Path) -> None:
    done = run("audit", "nowhere", "--train", "a", "--heldout", "b", "--debug", cwd=folder)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "ModelError" in done.stderr


def test_one_value_in_the_settings_file_serves_for_a_list(folder: Path) -> None:
    (folder / "memaudit.toml").write_text(
        '[audit]\ntrain = "train.jsonl"\nheldout = ["heldout.jsonl"]\n', encoding="utf-8"
    )
    try:
        done = run("audit", "model-train", "--prefix", "12", "--suffix", "12", "--out", "run-list", cwd=folder)
        assert done.returncode == 1, done.stderr
    finally:
        (folder / "memaudit.toml").unlink()


COMMANDS = [[], ["demo"], ["train"], ["sample"], ["audit"], ["report"]] + [
    ["train", family] for family in ("ngram", "rnn", "gpt", "bert")
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_help_has_examples(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], terminal_width=120)
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert f"memaudit {' '.join(command)}".strip() in result.output


def test_an_internal_error_is_never_a_verdict(folder: Path) -> None:
    code = (
        "import sys, typer.main, memaudit.__main__ as frame\n"
        "class Broken:\n"
        "    def main(self, **_): raise RuntimeError('boom\\x1b[31m')\n"
        "typer.main.get_command = lambda app: Broken()\nsys.argv = ['memaudit']\nframe.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 70
    assert done.stderr.startswith("memaudit: error: internal error: RuntimeError: boom\\x1b[31m")
    assert "\x1b" not in done.stderr


def test_one_line_shows_controls_and_stays_short() -> None:
    assert one_line("a\x1b]0;x\x07b\u202ec\n") == "a\\x1b]0;x\\x07b\\u202ec\\x0a"
    assert len(one_line("x" * 1000)) == 300


def test_system_errors_name_the_file() -> None:
    assert describe(FileNotFoundError(2, "No such file or directory", "x.txt")) == "x.txt: No such file or directory"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["audit", "m", "--nope\x1b[31m"], r"No such option: --nope\x1b[31m"),
        (["audit"], "Missing argument 'MODEL' (memaudit audit --help shows how it is called)"),
        (["audit", "m", "--prefix", "x"], "Invalid value for '--prefix'"),
        (["nosuch"], "No such command 'nosuch' (memaudit --help shows how it is called)"),
        (["index", "build", "a", "b"], "memaudit index build --help"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("memaudit: error: ")
    assert said in line
    assert done.stdout == ""


def test_no_arguments_show_help(tmp_path: Path) -> None:
    done = run(cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage: memaudit" in done.stdout + done.stderr
    assert "memaudit: error" not in done.stderr
