from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memaudit.text.scan.kernel import SLIPS, scan_documents
from memaudit.text.scan.patterns import MIN_SHARE, SHORT, Needle, Patterns, build_patterns
from memaudit.text.scan.result import Scan
from memaudit.text.scan.stream import scan_texts
from memaudit.text.scan.tally import new_tally
from memaudit.text.words.words import encode_texts, hash_words
from tests.text.scan.published_oracle import llama2_contaminated

Words = tuple[str, ...]


@st.composite
def needles_and_documents(draw: st.DrawFn) -> tuple[list[list[str]], list[list[str]]]:
    """Needles, and documents of which some hold edited pieces of them."""
    alphabet = draw(st.sampled_from(["ab", "abc", "abcdefgh", "abcdefghijklmnopqrstuvwxyz"]))
    word = st.sampled_from(alphabet)
    needles = draw(st.lists(st.lists(word, max_size=30), min_size=1, max_size=4))
    documents = []
    for _ in range(draw(st.integers(1, 4))):
        document = draw(st.lists(word, max_size=20))
        for _ in range(draw(st.integers(0, 2))):
            piece = list(draw(st.sampled_from(needles)))
            for place in draw(st.lists(st.integers(0, 29), max_size=4)):
                piece[place : place + 1] = draw(st.lists(word, max_size=2))
            at = draw(st.integers(0, len(document)))
            document[at:at] = piece
        documents.append(document)
    return needles, documents


def scanned(needles: list[list[str]], documents: list[list[str]]) -> tuple[Patterns, Scan]:
    patterns = build_patterns([Needle(i, "both", " ".join(words)) for i, words in enumerate(needles)])
    names = [f"corpus.jsonl:{i + 1}" for i in range(len(documents))]
    return patterns, scan_texts([" ".join(words) for words in documents], patterns, names)


def grams(words: list[str], n: int) -> list[Words]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def naive_longest(needle: list[str], documents: list[list[str]]) -> int:
    found = [n for n in range(5, len(needle) + 1) if any(set(grams(needle, n)) & set(grams(d, n)) for d in documents)]
    return max(found, default=0)


@settings(deadline=None, max_examples=80)
@given(needles_and_documents())
def test_document_frequencies_are_those_of_sets_of_n_grams(case: tuple[list[list[str]], list[list[str]]]) -> None:
    needles, documents = case
    patterns, scan = scanned(needles, documents)
    counts = {5: scan.seed_documents} | scan.gram_documents
    assert set(counts) >= {5, 8, 13}
    for length, found in counts.items():
        sets = [set(grams(document, length)) for document in documents]
        for number, needle in enumerate(needles):
            ids = patterns.gram_ids(number, length)
            runs = grams(needle, length)
            assert (ids[len(runs) :] == -1).all()
            assert found[ids[: len(runs)]].tolist() == [sum(run in s for s in sets) for run in runs]


@settings(deadline=None, max_examples=80)
@given(needles_and_documents())
def test_longest_run_and_covered_words(case: tuple[list[list[str]], list[list[str]]]) -> None:
    needles, documents = case
    patterns, scan = scanned(needles, documents)
    assert scan.longest.tolist() == [naive_longest(needle, documents) for needle in needles]
    for number, needle in enumerate(needles):
        covered = scan.covered[patterns.offsets[number] : patterns.offsets[number + 1]]
        assert covered.tolist() == llama2_contaminated(needle, documents)


def candidates(patterns: Patterns, documents: list[list[str]]) -> dict[tuple[int, int], set[int]]:
    """Return what the kernel hands over: the seeds of each needle in each document."""
    hashes, offsets = hash_words(*encode_texts([" ".join(words) for words in documents]))
    found = scan_documents(patterns.tables, new_tally(patterns.tables), hashes, offsets).tolist()
    held, at = {}, 0
    while at < len(found):
        needle, document, _, _, count = found[at : at + 5]
        held[needle, document] = set(found[at + 5 : at + 5 + count])
        at += 5 + count
    return held


def nearly_whole(needle: list[str], document: list[str]) -> bool:
    """Try every seed of the needle wherever it stands, and both sides one word nearer or farther."""
    for i, j in product(range(len(needle) - 4), range(len(document) - 4)):
        if needle[i : i + 5] == document[j : j + 5]:
            sides = []
            for first, last in ((0, i), (i + 5, len(needle))):
                places = [(w, w + j - i + step) for step in (-1, 0, 1) for w in range(first, last)]
                equal = [0 <= at < len(document) and needle[w] == document[at] for w, at in places]
                size = last - first
                sides.append(max(sum(equal[k * size : (k + 1) * size]) for k in range(3)))
            if sum(sides) + 5 >= len(needle) - SLIPS:
                return True
    return False


@settings(deadline=None, max_examples=80)
@given(needles_and_documents(), st.sampled_from(["{}", "word{}"]))
@example(([[*"aaaabaaaaaaaa"]], [[*"aaaaaaaa"]]), "word{}")
def test_candidates_hold_a_fifth_of_the_weight_and_short_ones_nearly_every_word(
    case: tuple[list[list[str]], list[list[str]]], spelling: str
) -> None:
    needles, documents = ([[spelling.format(word) for word in text] for text in side] for side in case)
    patterns, _ = scanned(needles, documents)
    expected = {}
    for number, needle in enumerate(needles):
        seeds = dict(zip(grams(needle, 5), patterns.seed_ids(number).tolist(), strict=False))
        counted = patterns.distinct_seeds(number).tolist()
        weights = dict(zip(counted, patterns.seed_weights(number).tolist(), strict=True))
        needed = sum(weights.values()) * (1 if patterns.exact[number] else MIN_SHARE)
        for place, document in enumerate(documents):
            shared = {seeds[run] for run in grams(document, 5) if seeds.get(run) in weights}
            enough = shared and sum(weights[seed] for seed in shared) >= needed - 1e-6
            if enough and (len(needle) >= SHORT or nearly_whole(needle, document)):
                expected[number, place] = shared
    assert candidates(patterns, documents) == expected


@pytest.mark.parametrize("period", ["a", "ab", "aab", "abcaba"])
def test_text_that_repeats_itself_is_no_exception(period: str) -> None:
    """Long enough that hits amid the same words are passed over."""
    rng = random.Random(period)
    needles = [list((period * 9)[first:last]) for first, last in [(0, 7), (1, 20), (0, 30)]]
    needles.append([rng.choice("abc") for _ in range(40)])
    document = list(period * 200 + "".join(rng.choices("abc", k=60)) + period * 100)
    _, scan = scanned(needles, [document, document[::-1]])
    assert scan.longest.tolist() == [naive_longest(needle, [document, document[::-1]]) for needle in needles]
    expected = [word for needle in needles for word in llama2_contaminated(needle, [document, document[::-1]])]
    assert scan.covered.tolist() == expected
