"""Replicate trainings: told apart from other models, and never more of them than there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from memaudit.cli.app import app
from memaudit.errors import InputError
from memaudit.records import WindowRecord
from memaudit.report.compare import compare, render_comparison
from memaudit.report.replicates import replicate_table
from memaudit.runs.directory import ReportInput, RunDirectory
from tests.report.pages import Page

Factory = Callable[..., tuple[dict[str, Any], list[WindowRecord]]]
Trained = dict[str, Any] | None


@pytest.fixture
def run(factory: Factory) -> Callable[..., ReportInput]:
    report, records = factory("gpt", strength=1.0)

    def made(seed: int, training: Trained = None, *, told: bool = True, **changes: Any) -> ReportInput:
        known = {"corpus": "a" * 64, "recipe": "b" * 64, "seed": seed} | (training or {})
        model = {**report["model"], "name": f"models/gpt-{seed}", "sha256": f"{seed:064x}", **changes}
        if told:
            model["training"] = known
        # Every training recites a few windows more or less than another.
        members = [r for r in records if r.member]
        other = {r.index for r in members[seed:20:7]}
        said = [replace(r, extractable=r.extractable != (r.index in other), log_prob=r.log_prob) for r in records]
        return ReportInput({**report, "model": model}, said)

    return made


def test_replicates_are_models_of_one_text_and_recipe_with_other_seeds(run: Callable[..., ReportInput]) -> None:
    table = replicate_table([run(seed) for seed in range(1, 6)])
    assert table is not None
    assert [row[0].rpartition(": ")[2] for row in table.rows] == ["training text", "held-out text", "AUC of the loss"]
    for row in table.rows:
        assert row[1] == 5
        low, high = row[3]
        assert low <= row[2] <= high
        assert row[5] <= row[2] <= row[6]
    assert table.rows[0][4] >= 0


@pytest.mark.parametrize(
    "third",
    [
        {"training": {"corpus": "c" * 64}},
        {"training": {"recipe": "c" * 64}},
        {"training": {"seed": 1}},
        {"sha256": f"{1:064x}"},
        {"family": "rnn"},
        {"parameters": 7},
        {"told": False},
    ],
    ids=["text", "recipe", "seed", "weights", "family", "size", "unknown"],
)
def test_what_differs_in_more_than_the_seed_is_no_replicate(run: Callable[..., ReportInput], third: Any) -> None:
    assert replicate_table([run(1), run(2), run(3, **third)]) is None
    assert replicate_table([run(1), run(2), run(3, **third), run(4)]) is not None


def test_models_from_elsewhere_are_replicates_where_that_is_said(run: Callable[..., ReportInput]) -> None:
    runs = [run(seed, told=False) for seed in (1, 2, 3)]
    assert replicate_table(runs) is None
    table = replicate_table(runs, declared=True)
    assert table is not None
    assert table.rows == replicate_table([run(seed) for seed in (1, 2, 3)]).rows  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("third", "reason"),
    [
        ({"told": False, "sha256": f"{1:064x}"}, "given twice"),
        ({"training": {"corpus": "c" * 64}}, "trained with other text"),
        ({"training": {"recipe": "c" * 64}}, "trained with other settings"),
        ({"told": False, "family": "rnn"}, "no 3 of these models are of one family and size"),
    ],
)
def test_what_is_declared_is_not_believed_against_the_folders(
    run: Callable[..., ReportInput], third: Any, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        replicate_table([run(1), run(2), run(3, **third)], declared=True)


def test_groups_stand_beside_one_another(run: Callable[..., ReportInput]) -> None:
    runs = [run(seed) for seed in (1, 2, 3)] + [run(seed, family="rnn") for seed in (11, 12, 13, 14)]
    table = replicate_table(runs)
    assert table is not None
    assert [(row[0].partition(",")[0], row[1]) for row in table.rows] == [("GPT", 3)] * 3 + [("RNN", 4)] * 3


def test_a_model_without_log_probabilities_has_a_rate_and_no_auc(run: Callable[..., ReportInput]) -> None:
    runs = [run(seed) for seed in (1, 2, 3)]
    masked = [ReportInput(r.report, [replace(w, log_prob=None) for w in r.records]) for r in runs]
    table = replicate_table(masked)
    assert table is not None
    assert len(table.rows) == 2


def test_page_and_screen_show_the_interval_over_seeds(run: Callable[..., ReportInput], tmp_path: Path) -> None:
    folders = []
    for seed in (1, 2, 3):
        made = run(seed)
        folders.append(tmp_path / str(seed))
        with RunDirectory.open(folders[-1], {"kind": "extraction", "command": f"memaudit audit {seed}"}) as directory:
            directory.append([asdict(record) for record in made.records])
            directory.finish(dict(made.report))
    text = " ".join("".join(Page(render_comparison(compare(folders))).text).split())
    assert "Over trainings" in text
    assert "Obuchowski & Rockette 1995" in text
    assert "not about trainings" in text
    shown = CliRunner().invoke(app, ["compare", *map(str, folders), "--out", str(tmp_path / "page.html")])
    assert shown.exit_code == 0, shown.output
    assert "AUC of the loss" in " ".join(shown.output.split())
    assert "not about trainings" in " ".join(shown.output.split())
    two = " ".join("".join(Page(render_comparison(compare(folders[:2]))).text).split())
    assert "Over trainings" not in two
    refused = CliRunner().invoke(
        app, ["compare", *map(str, folders[:2]), "--replicates", "--out", str(tmp_path / "2.html")]
    )
    assert isinstance(refused.exception, InputError)
