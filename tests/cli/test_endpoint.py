"""``http://HOST:PORT/v1`` in place of a model, as a shell asks for it: flags, refusals, the key that nobody sees."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.cli.options import OF_THIS_CALL, REACHED, beside_the_point
from memaudit.errors import InputError
from memaudit.models.loading.load import load_model
from tests.cli.calls import ENVIRONMENT
from tests.forked import call
from tests.models.remote.learnt import PREFIX, SUFFIX, Learnt, learnt
from tests.models.remote.speaking import Speaking, speaking

KEY = "sk-do-not-show-1234567890"
REACHING = ("served_model_name", "tokenizer", "api", "connections", "timeout", "max_requests", "api_key_env")


@pytest.fixture(scope="module")
def model() -> Learnt:
    return learnt()


@pytest.fixture
def server(model: Learnt, monkeypatch: pytest.MonkeyPatch) -> Iterator[Speaking]:
    monkeypatch.setenv("MEMAUDIT_TEST_LOOPBACK", "1")
    with speaking(load_model(str(model.folder)), "vllm", context=96) as speaker:
        yield speaker


def run(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    more = {"MEMAUDIT_TEST_LOOPBACK": "1", **environment}
    return call(list(map(str, arguments)), cwd, ENVIRONMENT | more)


def sides(model: Learnt) -> list[object]:
    few = ["--limit", "12", "--no-unprompted", "--no-copies"]
    return ["--train", model.train, "--heldout", model.heldout, "--prefix", PREFIX, "--suffix", SUFFIX, *few]


def test_an_address_is_audited_compared_and_resumed(model: Learnt, server: Speaking, tmp_path: Path) -> None:
    asked = ["audit", server.address, "--tokenizer", model.folder, *sides(model), "--out", "far"]
    key = ["--api-key-env", "THE_KEY", "--max-requests", "5000", "--connections", "2", "--max-tokens", "500000"]
    far = run(*asked, *key, cwd=tmp_path, THE_KEY=KEY)
    assert far.returncode == 1, far.stderr
    near = run("audit", model.folder, *sides(model), "--out", "near", cwd=tmp_path)
    assert near.returncode == 1, near.stderr
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("far", "near")]
    assert reports[0]["estimates"] == reports[1]["estimates"]
    hits = [estimate["hits"] for estimate in (reports[0]["estimates"][0][side] for side in ("train", "heldout"))]
    assert hits == [12, 0]

    assert re.search(r"windows: [\d,]+ of 24; [\d,]+ of 5,000 requests, [\d,]+ of 500,000 tokens.* left", far.stderr)
    assert re.search(rf"memaudit: .*{server.address}: [\d,]+ of 5,000 requests", far.stderr)
    assert "How the server answers" in far.stdout
    assert (tmp_path / "far" / "answers.log").stat().st_size > 0
    written = b"".join(file.read_bytes() for file in (tmp_path / "far").rglob("*") if file.is_file())
    assert KEY.encode() not in written
    assert KEY not in far.stdout + far.stderr

    command = json.loads((tmp_path / "far" / "plan.json").read_text())["command"]
    assert command.endswith(f"--tokenizer {model.folder} --api-key-env THE_KEY")
    report = (tmp_path / "far" / "report.json").read_bytes()
    (tmp_path / "far" / "report.json").unlink()
    before = len(server.asked)
    again = run(*command.split()[1:], "--out", "far", "--connections", "3", cwd=tmp_path, THE_KEY=KEY)
    assert again.returncode == 1, again.stderr
    assert (tmp_path / "far" / "report.json").read_bytes() == report, "whatever it cost and however it was reached"
    first = before // 2
    assert len(server.asked) - before < first, "the probe alone is asked again"

    compared = run("compare", "near", "far", "--out", "both.html", cwd=tmp_path)
    assert compared.returncode == 0, compared.stderr
    assert "asked to continue texts" in compared.stdout
    assert "asked to continue texts" in (tmp_path / "both.html").read_text()


def test_flags_of_an_address_are_those_of_the_address_alone(model: Learnt, server: Speaking, tmp_path: Path) -> None:
    both = run("audit", server.address, model.folder, "--tokenizer", model.folder, "--dtype", "float32",
               *sides(model), "--out", "both", cwd=tmp_path)  # fmt: skip
    assert both.returncode in (1, 3), both.stderr
    assert "asked to continue texts" in both.stdout
    assert (tmp_path / "both" / "compare.html").is_file()
    commands = [json.loads(plan.read_text())["command"] for plan in sorted(tmp_path.glob("both/*/plan.json"))]
    assert sum("--tokenizer" in command for command in commands) == 1


def test_samples_come_from_an_address(model: Learnt, server: Speaking, tmp_path: Path) -> None:
    said = run("sample", server.address, "--tokenizer", model.folder, "--temperature", "0", "--length", "8",
               "--prompt", "the", cwd=tmp_path)  # fmt: skip
    assert said.returncode == 0, said.stderr
    here = run("sample", model.folder, "--temperature", "0", "--length", "8", "--prompt", "the", cwd=tmp_path)
    assert said.stdout.split()[-5:] == here.stdout.split()[-5:]
    assert re.search(r"requests, [\d,]+ tokens", said.stderr)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["audit", "here", "--api", "chat"], "--api is about a model behind an address, and no MODEL is one"),
        (["audit", "here", "--recital", "f"], "--recital is about a model behind an address"),
        (["sample", "here", "--timeout", "3"], "--timeout is about a model behind an address"),
        (["work", "here", "--text", "f", "--max-tokens", "3"], "--max-tokens is about a model behind an address"),
        (
            ["reconstruct", "here", "--text", "f", "--max-total-tokens", "3"],
            "--max-total-tokens is about a model behind",
        ),
        (["contamination", "f", "--model", "here", "--served-model-name", "m"], "--served-model-name is about a model"),
        (["audit", "http://h/v1", "--device", "cuda"], "--device is about a model that is loaded here"),
        (["audit", "http://h/v1", "--dtype", "bfloat16"], "--dtype is about a model that is loaded here"),
        (["audit", "http://h/v1", "--base", "b"], "--base is about a model that is loaded here"),
        (["audit", "http://a/v1", "--api-key-env", "A", "--api-key-env", "B"], "--api-key-env takes one value"),
        (["audit", "http://a/v1", "--api-key-env", KEY], "--api-key-env: it was given no name of a variable"),
        (["exploitation", "http://a/v1", "--train", "f", "--seen", "f", "--unseen", "f"], ""),
    ],
)
def test_what_would_not_be_followed_is_refused_in_one_line(flags: list[str], said: str) -> None:
    done = CliRunner().invoke(app, flags)
    if not said:
        assert done.exception is not None
        return
    assert isinstance(done.exception, InputError), done.output
    assert said in str(done.exception)
    assert KEY not in str(done.exception) + done.output


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "no tokenizer named"),
        (["--tokenizer", "TOKENIZER", "--api-key-env", "NOT_SET"], "--api-key-env NOT_SET: no such variable is set"),
        (["--tokenizer", "TOKENIZER", "--measure", "infilling"], "infilling.* cannot be measured: .*vLLM"),
        (["--tokenizer", "TOKENIZER", "--measure", "probability", "--top-k", "4"], "leave out --temperature"),
        (["--tokenizer", "TOKENIZER", "--max-requests", "3"], "3"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_folder_is_made(
    flags: list[str], said: str, model: Learnt, server: Speaking, tmp_path: Path
) -> None:
    flags = [str(model.folder) if flag == "TOKENIZER" else flag for flag in flags]
    done = run("audit", server.address, *sides(model), *flags, "--out", "run", "--debug", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert re.search(said, done.stderr)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "url", [f"http://user:{KEY}@127.0.0.1:1/v1", f"http://127.0.0.1:1/v1?key={KEY}", "http://127.0.0.1:1/v1"]
)
def test_a_key_stands_in_no_error_and_in_no_traceback(url: str, model: Learnt, tmp_path: Path) -> None:
    flags = ["--tokenizer", model.folder, *sides(model), "--out", "run", "--api-key-env", "THE_KEY", "--debug"]
    done = run("audit", url, *flags, cwd=tmp_path, THE_KEY=KEY)
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert KEY not in done.stdout + done.stderr
    assert not (tmp_path / "run").exists()


def test_flags_that_no_model_has_a_use_for() -> None:
    known = set(REACHING)
    assert beside_the_point({"model": "here"}, known) == known
    assert beside_the_point({"model": ["http://h/v1"]}, known) == {"base", "device", "dtype", "allow_pickle"}
    assert beside_the_point({"model": ["http://h/v1", "here"]}, known) == set()
    assert beside_the_point({"model": ["here"], "reference": ("http://h/v1", "train")}, known) == set()
    assert beside_the_point({"model": [], "answers": ["f"]}, known) == set()
    assert beside_the_point({"models": 8}, known) == set()
    assert {"connections", "timeout", "max_requests", "max_tokens"} < OF_THIS_CALL
    assert REACHED


@pytest.mark.parametrize("command", ["audit", "sample", "work", "reconstruct", "contamination"])
def test_help_has_the_flags_of_an_address_under_their_heading(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "120"}).output
    panel = shown[shown.index(REACHED) :]
    names = ["served-model-name", "tokenizer", "api", "connections", "timeout", "max-requests", "api-key-env"]
    names.append("max-total-tokens" if command == "reconstruct" else "max-tokens")
    assert [name for name in names if f"--{name}" not in panel] == []
    assert ("--recital" in panel) == (command == "audit")
    assert "http://HOST:PORT/v1" in shown.replace("\n", " ")
