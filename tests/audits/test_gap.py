"""`memaudit gap`: results as they are read, the verdict and its checks, the report."""

from __future__ import annotations

import csv
import datetime
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from typer.testing import CliRunner

from memaudit.audits.gap.results import read_results
from memaudit.audits.gap.run import gap
from memaudit.cli.app import app
from memaudit.errors import InputError
from memaudit.report.formats.screen import print_report
from memaudit.report.terminal import console
from memaudit.text.corpus.dates import Period, parse_date
from tests.report.stories import differing

CUTOFF = "2022-12-31"


def table(path, rows) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "date", "suspect", "one", "two"], *rows])
    return str(path)


def results(path, seed: int, rates, items: int = 600) -> str:
    """Write random results: ``rates`` is [models, (old, new)], half of the items are old."""
    rng = np.random.default_rng(seed)
    new = np.arange(items) >= items // 2
    right = rng.random((3, items)) < np.array(rates)[:, new.astype(int)]
    days = [f"{2023 if late else 2021}-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}" for late in new]
    return table(path, [[f"q{i}", day, *right[:, i].astype(int)] for i, day in enumerate(days)])


def judged(path, tmp_path, **options):
    return gap(path, model="suspect", controls=["one", "two"], cutoff=CUTOFF, out=tmp_path / "run", **options).report


def test_a_model_that_knows_the_old_items_is_found(tmp_path):
    report = judged(results(tmp_path / "r.csv", 0, [(0.9, 0.5), (0.6, 0.5), (0.6, 0.5)]), tmp_path)
    assert (report["verdict"], report["exit_code"]) == ("found", 1)
    assert report["gap"]["low"] < 0.3 < report["gap"]["high"]
    assert report["p_value"] == 1e-4


@pytest.mark.parametrize(
    ("rates", "items"),
    [([(0.9, 0.5), (0.6, 0.5), (0.6, 0.5)], 600), ([(0.6, 0.5)] * 3, 600), ([(0.6, 0.5)] * 3, 60),
     ([(0.9, 0.5), (0.9, 0.5), (0.5, 0.5)], 600)],
)  # fmt: skip
def test_every_format_tells_the_same_story(tmp_path, capsys, rates, items):
    done = gap(results(tmp_path / "r.csv", 1, rates, items), model="suspect", controls=["one", "two"], cutoff=CUTOFF,
               out=tmp_path / "run")  # fmt: skip
    print_report(done.report, console())
    assert differing(done.folder, capsys.readouterr().out) == []
    assert str(done).startswith(f"{done.verdict}: ")
    assert "srcdoc" in done._repr_html_()


def test_harder_items_are_no_evidence(tmp_path):
    report = judged(results(tmp_path / "r.csv", 1, [(0.6, 0.5), (0.6, 0.5), (0.6, 0.5)]), tmp_path)
    assert (report["verdict"], report["exit_code"]) == ("no-evidence", 0)
    assert "no evidence above the null at this power" in report["headline"]
    assert "clean" not in json.dumps(report)
    naive = report["sections"][0]["tables"][0]["rows"][1]
    assert naive[3] <= 0.05, "the drop alone would have been called contamination"


def test_too_little_power_is_inconclusive(tmp_path):
    report = judged(results(tmp_path / "r.csv", 3, [(0.6, 0.5)] * 3, items=60), tmp_path)
    assert (report["verdict"], report["exit_code"]) == ("inconclusive", 3)
    assert any("--least-gap" in reason for reason in report["reasons"])
    again = judged(str(tmp_path / "r.csv"), tmp_path / "again", least_gap=0.5)
    assert again["verdict"] == "no-evidence"


def test_controls_that_differ_from_each_other_hold_the_verdict_back(tmp_path):
    report = judged(results(tmp_path / "r.csv", 0, [(0.9, 0.5), (0.9, 0.5), (0.5, 0.5)]), tmp_path)
    assert report["p_value"] <= 0.05
    assert (report["verdict"], report["exit_code"]) == ("inconclusive", 3)
    assert "controls against each other" in report["reasons"][0]


