"""The oracle of published membership scores against cases worked out by hand."""

from __future__ import annotations

import math
import zlib

import pytest

from tests.metrics import published_membership_oracle as oracle

LN2 = math.log(2)


def test_zlib_divides_the_mean_loss_by_the_bytes():
    # Three tokens of probability 1/2, 1/4 and 1/8: a mean loss of (1 + 2 + 3) / 3 = 2 ln 2.
    log_probs, text = [-LN2, -2 * LN2, -3 * LN2], "naïve"
    size = len(zlib.compress("naïve".encode()))
    assert oracle.zlib_ratio(log_probs, text) == pytest.approx(2 * LN2 / size)
    assert oracle.zlib_released(log_probs, text) == pytest.approx(size / (2 * LN2))
    # The same text in twice as many tokens of the same probabilities: the mean stays, and the score. A sum would not.
    assert oracle.zlib_ratio(log_probs * 2, text) == pytest.approx(oracle.zlib_ratio(log_probs, text))
    # "ab" in a fixed block is 3 bits of header, 8 and 8 of letters and 7 of end, so 4 bytes; header 2 and checksum 4.
    assert len(zlib.compress(b"ab")) == 10
    assert oracle.zlib_ratio([-1.0], "ab") == pytest.approx(0.1)


def test_ratio_and_difference_order_texts_differently():
    # Text A: loss 1 against 2: ratio 1/2, difference 1. Text B: 3 against 4.5: ratio 2/3, difference 1.5.
    assert oracle.reference_ratio([-1.0], [-2.0]) == pytest.approx(1 / 2)
    assert oracle.reference_ratio([-3.0], [-4.5]) == pytest.approx(2 / 3)
    assert oracle.calibrated_difference(1.0, [2.0]) == pytest.approx(1.0)
    assert oracle.calibrated_difference(3.0, [4.5]) == pytest.approx(1.5)
    # Several references: their mean. (2 + 4) / 2 - 1.
    assert oracle.calibrated_difference(1.0, [2.0, 4.0]) == pytest.approx(2.0)


def test_means_against_sums():
    # Target 1 and 2, reference 2 and 4: means 1.5 and 3, so a difference of 1.5; sums 3 and 6, so 3 = 2 x 1.5.
    assert oracle.likelihood_ratio([-1.0, -2.0], [-2.0, -4.0]) == pytest.approx(3.0)
    assert oracle.calibrated_difference(1.5, [3.0]) == pytest.approx(1.5)
    # Other tokens in the reference, 3 of loss 2: a ratio of means, 1.5 / 2.
    assert oracle.reference_ratio([-1.0, -2.0], [-2.0] * 3) == pytest.approx(0.75)


def test_logit():
    assert oracle.logit(0.5) == 0
    # 0.9 / 0.1 = 9, 0.1 / 0.9 = 1/9.
    assert oracle.logit(0.9) == pytest.approx(math.log(9))
    assert oracle.logit(0.1) == pytest.approx(-math.log(9))


def test_lira_offline():
    # Without the example: 1 and 3. Mean 2, variance ((-1)^2 + 1^2) / 2 = 1. Observed 3 is one deviation above.
    assert oracle.lira_offline_z(3.0, [1.0, 3.0]) == pytest.approx(1.0)
    # Table of the normal distribution: 0.8413 below one deviation, 0.5 at the mean, 0.0228 below minus two.
    assert oracle.lira_offline(3.0, [1.0, 3.0]) == pytest.approx(0.8413, abs=5e-5)
    assert oracle.lira_offline(2.0, [1.0, 3.0]) == 0.5
    # One-sided: an unusually low confidence is the opposite of a member.
    assert oracle.lira_offline(0.0, [1.0, 3.0]) == pytest.approx(0.0228, abs=5e-5)
    # The mean is the centre, not the median: 0, 0, 6 have mean 2, variance (4 + 4 + 16) / 3 = 8.
    assert oracle.lira_offline_z(4.0, [0.0, 0.0, 6.0]) == pytest.approx(2 / math.sqrt(8))
    with pytest.raises(ZeroDivisionError):
        oracle.lira_offline(1.0, [2.0])


