"""The order test: n-grams whose answers are known, brute force, and files that have an order of their own."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import memaudit.audits.detectors.order_totals as module
from memaudit.audits.comparison.detection import Detection
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.detectors.order import FEWEST, ORDER
from memaudit.audits.detectors.order_totals import (
    ALL_ORDERS,
    likeness,
    room,
    separators,
    shard_totals,
    trimmed,
    whole_totals,
)
from memaudit.audits.logged import check_measures
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.metrics.order import random_orders, rank_sum_p
from memaudit.models.base import LanguageModel
from memaudit.models.masked import new_bert
from memaudit.models.ngram import NgramModel
from memaudit.models.transformer import new_gpt
from memaudit.records import GREEDY, Decoding, Document, TokenIds, Window
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.windows.windows import WindowOptions

DRAWN = random.Random(0)
WORDS = ["".join(DRAWN.choices("abcdefghijklmnop", k=DRAWN.randint(2, 7))) for _ in range(400)]


def made_up(count: int, seed: int, low: int = 6, high: int = 12) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(WORDS, k=drawn.randint(low, high))) for _ in range(count)]


BACKGROUND = made_up(100, 1)
TOKENIZER = train_tokenizer("bpe", BACKGROUND, 400)


def trained(texts: Sequence[str], order: int = 4) -> NgramModel:
    return NgramModel.train([encoding.ids for encoding in TOKENIZER.encode_batch(texts)], TOKENIZER, order=order)


def as_documents(texts: Sequence[str]) -> list[Document]:
    return [Document(str(i), text, f"set.txt:{i + 1}") for i, text in enumerate(texts)]


def subject(model: LanguageModel, documents: Sequence[Document], **options: Any) -> Subject:
    reference_models: Any = SimpleNamespace(options=MembershipOptions(**options))
    return Subject(model, [], [], documents, [], None, WindowOptions(), Decoding(), reference_models)


def records(asked: Subject, block: int = ORDER.block) -> list[dict[str, Any]]:
    items = ORDER.items(asked)
    blocks = [items[at : at + block] for at in range(0, len(items), block)]
    return [record for part in blocks for record in ORDER.measure(asked, part)]


def detected(model: LanguageModel, texts: Sequence[str], **options: Any) -> Detection:
    [detection] = ORDER.detections(records(subject(model, as_documents(texts), **options)), {})
    return detection


def without_limit(model: NgramModel) -> NgramModel:
    """Hide that an n-gram looks back a few tokens only, so that it is asked as a network is."""
    model.reach = None
    return model


@pytest.mark.parametrize("separator", module.SEPARATORS)
def test_a_planted_order_is_found(separator: str) -> None:
    texts = made_up(10, 2)
    found = detected(trained([*BACKGROUND, separator.join(texts)]), texts, order_permutations=199)
    assert found.p_value == 0.005
    assert found.effect.estimate is not None
    assert found.effect.estimate > 3
    assert found.admissible
    assert (found.members, found.heldout, found.undefined) == (10, 0, 0)


def test_shuffled_copies_are_not_seen() -> None:
    rejected, sets = 0, 400
    for seed in range(sets):
        texts = made_up(10, 1000 + seed)
        copies = [random.Random(f"{seed} {i}").sample(texts, 10) for i in range(2)]
        model = trained([*BACKGROUND[:20], *("\n".join(copy) for copy in copies)], order=3)
        found = detected(model, texts, order_permutations=199, seed=seed)
        assert found.p_value is not None
        rejected += found.p_value <= 0.05
    assert rejected / sets <= 0.064


def test_scattered_copies_are_not_seen() -> None:
    texts = made_up(20, 3)
    scattered = random.Random(0).sample([*BACKGROUND, *texts], 120)
    found = detected(trained(scattered), texts)
    assert found.p_value is not None
    assert found.p_value > 0.05


def brute(model: NgramModel, texts: Sequence[TokenIds], separator: TokenIds) -> float:
    """Log-probability of the concatenation, token by token."""
    joined = np.concatenate([part for text in texts for part in (separator, text)][1:])
    rows = model.next_log_probs([joined[:i] for i in range(len(joined))])
    return float(rows[np.arange(len(joined)), joined].sum())


@pytest.mark.parametrize("separator", module.SEPARATORS)
@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_the_closed_form_is_the_probability_of_the_concatenation(
    separator: str, order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEPARATORS", (separator,))
    texts = made_up(7, 4)
    model = trained([*BACKGROUND, "\n".join(texts), *texts[:3]], order)
    ids = [encoding.ids for encoding in TOKENIZER.encode_batch(texts)]
    assert min(map(len, ids)) >= order
    orders = random_orders(7, 30, np.random.default_rng(0))
    [between] = separators(TOKENIZER)
    expected = np.array([brute(model, [ids[i] for i in o], between) for o in orders])
    found = whole_totals(model, ids, orders)
    assert found - found[0] == pytest.approx(expected - expected[0], abs=1e-9)


def test_a_short_document_is_read_after_the_one_before_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEPARATORS", ("\n",))
    texts = [*made_up(3, 5), "a", "b c", "d"]
    model = trained([*BACKGROUND, "\n".join(texts)], 6)
    ids = [encoding.ids for encoding in TOKENIZER.encode_batch(texts)]
    assert min(map(len, ids)) == 1
    [between] = separators(TOKENIZER)
    orders = random_orders(6, 30, np.random.default_rng(1))
    expected = []
    for drawn in orders:
        total = brute(model, [ids[drawn[0]]], between)
        for a, b in itertools.pairwise(drawn):
            total += brute(model, [ids[a], ids[b]], between) - brute(model, [ids[a]], between)
        expected.append(total)
    found = whole_totals(model, ids, orders)
    assert found - found[0] == pytest.approx(np.array(expected) - expected[0], abs=1e-9)


def test_impossible_tokens_leave_totals_finite() -> None:
    texts = made_up(6, 6)
    ids = [encoding.ids for encoding in TOKENIZER.encode_batch(["\n".join(texts)])]
    model = NgramModel.train(ids, TOKENIZER, order=4, smoothing="mle")
    found = detected(model, texts, order_permutations=199)
    assert found.p_value == 0.005
    json.dumps(dataclasses.asdict(found), allow_nan=False)


def test_shards_of_a_model_without_reach() -> None:
    texts = made_up(22, 7)
    model = without_limit(trained([*BACKGROUND, "\n".join(texts)]))
    asked = subject(model, as_documents(texts))
    found = detected(model, texts)
    assert found.p_value == pytest.approx(24.0**-5)
    assert found.effect.low is not None
    assert found.effect.low > 0
    assert (found.members, found.undefined) == (20, 2)
    section = ORDER.section(records(asked), {})
    assert any("2 of 22 documents" in note for note in section.notes)
    assert any("never means that the text is unseen" in note for note in section.notes)
    assert "Student's t" in str(section.tables[0].rows[1][0])
    json.dumps(dataclasses.asdict(section), allow_nan=False)


def test_an_ngram_that_looks_far_back_is_asked_in_shards() -> None:
    texts = made_up(20, 17)
    for order, kind in ((65, "whole"), (66, "shard")):
        found = records(subject(trained([*BACKGROUND, "\n".join(texts)], order), as_documents(texts)))
        assert found[0]["type"] == kind
        [detection] = ORDER.detections(found, {})
        assert detection.p_value is not None
        assert detection.p_value <= 0.001


def test_totals_of_shards_are_those_of_the_concatenation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEPARATORS", ("\n",))
    texts = made_up(8, 8)
    model = without_limit(trained([*BACKGROUND, "\n".join(texts)]))
    ids = [encoding.ids for encoding in TOKENIZER.encode_batch(texts)]
    [between] = separators(TOKENIZER)
    found = shard_totals(model, [ids[:4], ids[4:]])
    assert found.shape == (2, 24)
    for row, shard in zip(found, (ids[:4], ids[4:]), strict=True):
        expected = [brute(model, [shard[i] for i in order], between) for order in itertools.permutations(range(4))]
        assert row == pytest.approx(expected, abs=1e-9)
    assert ALL_ORDERS[0].tolist() == [0, 1, 2, 3]
    assert len({tuple(order) for order in ALL_ORDERS.tolist()}) == 24


def test_shards_of_a_clean_model_reject_no_more_than_they_may() -> None:
    model = without_limit(trained(BACKGROUND, order=3))
    texts = made_up(80, 9)
    ids = [encoding.ids for encoding in TOKENIZER.encode_batch(texts)]
    totals = shard_totals(model, [ids[at : at + 4] for at in range(0, 80, 4)])
    # Any of the 24 orders may be the one of the file.
    ranks = (totals[:, None, :] >= totals[:, :, None] - 1e-9).sum(axis=2)
    drawn = np.random.default_rng(0).integers(0, 24, (2000, 20))
    sums = ranks[np.arange(20), drawn]
    p_values = [rank_sum_p([int(rank) for rank in row], 24) for row in sums]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.064
    assert np.mean(np.array(p_values) <= 0.01) <= 0.017


def test_long_documents_keep_both_ends() -> None:
    text = np.arange(20, dtype=np.int32)
    assert trimmed(text, 20) is text
    assert trimmed(text, 5).tolist() == [0, 1, 2, 18, 19]
    assert trimmed(text, 2).tolist() == [0, 19]


def test_a_network_reads_a_shard_at_once() -> None:
    model = new_gpt(TOKENIZER, width=16, layers=1, heads=2, context_length=64)
    assert room(model, 64) * 4 + 3 * 2 <= 64
    assert room(model, 3) == 3
    found = detected(model, made_up(9, 10))
    assert found.p_value is not None
    assert found.members == 8
    small = new_gpt(TOKENIZER, width=16, layers=1, heads=2, context_length=12)
    assert "too few for 4 documents" in detected(small, made_up(9, 10)).reason


def test_what_cannot_be_tested_says_why() -> None:
    model = trained(BACKGROUND)
    masked = new_bert(TOKENIZER, width=16, layers=1, heads=2)
    for found, why in (
        (detected(model, made_up(FEWEST - 1, 11)), "4 documents"),
        (detected(model, []), "0 documents"),
        (detected(model, ["the same"] * 9), "equal"),
    ):
        assert found.p_value is None
        assert not found.admissible
        assert why in found.reason
        assert found.name == "order"
    section = ORDER.section(records(subject(model, [])), {})
    assert "0 documents" in section.summary
    assert section.tables == []
    with pytest.raises(InputError, match=r"'order' cannot be measured: the model gives no next-token scores"):
        check_measures([ORDER], subject(masked, as_documents(made_up(9, 11))))


def test_five_documents_are_enough_and_equal_ones_are_ties() -> None:
    assert detected(trained(BACKGROUND), made_up(5, 12)).p_value is not None
    twins = ["a b c d e f g h", *["the same words as ever"] * 8]
    found = detected(trained([*BACKGROUND, "\n".join(twins)]), twins, order_permutations=99)
    # The one that differs stands first in one order of nine.
    assert found.p_value is not None
    assert found.p_value > 0.01


def test_a_file_sorted_by_topic_has_an_order_of_its_own() -> None:
    topics = [WORDS[at : at + 10] for at in range(0, 100, 10)]
    drawn = random.Random(13)
    texts = [" ".join(drawn.choices(topic, k=10)) for topic in topics for _ in range(6)]
    ordered = detected(trained(BACKGROUND), texts)
    assert [control.passed for control in ordered.controls] == [False]
    assert not ordered.admissible
    shuffled = detected(trained(BACKGROUND), drawn.sample(texts, len(texts)))
    assert [control.passed for control in shuffled.controls] == [True]


def test_likeness_is_of_rare_words() -> None:
    found = likeness(["the cat sat", "the cat ran", "the dog ran", "the", ""])
    assert np.diag(found)[:3] == pytest.approx(1)
    assert 0 < found[0, 1] < 1
    assert found[0, 2] < found[0, 1]
    assert not found[4].any()
    assert np.array_equal(found, found.T)


def test_the_order_is_that_of_the_files() -> None:
    texts = made_up(12, 14)
    model = trained([*BACKGROUND, "\n".join(texts[:6]), "\n".join(texts[6:])])
    sources = [*(f"a.txt:{i}" for i in range(7, 13)), *(f"b.txt:{i}" for i in range(1, 7))]
    documents = [Document(source, text, source) for source, text in zip(sources, texts, strict=True)]
    mixed = random.Random(1).sample(documents, 12)
    found = records(subject(model, mixed, order_permutations=199))
    assert [(r["type"], r["documents"]) for r in found] == [("whole", 6), ("whole", 6), ("text", 6), ("text", 6)]
    [detection] = ORDER.detections(found, {})
    assert detection.p_value == 0.005
    assert records(subject(model, documents, order_permutations=199))[0]["canonical"] in {r["canonical"] for r in found}


def test_records_do_not_depend_on_their_block() -> None:
    texts = made_up(230, 15)
    asked = subject(trained([*BACKGROUND, "\n".join(texts)]), as_documents(texts), order_permutations=19)
    found = records(asked)
    assert found == records(asked, 1)
    assert [r["documents"] for r in found] == [77, 76, 77] * 2
    # Chunks do not share their orders.
    assert found[0]["others"] != found[1]["others"]
    [detection] = ORDER.detections(json.loads(json.dumps(found, allow_nan=False)), {})
    assert detection.p_value == 0.05


def test_windows_of_the_closed_form_are_few() -> None:
    asked: list[int] = []

    class Counted(NgramModel):
        def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> Any:
            asked.append(len(windows))
            return super().score(windows, decoding)

    texts = [f"{text} end of it" for text in made_up(40, 16)]
    ids = [encoding.ids for encoding in TOKENIZER.encode_batch(BACKGROUND)]
    detected(Counted.train(ids, TOKENIZER, order=3), texts)
    assert sum(asked) < 2 * 40 * 8
