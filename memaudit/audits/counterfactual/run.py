"""What does a model know of a text only because it saw it? Many models, each trained on a random half of a corpus.

Text that is common or easy is predicted by models that never saw it; what remains after subtracting that is
counterfactual memorization (Zhang et al. 2021). Many trainings are needed, so this is for models that train in
seconds.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np

from memaudit.audits.counterfactual.conclude import conclude
from memaudit.audits.document_scores import score_documents
from memaudit.audits.lifecycle import Delivery, carry_out
from memaudit.audits.result import RunResult
from memaudit.audits.small_models import check_sizes, suite_defaults
from memaudit.audits.suite import Log, Suite, Training
from memaudit.errors import InputError
from memaudit.families import NGRAM
from memaudit.metrics.counterfactual import assign
from memaudit.metrics.likelihood import loss_score
from memaudit.models.base import LanguageModel
from memaudit.records import Document, TokenIds
from memaudit.runs.directory import RunDirectory
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.log_lines import CounterfactualLine
from memaudit.runs.options import CounterfactualOptions as StoredOptions
from memaudit.runs.parts import Summary
from memaudit.runs.plans import CounterfactualPlan, CounterfactualSubject
from memaudit.runs.reports import CounterfactualReport, DescribedDocument
from memaudit.runs.schema import as_record
from memaudit.text.corpus.fields import TextField
from memaudit.text.corpus.objects import Listed, TextSource, listed
from memaudit.text.corpus.read import Split, read_corpus
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from memaudit.training.train import SmallTraining

MIN_TOKENS = 2
"""Of a document: its first token follows from nothing."""


@dataclass(frozen=True, slots=True)
class CounterfactualOptions:
    """What is trained.

    Raises:
        InputError: A value lies outside its range.
    """

    family: str = NGRAM.name
    size: int = 5
    """Width of a transformer or LSTM, order of an n-gram."""
    models: int = 8
    share: float = 0.5
    """Of the models that see a document."""
    epochs: float = 1.0
    vocab_size: int = 4096
    tokens: int = 512
    """Tokens of a document that are scored, from its start; models are trained on all of it."""
    seed: int = 0
    text_field: TextField = "text"
    split: Split = "auto"

    def __post_init__(self) -> None:
        if self.models < 2:
            raise InputError("--models must be at least 2", "one model has no counterpart")
        if not 0 < self.share < 1:
            raise InputError(f"--share must lie between 0 and 1, not {self.share:g}")
        for name, least in (("size", 1), ("tokens", MIN_TOKENS), ("vocab_size", 2)):
            if getattr(self, name) < least:
                raise InputError(f"--{name.replace('_', '-')} must be at least {least}, not {getattr(self, name)}")
        check_sizes(self.family, [self.size])

    @classmethod
    def for_family(cls, family: str, **changes: Any) -> CounterfactualOptions:
        """Return the defaults of a family with ``changes`` over them; None changes nothing."""
        given = {name: value for name, value in changes.items() if value is not None}
        return cls(**{"family": family} | dict(suite_defaults("counterfactual", family)) | given)


class _About(Summary):
    too_short: int


class _Scores(TypedDict):
    greedy: list[int]
    log_prob: list[float]


@dataclass(frozen=True, slots=True)
class _Text:
    documents: list[Document]
    copies: list[int]
    """How often the text of each occurs in the corpus."""
    texts: list[int]
    """Number of the text of each: that of its copies too."""
    ids: list[TokenIds]
    tokenizer: TrainedTokenizer
    about: _About


def counterfactual(
    corpus: TextSource,
    out: str | Path | None = None,
    *,
    options: CounterfactualOptions | None = None,
    threads: int | None = None,
    formats: Sequence[str] = ("html",),
    log: Log = lambda _: None,
    invocation: Invocation | None = None,
    **fields: Any,
) -> RunResult[CounterfactualReport]:
    """Train the models, score every document by all of them; the same call resumes what is in the folder.

    Args:
        corpus: Specs of the text.
        out: Run directory; the models are kept in it. By default ``runs/counterfactual-IDENTITY``.
        options: What to train.
        threads: Of torch; all cores by default.
        formats: What to write beside report.json.
        log: Called with a line after every model.
        invocation: What repeats the run; by default this call.
        **fields: Single options by name (``models=16``), over those in ``options``.

    Raises:
        MemauditError: Bad input, too little text, or a folder that cannot be used.
    """
    repeated = invocation or python_call("memaudit.counterfactual", counterfactual, locals())
    chosen = dataclasses.replace(options or CounterfactualOptions(), **fields)
    return carry_out(Counterfactual(listed(corpus, "corpus"), chosen, threads, log), Delivery(repeated, out, formats))


class Counterfactual(Suite[CounterfactualReport]):
    """Models of random halves, each of which scores all documents."""

    kind = "counterfactual"

    def __init__(self, corpus: Listed, options: CounterfactualOptions, threads: int | None, log: Log) -> None:
        super().__init__(corpus, options, threads, log)
        self.options = options

    def prepare(self) -> None:
        """Read the text and draw who sees what."""
        options = self.options
        self.text = _read(self.corpus, options)
        self.member = assign(len(self.text.documents), options.models, options.share, options.seed)
        if not self.member.any(axis=1).all():
            raise InputError(
                f"{len(self.text.documents):,} documents leave a model of {options.models} without any",
                "give more documents, or fewer --models",
            )

    def plan(self) -> CounterfactualSubject:
        """Return options and text."""
        texts = "\0".join(d.text for d in self.text.documents).encode("utf-8", "surrogatepass")
        return {
            "options": as_record(self.options, StoredOptions),
            "corpus": {**self.text.about, "sha256": hashlib.sha256(texts).hexdigest()},
            "tokenizer_sha256": self.text.tokenizer.sha256,
        }

    @property
    def trainings(self) -> int:
        """One a random half."""
        return self.options.models

    def training(self, index: int) -> Training:
        """Return the training of a half."""
        documents = [self.text.ids[i] for i in np.flatnonzero(self.member[index])]
        name, seed = f"model {index}, {len(documents):,} documents", self.options.seed + index
        tokenizer, size = self.text.tokenizer, self.options.size
        return Training(name, str(index), SmallTraining(tokenizer, documents, size, seed, self.epochs, self.threads))

    def asked(self, model: LanguageModel, index: int) -> _Scores:  # noqa: ARG002 (every model is asked the same)
        """Return its scores of all documents."""
        return _scores(model, [ids[: self.options.tokens] for ids in self.text.ids])

    def conclude(self, run: RunDirectory) -> CounterfactualReport:
        """Subtract what models know that never saw a document."""
        records = [cast("CounterfactualLine", run.records[i]) for i in range(self.options.models)]
        return conclude(run.plan_as(CounterfactualPlan), _described(self.text, self.options), self.member, records)


def _read(specs: Listed, options: CounterfactualOptions) -> _Text:
    corpus = read_corpus(specs, text_field=options.text_field, split=options.split)
    documents = list(corpus)
    # Once each: copies of a document must not shape the vocabulary in their own favour.
    tokenizer = train_tokenizer("bpe", list(dict.fromkeys(d.text for d in documents)), options.vocab_size)
    ids = [encoding.ids for encoding in tokenizer.encode_batch([d.text for d in documents])]
    long_enough = [i for i, tokens in enumerate(ids) if len(tokens) >= MIN_TOKENS]
    times = Counter(d.text for d in documents)
    numbers = {text: number for number, text in enumerate(times)}
    about: _About = {**corpus.summary(), "too_short": len(ids) - len(long_enough)}
    kept = [documents[i] for i in long_enough]
    copies, texts = [times[d.text] for d in kept], [numbers[d.text] for d in kept]
    return _Text(kept, copies, texts, [ids[i] for i in long_enough], tokenizer, about)


def _scores(model: LanguageModel, texts: Sequence[TokenIds]) -> _Scores:
    """Return of each text, its first token left out, how many tokens greedy decoding gives, and log p per token."""
    greedy, log_prob = [], []
    for scores in score_documents(model, texts):
        greedy.append(int((scores.rank[1:] == 0).sum()))
        log_prob.append(loss_score(scores.log_prob[1:]) or 0.0)
    return {"greedy": greedy, "log_prob": log_prob}


def _described(text: _Text, options: CounterfactualOptions) -> list[DescribedDocument]:
    return [
        {
            "document": document.id,
            "source": document.source,
            "domain": document.domain,
            "text": number,
            "copies": copies,
            "tokens": min(len(ids), options.tokens) - 1,
        }
        for document, number, copies, ids in zip(text.documents, text.texts, text.copies, text.ids, strict=True)
    ]
