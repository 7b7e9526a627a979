"""What convicts an item depends on the benchmark and on one document: no copies, no other documents change it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from memaudit.audits.benchmark.layouts import LAYOUTS as TABLE
from memaudit.audits.benchmark.layouts import Layout, detect, parts_of
from memaudit.audits.contamination.run import Contamination, contamination, merge
from memaudit.text.index.corpus_index import build_index

VOCABULARY = [
    f"{a}{b}{c}" for a in ("bra", "cli", "dro", "fen", "gul") for b in "aeiou" for c in ("st", "rn", "lk", "mp")
]
COUNTS = [1, 2, 9, 10, 11, 50, 300, 3000]
OTHERS = [0, 20, 400, 2000]


def prose(seed: str, words: int = 20) -> str:
    lot = random.Random(seed)
    return " ".join(lot.choice(VOCABULARY) for _ in range(words)).capitalize() + "."


def choices(n: int) -> dict[str, object]:
    texts = [prose(f"choice {n} {letter}", 6) for letter in "abcd"]
    return {"question": prose(f"q{n}"), "choices": texts, "answer": n % 4}


LAYOUTS: dict[str, Callable[[int], dict[str, object]]] = {
    "GSM8K": lambda n: {"question": prose(f"q{n}"), "answer": prose(f"a{n}", 24)},
    "MMLU": choices,
    "texts": lambda n: {"text": prose(f"q{n}", 30)},
    "HumanEval": lambda n: {"task_id": f"T/{n}", "prompt": prose(f"q{n}"), "canonical_solution": prose(f"a{n}", 24)},
}
HELD: dict[str, Callable[[dict[str, object], int], str]] = {
    "question": lambda row, i: f"Q: {_question(row)}\nA: {prose(f'another answer {i}', 9)}",
    "answer": lambda row, i: f"{prose(f'another question {i}', 9)}\n{_answer(row)}\n{prose(f'after {i}', 9)}",
    "both": lambda row, i: f"{_question(row)}\n{_answer(row)}\n{prose(f'after {i}', 9)}",
    "few-shot": lambda row, i: "\n\n".join(
        [prose(f"shot {i}"), f"Q: {_question(row)}\nA: {_answer(row)}", prose(f"end {i}")]
    ),
}


def _question(row: dict[str, object]) -> str:
    return str(next(row[name] for name in ("question", "prompt", "text") if name in row))


def _answer(row: dict[str, object]) -> str:
    if "choices" in row:
        return str(row["choices"][row["answer"]])  # type: ignore[index]
    return str(row.get("answer") or row.get("canonical_solution") or "")


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def texts(path: Path, found: list[str]) -> str:
    return write(path, [{"text": text} for text in found])


def convicted(result: Contamination) -> set[int]:
    return {item.number for item in result.items if item.verdict == "contaminated"}


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("laws")


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    layout=st.sampled_from(sorted(LAYOUTS)),
    part=st.sampled_from(sorted(HELD)),
    copies=st.sampled_from(COUNTS),
    others=st.sampled_from(OTHERS),
    size=st.integers(1, 12),
    second=st.booleans(),
)
@example(layout="GSM8K", part="answer", copies=3000, others=0, size=5, second=False)
@example(layout="MMLU", part="question", copies=3000, others=2000, size=1, second=True)
def test_copies_never_clean_an_item_nor_do_other_documents(
    folder: Path, layout: str, part: str, copies: int, others: int, size: int, second: bool
) -> None:
    assume(part != "answer" or layout in {"GSM8K", "HumanEval"})  # no text has one, and a short choice is no evidence
    rows = [LAYOUTS[layout](n) for n in range(size)]
    benchmarks = [write(folder / "b.jsonl", rows)]
    if second:
        benchmarks.append(write(folder / "b2.jsonl", [LAYOUTS["texts"](n) for n in range(100, 104)]))
    held = [HELD[part](rows[0], i) for i in range(copies)]
    corpus = texts(folder / "c.jsonl", [*held, *(prose(f"other {i}", 60) for i in range(others))])
    result = contamination(benchmarks, corpus, out=Path(mkdtemp(dir=folder)) / "run", formats=())
    assert convicted(result) == {1}
    assert (result.verdict, result.exit_code) == ("found", 1)


def laid_out(layout: Layout, n: int) -> dict[str, object]:
    """A record of a layout: prose in every column, four choices where it has some, the first of them right."""
    row: dict[str, object] = {}
    for column in layout.columns.split():
        offered = column in layout.choices.split()
        texts = [prose(f"{column} {n} {letter}", 12) for letter in "abcd"]
        value: object = texts if offered and " " not in layout.choices else prose(f"{column} {n}", 24)
        if column == layout.label:
            value = "A" if column == "answerkey" else 0
        outer, _, inner = column.partition(".")
        row[outer] = {**row.get(outer, {}), inner: value} if inner else value  # type: ignore[dict-item]
    return row


@pytest.mark.parametrize("layout", TABLE, ids=lambda layout: layout.name)
def test_copies_never_clean_an_item_of_any_layout(folder: Path, layout: Layout) -> None:
    rows = [laid_out(layout, n) for n in range(6)]
    fields = detect(rows[2])
    assert fields is not None
    held = " ".join(text for part, text in parts_of(rows[2], fields).items() if part in fields.fields)
    benchmark = write(folder / "b.jsonl", rows)
    for copies in (1, 11, 300):
        documents = [f"{prose(f'before {i}', 9)} {held} {prose(f'after {i}', 9)}" for i in range(copies)]
        corpus = texts(folder / "c.jsonl", [*documents, *(prose(f"other {i}", 60) for i in range(20))])
        assert convicted(contamination(benchmark, corpus, out=folder / f"run{copies}", formats=())) == {3}


@pytest.mark.parametrize("copies", [1, 11, 60])
def test_an_index_and_shares_give_the_same(folder: Path, copies: int) -> None:
    rows = [LAYOUTS["GSM8K"](n) for n in range(5)]
    benchmark = write(folder / "b.jsonl", rows)
    held = [HELD["question"](rows[2], i) for i in range(copies)]
    names = [texts(folder / f"c{k}.jsonl", held[k::3] or [prose(f"nothing {k}", 50)]) for k in range(3)]
    build_index(names, folder / "index")
    assert convicted(contamination(benchmark, index=folder / "index", out=folder / "indexed", formats=())) == {3}
    shares = [folder / f"share{k}" for k in (1, 2)]
    for number, share in enumerate(shares, 1):
        contamination(benchmark, names, out=share, shard=(number, 2), formats=())
    assert convicted(merge(shares, folder / "merged", formats=())) == {3}


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 60), st.sets(st.integers(0, 59), min_size=1), st.integers(0, 2**16))
def test_items_of_one_template_are_judged_one_by_one(folder: Path, size: int, chosen: set[int], seed: int) -> None:
    template = prose(f"template {seed}", 32).split()
    rows = [{"text": " ".join([*template[:15], str(100 + n), *template[15:]])} for n in range(size)]
    held = {n for n in chosen if n < size}
    documents = [f"{prose(f'b{n}')}\n{rows[n]['text']}\n{prose(f'a{n}')}" for n in sorted(held)]
    corpus = texts(folder / "c.jsonl", [*documents, prose("other", 90)])
    benchmark = write(folder / "b.jsonl", rows)  # type: ignore[arg-type]
    run = Path(mkdtemp(dir=folder)) / "run"
    result = contamination(benchmark, corpus, out=run, clean_split=run / "split", formats=())
    assert convicted(result) == {n + 1 for n in held}
    parts = {kind: (run / "split" / f"{kind}.jsonl").read_text().count("\n") for kind in ("clean", "contaminated")}
    assert parts == {"clean": size - len(held), "contaminated": len(held)}


STOCK = [
    "Which of the following statements is true?",
    "All of the options given are correct",
    "(i), (ii), and (iii) only",
    "None of the above answers is correct.",
    "Which statement is an opinion?",
    "It depends on the situation.",
    "Which of the following best describes the main purpose of the passage?",
    "The answer cannot be determined from the information given.",
    "Both A and B are correct, but C is not.",
    "¿Cuál de las siguientes afirmaciones es verdadera?",
    "Welche der folgenden Aussagen ist richtig?",
    "Laquelle des affirmations suivantes est correcte ?",
    "以下哪项是正确的",
]


@pytest.mark.parametrize("text", STOCK)
@pytest.mark.parametrize("layout", ["question", "answer"])
def test_a_stock_phrase_convicts_nobody_and_cleans_nobody(folder: Path, text: str, layout: str) -> None:
    row = {"question": text, "answer": "Yes"} if layout == "question" else {"question": "Why so?", "answer": text}
    corpus = texts(
        folder / "c.jsonl", [f"{prose('quiz')} {text} {prose('more')}", *(prose(f"d{i}", 60) for i in range(9))]
    )
    result = contamination(write(folder / "b.jsonl", [row]), corpus, out=folder / "run", formats=())
    assert (result.verdict, result.exit_code) == ("inconclusive", 3)
    assert result.items[0].verdict == "not judged"
    assert any("1 of 1 item is too generic to judge" in reason for reason in result.report["reasons"])


def test_a_generic_part_does_not_convict_an_item_of_its_own(folder: Path) -> None:
    rows = [{"question": STOCK[0], "answer": prose("answer", 20)}, {"question": prose("question"), "answer": STOCK[1]}]
    corpus = texts(folder / "c.jsonl", [f"{prose('quiz')} {STOCK[0]} {STOCK[1]} {prose('more')}"] * 20)
    result = contamination(write(folder / "b.jsonl", rows), corpus, out=folder / "run", formats=())
    assert {item.verdict for item in result.items} == {"clean"}


def test_the_answer_that_an_item_offers_for_choice_does_not_convict_alone(folder: Path) -> None:
    rows = [choices(n) for n in range(4)]
    corpus = texts(folder / "c.jsonl", [f"{prose('before')} {_answer(rows[1])} {prose('after')}"])
    benchmark = write(folder / "b.jsonl", rows)
    assert convicted(contamination(benchmark, corpus, out=folder / "run", formats=())) == set()
    leaked = texts(folder / "d.jsonl", [f"{_question(rows[1])} {_answer(rows[1])}"])
    assert convicted(contamination(benchmark, leaked, out=folder / "run2", formats=())) == {2}


def test_what_most_rules_convict_and_ours_does_not_says_why(folder: Path) -> None:
    notice = prose("notice", 60)
    rows = [{"text": f"{prose(f'own {n}', 20)} {notice}"} for n in range(12)]
    corpus = texts(folder / "c.jsonl", [f"{prose(f'd{i}', 40)} {notice}" for i in range(30)])
    result = contamination(write(folder / "b.jsonl", rows), corpus, out=folder / "run", formats=())  # type: ignore[arg-type]
    assert result.verdict == "clean"
    assert result.report["spared_count"] == 12
    assert "no document holds enough of its own words" in result.report["spared"][0]["reason"]


def test_a_benchmark_in_a_script_that_the_corpus_hardly_holds_is_not_clean(folder: Path) -> None:
    rows = [{"text": "Сколько стоит билет до Москвы, если скидка для студентов составляет треть цены?"}]
    english = texts(folder / "c.jsonl", [prose(f"d{i}", 80) for i in range(30)])
    result = contamination(write(folder / "b.jsonl", rows), english, out=folder / "run", formats=())  # type: ignore[arg-type]
    assert (result.verdict, result.exit_code) == ("inconclusive", 3)
    assert "written in Cyrillic letters, 0% of the letters of the corpus are" in result.report["reasons"][0]
    both = texts(
        folder / "e.jsonl", [*(prose(f"d{i}", 80) for i in range(9)), "Он сказал, что завтра пойдёт дождь. " * 9]
    )
    again = contamination(str(folder / "b.jsonl"), both, out=folder / "run2", formats=())
    assert (again.verdict, again.exit_code) == ("clean", 0)


def test_nothing_is_filed_as_clean_while_the_search_was_not_whole(folder: Path) -> None:
    rows = [LAYOUTS["texts"](n) for n in range(6)]
    corpus = folder / "c.jsonl"
    texts(corpus, [f"{prose('b')} {rows[1]['text']}", prose("d", 60)])
    with corpus.open("a", encoding="utf-8") as file:
        file.write("{not json\n")
    result = contamination(
        write(folder / "b.jsonl", rows),
        str(corpus),
        out=folder / "run",
        clean_split=folder / "split",
        skip_bad=True,
        formats=(),
    )
    assert [item.verdict for item in result.items] == ["undecided", "contaminated", *["undecided"] * 4]
    assert (folder / "split" / "clean.jsonl").read_text() == ""
    assert (folder / "split" / "undecided.jsonl").read_text().count("\n") == 5
