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
from memaudit.errors import InputError, MemauditError
from memaudit.models.loading.load import load_model
from memaudit.models.remote.address import Endpoint
from memaudit.models.sampling import continue_text
from memaudit.records import GREEDY
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


def test_an_address_is_audited_beside_a_local_model_and_resumed(
    model: Learnt, server: Speaking, tmp_path: Path
) -> None:
    flags = ["--tokenizer", model.folder, "--api-key-env", "THE_KEY", "--max-requests", "5000", "--connections", "2"]
    both = ["audit", server.address, model.folder, *sides(model), *flags, "--max-tokens", "500000", "--out", "both"]
    done = run(*both, cwd=tmp_path, THE_KEY=KEY)
    assert done.returncode == 1, done.stderr
    assert re.search(r"windows: [\d,]+ of 24; [\d,]+ of 5,000 requests, [\d,]+ of 500,000 tokens.* left", done.stderr)
    assert re.search(rf"memaudit: .*{server.address}: [\d,]+ of 5,000 requests", done.stderr)
    assert "asked to continue texts" in done.stdout
    assert "asked to continue texts" in (tmp_path / "both" / "compare.html").read_text()
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert KEY.encode() not in written
    assert KEY not in done.stdout + done.stderr

    far, near = sorted(
        (tmp_path / "both").glob("*/"), key=lambda folder: (folder / "answers.log").is_file(), reverse=True
    )
    assert (far / "answers.log").stat().st_size > 0
    reports = [json.loads((folder / "report.json").read_text()) for folder in (far, near)]
    assert reports[0]["estimates"] == reports[1]["estimates"]
    assert [reports[0]["estimates"][0][side]["hits"] for side in ("train", "heldout")] == [12, 0]
    commands = [report["provenance"]["command"] for report in reports]
    assert commands[0].endswith(f"--tokenizer {model.folder} --api-key-env THE_KEY")
    assert "--tokenizer" not in commands[1]

    report = (far / "report.json").read_bytes()
    (far / "report.json").unlink()
    before = len(server.asked)
    load_model(server.address, endpoint=Endpoint(tokenizer=str(model.folder)))
    probe = len(server.asked) - before
    again = run(*commands[0].split()[1:], "--out", far, "--connections", "3", cwd=tmp_path, THE_KEY=KEY)
    assert again.returncode == 1, again.stderr
    assert (far / "report.json").read_bytes() == report, "whatever it cost and however it was reached"
    assert len(server.asked) - before == 2 * probe + 3, "the probe alone, and its passages in the end"


def test_samples_come_from_an_address(model: Learnt, server: Speaking) -> None:
    flags = ["--temperature", "0", "--length", "8", "--prompt", "the"]
    said = CliRunner().invoke(app, ["sample", server.address, "--tokenizer", str(model.folder), *flags])
    assert said.exit_code == 0, said.output
    here = continue_text(load_model(str(model.folder)), "the", 8, GREEDY)
    assert " ".join(here.text.split()) in " ".join(said.stdout.split())
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
        (["--tokenizer", "TOKENIZER", "--api-key-env", "NOT_SET"], "--api-key-env: no variable NOT_SET is set"),
        (["--tokenizer", "TOKENIZER", "--measure", "infilling"], "infilling.* cannot be measured: .*vLLM"),
        (["--tokenizer", "TOKENIZER", "--measure", "probability", "--top-k", "4"], "leave out --temperature"),
        (["--tokenizer", "TOKENIZER", "--max-requests", "3"], "3"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_a_folder_is_made(
    flags: list[str], said: str, model: Learnt, server: Speaking, tmp_path: Path
) -> None:
    flags = [str(model.folder) if flag == "TOKENIZER" else flag for flag in flags]
    words = ["audit", server.address, *map(str, sides(model)), *flags, "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, MemauditError), done.output
    assert re.search(said, str(done.exception))
    assert "\n" not in str(done.exception)
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
