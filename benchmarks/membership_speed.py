"""What whole documents cost the membership detectors, and whether a score depends on what it is scored beside.

1,000 documents of 64 tokens go through every score, references, null model and controls, as a run takes them. Goals
are for the CPU time of one thread and for the wall clock of two threads on two cores. The second holds only where the
machine is free, so the load is noted: threads that wait for a core spin, and what takes 9 s there (with references)
took 171 s at a load of 8.

Exact pseudo-log-likelihoods stand beside one mask at a time through the module itself (the models and the loop of
`masked.py`), here for whole documents. Memory is that of a process from its start, libraries included.

python benchmarks/membership_speed.py
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import Report, interleaved
from masked import CONFIGURATIONS, made, one_at_a_time

from memaudit.audits.comparison.blind_baseline import blind_baseline
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.comparison.reference_models import ReferenceModels
from memaudit.audits.comparison.scores import NOTHING, score_texts
from memaudit.audits.detectors.membership import MEMBERSHIP
from memaudit.audits.subject import Subject
from memaudit.metrics.likelihood import loss_score, min_k, min_k_plus_plus
from memaudit.models.base import LanguageModel
from memaudit.models.masked import MaskedTransformer, new_bert
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_gpt
from memaudit.records import Decoding, Document, FloatArray, TokenIds, TokenScores, Window
from memaudit.text.planting.passages import library_passages
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.windows.windows import WindowOptions
from memaudit.training.loop import fit
from memaudit.training.options import TrainingOptions

TOKENS, VOCABULARY, DOCUMENTS, REFERENCES = 64, 2048, 1000, 4
TRAINED = 300
"""Passages that the models of the comparison of batches read once: fresh weights would hardly look at a neighbour."""
SECONDS, SECONDS_NGRAM = 60, 30
LONG, LONG_ASKED = 512, 128
"""Tokens of a long text, and how many of them are asked for: two full batches of the body and one of the head."""
STATUS = Path("/proc/self/status")
NATS = 1e-5
"""Nats a token by which two ways of scoring may differ."""


@dataclass(frozen=True)
class Texts:
    tokenizer: Any
    training: list[TokenIds]
    documents: list[Document]
    """Of 64 tokens or more, which no model has read."""


def texts() -> Texts:
    passages = library_passages(TOKENS + 8, VOCABULARY)
    passages = [passages[i] for i in np.random.default_rng(0).permutation(len(passages))]
    training = [passage.text for passage in passages[: 2 * DOCUMENTS]]
    tokenizer = train_tokenizer("bpe", training, VOCABULARY)
    rest = passages[2 * DOCUMENTS :]
    long = [d for d, e in zip(rest, tokenizer.encode_batch([d.text for d in rest]), strict=True) if len(e) >= TOKENS]
    return Texts(tokenizer, [e.ids for e in tokenizer.encode_batch(training)], long[:DOCUMENTS])


def of_detectors(report: Report, text: Texts) -> None:
    """Time all scores of 1,000 documents, half of them suspects, and the tests and controls made of them."""
    members, heldout = text.documents[: DOCUMENTS // 2], text.documents[DOCUMENTS // 2 :]
    assert len(heldout) == DOCUMENTS // 2
    with tempfile.TemporaryDirectory() as folder:
        references = [Path(folder) / str(i) for i in range(REFERENCES)]
        for i, path in enumerate(references):
            new_gpt(text.tokenizer, seed=i + 1).save(path)
        for beside in ((), tuple(map(str, references))):
            model = new_gpt(text.tokenizer)

            def run(model: LanguageModel = model, beside: tuple[str, ...] = beside) -> list[dict[str, Any]]:
                peers = ReferenceModels(model, members, heldout, MembershipOptions(tokens=TOKENS, references=beside))
                blind = blind_baseline([d.text for d in members], [d.text for d in heldout], seed=0)
                plan = {"membership": peers.describe(), "blind": blind.as_record()}
                subject = Subject(model, [], [], members, heldout, None, WindowOptions(), Decoding(), peers)
                records = MEMBERSHIP.measure(subject, MEMBERSHIP.items(subject))
                names = [found.name for found in MEMBERSHIP.detections(records, plan)]
                assert all(record["tokens"] == TOKENS and list(record["scores"]) == names for record in records)
                return records

            note = f"{DOCUMENTS:,} documents of {TOKENS} tokens, {len(beside)} references, null model and controls"
            add_times(report, f"gpt, {', '.join(run()[0]['scores'])}", run, SECONDS, note)
    counts = NgramModel.train(text.training, text.tokenizer, order=5)
    ids = [e.ids[:TOKENS] for e in text.tokenizer.encode_batch([d.text for d in text.documents])]
    add_times(report, "n-gram, loss", lambda: score_texts(counts, ids, None), SECONDS_NGRAM, "mean and deviation too")


def add_times(report: Report, what: str, work: Callable[[], Any], goal: float, note: str) -> None:
    for threads in (1, 2):
        torch.set_num_threads(threads)
        load, wall, cpu = os.getloadavg()[0], time.perf_counter(), time.process_time()
        work()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if threads == 1:
            report.add(f"{what}: CPU, one thread", cpu, unit="s", goal=goal, at_most=True, note=note)
        else:
            report.add(f"{what}: CPU, two threads", cpu, unit="s", note=note)
            report.add(f"{what}: wall clock, two threads", wall, unit="s", goal=goal, at_most=True,
                       note=f"load {load:.1f} before")  # fmt: skip
    torch.set_num_threads(1)


def of_masked(report: Report) -> None:
    """Score a whole document by exact pseudo-log-likelihood, and as one writes it by hand."""
    for name in CONFIGURATIONS:
        model, window = made(name)
        text = np.concatenate([window.prefix, window.suffix])
        values: dict[str, FloatArray] = {}

        def ours(model: MaskedTransformer = model, text: TokenIds = text, values: Any = values) -> None:
            values["ours"] = score_texts(model, [text], None)[0].log_prob

        def by_hand(model: MaskedTransformer = model, text: TokenIds = text, values: Any = values) -> None:
            values["by hand"] = one_at_a_time(model, Window(NOTHING, text))

        times = interleaved({"ours": ours, "by hand": by_hand}, repeats=1)
        note = f"{len(text)} tokens: {times['ours']:.1f} s against {times['by hand']:.1f} s of CPU"
        report.add(f"{name}: a document / one mask at a time", times["by hand"] / times["ours"], goal=1, note=note)
        difference = float(np.abs(values["ours"] - values["by hand"]).max())
        report.add(f"{name}: largest difference", difference, unit="nats", goal=NATS, at_most=True)


def of_memory(report: Report) -> None:
    """Add the peak memory of a process that does nothing else than to score a long text."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=score_long, args=(there,))
    process.start()
    there.close()
    before, peak = here.recv()
    process.join()
    note = f"{LONG_ASKED} of its tokens asked for; {before:,.0f} MiB with the model before the first"
    report.add(f"BERT-base, {LONG} tokens: resident memory of the process", peak, unit="MiB", goal=2048, at_most=True,
               note=note)  # fmt: skip


