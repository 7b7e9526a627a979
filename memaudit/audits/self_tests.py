"""Self-tests of a model before it is asked anything: its tokenizer, its batches, its precision."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memaudit.findings import Control
from memaudit.metrics.fuzzy import edit_similarity
from memaudit.models.base import LanguageModel
from memaudit.records import Capability, TokenScores, Window
from memaudit.text.tokenize import Tokenizer

TOLERANCE = 1e-4
"""Nats per 20 tokens by which a window's score may move when its batch changes."""
UNREADABLE = "\ufffd"
ROUND_TRIPS = 200
"""Windows whose ids are decoded and compared with the text they were cut from."""
ROUND_TRIP_SHARE = 0.9
SAME_IDS = 0.9
"""Edit similarity from which on ids count as encoded back; windows are cut inside words at both ends."""

EXACT = ("float32", "float64")
REDUCED = ("bfloat16", "float16")
"""Types that can be chosen otherwise; what a layer of a quantised model is given is rounded whatever is chosen."""
PRECISION_WINDOWS = 32
"""Windows that a model of less precision reads twice, to count those that its batch changes."""


def check_round_trip(model: LanguageModel, windows: Sequence[Window]) -> Control:
    """Check that decoding the ids gives back the text they were cut from, white space apart.

    A tokenizer that rewrites text, or one that belongs to another model, makes everything a miss.
    """
    sample = windows[:: max(1, len(windows) // ROUND_TRIPS)]
    pairs = [_round_trip(model.tokenizer, window) for window in sample]
    changed = [(text, decoded) for text, decoded in pairs if text != decoded]
    detail = f"{len(pairs) - len(changed)} of {len(pairs)} windows decode to the text they were cut from"
    if changed:
        detail += f"; the first that does not: {_difference(*changed[0])}"
    return Control("tokenizer round trip", len(changed) <= (1 - ROUND_TRIP_SHARE) * len(pairs), detail)


def check_ids(model: LanguageModel, windows: Sequence[Window]) -> Control:
    """Check that windows given as ids are what the model's tokenizer makes of their text.

    Ids of another vocabulary decode to text that nobody would encode so. The seams of a window may join other
    tokens than in its document, so ids count as the same from an edit similarity of 0.9 on.
    """
    sample = windows[:: max(1, len(windows) // ROUND_TRIPS)]
    ids = [np.concatenate([window.prefix, window.suffix]) for window in sample]
    encodings = model.tokenizer.encode_batch([model.tokenizer.decode(row) for row in ids])
    same = sum((edit_similarity(row, e.ids) or 0.0) >= SAME_IDS for row, e in zip(ids, encodings, strict=True))
    detail = f"the text of {same} of {len(ids)} windows is encoded as the ids that were given"
    return Control("tokenizer round trip", same >= ROUND_TRIP_SHARE * len(ids), detail)


@dataclass(frozen=True, slots=True)
class Tested:
    """What a model was found to be before it is asked anything else."""

    first: list[Control]
    """Whether it answers alike however it is asked; of a model behind an address, all that its probe checked, and
    whether it is given the prompts as they are."""
    later: list[Control]
    """What it computes in, where that is worth saying."""
    behaviour: list[float | str | None]
    """What this model is recognised by, for the identity of the run."""


def tested(model: LanguageModel, windows: Sequence[Window]) -> Tested:
    """Test a model on windows, unless all was found out when it was loaded: a server is not asked twice."""
    if model.behaviour is not None:
        return Tested([*model.checks, *model.check_prompts(windows)], [], list(model.behaviour))
    batches, behaviour = check_batches(model, windows)
    return Tested([*model.checks, batches], check_precision(model, windows), behaviour)


def check_batches(model: LanguageModel, windows: Sequence[Window]) -> tuple[Control, list[float | str | None]]:
    """Check that three windows score the same alone and together; a model that gives no scores continues them.

    Returns:
        The control, and the log-probability of each window to one decimal (or the digest of its continuation): what
        this model is like, for the identity of the run. Files can tell that of a model in a folder, and nothing else
        of others.
    """
    sample = [windows[i] for i in sorted({0, len(windows) // 2, len(windows) - 1})]
    if Capability.LOG_PROBS not in model.capabilities:
        return _check_continued(model, sample)
    together = list(model.score(sample))
    alone = [model.score([window]) for window in sample]
    passed = all(map(_same_scores, alone, together))
    outcome = "the same" if passed else "not the same"
    control = Control("batch self-test", passed, f"{len(sample)} windows score {outcome} alone and together")
    sums = [float(scores.log_prob.sum()) for scores in together]
    return control, [round(value, 1) if math.isfinite(value) else None for value in sums]


def _check_continued(model: LanguageModel, sample: Sequence[Window]) -> tuple[Control, list[float | str | None]]:
    together = model.greedy_continuations(sample)
    alone = [model.greedy_continuations([window])[0] for window in sample]
    passed = all(map(np.array_equal, alone, together))
    outcome = "the same" if passed else "not the same"
    control = Control("batch self-test", passed, f"{len(sample)} windows are continued {outcome} alone and together")
    return control, [hashlib.sha256(ids.astype("<i4").tobytes()).hexdigest()[:16] for ids in together]


def check_precision(model: LanguageModel, windows: Sequence[Window]) -> list[Control]:
    """Say that a model computes in less than float32, and how many windows that lets depend on their batch.

    Returns:
        A control that fails; none where the model computes in float32 or float64.
    """
    if model.dtype in EXACT:
        return []
    sample = list(windows[:: max(1, len(windows) // PRECISION_WINDOWS)])
    together = _hits(model, sample)
    flips = sum(
        not np.array_equal(hits, _hits(model, [window])[0]) for hits, window in zip(together, sample, strict=True)
    )
    detail = f"{model.dtype}: {flips} of {len(sample)} windows get other tokens in another batch"
    detail += "; use --dtype float32" if model.dtype in REDUCED else ""
    return [Control("computes in float32", False, detail)]


def _hits(model: LanguageModel, windows: Sequence[Window]) -> list[NDArray[Any]]:
    """Return for every window which of its tokens greedy decoding gives, or the tokens that it writes instead."""
    if Capability.LOG_PROBS not in model.capabilities:
        return list(model.greedy_continuations(windows))
    return [scores.rank == 0 for scores in model.score(windows)]


def _same_scores(one: TokenScores, other: TokenScores) -> bool:
    """Whether a window's hits are equal and its log-probability is, up to rounding.

    Ranks are compared as hits: far down a large vocabulary, rounding alone swaps neighbours.
    """
    if not np.array_equal(one.rank == 0, other.rank == 0):
        return False
    # Two impossible tokens agree; the difference of their infinities would not.
    possible = np.isfinite(one.log_prob) & np.isfinite(other.log_prob)
    same = np.array_equal(one.log_prob[~possible], other.log_prob[~possible])
    moved = abs(float(one.log_prob[possible].sum() - other.log_prob[possible].sum()))
    return same and moved <= TOLERANCE * max(1.0, len(possible) / 20)


def _round_trip(tokenizer: Tokenizer, window: Window) -> tuple[str, str]:
    """Return the text of a window and what its ids decode to, white space apart.

    A border inside a character leaves bytes that decode to U+FFFD; there the character counts as read. Where prefix and
    suffix meet inside one, the texts of both hold it: it counts once.
    """
    text = window.prefix_text + window.suffix_text
    if window.prefix_text[-1:] == window.suffix_text[:1] and _cut_inside(tokenizer, window):
        text = window.prefix_text + window.suffix_text[1:]
    decoded = tokenizer.decode(np.concatenate([window.prefix, window.suffix]))
    if decoded.startswith(UNREADABLE) and not text.startswith(UNREADABLE):
        decoded = text[:1] + decoded.lstrip(UNREADABLE)
    if decoded.endswith(UNREADABLE) and not text.endswith(UNREADABLE):
        decoded = decoded.rstrip(UNREADABLE) + text[-1:]
    return _squeezed(text), _squeezed(decoded)


def _cut_inside(tokenizer: Tokenizer, window: Window) -> bool:
    """Whether the suffix begins with a part of a character, which its ids alone cannot tell."""
    return tokenizer.decode(window.suffix).startswith(UNREADABLE) and window.suffix_text[:1] != UNREADABLE


def _difference(text: str, decoded: str) -> str:
    pairs = enumerate(zip(text, decoded, strict=False))
    same = next((i for i, (a, b) in pairs if a != b), min(len(text), len(decoded)))
    return f"{text[same : same + 8]!r} became {decoded[same : same + 8]!r}"


def _squeezed(text: str) -> str:
    return "".join(text.split())
