"""Models beside the one that is asked: references that never saw the suspects, and the null model of the controls."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from memaudit.audits.comparison.kind import kind_scores
from memaudit.audits.comparison.nulls import NULL_NAME, SUSPECTS_NULL
from memaudit.audits.comparison.options import TRAIN, MembershipOptions
from memaudit.audits.comparison.references import family_for, train_reference
from memaudit.audits.comparison.suspects import Suspects, same_words
from memaudit.audits.needs import check_needs
from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.models.loading.load import load_model
from memaudit.models.ngram import NgramModel
from memaudit.models.start import asked_alike
from memaudit.records import Capability, Document, TokenIds
from memaudit.runs.options import DetectorOptions
from memaudit.runs.options import MembershipOptions as StoredOptions
from memaudit.runs.plans import MembershipDesign, ReferenceDescription
from memaudit.runs.schema import as_record
from memaudit.text.corpus.read import Corpus, read_corpus

_SCORES = frozenset((Capability.LOG_PROBS,))
FOLDS = 5
NULL_ORDER, NULL_ORDER_OF_CHARACTERS = 5, 8
FEW_IDS = 512
"""Vocabularies up to this size are of characters or bytes."""
REFERENCES = "references"
"""Folder of a run that holds the references trained for it."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A model that never saw the suspects."""

    name: str
    model: LanguageModel
    trained: bool
    """Whether it was trained here."""


def check_reference_corpus(options: MembershipOptions) -> None:
    """Read the text that references are to be trained on, if it is given, before anything is measured.

    Raises:
        InputError: It cannot be read.
    """
    if TRAIN in options.references and options.reference_corpus:
        _read_references(options).check()


