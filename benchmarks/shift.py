"""False *found* where a share of the held-out side is of another author: models of four families that saw neither side.

Suspects are passages of one novel, held out are others of it, some of them replaced by passages of another author; each
model was trained on a third part of the first novel, so that it fits the suspects' author better than the other one:
what a shift looks like to a score. Passages are scored once; sides are drawn by lot and go through the controls and the
verdict of `memaudit contamination --model` (scores of documents; the order of a file knows of no held-out side).

python benchmarks/shift.py DATA [--runs 100] [--quick]
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import Report

from memaudit import stats
from memaudit.audits.comparison.nulls import KIND_NULL
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.comparison.reference_models import ReferenceModels
from memaudit.audits.comparison.scores import score_texts
from memaudit.audits.comparison.verdict import Power, decide
from memaudit.audits.detectors.blind_baseline import BLIND_BASELINE
from memaudit.audits.detectors.membership import MEMBERSHIP, _scores, primary
from memaudit.models.base import LanguageModel
from memaudit.models.masked import new_bert
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_gpt
from memaudit.records import Document
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.loop import fit
from memaudit.training.options import TrainingOptions

NOVELS = {
    "Austen": "pride-and-prejudice--1342-0.txt.gz",
    "Doyle": "the-adventures-of-sherlock-holmes--1661.txt.gz",
}
WORDS, VOCABULARY, TRAINED, EPOCHS = 36, 1024, 700, 4.0
SHARES = (0.0, 0.1, 0.3, 0.6)
SIDES = (100,)
FAMILIES = ("ngram", "rnn", "gpt", "bert")


def passages(data: Path, author: str) -> list[Document]:
    """Return a novel in passages of equal length, in words."""
    text = gzip.decompress((data / "corpora" / "gutenberg-editions" / NOVELS[author]).read_bytes()).decode("utf-8-sig")
    body = text.split("*** START OF", 1)[-1].split("*** END OF", 1)[0].split()
    return [
        Document(f"{author}-{i}", " ".join(body[at : at + WORDS]), f"{author}:{i}")
        for i, at in enumerate(range(0, len(body) - WORDS, WORDS))
    ]


def trained(family: str, tokenizer: Any, texts: Sequence[str]) -> LanguageModel:
    """Return a small model of a family."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    if family == "ngram":
        return NgramModel.train(ids, tokenizer, order=5)
    made: dict[str, Callable[..., Any]] = {"rnn": new_rnn, "gpt": new_gpt, "bert": new_bert}
    model = made[family](tokenizer, width=64, seed=0)
    fit(model, ids, TrainingOptions.for_family(family, seed=0, epochs=EPOCHS, threads=1))
    return model


def scored(model: LanguageModel, documents: Sequence[Document]) -> dict[str, dict[str, float | None]]:
    """Return every score of every document by its id."""
    encodings = model.tokenizer.encode_batch([document.text for document in documents])
    tokens = score_texts(model, [encoding.ids for encoding in encodings], None)
    return {d.id: _scores(own, d.text, ()) for d, own in zip(documents, tokens, strict=True)}


class Lot:
    """One draw of both sides, and all that the controls ask of it: the same for every family."""

    def __init__(self, pools: Sequence[Sequence[Document]], side: int, share: float, seed: int, ruler: LanguageModel):
        rng, foreign = np.random.default_rng([seed, side, round(100 * share)]), round(share * side)
        own, other = (rng.permutation(len(pool)) for pool in pools)
        members = [pools[0][i] for i in own[:side]]
        heldout = [pools[0][i] for i in own[side : 2 * side - foreign]] + [pools[1][i] for i in other[:foreign]]
        heldout = [heldout[i] for i in rng.permutation(side)]
        options = MembershipOptions(seed=seed)
        peers = ReferenceModels(ruler, members, heldout, options)
        self.documents = [(True, d) for d in members] + [(False, d) for d in heldout]
        self.nulls: dict[str, dict[str, Any]] = {document.id: {} for _, document in self.documents}
        fitted: dict[tuple[str, int], tuple[LanguageModel, list[Document]]] = {}
        for member, document in self.documents:
            for name, null in peers.nulls(member, document.id).items():
                fitted.setdefault((name, id(null)), (null, []))[1].append(document)
        for (name, _), (null, documents) in fitted.items():
            for document, told in scored(null, documents).items():
                self.nulls[document][name] = told
        for member, document in self.documents:
            self.nulls[document.id][KIND_NULL] = {"loss": peers.kind(member, document.id)}
        self.plan: dict[str, Any] = {"membership": peers.describe(), "model": {"family": ruler.family}}
        self.text = BLIND_BASELINE.compared(members, heldout, ruler.tokenizer, options)

    def verdict(self, family: str, scores: dict[str, dict[str, float | None]]) -> tuple[str, bool]:
        """Return the verdict, and whether any detector rejected."""
        records = [
            {"member": m, "document": d.id, "scores": scores[d.id], "null": self.nulls[d.id]} for m, d in self.documents
        ]
        plan = self.plan | {"model": {"family": family}, "blind": self.text["blind"]}
        detections = MEMBERSHIP.detections(records, plan)
        holm = stats.holm([1.0 if d.p_value is None else d.p_value for d in detections])
        adjusted = {d.name: p for d, p in zip(detections, holm, strict=True)}
        first = next(d for d in detections if d.name == primary(plan))
        power = Power(first.members, first.heldout, 0.05, None, "")
        verdict, _ = decide(detections, adjusted, first, [], power, plan["blind"], plan["membership"])
        return verdict, any(p <= 0.05 for p in holm)


def main() -> None:
    """Train, score, draw, decide."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="an n-gram, sides of 100, twenty runs")
    given = parser.parse_args()
    families, sizes = (("ngram",), SIDES[:1]) if given.quick else (FAMILIES, SIDES)
    runs, started = 20 if given.quick else given.runs, time.process_time()
    rng, novels = np.random.default_rng(0), [passages(given.data, author) for author in NOVELS]
    own = [novels[0][i] for i in rng.permutation(len(novels[0]))]
    read, pools = (
        [d.text for d in own[:TRAINED]],
        (own[TRAINED : TRAINED + 2 * max(sizes)], novels[1][: 2 * max(sizes)]),
    )
    tokenizer = train_tokenizer("bpe", read, VOCABULARY)
    models = {family: trained(family, tokenizer, read) for family in families}
    print(f"trained: {time.process_time() - started:.0f} s")
    scores = {family: scored(model, [*pools[0], *pools[1]]) for family, model in models.items()}
    print(f"scored: {time.process_time() - started:.0f} s")
    report = Report("shift")
    for side in sizes:
        for share in SHARES:
            told: dict[str, Counter[str]] = {family: Counter() for family in families}
            for seed in range(runs):
                lot = Lot(pools, side, share, seed, models["ngram"])
                for family in families:
                    verdict, rejected = lot.verdict(family, scores[family])
                    told[family].update([verdict, *(["rejected"] if rejected else [])])
            for family, count in told.items():
                note = f"rejected {count['rejected']}, confounded {count['confounded']} of {runs}"
                what = f"{family}, {side} a side, {share:.0%} of another author: found"
                report.add(what, count["found"] / runs, unit="of runs", goal=0.05, at_most=True, note=note)
            print(f"{time.process_time() - started:.0f} s", flush=True)
    if not given.quick:
        report.finish()


if __name__ == "__main__":
    main()
