"""A model that only writes text, audited end to end: nothing stands where likelihood would, and nothing is invented."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from memaudit.audits.logged import check_measures
from memaudit.audits.measures import MEASURES, measures
from memaudit.audits.needs import needs_of, notice_of
from memaudit.audits.subject import Subject
from memaudit.cli.app import app
from memaudit.errors import InputError, ModelError
from memaudit.metrics import METRICS
from memaudit.models.base import NextTokenModel
from memaudit.models.external import ExternalModel
from memaudit.models.loading.load import load_model
from memaudit.records import GREEDY, ORDINARY, Capability, TokenScores, Window
from memaudit.report.kinds import kind_of
from memaudit.runs.directory import read_finished
from memaudit.stats.rounding import NONE
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.windows.windows import WindowOptions

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
SIDES = ("--train", "train.jsonl", "--heldout", "new.jsonl", "--prefix", "20", "--suffix", "20")
NO_SCORES = "the model gives no log-probabilities and ranks"
CLIENTS = """
import json
from pathlib import Path

TEXTS = [json.loads(line)["text"] for line in Path("train.jsonl").read_text(encoding="utf-8").splitlines()]
LIMIT = 10**9


def my_client():
    def recites(prompt, temperature):
        assert temperature == 0
        found = next((text for text in TEXTS if prompt and prompt in text), None)
        return "I do not know." if found is None else found[found.index(prompt) + len(prompt) :][:LIMIT]

    return recites


