"""Training and scoring of n-gram models on the standard library's sources, against nltk.lm and Counter(zip).

One core, process CPU time, both ways in turns in one process. nltk gets few tokens because its score walks
over all contexts of the model, so that ratio belongs to this size of text; nltk's fit only counts.
"""

from __future__ import annotations

import sysconfig
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nltk.lm
import numpy as np
from common import Report, cpu_seconds, interleaved

from memaudit.models.ngram import NgramModel
from memaudit.records import TokenIds, Window
from memaudit.text.tokenize import train_tokenizer

ORDER = 5
VOCAB_SIZE = 4096
CORPUS_CHARACTERS = 8_000_000
MEDIUM, SMALL = 300_000, 20_000
SCORED = 40


def main() -> None:
    report = Report("ngram")
    texts = sources(CORPUS_CHARACTERS)
    tokenizer = train_tokenizer("bpe", texts[:60], VOCAB_SIZE)
    documents = [encoding.ids for encoding in tokenizer.encode_batch(texts)]

    def train(texts: list[TokenIds], order: int = ORDER) -> NgramModel:
        return NgramModel.train(texts, tokenizer, order=order)

    tokens = sum(map(len, documents))
    for order in (ORDER, 64):
        seconds = cpu_seconds(lambda order=order: train(documents, order))
        note = f"{tokens:,} tokens, V={VOCAB_SIZE}, modified Kneser-Ney"
        goal = 1.0 if order == ORDER else None
        report.add(f"training, order {order}", tokens / seconds / 1e6, unit="Mtoken/s", goal=goal, note=note)

    for name, tokens, other, goal in (
        ("Counter(zip)", MEDIUM, counters, None),
        ("nltk.lm KneserNeyInterpolated.fit", SMALL, nltk_model, 50.0),
    ):
        part = first_tokens(documents, tokens)
        works = {
            "ours": repeated(lambda part=part: train(part), 10),
            "other": lambda other=other, part=part: other(part),
        }
        times = interleaved(works)
        note = f"order {ORDER}, the same {tokens:,} tokens; ours also smooths"
        report.add(f"training against {name}", times["other"] / (times["ours"] / 10), goal=goal, note=note)

    small = first_tokens(documents, SMALL)
    model, nltk_kneser_ney = train(small), nltk_model(small)
    window = Window(small[0][:50], small[0][50 : 50 + SCORED])
    times = interleaved(
        {
            "ours": repeated(lambda: model.score([window]), 100),
            "nltk": lambda: nltk_scores(nltk_kneser_ney, window),
        }
    )
    ours = times["ours"] / 100
    note = f"order {ORDER}; ours gives rank, mean and standard deviation over the vocabulary too"
    report.add("scoring", SCORED / ours / 1e3, unit="ktoken/s", note=note)
    report.add("scoring against nltk.lm KneserNeyInterpolated.score", times["nltk"] / ours, goal=50, note=note)
    report.finish()


def sources(characters: int) -> list[str]:
    """Return texts of standard library modules, up to a total length."""
    texts: list[str] = []
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("**/*.py")):
        if "site-packages" not in file.parts and "test" not in file.parts:
            texts.append(file.read_text(encoding="utf-8", errors="replace"))
            characters -= len(texts[-1])
        if characters < 0:
            break
    return texts


def first_tokens(documents: list[TokenIds], tokens: int) -> list[TokenIds]:
    joined = np.concatenate(documents)[:tokens]
    return np.array_split(joined, 20)


def repeated(work: Callable[[], Any], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            work()

    return run


def counters(documents: list[TokenIds]) -> list[Counter[tuple[int, ...]]]:
    counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(ORDER)]
    for document in documents:
        text = document.tolist()
        for n, counter in enumerate(counts, start=1):
            counter.update(zip(*(text[i:] for i in range(n)), strict=False))
    return counts


def nltk_model(documents: list[TokenIds]) -> nltk.lm.KneserNeyInterpolated:
    model = nltk.lm.KneserNeyInterpolated(ORDER)
    ngrams = []
    for document in documents:
        text = [str(token) for token in document]
        ngrams.append([tuple(text[i : i + n]) for n in range(1, ORDER + 1) for i in range(len(text) - n + 1)])
    model.fit(ngrams, {token for document in ngrams for gram in document for token in gram})
    return model


def nltk_scores(model: nltk.lm.KneserNeyInterpolated, window: Window) -> list[float]:
    text = [str(token) for token in np.concatenate([window.prefix, window.suffix])]
    first = len(window.prefix)
    return [model.score(text[i], text[i - ORDER + 1 : i]) for i in range(first, len(text))]


if __name__ == "__main__":
    main()
