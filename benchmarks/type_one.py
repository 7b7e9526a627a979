"""How often each detector finds something where nothing is: models of four families asked about text none has seen.

Small models are trained on passages of the standard library's documentation and sources, and others of the same kind
are scored once. A replicate draws documents from these by lot and calls half of them members. A test that keeps its
level rejects in 5% of replicates at .05 and in 1% at .01; of 1,000 such replicates 95% lie in [.036, .064], and 97.5%
below .017. Rules of other tools stand beside ours on the same simulated scores (`type_one_rules.py`).
The test of training against held-out text has a grid of its own (`type_one_sides.py`).

python benchmarks/type_one.py [--replicates 10000] [--quick]
"""

from __future__ import annotations

import argparse
import math
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from common import Report
from scipy.stats import ttest_ind
from type_one_rules import DESIGNS, p_values

from memaudit.audits.comparison.blind_baseline import blind_baseline
from memaudit.audits.comparison.detection import compare
from memaudit.audits.detectors.order_totals import ALL_ORDERS, SHARD, boundaries, shard_totals
from memaudit.audits.detectors.overlap import ask
from memaudit.metrics.exposure import exposure
from memaudit.metrics.order import TIE, order_totals, random_orders, rank_sum_p, sampled_p
from memaudit.models.base import LanguageModel
from memaudit.models.masked import new_bert
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_gpt
from memaudit.records import Document, FloatArray, TokenIds, Window
from memaudit.stats import document_means, holm, rank_test, sign_flip_test
from memaudit.text.planting.passages import library_passages
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.loop import fit
from memaudit.training.options import TrainingOptions

TOKENS = 64
VOCABULARY = 1024
TRAINED = 600
"""Passages that a model reads; each reference reads half as many others."""
EPOCHS = 4.0
REFERENCES = 4
SOURCES, PASSAGES = 50, 8
"""Modules and chapters asked about, and passages of each."""
SIDE = 100
"""Documents of a side in a replicate."""
SHARDS, SETS = 10, 20
"""Shards, and documents of a set, whose order is tested."""
SECRETS = 1000
LOW, HIGH, HIGH_1 = 0.036, 0.064, 0.017
CHEAP = 1000
"""Replicates, at most, of what takes a tenth of a second each; five times as many of what takes less."""


@dataclass
class Table:
    """Rejections by detector and family."""

    report: Report
    exact: list[float] = field(default_factory=list)
    """Rejections at .05 of tests that must not be conservative either."""

    def add(self, what: str, p: Sequence[float] | FloatArray, *, ours: bool = True, exact: bool = True) -> None:
        """Add two rows: shares of null replicates that are rejected at .05 and at .01."""
        values = np.asarray(p, np.float64)
        for level, most in ((0.05, HIGH), (0.01, HIGH_1)):
            rate = float((values <= level).mean())
            note = f"{len(values):,} replicates{'' if ours else '; not ours'}"
            self.report.add(
                f"{what}: at {level}", rate, unit="rejected", goal=most if ours else None, at_most=ours, note=note
            )
        if ours and exact:
            self.exact.append(float((values <= 0.05).mean()))


@dataclass(frozen=True)
class Asked:
    """Text by its use."""

    tokenizer: Any
    training: list[TokenIds]
    others: list[TokenIds]
    """What references are trained on."""
    pool: list[Document]
    """What no model has seen."""
    ids: list[TokenIds]
    """Of the pool."""


def texts() -> Asked:
    """Return passages by lot of sources: those asked about are of modules that no model has read."""
    sources: dict[str, list[Document]] = defaultdict(list)
    for passage in library_passages(TOKENS, VOCABULARY):
        sources[passage.source].append(passage)
    rng = np.random.default_rng(0)
    long = [documents for documents in sources.values() if len(documents) >= PASSAGES]
    chosen = [long[i] for i in rng.permutation(len(long))]
    pool = [document for documents in chosen[:SOURCES] for document in documents[:PASSAGES]]
    rest = [document.text for documents in chosen[SOURCES:] for document in documents]
    rest = [rest[i] for i in rng.permutation(len(rest))]
    tokenizer = train_tokenizer("bpe", rest[:TRAINED], VOCABULARY)
    training, others, ids = (
        [encoding.ids for encoding in tokenizer.encode_batch(part)]
        for part in (rest[:TRAINED], rest[TRAINED : 2 * TRAINED], [document.text for document in pool])
    )
    return Asked(tokenizer, training, others, pool, ids)


def trained(family: str, tokenizer: Any, documents: list[TokenIds], seed: int) -> LanguageModel:
    """Return a small model of a family."""
    if family == "ngram":
        return NgramModel.train(documents, tokenizer, order=5)
    made: dict[str, Callable[..., Any]] = {"rnn": new_rnn, "gpt": new_gpt, "bert": new_bert}
    model = made[family](tokenizer, width=64, seed=seed)
    fit(model, documents, TrainingOptions.for_family(family, seed=seed, epochs=EPOCHS, threads=1))
    return model


