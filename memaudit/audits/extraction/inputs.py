"""What an audit gives a model, and where it comes from: documents of two corpora, or arrays of token ids."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from memaudit.audits.comparison.reference_models import ReferenceModels, check_reference_corpus
from memaudit.audits.extraction.conversations import are_conversations, draw_conversations
from memaudit.audits.extraction.copies import Measured, plan_copies
from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.logged import asked_documents
from memaudit.audits.subject import Subject
from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.models.loading.load import load_model
from memaudit.runs.parts import Summary
from memaudit.runs.plans import ChatDescription, CopiesDescription
from memaudit.text.corpus.objects import Listed, TextSource, listed
from memaudit.text.corpus.read import Corpus, Split, read_corpus
from memaudit.text.index.corpus_index import CorpusIndex
from memaudit.text.windows.token_windows import NO_SIDE, read_token_arrays, token_windows
from memaudit.text.windows.windows import WindowSet, draw_windows

Pair = tuple[str | Path, str | Path]
"""Files of prefixes and of suffixes."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the text of both sides comes from."""

    texts: tuple[TextSource, TextSource]
    """Training and held-out text: specs, or objects that hold it."""
    windows: tuple[Pair | None, Pair | None]
    """Files of training and of held-out windows, instead of text."""
    index: str | Path | None
    """Folder of an index of all training text."""

    def open_index(self) -> CorpusIndex | None:
        """Return the index, each of whose files is what its manifest says.

        Raises:
            InputError: There is none in the folder, or it is damaged.
        """
        opened = None if self.index is None else CorpusIndex.open(self.index)
        if opened is not None:
            opened.verify()
        return opened


@dataclass(frozen=True, slots=True)
class AuditInputs:
    """The windows of an audit and the text behind them."""

    drawn: WindowSet
    sides: tuple[Summary, Summary]
    """What was read of training and of held-out text, as the plan says it."""
    corpora: tuple[Corpus, Corpus] | None
    """None where windows were given as token ids."""
    copies: CopiesDescription
    """Where copies are counted, or why they are not."""
    index: CorpusIndex | None
    """The index that was given."""
    chat: ChatDescription | None = None
    """Of conversations: how they were written."""
    starts: bool = True
    """Whether the model puts a start token before its texts as it does always: a chat template may not want it."""

    def training_index(self, needed: bool) -> CorpusIndex | None:
        """Return the index of the training text, made in memory where none was given and it is needed."""
        if not self.copies["counted"] or self.index is not None or self.corpora is None:
            return self.index if self.copies["counted"] else None
        return CorpusIndex.of_documents(self.corpora[0]) if needed else None

    def subject(
        self,
        model: LanguageModel,
        index: CorpusIndex | None,
        options: AuditOptions,
        *,
        documents: bool,
        unmatched: bool = False,
        load: Callable[[str], LanguageModel] = load_model,
    ) -> Subject:
        """Return what measures are taken of, before anything is known about the windows.

        Args:
            model: That is audited.
            index: Of the training text, where there is one.
            options: Of the audit.
            documents: Whether the corpora are read for the documents that the windows are from.
            unmatched: Whether they are read for those without a counterpart on the other side too.
            load: Loads references.
        """
        windows = self.drawn.windows
        corpora = self.corpora if documents else None
        sides, apart = [], []
        for number, side in enumerate(("train", "heldout")):
            own = {window.document: None for window in windows if window.member is (side == "train")}
            more = self.drawn.unmatched.get(side, ()) if unmatched else ()
            read = asked_documents(() if corpora is None else corpora[number], [*own, *more])
            sides.append([document for document in read if document.id in own])
            apart.append([document for document in read if document.id not in own])
        (train, heldout), compared = sides, options.membership
        peers = None if compared is None else ReferenceModels(model, train, heldout, compared, load)
        others = apart[0], apart[1]
        return Subject(model, windows, (), train, heldout, index, options, options.decoding, peers, unmatched=others)


