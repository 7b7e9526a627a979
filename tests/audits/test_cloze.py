"""The measure `cloze` on models whose answers are known, and the published answers of a large one."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memaudit.audits.measures import measures
from memaudit.audits.measures.cloze import CLOZE, MAX_PASSAGES
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.metrics.cloze import cloze_accuracy
from memaudit.models.masked import new_bert
from memaudit.models.ngram import NgramModel
from memaudit.records import GREEDY, ORDINARY, Document
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.windows.windows import WindowOptions

EXHIBIT = Path(__file__).parents[3] / "shared" / "data" / "exhibits" / "name-cloze-gpt4"
NAMES = ["Alice", "Bertram", "Charley", "Dorothea", "Esther", "Florence", "Gilbert", "Harriet"]
PLACES = ["garden", "harbour", "library", "kitchen", "stable", "chapel", "orchard", "cellar"]


def story(name: str, place: str, colour: str) -> str:
    return (
        f"In the {colour} {place} behind the old house there was nobody but {name} to be seen, and the door stood open"
        f" all day long while the rain fell upon the {colour} roof and the wind went round and round. It was late."
    )


def documents(colour: str, shift: int) -> list[Document]:
    rotated = NAMES[shift:] + NAMES[:shift]
    return [
        Document(f"{colour}-{place}", story(name, place, colour), f"{colour}.txt:{i + 1}")
        for i, (name, place) in enumerate(zip(rotated, PLACES, strict=True))
    ]


TRAIN, HELDOUT = documents("white", 0), documents("black", 3)
TOKENIZER = train_tokenizer("word", [d.text for d in (*TRAIN, *HELDOUT)], 500)


def plan(objective: str) -> dict[str, Any]:
    return {"options": {"seed": 0}, "model": {"objective": objective}}


def subject(model: Any, train: Sequence[Document] = TRAIN, heldout: Sequence[Document] = HELDOUT) -> Subject:
    return Subject(model, [], [], train, heldout, None, WindowOptions(), GREEDY)


def records_of(asked: Subject) -> list[dict[str, Any]]:
    items = CLOZE.items(asked)
    one = [record for item in items for record in CLOZE.measure(asked, [item])]
    together = CLOZE.measure(asked, items)
    assert one == together, "a block of many must equal blocks of one"
    return json.loads(json.dumps(together, allow_nan=False))


class Knows:
    """A masked model that fills in what it knows by heart, and its commonest name elsewhere."""

    objective = "masked"
    capabilities = ORDINARY["masked"]
    family = "knower"
    tokenizer = TOKENIZER
    context_length: int | None = None

    def __init__(self, known: Sequence[Document]) -> None:
        self.known = [encoding.ids for encoding in TOKENIZER.encode_batch([d.text for d in known])]

    def fill(self, texts: Sequence[Any], places: Sequence[Any], order: str) -> list[Any]:
        filled = []
        for text, masked in zip(texts, places, strict=True):
            hidden = text.copy()
            hidden[masked] = TOKENIZER.mask_id
            for known in self.known:
                if len(known) == len(text) and (np.delete(known, masked) == np.delete(hidden, masked)).all():
                    hidden[masked] = known[masked]
            filled.append(hidden)
        return filled


def test_it_is_a_measure_by_name():
    assert measures(["cloze"]) == [CLOZE]


def test_a_masked_model_that_knows_its_text_gives_its_names_back():
    records = records_of(subject(Knows(TRAIN)))
    assert [record["names"] for record in records[:8]] == [[name] for name in NAMES]
    assert all(record["right"] == [record["member"]] for record in records)
    section = CLOZE.section(records, plan("masked"))
    assert section.tables[0].rows[0][:4] == ["Training documents", 8, 8, 1.0]
    assert section.tables[0].rows[1][:4] == ["Held-out documents", 8, 8, 0.0]
    assert "p = 0.0" in section.summary


def test_a_next_token_model_reads_what_stands_before_the_name_only():
    # An n-gram of order 8 has the place within reach, and knows who was in which: of the white text alone.
    ids = [encoding.ids for encoding in TOKENIZER.encode_batch([d.text for d in TRAIN])]
    model = NgramModel.train(ids, TOKENIZER, order=24)
    records = records_of(subject(model))
    assert all(record["right"] == [True] for record in records if record["member"])
    held_out = [record["right"][0] for record in records if not record["member"]]
    assert sum(held_out) < 8
    # A text that differs after the name only is answered in the same way.
    other = [Document(d.id, d.text.replace("stood open", "was shut"), d.source) for d in TRAIN]
    again = records_of(subject(model, other))
    assert [r["right"] for r in again[:8]] == [r["right"] for r in records[:8]]


def test_a_real_masked_model_answers_for_every_passage():
    model = new_bert(TOKENIZER, width=16, layers=1, heads=2, context_length=128, seed=0)
    records = records_of(subject(model))
    assert all(len(record["right"]) == len(record["names"]) == 1 for record in records)


def test_names_that_cannot_be_asked_are_counted():
    small = train_tokenizer("word", [HELDOUT[0].text.replace("Dorothea", "nobody")], 500)
    model = NgramModel.train([e.ids for e in small.encode_batch([HELDOUT[0].text])], small, order=3)
    records = records_of(subject(model, TRAIN[:1], ()))
    assert (records[0]["names"], records[0]["unreadable"]) == ([], 1)
    section = CLOZE.section(records, plan("next-token"))
    assert any("1 passages were skipped" in note for note in section.notes)
    assert section.tables[0].rows[0][3] is None


def test_short_contexts_keep_the_name_and_what_is_next_to_it():
    model = new_bert(TOKENIZER, width=16, layers=1, heads=2, context_length=12, seed=0)
    assert all(record["names"] for record in records_of(subject(model)))


def test_a_book_is_asked_for_a_few_of_its_passages():
    book = Document("book", "\n\n".join(d.text for d in (*TRAIN, *HELDOUT)), "book.txt")
    (record,) = records_of(subject(Knows(()), [book], ()))
    assert 1 < len(record["names"]) <= MAX_PASSAGES


def test_without_documents_there_is_nothing_to_ask():
    with pytest.raises(InputError, match="only windows"):
        CLOZE.items(subject(Knows(()), (), ()))


# --- published answers ---------------------------------------------------------------------------------------------


def words(title: str) -> str:
    """Return a title as the files of the answers are called, without its article; one file leaves a subtitle out."""
    plain = title.split("; Or,")[0].casefold() if title.startswith("Moby") else title.casefold()
    plain = plain.replace("-", "").replace("'", "").replace("\u2019", "")
    return re.sub(r"^the_", "", "_".join(re.findall(r"\w+", plain)))


@pytest.mark.skipif(not EXHIBIT.exists(), reason="the published answers are not here")
def test_published_accuracies_are_recomputed_exactly():
    with (EXHIBIT / "published_top100.csv").open(newline="", encoding="utf-8") as file:
        published = {words(row["title"]): row["gpt4_accuracy"] for row in csv.DictReader(file)}
    answers: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    with gzip.open(EXHIBIT / "gpt4_name_cloze.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            answers[words(row["book"].replace("_", " "))].append(row)
    found = {
        book: cloze_accuracy([row["predicted"] for row in rows], [row["gold"] for row in rows])
        for book, rows in answers.items()
    }
    both = published.keys() & found.keys()
    assert len(both) == 60
    assert {book: f"{found[book]:.2f}" for book in both} == {book: published[book] for book in both}
    assert found["alices_adventures_in_wonderland"] == 0.98
    # The published table ends at .09: what it does not list is known no better.
    assert max(found[book] or 0 for book in found.keys() - both) <= 0.09