def sides(rng: np.random.Generator, pool: int) -> tuple[Any, Any]:
    """Return places of members and of held-out documents, drawn by lot."""
    chosen = rng.permutation(pool)[: 2 * SIDE]
    return chosen[:SIDE], chosen[SIDE:]


def scored(family: str, asked: Asked) -> tuple[LanguageModel, dict[str, FloatArray], FloatArray]:
    """Return a model, every score of the pool by its name, and the loss of a model that is no more than a reference."""
    model, *references = [
        trained(family, asked.tokenizer, documents, seed) for seed, documents in enumerate(halves(asked))
    ]
    empty = np.empty(0, np.int32)
    windows = [Window(empty, ids) for ids in asked.ids]
    parts = list(model.score(windows))
    outside = np.array([[part.log_prob.mean() for part in other.score(windows)] for other in references])
    sizes = np.array([len(zlib.compress(document.text.encode())) for document in asked.pool])
    loss = np.array([part.log_prob.mean() for part in parts])
    scores = {
        "loss": loss,
        "zlib": loss / sizes,
        "min-k": np.array([least(part.log_prob) for part in parts]),
        "min-k++": np.array([least((part.log_prob - part.mean) / np.maximum(part.std, 1e-6)) for part in parts]),
        "reference": outside[0] / loss,
        "calibration": loss - outside[0],
        "lira": (loss - outside.mean(axis=0)) / outside.std(axis=0),
    }
    return model, scores, outside[0]


