"""(n, p) and near-verbatim extraction: p_z against 10,000 samples, sections against records that are known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein

from memaudit.audits.extraction.windows import measure as measure_windows
from memaudit.audits.logged import check_measures
from memaudit.audits.measures.near_verbatim import EDITS, NEAR_VERBATIM, SAMPLE
from memaudit.audits.measures.probability import ATTEMPTS, PROBABILITIES, PROBABILITY
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.metrics.probability import attempts_needed
from memaudit.models.base import LanguageModel
from memaudit.models.ngram import NgramModel
from memaudit.models.transformer import new_bert
from memaudit.records import Decoding, Window
from memaudit.sections import Section
from memaudit.stats import clopper_pearson, upper_bound
from memaudit.stats.rounding import samples
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.windows.windows import WindowOptions

LETTERS = "abcde"
SUFFIX = 3
ATTEMPTS_DRAWN = 10_000
TEXTS = [
    "".join(np.random.default_rng(seed).choice(list(LETTERS), 60, p=[0.5, 0.2, 0.15, 0.1, 0.05])) for seed in range(8)
]
TOKENIZER = train_tokenizer("char", TEXTS)
IDS = [encoding.ids for encoding in TOKENIZER.encode_batch(TEXTS)]
PLAN = {"options": {"suffix": SUFFIX, "temperature": 1.0, "top_k": None, "top_p": None}}


@pytest.fixture(scope="module")
def model() -> NgramModel:
    return NgramModel.train(IDS[:5], TOKENIZER, order=3)


def windows(count: int, suffix: int = SUFFIX) -> list[Window]:
    """Windows of training text (the first five texts) and others, several a document."""
    cuts = [(d, start) for start in range(0, 50, 2) for d in range(len(IDS))][:count]
    found = [
        Window(IDS[d][s : s + 4], IDS[d][s + 4 : s + 4 + suffix], f"doc{d}", f"file:{d}", s, member=d < 5)
        for d, s in cuts
    ]
    return sorted(found, key=lambda window: not window.member)


def subject(model: LanguageModel, asked: list[Window], decoding: Decoding) -> Subject:
    records = measure_windows(model, asked)
    return Subject(model, asked, records, [], [], None, WindowOptions(prefix=4, suffix=SUFFIX), decoding)


@pytest.mark.parametrize("decoding", [Decoding(1.0), Decoding(0.7, top_k=3), Decoding(1.5, top_p=0.85)], ids=str)
def test_p_z_is_what_ten_thousand_samples_give(model: NgramModel, decoding: Decoding) -> None:
    random = np.random.default_rng(1)
    suffixes = [random.permutation(125)[:25] for _ in range(4)]
    letters = TOKENIZER.encode_batch([LETTERS])[0].ids
    prompts = [IDS[d][10:14] for d in (0, 1, 5, 6)]
    inside = 0
    for prompt, chosen in zip(prompts, suffixes, strict=True):
        asked = [Window(prompt, letters[[i // 25, i // 5 % 5, i % 5]]) for i in chosen]
        records = PROBABILITY.measure(subject(model, asked, decoding), asked)
        drawn = np.array(model.continuations([prompt] * ATTEMPTS_DRAWN, SUFFIX, decoding))
        for window, record in zip(asked, records, strict=True):
            interval = clopper_pearson(int((drawn == window.suffix).all(axis=1).sum()), ATTEMPTS_DRAWN, 0.99)
            assert interval is not None
            p = 0.0 if record["log_p"] is None else math.exp(record["log_p"])
            inside += interval.low <= p <= interval.high
    assert inside >= 97


def test_greedy_decoding_is_the_limit_of_temperature_zero(model: NgramModel) -> None:
    asked = windows(100)
    cold = PROBABILITY.measure(subject(model, asked, Decoding(1e-4)), asked)
    greedy = [bool(np.array_equal(c, w.suffix)) for c, w in zip(model.greedy_continuations(asked), asked, strict=True)]
    tied = 0
    for record, hit in zip(cold, greedy, strict=True):
        assert record["greedy"] == hit
        p = math.exp(record["log_p"]) if record["log_p"] is not None else 0.0
        tied += 1e-6 < p < 1 - 1e-6
        if not 1e-6 < p < 1 - 1e-6:
            assert (p > 0.5) == hit
    assert any(greedy)
    assert tied < 5


def test_a_token_outside_the_cut_is_never_drawn(model: NgramModel) -> None:
    asked = windows(60)
    records = PROBABILITY.measure(subject(model, asked, Decoding(1.0, top_k=1)), asked)
    for record in records:
        assert record["log_p"] == (pytest.approx(0, abs=1e-9) if record["greedy"] else None)


def record(member: bool, document: str, log_p: float | None, greedy: bool = False) -> dict[str, Any]:
    place = {"member": member, "document": document, "source": document, "domain": None, "copies": None, "start": 0}
    return {**place, "log_p": log_p, "greedy": greedy}


RECORDS = [
    record(True, "a", math.log(0.95), greedy=True),
    record(True, "b", math.log(0.03)),
    record(True, "c", math.log(1e-5)),
    record(True, "d", None),
    record(False, "e", -250.0),
    record(False, "f", math.log(1e-4)),
]


def strict(section: Section) -> str:
    import dataclasses

    return json.dumps(dataclasses.asdict(section), allow_nan=False)


def test_the_section_counts_what_the_records_hold() -> None:
    section = PROBABILITY.section(RECORDS, PLAN)
    strict(section)
    attempts, thresholds, needed = section.tables
    assert "4 training windows of 4 documents, 2 held-out windows of 2 documents" in attempts.caption
    rows = {(row[0], row[1], row[2]): row for row in attempts.rows}
    assert rows["greedy", 1, 1.0][3] == 0.25
    assert [rows["samples", n, 0.9][3] for n in ATTEMPTS] == [0.25, 0.25, 0.5, 0.5, 0.5, 0.5, 0.75]
    assert [rows["samples", n, 0.9][5] for n in ATTEMPTS] == [0, 0, 0, 0, 0, 0.5, 0.5]
    assert [rows["samples", n, 0.9][-2:] for n in ATTEMPTS[-2:]] == [[1, 1], [2, 1]]
    assert [row[1] for row in thresholds.rows] == [0.5, 0.5, 0.25, 0.25, 0.25]
    assert all(len(row) == len(table.columns) for table in section.tables for row in table.rows)
    median = needed.rows[-1]
    assert median[:3] == [0.5, "23", "76"]
    assert needed.rows[0][3] == "6,932"
    assert "100 samples at temperature 1" in section.summary
    assert "misses 1 of the training windows" in section.summary
    assert any("1 training and 0 held-out windows have p_z = 0" in note for note in section.notes)


def test_rates_grow_with_attempts_and_shrink_with_certainty() -> None:
    random = np.random.default_rng(0)
    many = [record(bool(i % 2), f"d{i // 3}", -float(random.gamma(2, 5))) for i in range(200)]
    section = PROBABILITY.section(many, PLAN)
    for series in section.graphs[0].series:
        shares = [point[1] for point in series.points]
        assert shares == sorted(shares)  # type: ignore[type-var]
        assert all(low <= share <= high for _, share, low, high in series.points)  # type: ignore[operator]
    half, most = section.graphs[0].series[:2]
    assert all(a[1] >= b[1] for a, b in zip(half.points, most.points, strict=True))  # type: ignore[operator]
    assert len(PROBABILITIES) == 2


@pytest.mark.parametrize("kept", [lambda r: r["member"], lambda r: False], ids=["no held-out", "nothing"])
def test_a_side_without_windows_has_no_rate(kept: Callable[[dict[str, Any]], bool]) -> None:
    section = PROBABILITY.section([r for r in RECORDS if kept(r)], PLAN)
    strict(section)
    assert all(row[5] is None and row[7] is None for row in section.tables[0].rows)
    assert "an unknown share of held-out documents" in section.summary


@pytest.mark.parametrize("measure", [PROBABILITY, NEAR_VERBATIM], ids=lambda m: m.name)
def test_masked_models_are_refused(measure: Any) -> None:
    masked = new_bert(TOKENIZER, width=16, layers=1, heads=2, context_length=32)
    asked = Subject(masked, windows(4), [], [], [], None, WindowOptions(), Decoding(1.0))
    with pytest.raises(InputError, match=f"'{measure.name}' cannot be measured: the model gives no next-token"):
        check_measures([measure], asked)


def test_near_verbatim_bounds_lie_between_p_z_and_what_sampling_finds(model: NgramModel) -> None:
    asked, decoding = windows(24, suffix=6), Decoding(0.8)
    whole = subject(model, asked, decoding)
    items = NEAR_VERBATIM.items(whole)
    records = NEAR_VERBATIM.measure(whole, items)
    verbatim = [r["log_p"] for r in PROBABILITY.measure(whole, [item.window for item in items])]
    json.dumps(records, allow_nan=False)
    count = 1000
    for item, found, log_p in zip(items, records, verbatim, strict=True):
        bounds = found["log_bounds"]
        assert bounds == sorted(bounds)
        assert bounds[0] == pytest.approx(log_p, abs=1e-9)
        drawn = model.continuations([item.window.prefix] * count, 6, decoding)
        distances = np.array([Levenshtein.distance(d.tolist(), item.window.suffix.tolist()) for d in drawn])
        for edits in range(EDITS + 1):
            # One-sided 99% for all of them together.
            level = 1 - 0.01 / (len(items) * (EDITS + 1))
            assert math.exp(bounds[edits]) <= upper_bound(int((distances <= edits).sum()), count, level)  # type: ignore[operator]
    section = NEAR_VERBATIM.section(records, PLAN)
    strict(section)
    assert all(len(row) == len(table.columns) for table in section.tables for row in table.rows)
    for threshold in {row[0] for row in section.tables[0].rows}:
        shares = [row[2] for row in section.tables[0].rows if row[0] == threshold]
        assert shares == sorted(shares)  # type: ignore[type-var]


def test_near_misses_are_asked_beside_the_sample_and_are_in_no_rate(model: NgramModel) -> None:
    asked = windows(180)
    whole = subject(model, asked, Decoding(1.0))
    items = NEAR_VERBATIM.items(whole)
    sampled = [item for item in items if item.sampled]
    assert [sum(i.window.member == m for i in sampled) for m in (True, False)] == [SAMPLE, SAMPLE]
    missed = {
        r.index
        for r in whole.records
        if not r.extractable and r.edit_similarity is not None and r.edit_similarity >= 0.9
    }
    assert not missed, "a suffix of three tokens cannot be nearly the same"
    longer = windows(180, suffix=10)
    whole = subject(model, longer, Decoding(1.0))
    near = [r.index for r in whole.records if not r.extractable and (r.edit_similarity or 0) >= 0.9]
    asked_too = [item.window for item in NEAR_VERBATIM.items(whole)]
    assert all(any(w is longer[i] for w in asked_too) for i in near)
    assert NEAR_VERBATIM.items(whole) == NEAR_VERBATIM.items(whole)
    bounds = [0.0, *[0.0] * EDITS]
    place = {"document": "a", "source": "a:1", "log_bounds": bounds, "found": 1}
    section = NEAR_VERBATIM.section([{**place, "member": True, "sampled": False}], PLAN)
    assert [table.rows[0][0] for table in section.tables] == [0.001, "a:1"]
    assert section.tables[0].rows[0][2] is None
    assert "1 other near misses" in section.notes[1]
    assert "3 tokens: any text is within as many edits" in section.notes[2]
    assert len(NEAR_VERBATIM.section([], {"options": {**PLAN["options"], "suffix": EDITS + 1}}).notes) == 2


def test_more_samples_than_anybody_draws_are_not_counted_out() -> None:
    assert samples(10**9) == "1,000,000,000"
    assert samples(10**9 + 1) == samples(attempts_needed(-552.6, 0.5) or 0) == "over 10^9"
