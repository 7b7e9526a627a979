"""Six checkpoints of a training in one command: what is learnt by heart grows, held-out text stays unknown."""

from __future__ import annotations

import json
import re
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import memaudit
from memaudit.audits.several import run_names, run_several
from memaudit.cli.app import app
from memaudit.cli.several import run_each
from memaudit.errors import InputError, ModelError
from memaudit.models.loading import load
from memaudit.models.transformer import new_gpt
from memaudit.records import Shown
from memaudit.report.compare import compare, render_comparison
from tests.faults.memorised import DOCUMENTS, passages, save_plain, tokenizer, write_corpora

EVERY, STEPS = 9, [9, 18, 27, 36, 45, 54]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ``Trainer`` with six checkpoints, their tokenizer beside them, and both corpora."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

    folder = tmp_path_factory.mktemp("checkpoints")
    write_corpora(folder)
    save_plain(new_gpt(tokenizer(), width=64, layers=2, heads=4, context_length=64, seed=1), folder / "base")
    words = AutoTokenizer.from_pretrained(folder / "base")
    ids = [words(text)["input_ids"] for text in passages()[:DOCUMENTS]]
    settings: dict[str, Any] = {
        "max_steps": STEPS[-1], "per_device_train_batch_size": DOCUMENTS, "learning_rate": 6e-3, "save_steps": EVERY,
        "lr_scheduler_type": "constant", "seed": 3, "use_cpu": True, "disable_tqdm": True, "report_to": [],
    }  # fmt: skip
    trainer = Trainer(
        AutoModelForCausalLM.from_pretrained(folder / "base"),
        TrainingArguments(str(folder / "run"), **settings),
        train_dataset=Dataset.from_list([{"input_ids": each, "labels": each} for each in ids]),
    )
    trainer.train()
    words.save_pretrained(folder / "run")
    return folder


def asked(place: Path, *models: str, out: Path) -> list[str]:
    sides = ["--train", str(place / "train.jsonl"), "--heldout", str(place / "heldout.jsonl")]
    what = ["--prefix", "24", "--suffix", "24", "--max-rate", "0.2", "--no-fuzzy", "--no-copies", "--no-unprompted"]
    return ["audit", *models, *sides, *what, "--format", "json", "--out", str(out)]


@pytest.fixture(scope="module")
def audited(place: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, list[str]]:
    """All six audited, in the order in which a shell lists them; the folder, the outcome, the command."""
    out = tmp_path_factory.mktemp("curve") / "runs"
    command = asked(place, *sorted(str(path) for path in (place / "run").glob("checkpoint-*")), out=out)
    return out, CliRunner().invoke(app, command), command


@pytest.mark.filterwarnings("ignore")
def test_rates_grow_from_nothing_to_all_and_heldout_text_stays_unknown(audited: tuple[Path, Any, list[str]]) -> None:
    out, done, _ = audited
    assert done.exit_code == 1, done.output
    found = memaudit.compare([out / f"checkpoint-{step}" for step in reversed(STEPS)])
    assert [point.step for point in found.steps] == STEPS, "in the order of the steps, however they are given"
    rates = [point.train["rate"] or 0 for point in found.steps]
    assert rates == sorted(rates)
    assert rates[0] == 0
    assert rates[-1] > 0.9
    assert len(set(rates)) >= 3, rates
    assert [point.heldout["rate"] for point in found.steps] == [0] * 6
    verdicts = [contender.report["verdict"] for contender in found.contenders]
    assert verdicts[0] != "found"
    assert verdicts[-1] == "found"


@pytest.mark.filterwarnings("ignore")
def test_the_page_and_the_screen_show_every_step(audited: tuple[Path, Any, list[str]]) -> None:
    out, done, _ = audited
    page = (out / "compare.html").read_text()
    assert page == render_comparison(compare([out / f"checkpoint-{step}" for step in STEPS]))
    assert "Reproduced over steps" in page
    rows = re.findall(r"<td>training text</td><td[^>]*>(\d+)</td>", page) or re.findall(
        r"checkpoint-(\d+) <small>", page
    )
    assert [int(row) for row in rows] == STEPS
    last = json.loads((out / "checkpoint-54" / "report.json").read_bytes())
    hits = next(e for e in last["estimates"] if e["primary"])["train"]["hits"]
    said = f"at step 54 the model reproduces {hits} of 16"
    assert said in " ".join(done.output.split())
    assert said.replace("at", "At", 1) in page
    assert "at step 9, 0 of 16 (0%)" in page
    assert (
        done.output.index("checkpoint-9 continues")
        < done.output.index("checkpoint-18 continues")
        < done.output.index("the model reproduces")
    )
    assert last["model"]["step"] == 54
    assert "--out" not in last["provenance"]["command"]
    assert last["provenance"]["command"].count("checkpoint-") == 1, "the report of one repeats that one"