def test_lira_offline_with_one_variance():
    # Example A: 1 and 3, variance 1. Example B: 10 and 16, variance 9. Shared: 5. All four about their mean 7.5 would
    # be (42.25 + 20.25 + 6.25 + 72.25) / 4 = 35.25, which is not the spread of either.
    shared = oracle.shared_variance([[1.0, 3.0], [10.0, 16.0]])
    assert shared == pytest.approx(5.0)
    assert oracle.lira_offline_z(3.0, [1.0, 3.0], shared) == pytest.approx(1 / math.sqrt(5))
    assert oracle.lira_offline_z(15.0, [10.0, 16.0], shared) == pytest.approx(2 / math.sqrt(5))
    # Own variances: 1 against 2/3 deviations, so A leads; shared: 1 against 2 in the same unit, so B leads. With any
    # shared variance the order is that of the difference from the mean, as in difficulty calibration.
    assert oracle.lira_offline_z(3.0, [1.0, 3.0]) > oracle.lira_offline_z(15.0, [10.0, 16.0])
    assert oracle.calibrated_difference(-3.0, [-1.0, -3.0]) == pytest.approx(1.0)
    assert oracle.calibrated_difference(-15.0, [-10.0, -16.0]) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("k", "score"),
    [
        (0.2, -5.0),  # 20% of five is one
        (0.4, -4.5),  # two: 5 and 4
        (0.5, -4.5),  # 2.5, rounded down
        (0.1, -5.0),  # 0.5, rounded down to none: one
        (1.0, -3.0),
    ],
)
def test_min_k(k: float, score: float):
    assert oracle.min_k([-1.0, -5.0, -2.0, -4.0, -3.0], k) == pytest.approx(score)


def test_min_k_plus_plus():
    # Probabilities 1/2, 1/4, 1/4; logarithms -1, -2, -2 in units of ln 2. mu = -(1/2 + 1/2 + 1/2) = -1.5; the mean
    # square is 1/2 + 1 + 1 = 2.5, so sigma = sqrt(2.5 - 2.25) = 0.5. Token 0: (-1 + 1.5) / 0.5 = 1; token 1: -1.
    halves = [0.5, 0.25, 0.25]
    assert oracle.min_k_plus_plus_token(halves, 0) == pytest.approx(1.0)
    assert oracle.min_k_plus_plus_token(halves, 1) == pytest.approx(-1.0)
    # A token that cannot come changes nothing; where all are alike there is nothing to normalise.
    assert oracle.min_k_plus_plus_token([*halves, 0.0], 0) == pytest.approx(1.0)
    assert oracle.min_k_plus_plus_token([1 / 3, 1 / 3, 1 / 3], 1) == 0
    assert oracle.min_k_plus_plus_token([1.0, 0.0], 0) == 0
    # Five tokens: scores 1, 1, 1, 1, -1. One of them at 20%: -1; all: 0.6.
    assert oracle.min_k_plus_plus([halves] * 5, [0, 0, 1, 0, 0]) == pytest.approx(-1.0)
    assert oracle.min_k_plus_plus([halves] * 5, [0, 0, 1, 0, 0], 1.0) == pytest.approx(0.6)
    # By the normalised score, not by probability: 1/2 out of (1/2, 1/4, 1/4) scores 1 and is likelier than 1/4 out of
    # (1/4 and six of 1/8): there the logarithms are -2 and -3, mu = -(1/2 + 18/8) = -2.75, the mean square
    # 1 + 54/8 = 7.75, sigma = sqrt(0.1875) = 0.4330 and the score 0.75 / 0.4330 = 1.7321.
    flat = [0.25, *[0.125] * 6]
    assert oracle.min_k_plus_plus_token(flat, 0) == pytest.approx(math.sqrt(3))
    assert oracle.min_k_plus_plus([halves, flat], [0, 0], 0.5) == pytest.approx(1.0)
    assert oracle.min_k([math.log(0.5), math.log(0.25)], 0.5) == pytest.approx(math.log(0.25))
