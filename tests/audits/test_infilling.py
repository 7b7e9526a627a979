"""Infilling on models whose answers are known: one that knows its text, one that knows one token in two, and BERT."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind

from memaudit.audits.extraction.windows import measure as audit_windows
from memaudit.audits.logged import check_measures
from memaudit.audits.measures import measures
from memaudit.audits.measures.infilling import INFILLING, ORDERS, SHARES, masked_places
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.models.masked import FILL_ORDERS, new_bert
from memaudit.models.ngram import NgramModel
from memaudit.records import GREEDY, Decoding, TokenIds, TokenScores, Window
from memaudit.stats.rounding import significant
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.windows.windows import WindowOptions

BYTES = train_tokenizer("byte", [])
OPTIONS = WindowOptions(prefix=10, suffix=20)
PLAN = {"options": dataclasses.asdict(OPTIONS)}


def windows(count: int, member: bool) -> list[Window]:
    random = np.random.default_rng(int(member))
    name = "train" if member else "heldout"
    return [
        Window(
            random.integers(3, 200, OPTIONS.prefix, dtype=np.int32),
            random.integers(3, 200, OPTIONS.suffix, dtype=np.int32),
            document=f"{name}-{i // 2}",
            source=f"{name}.jsonl:{i // 2 + 1}",
            start=30 * (i % 2),
            member=member,
            copies=4 if member else None,
            suffix_text="twenty bytes of text",
        )
        for i in range(count)
    ]


class Reciter(LanguageModel):
    """Fills in what it was given to know, tokens at odd places only unless it knows all; 201 elsewhere."""

    objective = "masked"
    family = "reciter"
    tokenizer = BYTES

    def __init__(self, known: Sequence[Window], every: int = 1) -> None:
        self.known = {window.prefix.tobytes(): window for window in known}
        self.every = every
        self.asked: list[tuple[str, list[int]]] = []

    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        scores = TokenScores.of_lengths([len(w.suffix) for w in windows])
        for number, (window, first) in enumerate(zip(windows, scores.offsets, strict=False)):
            rows = slice(first, first + len(window.suffix))
            scores.log_prob[rows] = (-0.1 if window.prefix.tobytes() in self.known else -2.0) * (1 + number % 3)
            scores.rank[rows] = 1
        return scores

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        texts = [np.append(prompt, np.zeros(length, np.int32)) for prompt in prompts]
        places = [np.arange(len(prompt), len(prompt) + length) for prompt in prompts]
        return [t[len(p) :] for t, p in zip(self.fill(texts, places, "left-to-right"), prompts, strict=True)]

    def fill(self, texts: Sequence[TokenIds], masked_positions: Sequence[Any], order: str) -> list[TokenIds]:
        filled = []
        for text, places in zip(texts, masked_positions, strict=True):
            window = self.known.get(text[: OPTIONS.prefix].tobytes())
            row = text.copy()
            for place in places:
                suffix_place = place - OPTIONS.prefix
                knows = window is not None and suffix_place % self.every == 0
                row[place] = window.suffix[suffix_place] if knows and window else 201
            self.asked.append((order, places.tolist()))
            filled.append(row)
        return filled


def subject(model: LanguageModel, train: int = 12, heldout: int = 10, known: bool = True) -> Subject:
    drawn = windows(train, True) + windows(heldout, False)
    records = audit_windows(model, drawn) if known else []
    return Subject(model, drawn, records, [], [], None, OPTIONS, Decoding(1.0))


def taken(asked: Subject) -> list[dict[str, Any]]:
    items = INFILLING.items(asked)
    blocks = [items[at : at + INFILLING.block] for at in range(0, len(items), INFILLING.block)]
    return [record for block in blocks for record in INFILLING.measure(asked, block)]


def strict(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


def test_the_reciter_recovers_all_training_text_and_no_held_out_text() -> None:
    asked = subject(Reciter(windows(12, True)))
    records = taken(asked)
    assert [len(r["fills"]) for r in records] == [len(SHARES) * len(ORDERS)] * 22
    assert strict(records) == records
    for record, window in zip(records, asked.windows, strict=True):
        assert (record["document"], record["copies"]) == (window.document, window.copies)
        assert all(fill["exact"] == record["member"] for fill in record["fills"])
        assert all(fill["right"] == float(record["member"]) for fill in record["fills"])
    section = INFILLING.section(strict(records), PLAN)
    assert strict(dataclasses.asdict(section)) == dataclasses.asdict(section)
    exact = section.tables[0]
    assert "6 training and 5 held-out documents" in exact.caption
    assert [row[:2] for row in exact.rows] == [[share, order] for share in SHARES for order in ORDERS]
    for row in exact.rows:
        assert (row[2], row[4], row[6]) == (1.0, 0.0, 1.0)
        low, high = row[7]
        assert 0 < low < high == 1
    assert len(section.graphs[0].series) == 6
    assert section.graphs[0].series[0].points[0][:2] == [0.15, 1.0]
    assert "100%" in section.summary
    assert section.notes == []


def test_recovery_counts_masked_tokens_only_and_documents_weigh_alike() -> None:
    train = windows(12, True)
    asked = subject(Reciter(train[:9], every=2))
    section = INFILLING.section(taken(asked), PLAN)
    places = [masked_places(w, OPTIONS.seed)[0.5] for w in train]
    right = [float((p % 2 == 0).mean()) if i < 9 else 0.0 for i, p in enumerate(places)]
    row = next(r for r in section.tables[1].rows if r[:2] == [0.5, "one-shot"])
    assert row[2] == pytest.approx(np.reshape(right, (6, 2)).mean(axis=1).mean())
    wrong = [int((p % 2 == 1).sum()) if i < 9 else len(p) for i, p in enumerate(places)]
    row = next(r for r in section.tables[2].rows if r[:2] == [0.5, "one-shot"])
    assert row[2] == pytest.approx(1 - np.mean(wrong) / OPTIONS.suffix)
    assert row[3][0] < row[2] < row[3][1]


def test_masked_places_are_drawn_by_seed_and_document_and_lie_within_each_other() -> None:
    first, second = windows(2, True)
    places = masked_places(first, 0)
    assert [len(places[share]) for share in SHARES] == [3, 6, 10, 20]
    for less, more in itertools.pairwise(SHARES):
        assert set(places[less]) < set(places[more])
    assert all((np.diff(p) > 0).all() for p in places.values())
    again = masked_places(dataclasses.replace(first, prefix=second.prefix, suffix=second.suffix), 0)
    assert all(np.array_equal(again[share], places[share]) for share in SHARES)
    for other in (masked_places(second, 0), masked_places(first, 1)):
        assert not np.array_equal(other[0.5], places[0.5])
    short = masked_places(dataclasses.replace(first, suffix=first.suffix[:1]), 0)
    assert [len(short[share]) for share in SHARES] == [1, 1, 1, 1]


def test_pseudo_perplexity_is_that_of_the_audits_scores() -> None:
    asked = subject(Reciter(windows(12, True)))
    records = taken(asked)
    table = INFILLING.section(records, PLAN).tables[3]
    means = [
        np.array([r.log_prob / OPTIONS.suffix for r in asked.records if r.member == member]).reshape(-1, 2).mean(axis=1)
        for member in (True, False)
    ]
    assert [row[:2] for row in table.rows] == [["Training", 6], ["Held-out", 5], ["Held-out / training", None]]
    assert [row[2] for row in table.rows[:2]] == pytest.approx([np.exp(-m.mean()) for m in means])
    assert table.rows[2][2] == pytest.approx(np.exp(means[0].mean() - means[1].mean()))
    welch = ttest_ind(*means, equal_var=False).confidence_interval(0.95)
    assert table.rows[2][3] == f"{significant(np.exp(welch.low))} to {significant(np.exp(welch.high))}"
    records[0]["mean_log_prob"] = None
    section = INFILLING.section(records, PLAN)
    assert [row[2] for row in section.tables[3].rows][::2] == [None, None]
    assert "1 windows have probability 0" in section.notes[0]
    assert "undefined" in section.summary


def test_one_side_alone_has_no_difference() -> None:
    section = INFILLING.section(taken(subject(Reciter([]), heldout=0)), PLAN)
    assert all(row[4:] == [None] * 4 for row in section.tables[0].rows)
    assert "One side has no windows" in section.notes[0]
    assert strict(dataclasses.asdict(section)) == dataclasses.asdict(section)
    assert INFILLING.section([], PLAN).tables[0].rows[0][2] is None


def test_a_known_continuation_is_not_filled_in_again() -> None:
    model = Reciter([])
    asked = subject(model)
    model.asked.clear()
    taken(asked)
    full = [order for order, places in model.asked if len(places) == OPTIONS.suffix]
    assert len(model.asked) == 22 * 11
    assert set(full) == {"confident", "one-shot"}


def test_a_real_model_fills_as_if_each_window_were_alone() -> None:
    model = new_bert(BYTES, width=32, layers=2, heads=2, context_length=40, seed=2)
    asked = subject(model, 6, 4)
    together = taken(asked)
    alone = [INFILLING.measure(asked, [i])[0] for i in range(10)]
    assert together == alone
    window, record = asked.windows[3], together[3]
    for share in SHARES:
        places = masked_places(window, 0)[share]
        for order in ORDERS:
            text = np.append(window.prefix, window.suffix)
            [filled] = model.fill([text], [places + OPTIONS.prefix], order)
            [fill] = [f for f in record["fills"] if (f["share"], f["order"]) == (share, order)]
            assert fill["masked"] == len(places)
            assert fill["right"] == np.mean(filled[OPTIONS.prefix :][places] == window.suffix[places])
    INFILLING.section(strict(together), PLAN)


def test_models_that_cannot_fill_in_are_refused() -> None:
    ngram = NgramModel.train([np.arange(3, 40, dtype=np.int32)], BYTES, order=2)
    with pytest.raises(InputError, match=r"no infilling \(ngram, next-token\)"):
        check_measures([INFILLING], subject(ngram, known=False))

    class Mute(Reciter):
        fill: Any = None

    with pytest.raises(InputError, match="no infilling"):
        check_measures([INFILLING], subject(Mute([]), known=False))


def test_the_measure_has_its_name_and_the_models_orders() -> None:
    assert measures(["infilling"]) == [INFILLING]
    assert set(ORDERS) == set(FILL_ORDERS)
