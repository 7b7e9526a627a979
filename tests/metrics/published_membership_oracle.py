"""Published membership scores, from their papers' words and released code: slow, obvious, apart from the product.

Nothing here was taken from memaudit's own scores. Log-probabilities are natural logarithms. Each score says which way
it points; every place where the sources leave a choice is named under "Reading".

Sources: Carlini et al. 2021, "Extracting training data from large language models" (arXiv 2012.07805) sections 5.2 and
6.1, with the code at github.com/ftramer/LM_Memorization; Watson et al. 2022 (arXiv 2111.08440); Mireshghallah et al.
2022 (arXiv 2203.03929); Carlini et al. 2022, "Membership inference attacks from first principles" (arXiv 2112.03570),
with the code under research/mi_lira_2021 of tensorflow/privacy; Shi et al. 2024 (arXiv 2310.16789) and Zhang et al.
2025 (arXiv 2404.02936), each with its released code. Carlini et al. and all the code were read again; the words of the
others are given from memory.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

Floats = Sequence[float]


def mean(values: Floats) -> float:
    """Arithmetic mean; of nothing there is none."""
    return math.fsum(values) / len(values)


def log_perplexity(log_probs: Floats) -> float:
    """Mean loss of a text's tokens: perplexity is "exp(loss)" in the released code, so its logarithm is the mean loss.

    Reading: the tokens that have one before them. The first is predicted from nothing and has no loss in that code.
    """
    return -mean(log_probs)


def zlib_ratio(log_probs: Floats, text: str) -> float:
    """Mean loss over compressed length; low speaks for a member.

    Carlini et al. 2021, section 6.1: "the ratio of the (log) of the GPT-2 perplexity and the zlib entropy (as computed
    by compressing the text)".

    Reading: the log-perplexity is the mean over tokens, not their sum. Section 5.2 has "bits", the code bytes; bytes
    are taken, and the order of texts is the same. The text is UTF-8 and the level zlib's default. Section 5.2 names the
    perplexity without its logarithm; section 6.1 and the code take the logarithm.
    """
    return log_perplexity(log_probs) / len(zlib.compress(text.encode("utf-8")))


def zlib_released(log_probs: Floats, text: str) -> float:
    """The released code's `scores["zlib"] / np.log(scores["XL"])`: the same ratio upside down, high for a member.

    It orders texts as `zlib_ratio` does the other way round wherever every loss is above 0.
    """
    return len(zlib.compress(text.encode("utf-8"))) / log_perplexity(log_probs)


def reference_ratio(log_probs: Floats, reference_log_probs: Floats) -> float:
    """Ratio of log-perplexities, target over reference; low speaks for a member.

    Carlini et al. 2021, section 6.1: "the ratio of log-perplexities of the largest GPT-2 model and the Small GPT-2
    model". The released code has it upside down, `np.log(scores["S"]) / np.log(scores["XL"])`, and sorts from the top.

    Reading: each model's mean is over its own tokens.
    """
    return log_perplexity(log_probs) / log_perplexity(reference_log_probs)


def calibrated_difference(loss: float, reference_losses: Floats) -> float:
    """Difficulty calibration: the references' mean loss less the target's; high speaks for a member.

    Watson et al. 2022: the calibrated score is s(h, z) less the expectation of s(g, z) over models g trained on shadow
    data, here with the score s = -loss. This is a difference, not the ratio of Carlini et al. 2021, and orders texts
    differently.

    Reading: the expectation is the mean over the reference models at hand, one or more. The loss is the caller's; for
    language models later code takes the mean over tokens.
    """
    return mean(reference_losses) - loss


def likelihood_ratio(log_probs: Floats, reference_log_probs: Floats) -> float:
    """Log of the ratio of a sequence's likelihoods under target and reference; high speaks for a member.

    Mireshghallah et al. 2022 thresholds the likelihood ratio of the whole sequence, with one reference model.

    Reading: likelihoods of the sequence, so log-probabilities are summed, not averaged. Where both models cut the text
    into the same tokens this is `calibrated_difference` of mean losses times the number of tokens: the same sign, and
    another order of texts of different lengths.
    """
    return math.fsum(log_probs) - math.fsum(reference_log_probs)


def logit(probability: float) -> float:
    """phi(p) = log(p / (1 - p)), which makes confidences near normal (Carlini et al. 2022, section IV-C)."""
    return math.log(probability / (1 - probability))


def variance(values: Floats) -> float:
    """Mean squared distance from the mean.

    Reading: divided by the number of values, as `np.std` in the released code; the paper says "variance" alone.
    """
    centre = mean(values)
    return mean([(value - centre) ** 2 for value in values])


def shared_variance(out_statistics: Sequence[Floats]) -> float:
    """One variance for all examples: the mean of their own variances.

    Carlini et al. 2022, figure 17: "with few shadow models it is much more effective to assign all examples the same
    variance"; the mean stays each example's own.

    Reading: spread about each example's own mean, since that is the spread of Z in the test below. The released code
    takes `np.std(dat_out)` over all examples at once, which adds the spread between examples: a larger number, and the
    same order of examples, because any shared variance orders them by their distance from their means. How few is few
    is read off figures 9 and 17; later code (LeakPro) takes fewer than 32 models of one side.
    """
    return mean([variance(values) for values in out_statistics])


def lira_offline_z(observed: float, out_statistics: Floats, fixed_variance: float | None = None) -> float:
    """Standard deviations by which the target's statistic lies above those of models without the example.

    Args:
        observed: The target's statistic, phi of its confidence; any statistic that is near normal and high for members.
        out_statistics: The same statistic from each shadow model trained without the example.
        fixed_variance: `shared_variance` of all examples where shadow models are few, else None.

    Reading: the centre is the mean, as in the paper's algorithm 1; the released code takes the median. A variance of 0
    (a single shadow model, for one) gives no test: ZeroDivisionError.
    """
    spread = variance(out_statistics) if fixed_variance is None else fixed_variance
    return (observed - mean(out_statistics)) / math.sqrt(spread)


def lira_offline(observed: float, out_statistics: Floats, fixed_variance: float | None = None) -> float:
    """Offline LiRA, high for a member (Carlini et al. 2022, section IV-C, equation 4).

    Lambda = 1 - Pr[Z > phi(f(x)_y)], where Z is normal with the mean and variance of the models without the example.

    Reading: the paper's one-sided test. The released `generate_ours_offline` scores by the normal density instead,
    which calls an example with an unusually low confidence a member as well.
    """
    return 0.5 * (1 + math.erf(lira_offline_z(observed, out_statistics, fixed_variance) / math.sqrt(2)))


def lowest(values: Floats, k: float) -> list[float]:
    """The k (a share) smallest values.

    Reading: neither paper says how many k% of T tokens are; both released codes take `int(T * k)`, rounded down, and
    fail on none. At least one is taken here, so that a short text has a score.
    """
    return sorted(values)[: max(1, int(len(values) * k))]


def min_k(log_probs: Floats, k: float = 0.2) -> float:
    """Min-K% Prob, high for a member (Shi et al. 2024, section 3).

    "We select the k% of tokens from x with the minimum token probability to form a set [...] and compute the average
    log-likelihood of the tokens in this set."

    Reading: a set of positions, so equal values count each. k is 20% unless given, the paper's choice. The released
    code's sign is reversed.
    """
    return mean(lowest(log_probs, k))


def min_k_plus_plus_token(distribution: Floats, token: int) -> float:
    """One token's score: (log p(x_t) - mu) / sigma (Zhang et al. 2025, section 4).

    mu is "the expectation of the next token's log probability over the vocabulary" given the prefix, that is under the
    model's own distribution, and sigma its standard deviation.

    Reading: a token of probability 0 adds nothing to either. Where sigma is 0 every possible token has the same
    log-probability and the score is 0 over 0; the numerator is 0, so 0 is taken.
    """
    possible = [p for p in distribution if p > 0]
    if min(possible) == max(possible):
        return 0.0
    mu = math.fsum(p * math.log(p) for p in possible)
    sigma = math.sqrt(math.fsum(p * (math.log(p) - mu) ** 2 for p in possible))
    return (math.log(distribution[token]) - mu) / sigma


def min_k_plus_plus(distributions: Sequence[Floats], tokens: Sequence[int], k: float = 0.2) -> float:
    """Min-K%++, high for a member: the mean of the k% lowest token scores (Zhang et al. 2025, section 4).

    Reading: as `min_k` in how many k% are; the lowest by the normalised score, not by probability.
    """
    return mean(lowest([min_k_plus_plus_token(d, t) for d, t in zip(distributions, tokens, strict=True)], k))
