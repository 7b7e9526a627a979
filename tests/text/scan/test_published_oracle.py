"""The oracle of published rules against cases worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.text.scan import published_oracle as oracle


def words(first: int, last: int) -> list[str]:
    """w1, w2, ...: all different."""
    return [f"w{number}" for number in range(first, last + 1)]


def changed(text: list[str], *places: int) -> list[str]:
    """The text with other words at the places, counted from 1 as in the comments."""
    return [f"x{place}" if place in places else word for place, word in enumerate(text, 1)]


TWENTY = words(1, 20)


@pytest.mark.parametrize(
    ("document", "contaminated"),
    [
        (TWENTY, range(1, 21)),
        (["a", *TWENTY[:10], "b"], ()),  # 10 tokens are not more than 10
        (["a", *TWENTY[:11], "b"], range(1, 12)),
        # One mismatch at 11: 1-10 agree, 12-20 follow. The 11th differs, so it is not in both.
        (changed(TWENTY, 11), [*range(1, 11), *range(12, 21)]),
        # At 10: no span of ten before it; after it 11-20 are ten tokens and none follows.
        (changed(TWENTY, 10), ()),
        # At 9: 10-20 are eleven tokens; 1-8 would need a mismatch among the first ten.
        (changed(TWENTY, 9), range(10, 21)),
        # At 20: trailing mismatch, the span ends at 19.
        (changed(TWENTY, 20), range(1, 20)),
        # 11, 13, 15, 17 differ: the budget of four exactly, and 18-20 still belong.
        (changed(TWENTY, 11, 13, 15, 17), [*range(1, 11), 12, 14, 16, 18, 19, 20]),
        # 19 is the fifth: the span ends at 18.
        (changed(TWENTY, 11, 13, 15, 17, 19), [*range(1, 11), 12, 14, 16, 18]),
        # 11-14 differ in a row, then one word agrees: a span of 15 positions. With five in a row there is none.
        (changed(TWENTY, 11, 12, 13, 14), [*range(1, 11), *range(15, 21)]),
        (changed(TWENTY, 11, 12, 13, 14, 15), ()),
        # A word left out shifts all that follows: 1-11 match, 13-20 are eight words at another offset.
        (TWENTY[:11] + TWENTY[12:], range(1, 12)),
    ],
)
def test_llama2_tokens(document: list[str], contaminated: list[int]):
    found = oracle.llama2_contaminated(TWENTY, [["some", "words", "before"], document])
    assert [place for place, is_found in enumerate(found, 1) if is_found] == list(contaminated)


def test_llama2_budget_is_for_each_span():
    # 40 words, of which 15, 30, 33, 36 and 39 differ. From 1: four mismatches (15, 30, 33, 36), up to 38. From 16:
    # 16-29 agree, four mismatches (30, 33, 36, 39), so 40 is reached.
    item = words(1, 40)
    found = oracle.llama2_contaminated(item, [changed(item, 15, 30, 33, 36, 39)])
    assert [place for place, is_found in enumerate(found, 1) if not is_found] == [15, 30, 33, 36, 39]


def test_llama2_spans_stay_in_a_document_and_add_up():
    # 1-10 and 11-20 in two documents: ten each, none. 1-11 and 10-20: all 20, though neither has more than 11.
    assert oracle.llama2_share(TWENTY, [TWENTY[:10], TWENTY[10:]]) == 0
    assert oracle.llama2_share(TWENTY, [TWENTY[:11], TWENTY[9:]]) == 1
    # The longest of these is 11: a minimum match length of 12 finds nothing.
    assert oracle.llama2_share(TWENTY, [TWENTY[:11], TWENTY[9:]], min_length=12) == 0


def test_llama2_classes():
    # 11 of 55 is exactly 20%; 11 of 56 is less. 44 of 55 is exactly 80%.
    document = words(1, 11)
    assert oracle.llama2_classes(oracle.llama2_share(words(1, 55), [document])) == {"not clean", "not dirty"}
    assert oracle.llama2_classes(oracle.llama2_share(words(1, 56), [document])) == {"clean", "not dirty"}
    assert oracle.llama2_classes(oracle.llama2_share(words(1, 55), [words(1, 44)])) == {"not clean", "dirty"}
    assert oracle.llama2_classes(oracle.llama2_share([], [document])) == {"clean", "not dirty"}


def test_gpt3_n():
    # 20 items: 5% is the first of them; 21: 1.05, so the second; 40: the second; 41: the third.
    assert oracle.gpt3_lengths([["a"] * 9, ["a"] * 3]) == [3, 9]
    assert oracle.gpt3_n([["a"] * length for length in [9, *[12] * 19]]) == 9
    assert oracle.gpt3_n([["a"] * length for length in [9, *[12] * 20]]) == 12
    assert oracle.gpt3_n([["a"] * length for length in [9, 10, *[12] * 38]]) == 10
    assert oracle.gpt3_n([["a"] * length for length in [9, 10, *[12] * 39]]) == 12
    assert oracle.gpt3_n([["a"] * 40]) == 13
    assert oracle.gpt3_n([["a"] * 3]) == 8
    assert oracle.gpt3_n([["a"] * 3], synthetic=True) == 3


def test_gpt3_words():
    assert oracle.gpt3_words("Don't -- stop,\nNOW!") == ["dont", "stop", "now"]


def test_gpt3_measures_in_any_document_and_filters_in_up_to_ten():
    item, copies = words(1, 13), [["a", *words(1, 13), "b"] for _ in range(11)]
    for count in (1, 10, 11):
        assert oracle.gpt3_dirty(item, copies[:count], 13)
    assert oracle.gpt3_filter_collides(copies[0], [item], copies[:10])
    assert not oracle.gpt3_filter_collides(copies[0], [item], copies)
    # The same document holding it eleven times is one document.
    assert oracle.gpt3_filter_collides(words(1, 13) * 11, [item], [words(1, 13) * 11])
    # Another item's n-gram is a collision all the same; twelve words are none.
    assert oracle.gpt3_filter_collides(words(1, 13), [words(50, 70), item], [words(1, 13)])
    assert not oracle.gpt3_filter_collides(words(1, 12), [item], [words(1, 12)])


def test_gpt3_and_pile_lengths():
    # Seven words are no 8-gram even if the item is nothing else.
    assert not oracle.gpt3_dirty(words(1, 7), [words(1, 7)], 8)
    assert oracle.gpt3_dirty(words(1, 8), [words(1, 8)], 8)
    assert not oracle.pile_dirty(words(1, 20), [[*words(1, 12), "x"]])
    assert oracle.pile_dirty(words(1, 20), [["x", *words(3, 15)]])


FEW = st.lists(st.sampled_from("ab"), max_size=30)


@given(FEW, st.lists(FEW, max_size=3), st.integers(8, 13))
def test_what_the_pile_convicts_gpt3_convicts(item: list[str], documents: list[list[str]], n: int):
    assert oracle.gpt3_dirty(item, documents, n) or not oracle.pile_dirty(item, documents)


def test_palm():
    # 17 words have ten 8-grams; the first 14 words hold seven of them, 13 words six.
    item = words(1, 17)
    assert oracle.palm_share(item, [words(1, 14)]) == 0.7
    assert oracle.palm_dirty(item, [words(1, 14)])
    assert not oracle.palm_dirty(item, [words(1, 13)])
    # Seen in any document: 8-grams 1-3 in one (10 words) and 4-7 in another (words 4-14).
    assert oracle.palm_share(item, [words(1, 10), words(4, 14)]) == 0.7
    # Nine times the same word: two 8-grams, one and the same; both are seen.
    assert oracle.palm_share(["a"] * 9, [["a"] * 8]) == 1
    assert oracle.palm_share(words(1, 7), [words(1, 7)]) == 0


def test_gpt4():
    assert oracle.gpt4_characters("It's 3 + 4, Ñandú!") == "Its34Ñandú"
    # 49 characters: the whole, wherever it is drawn. Spaces and symbols between do not matter; case does.
    short = "ab" * 24 + "c"
    assert oracle.gpt4_contaminated(short, ["-- " + " ".join(short) + "!"], [0, 0, 0])
    assert not oracle.gpt4_contaminated(short, [short.upper()], [0, 0, 0])
    assert not oracle.gpt4_contaminated(short, [short[:-1]], [0, 0, 0])
    # 60 characters have 11 starts, 0 to 10. The document holds characters 0-54: the starts 0 to 5.
    text = "".join(chr(0x4E00 + number) for number in range(60))
    assert list(oracle.gpt4_starts(text)) == list(range(11))
    assert oracle.gpt4_matching(text, [text[:55]]) == [True] * 6 + [False] * 5
    assert oracle.gpt4_contaminated(text, [text[:55]], [9, 5, 10])
    assert not oracle.gpt4_contaminated(text, [text[:55]], [9, 6, 10])
    # Fifty characters exactly have one substring; no characters have nothing to look for.
    assert list(oracle.gpt4_starts(text[:50])) == [0]
    assert not oracle.gpt4_contaminated("?!", ["anything"], [0, 0, 0])


def test_contam_scores():
    # Twelve words; the document holds 1-5 and, apart, 7-10; n is 3.
    item, document = words(1, 12), [*words(1, 5), "x", *words(7, 10)]
    # Tokens in a 3-gram: 1-5, 7-10, nine of twelve. 3-grams: three and two of ten.
    assert oracle.contam_token_match(item, [document], 3) == 9 / 12
    assert oracle.contam_ngram_match(item, [document], 3) == 5 / 10
    # x stands where w6 stood, so one skip joins the two spans; the skipped word does not count.
    assert oracle.contam_token_extend(item, [document], 3, 0) == 9 / 12
    assert oracle.contam_token_extend(item, [document], 3, 1) == 9 / 12
    assert oracle.contam_longest(item, [document], 0, 3) == 5 / 12
    assert oracle.contam_longest(item, [document], 1, 3) == 9 / 12
    assert oracle.contam_longest(item, [document], 0, 6) == 0
    # A skip reaches a word that no 3-gram holds: 1-5, x, 7, y.
    assert oracle.contam_token_match(item, [[*words(1, 5), "x", "w7", "y"]], 3) == 5 / 12
    assert oracle.contam_token_extend(item, [[*words(1, 5), "x", "w7", "y"]], 3, 1) == 6 / 12
    # Once in each of two documents is twice.
    assert oracle.contam_token_match(item, [words(1, 3), words(1, 4)], 3, mincount=2) == 3 / 12


def test_contam_gain():
    # All: 3 of 4. Left as clean at 0.5 (not above): items 2, 3 and 4, of which 2 are right. At 0: items 3 and 4.
    correct, scores = [1, 1, 0, 1], [0.9, 0.5, 0.0, 0.0]
    assert oracle.contam_epg(correct, scores, 0.5) == pytest.approx(3 / 4 - 2 / 3)
    assert oracle.contam_epg(correct, scores, 0.0) == pytest.approx(3 / 4 - 1 / 2)
    assert math.isnan(oracle.contam_epg([1], [1.0], 0.5))


@given(FEW, st.lists(FEW, max_size=3), st.integers(1, 6), st.integers(0, 4))
def test_contam_scores_keep_their_order(item: list[str], documents: list[list[str]], n: int, budget: int):
    """No budget is token-match, a budget adds to it, and one span is no more than all of them."""
    extend = oracle.contam_token_extend(item, documents, n, budget)
    exact = oracle.contam_token_extend(item, documents, n, 0)
    assert oracle.contam_token_match(item, documents, n) == exact <= extend <= 1
    assert oracle.contam_longest(item, documents, budget, n) <= extend
    assert oracle.contam_ngram_match(item, documents, 8) == oracle.palm_share(item, documents)
