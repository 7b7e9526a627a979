from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.records import TokenIds
from memaudit.training.batches import IGNORED, Batch, RowBatches, StreamBatches

EOS = 0
# Every token is unlike any other, so that a lost or doubled one shows.
LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=25)


def distinct_documents(lengths: list[int]) -> list[TokenIds]:
    ends = np.cumsum(lengths)
    return [np.arange(end - n, end, dtype=np.int32) + 1 for n, end in zip(lengths, ends.tolist(), strict=True)]


def targets(batches: list[Batch]) -> Counter[int]:
    every = np.concatenate([batch.targets.ravel() for batch in batches])
    return Counter(every[every != IGNORED].tolist())


def equal(first: Batch, second: Batch) -> bool:
    same = np.array_equal(first.inputs, second.inputs) and np.array_equal(first.targets, second.targets)
    return same and first.continues == second.continues


@settings(deadline=None, max_examples=60)
@given(LENGTHS, st.integers(1, 5), st.integers(1, 17), st.integers(0, 3), st.booleans())
def test_rows_hold_every_token_once_after_what_stands_before_it(
    lengths: list[int], batch_size: int, length: int, epoch: int, shuffle: bool
) -> None:
    documents = distinct_documents(lengths)
    rows = RowBatches(documents, EOS, batch_size, length, seed=7, shuffle=shuffle)
    batches = [rows.batch(epoch, index) for index in range(len(rows))]
    expected = Counter({token: 1 for document in documents for token in document.tolist()})
    expected[EOS] = len(documents)
    assert targets(batches) == expected
    for batch in batches:
        assert len(batch.inputs) <= batch_size
        assert batch.inputs.shape[1] <= length
        assert (batch.inputs[:, 0] == EOS).all()
        known = batch.targets != IGNORED
        assert (known[:, :-1] >= known[:, 1:]).all(), "padding stands on the right"
        inner = known[:, 1:]
        assert (batch.inputs[:, 1:][inner] == batch.targets[:, :-1][inner]).all()


@settings(deadline=None, max_examples=60)
@given(LENGTHS, st.integers(1, 5), st.integers(2, 17), st.integers(0, 3))
def test_masked_rows_hold_every_token_once_in_its_place(
    lengths: list[int], batch_size: int, length: int, epoch: int
) -> None:
    documents = distinct_documents(lengths)
    rows = RowBatches(documents, EOS, batch_size, length, seed=7, masked=True)
    batches = [rows.batch(epoch, index) for index in range(len(rows))]
    assert targets(batches) == Counter({token: 1 for document in documents for token in document.tolist()})
    for batch in batches:
        assert batch.inputs.shape[1] <= length
        known = batch.targets != IGNORED
        assert (batch.inputs[known] == batch.targets[known]).all()
        assert (batch.inputs[~known] == EOS).all()


@settings(deadline=None, max_examples=60)
@given(LENGTHS, st.integers(1, 5), st.integers(1, 17), st.integers(0, 3))
def test_streams_hold_every_token_once_and_continue(lengths: list[int], streams: int, length: int, epoch: int) -> None:
    documents = distinct_documents(lengths)
    layout = StreamBatches(documents, EOS, streams, length, seed=7)
    batches = [layout.batch(epoch, index) for index in range(len(layout))]
    expected = Counter({token: 1 for document in documents for token in document.tolist()})
    expected[EOS] = len(documents)
    assert targets(batches) == expected
    assert [batch.continues for batch in batches] == [False] + [True] * (len(batches) - 1)
    inputs = np.concatenate([batch.inputs for batch in batches], axis=1)
    learned = np.concatenate([batch.targets for batch in batches], axis=1).ravel()
    text = learned[learned != IGNORED]
    assert inputs[0, 0] == EOS
    np.testing.assert_array_equal(inputs.ravel()[1 : len(text)], text[:-1])
    after = np.flatnonzero(np.isin(text, [document[0] for document in documents]))
    assert all(place == 0 or text[place - 1] == EOS for place in after)


def test_order_and_cuts_follow_from_seed_and_epoch() -> None:
    documents = distinct_documents([30, 7, 90, 12, 41, 3, 55])
    for kind in (RowBatches, StreamBatches):
        first, second = (kind(documents, EOS, 3, 10, seed=1) for _ in range(2))
        assert equal(first.batch(1, 2), second.batch(1, 2))
        first.batch(0, 0)
        assert equal(first.batch(1, 2), second.batch(1, 2)), "no batch depends on what was asked before"
        assert not equal(first.batch(1, 0), first.batch(2, 0))
        assert not equal(first.batch(1, 0), kind(documents, EOS, 3, 10, seed=2).batch(1, 0))


def test_cuts_of_a_long_document_move_and_their_number_does_not() -> None:
    rows = RowBatches(distinct_documents([100]), EOS, 64, 30)
    borders = [set(rows.batch(epoch, 0).targets[:, 0].tolist()) for epoch in range(20)]
    assert {len(border) for border in borders} == {4}
    assert len(set.union(*borders)) > 10


def test_rows_of_a_batch_have_about_equal_lengths() -> None:
    random = np.random.default_rng(0)
    documents = [np.ones(n, np.int32) for n in random.integers(1, 100, 500)]
    rows = RowBatches(documents, EOS, 8, 128)
    batches = [rows.batch(0, index) for index in range(len(rows))]
    padded = sum(batch.targets.size for batch in batches)
    assert padded < 1.1 * sum(batch.tokens for batch in batches)
