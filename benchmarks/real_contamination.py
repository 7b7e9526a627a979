"""What the contamination gate says of real benchmarks and texts; prints the table of the documentation.

``python benchmarks/real_contamination.py DATA`` takes the folder of real inputs, one folder for each source. Books
become benchmarks of passages of 60 words. Nothing is timed, and the only goals are for what must not be found.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import Report

from memaudit.audits.contamination.run import contamination
from memaudit.text.scan.rules import RULES

PASSAGE = 60
NOTICE = "mit"
"""The licence whose text is the boilerplate of a guard."""

Items = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Case:
    """One benchmark against one corpus."""

    what: str
    items: Items
    documents: Sequence[str]
    paired: bool = False
    """Whether item and document of one number belong together."""
    verbatim_only: bool = False
    """Whether the goal is for items found without edits."""
    goal: float | None = None
    """Largest share of the items that may be found."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one search found."""

    items: int
    documents: int
    found: set[int]
    """Numbers of items, from 1."""
    kinds: Counter[str]
    pairs: int
    """Items that were found in the document of their own number."""
    rules: dict[str, tuple[int, int]]
    """By published rule, how many items it fires on, and how many it can judge."""


def text_of(file: Path) -> str:
    data = file.read_bytes()
    return (gzip.decompress(data) if file.suffix == ".gz" else data).decode()


def records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text_of(file).split("\n") if line.strip()]


def passages(text: str) -> list[dict[str, Any]]:
    words = text.split()
    return [{"text": " ".join(words[first : first + PASSAGE])} for first in range(0, len(words), PASSAGE)]


def questions(rows: Items, question: str = "question", answer: str = "answer") -> list[dict[str, Any]]:
    return [{"question": row[question], "answer": row[answer]} for row in rows]


def joined(rows: Items, *fields: str) -> list[str]:
    return ["\n".join(row[name] for name in fields) for row in rows]


def gsm8k_cases(data: Path) -> Iterator[Case]:
    gsm8k, others = data / "benchmarks", data / "contamination"
    test, train = records(gsm8k / "gsm8k" / "test.jsonl"), records(gsm8k / "gsm8k" / "train.jsonl.gz")
    yield Case("GSM8K test in GSM8K train", questions(test), joined(train, "question", "answer"))
    plus = records(others / "gsm-plus-testmini" / "gsmplus_testmini.jsonl.gz")
    for kind in sorted({row["perturbation_type"] for row in plus}):
        rows = [row for row in plus if row["perturbation_type"] == kind]
        items = [{"text": row["seed_question"]} for row in rows]
        yield Case(f"GSM8K test questions in GSM-Plus: {kind}", items, joined(rows, "question"), paired=True)
    rephrased = joined(records(others / "llm-decontaminator" / "rephrase_gsm8k.jsonl.gz"), "text")
    items = [{"text": row["question"]} for row in test]
    yield Case("GSM8K test questions in rephrase_gsm8k", items, rephrased, paired=True)
    rows = records(others / "gsm8k-rewritten" / "rewritten_test_1_first659.jsonl.gz")
    items = [{"text": row["question"]} for row in rows]
    rewritten = joined(rows, "rewritten_question")
    yield Case("GSM8K test questions in gsm8k-rewritten", items, rewritten, paired=True)
    answers = joined(rows, "rewritten_question", "rewritten_answer")
    yield Case("GSM8K test with answers in gsm8k-rewritten with answers", questions(rows), answers, paired=True)
    unrelated = {
        "MBPP": [{"question": row["text"], "answer": row["code"]} for row in records(gsm8k / "mbpp" / "mbpp.jsonl")],
        "MMLU validation": [
            {"text": "\n".join([row["question"], *map(str, row["choices"])])}
            for row in records(gsm8k / "mmlu" / "mmlu_validation.jsonl.gz")
        ],
    }
    for name, items in unrelated.items():
        yield Case(f"{name} in rephrase_gsm8k", items, rephrased, goal=0.001)
        yield Case(f"{name} in gsm8k-rewritten with answers", items, answers, goal=0.001)
        yield Case(f"{name} in GSM8K train", items, joined(train, "question", "answer"), goal=0.001)


def book_cases(data: Path) -> Iterator[Case]:
    corpora = data / "corpora"
    plays = joined(records(corpora / "shakespeare-other-edition" / "plays.jsonl.gz"), "text")
    shakespeare = text_of(corpora / "tinyshakespeare" / "input.txt")
    yield Case("tinyshakespeare in the other edition", passages(shakespeare), plays)
    editions: dict[str, list[Path]] = {}
    for file in sorted((corpora / "gutenberg-editions").glob("*.txt.gz")):
        editions.setdefault(file.name.split("--")[0], []).append(file)
    newest = {name: text_of(files[0]) for name, files in editions.items()}
    for name, files in editions.items():
        title = name.replace("-", " ")
        for file in files[1:]:
            edition = file.name.removeprefix(f"{name}--").removesuffix(".txt.gz").removeprefix("or-the-whale--")
            yield Case(
                f"{title}, {edition} in {files[0].name.split('--')[-1][:-7]}", passages(text_of(file)), [newest[name]]
            )
        others = [text for other, text in newest.items() if other != name] + plays
        yield Case(f"{title} in the other novels and Shakespeare", passages(_body(newest[name])), others, goal=0.001)
    kjv, web = (text_of(corpora / "genesis-two-translations" / f"english-{name}.txt.gz") for name in ("kjv", "web"))
    yield Case("Genesis, WEB in KJV", passages(web), [kjv], goal=0.01, verbatim_only=True)
    yield Case("Genesis, KJV in WEB", passages(kjv), [web], goal=0.01, verbatim_only=True)


