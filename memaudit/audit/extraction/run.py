"""Does the model continue its training text verbatim, more than text it never saw?

`audit` reads top to bottom as the data flows: text -> windows -> one scoring pass and the continuations
that are needed -> their copies in the training text -> one log line a window -> evidence and verdict -> run directory.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from memaudit.audit.extraction.asked import Pair, ask
from memaudit.audit.extraction.copies import count_copies
from memaudit.audit.extraction.evidence import conclude
from memaudit.audit.extraction.options import AuditOptions
from memaudit.audit.extraction.plan import BLOCK, make_plan
from memaudit.audit.extraction.result import Audit
from memaudit.audit.measures import Measure, measures
from memaudit.audit.measures.logged import check_measures, measure_all
from memaudit.audit.measures.membership import MEMBERSHIP
from memaudit.audit.measures.text_alone import TEXT_ALONE
from memaudit.errors import ModelError
from memaudit.inputs import reads_files
from memaudit.invocation import Invocation, python_call
from memaudit.metrics import fuzzy, verbatim
from memaudit.models.base import LanguageModel
from memaudit.models.decoding import before_end
from memaudit.models.load import load_model
from memaudit.models.memory import in_halves
from memaudit.models.sampling import continuation_text
from memaudit.records import SHOWN, Shown, TokenIds, TokenScores, Window, WindowRecord
from memaudit.report.disclosure import disclosed, without_texts
from memaudit.report.formats import writers
from memaudit.runs import PARQUET, FinishedRun, RunDirectory, run_folder
from memaudit.tables import write_parquet
from memaudit.text.index.corpus_index import CorpusIndex

LOOKED_AT = 64
"""Training windows that are continued to see whether the model ends them, where nothing else asks for that."""
ROUNDING = 1e-3
"""Nats by which a sum of log-probabilities may exceed 0."""

Place = tuple[str, int]
"""Document and first token of a window of training text."""
Progress = Callable[[int, int], None]
"""Called with (windows done, windows in all)."""


@reads_files
def audit(
    model: str | Path | LanguageModel,
    train: str | Sequence[str] = (),
    heldout: str | Sequence[str] = (),
    *,
    windows: Pair | None = None,
    heldout_windows: Pair | None = None,
    index: str | Path | None = None,
    out: str | Path | None = None,
    options: AuditOptions | None = None,
    name: str = "",
    invocation: Invocation | None = None,
    formats: Sequence[str] = ("html",),
    shown: Shown = SHOWN,
    progress: Progress | None = None,
    **fields: Any,
) -> Audit:
    """Audit a model for verbatim and fuzzy memorization of its training text.

    Args:
        model: A model folder, a Hugging Face id, ``python:module:factory``, or a loaded model.
        train: Specs of text the model was trained on.
        heldout: Specs of text of the same kind that it never saw.
        windows: Instead of both: ``.npy`` files of prefixes and suffixes of training text, as token ids.
        heldout_windows: The same of text that it never saw.
        index: Folder of an index of words of all text the model was trained on, to count copies in; by default
            one of ``train`` is made in memory.
        out: Run directory; the same call resumes what stands in it. By default ``runs/MODEL-IDENTITY``.
        options: What to measure.
        name: How the report calls the model; by default the spec it was given as.
        invocation: What repeats the run; by default this call.
        formats: What to write beside report.json and records.parquet: ``html``, ``junit``, ``md``.
        shown: What of the texts may stand in these files. The log of the run keeps them: it goes on from there.
        progress: Told after every block.
        **fields: Single options by name (``limit=200``), over those in ``options``.

    Returns:
        The finished audit: verdict, report, records, and where they lie.

    Raises:
        MemauditError: Bad input, a refused model, or a run directory that cannot be used.
    """
    repeated = invocation or python_call("memaudit.audit", audit, locals())
    chosen_writers = writers(formats, shown=shown)
    chosen = dataclasses.replace(options or AuditOptions(), **fields)
    compared: list[Measure] = [TEXT_ALONE, MEMBERSHIP] if chosen.membership else []
    taken = [*measures(list(chosen.measures)), *compared]
    loaded = load_model(str(model)) if isinstance(model, str | Path) else model
    name = name or (str(model) if isinstance(model, str | Path) else loaded.family)
    opened = None if index is None else CorpusIndex.open(index)
    if opened is not None:
        opened.verify()
    asked, chosen = ask(loaded, (train, heldout), (windows, heldout_windows), chosen, opened)
    training = asked.training_index(needed=True) if taken else None
    subject = asked.subject(loaded, training, chosen) if taken else None
    if subject is not None:
        check_measures(taken, subject)
    peers = subject.peers if subject is not None else None
    plan = make_plan(
        loaded, name, asked, chosen, taken, repeated, membership=None if peers is None else peers.describe()
    )
    folder = run_folder(out, _file_name(loaded.family), plan)
    with RunDirectory.open(folder, plan) as run:
        if peers is not None:
            peers.settle(folder)
        started = perf_counter()
        blocks = _blocks(len(asked.drawn.windows))
        training = training or asked.training_index(needed=bool(run.pending(blocks)))
        _measure_all(loaded, asked.drawn.windows, run, chosen.fuzzy, training, progress)
        run.times["windows"] = perf_counter() - started
        records = [WindowRecord(**run.records[i]) for i in range(len(asked.drawn.windows))]
        whole = None if subject is None else dataclasses.replace(subject, records=records)
        sections = [] if whole is None else measure_all(taken, whole, run, progress)
        report = conclude(run.plan, records) | {"sections": sections}
        _write(run, report, records, shown)
        files = [write(folder) for write in chosen_writers]
    return Audit(folder, report, files, run.notice, shown, records)


def _write(run: RunDirectory, report: dict[str, Any], records: Sequence[WindowRecord], shown: Shown) -> None:
    """Write table and report, with no more text than may be shown; both are data, in which nothing is masked."""
    write_parquet(records if shown.text else without_texts(records), run.folder / PARQUET)
    finished = FinishedRun(report, records)
    run.finish(disclosed(finished, Shown(shown.text, personal=True)).report)


def measure(
    model: LanguageModel,
    windows: Sequence[Window],
    first: int,
    fuzzy: bool,
    looked_at: Collection[Place] = (),
) -> list[WindowRecord]:
    """Score a block of windows in one pass and continue those that need it.

    For next-token models the pass decides what greedy decoding would emit: it reproduces the suffix
    exactly when every rank is 0. A masked model must fill in the suffix to show what it would write.

    Args:
        model: Any model.
        windows: Windows whose suffixes are equally long.
        first: Index in the plan of the first of them.
        fuzzy: Whether windows that are not verbatim are continued too.
        looked_at: Windows that are continued in any case, to see whether the model ends them.
    """
    scores = list(model.score(windows))
    masked = model.objective == "masked"
    known = [not masked and verbatim.is_extractable(s.rank) for s in scores]
    kept = [masked or fuzzy or sure for sure in known]
    asked = [i for i, w in enumerate(windows) if not known[i] and (kept[i] or (w.member and _place(w) in looked_at))]
    continuations: dict[int, TokenIds] = {i: windows[i].suffix for i, sure in enumerate(known) if sure}
    if asked:
        produced = model.greedy_continuations([windows[i] for i in asked])
        continuations |= dict(zip(asked, produced, strict=True))
    return [
        _record(model, first + i, window, scores[i], continuations.get(i), kept[i]) for i, window in enumerate(windows)
    ]


def _record(
    model: LanguageModel, index: int, window: Window, scores: TokenScores, continuation: TokenIds | None, kept: bool
) -> WindowRecord:
    ranks = scores.rank
    if model.objective == "masked" and continuation is not None:
        # What a masked model writes shows in what it filled in; its ranks know both sides of a token.
        ranks = (continuation != window.suffix).astype(np.int32)
    log_prob = float(scores.log_prob.sum())
    if not log_prob <= ROUNDING or (continuation is not None and len(continuation) != len(window.suffix)):
        raise ModelError(
            f"{window.source}: the model gave log p = {log_prob} and"
            f" {None if continuation is None else len(continuation)} tokens for {len(window.suffix)}",
            "its scores are not log-probabilities, or its continuations not as long as was asked",
        )
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
        log_prob=log_prob if np.isfinite(log_prob) else None,
        matched=verbatim.matched_tokens(ranks),
        extractable=verbatim.is_extractable(ranks),
        extraction_strength=None if model.objective == "masked" else verbatim.extraction_strength(ranks),
        **({} if continuation is None else _continued(model, window, continuation, kept)),
    )


def _continued(model: LanguageModel, window: Window, continuation: TokenIds, kept: bool) -> dict[str, Any]:
    """Return whether the model ended the text and, where that is to be kept, what it wrote before."""
    written = before_end(continuation, model.end_ids, window.suffix)
    ended = len(written) < len(continuation)
    values = _overlap(model, window, written) if kept else {}
    if ended:  # what was not written is like nothing, where a measure of it is defined
        values = {name: 0.0 if value is None else value for name, value in values.items()}
    return values | {"ended": ended if model.end_ids else None}


def _overlap(model: LanguageModel, window: Window, continuation: TokenIds) -> dict[str, Any]:
    true = window.suffix
    same = np.array_equal(true, continuation)
    # Token borders may lie inside a character, which then decodes to nothing readable.
    text = window.suffix_text if same else continuation_text(model.tokenizer, window.prefix, continuation)
    return {
        "continuation_ids": continuation.tolist(),
        "continuation_text": text,
        "longest_common": verbatim.longest_common_run(true, continuation).length,
        "edit_similarity": fuzzy.edit_similarity(true, continuation),
        "edit_similarity_text": fuzzy.edit_similarity(window.suffix_text, text),
        "rouge_l": fuzzy.rouge_l(true, continuation),
        "rouge_l_text": fuzzy.rouge_l_text(window.suffix_text, text),
        "bleu": fuzzy.bleu(true, continuation),
    }


def _blocks(count: int) -> list[range]:
    return [range(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK)]


def _measure_all(
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
    for block in _blocks(len(windows)):
        if run.pending([block]):
            records = _measured(model, [windows[i] for i in block], block[0], fuzzy, looked_at, run)
            if training is not None:
                records = count_copies(records, training)
            run.append([dataclasses.asdict(record) for record in records])
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
    """Measure a block; where memory runs out, in halves, which the user is told."""
    records, size = in_halves(lambda some: measure(model, some, first, fuzzy, looked_at), windows)
    if size < len(windows):
        told = f"memory ran out: from window {first} on, {size} were read at a time"
        run.notice = "; ".join(filter(None, (run.notice, told)))
    return [dataclasses.replace(record, index=first + place) for place, record in enumerate(records)]


def _place(window: Window) -> Place:
    return window.document, window.start


def _file_name(family: str) -> str:
    """Return a family as part of a file name: a stranger's model may call itself ``../../etc``."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", family)[:40]
