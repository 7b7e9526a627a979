"""Every report says what its intervals are about: documents, never trainings."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from memaudit import audit
from memaudit.audits.counterfactual.run import counterfactual
from memaudit.audits.documents import in_order, ties, worst
from memaudit.audits.gap.run import gap
from memaudit.audits.membership.run import membership
from memaudit.report.formats.html import HTML
from memaudit.report.formats.json import JSON
from memaudit.report.formats.md import MD
from memaudit.report.formats.screen import print_report
from memaudit.report.kinds import kind_of
from memaudit.training.train import CorpusOptions, train_neural
from tests.audits.test_gap import results
from tests.audits.test_membership import BACKGROUND, HELDOUT, SEEN, SUSPECTS, items

SAID = "Intervals are about {}, not about trainings"


def run_extraction(folder: Path) -> Any:
    train, heldout = items(folder / "a.jsonl", SUSPECTS[:60]), items(folder / "b.jsonl", HELDOUT[:60])
    return audit(SEEN, train=train, heldout=heldout, prefix=10, suffix=10, out=folder / "run", formats=())


def run_membership(folder: Path) -> Any:
    suspects, heldout = items(folder / "a.jsonl", SUSPECTS[:60]), items(folder / "b.jsonl", HELDOUT[:60])
    return membership(suspects, SEEN, heldout=heldout, out=folder / "run", formats=())


def run_gap(folder: Path) -> Any:
    path = results(folder / "r.csv", 0, [(0.6, 0.5)] * 3)
    return gap(path, model="suspect", controls=["one", "two"], cutoff="2022-12-31", out=folder / "run", formats=())


def run_counterfactual(folder: Path) -> Any:
    corpus = items(folder / "a.jsonl", BACKGROUND)
    return counterfactual([corpus], folder / "run", models=4, size=3, vocab_size=300, formats=())


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (run_extraction, SAID.format("documents")),
        (run_membership, SAID.format("documents")),
        (run_gap, SAID.format("items")),
        (run_counterfactual, SAID.format("documents")),
    ],
    ids=["extraction", "membership", "gap", "counterfactual"],
)
def test_every_format_says_what_varies(made: Callable[[Path], Any], said: str, tmp_path: Path) -> None:
    finished = made(tmp_path)
    kind = kind_of(finished.report)
    screen = io.StringIO()
    print_report(finished.report, Console(file=screen, width=110))
    shown = {"terminal": screen.getvalue()}
    for name, format_ in (("html", HTML), ("json", JSON), ("md", MD)):
        if isinstance(kind, format_.suits):
            shown[name] = format_(tmp_path / "run").read_text(encoding="utf-8")
    assert set(shown) >= {"terminal", "html", "json"}
    for name, text in shown.items():
        assert said in " ".join(unescape(re.sub("<[^>]+>", " ", text)).split()), name


def test_a_folder_names_what_its_training_was(tmp_path: Path) -> None:
    """Trainings that differ in the seed alone agree in text and recipe; any other difference is one in either."""
    texts = items(tmp_path / "a.jsonl", SUSPECTS[:40]), items(tmp_path / "b.jsonl", HELDOUT[:40])
    seen: dict[str, Any] = {}
    shape = {"width": 16, "layers": 1, "heads": 2}
    asked: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
        "first": (texts[0], {"seed": 1}, shape),
        "replicate": (texts[0], {"seed": 2}, shape),
        "text": (texts[1], {"seed": 3}, shape),
        "rate": (texts[0], {"seed": 4, "learning_rate": 0.003}, shape),
        "heads": (texts[0], {"seed": 5}, shape | {"heads": 4}),
    }
    for family in ("gpt", "rnn"):
        for name, (corpus, options, architecture) in asked.items():
            if family == "rnn":
                architecture = {"width": architecture["width"] * architecture["heads"]}
            folder = tmp_path / family / name
            train_neural(
                family, CorpusOptions([corpus], "char"), folder, architecture=architecture, context=32, **options
            )  # type: ignore[arg-type]
            run = audit(
                folder, train=texts[0], heldout=texts[1], prefix=20, suffix=10, limit=5, out=folder / "run", formats=()
            )
            seen[name] = run.report["model"]["training"]
        assert [seen[name]["seed"] for name in asked] == [1, 2, 3, 4, 5]
        same = {name: (t["corpus"], t["recipe"]) for name, t in seen.items()}
        assert same["first"] == same["replicate"]
        assert len(set(same.values())) == 4


def test_places_are_sorted_as_people_count() -> None:
    places = ["b.txt:9", "a2.txt:1", "b.txt:10", "a10.txt:1", "b.txt", "b.txt:"]
    assert sorted(places, key=in_order) == ["a2.txt:1", "a10.txt:1", "b.txt", "b.txt:", "b.txt:9", "b.txt:10"]


def test_ties_are_told_where_a_list_ends_among_them() -> None:
    records: list[Any] = [{"source": f"a:{i}", "v": v} for i, v in enumerate([0.5, 1.0, 0.5, 0.5, None, 0.0])]

    def value(record: Any) -> float | None:
        found: float | None = record["v"]
        return found

    assert [r["source"] for r in worst(records, value, 3)] == ["a:1", "a:0", "a:2"]
    assert ties(records, value, 3, "a share of {}".format) == [
        "3 documents have a share of 0.5; the first 2 of them, by their place, are listed."
    ]
    assert ties(records, value, 4, str) == ties(records, value, 1, str) == []
    assert ties([], value, 3, str) == []
