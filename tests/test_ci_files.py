"""The action, the hook and the page about CI use flags that exist, and the action's script does what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from memaudit.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
INSTALL, GATE = ACTION["runs"]["steps"]


def flags_of(command: str) -> set[str]:
    found = typer.main.get_command(app)
    for name in command.split():
        found = found.commands[name]  # type: ignore[attr-defined]
    return {flag for parameter in found.params for flag in (*parameter.opts, *parameter.secondary_opts)}


def used(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def steps(block) -> list[dict]:
    if isinstance(block, list):
        return block
    return [step for job in block.get("jobs", {}).values() for step in job["steps"]]


def test_the_flags_of_the_action_exist():
    call = GATE["run"].replace("\\\n", " ")
    texts = [*re.findall(r"memaudit\" contamination.*", call), *re.findall(r"flags\+=\((.*?)\)", call)]
    assert len(texts) == 5
    flags = set().union(*map(used, texts)) | used(ACTION["inputs"]["args"]["description"])
    assert flags == {"--corpus", "--index", "--baseline", "--out", "--format", "--max-items", "--field"}
    assert flags <= flags_of("contamination")


def test_the_action_is_wired():
    inputs = {
        name for step in (INSTALL, GATE) for name in re.findall(r"inputs\.([\w-]+)", " ".join(step["env"].values()))
    }
    assert inputs == set(ACTION["inputs"])
    assert ACTION["runs"]["using"] == "composite"
    written = set(re.findall(r'echo "([\w-]+)=', GATE["run"]))
    assert {name: f"${{{{ steps.gate.outputs.{name} }}}}" for name in written} == {
        name: output["value"] for name, output in ACTION["outputs"].items()
    }
    for step in (INSTALL, GATE):
        assert "${{" not in step["run"]  # what a user gives reaches the script as a variable, never as code
        assert {name for name in step["env"] if f"${name}" not in step["run"]} == set()


def test_the_install_step_asks_for_everything_but_torch():
    script = re.search(r"<< 'END'\n(.*?)END\n", INSTALL["run"], re.DOTALL)
    assert script
    done = subprocess.run(
        [sys.executable, "-", str(ROOT / "pyproject.toml")],
        input=script[1],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {re.match(r"[\w-]+", line)[0] for line in done.stdout.split()}  # type: ignore[index]
    assert {"numpy", "numba", "rapidfuzz", "pyarrow"} <= names
    assert "torch" not in names


def test_the_hook_runs_the_gate_over_benchmark_files():
    (hook,) = HOOKS
    assert hook["entry"] == "memaudit contamination"
    assert (hook["language"], hook["require_serial"]) == ("python", True)
    assert used(hook["description"]) <= flags_of("contamination")
    for name in ("data/test.jsonl", "mmlu.csv", "a/b.parquet"):
        assert re.search(hook["files"], name)
    assert not re.search(hook["files"], "README.md")


def test_the_page_shows_the_gate_in_five_lines():
    (step,) = BLOCKS[0]
    assert len(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()) == 5
    assert step["uses"].startswith("OWNER/memaudit@v")


def test_the_workflows_of_the_page_use_inputs_and_outputs_that_exist():
    calls = [step for block in BLOCKS for step in steps(block) if "OWNER/memaudit" in step.get("uses", "")]
    assert len(calls) == 3
    for step in calls:
        assert set(step["with"]) <= set(ACTION["inputs"])
        assert "benchmark" in step["with"]
        assert used(step["with"].get("args", "")) <= flags_of("contamination")
    outputs = set(re.findall(r"steps\.gate\.outputs\.([\w-]+)", PAGE))
    assert outputs <= set(ACTION["outputs"])
    hooks = [hook for block in BLOCKS if "repos" in block for repo in block["repos"] for hook in repo["hooks"]]
    assert [hook["id"] for hook in hooks] == [HOOKS[0]["id"]]
    assert used(" ".join(hooks[0]["args"])) <= flags_of("contamination")


def test_the_commands_of_the_page_have_these_flags():
    commands = re.findall(r"memaudit (contamination|merge|baseline|index build) (.*)", PAGE)
    assert {name for name, _ in commands} == {"contamination", "merge", "baseline", "index build"}
    for name, arguments in commands:
        assert used(arguments) <= flags_of(name)


WITHOUT_TORCH = """\
import importlib.metadata
import sys

known = importlib.metadata.version


def version(name):
    if name == "torch":
        raise importlib.metadata.PackageNotFoundError(name)
    return known(name)


importlib.metadata.version = version
sys.modules["torch"] = None
from memaudit.__main__ import main

main()
"""
ITEMS = [
    "Which of the seven clerks wrote the ledger that the miller hid under the bakery floor?",
    "How many barrels of salted herring did the harbour master count on the second morning?",
    "Why would a lantern maker refuse to sell his oldest lamp to the travelling magistrate?",
]
OTHERS = [
    "The orchard behind the chapel was planted by a widow who never spoke of her brothers again.",
    "On market days the bridge was closed to carts, and the ferryman doubled what he asked for.",
]


@pytest.mark.parametrize(
    ("leaked", "args", "code"), [(1, "", 1), (1, "--max-items\n1 --skip-bad\n", 0), (0, "", 0), (0, "--field x", 2)]
)
def test_the_script_of_the_action(tmp_path, leaked, args, code):
    rows = [{"question": text} for text in ITEMS]
    (tmp_path / "my test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = OTHERS + [f"Overheard: {text} Nobody knew." for text in ITEMS[:leaked]]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    binaries = tmp_path / "memaudit" / "bin"
    binaries.mkdir(parents=True)
    command = binaries / "memaudit"
    command.write_text(f"#!{sys.executable}\n{WITHOUT_TORCH}")
    command.chmod(0o755)
    variables = {
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "BENCHMARK": "my test.jsonl\n",
        "CORPUS": "corpus.jsonl\n",
        "INDEX": "",
        "BASELINE": "",
        "ARGS": args,
        "OUT": "out",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")} | variables
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", GATE["run"]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    outputs = dict(line.split("=", 1) for line in (tmp_path / "output").read_text().splitlines())
    assert outputs["exit-code"] == str(code)
    assert outputs["verdict"] == {0: "clean", 1: "found", 2: "failed"}[code]
    files = [outputs.get(name) for name in ("html", "junit", "sarif", "json")]
    if code == 2:
        assert files == [None] * 4
        assert "no field 'x'" in done.stderr
        return
    assert all((tmp_path / str(name)).is_file() for name in files)
    report = json.loads((tmp_path / outputs["json"]).read_text())
    assert report["exit_code"] == code
    assert len(report["findings"]) == leaked


def test_the_log_with_passages_of_the_corpus_is_not_uploaded():
    uploads = [step for block in BLOCKS for step in steps(block) if "upload-artifact" in step.get("uses", "")]
    assert uploads
    for step in uploads:
        paths = step["with"]["path"].split("\n")
        assert all(re.fullmatch(r"\$\{\{ steps\.gate\.outputs\.[\w-]+ \}\}", path) for path in paths if path), paths
