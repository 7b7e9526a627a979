"""Control C1: whether members and held-out documents can be distinguished by their text, without any model.

Where a classifier that only reads the texts separates them, so does every model that knows the language, the topic or
the year, and its scores are no evidence that it has seen anything (Das, Zhang & Tramer 2024; Meeus et al. 2024).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from memaudit.audits.comparison.nulls import CONFOUNDED
from memaudit.metrics.logistic import Logistic, fit_logistic
from memaudit.metrics.roc import Auc, auc
from memaudit.records import FloatArray
from memaudit.runs import parts
from memaudit.runs.schema import as_record
from memaudit.text.words.words import words_of

FOLDS = 5
MIN_DOCUMENTS = 2 * FOLDS
"""Documents a side from which on there is a baseline: two in every fold."""
MIN_FOR_WORDS = 20
"""Documents a side from which on their words are compared: fewer share too few of them."""
MIN_WITH_TERM = 2
"""Training documents that a word must occur in: what occurs in one says nothing about another."""
MAX_WORDS = 10
LONGEST_WORD = 40
"""Characters of a word in a report: a word may be a megabyte of base64."""
CONFIDENCE = 0.95
_WIDENED = 2 * float(ndtr(math.sqrt(2) * ndtri((1 + CONFIDENCE) / 2))) - 1
"""DeLong's variance takes documents for independent. But the scores of one fold come of the others: where there is
nothing to learn, what two folds have in common by chance raises the AUC of both, so that the variance of the AUC is
twice as large, with any number of folds. The interval is wider by the root of 2."""
_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """How well one kind of features separates the sides."""

    name: str
    auc: Auc
    """Of documents that the classifier was not fitted on."""


@dataclass(frozen=True, slots=True)
class BlindBaseline:
    """What text alone reveals about membership."""

    features: list[FeatureSet]
    confounded: bool
    """Whether the lower 95% limit of any AUC lies above `CONFOUNDED`."""
    words: list[str] = field(default_factory=list)
    """Those with the largest weights for either side, the largest first: untrusted text."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why a kind of features has no AUC, by its name."""
    reason: str = ""
    """Why there is no baseline at all."""

    def as_record(self) -> parts.BlindBaseline:
        """Return strict JSON values."""
        return as_record(self, parts.BlindBaseline)


@dataclass(frozen=True, slots=True, eq=False)
class _Features:
    """One kind of features of all documents."""

    name: str
    numbers: FloatArray
    """Shape [documents, numbers]; NaN where a document has none."""
    terms: Any
    """Sparse, shape [documents, terms]: 1 where a term occurs in a document."""

    def fitted(self, labels: NDArray[np.bool_], train: NDArray[np.bool_]) -> tuple[Logistic, Any, NDArray[np.int64]]:
        """Return a classifier of the training documents, the features of all, and the terms among the last of them."""
        common = np.flatnonzero(self.terms[train].sum(axis=0) >= MIN_WITH_TERM)
        table = hstack([csr_array(_standardised(self.numbers, train)), self.terms[:, common]], format="csr")
        return fit_logistic(table[train], labels[train]), table, common


def blind_baseline(members: Sequence[str], heldout: Sequence[str], seed: int) -> BlindBaseline:
    """Return how well classifiers that only read the texts separate members from held-out documents.

    L2 logistic regressions on the words of the documents (present or not), on their length, on digits and years, on
    characters (case, punctuation and white space, which words leave out) and on all of these. Each is fitted on four
    fifths of either side and asked about the last fifth, five times. Its AUC is that of the ranks within the fifths,
    for the scores of two classifiers have no common scale; the 95% interval is DeLong's with twice the variance.

    Args:
        members: Texts of the suspects.
        heldout: Texts that the model cannot have seen.
        seed: Fixes the fifths.
    """
    if min(len(members), len(heldout)) < MIN_DOCUMENTS:
        counts = f"{len(members):,} against {len(heldout):,} documents"
        return BlindBaseline([], False, reason=f"{counts}: comparing by text alone needs {MIN_DOCUMENTS} a side")
    labels = np.repeat([True, False], [len(members), len(heldout)])
    rng = np.random.default_rng(seed)
    folds = np.concatenate([rng.permutation(len(side)) % FOLDS for side in (members, heldout)])
    texts = [*members, *heldout]
    words = [words_of(text).texts for text in texts]
    vocabulary, bag = _bag(words)
    kinds, left_out, telling = _plain(texts, words), {}, []  # type: list[_Features], dict[str, str], list[str]
    if min(len(members), len(heldout)) >= MIN_FOR_WORDS:
        together = np.hstack([kind.numbers for kind in kinds])
        kinds.insert(0, _Features("words", np.empty((len(texts), 0)), bag))
        kinds.append(_Features("together", together, hstack([bag, kinds[-1].terms], format="csr")))
        telling = _telling(kinds[0], labels, vocabulary)
    else:
        why = f"fewer than {MIN_FOR_WORDS} documents on one side"
        left_out = {"words": why, "together": why}
    found = [FeatureSet(kind.name, _out_of_fold_auc(kind, labels, folds)) for kind in kinds]
    return BlindBaseline(found, any(kind.auc.low > CONFOUNDED for kind in found), telling, left_out)


