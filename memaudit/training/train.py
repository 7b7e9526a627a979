"""From text to a model folder: read the corpus, build the tokenizer on it alone, train, save."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from memaudit.errors import InputError, RunError, one_line
from memaudit.families import NGRAM, Family, Recipe, family_named
from memaudit.models.base import LanguageModel
from memaudit.models.infinity import check_smoothing
from memaudit.models.ngram import NgramModel, Order, Smoothing
from memaudit.records import TokenIds
from memaudit.runs.files import read_json
from memaudit.text.corpus.fields import TextField
from memaudit.text.corpus.objects import Listed, TextSource, listed
from memaudit.text.corpus.read import Corpus, Split, read_corpus
from memaudit.text.index.corpus_index import CorpusIndex
from memaudit.text.index.manifest import TOKENIZER
from memaudit.text.tokenize import Tokenizer, TrainedTokenizer, Unit, train_tokenizer
from memaudit.training.saving import save_model

if TYPE_CHECKING:
    from memaudit.training.loop import TrainableModel, TrainingReport
    from memaudit.training.progress import Progress

BATCH = 1000
"""Documents encoded at a time."""


@dataclass(frozen=True, slots=True)
class CorpusOptions:
    """Text to train on and what a token of it is."""

    corpus: TextSource
    """Specs or objects, as `memaudit.read_corpus` takes them."""
    unit: Unit = "bpe"
    vocab_size: int | None = None
    text_field: TextField = "text"
    split: Split = "file"
    """How text files become documents; a whole file by default, so that no seam is learned as an end."""
    max_expand: int | None = None
    """Bytes that a compressed file may expand to; by default at most 200 times its size."""

    def read(self, other: Listed = ()) -> Corpus:
        """Return the corpus, or another one read in the same way."""
        return read_corpus(
            other or listed(self.corpus, "corpus"),
            text_field=self.text_field,
            split=self.split,
            max_expand=self.max_expand,
        )


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network and how its training went."""

    model: TrainableModel
    report: TrainingReport


def train_ngram(
    source: CorpusOptions | Path, out: Path, *, order: Order = 5, smoothing: Smoothing | None = None
) -> NgramModel:
    """Count n-grams and write the model to ``out``.

    Args:
        source: What to train on, or the folder of an index of tokens, whose tokenizer the model then has.
        out: Folder of the model.
        order: Length of the longest n-gram; 2 over characters is Shannon's chain of 1948. ``infinity`` backs off
            to the longest end of the context that the text holds (Liu et al. 2024).
        smoothing: ``mle`` for plain frequencies, ``kneser-ney`` for interpolated modified Kneser-Ney. By default
            the latter, or ``mle`` for the order ``infinity``, which knows no other.
    """
    check_smoothing(order, smoothing)
    return cast(NgramModel, train_counted(NGRAM.name, source, out, order=order, smoothing=smoothing))


def train_counted(family: str, source: CorpusOptions | Path, out: Path, **options: Any) -> LanguageModel:
    """Train a model of a family that counts, and write it to ``out``.

    Args:
        family: Its name, ours or declared.
        source: What to train on, or the folder of an index of tokens, whose tokenizer the model then has.
        out: Folder of the model.
        **options: What the family's own function takes beside documents and tokenizer.
    """
    train = family_named(family).part("train")
    _claim(out, family)
    tokenizer, documents = _tokenized(source) if isinstance(source, CorpusOptions) else _indexed(source)
    model: LanguageModel = train(documents, tokenizer, **options)
    save_model(model, out, replace=False)
    return model


def train_neural(
    family: str,
    source: CorpusOptions,
    out: Path,
    *,
    architecture: Mapping[str, Any] | None = None,
    heldout: TextSource = (),
    context: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **options: Any,
) -> Trained:
    """Train a network and write it to ``out``; the same call resumes an interrupted training.

    Args:
        family: The name of a family of networks: ``rnn``, ``gpt``, ``bert``, or one that another package declares.
        source: What to train on.
        out: Folder of the model and its checkpoints.
        architecture: What the family's ``new`` (`new_rnn`, `new_gpt`, `new_bert`) takes besides the tokenizer.
        heldout: Specs or objects with text for the validation loss.
        context: Longest sequence of a transformer; steps of backpropagation through time of an RNN. By default
            what the family was measured with.
        seed: Fixes the initial weights, the order of the data, and all noise.
        progress: Where to report; by default standard error, a bar or plain lines as it is a terminal or not.
        **options: Fields of `TrainingOptions` that differ from the family's measured defaults.
    """
    from memaudit.training.loop import fit
    from memaudit.training.options import TrainingOptions
    from memaudit.training.progress import progress_on

    known = family_named(family)
    known.part("new")
    _claim(out, family)
    given = listed(heldout, "heldout")
    unseen = source.read(given) if given else None
    if unseen is not None:
        unseen.check()  # it is readable before a vocabulary is learned from the other text
    tokenizer, documents = _tokenized(source)
    validation, size = (None, None) if unseen is None else _encoded(tokenizer, unseen)
    if context is not None:
        options["context_length"] = context
    training = TrainingOptions.for_family(family, seed=seed, **options)
    model = _new_model(known, tokenizer, architecture or {}, training.context_length, seed)
    report = fit(
        model,
        documents,
        training,
        out=out,
        heldout=validation,
        heldout_bytes=size,
        progress=progress or progress_on(sys.stderr, family),
    )
    return Trained(model, report)


