"""Sides that are not what they are called: swapped, the same, or not of the same kind. None is clean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memaudit.audits.extraction import controls
from memaudit.audits.extraction.controls import check_dates
from memaudit.audits.extraction.run import audit
from memaudit.errors import InputError
from memaudit.text.windows.windows import WindowSet
from tests.faults.memorised import OPTIONS, honest, save_plain, victim, write_corpora


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
        "16 of 16 held-out windows are reproduced; they are likelier than training text by "
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


def dated(file: Path, out: Path, years: list[int]) -> str:
    """Give every document a date, of one year after the other."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows = [row | {"date": f"{years[i % len(years)]}-0{1 + i % 9}-1{i % 9}"} for i, row in enumerate(rows)]
    out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(out)


@pytest.mark.parametrize(
    ("held", "passed"), [([2019, 2020], True), ([2023], False), ([2012], False), ([2019, 2020, 2021], True)]
)
def test_held_out_text_of_another_time_is_named(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: list[int], passed: bool
) -> None:
    monkeypatch.setattr(controls, "MIN_DATED", 16)
    save_plain(honest(), tmp_path / "honest")
    sides = [
        dated(place / f"{n}.jsonl", tmp_path / f"{n}.jsonl", y) for n, y in (("train", [2019, 2020]), ("heldout", held))
    ]
    report = audit(tmp_path / "honest", *sides, out=tmp_path / "run", options=OPTIONS, formats=()).report
    [control] = [control for control in report["controls"] if control["name"] == "sides are of the same time"]
    assert control["passed"] is passed
    assert (report["verdict"], report["exit_code"]) == (("clean", 0) if passed else ("inconclusive", 3))
    if not passed:
        assert f"is {'newer' if held[0] > 2020 else 'older'} than training text (median day 20" in control["detail"]


def test_a_model_that_read_neither_side_is_not_found_by_their_time(place: Path, tmp_path: Path) -> None:
    """Held-out text of other words and another date: the model is no more contaminated for it."""
    save_plain(honest(), tmp_path / "honest")
    newer = tmp_path / "newer.jsonl"
    texts = [f"In 2026 {word} " * 12 for word in ("robots", "comets", "voters", "gamers") for _ in range(8)]
    newer.write_text(
        "".join(json.dumps({"text": f"{i} {text}", "date": "2026"}) + "\n" for i, text in enumerate(texts))
    )
    report = audit(
        tmp_path / "honest", str(place / "train.jsonl"), str(newer), out=tmp_path / "run", options=OPTIONS, formats=()
    ).report
    assert report["verdict"] != "found"


def drawn(train: list[str], heldout: list[str]) -> WindowSet:
    return WindowSet([], [], [], True, "", dates={"train": train, "heldout": heldout})


WRITTEN = {
    "days": [f"2019-0{1 + i % 9}-1{i % 9}" for i in range(25)],
    "days with strokes": [f"2019/0{1 + i % 9}/1{i % 9}" for i in range(25)],
    "seconds": [str(1_547_000_000 + 86_400 * i) for i in range(25)],
    "mail": [f"Tue, {1 + i % 28:02} Jan 2019 10:00:00 +0000" for i in range(25)],
}


@pytest.mark.parametrize("way", WRITTEN)
def test_dates_are_compared_however_they_are_written(way: str) -> None:
    [same] = check_dates(drawn(WRITTEN[way], WRITTEN[way]))
    assert same.passed
    [newer] = check_dates(drawn(WRITTEN[way], ["2023-05-01"] * 25))
    assert not newer.passed
    assert "held-out text is newer than training text (median day 2019-" in newer.detail


def test_times_on_both_sides_of_the_others_are_other_times() -> None:
    [control] = check_dates(drawn(["2010"] * 50 + ["2020"] * 50, ["2015"] * 100))
    assert not control.passed


def test_dates_that_cannot_be_compared_are_counted() -> None:
    [control] = check_dates(drawn(["once", "2019"] * 10, ["2019"] * 30))
    assert control.passed
    assert control.detail == (
        "not compared: 10 training and 30 held-out documents have a date that can be read, 20 of each are needed"
    )
    assert check_dates(drawn([], [])) == []