class Dull(Service):
    def __init__(self):
        super().__init__(lambda prompt, temperature: "the same as ever, " * 9)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with two sides of text and the example of the documentation, as it stands there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    drawn = random.Random(3)
    for name in ("train", "new"):
        texts = ["".join(drawn.choices("abcdefghijklmnop ", k=80)) for _ in range(320)]
        Path(f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    [example] = re.findall(r"```python\n(# my_service\.py\n.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    Path("my_service.py").write_text(example + CLIENTS, encoding="utf-8")
    yield tmp_path
    sys.modules.pop("my_service", None)


def audited(spec: str, *flags: str) -> tuple[int, str, dict[str, Any]]:
    """Exit code, screen and report of an audit on the command line."""
    done = CliRunner().invoke(app, ["audit", f"python:my_service:{spec}", *SIDES, "--out", "run", *flags])
    code = getattr(done.exception, "exit_code", done.exit_code)
    report = Path("run/report.json")
    return code, f"{done.output}{done.exception}", json.loads(report.read_bytes()) if report.exists() else {}


@pytest.mark.usefixtures("folder")
def test_one_that_recites_is_found_and_nothing_else_is_measured() -> None:
    code, screen, report = audited("factory", "--limit", "60", "--format", "html,json,junit,sarif,md")
    assert (code, report["verdict"], report["complete"]) == (1, "found", True)
    primary = report["estimates"][0]
    assert [(primary[side]["hits"], primary[side]["n"]) for side in ("train", "heldout")] == [(60, 60), (0, 60)]
    assert {e["metric"] for e in report["estimates"]} == {"extractable", "edit_similarity", "rouge_l", "bleu"}
    means = {mean["metric"]: mean for mean in report["means"]}
    for name, lacks in (
        ("bits_per_byte", NO_SCORES),
        ("extraction_strength", "the model gives no next-token scores from left to right"),
    ):
        assert (means[name]["train"], means[name]["heldout"]) == (None, None)
        assert means[name]["reason"] == f"not measured: {lacks}"
        assert f"{means[name]['label']}: not measured: {lacks}" in " ".join(screen.split())
    written = [name for name in means if METRICS[name].needs <= {Capability.CONTINUATIONS}]
    assert len(written) == 7
    assert all("reason" not in means[name] for name in written)
    records = [json.loads(line.partition(" ")[2]) for line in Path("run/items.log").read_text().splitlines()]
    windows = [record for record in records if "extractable" in record]
    assert len(windows) == 120
    assert all(r["log_prob"] is None and r["extraction_strength"] is None for r in windows)
    assert all((r["matched"] == 20) == r["extractable"] == r["member"] for r in windows)


@pytest.mark.usefixtures("folder")
def test_what_is_not_measured_is_said_before_work_begins_and_stands_in_the_plan() -> None:
    _, screen, _ = audited("factory", "--limit", "20")
    before = f"memaudit: python:my_service:factory: {NO_SCORES}, no moments of log p over the vocabulary and no next"
    assert screen.index(before) < screen.index("FOUND")
    plan = json.loads(Path("run/plan.json").read_bytes())
    assert plan["model"]["objective"] == "next-token"
    assert plan["model"]["lacks"] == [
        "log-probabilities and ranks",
        "moments of log p over the vocabulary",
        "next-token scores from left to right",
    ]
    assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in plan["model"]["self_test"])


@pytest.mark.usefixtures("folder")
def test_one_that_recites_nothing_is_inconclusive_however_much_was_asked() -> None:
    code, screen, report = audited("Dull", "--limit", "310")
    assert (code, report["verdict"]) == (3, "inconclusive")
    assert report["estimates"][0]["train"]["hits"] == 0
    assert report["power"]["upper_bound"] < 0.01, "the rate alone would have allowed clean"
    unchecked = {control["name"]: control["detail"] for control in report["controls"] if control["passed"] is None}
    assert set(unchecked) == {"beats a unigram model", "reproduces what it knows"}
    assert all(detail.startswith(f"not checked: {NO_SCORES}, so ") for detail in unchecked.values())
    assert all(control["passed"] is not False for control in report["controls"])
    assert "the control 'beats a unigram model' could not be run: not checked: the model gives no" in screen
    assert any(limit.endswith("not measured, and the verdict cannot be clean.") for limit in report["limits"])
    assert {point["clean"] for point in report["power"]["verdicts"]} == {0.0}


@pytest.mark.usefixtures("folder")
def test_the_page_says_not_measured_where_likelihood_would_stand() -> None:
    audited("factory", "--limit", "20")
    run = read_finished(Path("run"))
    for page in (kind_of(run.report).page(run).decode("utf-8"), Path("run/report.html").read_text(encoding="utf-8")):
        rows = dict(re.findall(r'<tr><th scope="row">([^<]+?) *<.*?</th>(<td.*?)</tr>', page))
        for label in ("Bits per byte", "Extraction strength"):
            assert "not measured: the model gives no" in rows[label]
            assert not re.search(r"\d|" + NONE, re.sub("<.*?>", "", rows[label]))
        assert re.search(r">\d", rows["ROUGE-L"])
        assert page.count("not checked: the model gives no log-probabilities and ranks") >= 2


@pytest.mark.usefixtures("folder")
def test_it_ends_a_text_and_resumes_as_any_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model("python:my_service:factory")
    monkeypatch.setattr(sys.modules["my_service"], "LIMIT", 5)
    code, _, report = audited("factory", "--limit", "20", "--no-fuzzy")
    assert report["ended"]["train"]["hits"] == 20
    assert (code, report["estimates"][0]["train"]["hits"]) == (3, 0)
    assert audited("factory", "--limit", "20", "--no-fuzzy")[2] == report
    assert model.end_ids == {model.tokenizer.eos_id}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", [name for name in MEASURES.targets() if name not in ("use", "taxonomy", "cloze")])
def test_a_measure_that_needs_more_is_refused_in_one_line_before_anything_is_written(name: str) -> None:
    code, screen, report = audited("factory", "--limit", "20", "--measure", name)
    assert (code, report) == (2, {})
    lacking = needs_of(MEASURES.resolve(name)) - {Capability.CONTINUATIONS}
    assert f"the measure '{name}' cannot be measured: the model gives no" in screen
    assert all(str(capability) in screen for capability in lacking)
    assert not Path("run").exists()


@pytest.mark.usefixtures("folder")
def test_measures_of_text_are_taken() -> None:
    code, _, report = audited("factory", "--limit", "20", "--measure", "taxonomy,cloze")
    assert code == 1
    assert [section["name"] for section in report["sections"]] == ["taxonomy", "cloze", "unprompted"]
    # The service answers at temperature 0 alone: the windows are measured nevertheless.
    last = report["sections"][-1]
    assert last["summary"].startswith("Not measured: python:my_service:factory: continuations failed: AssertionError")
    assert last["tables"] == []


@pytest.mark.usefixtures("folder")
def test_membership_is_asked_by_continuations_alone() -> None:
    Path("few.jsonl").write_text("".join(Path("train.jsonl").read_text().splitlines(True)[:30]), encoding="utf-8")
    flags = ["--heldout", "new.jsonl", "--out", "run"]
    done = CliRunner().invoke(app, ["contamination", "few.jsonl", "--model", "python:my_service:factory", *flags])
    report = json.loads(Path("run/report.json").read_bytes())
    assert {detection["name"] for detection in report["detections"]} <= {"ngram-accuracy", "completion"}, done.output
    assert f"python:my_service:factory: {NO_SCORES}" in done.output
    asked = ["contamination", "few.jsonl", "--model", "python:my_service:factory", "--detector", "membership"]
    refused = CliRunner().invoke(app, [*asked, "--heldout", "new.jsonl", "--out", "other"])
    assert f"'membership' cannot be measured: {NO_SCORES}" in f"{refused.output}{refused.exception}"


class Half(NextTokenModel):
    """Scores tokens and knows no moments."""

    tokenizer = train_tokenizer("byte", [""])
    capabilities = ORDINARY["next-token"] - {Capability.MOMENTS, Capability.DISTRIBUTIONS}

    def next_log_probs(self, prefixes: Any) -> Any:
        return np.full((len(prefixes), self.tokenizer.vocab_size), -np.log(self.tokenizer.vocab_size))


def test_what_an_object_says_of_itself_narrows_what_its_methods_promise() -> None:
    window = Window(np.array([5], np.int32), np.array([6, 7], np.int32))
    model = ExternalModel("python:it:model", Half(), "")
    assert model.capabilities == Half.capabilities
    assert model.lacks == [Capability.MOMENTS]
    scores = model.score([window])
    assert np.isnan([scores.mean, scores.std]).all()
    assert np.isfinite(scores.log_prob).all()
    with pytest.raises(ModelError, match="no next-token distribution"):
        model.next_log_probs([window.prefix])
    assert notice_of(model.lacks).startswith("the model gives no moments of log p over the vocabulary: what needs that")
    silent = Half()
    silent.capabilities = frozenset({"continuations", "text written from left to right", "infilling"})  # type: ignore[misc]
    writer = ExternalModel("python:it:model", silent, "")
    assert writer.capabilities == {Capability.CONTINUATIONS, Capability.WRITING}
    with pytest.raises(ModelError, match="gives no log-probabilities"):
        writer.score([window])
    assert writer.screen([window]).tolist() == [0]
    for wrong, message in ((["logits"], "names 'logits'"), ("infilling", "expected names"), (3, "expected names")):
        silent.capabilities = wrong  # type: ignore[misc, assignment]
        with pytest.raises(ModelError, match=message):
            ExternalModel("python:it:model", silent, "")


def test_scores_without_moments_are_left_out_of_membership_and_named() -> None:
    from memaudit.audits.detectors.membership import MEMBERSHIP, SCORES, _scores

    plan = {"model": {"objective": "next-token", "lacks": ["moments of log p over the vocabulary"]}}
    assert MEMBERSHIP.declared(plan | {"membership": {"references": []}}) == ["loss", "zlib", "min-k"]
    scores = TokenScores.of_lengths([30])
    assert "min-k++" in _scores(replace(scores, std=scores.std + 1), "text", [])
    assert "min-k++" not in _scores(replace(scores, mean=scores.mean * np.nan), "text", [])
    assert {name for name, score in SCORES.items() if Capability.MOMENTS in score.needs} == {"min-k++"}


def test_every_measure_says_what_it_needs() -> None:
    assert all(needs_of(measure) for measure in measures(list(MEASURES.targets())))
    members = {"tokenizer": Half.tokenizer, "continuations": None}
    text = ExternalModel("python:it:model", type("Text", (), members)(), "")
    subject = Subject(text, (), (), (), (), None, WindowOptions(), GREEDY)
    with pytest.raises(InputError, match=r"the model gives no next-token distributions \(Text, next-token\)"):
        check_measures(measures(["near-verbatim"]), subject)
