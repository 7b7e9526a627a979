"""Scores of a model on contaminated and on clean items."""

from __future__ import annotations

import gzip
import json
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import memaudit.stats as stats
from memaudit.audits.benchmark.items import Benchmark, Item
from memaudit.audits.benchmark.scores import Scores, compare_scores, read_scores
from memaudit.errors import InputError


def file(path, content) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        read_scores(path)
    return str(caught.value)


WANTED = {"q1": True, "q2": False, "3": True}
FILES = {
    "gpt.jsonl": '{"id": "q1", "correct": true}\n\n{"id": "q2", "correct": 0, "x": null}\n{"id": 3, "correct": 1.0}\n',
    "gpt.json": '[{"id": "q1", "correct": "Yes"}, {"id": "q2", "correct": "no"}, {"id": 3, "correct": "TRUE"}]',
    "gpt.csv": "id,answer,correct\nq1,Mars,1\nq2,Venus,false\n3,Earth, yes \n",
    "gpt.tsv": "correct\ttask_id\n1.0\tq1\n0.0\tq2\n1\t3\n",
}


@pytest.mark.parametrize("name", FILES)
def test_scores_are_read_from_records(tmp_path, name):
    (scores,) = read_scores(file(tmp_path / name, FILES[name]))
    assert (scores.model, scores.correct) == ("gpt", WANTED)
    assert scores.file == str(tmp_path / name)


def test_places_are_those_of_the_records(tmp_path):
    path = file(tmp_path / "gpt.jsonl", FILES["gpt.jsonl"])
    assert read_scores(path)[0].places == {"q1": f"{path}:1", "q2": f"{path}:3", "3": f"{path}:4"}


def test_scores_are_read_from_parquet_and_compressed_files(tmp_path):
    table = pa.table({"id": ["q1", "q2"], "correct": [True, False]})
    parquet.write_table(table, tmp_path / "gpt.parquet")
    assert read_scores(str(tmp_path / "gpt.parquet"))[0].correct == {"q1": True, "q2": False}
    path = file(tmp_path / "llama.csv.gz", gzip.compress(FILES["gpt.csv"].encode()))
    assert [(s.model, s.correct) for s in read_scores(path)] == [("llama", WANTED)]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_object_maps_ids_to_scores(tmp_path, indent):
    path = file(tmp_path / "gpt.json", json.dumps({"q1": True, "q2": "no", "é": 1}, indent=indent))
    (scores,) = read_scores(path)
    assert scores.correct == {"q1": True, "q2": False, "é": True}
    assert scores.places["é"] == f"{path}:{1 if indent is None else 4}"


def test_one_record_is_not_taken_for_a_map(tmp_path):
    (scores,) = read_scores(file(tmp_path / "gpt.json", '{"id": "q1", "correct": true}'))
    assert scores.correct == {"q1": True}


