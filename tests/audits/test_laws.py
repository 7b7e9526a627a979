"""A suite of laws as one runs it: what n-grams must recite, resumed without a trace, and failed laws said to be so."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import memaudit.audits.suite as module
from memaudit.audits.laws.fit import MIN_R2, verdict
from memaudit.audits.laws.run import LawsOptions, laws
from memaudit.cli.app import app
from memaudit.errors import InputError, RunError
from memaudit.report.formats.html import HTML
from memaudit.training.train import SmallTraining
from tests.report.stories import quoted

TINY = LawsOptions(
    family="ngram",
    sizes=(2, 4, 12),
    doses=(1, 4, 16),
    contexts=(4, 8, 16),
    suffix=12,
    seeds=2,
    per_dose=4,
    background=10,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Text of made-up words in which nothing follows from anything but itself."""
    drawn = random.Random(5)
    words = ["".join(drawn.choices("abcdefghijklmnop", k=drawn.randint(2, 7))) for _ in range(400)]
    file = tmp_path_factory.mktemp("text") / "text.jsonl"
    texts = [" ".join(drawn.choices(words, k=400)) for _ in range(12)]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def finished(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("laws") / "run"
    said: list[str] = []
    done = laws(folder, [corpus], options=TINY, log=said.append)
    assert len(said) == 6
    assert done.files == [folder / "report.html"]
    return folder, done.report


def rates(report: dict[str, Any], size: int) -> dict[tuple[int, int], float]:
    return {(c["copies"], c["context"]): c["hits"] / c["n"] for c in report["cells"] if c["size"] == size}


def test_an_ngram_recites_what_it_read_and_nothing_else(finished: tuple[Path, dict[str, Any]]) -> None:
    _, report = finished
    assert len(report["cells"]) == 3 * 4 * 3
    assert {c["n"] for c in report["cells"] if c["copies"]} == {8}
    assert {c["n"] for c in report["cells"] if not c["copies"]} == {24}
    long, short = rates(report, 12), rates(report, 2)
    # Twelve-grams of random words name their place; pairs name nothing, and twins stand nowhere.
    assert all(rate == (1.0 if copies else 0.0) for (copies, context), rate in long.items() if context >= 11)
    assert all(rate == 0 for (copies, _), rate in short.items() if copies == 0)
    assert max(short.values()) < 0.5


def test_laws_that_hold_and_laws_that_do_not(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, report = finished
    size, _, context = report["laws"]
    assert size["slope"] > 0
    assert size["low"] > 0
    assert len(size["by_seed"]) == 2
    assert min(size["by_seed"]) <= size["slope"] <= max(size["by_seed"])
    assert context["unit"] == "tokens of context"
    for law in report["laws"]:
        said = law["words"] if not law["holds"] else "points a decade"
        assert said in report["headline"]
        assert law["holds"] == (law["low"] > 0 and law["r2"] is not None and law["r2"] >= MIN_R2)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "GPT-Neo 125M to 6B" in page
    assert page.count("<figure") == 3
    assert json.loads((folder / "report.json").read_bytes()) == report


@pytest.mark.parametrize(
    ("arguments", "holds", "said"),
    [
        ((4, 0.01, 0.2, 0.95), True, "holds"),
        ((4, 0.01, 0.2, 0.5), False, "failed as a line: the fraction grows, but R2 is 0.50"),
        ((4, -0.01, 0.2, 0.99), False, "contains 0"),
        ((4, 0.0, 0.0, None), False, "contains 0"),
        ((4, -0.2, -0.1, 0.99), False, "falls"),
        ((2, 0.1, 0.2, 1.0), None, "two points"),
    ],
)
def test_verdicts_in_words(arguments: tuple[Any, ...], holds: bool | None, said: str) -> None:
    found, words = verdict(*arguments)
    assert found is holds
    assert said in words


def test_a_killed_suite_goes_on_with_the_same_bytes(
    finished: tuple[Path, dict[str, Any]], corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, trained = tmp_path / "run", []
    whole = module.train_small

    def killed(family: str, small: SmallTraining, folder: Path) -> Any:
        trained.append((small.size, small.seed))
        if len(trained) == 3:
            raise KeyboardInterrupt
        return whole(family, small, folder)

    monkeypatch.setattr(module, "train_small", killed)
    with pytest.raises(KeyboardInterrupt):
        laws(folder, [corpus], options=TINY)
    done = laws(folder, [corpus], options=TINY)
    assert "How does memorization grow" in done._repr_html_()
    assert trained == [(2, 0), (4, 0), (12, 0), (12, 0), (2, 1), (4, 1), (12, 1)]
    for name in ("report.json", "report.html"):
        assert (folder / name).read_bytes() == (finished[0] / name).read_bytes()
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert HTML(folder).read_bytes() == before


def test_another_suite_in_the_same_folder_is_refused(finished: tuple[Path, dict[str, Any]], corpus: str) -> None:
    with pytest.raises(RunError, match=r"another plan: options\.seeds differs"):
        laws(finished[0], [corpus], options=TINY, seeds=1)


@pytest.mark.parametrize("family", ["gpt", "rnn"])
def test_networks(family: str, corpus: str, tmp_path: Path) -> None:
    size = {"gpt": (8, 16), "rnn": (4, 8)}[family]
    options = LawsOptions.for_family(
        family, sizes=size, doses=(1, 8), contexts=(4, 8), suffix=8, seeds=1, per_dose=3, background=4, epochs=0.5
    )
    report = laws(tmp_path / "run", [corpus], options=options, threads=1).report
    small, large = (t["parameters"] for t in report["trainings"])
    assert 0 < small < large
    assert (tmp_path / "run" / "models" / f"{family}-{size[0]}-0" / "memaudit.json").exists()
    assert any("Fewer than three seeds" in note for note in report["sections"][0]["notes"])


def test_bad_input(corpus: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"planting needs 3,000 passages of 48 tokens, the text gives"):
        laws(tmp_path / "run", [corpus], options=TINY, background=2976)
    for field, value in (("sizes", (4, 4)), ("doses", ()), ("contexts", (0, 5))):
        with pytest.raises(InputError, match=f"--{field} must be different whole numbers"):
            LawsOptions(**{field: value})
    with pytest.raises(InputError, match="--per-dose must be at least 1, not 0"):
        LawsOptions(per_dose=0)
    assert not (tmp_path / "run").exists(), "a folder is taken by a suite that can run"
    with pytest.raises(InputError, match="a width of 6 cannot be shared by 4 heads"):
        LawsOptions(sizes=(4, 6))
    with pytest.raises(InputError, match="context and suffix are 257 tokens, a gpt here reads 256"):
        LawsOptions(contexts=(5, 227))
    assert LawsOptions(family="ngram", sizes=(3, 6), contexts=(5, 400)).contexts == (5, 400)
    with pytest.raises(InputError, match="format 'junit': not for a run of kind 'laws'"):
        laws(tmp_path / "run", [corpus], options=TINY, formats=("json", "junit"))


def test_the_command(corpus: str, tmp_path: Path, finished: tuple[Path, dict[str, Any]]) -> None:
    command = finished[1]["provenance"]["command"]
    changed = "family='ngram', sizes=(2, 4, 12), doses=(1, 4, 16), contexts=(4, 8, 16), suffix=12, seeds=2, per_dose=4"
    assert command == f"memaudit.laws(corpus=['{corpus}'], {changed}, background=10)"
    words = f"--family ngram --corpus {corpus} --sizes 2,4,12 --doses 1,4,16 --contexts 4,8,16 --suffix 12"
    words = f"laws {words} --seeds 2 --per-dose 4 --background 10 --epochs 6.0"
    done = CliRunner().invoke(app, [*words.split(), "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("How memorization grows\nModel size: +")
    assert "ngram 12, seed 1:" in done.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_bytes())
    assert report["provenance"]["command"] == f"memaudit {words}"
    assert report | {"provenance": finished[1]["provenance"]} == finished[1]
    bad = CliRunner().invoke(app, ["laws", "--sizes", "1,b", "--out", str(tmp_path / "other")])
    assert str(bad.exception).startswith("--sizes: not a list of whole numbers: 1,b")
    shown = CliRunner().invoke(app, ["report", str(tmp_path / "run"), "--format", "json"])
    assert shown.exit_code == 0, shown.output


def test_no_report_quotes_the_text(corpus: str, finished: tuple[Path, dict[str, Any]]) -> None:
    lines = Path(corpus).read_text(encoding="utf-8").splitlines()
    assert quoted(finished[0], [json.loads(line)["text"] for line in lines]) == []
