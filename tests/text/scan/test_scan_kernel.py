from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memaudit.text.scan.kernel import LONG_RUN
from memaudit.text.scan.patterns import Needle, Patterns, build_patterns
from memaudit.text.scan.result import Scan
from memaudit.text.scan.stream import scan_texts
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


@settings(deadline=None, max_examples=80)
@given(needles_and_documents())
@example(([[*"aaaabaaaaaaaa"]], [[*"aaaaaaaa"]]))
def test_candidates_hold_a_fifth_of_the_seeds_or_a_long_run(case: tuple[list[list[str]], list[list[str]]]) -> None:
    needles, documents = case
    patterns, scan = scanned(needles, documents)
    expected = {}
    for number, needle in enumerate(needles):
        seeds = dict(zip(grams(needle, 5), patterns.seed_ids(number).tolist(), strict=False))
        for line, document in enumerate(documents, start=1):
            shared = sorted({seeds[run] for run in grams(document, 5) if run in seeds})
            long_run = naive_longest(needle, [document]) >= LONG_RUN
            if shared and (5 * len(shared) >= len(seeds) or long_run):
                expected[number, f"corpus.jsonl:{line}"] = tuple(shared)
    assert {(c.needle, c.source): c.seeds for c in scan.candidates} == expected
    for candidate in scan.candidates:
        text = " ".join(documents[int(candidate.source.split(":")[1]) - 1])
        assert text[candidate.start :].startswith(candidate.text)


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