def _body(text: str) -> str:
    """Return a book of Project Gutenberg without the notices before and after it."""
    start, end = text.find("*** START OF TH"), text.find("*** END OF TH")
    return text[text.find("\n", start) : end if end > 0 else len(text)]


def guard_cases(data: Path) -> Iterator[Case]:
    """Text that everybody repeats: it convicts where it is the item, and not where it is wrapped around one."""
    corpora = data / "corpora"
    licences = records(corpora / "licence-boilerplate" / "licences.jsonl.gz")
    quotes = json.loads(text_of(corpora / "famous-quotes" / "quotes.json.gz"))
    pile = [row["text"] for file in sorted((corpora / "pile-domains-mimir").glob("*.gz")) for row in _texts(file)]
    items = [{"text": quote["content"]} for quote in quotes]
    yield Case("famous quotes in documents of the Pile", items, pile)
    for row in licences:
        if row["id"] in {"mit", "bsd-3-clause", "gpl-3.0"}:
            others = [other["text"] for other in licences if other is not row]
            yield Case(f"licence {row['id']} in 46 other licences", passages(row["text"]), others)
    notice = next(row["text"] for row in licences if row["id"] == NOTICE)
    test = records(data / "benchmarks" / "gsm8k" / "test.jsonl")
    wrapped = [{"text": f"{row['question']}\n\n{notice}"} for row in test]
    marked = [f"{text}\n\n{notice}" if number % 2 else text for number, text in enumerate(pile)]
    what = "GSM8K test, each under the MIT licence, in documents of the Pile, half of them under it too"
    yield Case(what, wrapped, marked, goal=0.001)


def _texts(file: Path) -> list[dict[str, Any]]:
    return [row for row in records(file) if isinstance(row.get("text"), str)]


def search(case: Case, folder: Path) -> Outcome:
    """Run the gate on a case, through files as a user would."""
    folder.mkdir()
    benchmark, corpus = folder / "benchmark.jsonl", folder / "corpus.jsonl"
    benchmark.write_text("".join(json.dumps(item) + "\n" for item in case.items), encoding="utf-8")
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in case.documents), encoding="utf-8")
    report = contamination(str(benchmark), str(corpus), out=folder / "run", formats=()).report
    findings = report["findings"]
    return Outcome(
        items=report["benchmark"]["judged"],
        documents=report["corpus"]["documents"],
        found={finding["number"] for finding in findings},
        kinds=Counter(finding["match"] for finding in findings),
        pairs=sum(
            any(evidence["source"].endswith(f":{finding['number']}") for evidence in finding["evidence"])
            for finding in findings
        ),
        rules={row["metric"]: (row["hits"], row["n"]) for row in report["estimates"]},
    )


def share(hits: int, n: int) -> str:
    return f"{hits:,} ({hits / n:.1%})" if hits else "0"


def line(case: Case, outcome: Outcome) -> str:
    """Return a row of the Markdown table."""
    kinds = " / ".join(str(outcome.kinds[kind]) for kind in ("raw", "normalised", "edited"))
    rules = [share(*outcome.rules[name]) if outcome.rules[name][1] else "-" for name in RULES]
    cells = [case.what, f"{outcome.items:,}", f"{outcome.documents:,}", share(len(outcome.found), outcome.items), kinds]
    return "| " + " | ".join([*cells, *rules]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the contamination gate on real inputs.")
    parser.add_argument("data", type=Path, help="folder of real inputs")
    options = parser.parse_args()
    heads = ["benchmark in corpus", "items", "documents", "memaudit", "raw / normalised / edited"]
    heads += [rule.label for rule in RULES.values()]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    table = Report("real_contamination")
    with tempfile.TemporaryDirectory() as temporary:
        for number, case in enumerate(
            [*gsm8k_cases(options.data), *book_cases(options.data), *guard_cases(options.data)]
        ):
            outcome = search(case, Path(temporary) / str(number))
            hits = len(outcome.found) - (outcome.kinds["edited"] if case.verbatim_only else 0)
            notes = [", ".join(f"{name} {hit}/{n}" for name, (hit, n) in outcome.rules.items())]
            notes += [f"in its own pair: {outcome.pairs}"] * case.paired
            what = f"{case.what}: {'not edited' if case.verbatim_only else 'found'}"
            value, note = hits / outcome.items, "; ".join(notes)
            table.add(what, value, unit="of items", goal=case.goal, at_most=case.goal is not None, note=note)
            lines.append(line(case, outcome))
    print("\n" + "\n".join(lines) + "\n", flush=True)
    table.finish()


if __name__ == "__main__":
    main()