def read_sources(sources: Sources, options: AuditOptions) -> tuple[Corpus, Corpus] | None:
    """Return the text of both sides, which can be read to its end; None where windows are given as token ids.

    Raises:
        InputError: Both are given, or windows of one side only where text is of the other; text cannot be read.
    """
    ours, theirs = sources.windows
    texts = listed(sources.texts[0], "train"), listed(sources.texts[1], "heldout")
    if ours is None and theirs is not None:
        raise InputError("held-out windows without windows of training text", "give --windows, or --heldout SPEC")
    if ours is not None and any(texts):
        raise InputError("windows are given as token ids and as text", "leave out --train and --heldout, or --windows")
    if ours is not None:
        return None
    corpora = _corpora(*texts, options)
    for corpus in corpora:
        corpus.check()
    if options.membership is not None:
        check_reference_corpus(options.membership)
    return corpora


def prepare_inputs(
    model: LanguageModel, sources: Sources, corpora: tuple[Corpus, Corpus] | None, options: AuditOptions
) -> tuple[AuditInputs, AuditOptions]:
    """Return what a model is given, as text or as token ids, and the options with the lengths that these have.

    Args:
        model: Its tokenizer cuts the windows.
        sources: Text or windows of either side.
        corpora: What `read_sources` returned.
        options: Of the audit.
    """
    index = sources.open_index()
    if corpora is not None:
        return inputs_of_text(model, corpora, options, index), options
    ours, theirs = sources.windows
    return inputs_of_tokens(model, cast("Pair", ours), theirs, options, index)


def inputs_of_text(
    model: LanguageModel, corpora: tuple[Corpus, Corpus], options: AuditOptions, index: CorpusIndex | None
) -> AuditInputs:
    """Draw windows from documents of both sides."""
    training = Measured(corpora[0])
    chat, starts = None, True
    if are_conversations(corpora):
        replies, chat, starts = draw_conversations(model, (training, corpora[1]), options)
        drawn = replies.drawn
    else:
        drawn = draw_windows(training, corpora[1], model.tokenizer, options)
    sides = corpora[0].summary(), corpora[1].summary()
    copies = plan_copies(options.copies, index, training.characters, sides[0]["specs"])
    return AuditInputs(drawn, sides, corpora, copies, index, chat, starts)


def inputs_of_tokens(
    model: LanguageModel, train: Pair, heldout: Pair | None, options: AuditOptions, index: CorpusIndex | None
) -> tuple[AuditInputs, AuditOptions]:
    """Take windows that are given as token ids; their lengths replace those of the options."""
    size = model.tokenizer.vocab_size
    arrays = read_token_arrays(Path(train[0]), Path(train[1]), size)
    others = None if heldout is None else read_token_arrays(Path(heldout[0]), Path(heldout[1]), size)
    options = dataclasses.replace(options, prefix=arrays.lengths[0], suffix=arrays.lengths[1])
    drawn = token_windows(arrays, others, model.tokenizer, options)
    reason = "windows were given as token ids, and no index of the training text with them"
    copies: CopiesDescription = {
        "counted": False,
        "reason": reason if options.copies else "not requested",
        "index": None,
    }
    if index is not None:
        copies = plan_copies(options.copies, index, 0, [])
    sides = arrays.summary(), NO_SIDE if others is None else others.summary()
    return AuditInputs(drawn, sides, None, copies, index), options


def _corpora(train: Listed, heldout: Listed, options: AuditOptions) -> tuple[Corpus, Corpus]:
    """Read both sides by the same rule: if one must be cut into blocks, whole files could not match them."""

    def read(name: str, given: Listed, split: Split) -> Corpus:
        if not given:
            raise InputError(f"no {name} text", f"give --{name} SPEC, or windows of token ids as --windows")
        return read_corpus(
            given,
            text_field=options.field_of(name == "train"),
            split=split,
            max_expand=options.max_expand,
            skip_bad=options.skip_bad,
        )

    def both(split: Split) -> tuple[Corpus, Corpus]:
        return read("train", train, split), read("heldout", heldout, split)

    corpora = both(options.split)
    return both("block") if options.split == "auto" and any(c.in_blocks for c in corpora) else corpora
