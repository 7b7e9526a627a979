import math
import statistics

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import entropy, ttest_ind

from memaudit.metrics.likelihood import (
    bits_per_byte,
    calibrated_difference,
    loss_score,
    mean_log_prob,
    min_k,
    min_k_plus_plus,
    offline_lira,
    perplexity,
    perplexity_ratio,
    reference_ratio,
    unigram_entropy,
    zlib_score,
)
from tests.metrics import published_membership_oracle as oracle
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
    assume(found.low > 1e-300 and found.high < 1e300)  # beyond, its limits are 0 and infinity
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


@quick
@given(LOG_PROBS, st.sampled_from([0.1, 0.2, 0.5, 1.0]))
def test_scores_of_tokens_are_those_of_the_papers(log_probs, share):
    floored = [max(value, -100.0) for value in log_probs]
    if not log_probs:
        assert loss_score(log_probs) is min_k(log_probs, share) is zlib_score(log_probs, "a") is None
        return
    assert loss_score(log_probs) == pytest.approx(-oracle.log_perplexity(floored))
    assert min_k(log_probs, share) == pytest.approx(oracle.min_k(floored, share))
    assert zlib_score(log_probs, "naïve") == pytest.approx(-oracle.zlib_ratio(floored, "naïve"))


DISTRIBUTIONS = st.lists(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), min_size=1, max_size=40)


@quick
@given(DISTRIBUTIONS, st.data())
def test_min_k_plus_plus_is_that_of_the_paper(weights, data):
    distributions = [[weight / math.fsum(own) for weight in own] for own in weights]
    tokens = [data.draw(st.integers(0, len(own) - 1)) for own in distributions]
    log_probs = [math.log(own[token]) for own, token in zip(distributions, tokens, strict=True)]
    means = [math.fsum(p * math.log(p) for p in own) for own in distributions]
    deviations = [
        math.sqrt(math.fsum(p * (math.log(p) - mean) ** 2 for p in own))
        for own, mean in zip(distributions, means, strict=True)
    ]
    # Nearly uniform ones have a deviation of rounding alone, by which the oracle divides and we do not.
    assume(
        all(deviation > 1e-4 or min(own) == max(own) for own, deviation in zip(distributions, deviations, strict=True))
    )
    expected = oracle.min_k_plus_plus(distributions, tokens)
    assert min_k_plus_plus(log_probs, means, deviations) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("tokens", "looked_at"), [(1, 1), (4, 1), (5, 1), (9, 1), (10, 2), (14, 2), (15, 3), (35, 7)])
def test_a_fifth_of_the_tokens_is_rounded_down_to_one_at_least(tokens, looked_at):
    log_probs = -np.arange(1.0, tokens + 1)
    assert min_k(log_probs) == pytest.approx(log_probs[-looked_at:].mean())


@st.composite
def beside(draw, fewest=1, most=7):
    """Log-probabilities of as many tokens by a model and by some references."""
    tokens = draw(st.integers(1, 9))
    own = st.lists(st.floats(-20, -0.001), min_size=tokens, max_size=tokens)
    return draw(own), [draw(own) for _ in range(draw(st.integers(fewest, most)))]


@quick
@given(beside())
def test_scores_beside_references_are_those_of_the_papers(case):
    log_probs, references = case
    loss, losses = oracle.log_perplexity(log_probs), [oracle.log_perplexity(other) for other in references]
    expected = oracle.calibrated_difference(loss, losses)
    assert calibrated_difference(log_probs, references) == pytest.approx(expected, abs=1e-9)
    assert offline_lira(log_probs, references) is None
    # The paper has one reference, and low for a member where the released code and we have high.
    ratio = 1 / oracle.reference_ratio(log_probs, references[0])
    assert reference_ratio(log_probs, references[:1]) == pytest.approx(ratio)
    ratios = [reference_ratio(log_probs, [other]) for other in references]
    assert reference_ratio(log_probs, references) == pytest.approx(statistics.fmean(ratios))


@quick
@given(st.lists(beside(2, 5), min_size=2, max_size=8))
def test_few_references_rank_as_lira_of_a_shared_variance_does(cases):
    statistics_out = [[-oracle.log_perplexity(other) for other in references] for _, references in cases]
    shared = oracle.shared_variance(statistics_out)
    assume(shared > 1e-6)
    for (log_probs, references), out in zip(cases, statistics_out, strict=True):
        expected = oracle.lira_offline_z(-oracle.log_perplexity(log_probs), out, shared) * math.sqrt(shared)
        assert calibrated_difference(log_probs, references) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(beside(32, 34))
def test_many_references_give_lira_a_variance_of_its_own(case):
    log_probs, references = case
    out = [-oracle.log_perplexity(other) for other in references]
    assume(oracle.variance(out) > 1e-6)
    expected = oracle.lira_offline_z(-oracle.log_perplexity(log_probs), out)
    assert offline_lira(log_probs, references) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_score_beside_references_needs_each_of_them():
    for score in (reference_ratio, calibrated_difference):
        assert score([-1.0], []) is None
        assert score([-1.0], [[-1.0], []]) is None
        assert score([], [[-1.0]]) is None
    assert offline_lira([-1.0], [[-1.0]] * 32 + [[]]) is None
    # Identical references have no deviation: the score stays finite.
    assert offline_lira([-1.0], [[-2.0]] * 32) == pytest.approx(1e6)


def test_a_ratio_stays_finite_where_the_model_is_certain():
    assert reference_ratio([0.0, 0.0], [[-1.0, -2.0]]) == pytest.approx(1.5e6)
    assert reference_ratio([0.0], [[0.0]]) == 0


def test_a_reference_may_cut_the_text_into_other_tokens():
    # p(document) = e**-6 against e**-8, in 3 tokens of the model.
    assert calibrated_difference([-2.0] * 3, [[-1.0] * 8]) == pytest.approx(2 / 3)
    assert reference_ratio([-2.0] * 3, [[-1.0] * 8]) == pytest.approx(8 / 6)
