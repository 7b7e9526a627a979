"""Laws of memorization: a grid of small models trained on planted passages, and the lines through what they reproduce.

Carlini et al. 2022 found that the fraction of text that a model reproduces grows with the logarithm of its parameters,
of the copies in training, and of the context it is given. `laws` trains every size with every seed, asks every model
for passages of every dose at every context, and fits the three lines; a line that is none is reported as such.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np

from memaudit.audits.laws.conclude import conclude
from memaudit.audits.lifecycle import Delivery, carry_out
from memaudit.audits.result import RunResult
from memaudit.audits.small_models import check_sizes, suite_defaults
from memaudit.audits.suite import Log, Suite, Training
from memaudit.errors import InputError
from memaudit.families import GPT
from memaudit.models.base import LanguageModel
from memaudit.records import Document, TokenIds, Window
from memaudit.runs.directory import RunDirectory
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.log_lines import LawsLine
from memaudit.runs.options import LawsOptions as StoredOptions
from memaudit.runs.plans import LawsPlan, LawsSubject, PassageCorpus
from memaudit.runs.reports import LawsReport
from memaudit.runs.schema import as_record
from memaudit.text.corpus.objects import Listed, TextSource, listed
from memaudit.text.corpus.read import read_corpus
from memaudit.text.planting.canaries import Planting, plant
from memaudit.text.planting.passages import corpus_passages, library_passages
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from memaudit.training.train import SmallTraining

VOCABULARY = 1024
TOGETHER = 64
"""Passages of one training document. Rows are cut from it anywhere, so a passage has no place of its own in a row."""
SLACK = 16
"""Tokens of a passage around what is asked of it: lengths vary a little between two tokenizers."""
FIRST = 4
"""Token of a passage at which the longest context begins: its first ones are left to what stands before."""


@dataclass(frozen=True, slots=True)
class LawsOptions:
    """What is trained and asked.

    Raises:
        InputError: A value makes no grid.
    """

    family: str = GPT.name
    sizes: tuple[int, ...] = (32, 64, 128, 256)
    """Widths of transformers (two blocks) and LSTMs (one layer), orders of n-grams."""
    doses: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    contexts: tuple[int, ...] = (5, 10, 20, 40, 80)
    """Tokens right before the suffix, which is the same at every context."""
    suffix: int = 30
    seeds: int = 3
    """Trainings a size; each draws the doses, the order and the initial weights anew."""
    per_dose: int = 16
    background: int = 300
    """Passages that occur once in the training text and are not queried."""
    epochs: float = 6.0
    seed: int = 0
    """The first of the seeds."""

    def __post_init__(self) -> None:
        for name in ("sizes", "doses", "contexts"):
            values = getattr(self, name)
            if not values or min(values) < 1 or len(set(values)) < len(values):
                raise InputError(f"--{name} must be different whole numbers of at least 1", "as 1,2,4,8")
        for name in ("suffix", "seeds", "per_dose"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}")
        check_sizes(self.family, self.sizes, max(self.contexts) + self.suffix)

    @classmethod
    def for_family(cls, family: str, **changes: Any) -> LawsOptions:
        """Return the defaults of a family with ``changes`` over them; None changes nothing."""
        given = {name: value for name, value in changes.items() if value is not None}
        return cls(**{"family": family} | dict(suite_defaults("laws", family)) | given)

    @property
    def passage_tokens(self) -> int:
        """Length of a passage."""
        return FIRST + max(self.contexts) + self.suffix + SLACK


@dataclass(frozen=True, slots=True)
class Text:
    """The passages of a suite and the one tokenizer of all its models."""

    passages: list[Document]
    tokenizer: TrainedTokenizer
    about: PassageCorpus


class _Matched(TypedDict):
    documents: list[str]
    copies: list[int]
    matched: list[list[int]]
    too_short: int


class _Answer(_Matched):
    size: int
    seed: int


def laws(
    out: str | Path | None = None,
    corpus: TextSource = (),
    *,
    options: LawsOptions | None = None,
    threads: int | None = None,
    formats: Sequence[str] = ("html",),
    log: Log = lambda _: None,
    invocation: Invocation | None = None,
    **fields: Any,
) -> RunResult[LawsReport]:
    """Train the grid, query it, fit the laws; the same call resumes what is in the folder.

    Args:
        out: Run directory; the models are kept in it. By default ``runs/laws-IDENTITY``.
        corpus: Specs of text to take passages from; by default the text of the Python installation.
        options: What to train and ask.
        threads: Of torch; all cores by default.
        formats: What to write beside report.json.
        log: Called with a line after every training.
        invocation: What repeats the run; by default this call.
        **fields: Single options by name (``seeds=1``), over those in ``options``.

    Raises:
        MemauditError: Bad input, too few passages, or a folder that cannot be used.
    """
    repeated = invocation or python_call("memaudit.laws", laws, locals())
    chosen = dataclasses.replace(options or LawsOptions(), **fields)
    return carry_out(Laws(listed(corpus, "corpus"), chosen, threads, log), Delivery(repeated, out, formats))


class Laws(Suite[LawsReport]):
    """A grid of trainings, each asked for its passages as soon as it is done."""

    kind = "laws"

    def __init__(self, corpus: Listed, options: LawsOptions, threads: int | None, log: Log) -> None:
        super().__init__(corpus, options, threads, log)
        self.options, self.grid = options, _grid(options)

    def prepare(self) -> None:
        """Read the text, and refuse too little of it before the folder is taken."""
        self.text = _text(self.corpus, self.options)
        _planting(self.options, self.text, self.options.seed)

    def plan(self) -> LawsSubject:
        """Return options and text."""
        return {
            "options": {**as_record(self.options, StoredOptions), "passage_tokens": self.options.passage_tokens},
            "corpus": self.text.about,
            "tokenizer_sha256": self.text.tokenizer.sha256,
        }

    @property
    def trainings(self) -> int:
        """One a cell of the grid."""
        return len(self.grid)

    def training(self, index: int) -> Training:
        """Return the training of a cell: every seed draws the doses anew."""
        (size, seed), tokenizer = self.grid[index], self.text.tokenizer
        documents = list(_documents(_planting(self.options, self.text, seed), tokenizer))
        name, folder = f"{self.family} {size}, seed {seed}", f"{self.family}-{size}-{seed}"
        return Training(name, folder, SmallTraining(tokenizer, documents, size, seed, self.epochs, self.threads))

    def asked(self, model: LanguageModel, index: int) -> _Answer:
        """Return what the model reproduces."""
        size, seed = self.grid[index]
        return {"size": size, "seed": seed, **_matched(model, self.options, self.text, seed)}

    def conclude(self, run: RunDirectory) -> LawsReport:
        """Fit the three laws."""
        return conclude(run.plan_as(LawsPlan), [cast("LawsLine", run.records[i]) for i in range(len(self.grid))])


def _grid(options: LawsOptions) -> list[tuple[int, int]]:
    """Return (size, seed) of every training, small ones first."""
    return [(size, options.seed + i) for i in range(options.seeds) for size in options.sizes]


def _text(specs: Listed, options: LawsOptions) -> Text:
    length, corpus = options.passage_tokens, read_corpus(specs) if specs else None
    passages = corpus_passages(corpus, length, VOCABULARY) if corpus else library_passages(length, VOCABULARY)
    # Every passage counts once, planted or not: the tokens of twins are no coarser than those of copies.
    tokenizer = train_tokenizer("bpe", [passage.text for passage in passages], VOCABULARY)
    digest = hashlib.sha256("\0".join(p.text for p in passages).encode("utf-8", "surrogatepass"))
    count, sha256 = len(passages), digest.hexdigest()
    if corpus is not None:
        return Text(passages, tokenizer, {**corpus.summary(), "passages": count, "sha256": sha256})
    units = "text of the Python installation: reference, docstrings, sources"
    return Text(passages, tokenizer, {"specs": [], "units": units, "passages": count, "sha256": sha256})


def _planting(options: LawsOptions, text: Text, seed: int) -> Planting:
    """Return the training text of a seed: background, passages and doses are drawn from all passages."""
    needed = options.background + 2 * options.per_dose * len(options.doses)
    if len(text.passages) < needed:
        raise InputError(
            f"planting needs {needed:,} passages of {options.passage_tokens} tokens, the text gives"
            f" {len(text.passages):,}",
            "give more text, or lower --per-dose or --background",
        )
    background, passages = text.passages[: options.background], text.passages[options.background :]
    return plant(passages, background, doses=options.doses, per_dose=options.per_dose, seed=seed)


def _documents(planting: Planting, tokenizer: TrainedTokenizer) -> Iterator[TokenIds]:
    """Yield the training documents: many passages each, blank lines between them.

    Joined as ids, not as text, so that a passage has the same tokens wherever it stands.
    """
    (blank,) = tokenizer.encode_batch(["\n\n"])
    texts = [encoding.ids for encoding in tokenizer.encode_batch([d.text for d in planting.training])]
    for first in range(0, len(texts), TOGETHER):
        parts = [part for ids in texts[first : first + TOGETHER] for part in (ids, blank.ids)]
        yield np.concatenate(parts[:-1])


def _matched(model: LanguageModel, options: LawsOptions, text: Text, seed: int) -> _Matched:
    """Return what the model reproduces: for every passage and context the suffix tokens before the first difference."""
    planting = _planting(options, text, seed)
    passages = [*planting.planted, *planting.twins]
    place = FIRST + max(options.contexts)
    texts = [encoding.ids for encoding in text.tokenizer.encode_batch([d.text for d in passages])]
    kept = [i for i, ids in enumerate(texts) if len(ids) >= place + options.suffix]
    windows = [
        Window(texts[i][place - context : place], texts[i][place : place + options.suffix])
        for i in kept
        for context in options.contexts
    ]
    matched = model.screen(windows).reshape(len(kept), len(options.contexts)) if windows else np.empty((0, 0), int)
    return {
        "documents": [passages[i].id for i in kept],
        "copies": [passages[i].copies or 0 for i in kept],
        "matched": matched.tolist(),
        "too_short": len(passages) - len(kept),
    }
