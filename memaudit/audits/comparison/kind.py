"""Whose kind of text is a document? Characters of either side, without any model and without the document itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from memaudit.records import FloatArray

LENGTHS = (2, 3, 4)
"""Characters of an n-gram: those distinguish authors with little text (Koppel, Schler & Argamon 2009)."""
SMOOTHING = 0.1
"""Added to the count of every n-gram (Lidstone)."""


def kind_scores(members: Sequence[str], heldout: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Return how much likelier each text is among the suspects' characters than among those of held-out text.

    The mean over a text's n-grams of log P(n-gram | suspects) - log P(n-gram | held-out), by counts of all texts but
    the one that is asked about: a multinomial naive Bayes classifier, left one out.

    Returns:
        Scores of members and of held-out texts; 0 for a text without an n-gram.
    """
    texts, labels = [*members, *heldout], np.repeat([True, False], [len(members), len(heldout)])
    table = _counts(texts)
    rows = np.repeat(np.arange(len(texts)), np.diff(table.indptr))
    sizes = np.bincount(rows, table.data, len(texts))
    odds = np.zeros(len(texts))
    for side, sign in ((labels, 1.0), (~labels, -1.0)):
        totals = np.bincount(table.indices[side[rows]], table.data[side[rows]], table.shape[1])
        # Its own n-grams are taken out of the counts of its own side.
        left = totals[table.indices] - np.where(side[rows], table.data, 0.0) + SMOOTHING
        everything = totals.sum() - np.where(side, sizes, 0.0) + SMOOTHING * table.shape[1]
        odds += sign * (np.bincount(rows, table.data * np.log(left), len(texts)) - sizes * np.log(everything))
    scores = odds / np.maximum(sizes, 1.0)
    return scores[labels], scores[~labels]


def _counts(texts: Sequence[str]) -> csr_array:
    """Return how often each n-gram of characters occurs in each text, shape [texts, n-grams]."""
    places: dict[str, int] = {}
    columns, values, ends = [], [], [0]
    for text in texts:
        found = Counter(text[i : i + n] for n in LENGTHS for i in range(len(text) - n + 1))
        columns += [places.setdefault(gram, len(places)) for gram in found]
        values += list(found.values())
        ends.append(len(columns))
    shape = (len(texts), max(1, len(places)))
    return csr_array((np.array(values, np.float64), np.array(columns, np.int64), np.array(ends)), shape=shape)