def score_long(answer: Connection) -> None:
    from transformers import AutoModelForMaskedLM, BertConfig

    torch.set_num_threads(1)
    # Positions for both ends of the text too: else it would be read in two pieces.
    config = BertConfig(max_position_embeddings=LONG + 2)
    module = AutoModelForMaskedLM.from_config(config, attn_implementation="sdpa")
    model = MaskedTransformer(module, train_tokenizer("byte", []))
    text = np.random.default_rng(0).integers(3, config.vocab_size, LONG, dtype=np.int32)
    before = peak_mib()
    model.score([Window(text[:-LONG_ASKED], text[-LONG_ASKED:])])
    answer.send((before, peak_mib()))


def peak_mib() -> float:
    """Return the most resident memory so far (Linux): not ``ru_maxrss``, which counts the parent's before ``exec``."""
    [line] = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def of_batches(report: Report, text: Texts) -> None:
    """Score texts of 1 to 64 tokens alone, all together, and each beside the longest."""
    rng, training = np.random.default_rng(1), text.training[:TRAINED]
    encodings = text.tokenizer.encode_batch([document.text for document in text.documents[:TOKENS]])
    mixed = [encodings[i].ids[: i + 1] for i in rng.permutation(TOKENS)]
    longest = max(mixed, key=len)
    for family, make in {"gpt": new_gpt, "rnn": new_rnn, "bert": new_bert, "ngram": None}.items():
        model: Any
        if make is None:
            model = NgramModel.train(training, text.tokenizer, order=5)
        else:
            model = make(text.tokenizer)
            fit(model, training, TrainingOptions.for_family(family, threads=1))
        alone = [score_texts(model, [ids], None)[0] for ids in mixed]
        assert [len(scores.log_prob) for scores in alone] == [len(ids) for ids in mixed]
        ways = {
            f"in a batch of {TOKENS}": score_texts(model, mixed, None),
            "beside the longest": [score_texts(model, [ids, longest], None)[0] for ids in mixed],
        }
        for way, together in ways.items():
            difference = max(np.abs(a.log_prob - b.log_prob).max() for a, b in zip(alone, together, strict=True))
            report.add(f"{family}: alone, or {way}", difference, unit="nats", goal=NATS, at_most=True,
                       note="largest difference of log p of a token")  # fmt: skip
        wrong = sum(not is_scored(scores) for scores in alone if len(scores.log_prob) < 10)
        report.add(f"{family}: texts of 1 to 9 tokens with a score that is no number", wrong, unit="of 9", goal=0,
                   at_most=True)  # fmt: skip


def is_scored(tokens: TokenScores) -> bool:
    """Whether every score of a text is a number."""
    by_token = tokens.log_prob, tokens.mean, tokens.std
    whole = loss_score(tokens.log_prob), min_k(tokens.log_prob), min_k_plus_plus(*by_token)
    return None not in whole and bool(np.isfinite(np.concatenate([*by_token, whole])).all())


def main() -> None:
    torch.set_num_threads(1)
    report, text = Report("membership_speed"), texts()
    of_batches(report, text)
    of_detectors(report, text)
    of_memory(report)
    of_masked(report)
    report.finish()


if __name__ == "__main__":
    main()
