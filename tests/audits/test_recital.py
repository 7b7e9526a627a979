"""The recital control: a server that gives text alone is believed where it gives back what its model recites."""

from __future__ import annotations

from pathlib import Path

import pytest

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.recital import NOT_NAMED, RECITES, WINDOWS, Recital
from memaudit.audits.extraction.result import Audit
from memaudit.audits.extraction.run import audit
from memaudit.errors import InputError, RunError
from memaudit.models.ngram import NgramModel
from memaudit.runs.directory import read_items
from tests.audits.test_extraction import oracle, unique_text, write_jsonl
from tests.models.remote.pretending import TEXT, URL, pretended

OPTIONS = AuditOptions(prefix=10, suffix=10, limit=90, max_rate=0.05, unprompted=False, fuzzy=False)
RECITED = unique_text(1, 7, words=120)[0]


@pytest.fixture
def corpora(tmp_path: Path) -> tuple[str, str]:
    sides = (write_jsonl(tmp_path / f"{n}.jsonl", unique_text(90, seed)) for seed, n in ((1, "train"), (2, "heldout")))
    train, heldout = sides
    return train, heldout


@pytest.fixture
def recital(tmp_path: Path) -> str:
    file = tmp_path / "recited.txt"
    file.write_text(RECITED)
    return str(file)


def knows_the_recital() -> NgramModel:
    return oracle([RECITED, "0123456789abcdef "], 12)


def outcome(run: Audit) -> tuple[bool | None, str]:
    [control] = [c for c in run.report["controls"] if c["name"] == RECITES]
    return control["passed"], control["detail"]


def test_without_a_recital_a_server_of_text_is_at_best_inconclusive(corpora: tuple[str, str], tmp_path: Path) -> None:
    run = audit(pretended(knows_the_recital(), TEXT), *corpora, out=tmp_path / "run", options=OPTIONS, name=URL)
    assert outcome(run) == (None, NOT_NAMED)
    assert run.verdict == "inconclusive"
    assert any("--recital" in reason for reason in run.report["reasons"])
    assert any("the verdict cannot be clean" in one for one in run.report["limits"])


def test_with_a_recital_it_may_be_clean(corpora: tuple[str, str], recital: str, tmp_path: Path) -> None:
    model = pretended(knows_the_recital(), TEXT, recital=recital)
    run = audit(model, *corpora, out=tmp_path / "run", options=OPTIONS, name=URL)
    passed, detail = outcome(run)
    assert passed
    assert f"{WINDOWS} of {WINDOWS} windows of {recital} are continued verbatim" in detail
    assert (run.verdict, run.report["findings"]) == ("clean", [])
    names = {control["name"] for control in run.report["controls"]}
    assert not {"beats a unigram model", "reproduces what it knows"} & names
    assert not any("cannot be clean" in one for one in run.report["limits"])


def test_a_server_that_cuts_prompts_fails_it(corpora: tuple[str, str], recital: str, tmp_path: Path) -> None:
    model = pretended(knows_the_recital(), TEXT, recital=recital, cut=10)
    run = audit(model, *corpora, out=tmp_path / "run", options=OPTIONS, name=URL)
    passed, detail = outcome(run)
    assert passed is False
    assert "its server cuts or wraps prompts" in detail
    assert run.verdict == "inconclusive"


def test_its_windows_are_logged_and_not_asked_again(corpora: tuple[str, str], recital: str, tmp_path: Path) -> None:
    def once() -> tuple[bytes, int]:
        model = pretended(knows_the_recital(), TEXT, recital=recital)
        audit(model, *corpora, out=tmp_path / "run", options=OPTIONS, name=URL)
        asked: int = model.transport.asked  # type: ignore[attr-defined]
        return (tmp_path / "run" / "report.json").read_bytes(), asked

    report, asked = once()
    lines = [line for line in read_items(tmp_path / "run").values() if line.get("measure") == "recital"]
    assert len(lines) == WINDOWS
    assert all(line["matched"] == line["tokens"] == 10 for line in lines)
    again, none = once()
    assert again == report
    assert asked > 0
    assert none == 0


def test_another_recital_is_another_plan(corpora: tuple[str, str], recital: str, tmp_path: Path) -> None:
    audit(pretended(knows_the_recital(), TEXT, recital=recital), *corpora, out=tmp_path / "run", options=OPTIONS)
    with pytest.raises(RunError, match="recital"):
        audit(pretended(knows_the_recital(), TEXT), *corpora, out=tmp_path / "run", options=OPTIONS)


def test_beside_log_probabilities_it_is_one_more_control(
    corpora: tuple[str, str], recital: str, tmp_path: Path
) -> None:
    run = audit(pretended(knows_the_recital(), recital=recital), *corpora, out=tmp_path / "run", options=OPTIONS)
    assert outcome(run)[0]
    names = {control["name"] for control in run.report["controls"]}
    assert {"beats a unigram model", "reproduces what it knows"} <= names


def test_a_recital_without_a_window_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("a few words")
    with pytest.raises(InputError, match=r"--recital .*no text of 20 tokens"):
        Recital(str(short), knows_the_recital(), OPTIONS)
