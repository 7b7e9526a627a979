"""Online LiRA against the words of the paper, and what it can and cannot tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from memaudit.metrics.counterfactual import assign
from memaudit.metrics.lira import attack, online_lira


def in_the_papers_words(scores: np.ndarray, member: np.ndarray, target: int, document: int, *, few: bool) -> float:
    """Algorithm 1 of Carlini et al. 2022, for one target model and one example.

    "Train N shadow models on D with (x, y)": confs_in; "train N shadow models without": confs_out; "mu_in = mean,
    mu_out = mean; sigma_in^2 = var, sigma_out^2 = var; return p(conf_obs | N(mu_in, sigma_in^2)) / p(conf_obs |
    N(mu_out, sigma_out^2))". With few shadow models "we estimate the same [global] variance for all" examples.
    """
    shadows = [m for m in range(len(scores)) if m != target]

    def confs(d: int, inside: bool) -> list[float]:
        return [scores[m, d] for m in shadows if bool(member[m, d]) == inside]

    parts = []
    for inside in (True, False):
        mine = confs(document, inside)
        if few:
            every = [confs(d, inside) for d in range(scores.shape[1])]
            squares = sum((c - sum(one) / len(one)) ** 2 for one in every for c in one)
            variance = squares / sum(len(one) - 1 for one in every)
        else:
            variance = float(np.var(mine, ddof=1))
        parts.append(norm.logpdf(scores[target, document], sum(mine) / len(mine), math.sqrt(variance)))
    return float(parts[0] - parts[1])


@pytest.mark.parametrize(("models", "few"), [(8, True), (66, False)])
def test_the_ratio_is_that_of_the_paper(models: int, few: bool) -> None:
    random = np.random.default_rng(1)
    member = assign(12, models, 0.5, 2)
    scores = random.normal(-4, 1, 12) + random.normal(0, 0.3, (models, 12)) + 0.5 * member
    found = online_lira(scores, member)
    for target, document in ((0, 0), (3, 7), (models - 1, 11)):
        expected = in_the_papers_words(scores, member, target, document, few=few)
        assert found[target, document] == pytest.approx(expected)


def test_it_beats_the_loss_on_what_was_seen_and_guesses_on_what_was_not() -> None:
    random = np.random.default_rng(3)
    member = assign(200, 8, 0.5, 4)
    hard = random.normal(-4, 1, 200)
    scores = hard + random.normal(0, 0.2, (8, 200)) + 0.4 * member
    texts = np.arange(200)
    found, loss = (attack(s, member, texts, 5) for s in (online_lira(scores, member), scores))
    assert found.auc > 0.85 > 0.7 > loss.auc > 0.5
    assert found.low > 0.8
    unseen = assign(200, 8, 0.5, 6)  # labels that decided nothing
    chance = [
        attack(online_lira(s, unseen), unseen, texts, 7) for s in (hard + random.normal(0, 0.2, (8, 200)), scores)
    ]
    for each in chance:
        assert each.low < 0.5 < each.high
        assert abs(each.auc - 0.5) < 0.06


def test_areas_and_rates_are_those_of_all_pairs() -> None:
    random = np.random.default_rng(8)
    member = assign(60, 6, 0.5, 9)
    scores = np.round(random.normal(0, 1, (6, 60)) + member, 1)
    found = attack(scores, member, np.arange(60), 0, rates=(0.1, 0.01), replicates=50)
    ranks = rankdata(scores.ravel())[member.ravel()]
    inside, outside = member.sum(), (~member).sum()
    assert found.auc == pytest.approx((ranks.sum() - inside * (inside + 1) / 2) / (inside * outside))
    allowed = int(0.1 * outside)
    threshold = np.sort(scores[~member])[::-1][allowed]
    rate = found.tpr[0.1]
    assert rate is not None
    assert rate[0] == pytest.approx((scores[member] > threshold).mean())
    assert rate[1] <= rate[0] <= rate[2]
    assert found.tpr[0.01] is None  # one pair may pass


def test_intervals_hold_the_truth_over_other_texts() -> None:
    random = np.random.default_rng(10)
    held, count = 0, 200
    for _ in range(count):
        member = assign(80, 6, 0.5, int(random.integers(2**31)))
        scores = random.normal(0, 0.5, 80) + random.normal(0, 1, (6, 80)) + member
        found = attack(scores, member, np.arange(80), 0, replicates=200)
        held += found.low <= norm.cdf(1 / math.sqrt(2 * 1.25)) <= found.high
    assert 0.9 <= held / count <= 0.99


def test_copies_of_a_text_are_one_text() -> None:
    random = np.random.default_rng(11)
    member = assign(40, 6, 0.5, 12)
    scores = random.normal(0, 1, (6, 40)) + member
    once = attack(scores, member, np.arange(40), 0)
    twice = attack(np.tile(scores, 5), np.tile(member, 5), np.tile(np.arange(40), 5), 0)
    assert (twice.auc, twice.low, twice.high) == tuple(map(pytest.approx, (once.auc, once.low, once.high)))


def test_too_few_models_are_refused() -> None:
    with pytest.raises(ValueError, match="3 models that saw it"):
        online_lira(np.zeros((5, 4)), assign(4, 5, 0.5, 0))
