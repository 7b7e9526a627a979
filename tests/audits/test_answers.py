"""Answers that somebody else produced: read strictly, compared as in any audit, refused where they tell nothing."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

import memaudit
from memaudit.audits.answers.fields import AnswerFields
from memaudit.audits.answers.harness import as_answer
from memaudit.audits.answers.read import read_answers
from memaudit.audits.answers.run import ALL, audit_answers
from memaudit.audits.answers.table import AnswerTable, attempts_of, compared, words_of_answers
from memaudit.audits.answers.whole import best, cut_within, whole_answers
from memaudit.audits.answers.windows import chosen_windows
from memaudit.audits.answers.words import WordTokens
from memaudit.errors import InputError, MemauditError, ModelError
from memaudit.metrics import METRICS
from memaudit.metrics.base import Outcome
from memaudit.metrics.fuzzy import edit_similarity, words
from memaudit.records import Capability
from memaudit.report.compare import render_comparison
from memaudit.runs.directory import read_run
from memaudit.text.corpus.objects import listed
from memaudit.text.corpus.rows import RecordError
from tests.audits.test_extraction import unique_text
from tests.strategies import ALPHABETS, texts

Row = dict[str, Any]


def rows_of(side: str, seed: int, known: int, count: int = 60) -> list[Row]:
    """Return prompts of which the first few are answered with their true text, the others with something else."""
    texts, others = unique_text(count, seed), unique_text(count, seed + 100)
    made = []
    for i, (text, other) in enumerate(zip(texts, others, strict=True)):
        prompt, target = text.split(" ", 12)[-1], " ".join(text.split()[:12])
        said = target if i < known else " ".join(other.split()[:12])
        made.append({"id": f"{side}-{i}", "prompt": prompt, "target": target, "output": f" {said} and more of it"})
    return made


TRAIN, HELDOUT = rows_of("train", 1, 20), rows_of("heldout", 2, 0)


def write(path: Path, rows: list[Row]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def refusal(rows: Any, heldout: Any = (), **fields: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(rows, heldout, **fields)
    return str(caught.value)


def read(rows: Any, heldout: Any = (), *, skip_bad: bool = False, **fields: str) -> Any:
    given = listed(rows, "answers"), listed(heldout, "heldout_answers")
    return read_answers(*given, AnswerFields(**fields), skip_bad=skip_bad, max_expand=None)


def attempts(rows: list[Row], count: int = 1) -> list[Any]:
    sides = read(rows)[:2]
    tokenizer = words_of_answers(sides, count)
    return [attempts_of(each, tokenizer, count) for each in sides[0].prompts]


# --- the audit -------------------------------------------------------------------------------------------------------


def test_training_text_in_the_answers_is_found_beside_heldout_answers(tmp_path: Path) -> None:
    result = audit_answers(TRAIN, HELDOUT, out=tmp_path / "run", formats=("html", "junit", "md", "sarif"))
    assert (result.verdict, result.exit_code) == ("found", 1)
    primary = result.report["estimates"][0]
    assert (primary["train"]["hits"], primary["heldout"]["hits"]) == (20, 0)
    assert result.report["headline"] == (
        "answers (list) answers 20 of 60 (33.3%) training prompts and 0 of 60 (0%) held-out prompts with the true text,"
        " word for word"
    )
    assert len(result.report["findings"]) == 20
    assert {path.name for path in result.files} == {"report.html", "junit.xml", "report.md", "results.sarif"}
    table = pd.read_parquet(result.folder / "records.parquet")
    assert table.extractable.sum() == table.attempts_verbatim.sum() == 20
    assert (table.attempts == 1).all()
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "Given their prompts, do the answers reproduce the true text verbatim?" in page
    assert "not ours, and not known; 1 attempt a prompt" in page
    assert "greedy" not in result.report["limits"][0]


def test_the_same_answers_resume_and_others_are_refused(tmp_path: Path) -> None:
    first = audit_answers(TRAIN, HELDOUT, out=tmp_path / "run")
    assert audit_answers(TRAIN, HELDOUT, out=tmp_path / "run").report == first.report
    assert read_run(tmp_path / "run").report == first.report
    plan = json.loads((tmp_path / "run" / "plan.json").read_bytes())
    assert plan["command"] == "memaudit.audit_answers(answers, heldout_answers)"
    with pytest.raises(MemauditError, match="plan"):
        audit_answers(TRAIN, HELDOUT[:-1], out=tmp_path / "run")


def test_without_a_null_nothing_is_found_and_never_clean(tmp_path: Path) -> None:
    alone = audit_answers(TRAIN, out=tmp_path / "alone")
    assert (alone.verdict, alone.exit_code) == ("inconclusive", 3)
    assert "there is no held-out text to compare with" in alone.report["reasons"]
    none_known = [row | {"output": "no"} for row in rows_of("train", 1, 0, 400)]
    result = audit_answers(none_known, rows_of("heldout", 2, 0, 400), out=tmp_path / "none")
    assert result.verdict == "inconclusive", "nothing shows that these answers are the model's"
    both = audit_answers(rows_of("train", 1, 20), rows_of("heldout", 2, 20), out=tmp_path / "both")
    assert both.verdict == "inconclusive"


def test_one_file_of_both_sides(tmp_path: Path) -> None:
    rows = [row | {"member": True} for row in TRAIN] + [row | {"member": False} for row in HELDOUT]
    one = audit_answers(rows, out=tmp_path / "one")
    two = audit_answers(TRAIN, HELDOUT, out=tmp_path / "two")
    assert one.report["estimates"] == two.report["estimates"]
    assert one.report["heldout"]["specs"] == ["answers (list)"]
    assert "leave out --member-field" in refusal(rows, HELDOUT, member="member")
    ours, theirs, used = read(rows, HELDOUT)
    assert (len(ours.prompts), len(theirs.prompts), "member" in used) == (120, 60, False)
    words = [row | {"split": "train"} for row in TRAIN] + [row | {"split": "Held-out"} for row in HELDOUT]
    assert [len(side.prompts) for side in read(words, member="split")[:2]] == [60, 60]
    assert "'maybe', expected true or false" in refusal([TRAIN[0] | {"member": "maybe"}])


@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "parquet", "frame"])
def test_every_format_gives_the_same_answers(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"answers.{form}"
    given: Any = str(path)
    if form == "jsonl":
        write(path, TRAIN)
    elif form == "json":
        path.write_text(json.dumps(TRAIN), encoding="utf-8")
    elif form == "csv":
        pd.DataFrame(TRAIN).to_csv(path, index=False)
    elif form == "parquet":
        parquet.write_table(pa.Table.from_pylist(TRAIN), path)
    else:
        given = pd.DataFrame(TRAIN)
    found = [(p.prompt, p.target, p.outputs, p.document) for p in read(given)[0].prompts]
    assert found == [(row["prompt"], row["target"], [row["output"]], row["id"]) for row in TRAIN]


def test_copies_are_counted_in_the_training_text(tmp_path: Path) -> None:
    train = [{"id": row["id"], "text": f"{row['target']} {row['prompt']}"} for row in TRAIN]
    result = audit_answers(TRAIN, HELDOUT, train=[*train, train[0] | {"id": "again"}], out=tmp_path / "run")
    assert result.report["copies"]["counted"]
    assert [record.copies_exact for record in result.records[:2]] == [2, 1]
    assert result.report["answers"]["searched"]["documents"] == 61
    memaudit.build_index(train, tmp_path / "index")
    indexed = audit_answers(TRAIN, HELDOUT, index=tmp_path / "index", out=tmp_path / "indexed")
    assert [record.copies_exact for record in indexed.records[:2]] == [1, 1]
    with pytest.raises(InputError, match="leave out --index or --train"):
        audit_answers(TRAIN, HELDOUT, train=train, index=tmp_path / "index", out=tmp_path / "both")


def test_tokens_of_a_model_instead_of_words(tmp_path: Path) -> None:
    from memaudit.text.tokenize import train_tokenizer

    train_tokenizer("bpe", unique_text(40, 1), 400).save(tmp_path / "model")
    (tmp_path / "model" / "memaudit.json").write_text("{}", encoding="utf-8")
    result = audit_answers(TRAIN, HELDOUT, tokenizer=tmp_path / "model", out=tmp_path / "run")
    assert result.report["estimates"][0]["train"]["hits"] == 20
    assert result.report["answers"]["tokens"].startswith("tokens of ")
    assert result.report["options"]["suffix"] > 12, "there are fewer words"


# --- attempts --------------------------------------------------------------------------------------------------------


def test_attempts_in_a_list_or_in_records_of_one_id_are_the_same(tmp_path: Path) -> None:
    several = [row | {"output": ["no", row["output"], "never"]} for row in TRAIN]
    apart = [row | {"output": output} for row in several for output in row["output"]]
    nameless = [{name: row[name] for name in ("prompt", "target", "output")} for row in apart]
    for rows in (several, apart, nameless):
        assert [p.outputs for p in read(rows)[0].prompts] == [row["output"] for row in several]
    theirs = [row | {"output": ["no", "never", row["output"], "a fourth"]} for row in HELDOUT]
    result = audit_answers(several, theirs, out=tmp_path / "run")
    assert result.report["answers"] | {"fields": None, "tokens": None} == {
        "attempts": 3, "most": 4, "fields": None, "tokens": None,
    }  # fmt: skip
    assert result.report["estimates"][0]["train"]["hits"] == 20
    assert result.records[0].others == {"attempts": 3, "attempts_verbatim": 1}
    assert result.records[0].continuation_text == TRAIN[0]["target"]
    assert result.report["headline"].endswith("word for word, in one of 3 attempts at least")
    counted = result.report["sections"][0]["tables"][1]["rows"]
    assert counted == [["0 of 3", 40, 60], ["1 of 3", 20, 0], ["2 of 3", 0, 0], ["3 of 3", 0, 0]]
    assert "of up to 4 attempts a prompt, the first 3 count" in result.notice
    assert any("has 3 attempts" in limit for limit in result.report["limits"])


def test_more_attempts_of_one_side_are_no_advantage() -> None:
    # The null gets as many attempts: what only a fourth attempt gives is not counted where the others have three.
    rows = [row | {"output": ["no"] * 3 + [row["output"]]} for row in TRAIN]
    assert all(each.verbatim == 0 for each in attempts(rows, 3))
    assert sum(each.verbatim for each in attempts(rows, 4)) == 20


def test_the_best_attempt_is_the_one_most_like_the_true_text() -> None:
    (each,) = attempts([{"target": "a b c d", "output": ["x b c d", "a b c", "a b c e", "a b c d"]}], 4)
    assert (each.best, each.verbatim) == (3, 1)
    (each,) = attempts([{"target": "a b c d", "output": ["", "a b x y", "a b c e"]}], 3)
    assert (each.best, each.verbatim) == (2, 0)
    assert best(each, lambda said, true: float(said == true)) == 0.0


def test_records_of_one_id_with_other_prompts_are_refused() -> None:
    rows = [
        {"id": 1, "prompt": "a", "target": "b", "output": "c"},
        {"id": 1, "prompt": "x", "target": "b", "output": "c"},
    ]
    assert refusal(rows).startswith('answers[1]: id "1" also stands at answers[0], with another prompt or true text')
    assert "--document-field" in refusal(rows)
    first, second = read(rows, document="id")[0].prompts
    assert (first.document, second.document) == ("1", "1")


def test_documents_are_the_unit(tmp_path: Path) -> None:
    rows = [row | {"book": i // 30} for i, row in enumerate(TRAIN)]
    theirs = [row | {"book": i // 20} for i, row in enumerate(HELDOUT)]
    result = audit_answers(rows, theirs, document_field="book", domain_field="book", out=tmp_path / "run")
    assert result.report["windows"]["train_documents"] == 2
    assert result.report["train"]["domains"] == {"0": 30, "1": 30}
    with pytest.raises(InputError, match="no field 'book'"):
        audit_answers(TRAIN, HELDOUT, document_field="book", out=tmp_path / "none")


# --- what is compared ------------------------------------------------------------------------------------------------


def test_white_space_before_a_text_is_left_out_and_nothing_else() -> None:
    target = " bought five lollipops"
    for said in ("bought five lollipops", "\n\n  bought five lollipops", "bought five lollipops and more"):
        (each,) = attempts([{"target": target, "output": said}])
        assert each.verbatim == 1, said
    others = '"bought five lollipops"', "```\nbought five lollipops", "bought  five lollipops", "bought five lollipopsy"
    for said in (*others, "Bought five lollipops", "bought five", ""):
        (each,) = attempts([{"target": target, "output": said}])
        assert each.verbatim == 0, said


def test_an_echo_of_the_prompt_is_counted_and_not_cut_off(tmp_path: Path) -> None:
    rows = [row | {"output": f"{row['prompt']} {row['target']}"} for row in TRAIN]
    result = audit_answers(rows, HELDOUT, out=tmp_path / "run")
    assert result.report["estimates"][0]["train"]["hits"] == 0
    assert any("60 outputs begin with their prompt" in note for note in result.report["sections"][0]["notes"])


def test_values_are_those_of_the_metrics(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "target": "one two three four", "output": "one two 3 four five"}]
    (record,) = audit_answers(rows, out=tmp_path / "run").records
    assert (record.matched, record.extractable, record.ended) == (2, False, False)
    assert record.continuation_text == "one two 3 four"
    ids = np.array(record.suffix_ids), np.array(record.continuation_ids)
    for name in ("edit_similarity", "rouge_l", "bleu", "longest_common"):
        outcome = Outcome(*ids[:1], "", record.matched, written=ids[1], text="")
        assert record.value(name) == METRICS[name].compute(outcome)
    assert record.edit_similarity_text == edit_similarity("one two three four", "one two 3 four")


def test_an_output_that_ends_early_or_never(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "target": "one two three", "output": "one two"},
        {"prompt": "b", "target": "one two three", "output": ""},
        {"prompt": "c", "target": "one two three", "output": "one two three " * 100_000},
        {"prompt": "d", "target": "one two three", "output": "x" * 10**7},
    ]
    records = audit_answers(rows, out=tmp_path / "run").records
    assert [record.ended for record in records] == [True, True, False, True]
    assert [record.matched for record in records] == [2, 0, 3, 0]
    assert [record.extractable for record in records] == [False, False, True, False]
    assert len(records[2].continuation_ids or ()) == 3
    assert len(records[3].continuation_text or "") <= 2_000


@settings(deadline=None)
@given(st.lists(st.text("".join(ALPHABETS.values()) + " .,\n", max_size=30), min_size=2, max_size=2))
def test_words_for_tokens_lose_nothing(texts: list[str]) -> None:
    target, said = texts
    if not target.strip():
        return
    (each,) = attempts([{"prompt": said, "target": target, "output": said}])
    tokenizer = words_of_answers(read([{"prompt": said, "target": target, "output": said}])[:2], 1)
    assert tokenizer.decode(each.window.suffix) == target.strip()
    assert tokenizer.decode(each.window.prefix) == said
    again = tokenizer.encode_batch([said])[0]
    assert [said[start:end] for start, end in zip(again.starts, again.ends, strict=True)] == [
        tokenizer.decode([index]) for index in again.ids
    ]
    assert (each.verbatim == 1) == (tokenizer.decode(each.written[0]) == target.strip())
    assert compared(said, target) == said.lstrip()


@settings(deadline=None)
@given(texts("cjk"), texts("cjk"), texts("thai"), st.sampled_from(["", " ", "\n", "\u3000", "。"]), st.booleans())
def test_an_output_that_goes_on_without_a_space_is_a_hit(
    one: str, two: str, three: str, between: str, thai: bool
) -> None:
    target, rest = (three, "กคง" + one) if thai else (one + between, two + "人")
    if target.strip():
        (each,) = attempts([{"prompt": "p", "target": target, "output": target.rstrip() + rest}])
        assert each.verbatim == 1


def test_scripts_without_spaces_are_those_of_the_words_of_metrics() -> None:
    letters = [letter for code in range(0x110000) if re.match(r"\w", letter := chr(code))]
    alone = [letter for letter in letters if len(words(f"a{letter}a")) == 3]
    assert len(alone) > 90_000
    assert all(len(WordTokens([f"a{letter}a"]).encode_batch([f"a{letter}a"])[0].ids) == 3 for letter in alone[::7])
    for text in ("naïve", "word", "привет", "한국어", "مرحبا"):
        assert len(WordTokens([text]).encode_batch([text])[0].ids) == 1


@settings(deadline=None)
@given(st.lists(st.sampled_from(["one", "two", "three,"]), min_size=1, max_size=5), st.text(" \n\t", max_size=3))
def test_white_space_behind_a_true_text_takes_no_hit_away(said: list[str], behind: str) -> None:
    target = " ".join(said)
    for output in (target, f"{target} more", f"{target}\nmore"):
        (each,) = attempts([{"prompt": "p", "target": target + behind, "output": output}])
        assert each.verbatim == 1


def test_line_ends_of_another_system_take_no_hit_away() -> None:
    for target, output in (("one,\ntwo", "one,\r\ntwo\r\nthree"), ("one\r\ntwo\r\n", "\r\none\ntwo")):
        (each,) = attempts([{"prompt": "p", "target": target, "output": output}])
        assert each.verbatim == 1


def test_true_texts_that_were_cut_within_a_word_are_told(tmp_path: Path) -> None:
    rows = [{**row, "target": row["target"][:-2]} for row in TRAIN]
    result = audit_answers(rows, HELDOUT, out=tmp_path / "run")
    assert not any(record.extractable for record in result.records)
    told = cut_within(attempts(rows))
    assert told.startswith("20 prompts have an output that begins with the true text and goes on within its last word")
    assert any(told[1:] in note for section in result.report["sections"] for note in section["notes"])
    assert not cut_within(attempts(TRAIN))


def test_words_carry_the_white_space_before_them() -> None:
    words = WordTokens(["one two,\n three  ", "naïve <eos> \ufffd"])
    (ids,) = (encoding.ids.tolist() for encoding in words.encode_batch(["one two,\n three  "]))
    assert [words.decode([index]) for index in ids] == ["one", " two", ",", "\n three", "  "]
    assert words.decode(words.encode_batch(["naïve <eos>"])[0].ids) == "naïve <eos>"
    assert words.encode_batch(["one four"])[0].ids.tolist() == [ids[0], words.unknown_id]
    assert words.encode_batch([""])[0].ids.tolist() == []
    assert WordTokens(["a b"]).sha256 != WordTokens(["a c"]).sha256
    with pytest.raises(InputError, match="not saved"):
        words.save(Path("model"))


def test_texts_of_the_same_kind_are_not_alike_by_their_spaces(tmp_path: Path) -> None:
    records = audit_answers(HELDOUT, out=tmp_path / "run").records
    assert max(record.edit_similarity or 0.0 for record in records) == 0.0


def test_a_short_prompt_does_not_fail_the_round_trip(tmp_path: Path) -> None:
    rows = [{"prompt": "it was", "target": " the worst", "output": f"{i}"} for i in range(1)]
    controls = {c["name"]: c for c in audit_answers(rows, out=tmp_path / "run").report["controls"]}
    assert controls["tokenizer round trip"]["passed"]


def test_hostile_outputs_are_escaped_everywhere(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> \x1b[31mred\x1b[0m \u202eevil =1+1"
    rows = [row | {"target": evil, "output": evil, "prompt": f"{i} {evil}"} for i, row in enumerate(TRAIN)]
    result = audit_answers(rows, HELDOUT, out=tmp_path / "run", formats=("html", "md", "junit", "sarif"))
    assert result.report["estimates"][0]["train"]["hits"] == 60
    for file in result.files:
        written = file.read_text(encoding="utf-8")
        assert "<script>alert" not in written or file.suffix == ".sarif"
        assert "\x1b" not in written


def test_the_table_answers_what_it_was_given_and_nothing_else() -> None:
    kept = attempts(TRAIN)
    table = AnswerTable(words_of_answers(read(TRAIN)[:2], 1), kept, "0" * 64, ())
    assert table.capabilities == {Capability.CONTINUATIONS, Capability.WRITING}
    (ids,) = table.greedy_continuations([kept[0].window])
    assert ids.tolist() == kept[0].window.suffix.tolist()
    for ask in (lambda: table.continuations([kept[0].window.prefix], 3), lambda: table.score([kept[0].window])):
        with pytest.raises(ModelError, match="answers are given for their prompts alone"):
            ask()


# --- both sides ------------------------------------------------------------------------------------------------------


def test_sides_of_other_lengths_are_not_matched(tmp_path: Path) -> None:
    short = [row | {"target": row["target"][:9]} for row in HELDOUT]
    result = audit_answers(TRAIN, short, out=tmp_path / "run")
    assert result.verdict == "inconclusive"
    assert "a shorter text is guessed sooner" in result.report["windows"]["matching"]


def test_heldout_text_that_is_training_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 of 60 held-out prompts overlap with training text"):
        audit_answers(TRAIN, [*HELDOUT[:-1], TRAIN[0]], out=tmp_path / "run")
    result = audit_answers(TRAIN, [*HELDOUT[:-1], TRAIN[0]], out=tmp_path / "aside", allow_overlap=True)
    assert result.report["windows"]["heldout"] == 59
    long = {"prompt": "x", "target": " ".join(map(str, range(90))), "output": "no"}
    part = {"prompt": "y", "target": " ".join(map(str, range(20, 110))), "output": "no"}
    with pytest.raises(InputError, match="overlap"):
        audit_answers([*TRAIN, long], [*HELDOUT, part], out=tmp_path / "part")
    # Instructions and examples that all prompts share are no overlap.
    shots = " ".join(map(str, range(200)))
    sides = ([row | {"prompt": f"{shots} {row['prompt']}"} for row in side] for side in (TRAIN, HELDOUT))
    assert audit_answers(*sides, out=tmp_path / "shots").verdict == "found"


def test_answers_of_several_to_the_same_prompts_are_compared(tmp_path: Path) -> None:
    others = [row | {"output": "something else entirely"} for row in TRAIN]
    runs = [
        audit_answers(rows, HELDOUT, name=name, out=tmp_path / name).folder
        for name, rows in (("one", TRAIN), ("other", others))
    ]
    compared_runs = memaudit.compare(runs)
    assert [contender.name for contender in compared_runs.contenders] == ["one", "other"]
    assert "2 models answered the same 60 training and 60 held-out prompts" in render_comparison(compared_runs)


def test_a_limit_draws_prompts_by_the_seed(tmp_path: Path) -> None:
    result = audit_answers(TRAIN, HELDOUT, limit=10, seed=3, out=tmp_path / "run")
    assert (result.report["windows"]["train"], result.report["windows"]["heldout"]) == (10, 10)
    kept = [chosen_windows(attempts(TRAIN), [], limit=10, seed=seed, allow_overlap=False)[0] for seed in (3, 3, 4)]
    names = [[each.window.document for each in some] for some in kept]
    assert names[0] == names[1] != names[2]
    assert len(chosen_windows(attempts(TRAIN), [], limit=ALL, seed=0, allow_overlap=False)[0]) == 60


# --- records that cannot be used -------------------------------------------------------------------------------------

ROW = {"prompt": "p", "target": "t", "output": "o"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "p", "output": "o"}, "answers: no field of the true text; fields: prompt, output (--target-field"),
        ({"prompt": "p", "target": "t"}, "answers: no field of the output; fields: prompt, target (--output-field"),
        (ROW | {"answer": "a"}, "answers: which field is the output, 'output' or 'answer'? (--output-field names it)"),
        (ROW | {"gold": "a"}, "answers: which field is the true text, 'target' or 'gold'? (--target-field names it)"),
        (ROW | {"question": "a"}, "answers: which field is the prompt, 'prompt' or 'question'? (--prompt-field"),
        (ROW | {"output": None}, 'answers[0]: "output" holds null, expected a string: the output (an output without'),
        (ROW | {"output": []}, 'answers[0]: "output" is an empty list'),
        (ROW | {"output": ["a", 3]}, 'answers[0]: "output" holds a number'),
        (ROW | {"target": None}, 'answers[0]: "target" is null, expected a string: the true text'),
        (ROW | {"prompt": 3}, 'answers[0]: "prompt" is a number'),
        (ROW | {"prompt": [3]}, "answers[0]: the prompt is a list of something else than messages"),
        (ROW | {"id": [1]}, 'answers[0]: "id" is an array'),
        (ROW | {"target": " \n"}, "no answers in answers (list) (1 without a true text)"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_told_is_refused(row: Row, told: str) -> None:
    assert refusal([row]).startswith(told)


def test_named_fields_and_messages() -> None:
    row = {
        "in": {"chat": [{"role": "user", "content": "Hi"}, {"content": "Go on"}]},
        "gold": "t",
        "true": "x",
        "raw": ["o"],
    }
    (each,) = read([row], prompt="in.chat", target="true", output="raw")[0].prompts
    assert (each.prompt, each.target, each.outputs) == ("user: Hi\nuser: Go on", "x", ["o"])
    assert "no field 'tru'; did you mean" in refusal([row], target="tru").lower() or "true" in refusal(
        [row], target="tru"
    )
    later = [ROW, {"prompt": "p", "target": "t"}]
    assert refusal(later).startswith("answers[1]: no field 'output', which holds the output in the first record")


def test_bad_records_are_skipped_on_request_and_counted(tmp_path: Path) -> None:
    bad = [
        {"id": "bad", "prompt": "p", "target": "t", "output": None},
        {"id": "x", "prompt": "q", "target": " ", "output": ""},
    ]
    rows = [*TRAIN, *bad]
    result = audit_answers(rows, HELDOUT, skip_bad=True, out=tmp_path / "run")
    assert (result.report["train"]["rejected"], result.report["train"]["empty"]) == (1, 1)
    assert result.report["train"]["first_rejected"][0].startswith('answers[60]: "output" holds null')


def test_nothing_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no answers"):
        audit_answers([], out=tmp_path / "run")
    with pytest.raises(InputError, match="no such file"):
        audit_answers("missing.jsonl", out=tmp_path / "run")


# --- logs of lm-evaluation-harness -----------------------------------------------------------------------------------


def sample(number: int, target: str, said: list[str], **more: Any) -> Row:
    return {
        "doc_id": number,
        "doc": {"question": "?", "answer": target},
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": f"Question: number {number}\nAnswer:", "arg_1": {"until": ["\n"]}}},
        "resps": [said],
        "filtered_resps": ["extracted"],
        "exact_match": 0.0,
        "doc_hash": "0",
        **more,
    }


def test_sample_logs_are_read(tmp_path: Path) -> None:
    lines = [
        sample(number, f"the answer {number}", [f" the answer {number}", "no"], filter=name)
        for number in range(3)
        for name in ("strict-match", "flexible-extract")
    ]
    ours, _, used = read(write(tmp_path / "samples_gsm8k_2026-01-01T00-00-00.jsonl", lines))
    assert [(p.document, p.target, p.outputs) for p in ours.prompts] == [
        (str(n), f"the answer {n}", [f" the answer {n}", "no"]) for n in range(3)
    ]
    assert ours.prompts[0].prompt == "Question: number 0\nAnswer:"
    assert (ours.filtered, used["output"]) == (3, "output")
    result = audit_answers(lines, out=tmp_path / "run")
    assert "3 lines of sample logs repeat an item for another filter" in result.notice
    assert result.report["estimates"][0]["train"]["hits"] == 3


def test_two_logs_number_their_items_alike(tmp_path: Path) -> None:
    names = [write(tmp_path / f"samples_{task}.jsonl", [sample(0, "t", [task])]) for task in ("a", "b")]
    assert [(p.document, p.outputs) for p in read(names)[0].prompts] == [(f"{n}#0", [t]) for n, t in zip(names, "ab")]  # noqa: B905


def test_logs_of_choices_hold_no_text() -> None:
    choices = sample(0, "1", ["x"]) | {
        "arguments": {f"gen_args_{i}": {"arg_0": "Q", "arg_1": f" {i}"} for i in range(2)},
        "resps": [[["-1.5", "False"]], [["-2.5", "True"]]],
    }
    rolling = sample(0, "t", ["x"]) | {"arguments": {"gen_args_0": {"arg_0": "text"}}, "resps": [[["-3.2"]]]}
    for row in (choices, rolling, choices | {"resps": [[[-1.5, False]]], "arguments": [["Q", " 0"]]}):
        told = refusal([row])
        assert told.startswith("answers[0]: a log of log-likelihoods (multiple choice or perplexity): it holds no text")
        assert "generate_until" in told
    assert as_answer(sample(0, "t", ["o"]) | {"arguments": [["P", {}]]})["prompt"] == "P"
    for broken in ({"arguments": []}, {"resps": None}, {"arguments": [[{}]]}):
        with pytest.raises(RecordError):
            as_answer(sample(0, "t", ["o"]) | broken)


# --- whole answers, and published scores -----------------------------------------------------------------------------


def test_whole_answers_are_counted_as_published_scores_are() -> None:
    rows = [
        {"target": "Uhura", "output": "Uhura", "book": "a"},
        {"target": "Uhura", "output": " uhura\n", "book": "a"},
        {"target": "Uhura", "output": "Uhuras", "book": "b"},
        {"target": "Uhura", "output": "...", "book": "b"},
    ]
    ours = read(rows, domain="book")[0].prompts
    kept = [attempts_of(each, words_of_answers(read(rows)[:2], 1), 1) for each in ours]
    section = whole_answers(kept, 0)
    (row,) = section.tables[0].rows
    assert row[:4] == ["Training text", 4, 1, 0.25] and row[5] == 0.5
    assert row[6] == pytest.approx((1 + edit_similarity("Uhura", " uhura\n") + 5 / 6 + 0) / 4)  # type: ignore[operator]
    assert row[7] is None
    assert section.tables[1].rows == [["a", 2, 0.5, 1.0], ["b", 2, 0.0, 0.0]]
    assert any("ROUGE-L is undefined for 1 answers" in note for note in section.notes)
    assert any("of another training prompt" in note and "2 of 4" in note for note in section.notes)


EXHIBITS = "exhibits/real-llm-ngram-predictions/5gram-{}-GSM8K-test.jsonl.gz", "exhibits/name-cloze-gpt4"


@pytest.mark.parametrize(("model", "hits", "rate"), [("Qwen-1_8B", 2549, "38.7%"), ("Gemma-2B", 1066, "16.2%")])
def test_published_predictions_are_recomputed(
    model: str, hits: int, rate: str, shared_data: Path, tmp_path: Path
) -> None:
    file = shared_data / EXHIBITS[0].format(model)
    if not file.is_file():
        pytest.skip(f"{file.name} does not lie beside this checkout")
    result = audit_answers(str(file), document_field="idx", out=tmp_path / "run")
    (row,) = result.report["sections"][0]["tables"][0]["rows"]
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        published = [json.loads(line) for line in lines]
    assert (row[1], row[2], f"{row[3]:.1%}") == (len(published), hits, rate)
    assert row[3] == pytest.approx(np.mean([line["exact"] for line in published]), abs=1e-12)
    assert row[6] == pytest.approx(np.mean([line["edit_similarity"] for line in published]), abs=1e-12)
    assert result.report["windows"]["train_documents"] == 1319


def title_key(title: str) -> str:
    plain = title.split("; Or,")[0].casefold() if title.startswith("Moby") else title.casefold()
    plain = plain.replace("-", "").replace("'", "").replace("\u2019", "")
    return re.sub(r"^the_", "", "_".join(re.findall(r"\w+", plain)))


def test_published_name_cloze_is_recomputed(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / EXHIBITS[1]
    if not folder.is_dir():
        pytest.skip("the published answers do not lie beside this checkout")
    answers = str(folder / "gpt4_name_cloze.jsonl.gz")
    result = audit_answers(answers, document_field="book", domain_field="book", out=tmp_path / "run")
    table = result.report["sections"][0]["tables"][1]
    found = {title_key(str(row[0]).replace("_", " ")): row[3] for row in table["rows"]}
    with (folder / "published_top100.csv").open(newline="", encoding="utf-8") as file:
        published = {title_key(row["title"]): row["gpt4_accuracy"] for row in csv.DictReader(file)}
    both = published.keys() & found.keys()
    assert len(both) == 60
    assert {book: f"{found[book]:.2f}" for book in both} == {book: published[book] for book in both}
    by_book = defaultdict(int)
    for record in result.records:
        by_book[record.domain] += 1
    assert sum(by_book.values()) == 9057
