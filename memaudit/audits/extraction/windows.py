"""Windows to records: one scoring pass, the continuations that are needed, their copies, one log line a window.

A model that only writes text is not scored: what it continues decides, and where likelihood would stand there is None.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from memaudit.audits.extraction.copies import count_copies
from memaudit.audits.extraction.plan import BLOCK
from memaudit.errors import ModelError
from memaudit.metrics import METRICS, declared, verbatim
from memaudit.metrics.base import Outcome
from memaudit.metrics.base import written as written_by
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import before_end
from memaudit.models.memory import in_halves
from memaudit.models.sampling import continuation_text
from memaudit.records import Capability, TokenIds, TokenScores, Window, WindowRecord
from memaudit.runs.directory import RunDirectory
from memaudit.text.index.corpus_index import CorpusIndex

LOOKED_AT = 64
"""Training windows that are continued to see whether the model ends them, where nothing else asks for that."""
ROUNDING = 1e-3
"""Nats by which a sum of log-probabilities may exceed 0."""

Place = tuple[str, int]
"""Document and first token of a window of training text."""
Progress = Callable[[int, int], None]
"""Called with (windows done, windows in all)."""


def blocks_of(count: int) -> list[range]:
    """Return the blocks in which so many windows are scored and logged."""
    return [range(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK)]


def measure_windows(
    model: LanguageModel,
    windows: list[Window],
    run: RunDirectory,
    fuzzy: bool,
    training: CorpusIndex | None,
    progress: Progress | None,
) -> None:
    """Measure and log all blocks that the run lacks; copies are counted in ``training``, if there is any."""
    members = [_place(window) for window in windows if window.member]
    looked_at = frozenset(members[:: -(-len(members) // LOOKED_AT) or 1] if model.end_ids else ())
    done = 0
    for block in blocks_of(len(windows)):
        if run.pending([block]):
            records = _measured(model, [windows[i] for i in block], block[0], fuzzy, looked_at, run)
            if training is not None:
                records = count_copies(records, training)
            run.append([record.line() for record in records])
        done += len(block)
        if progress:
            progress(done, len(windows))


def _measured(
    model: LanguageModel,
    windows: list[Window],
    first: int,
    fuzzy: bool,
    looked_at: Collection[Place],
    run: RunDirectory,
) -> list[WindowRecord]:
    """Measure a block; where memory runs out, in halves, which is logged."""
    records, size = in_halves(lambda some: measure(model, some, first, fuzzy, looked_at), windows)
    if size < len(windows):
        told = f"memory ran out: from window {first} on, {size} were read at a time"
        run.notice = "; ".join(filter(None, (run.notice, told)))
    return [dataclasses.replace(record, index=first + place) for place, record in enumerate(records)]


def measure(
    model: LanguageModel,
    windows: Sequence[Window],
    first: int,
    fuzzy: bool,
    looked_at: Collection[Place] = (),
) -> list[WindowRecord]:
    """Score a block of windows in one pass and continue those that need it.

    Where scores are those from left to right, the pass decides what greedy decoding would emit: it reproduces the
    suffix exactly when every rank is 0. A masked model must fill in the suffix to show what it would write, and one
    that gives no scores must write it.

    Args:
        model: Any model.
        windows: Windows whose suffixes are equally long.
        first: Index in the plan of the first of them.
        fuzzy: Whether windows that are not verbatim are continued too.
        looked_at: Windows that are continued in any case, to see whether the model ends them.
    """
    gives = model.capabilities
    scores = list(model.score(windows)) if Capability.LOG_PROBS in gives else [None] * len(windows)
    decided = Capability.LEFT_TO_RIGHT in gives
    known = [decided and score is not None and verbatim.is_extractable(score.rank) for score in scores]
    kept = [not decided or fuzzy or sure for sure in known]
    asked = [i for i, w in enumerate(windows) if not known[i] and (kept[i] or (w.member and _place(w) in looked_at))]
    continuations: dict[int, TokenIds] = {i: windows[i].suffix for i, sure in enumerate(known) if sure}
    if asked:
        produced = model.greedy_continuations([windows[i] for i in asked])
        continuations |= dict(zip(asked, produced, strict=True))
    return [
        _record(model, first + i, window, scores[i], continuations.get(i), kept[i]) for i, window in enumerate(windows)
    ]


def _record(
    model: LanguageModel,
    index: int,
    window: Window,
    scores: TokenScores | None,
    continuation: TokenIds | None,
    kept: bool,
) -> WindowRecord:
    log_prob = None if scores is None else float(scores.log_prob.sum())
    _check_answer(window, log_prob, continuation)
    if scores is not None and Capability.LEFT_TO_RIGHT in model.capabilities:
        ranks = scores.rank
    else:  # what the model wrote shows; the ranks of a masked one know both sides of a token
        assert continuation is not None, "every window of such a model is continued"
        ranks = (continuation != window.suffix).astype(np.int32)
    outcome = Outcome(window.suffix, window.suffix_text, ranks, log_prob)
    written = {} if continuation is None else _continued(model, window, outcome, continuation, kept)
    values = {m.name: m.compute(outcome) for m in METRICS.values() if m.of == "ranks" and m.needs <= model.capabilities}
    return WindowRecord(
        index=index,
        member=window.member,
        document=window.document,
        source=window.source,
        domain=window.domain,
        copies=window.copies,
        start=window.start,
        prefix_ids=window.prefix.tolist(),
        suffix_ids=window.suffix.tolist(),
        prefix_text=window.prefix_text,
        suffix_text=window.suffix_text,
        log_prob=log_prob if log_prob is not None and np.isfinite(log_prob) else None,
        **_fields({"extraction_strength": None} | values | written),
    )


def _check_answer(window: Window, log_prob: float | None, continuation: TokenIds | None) -> None:
    """Refuse what is no logarithm of a probability, and a continuation of another length than was asked."""
    wrong = log_prob is not None and not log_prob <= ROUNDING
    if wrong or (continuation is not None and len(continuation) != len(window.suffix)):
        raise ModelError(
            f"{window.source}: the model gave log p = {log_prob} and"
            f" {None if continuation is None else len(continuation)} tokens for {len(window.suffix)}",
            "its scores are not log-probabilities, or its continuations not as long as requested",
        )


def _continued(
    model: LanguageModel, window: Window, outcome: Outcome, continuation: TokenIds, kept: bool
) -> dict[str, Any]:
    """Return whether the model ended the text and, where that is to be kept, what it wrote before."""
    written = before_end(continuation, model.end_ids, window.suffix)
    ended = len(written) < len(continuation)
    values = _overlap(model, window, dataclasses.replace(outcome, written=written)) if kept else {}
    if ended:  # what was not written is like nothing, where a measure of it is defined
        values = {name: 0.0 if value is None else value for name, value in values.items()}
    return values | {"ended": ended if model.end_ids else None}


def _overlap(model: LanguageModel, window: Window, outcome: Outcome) -> dict[str, Any]:
    written = written_by(outcome)
    same = np.array_equal(window.suffix, written)
    # Token borders may lie inside a character, which then decodes to nothing readable.
    text = window.suffix_text if same else continuation_text(model.tokenizer, window.prefix, written)
    outcome = dataclasses.replace(outcome, text=text)
    return {
        "continuation_ids": written.tolist(),
        "continuation_text": text,
        **{m.name: m.compute(outcome) for m in METRICS.values() if m.of == "writing"},
    }


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as the fields of a record; those of metrics that other packages declare stand together."""
    others = {name: values[name] for name in declared() if name in values}
    return {name: value for name, value in values.items() if name not in others} | {"others": others or None}


def _place(window: Window) -> Place:
    return window.document, window.start
