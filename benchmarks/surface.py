"""Every prefix length from one pass, coverage at stride 1 without every window, and prefix sweeps of an RNN.

python benchmarks/surface.py [--quick]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import Report, cpu_seconds, interleaved

from memaudit.audits.document_scores import score_documents
from memaudit.audits.measures.covering import cover_documents
from memaudit.demo import distinct_passages
from memaudit.metrics.surface import greedy_runs
from memaudit.metrics.verbatim import is_extractable
from memaudit.models.base import LanguageModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_gpt
from memaudit.records import TokenIds, Window
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.train import CorpusOptions, train_neural

QUICK = "--quick" in sys.argv
SUFFIX, PREFIX, TOKENS = 50, 50, 512
BOOK = 2_500 if QUICK else 10_000
DOSES = (0, 0, 4, 8, 16, 32)
EPOCHS = 3.0


def every_prefix(report: Report) -> None:
    """One document of 512 tokens: one pass and run lengths beside one forward for each prompt length."""
    tokenizer = train_tokenizer("bpe", [p.text for p in distinct_passages()[:400]], 4096)
    shapes = {"GPT 4 x 256": (256, 4), "GPT 6 x 512": (512, 6)}
    for name, (width, layers) in list(shapes.items())[: 1 if QUICK else None]:
        model = new_gpt(tokenizer, style="llama", width=width, layers=layers, heads=8, context_length=TOKENS)
        ids = np.random.default_rng(0).integers(3, tokenizer.vocab_size, TOKENS).astype(np.int32)
        lengths = range(8, TOKENS - SUFFIX + 1)
        timed = lengths[:: 32 if QUICK else 8]

        def separately(model: LanguageModel = model, ids: TokenIds = ids, timed: range = timed) -> list[bool]:
            windows = [Window(ids[:c], ids[c : c + SUFFIX]) for c in timed]
            return [is_extractable(model.score([window]).rank) for window in windows]

        def together(model: LanguageModel = model, ids: TokenIds = ids, timed: range = timed) -> list[bool]:
            runs = greedy_runs(score_documents(model, [ids])[0].rank)
            return [bool(runs[c] >= SUFFIX) for c in timed]

        assert separately() == together()
        times = interleaved({"separately": separately, "together": together})
        ratio = times["separately"] * len(lengths) / len(timed) / times["together"]
        note = f"{len(timed)} of {len(lengths)} lengths timed"
        report.add(f"verdicts for every prefix length, 512 tokens, {name}", ratio, goal=150, note=note)


def corpus(folder: Path) -> tuple[str, list[str], str]:
    """Write a training text in which sections of a book stand 0 to 32 times, cut in at any place of other text."""
    random = np.random.default_rng(0)
    passages = [passage.text for passage in distinct_passages()]
    random.shuffle(passages)
    background, unseen, rest = passages[:1500], passages[1500:1650], iter(passages[1650:])
    book, training = [], list(background)
    for _ in range(30):
        section = "\n".join(next(rest) for _ in range(random.integers(2, 5)))
        book.append(section)
        for _ in range(random.choice(DOSES)):
            before = background[random.integers(len(background))]
            training.append(before[: random.integers(len(before))] + "\n" + section)
    random.shuffle(training)
    file = folder / "training.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in training), encoding="utf-8")
    return str(file), book, "\n".join(unseen)


def coverage(report: Report) -> None:
    """Trained models: every window beside the shortcut, and what that misses.

    One whose positions are learned has not learned text apart from its place in a document: nothing promised there.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, book, unseen = corpus(folder)
        for style in ("llama",) if QUICK else ("llama", "gpt2"):
            trained = train_neural(
                "gpt",
                CorpusOptions([file], "bpe", 1024),
                folder / style,
                architecture={"width": 128, "layers": 2, "style": style},
                batch_size=10,
                epochs=EPOCHS,
            )
            texts = {"duplicates": "\n".join(book)} | ({"unseen": unseen} if style == "llama" else {})
            for kind, text in texts.items():
                [encoding] = trained.model.tokenizer.encode_batch([text])
                _cover(report, trained.model, encoding.ids[:BOOK], f"{style}, {kind}", goal=style == "llama")