def _out_of_fold_auc(features: _Features, labels: NDArray[np.bool_], folds: NDArray[np.int64]) -> Auc:
    """Return the AUC of classifiers that were fitted on the other folds."""
    scores = np.empty(len(labels))
    for fold in range(FOLDS):
        asked = folds == fold
        classifier, table, _ = features.fitted(labels, ~asked)
        # Nine digits: what is equal but for the order of summation must tie.
        odds = np.round(classifier.decide(table[asked]), 9)
        scores[asked] = (rankdata(odds) - 0.5) / len(odds)
    area = auc(scores[labels], scores[~labels], _WIDENED)
    assert area is not None
    return area


def _plain(texts: Sequence[str], words: Sequence[Sequence[str]]) -> list[_Features]:
    """Return the kinds of features that are not words."""
    lengths = np.log1p([[len(text), len(own)] for text, own in zip(texts, words, strict=True)])
    years = [[int(year) for year in _YEAR.findall(" ".join(own))] for own in words]
    digits = np.array([_digits(*document) for document in zip(texts, words, years, strict=True)])
    _, named = _bag([[str(year) for year in own] for own in years])
    _, characters = _bag(texts)
    none = csr_array((len(texts), 0))
    return [
        # With squares: one side may be all of middle length.
        _Features("length", np.hstack([lengths, (lengths - lengths.mean(axis=0)) ** 2]), none),
        _Features("digits and dates", digits, named),
        _Features("characters", np.array([_shares(text) for text in texts]), characters),
    ]


def _digits(text: str, words: Sequence[str], years: Sequence[int]) -> list[float]:
    """Return the shares of digits and numbers, and how many years there are, the first and the last."""
    numbers = sum(map(str.isdigit, words)) / max(1, len(words))
    first, last = (min(years), max(years)) if years else (math.nan, math.nan)
    return [_share(Counter(text), str.isdigit), numbers, math.log1p(len(years)), first, last]


def _shares(text: str) -> list[float]:
    """Return the shares of capitals, white space, what is no letter, digit or white space, and what is not ASCII."""
    counts = Counter(text)
    kinds = (str.isupper, str.isspace, lambda c: not (c.isalnum() or c.isspace()), lambda c: not c.isascii())
    return [_share(counts, kind) for kind in kinds]


def _share(characters: Counter[str], kind: Callable[[str], bool]) -> float:
    return sum(count for character, count in characters.items() if kind(character)) / max(1, characters.total())


def _bag(documents: Sequence[Iterable[str]]) -> tuple[list[str], Any]:
    """Return all terms in the order in which they appear, and which occur in which document: [documents, terms]."""
    place: dict[str, int] = {}
    rows = [[place.setdefault(term, len(place)) for term in dict.fromkeys(document)] for document in documents]
    ends = np.cumsum([0, *map(len, rows)])
    columns = np.fromiter((column for row in rows for column in row), np.int64, count=int(ends[-1]))
    return list(place), csr_array((np.ones(len(columns)), columns, ends), shape=(len(rows), len(place)))


def _standardised(numbers: FloatArray, train: NDArray[np.bool_]) -> FloatArray:
    """Return numbers with mean 0 and deviation 1 in the training documents, 0 where there is none."""
    known = np.isfinite(numbers)
    counts = np.maximum(1, known[train].sum(axis=0))
    values = np.where(known, numbers, 0.0)
    centred = np.where(known, values - values[train].sum(axis=0) / counts, 0.0)
    deviation = np.sqrt((centred[train] ** 2).sum(axis=0) / counts)
    scaled: FloatArray = centred / np.where(deviation > 1e-9, deviation, 1.0)
    return scaled


def _telling(features: _Features, labels: NDArray[np.bool_], vocabulary: Sequence[str]) -> list[str]:
    """Return the words of the largest weights in a classifier of all documents."""
    classifier, _, terms = features.fitted(labels, np.ones(len(labels), np.bool_))
    order = np.argsort(-np.abs(classifier.weights), kind="stable")[:MAX_WORDS]
    words = [vocabulary[term] for term in terms[order]]
    return [word if len(word) <= LONGEST_WORD else f"{word[: LONGEST_WORD - 1]}…" for word in words]
