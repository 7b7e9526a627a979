"""Ten real test sets planted in the order of their files into small models: which the order test detects.

The sets are those that Oren et al. (2023) injected into a model of 1.4 billion parameters, in the injected row order
and as often as in their higher and their lower model, among Wikipedia's text. Beside each p stands that of the same
rows in an order drawn by lot (nothing to find), and that of a model that read the background alone. What was
published is given as detected or not, from memory of the paper's table: all sets with ten copies and more in the
higher model, none with one. Their test reads 1,000 rows or so with 1.4 billion parameters; ours reads fewer rows,
cut to 40 words, with models of a million.

python benchmarks/order.py [--quick] [--families ngram,gpt,rnn]
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from common import Report

from memaudit.audits.comparison.detection import Detection
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.detectors.order import ORDER
from memaudit.audits.subject import Subject
from memaudit.models.base import LanguageModel
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_gpt
from memaudit.records import Decoding, Document, TokenIds
from memaudit.text.tokenize import Tokenizer, train_tokenizer
from memaudit.text.windows.windows import WindowOptions
from memaudit.training.loop import fit
from memaudit.training.options import TrainingOptions

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
FIELDS = {
    "boolq": ("question", "passage"),
    "hellaswag": ("ctx", "endings"),
    "openbookqa": ("question",),
    "naturalquestions": ("question", "answer"),
    "mnli": ("sentence1", "sentence2"),
    "truthfulqa": ("prompt", "completion"),
    "piqa": ("goal", "sol1", "sol2"),
    "mmlu_professional_law": ("input", "A", "B", "C", "D"),
    "mmlu_professional_psychology": ("input", "A", "B", "C", "D"),
    "mmlu_high_school_psychology": ("input", "A", "B", "C", "D"),
}
COPIES = {
    "higher": (1, 1, 1, 10, 10, 10, 50, 50, 50, 100),
    "lower": (1, 1, 2, 2, 4, 4, 7, 7, 10, 10),
}
"""Times that each set was injected, in the order of `FIELDS`."""
PUBLISHED = 10
"""Copies from which on the published test detects, in the higher model."""
WORDS = 40
ROWS = {"ngram": 200, "gpt": 48, "rnn": 48}
ALPHA = 0.05


def strings(value: Any) -> Iterator[str]:
    """Yield every text of a field, whatever it is nested in; labels of choices are one letter."""
    if isinstance(value, str) and len(value) > 1:
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def rows_of(name: str) -> list[str]:
    """Return the texts of a set in the injected order, cut."""
    with gzip.open(DATA / "benchmarks" / "oren-injected" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [" ".join(" ".join(s for key in FIELDS[name] for s in strings(row[key])).split()[:WORDS]) for row in rows]


def background() -> list[str]:
    """Return the paragraphs of the validation part of WikiText-2."""
    file = DATA / "corpora" / "wikitext-2-valid-test" / "valid.txt.gz"
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    return [line.strip() for line in lines if len(line.split()) > 20]


def ngram(documents: list[TokenIds], tokenizer: Any) -> LanguageModel:
    return NgramModel.train(documents, tokenizer, order=5)


def gpt(documents: list[TokenIds], tokenizer: Any) -> LanguageModel:
    model = new_gpt(tokenizer, width=128, layers=2, context_length=256)
    fit(model, documents, TrainingOptions.for_family("gpt", context_length=256, threads=1))
    return model


def rnn(documents: list[TokenIds], tokenizer: Any) -> LanguageModel:
    model = new_rnn(tokenizer, width=256)
    fit(model, documents, TrainingOptions.for_family("rnn", threads=1))
    return model


FAMILIES: dict[str, Callable[[list[TokenIds], Any], LanguageModel]] = {"ngram": ngram, "gpt": gpt, "rnn": rnn}


@dataclass(frozen=True)
class Asked:
    """The sets, and models that read the background alone, by family."""

    sets: dict[str, list[str]]
    tokenizer: Any
    plain: list[TokenIds]
    unseen: dict[str, LanguageModel]


def tested(model: LanguageModel, texts: list[str]) -> Detection:
    """Return what the order test says of texts in this order."""
    documents = [Document(str(i), text, f"set:{i + 1}") for i, text in enumerate(texts)]
    peers: Any = SimpleNamespace(options=MembershipOptions())
    subject = Subject(model, [], [], documents, [], None, WindowOptions(), Decoding(), peers)
    return ORDER.detections(ORDER.measure(subject, ORDER.items(subject)), {})[0]


def ids_of(tokenizer: Tokenizer, texts: list[str]) -> list[TokenIds]:
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def shown(p: float | None) -> str:
    return "n/a" if p is None else f"{p:.2g}"


def measure(report: Report, family: str, which: str, asked: Asked) -> None:
    """Train a model on the background and all sets, and add what the test says of each."""
    sets = {name: rows[: ROWS[family]] for name, rows in asked.sets.items()}
    planted = ["\n".join(rows) for rows, times in zip(sets.values(), COPIES[which], strict=True) for _ in range(times)]
    started = time.process_time()
    model = FAMILIES[family](asked.plain + ids_of(asked.tokenizer, planted), asked.tokenizer)
    trained = time.process_time() - started
    rng, found, by_lot, clean = np.random.default_rng(0), 0, 0, 0
    for (name, rows), times in zip(sets.items(), COPIES[which], strict=True):
        seen = tested(model, rows)
        others = {
            "rows by lot": tested(model, [rows[i] for i in rng.permutation(len(rows))]),
            "a model that never saw it": tested(asked.unseen[family], rows),
        }
        found += (seen.p_value or 0) <= ALPHA
        by_lot += (others["rows by lot"].p_value or 0) <= ALPHA
        clean += (others["a model that never saw it"].p_value or 0) <= ALPHA
        published = "" if which == "lower" else f"; published: {'' if times >= PUBLISHED else 'not '}detected"
        note = f"{seen.effect.estimate:+.3g} nats a document; " + ", ".join(
            f"{what} p = {shown(other.p_value)}" for what, other in others.items()
        )
        what = f"{family}, {which}: {name}, {times} copies, {seen.members} rows"
        words = f"; {seen.controls[0].detail.split(' without')[0]}"
        report.add(what, seen.p_value or 0, unit="p", note=note + words + published)
    seconds = f"training {trained:.0f} s, all {time.process_time() - started:.0f} s of CPU"
    report.add(f"{family}, {which}: detected at {ALPHA}", found, unit="of 10", note=seconds)
    report.add(f"{family}, {which}: rows in an order by lot", by_lot, unit="of 10", goal=2, at_most=True)
    report.add(f"{family}, {which}: by a model that never saw them", clean, unit="of 10", goal=2, at_most=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="an n-gram on 50 rows a set; keeps nothing")
    parser.add_argument("--families", default="ngram,gpt,rnn")
    given = parser.parse_args()
    sets = {name: rows_of(name) for name in FIELDS}
    tokenizer = train_tokenizer("bpe", [*background(), *(row for rows in sets.values() for row in rows)], 2048)
    families = ["ngram"] if given.quick else given.families.split(",")
    plain = ids_of(tokenizer, background())
    asked = Asked(sets, tokenizer, plain, {family: FAMILIES[family](plain, tokenizer) for family in families})
    report = Report("order")
    if given.quick:
        ROWS["ngram"] = 50
    for family in families:
        for which in COPIES:
            if which == "higher" or (family != "rnn" and not given.quick):
                measure(report, family, which, asked)
    if not given.quick:
        report.finish()


if __name__ == "__main__":
    main()
