from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.models.ngram_counts import SEPARATOR, Trie, count_ngrams

EOS = 0
Ngram = tuple[int, ...]


def ids(*tokens: int) -> np.ndarray:
    return np.array(tokens, dtype=np.int32)


def brute_counts(documents: list[list[int]], order: int, eos: list[int], continuation: bool) -> dict[Ngram, int]:
    raw: Counter[Ngram] = Counter()
    before: dict[Ngram, set[object]] = defaultdict(set)
    for document in documents:
        text = [*document, *eos]
        for start in range(len(text)):
            for end in range(start + 1, min(len(text), start + order) + 1):
                raw[tuple(text[start:end])] += 1
                before[tuple(text[start:end])].add(text[start - 1] if start else "start")
    if not continuation:
        return dict(raw)
    return {gram: count if len(gram) == order else len(before[gram]) for gram, count in raw.items()}


def unfold(trie: Trie, order: int) -> dict[Ngram, int]:
    """Read all n-grams back, following those seen once through the text."""
    found: dict[Ngram, int] = {}
    open_nodes: list[tuple[int, Ngram]] = [(0, ())]
    while open_nodes:
        node, context = open_nodes.pop()
        children = trie.tokens[trie.first[node] : trie.first[node + 1]]
        assert (np.diff(children) > 0).all()
        for child, token in enumerate(children, start=int(trie.first[node])):
            gram = (*context, int(token))
            count = int(trie.counts[child])
            found[gram] = count if count >= 0 else 1
            if count < 0:
                end = ~count
                while len(gram) < order and trie.text[end] != SEPARATOR:
                    gram = (*gram, int(trie.text[end]))
                    found[gram] = 1
                    end += 1
            elif len(gram) < order:
                open_nodes.append((child, gram))
    return found


def check_counts(
    documents: list[list[int]], order: int, vocab_size: int, eos_id: int | None, continuation: bool
) -> None:
    arrays = [ids(*document) for document in documents]
    counts = count_ngrams(arrays, order, vocab_size, eos_id, continuation=continuation)
    expected = brute_counts(documents, order, [] if eos_id is None else [eos_id], continuation)
    assert unfold(counts.trie, order) == expected
    for n in range(1, order + 1):
        of_order = [count for gram, count in expected.items() if len(gram) == n]
        assert counts.ngrams[n - 1] == len(of_order)
        assert counts.counts_of_counts[n - 1].tolist() == [of_order.count(c) for c in (1, 2, 3, 4)]


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.lists(st.integers(1, 3), max_size=40), min_size=1, max_size=6).filter(any),
    st.integers(1, 70),
    st.sampled_from([EOS, None]),
    st.booleans(),
)
def test_counts_equal_a_dictionary_of_tuples(
    documents: list[list[int]], order: int, eos_id: int | None, continuation: bool
) -> None:
    check_counts(documents, order, 5, eos_id, continuation)


@pytest.mark.parametrize("continuation", [False, True])
def test_orders_beyond_one_packed_integer(continuation: bool) -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(1, 3_000_000, 3_000).tolist()
    passage = noise[100:160]
    documents = [noise, passage * 3, passage[:30], [*noise[500:520], *passage], passage[:30]]
    check_counts(documents, 20, 3_000_000, EOS, continuation)


def test_periodic_text_far_deeper_than_a_packed_integer() -> None:
    check_counts([[1, 2] * 150, [2, 1] * 80, [1] * 90], 130, 3, EOS, True)


def test_an_ngram_seen_once_costs_one_node_at_any_order() -> None:
    text = np.arange(1, 1001, dtype=np.int32)
    counts = count_ngrams([text], 200, 1001, EOS, continuation=True)
    assert len(counts.trie.tokens) == 1 + 1001
    assert counts.ngrams.tolist() == [1001 - n for n in range(200)]


@pytest.mark.parametrize("documents", [[], [ids()], [ids(), ids()]])
@pytest.mark.parametrize("eos_id", [EOS, None])
def test_text_without_a_token_is_refused(documents: list[np.ndarray], eos_id: int | None) -> None:
    with pytest.raises(InputError, match="no token"):
        count_ngrams(documents, 3, 5, eos_id, continuation=True)


@pytest.mark.parametrize("token", [-1, 5])
def test_ids_outside_the_vocabulary_are_refused(token: int) -> None:
    with pytest.raises(InputError, match="do not fit a vocabulary of 5"):
        count_ngrams([ids(1, token)], 3, 5, EOS, continuation=True)
