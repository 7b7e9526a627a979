"""Does the model continue its training text verbatim, more than text it never saw?

`audit` reads top to bottom as the data flows: text -> windows -> one scoring pass and the continuations
that are needed -> their copies in the training text -> one log line a window -> evidence and verdict -> run directory.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from memaudit.audits.detectors.blind_baseline import BLIND_BASELINE
from memaudit.audits.detectors.membership import MEMBERSHIP
from memaudit.audits.extraction.conclude import conclude
from memaudit.audits.extraction.inputs import Pair, ask
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.extraction.plan import make_plan
from memaudit.audits.extraction.result import Audit
from memaudit.audits.extraction.windows import blocks_of, measure_windows
from memaudit.audits.logged import check_measures, measure_all
from memaudit.audits.measures import Measure, measures
from memaudit.models.base import LanguageModel
from memaudit.models.load import load_model
from memaudit.records import SHOWN, Shown, WindowRecord
from memaudit.report.disclosure import disclosed
from memaudit.report.extraction_disclosure import without_texts
from memaudit.report.formats import writers
from memaudit.runs.directory import PARQUET, ReportInput, RunDirectory, run_folder
from memaudit.runs.inputs import reads_files
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.parquet import write_parquet
from memaudit.text.index.corpus_index import CorpusIndex

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
    compared: list[Measure] = [BLIND_BASELINE, MEMBERSHIP] if chosen.membership else []
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
    reference_models = subject.reference_models if subject is not None else None
    plan = make_plan(
        loaded,
        name,
        asked,
        chosen,
        taken,
        repeated,
        membership=None if reference_models is None else reference_models.describe(),
    )
    folder = run_folder(out, _file_name(loaded.family), plan)
    with RunDirectory.open(folder, plan) as run:
        if reference_models is not None:
            reference_models.prepare(folder)
        started = perf_counter()
        blocks = blocks_of(len(asked.drawn.windows))
        training = training or asked.training_index(needed=bool(run.pending(blocks)))
        measure_windows(loaded, asked.drawn.windows, run, chosen.fuzzy, training, progress)
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
    finished = ReportInput(report, records)
    run.finish(disclosed(finished, Shown(shown.text, personal=True)).report)


def _file_name(family: str) -> str:
    """Return a family as part of a file name: a stranger's model may call itself ``../../etc``."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", family)[:40]
