"""Does the model continue its training text verbatim, more than text it never saw?

`audit` reads top to bottom as the data flows: text -> windows -> one scoring pass and the continuations
that are needed -> their copies in the training text -> one log line a window -> evidence and verdict -> run directory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from memaudit.audit.controls import check_batches, check_matching, check_round_trip
from memaudit.audit.copies import Measured, count_copies, plan_copies
from memaudit.audit.evidence import conclude
from memaudit.audit.result import Audit
from memaudit.errors import InputError, ModelError
from memaudit.metrics import fuzzy, verbatim
from memaudit.models.base import LanguageModel
from memaudit.models.load import load_model
from memaudit.models.sampling import continuation_text
from memaudit.provenance import versions
from memaudit.records import TokenIds, TokenScores, Window, WindowRecord
from memaudit.report.formats import writers
from memaudit.runs import PARQUET, RunDirectory, identity, write_parquet
from memaudit.text.index.corpus_index import CorpusIndex
from memaudit.text.read import Corpus, Split, read_corpus
from memaudit.text.windows import WindowOptions, WindowSet, draw_windows

BLOCK = 64
"""Windows scored, logged and made durable together. Part of the plan: a resumed run forms the same sums."""

RUNS = Path("runs")
"""Where a run goes that was given no folder: ``runs/MODEL-IDENTITY``, so the same command finds it again."""

ROUNDING = 1e-3
"""Nats by which a sum of log-probabilities may exceed 0."""

Progress = Callable[[int, int], None]
"""Called with (windows done, windows in all)."""


@dataclass(frozen=True, slots=True)
class AuditOptions(WindowOptions):
    """Everything that decides what an audit measures and concludes."""

    max_rate: float = 0.01
    """The policy: the share of training documents that may be extractable."""
    alpha: float = 0.05
    fuzzy: bool = True
    """Whether continuations are produced for windows that are not verbatim, for the fuzzy metrics."""
    copies: bool = True
    """Whether suffixes and other continuations are counted in the training text."""
    text_field: str = "text"
    split: Split = "auto"
    skip_bad: bool = False
    max_expand: int | None = None
    """Bytes that a compressed file may expand to; by default at most 200 times its size."""

    def __post_init__(self) -> None:
        WindowOptions.__post_init__(self)
        for name in ("max_rate", "alpha"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie in [0, 1], not {getattr(self, name)}")


def audit(
    model: str | Path | LanguageModel,
    train: str | Sequence[str],
    heldout: str | Sequence[str],
    *,
    index: str | Path | None = None,
    out: str | Path | None = None,
    options: AuditOptions | None = None,
    name: str = "",
    command: str = "",
    formats: Sequence[str] = ("html",),
    progress: Progress | None = None,
    **fields: Any,
) -> Audit:
    """Audit a model for verbatim and fuzzy memorization of its training text.

    Args:
        model: A model folder, a Hugging Face id, ``python:module:factory``, or a loaded model.
        train: Specs of text the model was trained on.
        heldout: Specs of text of the same kind that it never saw.
        index: Folder of an index of words of all text the model was trained on, to count copies in; by default
            one of ``train`` is made in memory.
        out: Run directory; the same call resumes what stands in it. By default ``runs/MODEL-IDENTITY``.
        options: What to measure.
        name: How the report calls the model; by default the spec it was given as.
        command: The command line that repeats the run, shown in the report.
        formats: What to write beside report.json and records.parquet: ``html``, ``junit``.
        progress: Told after every block.
        **fields: Single options by name (``limit=200``), over those in ``options``.

    Returns:
        The finished audit: verdict, report, records, and where they lie.

    Raises:
        MemauditError: Bad input, a refused model, or a run directory that cannot be used.
    """
    chosen_writers = writers(formats)
    chosen = dataclasses.replace(options or AuditOptions(), **fields)
    loaded = load_model(str(model)) if isinstance(model, str | Path) else model
    name = name or (str(model) if isinstance(model, str | Path) else loaded.family)
    corpora = _corpora(train, heldout, chosen)
    opened = None if index is None else CorpusIndex.open(index)
    training = Measured(corpora[0])
    drawn = draw_windows(training, corpora[1], loaded.tokenizer, chosen)
    copies = plan_copies(chosen.copies, opened, training.characters, corpora[0].summary()["specs"])
    plan = _plan(loaded, name, corpora, drawn, chosen, copies, command)
    folder = Path(out) if out else RUNS / f"{_file_name(loaded.family)}-{plan['identity'][:12]}"
    counted_in = (opened or corpora[0]) if copies["counted"] else None
    with RunDirectory.open(folder, plan) as run:
        started = perf_counter()
        _measure_all(loaded, drawn.windows, run, chosen.fuzzy, counted_in, progress)
        run.times["windows"] = perf_counter() - started
        records = [WindowRecord(**run.records[i]) for i in sorted(run.records)]
        report = conclude(run.plan, records)
        write_parquet(records, folder / PARQUET)
        run.finish(report)
        files = [write(folder) for write in chosen_writers]
    return Audit(folder, report, records, files, run.notice)


def measure(model: LanguageModel, windows: Sequence[Window], first: int, fuzzy: bool) -> list[WindowRecord]:
    """Score a block of windows in one pass and continue those that need it.

    For next-token models the pass decides what greedy decoding would emit: it reproduces the suffix
    exactly when every rank is 0. A masked model must fill in the suffix to show what it would write.

    Args:
        model: Any model.
        windows: Windows whose suffixes are equally long.
        first: Index in the plan of the first of them.
        fuzzy: Whether windows that are not verbatim are continued too.
    """
    scores = list(model.score(windows))
    masked = model.objective == "masked"
    known = [not masked and verbatim.is_extractable(s.rank) for s in scores]
    asked = [i for i, verbatim_already in enumerate(known) if masked or (fuzzy and not verbatim_already)]
    continuations: dict[int, TokenIds] = {i: windows[i].suffix for i, sure in enumerate(known) if sure}
    if asked:
        length = len(windows[asked[0]].suffix)
        produced = model.continuations([windows[i].prefix for i in asked], length)
        continuations |= dict(zip(asked, produced, strict=True))
    return [_record(model, first + i, window, scores[i], continuations.get(i)) for i, window in enumerate(windows)]


def _record(
    model: LanguageModel, index: int, window: Window, scores: TokenScores, continuation: TokenIds | None
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
        **({} if continuation is None else _overlap(model, window, continuation)),
    )


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


def _measure_all(
    model: LanguageModel,
    windows: list[Window],
    run: RunDirectory,
    fuzzy: bool,
    training: CorpusIndex | Corpus | None,
    progress: Progress | None,
) -> None:
    """Measure and log all blocks that the run lacks; copies are counted in ``training``, if there is any."""
    count = len(windows)
    blocks = [range(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK)]
    pending = run.pending(blocks)
    if pending and isinstance(training, Corpus):
        training = CorpusIndex.of_documents(training)
    for block in pending:
        records = measure(model, [windows[i] for i in block], block[0], fuzzy)
        if isinstance(training, CorpusIndex):
            records = count_copies(records, training)
        run.append([dataclasses.asdict(record) for record in records])
        if progress:
            progress(len(run.records), count)


def _corpora(train: str | Sequence[str], heldout: str | Sequence[str], options: AuditOptions) -> tuple[Corpus, Corpus]:
    """Read both sides by the same rule: if one must be cut into blocks, whole files could not match them."""

    def read(specs: str | Sequence[str], split: Split) -> Corpus:
        listed = [specs] if isinstance(specs, str) else list(specs)
        return read_corpus(
            listed,
            text_field=options.text_field,
            split=split,
            max_expand=options.max_expand,
            skip_bad=options.skip_bad,
        )

    corpora = read(train, options.split), read(heldout, options.split)
    if options.split == "auto" and any(corpus.in_blocks for corpus in corpora):
        return read(train, "block"), read(heldout, "block")
    return corpora


def _file_name(family: str) -> str:
    """Return a family as part of a file name: a stranger's model may call itself ``../../etc``."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", family)[:40]