def test_controls_near_the_ceiling_hold_the_verdict_back(tmp_path):
    report = judged(results(tmp_path / "r.csv", 0, [(0.5, 0.38), (0.97, 0.94), (0.97, 0.94)], items=4000), tmp_path)
    assert report["p_value"] <= 0.05, "in points there is a gap"
    assert report["verdict"] == "inconclusive"
    assert "log odds" in report["reasons"][0]


def test_items_left_out_are_counted(tmp_path):
    rows = [[f"o{i}", "2021-05-01", i % 2, 1, 0] for i in range(10)]
    rows += [[f"n{i}", "2023-02", 1 - i % 2, 1, i % 3 == 0] for i in range(10)]
    rows += [["across", "2022", 1, 1, 1], ["whole", "2022-12", 1, 1, 1], ["gone", "2021-01-01", 1, "", 1]]
    path = table(tmp_path / "r.csv", rows)
    run = gap(path, model="suspect", controls=["one", "two"], cutoff="2022-12-30", out=tmp_path / "run")
    assert run.report["items"] == {"read": 23, "old": 10, "new": 10, "across": 2, "missing": 1}
    assert any("2 items were left out" in note for note in run.report["sections"][0]["notes"])


def test_one_side_without_items_is_inconclusive(tmp_path):
    path = table(tmp_path / "r.csv", [[f"o{i}", "2021", 1, 1, 0] for i in range(10)])
    assert judged(path, tmp_path)["verdict"] == "inconclusive"


def test_models_that_answer_alike_say_nothing_of_power(tmp_path):
    rows = [[f"q{i}", 2021 + 2 * (i % 2), 1, 1, 1] for i in range(20)]
    report = judged(table(tmp_path / "r.csv", rows), tmp_path)
    assert (report["verdict"], report["p_value"]) == ("inconclusive", 1.0)


def test_the_same_call_gives_the_same_bytes(tmp_path):
    path = results(tmp_path / "r.csv", 2, [(0.7, 0.5), (0.6, 0.5), (0.6, 0.5)])
    judged(path, tmp_path)
    first = (tmp_path / "run" / "report.json").read_bytes(), (tmp_path / "run" / "report.html").read_bytes()
    judged(path, tmp_path)
    assert first == ((tmp_path / "run" / "report.json").read_bytes(), (tmp_path / "run" / "report.html").read_bytes())


def test_the_command_prints_and_exits_by_its_verdict(tmp_path):
    path = results(tmp_path / "r.csv", 0, [(0.9, 0.5), (0.6, 0.5), (0.6, 0.5)])
    words = [path, "--model", "suspect", "--control", "one", "--control", "two", "--cutoff", CUTOFF]
    done = CliRunner().invoke(app, ["gap", *words, "--out", str(tmp_path / "cli")])
    assert done.exit_code == 1
    assert "points more than its controls" in done.stdout
    report = json.loads((tmp_path / "cli" / "report.json").read_text())
    assert report["provenance"]["command"].startswith(f"memaudit gap {path} --model suspect --control one")
    page = (tmp_path / "cli" / "report.html").read_text()
    assert "Performance gap" in page
    assert "2023" in page and "2.02k" not in page and "2,023" not in page, "years are not quantities"


