import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from memaudit.metrics.likelihood import bits_per_byte, mean_log_prob, unigram_entropy
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
