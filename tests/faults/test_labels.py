"""Sides that are not what they are called: swapped, the same, or not of the same kind. None is clean."""

from __future__ import annotations

from pathlib import Path

import pytest

from memaudit.audit.extraction import audit
from memaudit.errors import InputError
from tests.faults.memorised import OPTIONS, save_plain, victim, write_corpora


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    write_corpora(folder)
    save_plain(victim(), folder / "victim")
    return folder


def test_swapped_sides_are_named(place: Path, tmp_path: Path) -> None:
    train, heldout = str(place / "train.jsonl"), str(place / "heldout.jsonl")
    report = audit(place / "victim", heldout, train, out=tmp_path / "run", options=OPTIONS, formats=()).report
    assert report["verdict"] == "inconclusive"
    [control] = [control for control in report["controls"] if not control["passed"]]
    assert control["name"] == "held-out text was not learnt"
    assert control["detail"].startswith(
        "16 of 16 held-out windows are recited; they are likelier than training text by "
    )
    assert control["detail"].endswith("are the sides swapped?")
    right = audit(place / "victim", train, heldout, out=tmp_path / "right", options=OPTIONS, formats=()).report
    assert (right["verdict"], [c for c in right["controls"] if not c["passed"]]) == ("found", [])


def test_the_same_text_on_both_sides_is_refused_with_its_place(place: Path, tmp_path: Path) -> None:
    train = str(place / "train.jsonl")
    again = tmp_path / "again.jsonl"
    again.write_bytes((place / "train.jsonl").read_bytes())
    for heldout in (train, str(again)):
        with pytest.raises(InputError, match=r"16 of 16 held-out documents share a span of 48 tokens .*:1 \(exact\)"):
            audit(place / "victim", train, heldout, out=tmp_path / "run", options=OPTIONS, formats=())
