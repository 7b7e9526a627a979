"""The whole way of a membership run: what is read, what is concluded, and that nothing is lost on the way."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from memaudit.audits.comparison.detection import Detection, Effect
from memaudit.audits.comparison.verdict import Power, decide
from memaudit.audits.membership.run import MembershipRun, membership
from memaudit.errors import InputError, RunError
from memaudit.findings import Control
from memaudit.models.masked import new_bert
from memaudit.models.ngram import NgramModel
from memaudit.models.transformer import new_gpt
from memaudit.report.formats.names import FORMATS
from memaudit.runs.directory import read_finished
from memaudit.stats import holm
from memaudit.text.tokenize import train_tokenizer
from tests.report.stories import quoted

DRAWN = random.Random(0)
WORDS = ["".join(DRAWN.choices("abcdefghijklmnop", k=DRAWN.randint(2, 7))) for _ in range(300)]


def made_up(count: int, seed: int, words: int = 12) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(WORDS, k=words)) for _ in range(count)]


BACKGROUND = made_up(60, 1)
TOKENIZER = train_tokenizer("bpe", BACKGROUND, 400)
SUSPECTS, HELDOUT = made_up(240, 2), made_up(240, 3)


def trained(texts: Sequence[str]) -> NgramModel:
    return NgramModel.train([encoding.ids for encoding in TOKENIZER.encode_batch(texts)], TOKENIZER, order=3)


SEEN, UNSEEN = trained([*BACKGROUND, *SUSPECTS]), trained(BACKGROUND)


def items(path: Path, texts: Sequence[str], **fields: Any) -> str:
    rows = [json.dumps({"id": str(i), "text": text, **fields}) for i, text in enumerate(texts)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("items")
    return items(folder / "test.jsonl", SUSPECTS), items(folder / "new.jsonl", HELDOUT)


def asked(model: Any, files: tuple[str, str], out: Path, **options: Any) -> MembershipRun:
    return membership(files[0], model, heldout=files[1], out=out, formats=("html", "junit", "sarif"), **options)


@pytest.fixture(scope="module")
def found_out(files: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> MembershipRun:
    """The run of a model that has read the items; several tests look at it, none changes it."""
    return asked(SEEN, files, tmp_path_factory.mktemp("seen") / "run")


@pytest.fixture(scope="module")
def compared(files: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> MembershipRun:
    """The run of a model that has not, beside a reference; several tests look at it, none changes it."""
    return asked(UNSEEN, files, tmp_path_factory.mktemp("compared") / "run", references=("train",))


def by_name(run: MembershipRun) -> dict[str, Any]:
    return {detection["name"]: detection for detection in run.report["detections"]}


def test_a_model_that_has_read_the_items_is_found_out(found_out: MembershipRun) -> None:
    run = found_out
    assert (run.verdict, run.exit_code) == ("found", 1)
    found = by_name(run)
    assert list(found) == ["loss", "zlib", "min-k", "min-k++", "order", "ngram-accuracy"]
    assert found["loss"]["effect"]["estimate"] > 0.9
    assert all(found[name]["rejects"] and found[name]["speaks"] for name in ("loss", "zlib", "min-k", "min-k++"))
    assert {finding["metric"] for finding in run.report["findings"]} == {d for d in found if found[d]["rejects"]}
    assert run.report["primary"] == "loss"
    assert [control["passed"] for control in run.report["controls"]] == [True] * 5


def test_no_report_quotes_the_items(files: tuple[str, str], tmp_path: Path) -> None:
    run = membership(files[0], SEEN, heldout=files[1], out=tmp_path / "run", formats=tuple(FORMATS.builtin))
    assert quoted(run.folder, SUSPECTS + HELDOUT) == []
    (run.folder / "report.md").write_text(" ".join(SUSPECTS[3].split()[2:10]))
    assert quoted(run.folder, SUSPECTS) == [" ".join(SUSPECTS[3].split()[2:10])], (
        "the check itself must be able to fail"
    )
    assert "srcdoc" in run._repr_html_()


def test_a_model_that_has_not_is_not_called_clean_but_without_evidence(files: tuple[str, str], tmp_path: Path) -> None:
    few = asked(UNSEEN, files, tmp_path / "few")
    assert few.verdict == "inconclusive"  # 240 documents a side do not show an AUC of .6, null models of text included
    assert 0.6 < few.report["power"]["minimum_detectable_auc"] < 0.65
    run = asked(UNSEEN, files, tmp_path / "run", detectable=0.65)
    assert (run.verdict, run.exit_code) == ("no-evidence", 0)
    assert run.report["findings"] == []
    assert "no evidence above the null at this power" in run.report["reasons"][0]
    assert any("no evidence of absence" in limit for limit in run.report["limits"])
    page = (run.folder / "report.html").read_text(encoding="utf-8").casefold()
    assert "clean" not in page.split("</style>")[1]


def test_p_values_are_adjusted_over_the_declared_family(compared: MembershipRun) -> None:
    found = by_name(compared)
    assert {"reference", "calibration"} <= set(found)
    assert [d["p_holm"] for d in found.values()] == pytest.approx(holm([d["p_value"] for d in found.values()]))


def test_sides_that_differ_by_their_text_are_confounded_whatever_the_scores_say(tmp_path: Path) -> None:
    shifted = [f"In 2024 {text.upper()}!" for text in HELDOUT]
    both = items(tmp_path / "test.jsonl", SUSPECTS), items(tmp_path / "new.jsonl", shifted)
    for model in (SEEN, UNSEEN):
        run = asked(model, both, tmp_path / f"run-{model is SEEN}")
        assert (run.verdict, run.exit_code) == ("confounded", 3)
        assert run.report["findings"] == []
        assert not any(d["speaks"] for name, d in by_name(run).items() if name != "order")


def test_few_documents_end_inconclusive(tmp_path: Path) -> None:
    both = items(tmp_path / "test.jsonl", SUSPECTS[:30]), items(tmp_path / "new.jsonl", HELDOUT[:30])
    run = asked(UNSEEN, both, tmp_path / "run")
    assert (run.verdict, run.exit_code) == ("inconclusive", 3)
    assert any("too few documents" in reason for reason in run.report["reasons"])


def test_no_detector_of_documents_goes_without_the_control_of_the_text(tmp_path: Path) -> None:
    shifted = [f"In 2024 {text.upper()}!" for text in HELDOUT[:40]]
    both = items(tmp_path / "test.jsonl", SUSPECTS[:40]), items(tmp_path / "new.jsonl", shifted)
    run = asked(SEEN, both, tmp_path / "run", detectors=("overlap",))
    assert run.verdict == "confounded"
    assert [section["name"] for section in run.report["sections"]] == ["family", "text", "overlap"]


def test_a_model_that_knows_no_order_of_tokens_is_never_without_evidence(
    files: tuple[str, str], tmp_path: Path
) -> None:
    run = asked(new_gpt(TOKENIZER, width=16, layers=1, heads=2), files, tmp_path / "run", detectors=("membership",))
    assert (run.verdict, run.exit_code) == ("inconclusive", 3)
    assert any("beats a unigram model" in reason for reason in run.report["reasons"])


def test_the_order_of_the_file_needs_no_held_out_text(tmp_path: Path) -> None:
    file = items(tmp_path / "test.jsonl", SUSPECTS[:60])
    ordered = trained([*BACKGROUND, "\n".join(SUSPECTS[:60])])
    run = membership(file, ordered, out=tmp_path / "run", formats=())
    assert list(by_name(run)) == ["order"]
    assert (run.verdict, run.exit_code) == ("found", 1)
    assert by_name(run)["order"]["p_value"] == 1 / 1000
    # Each item by itself, as often: the test is blind to it, and must not say that there is nothing.
    blind = membership(file, trained([*BACKGROUND, *SUSPECTS[:60]]), out=tmp_path / "blind", formats=())
    assert (blind.verdict, blind.exit_code) == ("inconclusive", 3)


def test_a_masked_model_is_asked_by_its_scores(tmp_path: Path) -> None:
    both = items(tmp_path / "test.jsonl", SUSPECTS[:12]), items(tmp_path / "new.jsonl", HELDOUT[:12])
    model = new_bert(TOKENIZER, width=16, heads=2, layers=1)
    assert list(by_name(asked(model, both, tmp_path / "run"))) == ["loss", "zlib", "min-k", "min-k++", "ngram-accuracy"]
    with pytest.raises(InputError, match="nothing to test a masked model by"):
        membership(both[0], model, out=tmp_path / "none")


def test_held_out_text_that_is_the_benchmarks_own_is_named(files: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="occurs in the benchmark, or contains it: all 240"):
        membership(files[0], UNSEEN, heldout=files[0], out=tmp_path / "run")
    mixed = [*SUSPECTS[:3], f"before it {SUSPECTS[5].upper()} after it", " ".join(SUSPECTS[7].split()[:6]), *HELDOUT]
    run = asked(UNSEEN, (files[0], items(tmp_path / "mixed.jsonl", mixed)), tmp_path / "run", detectors=("overlap",))
    assert run.report["heldout"]["set_aside"] == 5
    assert [place.rpartition(":")[2] for place in run.report["heldout"]["first_set_aside"]] == list("12345")
    assert run.report["heldout"]["compared"] == len(HELDOUT)
    assert any("5 held-out items occur in the benchmark" in limit for limit in run.report["limits"])


def test_copies_of_an_item_are_one_observation(tmp_path: Path) -> None:
    copied = [*SUSPECTS[:40], *[SUSPECTS[0].upper()] * 40]
    both = items(tmp_path / "test.jsonl", copied), items(tmp_path / "new.jsonl", HELDOUT)
    run = asked(UNSEEN, both, tmp_path / "run")
    assert run.report["benchmark"]["repeated"] == 40
    assert by_name(run)["loss"]["members"] == 40
    # The order of a file is that of all its lines.
    assert by_name(run)["order"]["members"] == 80


def test_pairs_are_compared_by_their_ids(files: tuple[str, str], tmp_path: Path) -> None:
    found = by_name(asked(SEEN, files, tmp_path / "run", paired=True))
    assert found["loss"]["reason"] == "sign-flip test of 240 pairs"
    assert found["loss"]["rejects"]


def test_bad_requests_are_refused_before_anything_is_measured(files: tuple[str, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(InputError, match="unknown detector 'orders'"):
        asked(UNSEEN, files, run, detectors=("orders",))
    with pytest.raises(InputError, match="compares the benchmark with held-out text"):
        membership(files[0], UNSEEN, detectors=("membership",), out=run)
    with pytest.raises(InputError, match="none of the detectors applies"):
        asked(UNSEEN, files, run, detectors=("guided",))
    with pytest.raises(InputError, match="single random mask"):
        asked(UNSEEN, files, run, masks=1)
    with pytest.raises(InputError, match="unknown format"):
        membership(files[0], UNSEEN, formats=("parquet",), out=run)
    assert not run.exists()


@pytest.mark.parametrize("kept", [0, 1, 2, 5])
def test_an_interrupted_run_ends_with_the_same_bytes(
    kept: int, compared: MembershipRun, files: tuple[str, str], tmp_path: Path
) -> None:
    whole, cut = compared, tmp_path / "cut"
    shutil.copytree(whole.folder, cut)
    lines = (cut / "items.log").read_bytes().splitlines(keepends=True)
    (cut / "items.log").write_bytes(b"".join(lines[: kept * 70]) + b"0000 torn")
    for name in ("report.json", "report.html", "junit.xml", "results.sarif"):
        (cut / name).unlink()
    again = asked(UNSEEN, files, cut, references=("train",))
    assert again.notice
    for name in ("items.log", "report.json", "report.html", "junit.xml", "results.sarif"):
        assert (cut / name).read_bytes() == (whole.folder / name).read_bytes()


def test_another_question_is_refused_in_the_same_folder(files: tuple[str, str], tmp_path: Path) -> None:
    asked(UNSEEN, files, tmp_path / "run", detectors=("overlap",))
    with pytest.raises(RunError, match="another plan"):
        asked(SEEN, files, tmp_path / "run", detectors=("overlap",))
    with pytest.raises(RunError, match=r"another plan: .*membership\.overlap_prefix differs"):
        asked(UNSEEN, files, tmp_path / "run", detectors=("overlap",), overlap_prefix=0.4)


def test_the_report_is_read_back_without_the_model(found_out: MembershipRun) -> None:
    run = found_out
    assert read_finished(run.folder).report == json.loads((run.folder / "report.json").read_bytes()) == run.report
    assert run.report["verdict"] in str(run)


def test_the_command_repeats_what_was_asked(files: tuple[str, str], tmp_path: Path) -> None:
    UNSEEN.save(tmp_path / "model")
    run = membership(
        files[0],
        tmp_path / "model",
        heldout=files[1],
        references=["train", "train"],
        detectors=["membership"],
        randomised=True,
        tokens=8,
        out=tmp_path / "run",
        formats=(),
    )
    command = run.report["provenance"]["command"]
    assert command == (
        f"memaudit.membership('{files[0]}', '{tmp_path}/model', heldout='{files[1]}', references=['train', 'train'],"
        " detectors=['membership'], randomised=True, tokens=8)"
    )
    import memaudit

    again = eval(command.replace("tokens=8", f"tokens=8, formats=(), out='{tmp_path}/again'"), {"memaudit": memaudit})
    assert again.report == run.report | {"provenance": again.report["provenance"]}


CONTROLS = [Control("holds", True, "")]
POWER = Power(100, 100, 0.05, 0.55, "enough")
OPTIONS = {"alpha": 0.05, "detectable": 0.6}
FAILED = Control("null model (C2)", False, "it does as well")


def detection(p_value: float | None, *controls: Control, effect: str = "AUC") -> Detection:
    return Detection("loss", "Loss", "", p_value, "", Effect(effect, 0.6), 100, 100, controls=list(controls))


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "no-evidence"),
        ({"p": 0.01}, "found"),
        ({"p": 0.01, "own": [FAILED]}, "inconclusive"),
        ({"p": 0.01, "controls": [Control("batches", False, "")]}, "found"),
        ({"p": None}, "inconclusive"),
        ({"controls": [Control("batches", False, "")]}, "inconclusive"),
        ({"controls": [Control("batches", None, "")]}, "inconclusive"),
        ({"power": dataclasses.replace(POWER, minimum_detectable_auc=0.7)}, "inconclusive"),
        ({"power": dataclasses.replace(POWER, minimum_detectable_auc=None)}, "inconclusive"),
        ({"effect": "nats"}, "inconclusive"),
        ({"p": 0.01, "blind": {"confounded": True, "reason": "", "features": []}}, "confounded"),
    ],
)
def test_verdicts(changes: dict[str, Any], verdict: str) -> None:
    given = {"p": 0.5, "own": [], "controls": CONTROLS, "power": POWER, "effect": "AUC", "blind": None} | changes
    if given["blind"]:
        given["blind"]["features"] = [{"name": "words", "auc": {"estimate": 0.9, "low": 0.8, "high": 0.95}}]
    first = detection(given["p"], *given["own"], effect=given["effect"])
    told, reasons = decide(
        [first], {"loss": given["p"]}, first, given["controls"], given["power"], given["blind"], OPTIONS
    )
    assert told == verdict
    assert reasons
