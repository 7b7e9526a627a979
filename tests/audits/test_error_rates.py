"""Detectors asked about text that the model never saw: how often each finds something, over 1,000 replicates."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from scipy.stats import ttest_ind

from memaudit.audits.comparison.detection import compare
from memaudit.audits.detectors.order_totals import boundaries
from memaudit.metrics.exposure import exposure
from memaudit.metrics.order import order_totals, random_orders, sampled_p
from memaudit.models.ngram import NgramModel
from memaudit.records import Window
from memaudit.stats import document_means, holm, rank_test, sign_flip_test
from memaudit.text.tokenize import train_tokenizer

REPLICATES = 1000
BAND = range(36, 65)
"""Of 1,000 binomial rejections at .05, 95% lie in this range; seeds are fixed."""
MAX_AT_01 = 17
TOPICS, PASSAGES = 40, 8
SIDE = 100
EMPTY = np.empty(0, np.int32)


def prose(rng, topic, words=30):
    """Lines of words that follow Zipf's law; how many are common ones depends on the topic."""
    ranks = np.minimum(rng.zipf(1.2 + 0.02 * (topic % 20), words), 400)
    return "".join(f"w{rank}{' ' if rng.random() < 0.8 else chr(10)}" for rank in ranks)


@pytest.fixture(scope="module")
def unseen():
    """A model, one more that read other text, and the passages of topics that neither has read."""
    rng = np.random.default_rng(0)
    read = [[prose(rng, topic) for topic in range(100, 160) for _ in range(4)] for _ in range(2)]
    pool = [prose(rng, topic) for topic in range(TOPICS) for _ in range(PASSAGES)]
    tokenizer = train_tokenizer("bpe", read[0], 400)
    models = [NgramModel.train([e.ids for e in tokenizer.encode_batch(part)], tokenizer, order=4) for part in read]
    return models, [encoding.ids for encoding in tokenizer.encode_batch(pool)]


@pytest.fixture(scope="module")
def losses(unseen):
    """Mean log-probability of every passage by either model, shape [2, passages]."""
    models, pool = unseen
    return np.array([[p.log_prob.mean() for p in m.score([Window(EMPTY, ids) for ids in pool])] for m in models])


@pytest.fixture(scope="module")
def scores(unseen, losses):
    """Several scores of every passage by their names."""
    models, pool = unseen
    parts = list(models[0].score([Window(EMPTY, ids) for ids in pool]))
    return {
        "loss": losses[0],
        "calibration": losses[0] - losses[1],
        "least": np.array([np.sort(part.log_prob)[:8].mean() for part in parts]),
        "standardised": np.array([((part.log_prob - part.mean) / part.std).mean() for part in parts]),
        "last": np.array([part.log_prob[-10:].mean() for part in parts]),
        "ranks": np.array([float((part.rank == 0).sum()) for part in parts]),
    }


def sides(rng, pool):
    chosen = rng.permutation(pool)[: 2 * SIDE]
    return chosen[:SIDE], chosen[SIDE:]


def keeps_its_level(p_values):
    at_05, at_01 = (sum(p <= level for p in p_values) for level in (0.05, 0.01))
    return len(p_values) == REPLICATES and at_05 in BAND and at_01 <= MAX_AT_01


def test_scores_pairs_and_their_family(scores):
    rng, found = np.random.default_rng(1), defaultdict(list)
    for seed in range(REPLICATES):
        members, heldout = sides(rng, TOPICS * PASSAGES)
        tested = {n: rank_test(v[members], v[heldout], seed=seed, permutations=199) for n, v in scores.items()}
        for name, p in tested.items():
            found[name].append(p)
        found["pairs"].append(
            sign_flip_test(scores["loss"][members] - scores["loss"][heldout], seed=seed, permutations=999)
        )
        found["declared"].append(min(holm(list(tested.values()))))
        found["any"].append(min(tested.values()))
    for name in (*scores, "pairs"):
        assert keeps_its_level(found[name])
    assert sum(p <= 0.05 for p in found["declared"]) <= 64
    # What one would find who took the best of six.
    assert sum(p <= 0.05 for p in found["any"]) > 100


def test_topics_are_the_sample_where_whole_topics_are_members(losses):
    rng, ours, theirs = np.random.default_rng(2), [], []
    by_topic = losses[0].reshape(TOPICS, PASSAGES)
    names = [f"{i:02}" for i in range(TOPICS // 2) for _ in range(PASSAGES)]
    for seed in range(REPLICATES):
        order = rng.permutation(TOPICS)
        halves = [by_topic[half].ravel() for half in (order[: TOPICS // 2], order[TOPICS // 2 :])]
        ours.append(rank_test(*(document_means(half, names) for half in halves), seed=seed, permutations=199))
        theirs.append(ttest_ind(*halves, alternative="greater").pvalue)
    assert keeps_its_level(ours)
    assert sum(p <= 0.05 for p in theirs) > 100


def test_order_of_sets_in_an_order_by_lot(unseen):
    models, pool = unseen
    first, follows = boundaries(models[0], pool[::4])
    rng, p_values = np.random.default_rng(3), []
    for _ in range(REPLICATES):
        given = rng.permutation(len(first))[:15]
        orders = given[random_orders(15, 199, rng)]
        totals = order_totals(first, follows, orders)
        p_values.append(sampled_p(order_totals(first, follows, given[None])[0], totals))
    assert keeps_its_level(p_values)


def test_exposure_of_secrets_that_were_never_planted(unseen):
    models, _ = unseen
    rng = np.random.default_rng(4)
    secrets = [f"the code is {number:06}" for number in range(1000)]
    windows = [Window(EMPTY, encoding.ids) for encoding in models[0].tokenizer.encode_batch(secrets)]
    values = np.array([part.log_prob.sum() for part in models[0].score(windows)])
    p_values = []
    for _ in range(REPLICATES):
        own, *others = rng.permutation(values)[:200]
        p_values.append(2 ** -exposure(float(own), others, 1000).bits)
    assert keeps_its_level(p_values)


def test_what_may_speak_after_its_controls(losses):
    rng, spoken, p_values = np.random.default_rng(5), 0, []
    plan = {"membership": {"paired": False, "randomised": True, "seed": 0, "alpha": 0.05}}
    for _ in range(REPLICATES):
        chosen = np.concatenate(sides(rng, TOPICS * PASSAGES))
        records = [{"member": i < SIDE, "document": str(i)} for i in range(2 * SIDE)]
        values, null = ([float(value) for value in column[chosen]] for column in losses)
        found = compare(records, values, {"other": null}, name="loss", label="", definition="", plan=plan)
        p_values.append(found.p_value)
        spoken += found.p_value <= 0.05 and found.admissible
    assert keeps_its_level(p_values)
    assert spoken <= 50
