import math
import statistics
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, ttest_ind

from memaudit.metrics.likelihood import (
    bits_per_byte,
    loss_score,
    mean_log_prob,
    min_k,
    min_k_plus_plus,
    offline_lira,
    perplexity,
    perplexity_ratio,
    reference_difference,
    unigram_entropy,
    zlib_score,
)
from tests.strategies import SAMPLES, ids

quick = settings(deadline=None, max_examples=100)


@pytest.mark.parametrize("text", SAMPLES.values(), ids=SAMPLES)
def test_a_uniform_model_of_bytes_needs_eight_bits_per_byte(text):
    assert bits_per_byte(-len(text.encode()) * math.log(256), text) == pytest.approx(8, abs=1e-12)


def test_bits_per_byte_is_undefined_without_bytes_or_with_probability_zero():
    assert bits_per_byte(-1.0, "") is None
    assert bits_per_byte(-math.inf, "a") is None
    assert bits_per_byte(None, "a") is None


def test_a_certain_text_needs_no_bits():
    assert bits_per_byte(0.0, "certain") == 0.0


@quick
@given(st.lists(st.floats(-50, 0), min_size=1))
def test_mean_log_prob_is_the_log_of_the_geometric_mean(log_probs):
    assert mean_log_prob(np.array(log_probs)) == pytest.approx(math.fsum(log_probs) / len(log_probs))


@pytest.mark.parametrize("log_probs", [[], [-1.0, -math.inf], [math.nan]])
def test_mean_log_prob_is_undefined_without_finite_values(log_probs):
    assert mean_log_prob(np.array(log_probs)) is None


@quick
@given(ids().filter(len))
def test_unigram_entropy_is_scipys(tokens):
    counts = np.bincount(tokens)
    assert unigram_entropy(np.array(tokens, np.int32)) == pytest.approx(entropy(counts), abs=1e-12)


@quick
@given(ids().filter(len), st.lists(st.floats(0.01, 1), min_size=6, max_size=6))
def test_no_unigram_model_scores_its_tokens_better(tokens, weights):
    log_probs = np.log(np.array(weights) / sum(weights))
    assert unigram_entropy(np.array(tokens)) <= -log_probs[tokens].mean() + 1e-12


def test_the_entropy_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no tokens"):
        unigram_entropy(np.empty(0, np.int32))


MEANS = st.lists(st.floats(-30, 0), min_size=2, max_size=20)


@given(MEANS)
def test_perplexity_is_the_inverse_of_the_geometric_mean_probability(means):
    assert perplexity(means) == pytest.approx(np.prod(np.exp(means)) ** (-1 / len(means)), rel=1e-9)


def test_perplexity_of_uniform_choices_is_their_number():
    assert perplexity([-math.log(50)] * 3) == pytest.approx(50)
    assert perplexity([]) is None
    assert perplexity([-1.0, -math.inf]) is None
    assert perplexity([-1e4]) == math.inf


@given(MEANS, MEANS, st.floats(0.5, 0.99))
def test_ratio_of_perplexities_has_welchs_interval(train, heldout, confidence):
    found = perplexity_ratio(train, heldout, confidence)
    assert found.estimate == pytest.approx(perplexity(heldout) / perplexity(train), rel=1e-9)
    if min(np.std(train), np.std(heldout)) > 1e-6:
        expected = ttest_ind(train, heldout, equal_var=False).confidence_interval(confidence)
        assert np.log([found.low, found.high]) == pytest.approx([expected.low, expected.high], rel=1e-6, abs=1e-9)
    swapped = perplexity_ratio(heldout, train, confidence)
    assert (1 / swapped.high, 1 / swapped.low) == pytest.approx((found.low, found.high), rel=1e-9)


