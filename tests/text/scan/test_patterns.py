from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.text.scan.patterns import SEED, Needle, build_patterns
from memaudit.text.words.words import words_of

NEEDLES = st.lists(
    st.tuples(st.sampled_from(["question", "answer"]), st.lists(st.sampled_from("abc"), max_size=25)), max_size=6
)


@settings(deadline=None, max_examples=60)
@given(NEEDLES)
def test_equal_runs_have_one_id_and_others_another(drawn: list[tuple[str, list[str]]]) -> None:
    patterns = build_patterns([Needle(i, part, " ".join(words)) for i, (part, words) in enumerate(drawn)])
    for length, grams in patterns.grams.items():
        ids: dict[tuple[str, ...], int] = {}
        for number, (_, words) in enumerate(drawn):
            found = patterns.gram_ids(number, length).tolist()
            runs = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
            assert found == [ids.setdefault(run, identity) for run, identity in zip(runs, found, strict=False)] + [
                -1
            ] * (len(words) - len(runs))
        assert sorted(ids.values()) == list(range(len(grams.first)))


@settings(deadline=None, max_examples=60)
@given(NEEDLES)
def test_tables_say_which_needles_hold_which_seeds(drawn: list[tuple[str, list[str]]]) -> None:
    patterns = build_patterns([Needle(i, part, " ".join(words)) for i, (part, words) in enumerate(drawn)])
    tables = patterns.tables
    for number in range(len(drawn)):
        ids = patterns.seed_ids(number)
        distinct = sorted({int(i) for i in ids if i >= 0})
        if not patterns.exact[number]:
            distinct = [seed for seed in distinct if not patterns.weights.boilerplate[seed]]
        assert patterns.distinct_seeds(number).tolist() == distinct
        first = tables.needle_seeds[number]
        for pair, seed in enumerate(distinct, start=first):
            assert tables.seed_places[pair] == np.flatnonzero(ids == seed)[0]
            assert number in tables.holders[tables.holder_first[seed] : tables.holder_first[seed + 1]]
        total = int(patterns.seed_weights(number).sum())
        needed = total if patterns.exact[number] else max(1, math.ceil(total / 5))
        assert tables.needed[number] == needed
    for seed in range(patterns.seeds):
        span = slice(tables.posting_first[seed], tables.posting_first[seed + 1])
        every = np.flatnonzero(patterns.grams[SEED].ids == seed)
        assert tables.postings[span].tolist() == every.tolist()
        starts = set(patterns.offsets.tolist())
        before = [0 if word in starts else patterns.hashes[word - 1] for word in every]
        assert tables.before[span].tolist() == before


def test_words_and_lengths_are_those_of_the_needles() -> None:
    texts = ["One, two: three.", "", "naïve FAÇADE — four five six"]
    patterns = build_patterns([Needle(i, "both", text) for i, text in enumerate(texts)])
    assert [patterns.length(i) for i in range(3)] == [3, 0, 5]
    assert [words.texts for words in patterns.words] == [words_of(text).texts for text in texts]
    assert [words.texts for words in patterns.words[1:]] == [words_of(text).texts for text in texts[1:]]
    assert patterns.hashes.tolist() == [h for text in texts for h in words_of(text).hashes.tolist()]
    assert patterns.seed_ids(0).tolist() == [-1, -1, -1]


def test_length_of_gpt3s_n_grams_is_the_fifth_percentile_of_a_part() -> None:
    def part(name: str, lengths: list[int]) -> list[Needle]:
        return [Needle(i, name, "word " * length) for i, length in enumerate(lengths)]

    needles = part("short", [3] * 20) + part("middle", [10] * 2 + [30] * 18) + part("long", [9] + [40] * 39)
    assert build_patterns(needles).gpt3_lengths == {"short": 8, "middle": 10, "long": 13}


def test_patterns_of_nothing_can_be_built() -> None:
    patterns = build_patterns([])
    assert patterns.seeds == 0
    assert patterns.gpt3_lengths == {}
    assert list(patterns.words) == []


def test_digest_tells_needles_apart() -> None:
    needles = [Needle(0, "question", "a b"), Needle(0, "question", "ab"), Needle(1, "question", "ab")]
    needles += [Needle(0, "answer", "ab"), Needle(0, "questiona", "b")]
    digests = [build_patterns([needle]).digest for needle in needles]
    assert len(set(digests)) == len(needles)
    assert build_patterns(needles[:1]).digest == digests[0]
