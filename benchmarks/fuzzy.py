"""Fuzzy metrics in pairs a second, beside difflib, rouge-score, sacrebleu and nltk on the same pairs."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Sequence
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from common import Report, interleaved
from nltk.translate.bleu_score import SmoothingFunction
from nltk.translate.bleu_score import sentence_bleu as nltk_bleu
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from memaudit.metrics.fuzzy import bleu, edit_similarity, rouge_l, rouge_l_text
from memaudit.metrics.verbatim import longest_common_run

PAIRS = 300
TOKENS = 50

Pairs = Sequence[tuple[Any, Any]]


def edited(text: str, rng: np.random.Generator, share: float) -> str:
    """Replace a share of the characters by others of the same text."""
    letters = np.array(list(text))
    places = rng.random(len(letters)) < share
    letters[places] = rng.choice(letters, places.sum())
    return "".join(letters)


def text_pairs(length: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """English prose beside an edited copy of itself, from hardly to heavily edited."""
    prose = "".join(topics.values()).encode("ascii", "ignore").decode()
    starts = rng.integers(0, len(prose) - length, PAIRS)
    passages = [prose[start : start + length] for start in starts]
    return [(passage, edited(passage, rng, i / PAIRS)) for i, passage in enumerate(passages)]


def id_pairs(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Token ids of a large vocabulary beside a copy with some of them replaced."""
    references = rng.integers(0, 50_257, (PAIRS, TOKENS)).astype(np.int32)
    kept = rng.random((PAIRS, TOKENS)) < rng.random((PAIRS, 1))
    return list(zip(references, np.where(kept, references, rng.permuted(references)), strict=True))


def over(function: Callable[[Any, Any], float | None], pairs: Pairs) -> Callable[[], list[float | None]]:
    return functools.partial(lambda: [function(a, b) for a, b in pairs])


def compare(
    report: Report,
    what: str,
    ours: Callable[[], list[float | None]],
    theirs: dict[str, tuple[Callable[[], list[float | None]], float, bool]],
) -> None:
    """Time ours against others; ``theirs`` gives for each the goal and whether its values must be ours."""
    works = {"ours": ours, **{name: work for name, (work, _, _) in theirs.items()}}
    seconds = interleaved(works)
    report.add(f"{what}: ours", PAIRS / seconds["ours"], unit="pairs/s")
    for name, (work, goal, same) in theirs.items():
        note = f"{PAIRS / seconds[name]:,.0f} pairs/s"
        report.add(f"{what}: ratio to {name}", seconds[name] / seconds["ours"], goal=goal, note=note)
        if same:
            difference = float(np.abs(np.array(ours(), float) - np.array(work(), float)).max())
            report.add(f"{what}: agreement with {name}", 1 - difference, unit="", goal=1 - 1e-12)


def main() -> None:
    report = Report("fuzzy")
    rng = np.random.default_rng(0)
    scorer = RougeScorer(["rougeL"])
    matcher = functools.partial(difflib.SequenceMatcher, None, autojunk=False)
    for length, goals in ((200, (50, 10)), (500, (100, 20))):
        pairs = text_pairs(length, rng)
        size = f"{length} characters"
        difflib_ratio = over(lambda a, b: matcher(a, b).ratio(), pairs)
        compare(
            report,
            f"edit similarity, {size}",
            over(edit_similarity, pairs),
            {"difflib": (difflib_ratio, goals[0], False)},
        )
        rouge = over(lambda a, b: scorer.score(a, b)["rougeL"].fmeasure, pairs)
        compare(
            report,
            f"ROUGE-L of words, {size}",
            over(rouge_l_text, pairs),
            {"rouge_score": (rouge, goals[1], True)},
        )
        longest = over(lambda a, b: matcher(a, b).find_longest_match().size, pairs)
        ours = over(lambda a, b: longest_common_run(a, b).length, pairs)
        compare(report, f"longest common run, {size}", ours, {"difflib": (longest, 2, True)})

    ids = id_pairs(rng)
    lists = [(a.tolist(), b.tolist()) for a, b in ids]
    strings = [(" ".join(map(str, a)), " ".join(map(str, b))) for a, b in lists]
    size = f"{TOKENS} token ids"
    for what, function in (("edit similarity", edit_similarity), ("ROUGE-L", rouge_l)):
        ratio = over(lambda a, b: matcher(a, b).ratio(), lists)
        compare(report, f"{what}, {size}", over(function, ids), {"difflib": (ratio, 10, False)})
    smoothing = SmoothingFunction().method3
    sacrebleu = BLEU(tokenize="none", effective_order=True)
    compare(
        report,
        f"BLEU, {size}",
        over(bleu, ids),
        {
            "nltk": (over(lambda a, b: nltk_bleu([a], b, smoothing_function=smoothing), lists), 10, True),
            "sacrebleu": (over(lambda a, b: sacrebleu.sentence_score(b, [a]).score / 100, strings), 5, True),
        },
    )
    report.finish()


if __name__ == "__main__":
    main()