def test_columns_are_models_where_none_is_called_correct(tmp_path):
    path = file(tmp_path / "all.csv", "id,small,large\nq1,0,1\nq2,1,1\n")
    found = {scores.model: scores.correct for scores in read_scores(path)}
    assert found == {"small": {"q1": False, "q2": True}, "large": {"q1": True, "q2": True}}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("s.csv", "id,correct\nq1,maybe\n", ':2: "correct" is "maybe", expected true or false'),
        ("s.csv", "id,correct\nq1,0.5\n", ':2: "correct" is "0.5", expected true or false'),
        ("s.csv", "id,gpt,topic\nq1,1,art\n", ':2: "topic" is "art", expected true or false'),
        ("s.jsonl", '{"id": 1, "correct": null}\n', ':1: "correct" is null, expected true or false'),
        ("s.jsonl", '{"id": 1, "correct": 2}\n', ':1: "correct" is 2, expected true or false'),
        ("s.jsonl", '{"id": 1, "correct": 1}\n{"id": 2}\n', ":2: no correct"),
        ("s.jsonl", '{"id": 1, "correct": 1}\n{"id": null, "correct": 1}\n', ":2: no id"),
        ("s.jsonl", '{"id": 1, "correct": 1}\n{"correct": 1}\n', ":2: no id"),
        ("s.jsonl", '{"id": 1, "correct": 1}\n{"id": "1", "correct": 1}\n', ':2: a score for "1" also appears at'),
        ("s.jsonl", '{"name": 1, "correct": 1}\n', ":1: no columns id and correct; columns: name, correct"),
        ("s.jsonl", '{"id": 1}\n', ":1: no columns id and correct; columns: id"),
        ("s.jsonl", "{not json}\n", ":1: not valid JSON"),
        ("s.jsonl", "\n", "no scores in"),
        ("s.json", '{"q1": true, "q1": true}', ':1: a score for "q1" also appears at'),
        ("s.json", '{\n"q1": true,\n"q2": []}', ':3: "correct" is [], expected true or false'),
        ("s.txt", "q1 true\n", "no file of scores"),
    ],
)
def test_scores_that_cannot_be_used_are_refused(tmp_path, name, content, problem):
    assert problem in refusal(file(tmp_path / name, content))


def items(count: int, **more) -> Benchmark:
    found = [Item(str(n), n, f"b.jsonl:{n}", {"text": "x"}) for n in range(1, count + 1)]
    return Benchmark(found, [], "texts", {"text": ["text"]}, 0, **more)


def scored(correct: dict[str, bool]) -> Scores:
    return Scores("s.csv", "gpt", correct, {name: f"s.csv:{line}" for line, name in enumerate(correct, 2)})


def names(benchmark: Benchmark) -> list[str]:
    return [item.id for item in benchmark.items]


def test_both_sides_and_their_difference():
    benchmark = items(200)
    dirty = set(names(benchmark)[:50])
    correct = {name: int(name) % 10 != 0 if name in dirty else int(name) % 2 == 0 for name in names(benchmark)}
    (row,) = compare_scores([scored(correct)], benchmark, names(benchmark), dirty)
    low, high = (stats.clopper_pearson(45, 50).low, stats.clopper_pearson(45, 50).high)
    assert row["contaminated"] == {"hits": 45, "n": 50, "rate": 0.9, "low": low, "high": high}
    assert (row["clean"]["hits"], row["clean"]["n"], row["clean"]["rate"]) == (75, 150, 0.5)
    assert row["difference"]["estimate"] == pytest.approx(0.4)
    assert 0 < row["difference"]["low"] < 0.4 < row["difference"]["high"] < 1
    assert row["p_value"] == pytest.approx(1e-4)
    shown = [f"{100 * row['difference'][side]:+.1f}" for side in ("low", "high")]
    assert row["sentence"] == (
        "gpt scores 90.0% on items that occur in the corpus (50) and 50.0% on those that do not (150): "
        f"+40.0 points [{shown[0]}, {shown[1]}], p = 0.0001"
    )
    assert (row["items_without_score"], row["scores_not_used"]) == (0, 0)
    json.dumps(row, allow_nan=False)


def test_no_difference_is_called_none():
    benchmark = items(40)
    (row,) = compare_scores(
        [scored({name: int(name) % 2 == 0 for name in names(benchmark)})], benchmark, names(benchmark), {"1", "2"}
    )
    assert row["difference"]["estimate"] == 0
    assert row["p_value"] == 1
    assert row["sentence"].endswith("; no difference is shown")