@dataclass(frozen=True, slots=True)
class SmallTraining:
    """What a small model is trained on and for how long; its family says the rest."""

    tokenizer: Tokenizer
    """Fixes the vocabulary."""
    documents: Sequence[TokenIds]
    size: int
    """What the family calls its size: width, or order of an n-gram."""
    seed: int
    """Fixes initial weights and order."""
    epochs: float
    """Passes over the documents."""
    threads: int | None = None
    """Of torch."""


def train_by_recipe(
    family: Family, recipe: Recipe, small: SmallTraining, folder: Path | None
) -> tuple[LanguageModel, float | None]:
    """Return a small model trained as its family says, and its training loss in bits per token (None where it counts).

    Args:
        family: Ours or declared.
        recipe: Of the family.
        small: What to train on and for how long.
        folder: Of the model and its checkpoint, where an interrupted training resumes; None keeps nothing.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    shape = {family.size: small.size, **recipe.architecture}
    if family.counted:
        counted: LanguageModel = family.part("train")(small.documents, small.tokenizer, **shape)
        if folder is not None:
            counted.save(folder)
        return counted, None
    from memaudit.training.loop import fit
    from memaudit.training.options import TrainingOptions

    options = TrainingOptions.for_family(
        family.name, seed=small.seed, epochs=small.epochs, threads=small.threads, **recipe.training
    )
    model = _new_model(family, small.tokenizer, shape, options.context_length, small.seed)
    report = fit(model, small.documents, options, out=folder)
    return cast(LanguageModel, model), report.loss


def _claim(out: Path, family: str) -> None:
    """Make the folder before the work, not after it, and leave another model's folder alone."""
    about = out / "memaudit.json"
    if about.exists() or (out / "config.json").exists():
        described = read_json(about) if about.exists() else None
        found = described.get("family") if isinstance(described, dict) else "foreign"
        if found != family:
            raise RunError(f"{out}: holds a {one_line(str(found), 40)} model", "choose another --out or delete it")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror}", "choose another --out") from error


def _new_model(
    family: Family, tokenizer: Tokenizer, architecture: Mapping[str, Any], context: int, seed: int
) -> TrainableModel:
    longest = {"context_length": context} if family.takes_context else {}
    model: TrainableModel = family.part("new")(tokenizer, seed=seed, **{**longest, **architecture})
    return model


def _tokenized(source: CorpusOptions) -> tuple[TrainedTokenizer, list[TokenIds]]:
    corpus = source.read()
    tokenizer = train_tokenizer(source.unit, _distinct(corpus), source.vocab_size)
    documents, size = _encoded(tokenizer, corpus)
    if not size:
        raise InputError(f"no text to train on in {', '.join(source.corpus)}")
    return tokenizer, documents


def _indexed(folder: Path) -> tuple[TrainedTokenizer, list[TokenIds]]:
    """Return tokenizer and documents of an index of tokens, whose symbols are ids plus one."""
    index = CorpusIndex.open(folder)
    if index.unit != "token":
        raise InputError(f"{folder}: an index of {index.unit}s", "n-grams are counted in one of --unit token")
    if not index.symbols:
        raise InputError(f"no text to train on in {folder}")
    documents = [shard.document_symbols(i) - 1 for shard in index.shards for i in range(len(shard))]
    return TrainedTokenizer.load(folder / TOKENIZER), documents


def _distinct(corpus: Corpus) -> Iterator[str]:
    """Yield every text once: copies of a document must not shape the vocabulary in their own favour."""
    seen: set[bytes] = set()
    for document in corpus:
        digest = hashlib.blake2b(document.text.encode("utf-8"), digest_size=16).digest()
        if digest not in seen:
            seen.add(digest)
            yield document.text


def _encoded(tokenizer: TrainedTokenizer, corpus: Corpus) -> tuple[list[TokenIds], int]:
    """Return the ids of every document and the size of all texts in UTF-8 bytes."""
    documents: list[TokenIds] = []
    size = 0
    for texts in _batches(document.text for document in corpus):
        documents += [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        size += sum(len(text.encode("utf-8")) for text in texts)
    return documents, size


def _batches(texts: Iterable[str]) -> Iterable[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
