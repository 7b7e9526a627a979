"""Checks of the instrument itself. A verdict of *clean* needs every one of them to pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memaudit.findings import Control
from memaudit.metrics.likelihood import unigram_entropy
from memaudit.models.base import LanguageModel
from memaudit.records import Window, WindowRecord
from memaudit.text.windows import WindowSet

SELF_TEST_TOLERANCE = 1e-4 / 20
"""Nats per token by which a window's score may move when its batch changes."""
ROUND_TRIPS = 200
"""Windows whose ids are decoded and compared with the text they were cut from."""
ROUND_TRIP_SHARE = 0.9


def check_round_trip(model: LanguageModel, windows: Sequence[Window]) -> Control:
    """Check that decoding the ids gives back the text they were cut from, white space apart.

    A tokenizer that rewrites text, or one that belongs to another model, makes everything a miss.
    """
    sample = windows[:: max(1, len(windows) // ROUND_TRIPS)]
    pairs = [
        (
            _squeezed(w.prefix_text + w.suffix_text),
            _squeezed(model.tokenizer.decode(np.concatenate([w.prefix, w.suffix]))),
        )
        for w in sample
    ]
    changed = [(text, decoded) for text, decoded in pairs if text != decoded]
    detail = f"{len(pairs) - len(changed)} of {len(pairs)} windows decode to the text they were cut from"
    if changed:
        detail += f"; the first that does not: {_difference(*changed[0])}"
    return Control("tokenizer round trip", len(changed) <= (1 - ROUND_TRIP_SHARE) * len(pairs), detail)


def check_batches(model: LanguageModel, windows: Sequence[Window]) -> Control:
    """Check that three windows score the same alone and together."""
    sample = [windows[i] for i in sorted({0, len(windows) // 2, len(windows) - 1})]
    together = model.score(sample)
    alone = [model.score([window]) for window in sample]
    ranks = np.concatenate([scores.rank for scores in alone])
    # Two impossible tokens agree; the difference of their infinities would not.
    log_probs = np.nan_to_num(np.concatenate([scores.log_prob for scores in alone]), neginf=-1e9)
    moved = np.abs(log_probs - np.nan_to_num(together.log_prob, neginf=-1e9)).max(initial=0.0)
    passed = bool(np.array_equal(ranks, together.rank) and moved <= SELF_TEST_TOLERANCE * 20)
    outcome = "the same" if passed else "not the same"
    return Control("batch self-test", passed, f"{len(sample)} windows score {outcome} alone and together")


def check_matching(drawn: WindowSet) -> Control:
    """Check that train and held-out windows were drawn with the same lengths and domains."""
    return Control("matched held-out text", drawn.matched, drawn.matching)


def check_against_unigram(records: Sequence[WindowRecord]) -> Control:
    """Check that the model beats the best unigram model of the same tokens, on one side at least.

    The positive control: a heavily overfit model passes on the training text, one that generalises on
    both, a broken one on neither. The unigram model is fitted to the very tokens it is compared on.
    """
    details = []
    passed = False
    for name, member in (("training", True), ("held-out", False)):
        side = [record for record in records if record.member == member]
        if not side:
            continue
        tokens = np.concatenate([record.suffix_ids for record in side])
        unigram = unigram_entropy(tokens)
        log_probs = [record.log_prob for record in side]
        if any(value is None for value in log_probs):
            details.append(f"{name} text holds tokens that the model thinks impossible")
            continue
        model = -sum(value for value in log_probs if value is not None) / len(tokens)
        passed |= model < unigram
        details.append(f"{name} text {model:.2f} nats a token, unigram {unigram:.2f}")
    return Control("beats a unigram model", passed, "; ".join(details))


def _difference(text: str, decoded: str) -> str:
    pairs = enumerate(zip(text, decoded, strict=False))
    same = next((i for i, (a, b) in pairs if a != b), min(len(text), len(decoded)))
    return f"{text[same : same + 8]!r} became {decoded[same : same + 8]!r}"


def _squeezed(text: str) -> str:
    return "".join(text.split())
