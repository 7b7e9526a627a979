"""What does a model know of a text only because it saw it? Many models, each trained on a random half of a corpus.

Text that is common or easy is predicted by models that never saw it; what remains after subtracting that is
counterfactual memorization (Zhang et al. 2021). Many trainings are needed, so this is for models that train in
seconds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from memaudit.audits.counterfactual.conclude import conclude
from memaudit.audits.document_scores import score_documents
from memaudit.audits.result import RunResult
from memaudit.audits.small_models import MODELS, check_sizes, suite_defaults, train_small
from memaudit.errors import InputError
from memaudit.families import NGRAM
from memaudit.metrics.counterfactual import assign
from memaudit.metrics.likelihood import loss_score
from memaudit.models.base import LanguageModel
from memaudit.records import Document, TokenIds
from memaudit.report.formats import writers
from memaudit.runs.directory import RunDirectory, identity, run_folder
from memaudit.runs.files import strict_json
from memaudit.runs.inputs import reads_files
from memaudit.runs.invocation import Invocation, python_call
from memaudit.runs.provenance import versions
from memaudit.text.corpus.fields import TextField
from memaudit.text.corpus.read import Split, read_corpus
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer

Say = Callable[[str], None]
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


@dataclass(frozen=True, slots=True)
class _Text:
    documents: list[Document]
    copies: list[int]
    """How often the text of each stands in the corpus."""
    texts: list[int]
    """Number of the text of each: that of its copies too."""
    ids: list[TokenIds]
    tokenizer: TrainedTokenizer
    about: dict[str, Any]


@reads_files
def counterfactual(
    corpus: Sequence[str],
    out: str | Path | None = None,
    *,
    options: CounterfactualOptions | None = None,
    threads: int | None = None,
    formats: Sequence[str] = ("html",),
    say: Say = lambda _: None,
    invocation: Invocation | None = None,
    **fields: Any,
) -> RunResult:
    """Train the models, score every document by all of them; the same call goes on with what stands in the folder.

    Args:
        corpus: Specs of the text.
        out: Run directory; the models are kept in it. By default ``runs/counterfactual-IDENTITY``.
        options: What to train.
        threads: Of torch; all cores by default.
        formats: What to write beside report.json.
        say: Told a line after every model.
        invocation: What repeats the run; by default this call.
        **fields: Single options by name (``models=16``), over those in ``options``.

    Raises:
        MemauditError: Bad input, too little text, or a folder that cannot be used.
    """
    name = "memaudit.audits.counterfactual.run.counterfactual"
    asked = invocation or python_call(name, counterfactual, locals())
    chosen_writers = writers(formats, "counterfactual")
    chosen = dataclasses.replace(options or CounterfactualOptions(), **fields)
    text = _read(corpus, chosen)
    member = assign(len(text.documents), chosen.models, chosen.share, chosen.seed)
    if not member.any(axis=1).all():
        raise InputError(
            f"{len(text.documents):,} documents leave a model of {chosen.models} without any",
            "give more documents, or fewer --models",
        )
    plan = _plan(chosen, text, asked)
    folder = run_folder(out, "counterfactual", plan)
    with RunDirectory.open(folder, plan) as run:
        for (index,) in run.pending([(i,) for i in range(chosen.models)]):
            started = perf_counter()
            subset = [text.ids[i] for i in np.flatnonzero(member[index])]
            model, loss = train_small(
                chosen.family,
                text.tokenizer,
                subset,
                folder / MODELS / str(index),
                size=chosen.size,
                seed=chosen.seed + index,
                epochs=chosen.epochs,
                threads=threads,
            )
            trained = perf_counter()
            scored = _scores(model, [ids[: chosen.tokens] for ids in text.ids])
            run.append([{"index": index, "parameters": model.parameters, "loss": loss, **scored}])
            run.times[f"train {index}"], run.times[f"score {index}"] = trained - started, perf_counter() - trained
            say(f"model {index}: {len(subset):,} documents, {perf_counter() - started:.0f} s [of {chosen.models}]")
        report = conclude(run.plan, _described(text, chosen), member, [run.records[i] for i in range(chosen.models)])
        run.finish(report)
        files = [write(folder) for write in chosen_writers]
    return RunResult(folder, report, files, run.notice)


def _read(specs: Sequence[str], options: CounterfactualOptions) -> _Text:
    corpus = read_corpus(list(specs), text_field=options.text_field, split=options.split)
    documents = list(corpus)
    # Once each: copies of a document must not shape the vocabulary in their own favour.
    tokenizer = train_tokenizer("bpe", list(dict.fromkeys(d.text for d in documents)), options.vocab_size)
    ids = [encoding.ids for encoding in tokenizer.encode_batch([d.text for d in documents])]
    long_enough = [i for i, tokens in enumerate(ids) if len(tokens) >= MIN_TOKENS]
    times = Counter(d.text for d in documents)
    numbers = {text: number for number, text in enumerate(times)}
    about = dict(corpus.summary()) | {"too_short": len(ids) - len(long_enough)}
    kept = [documents[i] for i in long_enough]
    copies, texts = [times[d.text] for d in kept], [numbers[d.text] for d in kept]
    return _Text(kept, copies, texts, [ids[i] for i in long_enough], tokenizer, about)


def _plan(options: CounterfactualOptions, text: _Text, invocation: Invocation) -> dict[str, Any]:
    digest = hashlib.sha256("\0".join(d.text for d in text.documents).encode("utf-8", "surrogatepass"))
    body = {
        "schema_version": 1,
        "kind": "counterfactual",
        "options": dataclasses.asdict(options),
        "corpus": text.about | {"sha256": digest.hexdigest()},
        "tokenizer_sha256": text.tokenizer.sha256,
        "versions": versions(),
    }
    plan: dict[str, Any] = json.loads(strict_json(body | invocation.in_plan()))
    return plan | {"identity": identity(plan)}


def _scores(model: LanguageModel, texts: Sequence[TokenIds]) -> dict[str, list[int] | list[float]]:
    """Return of each text, its first token left out, how many tokens greedy decoding gives, and log p per token."""
    greedy, log_prob = [], []
    for scores in score_documents(model, texts):
        greedy.append(int((scores.rank[1:] == 0).sum()))
        log_prob.append(loss_score(scores.log_prob[1:]) or 0.0)
    return {"greedy": greedy, "log_prob": log_prob}


def _described(text: _Text, options: CounterfactualOptions) -> list[Mapping[str, Any]]:
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
