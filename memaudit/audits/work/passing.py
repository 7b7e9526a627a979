"""One pass over a work with as much context as fits, by which windows are passed over that nobody needs to read.

Every slice begins ``prefix`` tokens before the first token that it is asked for, so that at least as much stands before
every token as in a window of its own, and few tokens are read twice.
"""

from __future__ import annotations

import base64
import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from memaudit.audits.document_scores import readable
from memaudit.audits.work.texts import WholeWork
from memaudit.metrics.probability import THRESHOLDS
from memaudit.models.base import LanguageModel
from memaudit.models.memory import in_halves
from memaudit.records import Decoding, FloatArray
from memaudit.runs.directory import RunDirectory

LONGEST = 512
"""Tokens of a slice: longer ones cost more in attention than they save in tokens that are read twice."""
SLICES = 8
"""Slices that are read and logged together."""
FEW = 64
"""A work of no more windows is read window by window."""
PAYS = 2.0
"""Reading every window by itself must cost more than so many passes."""
MARGIN = 0.4
"""Nats a token of the suffix by which a window may lie below the smallest threshold and is read by itself all the
same."""
FLOOR = -10.0
"""Nats to which a token's log p counts: two tokens that sampling never gives do not rule a window of 50 out."""
LIKELY = 0.9
"""Share of greedy tokens from which on a window is read by itself."""


def pass_pays(model: LanguageModel, work: WholeWork) -> bool:
    """Whether a pass and the windows that it leaves are read sooner than all windows, if few are memorized."""
    length, options = _length(model), work.options
    if work.windows <= FEW or length <= 2 * options.prefix:
        return False
    return options.window / options.stride > PAYS * length / (length - options.prefix)


def likely_windows(
    model: LanguageModel, work: WholeWork, decoding: Decoding, run: RunDirectory, first: int, name: str = "pass"
) -> tuple[NDArray[np.bool_], FloatArray, int]:
    """Pass over a work and return which windows may reach the smallest threshold or be greedy, shape [windows].

    Args:
        model: A next-token model.
        work: With windows.
        decoding: How samples are drawn.
        run: Slices that its log lacks are read and logged.
        first: Index of the first line.
        name: Of the lines.

    Returns:
        The windows, their log p in the pass, and the index behind the last line.
    """
    log_p = np.zeros(len(work.ids), np.float32)
    greedy = np.zeros(len(work.ids), np.bool_)
    starts = range(work.options.prefix, len(work.ids), SLICES * (_length(model) - work.options.prefix))
    for index, start in enumerate(starts, first):
        stop = min(len(work.ids), start + starts.step)
        if run.pending([range(index, index + 1)]):
            run.append(
                [{"index": index, "measure": name, "work": work.number, **_read(model, work, decoding, start, stop)}]
            )
        line = run.records[index]
        log_p[start:stop] = np.frombuffer(base64.b64decode(line["log_p"]), "<f4")
        hits = np.unpackbits(np.frombuffer(base64.b64decode(line["greedy"]), np.uint8), count=stop - start)
        greedy[start:stop] = hits.astype(np.bool_)
    return *_likely(work, log_p.astype(np.float64), greedy), first + len(starts)


def _length(model: LanguageModel) -> int:
    """Return how many tokens a slice has at most."""
    return min(LONGEST, readable(model) or LONGEST)


def _read(model: LanguageModel, work: WholeWork, decoding: Decoding, start: int, stop: int) -> dict[str, object]:
    """Return what is logged of tokens ``start:stop``, packed."""
    prefix = work.options.prefix
    step = _length(model) - prefix
    slices = [work.cut(at - prefix, at, min(at + step, stop)) for at in range(start, stop, step)]
    scores, _ = in_halves(lambda some: list(model.score(some, decoding)), slices)
    log_p = np.concatenate([own.log_prob for own in scores])
    hits = np.concatenate([own.rank == 0 for own in scores])
    return {
        "first": start,
        "log_p": base64.b64encode(np.maximum(log_p, FLOOR).astype("<f4").tobytes()).decode("ascii"),
        "greedy": base64.b64encode(np.packbits(hits).tobytes()).decode("ascii"),
    }


def _likely(work: WholeWork, log_p: FloatArray, greedy: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], FloatArray]:
    prefix, suffix, stride = work.options.prefix, work.options.suffix, work.options.stride
    sums = sliding_window_view(log_p, suffix)[prefix::stride].sum(axis=1)
    hits = sliding_window_view(greedy, suffix)[prefix::stride].sum(axis=1)
    near: NDArray[np.bool_] = (sums >= math.log(THRESHOLDS[0]) - MARGIN * suffix) | (hits >= LIKELY * suffix)
    return near, sums