class ReferenceModels:
    """References and the null model of one run; nothing is loaded or trained before it is asked for.

    References are trained on `MembershipOptions.reference_corpus`, or else on a random half of the held-out documents,
    without what equals or contains a document that is compared; of several each reads its own random half of that.

    Attributes:
        options: Of the detectors.
        members: The suspects.
        heldout: Held-out documents that are compared: those a reference was trained on are not among them.
        set_apart: Held-out documents that references are trained on.

    Raises:
        InputError: References are to be trained, and there is no text for them.
    """

    def __init__(
        self,
        model: LanguageModel,
        members: Sequence[Document],
        heldout: Sequence[Document],
        options: MembershipOptions,
        load: Callable[[str], LanguageModel] = load_model,
    ) -> None:
        self.options, self.members = options, list(members)
        self._model, self._load, self._sides = model, load, (members, heldout)
        self._folder: Path | None = None
        self._given = [spec for spec in options.references if spec != TRAIN]
        self._to_train = options.references.count(TRAIN)
        apart = np.zeros(len(heldout), np.bool_)
        if self._to_train and not options.reference_corpus:
            if len(heldout) < 2:
                raise InputError(
                    f"{len(heldout)} held-out documents leave none to train a reference on",
                    "give text for it with --reference-corpus, or more held-out documents",
                )
            apart[_generator(options).permutation(len(heldout))[: len(heldout) // 2]] = True
        self.heldout = [document for document, away in zip(heldout, apart, strict=True) if not away]
        self.set_apart = [document for document, away in zip(heldout, apart, strict=True) if away]

    def beside(self, model: LanguageModel) -> ReferenceModels:
        """Return the same models, to stand beside one that is asked in another way, and be asked as it is."""
        others = ReferenceModels(model, *self._sides, self.options, self._again)
        others._folder = self._folder
        return others

    @property
    def given(self) -> list[LanguageModel]:
        """The references that were named, loaded at the first call."""
        return [reference.model for reference in self._loaded]

    def _again(self, spec: str) -> LanguageModel:
        """Return a reference that was named, as it was trained."""
        model = next(reference.model for reference in self._loaded if reference.name == spec)
        return model.as_trained or model

    def describe(self) -> MembershipDesign:
        """Return what a plan says: the options, ``references`` (spec, sha256 or what they are trained on), ``null``.

        Beside them ``asked_references`` as they were given, ``set_apart``, the held-out documents that references are
        trained on, and ``excluded``, the documents that they are not trained on because they contain a compared one.
        """
        trained: list[ReferenceDescription] = [
            {
                "name": _name(i),
                "family": family_for(self._model).name,
                "trained": True,
                "documents": len(texts),
                "sha256": _digest(family_for(self._model).name, texts),
            }
            for i, texts in enumerate(self._texts)
        ]
        given: list[ReferenceDescription] = [
            {"name": r.name, "family": r.model.family, "trained": False, "documents": None, "sha256": r.model.sha256}
            for r in self._loaded
        ]
        options: DetectorOptions = as_record(self.options.told(), StoredOptions)
        if self.options.start_token == "as-trained":  # as all were before there was a choice
            options.pop("start_token", None)
        return {
            **options,
            "asked_references": list(self.options.references),
            "references": [*given, *trained],
            "null": NULL_NAME,
            "set_apart": len(self.set_apart),
            "excluded": self._corpus[1] if self._to_train else 0,
        }

    def prepare(self, folder: Path) -> None:
        """Say where trained references are kept: called once the run directory is held."""
        self._folder = folder / REFERENCES

    def references(self) -> list[Reference]:
        """Return the references, loaded or trained at the first call."""
        return [*self._loaded, *self._trained]

    def null(self, member: bool, document: str) -> NgramModel:
        """Return the cross-fitted n-gram that never saw this document; five of them share all documents."""
        return self._fitted(self._folds[member, document], suspects=False)

    def nulls(self, member: bool, document: str) -> dict[str, NgramModel]:
        """Return all null models that never saw this document, by name.

        Where no coin decided which documents are members, one of the suspects alone is among them, if others are left.
        """
        found = {NULL_NAME: self.null(member, document)}
        fold = self._folds[member, document]
        if not self.options.randomised and any(key[0] and other != fold for key, other in self._folds.items()):
            found[SUSPECTS_NULL] = self._fitted(fold, suspects=True)
        return found

    def kind(self, member: bool, document: str) -> float | None:
        """Return how much the document's characters are of the suspects' kind; None where a coin chose the suspects."""
        return None if self.options.randomised else self._kinds[member, document]

    def _fitted(self, fold: int, *, suspects: bool) -> NgramModel:
        """Return the n-gram of all documents, or of all suspects, but those of a fold."""
        if (fold, suspects) not in self._nulls:
            kept = [key for key, other in self._folds.items() if other != fold and (key[0] or not suspects)]
            texts = [self._beginnings[key] for key in kept]
            order = _null_order(self._model)
            self._nulls[fold, suspects] = NgramModel.train(texts, self._model.tokenizer, order=order)
        return self._nulls[fold, suspects]

    @cached_property
    def _loaded(self) -> list[Reference]:
        loaded = [asked_alike(self._load(spec), self._model) for spec in self._given]
        references = [Reference(spec, model, trained=False) for spec, model in zip(self._given, loaded, strict=True)]
        for reference in references:
            check_needs(f"by the reference {reference.name}, documents", _SCORES, reference.model)
            if reference.model.sha256 and reference.model.sha256 == self._model.sha256:
                raise InputError(
                    f"{reference.name}: the reference is the audited model",
                    "give one that never saw the suspects, or 'train'",
                )
        return references

    @cached_property
    def _trained(self) -> list[Reference]:
        seed, like = self.options.seed, self._model.as_trained or self._model
        trained = [
            train_reference(like, texts, self._folder_of(i), seed=seed + i) for i, texts in enumerate(self._texts)
        ]
        asked = [asked_alike(model, self._model) for model in trained]
        return [Reference(_name(i), model, trained=True) for i, model in enumerate(asked)]

    def _folder_of(self, number: int) -> Path | None:
        return None if self._folder is None else self._folder / str(number + 1)

    @cached_property
    def _texts(self) -> list[list[str]]:
        """Return what each reference is trained on."""
        if not self._to_train:
            return []
        texts, _ = self._corpus
        if self._to_train == 1:
            return [texts]
        if len(texts) < 2:
            raise InputError("one document is too little for several references", "give more with --reference-corpus")
        rng = _generator(self.options)
        halves = [np.sort(rng.permutation(len(texts))[: len(texts) // 2]) for _ in range(self._to_train)]
        return [[texts[i] for i in half] for half in halves]

    @cached_property
    def _corpus(self) -> tuple[list[str], int]:
        """Return the text of all trained references, and how many documents were left out of it."""
        options = self.options
        texts = [document.text for document in self.set_apart]
        if options.reference_corpus:
            texts = [document.text for document in _read_references(options)]
        compared = Suspects([document.text for document in [*self.members, *self.heldout]])
        kept = [text for text, hit in zip(texts, compared.stand_in(texts), strict=True) if not hit]
        if not any(text.strip() for text in kept):
            raise InputError(
                f"no text to train a reference on: {len(texts) - len(kept):,} of {len(texts):,} documents contain a"
                " compared document",
                "give other text with --reference-corpus",
            )
        return kept, len(texts) - len(kept)

    @cached_property
    def _folds(self) -> Mapping[tuple[bool, str], int]:
        """Return the fold of every compared document; both sides are dealt out alike, equal texts together."""
        sides = (True, self.members), (False, self.heldout)
        documents = [(member, document) for member, side in sides for document in side]
        groups = same_words([document.text for _, document in documents])
        rng = np.random.default_rng(self.options.seed)
        fold_of: dict[int, int] = {}
        for side in (True, False):
            own = [group for (member, _), group in zip(documents, groups, strict=True) if member is side]
            for group in rng.permutation([group for group in dict.fromkeys(own) if group not in fold_of]):
                fold_of[int(group)] = len(fold_of) % FOLDS
        if len(fold_of) < 2:
            raise InputError(
                "all documents are the same text: nothing is left to train the null model on", "give more documents"
            )
        return {(m, d.id): fold_of[group] for (m, d), group in zip(documents, groups, strict=True)}

    @cached_property
    def _beginnings(self) -> Mapping[tuple[bool, str], TokenIds]:
        sides = (True, self.members), (False, self.heldout)
        documents = [(member, document) for member, side in sides for document in side]
        encodings = self._model.tokenizer.encode_batch([document.text for _, document in documents])
        return {(m, d.id): e.ids[: self.options.tokens] for (m, d), e in zip(documents, encodings, strict=True)}

    @cached_property
    def _kinds(self) -> Mapping[tuple[bool, str], float]:
        sides = (True, self.members), (False, self.heldout)
        texts = []
        for _, side in sides:
            encodings = self._model.tokenizer.encode_batch([document.text for document in side])
            ends = [encoding.ends[: self.options.tokens] for encoding in encodings]
            texts.append([d.text[: int(end[-1])] if len(end) else "" for d, end in zip(side, ends, strict=True)])
        found = kind_scores(texts[0], texts[1])
        return {
            (member, document.id): float(score)
            for (member, side), scores in zip(sides, found, strict=True)
            for document, score in zip(side, scores, strict=True)
        }

    @cached_property
    def _nulls(self) -> dict[tuple[int, bool], NgramModel]:
        return {}


def _read_references(options: MembershipOptions) -> Corpus:
    return read_corpus(options.reference_corpus, text_field=options.text_field, split=options.split)


def _generator(options: MembershipOptions) -> np.random.Generator:
    return np.random.default_rng([options.seed, 1])


def _name(number: int) -> str:
    return f"trained here {number + 1}"


def _digest(family: str, texts: Sequence[str]) -> str:
    digest = hashlib.sha256(family.encode())
    for text in texts:
        digest.update(b"\0" + text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _null_order(model: LanguageModel) -> int:
    order = getattr(model, "order", None)
    if isinstance(order, int):
        return order
    return NULL_ORDER_OF_CHARACTERS if model.tokenizer.vocab_size <= FEW_IDS else NULL_ORDER