def _plan(
    model: LanguageModel,
    name: str,
    corpora: Sequence[Corpus],
    drawn: WindowSet,
    options: AuditOptions,
    copies: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    batches, behaviour = check_batches(model, drawn.windows)
    body = {
        "schema_version": 1,
        "kind": "extraction",
        "model": _describe_model(model, name) | {"self_test": behaviour},
        "train": corpora[0].summary(),
        "heldout": corpora[1].summary(),
        "options": dataclasses.asdict(options),
        "windows": _describe_windows(drawn),
        "copies": copies,
        "block_size": BLOCK,
        "versions": versions(),
    }
    controls = [check_round_trip(model, drawn.windows), batches, check_matching(drawn)]
    shown = {"controls": [dataclasses.asdict(control) for control in controls], "command": command}
    return body | shown | {"identity": identity(body)}


def _describe_model(model: LanguageModel, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "family": model.family,
        "objective": model.objective,
        "parameters": model.parameters,
        "context_length": model.context_length,
        "sha256": model.sha256,
        "tokenizer_sha256": model.tokenizer.sha256,
        "vocabulary": model.tokenizer.vocab_size,
        "device": model.device,
        "dtype": model.dtype,
        "ignored": list(model.ignored),
    }


def _describe_windows(drawn: WindowSet) -> Mapping[str, Any]:
    digest = hashlib.sha256()
    for window in drawn.windows:
        digest.update(f"{window.member}\0{window.document}\0{window.start}\0".encode("utf-8", "surrogatepass"))
        digest.update(window.prefix.tobytes() + window.suffix.tobytes())
    sides = {name: [w for w in drawn.windows if w.member == member] for name, member in _SIDES}
    return {
        **{name: len(windows) for name, windows in sides.items()},
        **{f"{name}_documents": len({w.document for w in windows}) for name, windows in sides.items()},
        "matching": drawn.matching,
        "set_aside": [dataclasses.asdict(entry) for entry in drawn.set_aside],
        "overlaps": [dataclasses.asdict(overlap) for overlap in drawn.overlaps],
        "sha256": digest.hexdigest(),
    }


_SIDES = (("train", True), ("heldout", False))
