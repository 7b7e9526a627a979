import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.metrics.verbatim import (
    CommonSpan,
    extraction_strength,
    is_extractable,
    longest_common_run,
    matched_tokens,
)
from tests.strategies import SAMPLES, ids, pairs

quick = settings(deadline=None, max_examples=100)
ranks_of = st.lists(st.sampled_from([0, 0, 0, 1, 7]), max_size=12)


def brute_force_run(a, b):
    """The first longest run, by trying every pair of starts and every length."""
    best = CommonSpan(0, 0, 0)
    for i in range(len(a)):
        for j in range(len(b)):
            length = 0
            while i + length < len(a) and j + length < len(b) and a[i + length] == b[j + length]:
                length += 1
            if length > best.length:
                best = CommonSpan(length, i, j)
    return best


@pytest.mark.parametrize(
    ("ranks", "matched", "extractable", "strength"),
    [
        ([0, 0, 0, 0], 4, True, 1.0),
        ([3, 0, 0, 0], 0, False, 0.75),
        ([0, 0, 0, 1], 3, False, 0.0),
        ([0, 2, 0, 0], 1, False, 0.5),
        ([5], 0, False, 0.0),
        ([0], 1, True, 1.0),
        ([], 0, False, None),
    ],
)
def test_known_ranks(ranks, matched, extractable, strength):
    ranks = np.array(ranks, np.int32)
    assert matched_tokens(ranks) == matched
    assert is_extractable(ranks) is extractable
    assert extraction_strength(ranks) == strength


@quick
@given(ranks_of.filter(len))
def test_extraction_strength_is_its_definition(ranks):
    n = len(ranks)
    smallest = min(k for k in range(n + 1) if not any(ranks[k:]))
    assert extraction_strength(np.array(ranks)) == pytest.approx(1 - smallest / n, abs=1e-15)


@quick
@given(ranks_of.filter(len))
def test_the_verbatim_metrics_agree(ranks):
    array = np.array(ranks)
    whole = is_extractable(array)
    assert whole == (matched_tokens(array) == len(ranks)) == (extraction_strength(array) == 1.0)


@quick
@given(pairs())
def test_longest_run_of_text_is_the_brute_force_one(pair):
    assert longest_common_run(*pair) == brute_force_run(*pair)


@quick
@given(ids(), ids())
def test_longest_run_of_ids_is_the_brute_force_one(a, b):
    assert longest_common_run(np.array(a, np.int32), np.array(b, np.int32)) == brute_force_run(a, b)


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_longest_run_within_itself_is_the_whole(text):
    assert longest_common_run(text, text) == CommonSpan(len(text), 0, 0)
    assert longest_common_run(text, "§") == CommonSpan(0, 0, 0)


def test_longest_run_is_found_at_500_characters():
    a = "".join(SAMPLES.values()) * 3
    b = "zz" + a[100:300] + "zz"
    assert longest_common_run(a[:500], b) == CommonSpan(200, 100, 2)
