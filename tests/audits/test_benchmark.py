"""Items of a benchmark: layouts are detected, parts hold the right texts, nothing is lost in silence."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from memaudit.audits.benchmark.items import read_benchmark
from memaudit.audits.benchmark.layouts import LAYOUTS, OFFERED, detect, name_columns
from memaudit.errors import InputError

QUESTION = "Which of these planets is the largest of all?"


def jsonl(path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def refusal(paths, fields=None, **options) -> str:
    with pytest.raises(InputError) as caught:
        read_benchmark([paths] if isinstance(paths, str) else paths, fields, **options)
    return str(caught.value)


def only(path, fields=None):
    (item,) = read_benchmark([path], fields).items
    return item


CHOICES = ["Mars", "Jupiter", "Venus", "Earth"]
LABELLED = [{"text": text, "label": label} for text, label in zip(CHOICES, "ABCD", strict=True)]
ASKS = {"question": QUESTION, "answer": "Jupiter", "both": f"{QUESTION}\nJupiter"}
OFFERS, PAIR = (
    {
        "question": QUESTION,
        "answer": "Jupiter",
        OFFERED: "\n".join([QUESTION, *choices]),
        "both": f"{QUESTION}\nJupiter",
    }
    for choices in (CHOICES, CHOICES[:2])
)

KNOWN = [
    ("question and answer", {"question": QUESTION, "answer": "Jupiter"}, ASKS),
    ("question and answer", {"question": QUESTION, "answer": ["Jupiter", "Jupiter"]}, ASKS),
    ("HumanEval", {"task_id": "a", "prompt": QUESTION, "canonical_solution": "Jupiter", "test": ""}, ASKS),
    ("MBPP", {"text": QUESTION, "code": "Jupiter", "task_id": 1, "test_list": []}, ASKS),
    ("MBPP", {"prompt": QUESTION, "code": "Jupiter", "task_id": 1}, ASKS),
    ("MMLU", {"question": QUESTION, "choices": CHOICES, "answer": 1, "subject": "x"}, OFFERS),
    ("MMLU", {"question": QUESTION, "choices": CHOICES, "answer": "B"}, OFFERS),
    ("MMLU", {"question": QUESTION, **dict(zip("ABCD", CHOICES, strict=True)), "answer": "B"}, OFFERS),
    ("MMLU", {"input": QUESTION, **dict(zip("ABCD", CHOICES, strict=True)), "target": "B"}, OFFERS),
    ("MMLU-Pro", {"question": QUESTION, "options": CHOICES, "answer": "B", "answer_index": 1}, OFFERS),
    ("ARC or OpenBookQA", {"id": 1, "question": {"stem": QUESTION, "choices": LABELLED}, "answerKey": "B"}, OFFERS),
    (
        "ARC",
        {"question": QUESTION, "choices": {"text": CHOICES, "label": ["1", "2", "3", "4"]}, "answerKey": "2"},
        OFFERS,
    ),
    ("OpenBookQA", {"question_stem": QUESTION, "choices": {"text": CHOICES}, "answerKey": "B"}, OFFERS),
    ("TruthfulQA", {"Type": "x", "Question": QUESTION, "Best Answer": "Jupiter", "Incorrect Answers": "x"}, ASKS),
    ("TruthfulQA", {"question": QUESTION, "best_answer": "Jupiter"}, ASKS),
    ("GPQA", {"Question": QUESTION, "Correct Answer": "Jupiter", "Incorrect Answer 1": "Mars"}, ASKS),
    ("HellaSwag", {"ctx": QUESTION, "endings": CHOICES, "label": "1", "ind": 4}, OFFERS),
    ("PIQA", {"goal": QUESTION, "sol1": "Mars", "sol2": "Jupiter", "label": 1}, PAIR),
    ("TriviaQA", {"question": QUESTION, "answer": {"value": "Jupiter", "aliases": []}}, ASKS),
    ("MATH", {"problem": QUESTION, "solution": "Jupiter", "level": 1}, ASKS),
    ("AIME", {"problem": QUESTION, "answer": "Jupiter"}, ASKS),
    ("AIME", {"Problem": QUESTION, "Answer": 60}, {"question": QUESTION, "answer": "60", "both": f"{QUESTION}\n60"}),
    ("GSM-Plus", {"question": QUESTION, "solution": "Jupiter", "answer": "5"}, ASKS),
    ("input and target", {"input": QUESTION, "target": "Jupiter"}, ASKS),
    ("prompt and completion", {"prompt": QUESTION, "completion": "Jupiter"}, ASKS),
    (
        "MMLU-Pro",
        {"question": QUESTION, "options": dict(zip("ABCD", CHOICES, strict=True)), "answer": "Jupiter"},
        OFFERS,
    ),
    ("questions", {"question": QUESTION, "category": "x"}, {"question": QUESTION}),
    ("problems", {"problem": QUESTION}, {"question": QUESTION}),
    ("prompts", {"prompt": QUESTION, "key": 1}, {"question": QUESTION}),
    ("BoolQ", {"question": QUESTION, "passage": "About planets.", "answer": True},
     {"context": "About planets.", "question": QUESTION}),
    ("SQuAD", {"question": QUESTION, "context": "About planets.", "answers": {"text": ["Jupiter"] * 3}},
     {"context": "About planets.", **ASKS}),
    ("RACE", {"article": "About planets.", "question": QUESTION, "options": CHOICES, "answer": "B"},
     {"context": "About planets.", **OFFERS}),
    ("MNLI", {"sentence1": "a b", "sentence2": "c"}, {"premise": "a b", "hypothesis": "c", "both": "a b\nc"}),
    ("SNLI", {"premise": "a b", "hypothesis": "c"}, {"premise": "a b", "hypothesis": "c", "both": "a b\nc"}),
    ("AG News", {"title": "a b", "description": "c"}, {"title": "a b", "description": "c", "both": "a b\nc"}),
    ("WinoGrande", {"sentence": "a _ b", "option1": "x", "option2": "y", "answer": "1"}, {"text": "a _ b"}),
    ("sentences", {"sentence": "a b", "label": 1}, {"text": "a b"}),
    ("reviews", {"review": "a b", "sentiment": 1}, {"text": "a b"}),
    ("texts", {"text": "a b"}, {"text": "a b"}),
]  # fmt: skip


@pytest.mark.parametrize(("layout", "row", "parts"), KNOWN, ids=[f"{i}-{k[0]}" for i, k in enumerate(KNOWN)])
def test_well_known_layouts(tmp_path, layout, row, parts):
    benchmark = read_benchmark([jsonl(tmp_path / "b.jsonl", [row])])
    assert benchmark.layout == layout
    assert benchmark.items[0].parts == parts
    assert list(benchmark.items[0].parts)[-1] == list(parts)[-1]
    assert benchmark.fields.keys() == parts.keys()


def test_every_layout_of_the_table_is_tested_and_can_be_reached():
    assert {layout.name for layout in LAYOUTS} == {layout for layout, *_ in KNOWN}
    for layout in LAYOUTS:
        record: dict[str, object] = {}
        for column in layout.columns.split():
            name, _, inner = column.partition(".")
            if inner:
                record.setdefault(name, {})[inner] = "x"  # type: ignore[index]
            else:
                record[name] = "x"
        found = detect(record)
        assert found is not None
        assert found.layout == layout.name


def test_choices_without_a_label_are_all_of_the_answer(tmp_path):
    rows = [
        {"ctx": QUESTION, "endings": CHOICES, **label} for label in ({}, {"label": ""}, {"label": -1}, {"label": 2})
    ]
    items = read_benchmark([jsonl(tmp_path / "b.jsonl", rows)]).items
    assert [item.parts["answer"] for item in items] == ["\n".join(CHOICES)] * 3 + ["Venus"]


@pytest.mark.parametrize(
    ("label", "chosen"),
    [(0, "0"), ("0", "0"), ("A", "0"), ("D", "7"), (" B ", "5"), ("7", "7"), ("5", "5"), (3, "7")],
)
def test_a_choice_is_meant_by_letter_then_index_then_text(tmp_path, label, chosen):
    row = {"question": QUESTION, "choices": ["0", "5", "6", "7"], "answer": label}
    assert only(jsonl(tmp_path / "b.jsonl", [row])).parts["answer"] == chosen


@pytest.mark.parametrize("label", [4, "E", "8", True, 1.5, [1]])
def test_a_label_that_names_no_choice_is_refused(tmp_path, label):
    row = {"question": QUESTION, "choices": ["0", "5", "6", "7"], "answer": label}
    message = refusal(jsonl(tmp_path / "b.jsonl", [row]))
    assert "b.jsonl:1: " in message
    assert '"answer" is ' in message
    assert "one of 4 choices" in message


def test_choices_of_a_wrong_kind_are_refused(tmp_path):
    row = {"question": QUESTION, "choices": "['a' 'b']", "answer": 0}
    assert '"choices" is a string, expected a list of choices' in refusal(jsonl(tmp_path / "b.jsonl", [row]))
    assert '"choices" holds no choice' in refusal(jsonl(tmp_path / "b.jsonl", [row | {"choices": []}]))


def test_named_fields_are_parts_and_one_more_together(tmp_path):
    row = {"q": {"stem": "Why?"}, "notes": ["one", {"text": "two"}, None], "extra": {"text": "three"}, "n": 4}
    path = jsonl(tmp_path / "b.jsonl", [row])
    assert only(path, ["q.stem"]).parts == {"q.stem": "Why?"}
    assert only(path, ["q.stem", "notes"]).parts == {"q.stem": "Why?", "notes": "one\ntwo", "both": "Why?\none\ntwo"}
    three = read_benchmark([path], ["q.stem", "extra", "n"])
    assert three.items[0].parts == {"q.stem": "Why?", "extra": "three", "n": "4", "all": "Why?\nthree\n4"}
    assert three.fields == {"q.stem": ["q.stem"], "extra": ["extra"], "n": ["n"], "all": ["q.stem", "extra", "n"]}
    assert three.layout is None


def test_named_fields_join_even_one_called_context(tmp_path):
    path = jsonl(tmp_path / "b.jsonl", [{"context": "a", "question": "b"}])
    assert only(path, ["context", "question"]).parts["both"] == "a\nb"


def test_a_column_with_a_dot_in_its_name_wins(tmp_path):
    assert only(jsonl(tmp_path / "b.jsonl", [{"a.b": "flat", "a": {"b": "deep"}}]), ["a.b"]).parts == {"a.b": "flat"}


def test_a_wrong_field_is_named_with_its_place_and_a_suggestion(tmp_path):
    path = jsonl(tmp_path / "b.jsonl", [{"question": {"stem": "x"}, "id": 1}])
    message = refusal(path, ["question.stam"])
    assert "b.jsonl:1: no field 'question.stam'; fields: question, question.stem, id." in message
    assert "Did you mean 'question.stem'?" in message


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (["a", "a"], "given twice"),
        (["a", "both"], "reserved for the fields together"),
        (["a", "b", "all"], "reserved for the fields together"),
    ],
)
def test_field_names_that_cannot_be_told_apart_are_refused(tmp_path, fields, problem):
    assert problem in refusal(jsonl(tmp_path / "b.jsonl", [{"a": "x", "b": "x", "both": "x", "all": "x"}]), fields)


def test_a_field_without_text_is_refused_with_a_way_in(tmp_path):
    path = jsonl(tmp_path / "b.jsonl", [{"answer": {"value": "x"}}])
    assert '"answer" is an object, expected text or a list of texts (name what it holds: --field answer.value)' in (
        refusal(path, ["answer"])
    )


def test_empty_parts_are_dropped_and_empty_items_counted(tmp_path):
    rows = [
        {"question": "Why?", "answer": ""},
        {"question": " ", "answer": None},
        {"question": None, "answer": "So."},
    ]
    benchmark = read_benchmark([jsonl(tmp_path / "b.jsonl", rows)])
    assert [item.parts for item in benchmark.items] == [{"question": "Why?"}, {"answer": "So."}]
    assert (benchmark.empty, [item.id for item in benchmark.items]) == (1, ["1", "3"])


def test_numbers_count_records_over_all_files_and_blank_lines_not(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n\n{"text": ""}\nnot json\n{"text": "four"}\n')
    (tmp_path / "b.txt").write_text("five\n \nsix\n")
    benchmark = read_benchmark([str(tmp_path / "a.jsonl"), str(tmp_path / "b.txt")], skip_bad=True)
    assert [(item.id, item.number, item.source.rpartition("/")[2]) for item in benchmark.items] == [
        ("1", 1, "a.jsonl:1"),
        ("4", 4, "a.jsonl:5"),
        ("5", 5, "b.txt:1"),
        ("6", 6, "b.txt:3"),
    ]
    assert (benchmark.empty, benchmark.rejected) == (1, 1)
    assert benchmark.first_rejected[0].startswith(f"{tmp_path}/a.jsonl:4: not valid JSON")
    assert [file["path"] for file in benchmark.files] == [str(tmp_path / "a.jsonl"), str(tmp_path / "b.txt")]


def test_bad_records_are_refused_with_their_place(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"question": "x", "answer": "y"}\n{"question": "x"}\n')
    assert "a.jsonl:2: no field 'answer'; fields: question." in refusal(str(tmp_path / "a.jsonl"))


def test_files_of_different_layouts_read_side_by_side(tmp_path):
    one = jsonl(tmp_path / "a.jsonl", [{"question": "x", "answer": "y"}])
    other = jsonl(tmp_path / "b.jsonl", [{"problem": "p", "solution": "s"}])
    benchmark = read_benchmark([one, other])
    assert benchmark.layout == "question and answer + MATH"
    assert benchmark.fields["question"] == ["question", "problem"]


@pytest.mark.parametrize("name", ["id", "task_id", "question_id", "pairID", "ind"])
def test_items_are_called_by_their_id(tmp_path, name):
    path = jsonl(tmp_path / "b.jsonl", [{name: value, "text": "x"} for value in (7, "q/8")])
    assert [item.id for item in read_benchmark([path]).items] == ["7", "q/8"]


def test_a_field_that_tells_items_apart_wins_over_one_that_does_not(tmp_path):
    path = jsonl(tmp_path / "b.jsonl", [{"id": 1, "uid": u, "text": "x"} for u in "ab"])
    assert [item.id for item in read_benchmark([path]).items] == ["a", "b"]


def test_a_field_that_some_items_lack_names_none(tmp_path):
    path = jsonl(tmp_path / "b.jsonl", [{"id": "a", "text": "x"}, {"id": None, "text": "y"}])
    assert [item.id for item in read_benchmark([path]).items] == ["1", "2"]


def test_ids_that_repeat_are_told_apart_by_file_and_then_by_line(tmp_path):
    one = jsonl(tmp_path / "a.jsonl", [{"id": v, "text": "x"} for v in (0, 1, 7, "7")])
    other = jsonl(tmp_path / "b.jsonl", [{"id": v, "text": "x"} for v in (0, 1, 2)])
    benchmark = read_benchmark([one, other])
    assert [item.id for item in benchmark.items] == [
        *["a.jsonl#0", "a.jsonl#1", f"{one}:3#7", f"{one}:4#7"],
        *["b.jsonl#0", "b.jsonl#1", "2"],
    ]
    assert benchmark.notice == (
        f'6 of 7 items share their id with another ("0" is at {one}:1 and {other}:1) and are named by file and line'
    )
    assert benchmark.meant["0"] == ("a.jsonl#0", "b.jsonl#0")
    assert read_benchmark([jsonl(tmp_path / "c.jsonl", [{"id": 1, "text": "x"}])]).notice == ""


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(st.lists(st.sampled_from(["0", "1", "a.jsonl#0", "b.jsonl#1"]), max_size=4), min_size=2, max_size=3)
)
def test_no_two_items_have_one_name(tmp_path, files):
    assume(any(files))
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    # two files of one name, and one of another
    names = [folders[0] / "a.jsonl", folders[1] / "b.jsonl", folders[2] / "a.jsonl"]
    paths = [jsonl(name, [{"id": v, "text": "x"} for v in ids]) for name, ids in zip(names, files, strict=False) if ids]
    benchmark = read_benchmark(paths)
    called = [item.id for item in benchmark.items]
    assert len(set(called)) == len(called)
    values = [value for ids in files for value in ids]
    assert all(value == name or name.endswith(f"#{value}") for value, name in zip(values, called, strict=True))
    assert bool(benchmark.notice) == (called != values)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"text": "y"}, "b.jsonl:2: no field 'meta.key'; fields: text."),
        ({"text": "y", "meta": {"key": None}}, '"meta.key" is null, expected a text or a whole number'),
        ({"text": "y", "meta": {"key": " "}}, '"meta.key" is blank, expected'),
        ({"text": "y", "meta": {"key": 1.5}}, '"meta.key" is a number, expected'),
    ],
)
def test_the_field_of_the_ids_is_what_the_user_says(tmp_path, record, said):
    first = {"id": "no", "text": "x", "meta": {"key": "q1"}}
    path = jsonl(tmp_path / "b.jsonl", [first, {"text": "y", "meta": {"key": 2}}])
    assert [item.id for item in read_benchmark([path], id_field="meta.key").items] == ["q1", "2"]
    path = jsonl(tmp_path / "b.jsonl", [first, record])
    assert said in refusal(path, id_field="meta.key")
    assert read_benchmark([path], id_field="meta.key", skip_bad=True).rejected == 1


def test_an_unknown_layout_lists_the_columns(tmp_path):
    message = refusal(jsonl(tmp_path / "b.jsonl", [{"foo": "x", "bar": "y"}]))
    assert (
        "b.jsonl: no known layout of a benchmark; columns: foo, bar (name the fields to check, for example" in message
    )
    assert "--field question" in message


def test_files_that_hold_no_items(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n")
    assert f"no items in {tmp_path}/a.jsonl" in refusal(str(tmp_path / "a.jsonl"))
    path = jsonl(tmp_path / "c.jsonl", [{"text": ""}, {"text": {}}])
    assert f'(1 empty, 1 rejected, first {path}:2: "text" is an object' in refusal(path, skip_bad=True)
    assert "no benchmark given" in refusal([])


def test_paths_are_checked(tmp_path):
    path = jsonl(tmp_path / "b.jsonl", [{"text": "x"}])
    assert "named twice" in refusal([path, f"{tmp_path}/*.jsonl"])
    assert "no such file" in refusal(str(tmp_path / "c.jsonl"))
    assert "a benchmark has no domains" in refusal(f"web={path}")


HEADERLESS = [
    ("mmlu.csv", [[QUESTION, *CHOICES, "B"], [QUESTION, "A", "B", "C", "D", "C"]], "answer", ["Jupiter", "C"]),
    ("mmlu.csv", [[QUESTION, "True, True", "True, True", "1", "2", "A"]], "answer", ["True, True"]),
    ("news.csv", [["3", "Two words", "A whole sentence."], ["12", "One", "Two"]], "title", ["Two words", "One"]),
    ("sst.tsv", [["a fine film", "1"], ["bad", "0"]], "text", ["a fine film", "bad"]),
]


@pytest.mark.parametrize(("name", "rows", "part", "texts"), HEADERLESS)
def test_files_that_were_published_without_a_header(tmp_path, name, rows, part, texts):
    buffer = io.StringIO()
    csv.writer(buffer, delimiter="\t" if name.endswith("tsv") else ",").writerows(rows)
    (tmp_path / name).write_text(buffer.getvalue())
    benchmark = read_benchmark([str(tmp_path / name)])
    assert [item.parts[part] for item in benchmark.items] == texts
    assert benchmark.items[0].source == f"{tmp_path}/{name}:1"


@pytest.mark.parametrize(
    "header",
    [
        ["id", "question", "A", "B", "C", "D"],
        ["question", "A", "B", "C", "D", "answer"],
        ["class", "title", "description"],
        ["sentence", "label"],
        ["0", "1"],
        ["text", "0"],
    ],
)
def test_a_header_is_never_taken_for_a_record(header):
    assert name_columns(header) is None


def test_an_unknown_file_without_a_header_asks_for_one(tmp_path):
    (tmp_path / "b.csv").write_text("Why is it so that it is?,because\nHow?,so\n")
    assert "a file without a header needs one" in refusal(str(tmp_path / "b.csv"))


ROWS = [{"question": f"Number {i}?", "answer": f"It is {i}."} for i in range(3)]


def written(path, rows) -> str:
    columns = list(rows[0])
    if path.name.endswith((".csv", ".tsv")):
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([columns, *([row[c] for c in columns] for row in rows)])
        path.write_text(buffer.getvalue())
    elif path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


@pytest.mark.parametrize("name", ["b.jsonl", "b.json", "b.csv", "b.tsv", "b.parquet", "b.jsonl.gz"])
def test_all_formats_give_the_same_items(tmp_path, name):
    benchmark = read_benchmark([written(tmp_path / name, ROWS)])
    assert [item.parts["question"] for item in benchmark.items] == [row["question"] for row in ROWS]
    assert benchmark.fields["both"] == ["question", "answer"]
    assert benchmark.files[0]["bytes"] == (tmp_path / name).stat().st_size


def test_nested_columns_of_parquet(tmp_path):
    rows = [{"question": QUESTION, "choices": {"text": CHOICES, "label": [*"ABCD"]}, "answerKey": "B"}]
    assert only(written(tmp_path / "b.parquet", rows)).parts == OFFERS


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_every_record_is_an_item_or_empty(tmp_path_factory, pairs):
    path = jsonl(tmp_path_factory.mktemp("b") / "b.jsonl", [{"question": q, "answer": a} for q, a in pairs])
    full = [(q, a) for q, a in pairs if q.strip() or a.strip()]
    if not full:
        assert "no items" in refusal(path)
        return
    benchmark = read_benchmark([path])
    assert len(benchmark.items) + benchmark.empty == len(pairs)
    for item in benchmark.items:
        q, a = pairs[item.number - 1]
        parts = {name: text for name, text in (("question", q), ("answer", a)) if text.strip()}
        assert {name: text for name, text in item.parts.items() if name != "both"} == parts
        assert item.parts.get("both") == (f"{q}\n{a}" if len(parts) == 2 else None)


REAL = [
    ("benchmarks/ag-news-test/test.csv.gz", "AG News", 7600, "title description both"),
    ("benchmarks/aime-by-year/aime_1983_2022.jsonl.gz", "AIME", 889, "question answer both"),
    ("benchmarks/arc-challenge/ARC-Challenge-Dev.jsonl", "ARC or OpenBookQA", 294, "question answer both"),
    ("benchmarks/arc-challenge/ARC-Challenge-Test.jsonl", "ARC or OpenBookQA", 1150, "question answer both"),
    ("benchmarks/gsm8k/test.jsonl", "question and answer", 1319, "question answer both"),
    ("benchmarks/gsm8k/train.jsonl.gz", "question and answer", 7473, "question answer both"),
    ("benchmarks/humaneval/HumanEval.jsonl.gz", "HumanEval", 164, "question answer both"),
    ("benchmarks/lambada/lambada_test.jsonl.gz", "texts", 5153, "text"),
    ("benchmarks/mbpp/mbpp.jsonl", "MBPP", 974, "question answer both"),
    ("benchmarks/mmlu/mmlu_dev.jsonl.gz", "MMLU", 285, "question answer both"),
    ("benchmarks/mmlu/mmlu_test.jsonl.gz", "MMLU", 14042, "question answer both"),
    ("benchmarks/mmlu/mmlu_validation.jsonl.gz", "MMLU", 1531, "question answer both"),
    ("benchmarks/oren-injected/boolq.jsonl.gz", "BoolQ", 1000, "context question"),
    ("benchmarks/oren-injected/hellaswag.jsonl.gz", "HellaSwag", 1000, "question answer both"),
    ("benchmarks/oren-injected/mmlu_high_school_psychology.jsonl.gz", "MMLU", 544, "question answer both"),
    ("benchmarks/oren-injected/mmlu_professional_law.jsonl.gz", "MMLU", 1533, "question answer both"),
    ("benchmarks/oren-injected/mmlu_professional_psychology.jsonl.gz", "MMLU", 611, "question answer both"),
    ("benchmarks/oren-injected/mnli.jsonl.gz", "MNLI", 1000, "premise hypothesis both"),
    ("benchmarks/oren-injected/naturalquestions.jsonl.gz", "question and answer", 1000, "question answer both"),
    ("benchmarks/oren-injected/openbookqa.jsonl.gz", "ARC or OpenBookQA", 500, "question answer both"),
    ("benchmarks/oren-injected/piqa.jsonl.gz", "PIQA", 1000, "question answer both"),
    ("benchmarks/oren-injected/truthfulqa.jsonl.gz", "prompt and completion", 1000, "question answer both"),
    ("benchmarks/sst2/dev.tsv", "sentences", 872, "text"),
    ("benchmarks/sst2/test.tsv", "sentences", 1821, "text"),
    ("benchmarks/sst2/glue_train.tsv.gz", "sentences", 67349, "text"),
    ("benchmarks/truthfulqa/TruthfulQA.csv", "TruthfulQA", 817, "question answer both"),
    ("contamination/gsm-plus-testmini/gsmplus_testmini.jsonl.gz", "GSM-Plus", 2400, "question answer both"),
    ("contamination/gsm8k-rewritten/rewritten_test_1_first659.jsonl.gz", "question and answer", 659,
     "question answer both"),
    ("contamination/llm-decontaminator/abstract_algebra_test.csv", "MMLU", 100, "question answer both"),
    ("contamination/llm-decontaminator/sociology_test.csv", "MMLU", 201, "question answer both"),
    ("contamination/llm-decontaminator/rephrase_gsm8k.jsonl.gz", "texts", 1319, "text"),
    ("contamination/magar-schwartz/SST2__sst2_test_set_1.csv.gz", "reviews", 1000, "text"),
    ("contamination/magar-schwartz/SST5__sst5_train_test_1_set.txt.gz", "texts", 2000, "text"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "layout", "items", "parts"), REAL, ids=[name for name, *_ in REAL])
def test_real_benchmarks(shared_data, name, layout, items, parts):
    benchmark = read_benchmark([str(shared_data / name)])
    assert benchmark.layout == layout
    assert (len(benchmark.items), benchmark.empty, benchmark.rejected) == (items, 0, 0)
    expected = parts.split()
    if layout in {"MMLU", "ARC or OpenBookQA"}:  # the answers of the others offer all that there is to choose
        expected.insert(-1, OFFERED)
    assert list(benchmark.items[0].parts) == expected
    assert [part for part in benchmark.fields if part in expected] == expected
    full = sum(item.parts.keys() == set(expected) for item in benchmark.items)
    assert full >= 0.95 * items


def test_real_answers_are_the_right_choices(shared_data):
    folder = shared_data / "benchmarks"
    mmlu = read_benchmark([str(folder / "mmlu" / "mmlu_dev.jsonl.gz")]).items
    assert [item.parts["answer"] for item in mmlu[:3]] == ["1", "False, False", "True, False"]
    arc = read_benchmark([str(folder / "arc-challenge" / "ARC-Challenge-Dev.jsonl")]).items
    assert (arc[0].id, arc[0].parts["answer"]) == ("Mercury_SC_407695", "Record the details of the investigation.")
    algebra = read_benchmark([str(shared_data / "contamination/llm-decontaminator/abstract_algebra_test.csv")]).items
    assert [item.parts["answer"] for item in algebra[:3]] == ["4", "24", "0,4"]


def test_every_other_real_file_reads_or_says_what_is_in_it(shared_data):
    named = {name for name, *_ in REAL}
    said = {}
    for path in sorted(shared_data.glob("benchmarks/*/*")) + sorted(shared_data.glob("contamination/*/*")):
        name = str(path.relative_to(shared_data))
        if path.name == "SOURCE" or path.suffix == ".zip" or name in named:
            continue
        try:
            assert list(read_benchmark([str(path)]).fields) == ["text"]
        except InputError as error:
            said[path.name] = error.message.rpartition("/")[2]
    assert {name: message.split(":", 1)[1][:40].strip() for name, message in said.items()} == {
        "data.json": "no known layout of a benchmark; columns",
        "CodeAlpacaDB.jsonl.gz": "no known layout of a benchmark; columns",
        "hellaswag_annotations.json.gz": "no known layout of a benchmark; columns",
        "mmlu_annotations.json.gz": "no known layout of a benchmark; columns",
    }