def _cover(report: Report, model: LanguageModel, ids: TokenIds, name: str, *, goal: bool) -> None:
    windows = [Window(ids[s - PREFIX : s], ids[s : s + SUFFIX]) for s in range(PREFIX, len(ids) - SUFFIX + 1)]
    [every] = cover_documents(model, [ids], PREFIX, SUFFIX, exact=True)
    [quick] = cover_documents(model, [ids], PREFIX, SUFFIX)
    times = interleaved(
        {
            "pass": lambda: model.score(windows),
            "screen": lambda: cover_documents(model, [ids], PREFIX, SUFFIX, exact=True),
            "shortcut": lambda: cover_documents(model, [ids], PREFIX, SUFFIX),
        },
        repeats=1,
    )
    covered, found = int(every.tokens.sum()), int(quick.tokens.sum())
    note = f"{covered:,} of {every.coverable:,} tokens covered; {quick.asked:,} of {quick.windows:,} windows asked"
    ratio = times["pass"] / times["shortcut"]
    report.add(f"stride-1 coverage, {name}: one pass per window", ratio, goal=20 if goal else None, note=note)
    report.add(f"stride-1 coverage, {name}: early exit in every window", times["screen"] / times["shortcut"])
    wrong = int((quick.tokens & ~every.tokens).sum())
    report.add(f"stride-1 coverage, {name}: tokens wrongly claimed", wrong, unit="tokens", goal=0, at_most=True)
    missed = (covered - found) / covered if covered else 0.0
    note = f"{covered - found:,} of {covered:,}; control {quick.control_hits} of {quick.control}"
    limit = 0.01 if goal else None
    report.add(f"stride-1 coverage, {name}: share missed", missed, unit="", goal=limit, at_most=True, note=note)


def recurrent(report: Report) -> None:
    """Eight prefix lengths of one text: the state is kept at each, and the text read once."""
    tokenizer = train_tokenizer("char", [p.text for p in distinct_passages()[:200]])
    model = new_rnn(tokenizer, cell="lstm", width=256)
    ids = np.random.default_rng(0).integers(3, tokenizer.vocab_size, TOKENS).astype(np.int32)
    cuts = np.linspace(PREFIX, TOKENS - SUFFIX, 8).astype(int).tolist()

    def separately() -> list[list[int]]:
        return [model.continuations([ids[:cut]], SUFFIX)[0].tolist() for cut in cuts]

    def along() -> list[list[int]]:
        return [row.tolist() for row in model.continuations_along(ids, cuts, SUFFIX)]

    assert separately() == along()
    times = interleaved(
        {
            "separately": separately,
            "batch": lambda: model.continuations([ids[:cut] for cut in cuts], SUFFIX),
            "along": along,
            "passes": lambda: [model.score([Window(ids[:cut], ids[cut : cut + SUFFIX])]) for cut in cuts],
            "pass": lambda: score_documents(model, [ids]),
        },
        repeats=9,
    )
    what = "LSTM prefix sweep (8 lengths)"
    report.add(f"{what}: continuations, one pass per length", times["separately"] / times["along"], goal=5)
    report.add(f"{what}: continuations, one call for all", times["batch"] / times["along"])
    report.add(f"{what}: verdicts, one pass per length", times["passes"] / times["pass"])
    every = list(range(8, TOKENS - SUFFIX + 1))
    alone = cpu_seconds(lambda: [model.continuations([ids[:cut]], SUFFIX) for cut in every[::32]])
    shared = cpu_seconds(lambda: model.continuations_along(ids, every, SUFFIX))
    ratio = alone * len(every) / len(every[::32]) / shared
    report.add("LSTM: continuations from every prefix length, one by one", ratio, note="every 32nd length timed")


def main() -> None:
    torch.set_num_threads(1)
    report = Report("surface")
    every_prefix(report)
    recurrent(report)
    coverage(report)
    report.finish()


if __name__ == "__main__":
    main()
