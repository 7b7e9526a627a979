"""Windows to records: scores, the continuations that are needed, their copies, one log line a window.

A model that only writes text is not scored: what it continues decides, and where likelihood would stand there is None.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memaudit.audits.extraction.copies import count_copies
from memaudit.audits.extraction.sampling import blocks_of, settled_by, writes
from memaudit.errors import ModelError
from memaudit.metrics import METRICS, declared
from memaudit.metrics.base import Outcome
from memaudit.metrics.verbatim import matched_tokens
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import before_end
from memaudit.models.memory import in_halves
from memaudit.models.sampling import continuation_text
from memaudit.records import Capabilities, Capability, TokenIds, TokenScores, Window, WindowRecord
from memaudit.runs.directory import RunDirectory
from memaudit.text.index.corpus_index import CorpusIndex

ROUNDING = 1e-3
"""Nats by which a sum of log-probabilities may exceed 0."""

Progress = Callable[[int, int], None]
"""Called with (windows done, windows in all)."""


def measure_windows(
    model: LanguageModel,
    windows: Sequence[Window],
    run: RunDirectory,
    fuzzy: bool,
    sample: Collection[int],
    training: CorpusIndex | None,
    progress: Progress | None,
) -> None:
    """Measure and log all blocks that the run lacks, those of the sample whole.

    Copies are counted in ``training``, if there is any.
    """
    done = 0
    for block in blocks_of(len(windows), sample):
        if run.pending([block]):
            some = [windows[i] for i in block]
            records = _measured(model, some, block, fuzzy, block[0] in sample, run)
            if training is not None:
                records = count_copies(records, training)
            run.append([record.line() for record in records])
        done += len(block)
        if progress:
            progress(done, len(windows))


def _measured(
    model: LanguageModel, windows: Sequence[Window], block: Sequence[int], fuzzy: bool, whole: bool, run: RunDirectory
) -> list[WindowRecord]:
    """Measure a block; where memory runs out, in halves, which is logged."""
    records, size = in_halves(lambda some: measure(model, some, fuzzy=fuzzy, whole=whole), windows)
    if size < len(windows):
        told = f"memory ran out: from window {block[0]} on, {size} were read at a time"
        run.notice = "; ".join(filter(None, (run.notice, told)))
    return [dataclasses.replace(record, index=i) for i, record in zip(block, records, strict=True)]


def measure(
    model: LanguageModel, windows: Sequence[Window], *, fuzzy: bool = True, whole: bool = True
) -> list[WindowRecord]:
    """Score and continue windows, numbered from 0.

    Where scores are those from left to right, they decide what greedy decoding would emit: it reproduces the suffix
    exactly when every rank is 0. A masked model must fill in the suffix to show what it would write, and one that
    gives no scores must write it.

    Args:
        model: Any model.
        windows: Their prefixes and suffixes may be of any lengths.
        fuzzy: Whether windows that are not verbatim are continued too.
        whole: Whether every token is scored and continuations are as long as the suffix. Otherwise nothing is measured
            but what makes a window a hit.
    """
    fuzzy = writes(model.capabilities, fuzzy)
    found = (_found_whole if whole else _found_soon)(model, windows, fuzzy)
    return [_record(model, i, window, each, whole) for i, (window, each) in enumerate(zip(windows, found, strict=True))]


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """What a model made of one window."""

    matched: int
    scores: TokenScores | None = None
    written: TokenIds | None = None
    """Its continuation, as far as it was asked for."""
    compared: bool = True
    """Whether it is compared with the suffix, or shows only whether the model ends the text."""


def _found_whole(model: LanguageModel, windows: Sequence[Window], fuzzy: bool) -> list[_Found]:
    gives = model.capabilities
    scores: list[TokenScores | None] = [None] * len(windows)
    if Capability.LOG_PROBS in gives:
        scores = list(model.score(windows))
    by_rank: list[int | None] = [None] * len(windows)
    if Capability.LEFT_TO_RIGHT in gives:
        by_rank = [None if each is None else matched_tokens(each.rank) for each in scores]
    written = {i: window.suffix for i, window in enumerate(windows) if by_rank[i] == len(window.suffix)}
    verbatim = set(written)
    # Training windows are continued in any case where the model may end them: nobody counts on one that does.
    lacking = [i for i, w in enumerate(windows) if i not in written and (fuzzy or (w.member and model.end_ids))]
    if lacking:
        written |= zip(lacking, model.greedy_continuations([windows[i] for i in lacking]), strict=True)
    found = []
    for i, (window, matched) in enumerate(zip(windows, by_rank, strict=True)):
        matched = _matched(window, written[i]) if matched is None else matched
        found.append(_Found(matched, scores[i], written.get(i), compared=fuzzy or i in verbatim))
    return found


def _found_soon(model: LanguageModel, windows: Sequence[Window], fuzzy: bool) -> list[_Found]:
    if fuzzy:
        begun = model.greedy_continuations(windows, settled_by(model.end_ids))
        return [_Found(_matched(window, ids), None, ids) for window, ids in zip(windows, begun, strict=True)]
    pairs = zip(windows, model.screen(windows).tolist(), strict=True)
    return [_Found(n, None, window.suffix if n == len(window.suffix) else None) for window, n in pairs]


def _matched(window: Window, written: TokenIds) -> int:
    return matched_tokens(_differences(window, written))


def _differences(window: Window, written: TokenIds) -> NDArray[np.int32]:
    return np.not_equal(written, window.suffix[: len(written)]).astype(np.int32)


def _record(model: LanguageModel, index: int, window: Window, found: _Found, sampled: bool) -> WindowRecord:
    gives = model.capabilities
    log_prob = None if found.scores is None else float(found.scores.log_prob.sum())
    _check_answer(window, log_prob, found.written, whole=sampled)
    outcome = Outcome(window.suffix, window.suffix_text, found.matched, _ranks(window, found, gives), log_prob)
    written = {} if found.written is None else _continued(model, window, outcome, found)
    told = [m for m in METRICS.values() if m.of in ("match", "ranks") and m.needs <= gives]
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
        sampled=sampled,
        turns=None if window.turns is None else [list(turn) for turn in window.turns],
        **_fields({"extraction_strength": None} | {m.name: m.compute(outcome) for m in told} | written),
    )


def _ranks(window: Window, found: _Found, gives: Capabilities) -> NDArray[np.int32] | None:
    """Return the ranks of the suffix, of a model that is not scored from left to right by what it wrote."""
    if Capability.LEFT_TO_RIGHT in gives:
        return None if found.scores is None else found.scores.rank
    # The ranks of a masked model know both sides of a token.
    if found.written is None or len(found.written) != len(window.suffix):
        return None
    return _differences(window, found.written)


def _check_answer(window: Window, log_prob: float | None, written: TokenIds | None, *, whole: bool) -> None:
    """Refuse what is no logarithm of a probability, and a continuation of another length than was asked."""
    wrong = log_prob is not None and not log_prob <= ROUNDING
    least = len(window.suffix) if whole else min(1, len(window.suffix))
    if wrong or (written is not None and not least <= len(written) <= len(window.suffix)):
        raise ModelError(
            f"{window.source}: the model gave log p = {log_prob} and"
            f" {None if written is None else len(written)} tokens for {len(window.suffix)}",
            "its scores are not log-probabilities, or its continuations not as long as requested",
        )


def _continued(model: LanguageModel, window: Window, outcome: Outcome, found: _Found) -> dict[str, Any]:
    """Return whether the model ended the text and, where that is to be compared, what it wrote before."""
    assert found.written is not None, "it was continued"
    written = before_end(found.written, model.end_ids, window.suffix)
    ended = len(written) < len(found.written)
    given_up = not ended and len(written) < len(window.suffix)
    values: dict[str, Any] = {}
    if found.compared:
        outcome = dataclasses.replace(outcome, written=written, text=_text(model, window, written))
        values = {"continuation_ids": written.tolist(), "continuation_text": outcome.text, "given_up": given_up}
    if found.compared and not given_up:
        measured = {m.name: m.compute(outcome) for m in METRICS.values() if m.of == "writing"}
        # What was not written is like nothing, where a measure of it is defined.
        values |= {name: 0.0 if value is None and ended else value for name, value in measured.items()}
    return values | {"ended": None if given_up or not model.end_ids else ended}


def _text(model: LanguageModel, window: Window, written: TokenIds) -> str:
    same = np.array_equal(window.suffix, written)
    # Token borders may lie inside a character, which then decodes to nothing readable.
    return window.suffix_text if same else continuation_text(model.tokenizer, window.prefix, written)


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as the fields of a record; those of metrics that other packages declare stand together."""
    others = {name: values[name] for name in declared() if name in values}
    return {name: value for name, value in values.items() if name not in others} | {"others": others or None}
