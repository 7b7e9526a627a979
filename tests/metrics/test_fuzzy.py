import math
from collections import Counter
from fractions import Fraction
from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction
from nltk.translate.bleu_score import sentence_bleu as nltk_bleu
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import sentence_bleu

from memaudit.metrics.fuzzy import bleu, edit_similarity, rouge_l, rouge_l_text, words
from tests.strategies import SAMPLES, ids, pairs

quick = settings(deadline=None, max_examples=100)


def brute_force_edits(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def brute_force_subsequence(a, b):
    table = np.zeros((len(a) + 1, len(b) + 1), int)
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            table[i, j] = table[i - 1, j - 1] + 1 if x == y else max(table[i - 1, j], table[i, j - 1])
    return int(table[-1, -1])


def brute_force_bleu(reference, candidate):
    """The definition in exact fractions until the last step."""
    precisions = []
    smoothed = Fraction(1)
    for n in range(1, min(4, len(candidate)) + 1):
        there, here = (Counter(tuple(s[i : i + n]) for i in range(len(s) - n + 1)) for s in (reference, candidate))
        matches = Fraction((there & here).total())
        if n == 1 and not matches:
            return 0.0
        if not matches:
            smoothed /= 2
            matches = smoothed
        precisions.append(matches / here.total())
    brevity = min(1.0, math.exp(1 - len(reference) / len(candidate)))
    return brevity * math.exp(sum(map(math.log, precisions)) / len(precisions))


def sacrebleu_of(reference, candidate):
    joined = (" ".join(f"t{i}" for i in side) for side in (candidate, reference))
    hypothesis, truth = joined
    return sentence_bleu(hypothesis, [truth], tokenize="none", use_effective_order=True).score / 100


@quick
@given(pairs())
def test_edit_similarity_of_text_is_the_brute_force_one(pair):
    a, b = pair
    expected = 1 - brute_force_edits(a, b) / max(len(a), len(b)) if a and b else None
    assert edit_similarity(a, b) == pytest.approx(expected, abs=1e-12)


@quick
@given(ids(), ids())
def test_id_metrics_are_the_brute_force_ones(a, b):
    arrays = np.array(a, np.int32), np.array(b, np.int32)
    edits = 1 - brute_force_edits(a, b) / max(len(a), len(b)) if a and b else None
    overlap = 2 * brute_force_subsequence(a, b) / (len(a) + len(b)) if a and b else None
    assert edit_similarity(*arrays) == pytest.approx(edits, abs=1e-12)
    assert rouge_l(*arrays) == pytest.approx(overlap, abs=1e-12)
    assert edit_similarity(a, b) == edit_similarity(*arrays)


@quick
@given(pairs())
def test_rouge_of_words_is_the_brute_force_one(pair):
    a, b = (words(text) for text in pair)
    expected = 2 * brute_force_subsequence(a, b) / (len(a) + len(b)) if a and b else None
    assert rouge_l_text(*pair) == pytest.approx(expected, abs=1e-12)


ascii_text = st.text(alphabet=st.sampled_from("aAbB1_ .,-+$\n"), max_size=60)


@quick
@given(ascii_text, ascii_text)
def test_rouge_of_ascii_text_is_rouge_scores(reference, candidate):
    expected = RougeScorer(["rougeL"]).score(reference, candidate)["rougeL"].fmeasure
    ours = rouge_l_text(reference, candidate)
    if words(reference) and words(candidate):
        assert ours == pytest.approx(expected, abs=1e-12)
    else:
        assert ours is None


def test_rouge_of_english_prose_is_rouge_scores():
    scorer = RougeScorer(["rougeL"])
    prose = "".join(topics.values()).encode("ascii", "ignore").decode()
    for start in range(0, 60_000, 2_000):
        reference, candidate = prose[start : start + 500], prose[start + 250 : start + 750]
        expected = scorer.score(reference, candidate)["rougeL"].fmeasure
        assert rouge_l_text(reference, candidate) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World_x: 3.5!", ["hello", "world", "x", "3", "5"]),
        ("Straße CAFÉ naïve", ["straße", "café", "naïve"]),
        ("Привет, мир", ["привет", "мир"]),
        ("日本語です。", ["日", "本", "語", "で", "す"]),
        ("ｶﾅ", ["ｶ", "ﾅ"]),
        ("ที่ 5", ["ท", "ี", "่", "5"]),
        ("مَرحبا، عالم", ["مَرحبا", "عالم"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("한국어 단어", ["한국어", "단어"]),
        ("so 👨‍👩‍👧❤️!", ["so", "👨", "👩", "👧", "❤"]),
        ("soft\u00adhyphen zero\u200bwidth", ["softhyphen", "zerowidth"]),
        (" \t\n--- ...", []),
    ],
)
def test_words_of_many_scripts(text, expected):
    assert words(text) == expected


@quick
@given(ids(), ids())
def test_bleu_is_the_brute_force_one_and_sacrebleus(reference, candidate):
    ours = bleu(np.array(reference, np.int32), np.array(candidate, np.int32))
    if not reference or not candidate:
        assert ours is None
        return
    assert ours == pytest.approx(brute_force_bleu(reference, candidate), abs=1e-12)
    assert ours == pytest.approx(sacrebleu_of(reference, candidate), abs=1e-12)


@quick
@given(ids().filter(lambda s: len(s) >= 4), ids().filter(lambda s: len(s) >= 4))
def test_bleu_of_four_tokens_and_more_is_nltks_method3(reference, candidate):
    theirs = nltk_bleu([reference], candidate, smoothing_function=SmoothingFunction().method3)
    assert bleu(reference, candidate) == pytest.approx(float(theirs), abs=1e-12)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 50])
def test_bleu_of_equal_sequences_of_any_length_is_one(length):
    tokens = list(range(50_000, 50_000 + length))
    assert bleu(tokens, tokens) == 1.0


def test_bleu_is_not_symmetric():
    assert bleu([1, 2, 3, 4, 5, 6], [1, 2, 3, 4]) == pytest.approx(math.exp(-0.5))
    assert bleu([1, 2, 3, 4], [1, 2, 3, 4, 5, 6]) < math.exp(-0.5)


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_one_changed_character_costs_one_edit(text):
    changed = "§" + text[1:]
    assert edit_similarity(text, changed) == pytest.approx(1 - 1 / len(text))
