"""Models side by side: the same windows, or one clear line why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.errors import InputError
from memaudit.records import Shown, WindowRecord
from memaudit.report.compare import _prompts, compare, render_comparison
from memaudit.runs.directory import RunDirectory
from tests.golden.cases import FROZEN
from tests.report.pages import OURS, Page

Factory = Callable[..., tuple[dict[str, Any], list[WindowRecord]]]


def written(folder: Path, report: dict[str, Any], records: list[WindowRecord]) -> Path:
    with RunDirectory.open(folder, {"kind": report["kind"], "command": f"memaudit audit {folder.name}"}) as run:
        run.append([asdict(record) for record in records])
        run.finish(report)
    return folder


def as_family(factory: Factory, family: str, size: int, strength: float, **changes: Any) -> tuple[dict[str, Any], Any]:
    """A run of another model over the windows of all others: the fixture's lot depends on the family."""
    report, records = factory("gpt", strength=strength)
    model = {**report["model"], "family": family, "name": f"models/{family}-{size}", "parameters": size}
    return {**report, "model": model, **changes}, records


@pytest.fixture
def runs(factory: Factory, tmp_path: Path) -> list[Path]:
    sizes = (("ngram", 500, 0.0), ("gpt", 2000, 0.4), ("gpt", 9000, 3.0))
    return [written(tmp_path / f"{n}-{s}", *as_family(factory, n, s, strength)) for n, s, strength in sizes]


def test_pairs_count_the_same_windows(runs: list[Path]) -> None:
    found = compare(runs)
    assert [c.name for c in found.contenders] == ["ngram-500", "gpt-2000", "gpt-9000"]
    small, large = found.contenders[1:]
    hits = [{r.index for r in c.run.records if r.member and r.extractable} for c in (small, large)]
    pair = found.pairs[1]
    assert (pair.both, pair.only_first, pair.only_second) == (
        len(hits[0] & hits[1]),
        len(hits[0] - hits[1]),
        len(hits[1] - hits[0]),
    )
    assert pair.both + pair.only_first + pair.only_second + pair.neither == 112
    assert pair.only_second > 5 * pair.only_first
    assert pair.p_value is not None
    assert pair.p_value < 0.001
    assert found.pairs[0].p_value is not None


def test_the_page_shows_every_answer_to_the_same_prompt(runs: list[Path]) -> None:
    found = compare(runs)
    page = render_comparison(found)
    assert page == render_comparison(compare(runs))
    built = Page(page)
    assert not built.open
    assert set(built.tags) <= OURS
    assert built.headings[0] == 1
    assert all(b <= a + 1 for a, b in zip(built.headings, built.headings[1:], strict=False))
    assert len(built.ids) == len(set(built.ids))
    text = " ".join("".join(built.text).split())
    for c in found.contenders:
        assert f"{c.primary['train']['hits']} of {c.primary['train']['n']}" in text
        assert text.count(c.name) > 10
    assert "Where they differ" in text
    assert "reproduced word for word" in text
    assert "memaudit audit models/gpt" in text
    assert len(page.encode()) < 400_000


def test_what_the_best_model_recites_alone_comes_first(runs: list[Path]) -> None:
    for given in (runs, runs[::-1]):
        found = compare(given)
        best = max(found.contenders, key=lambda c: c.primary["train"]["hits"])
        assert best.name == "gpt-9000"
        title, rule, prompts = _prompts(found.contenders)[0]
        assert title == "Where they differ"
        assert "that gpt-9000, which reproduces most, reproduces" in rule
        recited = [[answer.name for answer in asked.answers if answer.reproduced] for asked in prompts]
        assert recited[0] == ["gpt-9000"]
        assert [len(names) for names in recited] == sorted(map(len, recited))


def test_sizes_of_a_family_are_joined(runs: list[Path]) -> None:
    text = "".join(Page(render_comparison(compare(runs))).text)
    assert "Reproduced word for word, by size" in text
    text = "".join(Page(render_comparison(compare(runs[:2]))).text)
    assert "Reproduced word for word, by size" not in text  # one model of each family: nothing to join


def test_hostile_names_and_texts_are_inert(factory: Factory, tmp_path: Path) -> None:
    report, records = factory(hostile=True)
    folders = [written(tmp_path / name, report, records) for name in ("one", "two")]
    source = render_comparison(compare(folders))
    built = Page(source)
    assert set(built.tags) <= OURS
    assert not [a for a in built.attributes if a[1].startswith("on") or a[1] in ("src", "style")]
    assert "<script>alert" in "".join(built.text)