def test_a_ratio_of_perplexities_needs_two_documents_a_side():
    assert perplexity_ratio([-1.0], [-1.0, -2.0]) is None
    assert perplexity_ratio([-1.0, -2.0], []) is None
    assert perplexity_ratio([-1.0, -math.inf], [-1.0, -2.0]) is None
    same = perplexity_ratio([-1.0, -1.0], [-2.0, -2.0])
    assert (same.low, same.estimate, same.high) == pytest.approx([math.e] * 3)


LOG_PROBS = st.lists(st.floats(-150, 0) | st.just(-math.inf), max_size=40)


def lowest(values: list[float], share: float) -> list[float]:
    """The lowest values, one by one, rounded up: the smallest count of at least that share."""
    count = next(n for n in range(1, len(values) + 1) if n * 1000 >= round(share * 1000) * len(values))
    return sorted(values)[:count]


@quick
@given(LOG_PROBS, st.sampled_from([0.1, 0.2, 0.5, 1.0]))
def test_scores_of_tokens_are_plain_means(log_probs, share):
    floored = [max(value, -100.0) for value in log_probs]
    if not log_probs:
        assert loss_score(log_probs) is min_k(log_probs, share) is zlib_score(log_probs, "a") is None
        return
    assert loss_score(log_probs) == pytest.approx(math.fsum(floored) / len(floored))
    expected = lowest(floored, share)
    assert min_k(log_probs, share) == pytest.approx(math.fsum(expected) / len(expected))
    assert zlib_score(log_probs, "naïve") == pytest.approx(math.fsum(floored) / len(zlib.compress("naïve".encode())))


@quick
@given(st.lists(st.tuples(st.floats(-20, 0), st.floats(-20, 0), st.floats(0, 5)), min_size=1, max_size=40))
def test_min_k_plus_plus_one_by_one(tokens):
    values = [(log_prob - mean) / max(std, 1e-6) for log_prob, mean, std in tokens]
    expected = lowest(values, 0.2)
    found = min_k_plus_plus(*map(np.array, zip(*tokens, strict=True)))
    assert found == pytest.approx(math.fsum(expected) / len(expected), rel=1e-9)


@pytest.mark.parametrize(("tokens", "looked_at"), [(1, 1), (4, 1), (5, 1), (6, 2), (9, 2), (10, 2), (11, 3), (35, 7)])
def test_a_fifth_of_the_tokens_is_rounded_up(tokens, looked_at):
    log_probs = -np.arange(1.0, tokens + 1)
    assert min_k(log_probs) == pytest.approx(log_probs[-looked_at:].mean())


@quick
@given(st.lists(st.lists(st.floats(-20, 0), min_size=1, max_size=9), min_size=1, max_size=7), LOG_PROBS)
def test_scores_beside_references_are_pythons(references, log_probs):
    difference, z = reference_difference(log_probs, references), offline_lira(log_probs, references)
    if not log_probs:
        assert difference is z is None
        return
    ours = loss_score(log_probs)
    theirs = [math.fsum(reference) / len(log_probs) for reference in references]
    assert difference == pytest.approx(ours - statistics.fmean(theirs), abs=1e-9)
    if len(references) < 4:
        assert z is None
    else:
        deviation = max(statistics.stdev(theirs), 1e-6)
        assert z == pytest.approx((ours - statistics.fmean(theirs)) / deviation, rel=1e-6, abs=1e-6)


def test_a_score_beside_references_needs_each_of_them():
    assert reference_difference([-1.0], []) is None
    assert reference_difference([-1.0], [[-1.0], []]) is None
    assert offline_lira([-1.0], [[-1.0]] * 4 + [[]]) is None
    # Identical references have no deviation: the score stays finite.
    assert offline_lira([-1.0], [[-2.0]] * 4) == pytest.approx(1e6)


def test_a_reference_may_cut_the_text_into_other_tokens():
    # p(document) = e**-6 against e**-8, in 3 tokens of the model.
    assert reference_difference([-2.0] * 3, [[-1.0] * 8]) == pytest.approx(2 / 3)