def test_hostile_names_stay_text(tmp_path):
    path = tmp_path / "r.jsonl"
    name = "<script>alert(1)</script>"
    rows = [{"id": i, "date": 2021 + 2 * (i % 2), name: i % 3 > 0, "one": i % 5 > 0} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    gap(str(path), model=name, controls=["one"], cutoff=CUTOFF, out=tmp_path / "run")
    assert b"<script>alert" not in (tmp_path / "run" / "report.html").read_bytes()


@given(st.dates(datetime.date(1800, 1, 1), datetime.date(2200, 12, 31)))
def test_dates_are_read_to_the_day_the_month_or_the_year(day):
    assert parse_date(day.isoformat()) == Period(day, day)
    assert parse_date(f"{day.isoformat()}T10:00:00Z") == Period(day, day)
    month = parse_date(day.isoformat()[:7])
    year = parse_date(str(day.year))
    assert month is not None and year is not None
    assert (month.first.day, month.first.month) == (1, day.month)
    assert (month.last + datetime.timedelta(1)).day == 1 and month.last.month == day.month
    assert (year.first, year.last) == (datetime.date(day.year, 1, 1), datetime.date(day.year, 12, 31))
    assert year.side(datetime.date(day.year, 12, 31)) == "old"
    assert year.side(datetime.date(day.year - 1, 12, 31)) == "new"
    assert year.side(datetime.date(day.year, 6, 1)) is None


@pytest.mark.parametrize("text", ["", "soon", "2023-13", "2023-02-30", "23-01-01", "0000", "2023-01-01x", "1e3"])
def test_what_is_no_date_is_none(text):
    assert parse_date(text) is None


def test_results_of_several_files_and_kinds_add_up(tmp_path):
    day = datetime.date(2021, 3, 4)
    parquet.write_table(
        pa.table({"id": ["a", "b"], "date": [day, day], "suspect": [True, None]}), tmp_path / "s.parquet"
    )
    (tmp_path / "c.jsonl").write_text(
        '{"id": "a", "date": "2021-03-04", "one": 0.25}\n\n{"id": "b", "date": "2021-03-04", "one": "yes"}\n'
    )
    read = read_results([str(tmp_path / "s.parquet"), str(tmp_path / "c.jsonl")], ["suspect", "one"])
    assert {name: item.scores for name, item in read.items.items()} == {
        "a": {"suspect": 1.0, "one": 0.25},
        "b": {"one": 1.0},
    }


BAD = {
    '{"id": "a", "suspect": 1, "one": 1}\n': r"r\.jsonl:1: no date; columns: id, suspect, one",
    '{"date": 2021, "suspect": 1, "one": 1}\n': r"r\.jsonl:1: no id",
    '{"id": "a", "date": "soon", "suspect": 1, "one": 1}\n': r'r\.jsonl:1: "date" is "soon"',
    '{"id": "a", "date": true, "suspect": 1, "one": 1}\n': r'r\.jsonl:1: "date" is true',
    '{"id": "a", "date": 2021, "suspect": 1.5, "one": 1}\n': r'r\.jsonl:1: "suspect" is 1\.5',
    '{"id": "a", "date": 2021, "suspect": [1], "one": 1}\n': r'r\.jsonl:1: "suspect" is \[1\]',
    '{"id": "a", "date": 2021, "suspects": 1, "one": 1}\n': r"no column 'suspect' .*Did you mean 'suspects'",
    '{"id": "a", "date": 2021, "suspect": 1}\n{"id": "a", "date": 2021, "suspect": 1}\n': r"r\.jsonl:2: .*also appears",
    '{"id": "a", "date": 2021, "suspect": 1}\n{"id": "a", "date": 2022, "one": 1}\n': r"r\.jsonl:2: .*another date at",
    '{"id": "a"\n': r"r\.jsonl:1: not valid JSON",
    "\n": r"no results in",
}


@pytest.mark.parametrize("content", BAD)
def test_bad_results_are_refused_with_their_place(tmp_path, content):
    path = tmp_path / "r.jsonl"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read_results([str(path)], ["suspect", "one"])
    assert re.search(BAD[content], str(caught.value))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"controls": []}, "needs a control"),
        ({"controls": ["suspect"]}, "named twice"),
        ({"cutoff": "2023"}, "no day"),
        ({"alpha": 0.0}, "--alpha"),
        ({"least_gap": 1.0}, "--least-gap"),
        ({"formats": ["pdf"]}, "pdf"),
    ],
)
def test_options_that_make_no_comparison_are_refused(tmp_path, fields, problem):
    path = table(tmp_path / "r.csv", [["q", "2021", 1, 1, 1]])
    given = {"model": "suspect", "controls": ["one"], "cutoff": CUTOFF} | fields
    with pytest.raises(InputError, match=problem):
        gap(path, **given, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