def test_withheld_texts_are_not_on_the_page(runs: list[Path]) -> None:
    found = compare(runs, Shown(text=False))
    page = render_comparison(found)
    assert "Texts are withheld" in page
    for record in found.contenders[0].run.records:
        assert record.suffix_text.strip()[:40] not in page


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"windows": {"sha256": "ee" * 32}}, "uses other windows than"),
        ({"complete": False}, "the run is not complete"),
        ({"kind": "laws"}, "of kind 'laws'"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    factory: Factory, runs: list[Path], tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    report, records = factory()
    report |= {k: {**report[k], **v} if isinstance(v, dict) else v for k, v in changes.items()}
    if changes.get("kind") == "laws":
        report, records = json.loads((FROZEN / "laws" / "report.json").read_bytes()), []
    other = written(tmp_path / "other", report, records)
    with pytest.raises(InputError, match=what) as error:
        compare([runs[0], other])
    assert str(other) in str(error.value)


def test_a_single_run_is_no_comparison(runs: list[Path]) -> None:
    with pytest.raises(InputError, match="two runs or more"):
        compare(runs[:1])


def test_other_tokenizers_are_named_as_the_reason(factory: Factory, runs: list[Path], tmp_path: Path) -> None:
    report, records = factory()
    report["windows"] = {**report["windows"], "sha256": "ee" * 32}
    report["model"] = {**report["model"], "tokenizer_sha256": "0" * 64}
    with pytest.raises(InputError) as error:
        compare([runs[0], written(tmp_path / "other", report, [replace(r, start=9) for r in records])])
    assert "one vocabulary" in error.value.hint


def test_command(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["compare", *map(str, runs), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "windows that one of two alone reproduces: gpt-2000 0, gpt-9000 45 (p = " in " ".join(done.output.split())
    assert out.read_text("utf-8") == render_comparison(compare(runs))


def test_growth_with_size_stands_beside_published_laws(factory: Factory, tmp_path: Path) -> None:
    strengths = {"gpt-1": (1_000, 0.2), "gpt-2": (10_000, 1.0), "gpt-3": (100_000, 3.0)}
    made = [as_family(factory, "gpt", size, strength) for size, strength in strengths.values()]
    folders = [written(tmp_path / name, *run) for name, run in zip(strengths, made, strict=True)]
    page = " ".join(render_comparison(compare(folders)).split())
    rates = [sum(r.extractable for r in records if r.member) / sum(r.member for r in records) for _, records in made]
    slope = np.polyfit([3, 4, 5], rates, 1)[0]
    assert f"{100 * slope:+.1f} points" in page
    assert "GPT-Neo 125M to 6B" in page
    assert "GPT-Neo 125M to 6B" not in render_comparison(compare([folders[0], folders[0]]))


def checkpoint(factory: Factory, name: str, strength: float, **model: Any) -> tuple[dict[str, Any], Any]:
    report, records = factory("gpt", strength=strength)
    return {**report, "model": {**report["model"], "name": name, **model}}, records


def test_checkpoints_stand_in_the_order_of_their_steps_with_a_curve(factory: Factory, tmp_path: Path) -> None:
    made = {
        "late": checkpoint(factory, "run/checkpoint-1000", 3.0),
        "noted": checkpoint(factory, "run/best", 1.0, step=500),
        "early": checkpoint(factory, "org/tiny@step90", 0.0),
    }
    folders = [written(tmp_path / name, *run) for name, run in made.items()]
    found = compare(folders)
    assert [c.name for c in found.contenders] == ["tiny@step90", "best", "checkpoint-1000"]
    assert [point.step for point in found.steps] == [90, 500, 1000]
    primary = found.contenders[-1].primary["train"]
    said = f"at step 1,000 the model reproduces {primary['hits']} of {primary['n']} ("
    assert found.sentence.startswith(said)
    page = render_comparison(found)
    assert "Reproduced over steps" in page
    assert said.replace("at", "At", 1) in page
    assert "by size" not in page
    done = CliRunner().invoke(app, ["compare", *map(str, folders), "--out", str(tmp_path / "page.html")])
    assert said in " ".join(done.output.split())


@pytest.mark.parametrize("names", [("checkpoint-5", "best"), ("a/checkpoint-5", "b/checkpoint-5"), ("large", "small")])
def test_models_that_are_no_checkpoints_stay_as_they_were_given(
    factory: Factory, tmp_path: Path, names: tuple[str, str]
) -> None:
    made = [checkpoint(factory, name, strength) for name, strength in zip(names, (3.0, 0.0), strict=True)]
    found = compare([written(tmp_path / str(number), *run) for number, run in enumerate(made)])
    assert [c.report["model"]["name"] for c in found.contenders] == list(names)
    assert (found.steps, found.sentence) == ([], "")
    assert "Reproduced over steps" not in render_comparison(found)