def halves(asked: Asked) -> list[list[TokenIds]]:
    """Return what the model reads, then what each reference does: a random half of other passages."""
    rng, size = np.random.default_rng(9), len(asked.others)
    drawn = [rng.permutation(size)[: size // 2] for _ in range(REFERENCES)]
    return [asked.training, *([asked.others[i] for i in chosen] for chosen in drawn)]


def least(values: FloatArray) -> float:
    """Return the mean of the lowest fifth."""
    return float(np.sort(values)[: max(1, math.floor(0.2 * len(values)))].mean())


def of_scores(table: Table, family: str, scores: dict[str, FloatArray], replicates: int) -> None:
    """Rank tests of every score, their declared family, pairs, and what is made of the same scores elsewhere."""
    rng, pool = np.random.default_rng(1), len(next(iter(scores.values())))
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(replicates):
        members, heldout = sides(rng, pool)
        tested = {}
        for name, values in scores.items():
            p = rank_test(values[members], values[heldout], seed=seed, permutations=999)
            assert p is not None
            tested[name] = p
            found[name].append(p)
        found["Holm over these"].append(min(holm(list(tested.values()))))
        found["any of these"].append(min(tested.values()))
        flipped = sign_flip_test(scores["loss"][members] - scores["loss"][heldout], seed=seed, permutations=999)
        found["loss, pairs"].append(flipped or 0.0)
    for name, p_of in found.items():
        ours = name != "any of these"
        table.add(f"{family}: {name}", p_of, ours=ours, exact=not name.startswith("Holm"))


def of_chunks(table: Table, family: str, loss: FloatArray, replicates: int) -> None:
    """Whole modules are members: their passages are no samples of their own."""
    rng = np.random.default_rng(2)
    names = [f"{i:02}" for i in range(SOURCES // 2) for _ in range(PASSAGES)]
    by_source, ours, theirs = loss.reshape(SOURCES, PASSAGES), [], []
    for seed in range(replicates):
        order = rng.permutation(SOURCES)
        halves = [by_source[half].ravel() for half in (order[: SOURCES // 2], order[SOURCES // 2 :])]
        theirs.append(float(ttest_ind(*halves, alternative="greater").pvalue))
        means = [document_means(half, names) for half in halves]
        ours.append(rank_test(*means, seed=seed, permutations=999) or 0.0)
    table.add(f"{family}: loss, {SOURCES // 2} modules a side", ours)
    table.add(f"{family}: loss, their passages by a t-test", theirs, ours=False)


def of_order(table: Table, family: str, model: LanguageModel, asked: Asked, replicates: int) -> None:
    """Sets and shards in an order by lot."""
    rng, p_of = np.random.default_rng(3), []
    if family == "ngram":
        ids = asked.ids[:: len(asked.ids) // 100]
        first, follows = boundaries(model, ids)
        for _ in range(replicates):
            given = rng.permutation(len(ids))[:SETS]
            orders = given[random_orders(SETS, 199, rng)]
            p_of.append(sampled_p(order_totals(first, follows, given[None])[0], order_totals(first, follows, orders)))
    else:
        ids = [asked.ids[i][:24] for i in rng.permutation(len(asked.ids))[: 3 * SHARDS * SHARD]]
        totals = shard_totals(model, [ids[at : at + SHARD] for at in range(0, len(ids), SHARD)])
        # The place of each of the orders, had it been that of the file.
        ranks = (totals[:, None, :] >= totals[:, :, None] - TIE).sum(axis=2)
        for _ in range(replicates):
            rows = rng.permutation(len(ranks))[:SHARDS]
            drawn = ranks[rows, rng.integers(0, len(ALL_ORDERS), SHARDS)]
            p_of.append(rank_sum_p([int(rank) for rank in drawn], len(ALL_ORDERS)))
    table.add(f"{family}: order", p_of)


def of_overlap(table: Table, family: str, model: LanguageModel, asked: Asked, replicates: int) -> None:
    """What is given of texts that were begun: mostly nothing, so that ties make the test find less."""
    answers = ask(model, asked.ids, 0.5)
    accuracy = np.array([answer["accuracy"] for answer in answers], np.float64)
    rouge = np.array([answer["completion"]["rouge_l"] for answer in answers], np.float64)
    for name, values in (("n-gram accuracy", accuracy), ("ROUGE-L of continuations", rouge)):
        rng, p_of = np.random.default_rng(8), []
        for seed in range(replicates):
            members, heldout = sides(rng, len(values))
            p_of.append(rank_test(values[members], values[heldout], seed=seed, permutations=999) or 0.0)
        table.add(f"{family}: {name}", p_of, exact=False)


def of_exposure(table: Table, family: str, model: LanguageModel, asked: Asked, replicates: int) -> None:
    """A secret that was never planted among others of its space: p = 2 ** -bits."""
    rng = np.random.default_rng(4)
    secrets = [f"the code is {number:06}" for number in rng.integers(0, 10**6, SECRETS)]
    empty = np.empty(0, np.int32)
    windows = [Window(empty, encoding.ids) for encoding in asked.tokenizer.encode_batch(secrets)]
    values = np.array([part.log_prob.sum() for part in model.score(windows)])
    p_of = []
    for _ in range(replicates):
        own, *others = values[rng.integers(0, SECRETS, 200)]
        p_of.append(2 ** -exposure(float(own), others, 10**6).bits)
    table.add(f"{family}: exposure", p_of)


def of_gate(table: Table, asked: Asked, replicates: int) -> None:
    """The blind baseline on documents by lot: a 5% at most of runs may be called confounded."""
    rng, p_of = np.random.default_rng(5), []
    for seed in range(replicates):
        both = [[asked.pool[i].text for i in side] for side in sides(rng, len(asked.pool))]
        p_of.append(float(not blind_baseline(*both, seed=seed).confounded))
    table.add("blind gate closed", p_of, exact=False)


def of_controls(table: Table, family: str, loss: FloatArray, unseen: FloatArray, replicates: int) -> None:
    """What may speak after its controls: evidence for a model that has seen nothing."""
    rng, p_of = np.random.default_rng(6), []
    plan = {"membership": {"paired": False, "randomised": True, "seed": 0, "alpha": 0.05}}
    for _ in range(replicates):
        members, heldout = sides(rng, len(loss))
        chosen = [*members, *heldout]
        records = [{"member": i < SIDE, "document": str(i)} for i in range(2 * SIDE)]
        values, null = ([float(v) for v in column[chosen]] for column in (loss, unseen))
        told = compare(records, values, {"null": null}, name="loss", label="", definition="", plan=plan)
        p_of.append(told.p_value if told.admissible and told.p_value is not None else 1.0)
    table.add(f"{family}: loss, what may speak after its controls", p_of, exact=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=10_000)
    parser.add_argument("--families", default="ngram,rnn,gpt,bert")
    parser.add_argument("--quick", action="store_true", help="an n-gram, 1,000 replicates; keeps nothing")
    given = parser.parse_args()
    replicates = CHEAP if given.quick else given.replicates
    report, asked = Report("type_one"), texts()
    table = Table(report)
    for design, rules in DESIGNS.items():
        for rule in rules:
            p_of = p_values(rule, min(replicates, 5 * CHEAP))
            table.add(f"{design}: {rule.name}", p_of, ours=rule.ours, exact=rule.exact)
    for family in ["ngram"] if given.quick else given.families.split(","):
        started = time.process_time()
        model, scores, unseen = scored(family, asked)
        of_scores(table, family, scores, replicates)
        of_chunks(table, family, scores["loss"], replicates)
        of_controls(table, family, scores["loss"], unseen, replicates)
        if model.objective != "masked":
            of_order(table, family, model, asked, replicates)
        of_overlap(table, family, model, asked, min(replicates, 5 * CHEAP))
        of_exposure(table, family, model, asked, replicates)
        print(f"{family}: {time.process_time() - started:.0f} s of CPU", flush=True)
    of_gate(table, asked, min(replicates, CHEAP))
    report.add("fewest rejections of a continuous test at .05", min(table.exact), unit="rejected", goal=LOW)
    report.add(
        "most rejections of a continuous test at .05", max(table.exact), unit="rejected", goal=HIGH, at_most=True
    )
    if not given.quick:
        report.finish()


if __name__ == "__main__":
    main()