def test_p_agrees_with_the_exact_test():
    from scipy.stats import hypergeom

    rng = random.Random(5)
    benchmark = items(60)
    correct = {name: rng.random() < 0.5 for name in names(benchmark)}
    dirty = set(names(benchmark)[:20])
    (row,) = compare_scores([scored(correct)], benchmark, names(benchmark), dirty)
    law = hypergeom(60, sum(correct.values()), 20)
    mean = 20 * sum(correct.values()) / 60
    far = abs(row["contaminated"]["hits"] - mean) - 1e-9
    exact = sum(law.pmf(k) for k in range(21) if abs(k - mean) >= far)
    assert row["p_value"] == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize(
    ("dirty", "correct", "sentence"),
    [
        (set(), {"1": True}, "gpt scores 100% on items that do not occur in the corpus (1); there are no others "),
        ({"1"}, {"1": True}, "gpt scores 100% on items that occur in the corpus (1); there are no others to "),
        ({"1"}, {"3": True}, "gpt: no judged item has a score"),
    ],
)
def test_a_missing_side_is_undefined(dirty, correct, sentence):
    (row,) = compare_scores([scored(correct)], items(3), ["1", "2"], dirty)
    assert row["sentence"].startswith(sentence)
    assert (row["difference"], row["p_value"]) == (None, None)
    assert None in (row["clean"]["rate"], row["contaminated"]["rate"])


def test_items_without_a_score_and_scores_of_unjudged_items_are_counted():
    correct = {"1": True, "2": False, "5": True, "empty": False}
    benchmark = items(5, meant={"empty": ("empty",)})
    (row,) = compare_scores([scored(correct)], benchmark, ["1", "2", "3", "4"], {"2", "3"})
    assert (row["clean"]["n"], row["contaminated"]["n"]) == (1, 1)
    assert (row["items_without_score"], row["scores_not_used"]) == (2, 2)


def test_a_score_for_an_unknown_item_is_refused_with_its_place():
    with pytest.raises(InputError) as caught:
        compare_scores([scored({"1": True, "q9": True})], items(3), ["1"], set())
    assert str(caught.value) == "s.csv:3: the benchmark has no item \"q9\" (items are called '1' and so on)"


def test_scores_by_an_id_that_several_items_have_are_refused_and_others_taken():
    meant = {"0": ("a.jsonl#0", "b.jsonl#0"), "7": ("a.jsonl#7",)}
    found = [Item(name, n, f"x:{n}", {"text": "x"}) for n, name in enumerate(["a.jsonl#0", "b.jsonl#0", "a.jsonl#7"])]
    benchmark = Benchmark(found, [], "texts", {"text": ["text"]}, 0, meant=meant)
    judged = [item.id for item in found]
    with pytest.raises(InputError) as caught:
        compare_scores([scored({"7": True, "0": True})], benchmark, judged, set())
    assert str(caught.value) == (
        's.csv:3: 2 items of the benchmark have the id "0" (write the full id: "a.jsonl#0", "b.jsonl#0" and so on)'
    )
    (row,) = compare_scores([scored({"7": True, "b.jsonl#0": False})], benchmark, judged, set())
    assert (row["clean"]["n"], row["items_without_score"], row["scores_not_used"]) == (2, 1, 0)
    with pytest.raises(InputError, match=r'a score for "a\.jsonl#7" also appears at'):
        compare_scores([scored({"7": True, "a.jsonl#7": False})], benchmark, judged, set())


def test_where_records_were_rejected_it_may_be_theirs():
    (row,) = compare_scores([scored({"1": True, "q9": True})], items(3, rejected=1), ["1"], set())
    assert row["scores_not_used"] == 1


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_counts_add_up(flags):
    benchmark = items(len(flags))
    rows = list(zip(names(benchmark), flags, strict=True))
    correct = {name: right for name, (right, _, has_score) in rows if has_score}
    dirty = {name for name, (_, found, _) in rows if found}
    (row,) = compare_scores([scored(correct)], benchmark, names(benchmark), dirty)
    assert row["clean"]["n"] + row["contaminated"]["n"] + row["items_without_score"] == len(flags)
    assert row["contaminated"]["hits"] == sum(correct[name] for name in correct if name in dirty)
    assert row["clean"]["hits"] == sum(correct[name] for name in correct if name not in dirty)
    assert (row["difference"] is None) == (row["clean"]["n"] == 0 or row["contaminated"]["n"] == 0)
