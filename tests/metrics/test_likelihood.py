import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, ttest_ind

from memaudit.metrics.likelihood import bits_per_byte, mean_log_prob, perplexity, perplexity_ratio, unigram_entropy
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
