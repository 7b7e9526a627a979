"""Dose and response: a model trained on planted text shows the doses; sections against records that are known."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from memaudit.audits.extraction.windows import measure as measure_windows
from memaudit.audits.measures.dose import CANDIDATES, DOSE, AskedCanary, AskedWindow
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.metrics.doses import median_dose
from memaudit.metrics.exposure import exposure
from memaudit.models.base import LanguageModel
from memaudit.models.ngram import NgramModel
from memaudit.models.transformer import new_bert
from memaudit.records import Decoding, Document, Window
from memaudit.sections import Section
from memaudit.text.planting.canaries import draw_canaries
from memaudit.text.planting.planting import DoseKit, PlantOptions, plant_doses
from memaudit.text.tokenize import Unit, train_tokenizer
from memaudit.text.windows.windows import WindowOptions, draw_windows

OPTIONS = PlantOptions(doses=(1, 4, 16), per_dose=12, canaries=34, words=30, digits=2, seed=1)
WINDOWS = WindowOptions(prefix=10, suffix=10, limit=2000)
PLAN = {"options": {"prefix": 10, "suffix": 10}}


@pytest.fixture(scope="module")
def kit() -> DoseKit:
    random = np.random.default_rng(0)
    vocabulary = [a + b + c for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "st")]
    texts = [" ".join(random.choice(vocabulary, 120)) for _ in range(150)]
    return plant_doses([Document(f"d{i}", text, f"d:{i}") for i, text in enumerate(texts)], OPTIONS)


def trained(kit: DoseKit, unit: Unit = "word") -> NgramModel:
    texts = [document.text for document in kit.training]
    tokenizer = train_tokenizer(unit, texts, 600)
    return NgramModel.train([e.ids for e in tokenizer.encode_batch(texts)], tokenizer, order=6)


def asked(model: LanguageModel, train: list[Document], heldout: list[Document]) -> Subject:
    windows = draw_windows(train, heldout, model.tokenizer, WINDOWS).windows
    records = measure_windows(model, windows, fuzzy=False) if model.objective == "next-token" else []
    return Subject(model, windows, records, train, heldout, None, WINDOWS, Decoding(1.0))


def taken(subject: Subject) -> list[dict[str, Any]]:
    items = DOSE.items(subject)
    return DOSE.measure(subject, items)


def strict(section: Section) -> str:
    assert all(len(row) == len(table.columns) for table in section.tables for row in table.rows)
    return json.dumps(dataclasses.asdict(section), allow_nan=False)


@pytest.fixture(scope="module")
def found(kit: DoseKit) -> list[dict[str, Any]]:
    return taken(asked(trained(kit), kit.planted, kit.twins))


def test_records_are_strict_json_and_the_same_again(kit: DoseKit, found: list[dict[str, Any]]) -> None:
    json.dumps(found, allow_nan=False)
    subject = asked(trained(kit), kit.planted, kit.twins)
    items = DOSE.items(subject)
    some = [i for i in (0, 7, len(items) - 1, len(items) - 90) if i < len(items)]
    assert DOSE.measure(subject, [items[i] for i in some]) == [found[i] for i in some]


def test_copies_do_what_copies_do(found: list[dict[str, Any]]) -> None:
    section = DOSE.section(found, PLAN)
    strict(section)
    rates, half, exposures = section.tables
    shares = {(row[0], row[1]): row[4] for row in rates.rows}
    log_ps = {(row[0], row[1]): row[6] for row in rates.rows}
    assert shares["passages, exact copies", 0] == 0
    assert shares["passages, exact copies", 16] > 0.9  # type: ignore[operator]
    assert shares["passages, fuzzy copies", 1] < shares["passages, exact copies", 1]  # type: ignore[operator]
    for name in ("passages, exact copies", "canaries, exact copies"):
        by_dose = [log_ps[name, dose] for dose in (0, 1, 4, 16)]
        assert by_dose == sorted(by_dose)  # type: ignore[type-var]
    assert all(row[5] == pytest.approx(1) or row[5] > 0.5 for row in half.rows)  # type: ignore[operator]
    assert {series.name for series in section.graphs[0].series} == {
        f"{kind}, {variant} copies" for kind in ("passages", "canaries") for variant in ("exact", "fuzzy")
    }
    assert [point[0] for point in section.graphs[0].series[0].points] == [0, 1, 4, 16]
    assert section.graphs[0].x_scale == section.graphs[1].x_scale == "symlog"
    bits = {(row[0], row[1]): row[3] for row in exposures.rows}
    assert bits["canaries, exact copies", 16] > 4 > 2 > bits["canaries, exact copies", 0]  # type: ignore[operator]


def test_secrets_that_were_never_planted_have_log2_e_bits(found: list[dict[str, Any]]) -> None:
    bits = [r["bits"] for r in found if r["type"] == "canary" and not r["member"]]
    assert len(bits) >= 200
    assert np.mean(bits) == pytest.approx(math.log2(math.e), abs=0.3)
    assert all(r["exact"] and r["space"] == 100 for r in found if r["type"] == "canary")


def test_exposure_is_the_rank_of_the_probability_of_the_whole_secret(kit: DoseKit) -> None:
    model = trained(kit, "char")
    canary = draw_canaries(1, ["bar", "fen", "gust"], 20, 4, np.random.default_rng(0))[0]
    document = Document("canary:exact:0", canary.text(), "c:0", "canary", copies=1)
    subject = asked(model, [document], kit.twins)
    item = next(i for i in DOSE.items(subject) if isinstance(i, AskedCanary))
    record = DOSE.measure(subject, [item])[0]
    digits = item.document.text[len(item.canary.carrier) :]
    assert len(digits) == 7
    texts = [item.canary.carrier + " ".join(f"{secret:04}") for secret in range(10_000)]
    ids = [e.ids for e in model.tokenizer.encode_batch(texts)]
    log_probs = np.array([float(s.log_prob.sum()) for s in model.score([Window(i[-17:-7], i[-7:]) for i in ids])])
    own = log_probs[item.canary.secret]
    exact = exposure(own, np.delete(log_probs, item.canary.secret), 10_000)
    assert record["limit"] == math.log2(CANDIDATES + 1)
    assert not record["exact"]
    # The rank in a sample is binomial about the rank in the space.
    share = 2.0**-exact.bits
    low, high = (max(share + z * math.sqrt(share / CANDIDATES), 0) for z in (-5, 5))
    assert low <= 2.0 ** -record["bits"] <= high + 1 / (CANDIDATES + 1)


def window(copies: int | None, place: int, hit: bool, name: str = "passage:exact", **fields: Any) -> dict[str, Any]:
    variant = "twin" if not copies else name.split(":")[1]
    return {
        "type": "window",
        "member": bool(copies) or copies is None,
        "document": f"{name}:{copies}-{place}",
        "copies": copies,
        "kind": name.split(":")[0],
        "variant": variant,
        "variant_known": True,
        "extractable": hit,
        "log_p": -10.0 + (copies or 0),
    } | fields


def known(rates: dict[int, int], name: str = "passage:exact") -> list[dict[str, Any]]:
    """Ten documents a dose, with so many hits."""
    return [window(dose, place, place < hits, name) for dose, hits in rates.items() for place in range(10)]


def test_the_section_says_what_the_records_hold() -> None:
    rates = {0: 0, 1: 1, 2: 3, 4: 6, 8: 9}
    section = DOSE.section(known(rates), PLAN)
    strict(section)
    table, half = section.tables
    assert [row[1:5] for row in table.rows] == [[dose, 10, 10, hits / 10] for dose, hits in rates.items()]
    expected = median_dose(
        [d for d in (1, 2, 4, 8) for _ in range(10)], [p < rates[d] for d in (1, 2, 4, 8) for p in range(10)]
    )
    assert half.rows[0][2:5] == [expected.estimate, expected.low, expected.high]
    assert half.rows[0][5:7] == [pytest.approx(1), pytest.approx(1)]
    assert "with no copy, 0% [0%, 30.8%] are" in section.summary
    assert any("No fuzzy copies" in note for note in section.notes)
    assert any("no exposure" in note for note in section.notes)


def test_no_interval_of_exposure_exceeds_what_exposure_can_be() -> None:
    about = {"type": "canary", "kind": "canary", "variant": "exact", "variant_known": True, "limit": 8.0, "space": 1000}
    about |= {"member": True, "copies": 4, "source": "", "domain": None, "exact": False}
    about |= {"fitted_bits": None, "not_fitted": "all candidates are alike"}
    canaries = [about | {"document": str(i), "bits": bits} for i, bits in enumerate([8.0, 8.0, 8.0, 6.0])]
    exposures = DOSE.section([*known({0: 0, 4: 5}), *canaries], PLAN).tables[2]
    assert exposures.rows[0][3:6] == [7.5, pytest.approx(7.5 - 3.182446 / 2), 8.0]


def test_documents_are_the_unit_not_windows() -> None:
    records = [*known({0: 0, 4: 5}), *[window(4, 0, True) for _ in range(30)]]
    row = DOSE.section(records, PLAN).tables[0].rows[1]
    assert row[1:5] == [4, 10, 40, 0.5]


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ({0: 0, 1: 0, 8: 0}, "more than 8 copies"),
        ({0: 0, 1: 10, 8: 10}, "fewer than 1 copies"),
        ({0: 0, 1: 0, 4: 10}, "2 [1, 4] copies"),
        ({0: 0, 4: 5}, "an unknown number of copies: all documents have one dose"),
        ({1: 0, 4: 10}, "with no copy, an unknown share"),
    ],
)
def test_the_summary_is_true_where_the_fit_is_not(rates: dict[int, int], words: str) -> None:
    section = DOSE.section(known(rates), PLAN)
    strict(section)
    assert words in section.summary
    assert (0 in rates) == (not any("the rate at no copy is unknown" in note for note in section.notes))


def test_probability_zero_and_unknown_copies_are_told() -> None:
    records = [*known({0: 0, 1: 2, 4: 9}), *[window(None, i, False) for i in range(3)]]
    for record in records[:12]:
        record["log_p"] = None
    section = DOSE.section(records, PLAN)
    strict(section)
    assert section.tables[0].rows[0][6] is None
    assert any("3 training documents do not state their number of copies" in note for note in section.notes)


def test_ids_of_others_count_as_exact_copies(kit: DoseKit) -> None:
    model = trained(kit)
    passages = [dataclasses.replace(d, id=f"mine{i}") for i, d in enumerate(kit.planted) if "passage" in d.id]
    twins = [d for d in kit.twins if "passage" in d.id]
    subject = asked(model, passages, twins)
    assert all(isinstance(item, AskedWindow) for item in DOSE.items(subject))
    section = DOSE.section(taken(subject), PLAN)
    assert {row[0] for row in section.tables[0].rows} == {"passages, exact copies"}
    assert any("72 planted documents have no id of memaudit plant" in note for note in section.notes)


@pytest.mark.parametrize("copies", [None, 0])
def test_text_without_copies_is_refused(kit: DoseKit, copies: int | None) -> None:
    unknown = [dataclasses.replace(d, copies=copies) for d in kit.planted]
    with pytest.raises(InputError, match=r"states its number of copies.*memaudit plant"):
        DOSE.items(asked(trained(kit), unknown, kit.twins))


def test_masked_models_have_doses_but_no_exposure(kit: DoseKit, found: list[dict[str, Any]]) -> None:
    model = new_bert(trained(kit).tokenizer, width=16, layers=1, heads=2, context_length=32)
    items = DOSE.items(asked(model, kit.planted, kit.twins))
    assert all(isinstance(item, AskedWindow) for item in items)
    section = DOSE.section([r for r in found if r["type"] == "window"], PLAN)
    strict(section)
    assert len(section.tables) == 2
    assert any("a masked model gives no probability" in note for note in section.notes)


@pytest.mark.parametrize("keep", [lambda r: r["copies"] != 0, lambda r: r["kind"] == "canary"])
def test_parts_of_a_kit_have_a_section(found: list[dict[str, Any]], keep: Callable[[dict[str, Any]], bool]) -> None:
    section = DOSE.section([record for record in found if keep(record)], PLAN)
    strict(section)
    assert section.tables
