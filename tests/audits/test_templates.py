"""Items that fill in one template, and items that offer choices: told one by one, and never clean in doubt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memaudit.audits.contamination.run import Contamination, contamination

TEMPLATE = (
    "A baker sells croissants at the harbour market for {} francs each and a fisherman trades {} mackerels for them"
    " every Sunday before noon; how many francs does the baker earn?"
)
FILLED = [{"question": TEMPLATE.format(n, n * n + 5), "answer": str(n * (n * n + 5))} for n in range(2, 9)]
ELSEWHERE = [
    "The harbour market opens before noon every Sunday, and the fishermen bring their nets.",
    "A recipe for croissants that a baker wrote down in a notebook long ago.",
]


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def searched(folder: Path, items: list[dict[str, Any]], documents: list[str]) -> Contamination:
    corpus = written(folder / "c.jsonl", [{"text": text} for text in [*ELSEWHERE, *documents]])
    benchmark = written(folder / "b.jsonl", items)
    return contamination(benchmark, corpus, out=folder / "run", clean_split=folder / "split", formats=())


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize(
    "layout",
    ["Q: {question}\nA: {answer}", "{question} The answer is {answer}.", "{question}", "## {question}\n\n> {answer}"],
)
def test_an_item_of_a_template_is_found_however_its_parts_are_labelled(tmp_path: Path, size: int, layout: str) -> None:
    items = FILLED[:size]
    result = searched(tmp_path, items, [f"Some text first. {layout.format(**item)} And more." for item in items])
    assert [item.verdict for item in result.items] == ["contaminated"] * size


def test_a_template_filled_in_otherwise_convicts_nobody(tmp_path: Path) -> None:
    result = searched(tmp_path, FILLED, [TEMPLATE.format(n, 3 * n) for n in range(40, 60)])
    assert "contaminated" not in {item.verdict for item in result.items}


def test_an_edited_copy_of_a_templated_item_is_not_clean(tmp_path: Path) -> None:
    misspelt = [item["question"].replace("croissants", "croisants") for item in FILLED]
    result = searched(tmp_path, FILLED, misspelt)
    assert (result.verdict, result.exit_code) == ("inconclusive", 3)
    assert {item.verdict for item in result.items} == {"undecided"}
    assert any("7 items fill in a template that others share" in reason for reason in result.report["reasons"])
    assert (tmp_path / "split" / "undecided.jsonl").read_text().count("\n") == len(FILLED)
    assert (tmp_path / "split" / "clean.jsonl").read_text() == ""


def test_a_templated_item_is_clean_where_another_item_explains_every_document_that_holds_it(tmp_path: Path) -> None:
    held = [FILLED[0]["question"], FILLED[3]["question"]]
    explained = searched(tmp_path, FILLED, held)
    assert [item.verdict == "contaminated" for item in explained.items] == [n in (0, 3) for n in range(7)]
    assert {item.verdict for item in explained.items} == {"contaminated", "clean"}
    more = tmp_path / "more"
    more.mkdir()
    doubted = searched(more, FILLED, [*held, FILLED[5]["question"].replace("croissants", "croisants")])
    assert doubted.items[5].verdict == "undecided"


CHOICES = [
    "Copper rusts in seawater faster than iron",
    "Helium diffuses slower than argon does",
    "Mercury freezes above the boiling point of ethanol",
    "Gallium melts inside a warm human palm",
]


@pytest.mark.parametrize("right", range(4))
@pytest.mark.parametrize("stem", ["Which of the following statements is correct?", "Which metal behaves like this?"])
def test_a_question_is_found_with_the_choices_that_it_offers(tmp_path: Path, right: int, stem: str) -> None:
    offered = "\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", CHOICES, strict=True))
    item = {"question": stem, "choices": CHOICES, "answer": right}
    result = searched(tmp_path, [item], [f"Quiz\n{stem}\n{offered}\nAnswer: {'ABCD'[right]}\n"])
    assert result.items[0].verdict == "contaminated"


def test_the_same_choices_of_another_question_convict_nobody(tmp_path: Path) -> None:
    item = {"question": "Which metal would a jeweller in Antwerp rather not wear?", "choices": CHOICES, "answer": 3}
    other = "Which claim did the chemist from Uppsala write down last?"
    result = searched(tmp_path, [item], ["\n".join([other, *CHOICES])])
    assert result.items[0].verdict == "clean"


def test_records_without_text_shift_no_item(tmp_path: Path) -> None:
    """Items are told by their place among items, records by their number: empty ones stand between."""
    empty: dict[str, Any] = {"question": "", "answer": ""}
    result = searched(tmp_path, [empty, FILLED[0], empty, FILLED[1], FILLED[2]], [FILLED[1]["question"]])
    assert [(item.number, item.verdict) for item in result.items if item.verdict == "contaminated"] == [
        (4, "contaminated")
    ]
    assert all(control["passed"] for control in result.report["controls"])