@pytest.mark.filterwarnings("ignore")
def test_what_is_finished_is_not_measured_again_and_one_model_is_held_at_a_time(
    audited: tuple[Path, Any, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _, command = audited
    modules: list[weakref.ref[Any]] = []
    held: list[int] = []
    read = load._from_folder

    def watched(*args: Any) -> Any:
        held.append(sum(module() is not None for module in modules))
        model: Any = read(*args)
        modules.append(weakref.ref(model.module))
        return model

    monkeypatch.setattr(load, "_from_folder", watched)
    page = (out / "compare.html").read_bytes()
    reports = {path: path.read_bytes() for path in out.glob("*/report.json")}
    (out / "checkpoint-18" / "report.json").unlink()
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 1
    assert (out / "compare.html").read_bytes() == page
    assert {path: path.read_bytes() for path in reports} == reports
    sessions = [json.loads((path.parent / "times.json").read_bytes())["sessions"] for path in reports]
    assert [each[-1]["items"] for each in sessions] == [0] * 6
    assert held == [0] * 6


def windows(result: Any) -> str:
    return str(result.report["windows"]["sha256"])


class Found:
    """What an audit comes to, without one."""

    def __init__(self, code: int, windows: str = "a") -> None:
        self.exit_code, self.report = code, {"windows": {"sha256": windows}}


@pytest.mark.parametrize(("codes", "worst"), [([0, 3, 1], 1), ([0, 3, 0], 3), ([0, 0, 0], 0), ([3, 1, 1], 1)])
def test_the_exit_code_is_that_of_the_worst(tmp_path: Path, codes: list[int], worst: int) -> None:
    left = iter(codes)
    order: list[str] = []

    def one(model: str, out: Path) -> Any:
        order.append(model)
        return Found(next(left))

    models = ["m/checkpoint-10", "m/checkpoint-9", "m/checkpoint-100"]
    runs, code = run_several(models, tmp_path, one, windows, lambda _: None)
    assert code == worst
    assert order == ["m/checkpoint-9", "m/checkpoint-10", "m/checkpoint-100"]
    assert [run.name for run in runs] == ["checkpoint-9", "checkpoint-10", "checkpoint-100"]


def test_models_of_other_tokens_are_refused_as_soon_as_they_are_seen(tmp_path: Path) -> None:
    made: dict[str, Any] = {"a": Found(0), "b": Found(0, "other"), "c": Found(0)}
    told: list[Any] = []
    with pytest.raises(ModelError, match="b: its tokenizer cuts other windows than that of a"):
        run_several(["a", "b", "c"], tmp_path, lambda model, _: made[model], windows, told.append)
    assert told == [made["a"], made["b"]]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "plan.json").touch()
    with pytest.raises(InputError, match="holds a run of its own"):
        run_several(["a", "b"], tmp_path, lambda *_: Found(0), windows, lambda _: None)  # type: ignore[arg-type,return-value]
    (tmp_path / "plan.json").unlink()
    (tmp_path / "compare.html").write_text("mine")
    with pytest.raises(InputError, match="is no comparison of memaudit"):
        run_several(["a", "b"], tmp_path, lambda *_: Found(0), windows, lambda _: None)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["run/checkpoint-5", "run/checkpoint-6/"], ["checkpoint-5", "checkpoint-6"]),
        (["org/m@step1", "org/m@step2"], ["m@step1", "m@step2"]),
        (["a/checkpoint-5", "b/checkpoint-5"], ["a-checkpoint-5", "b-checkpoint-5"]),
        (["python:x:f", "../.."], ["python-x-f", "model"]),
    ],
)
def test_every_run_has_a_folder_of_its_own(models: list[str], names: list[str]) -> None:
    assert run_names(models) == names


def test_names_that_are_alike_once_they_are_plain_and_a_model_named_twice() -> None:
    found = run_names(["x/a b", "x/a  b"])
    assert len(set(found)) == 2
    assert all(re.fullmatch(r"x-a-b-[0-9a-f]{8}", name) for name in found)
    for again in ("m", "./m", "m/", "n/../m"):
        with pytest.raises(InputError, match=rf"{again}: named twice"):
            run_names(["m", "n", again])


def test_what_was_finished_before_a_model_is_refused_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def one(model: str, out: Path) -> Any:
        if model == "pickled":
            raise ModelError("pickled: is a pickle")
        return SimpleNamespace(
            exit_code=0, notice="", verdict="clean", files=[], shown_report={},
            report={"windows": {"sha256": "a"}, "headline": "nothing"},
        )  # fmt: skip

    for models, told in (
        (("a", "b", "pickled"), f"2 of 3 models are audited; with --out {tmp_path} they"),
        (("pickled", "a"), ""),
    ):
        with pytest.raises(ModelError, match="is a pickle"):
            run_each(models, tmp_path, "", Shown(), one, windows)
        assert capsys.readouterr().err.count(told or "audited") == bool(told)
