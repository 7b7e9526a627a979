"""A label asked for as a masked word: what a masked model says of a text before it was fine-tuned on anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memaudit.audit.labelled import Labelled
from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.records import TokenIds, Window

TEXT, LABEL = "{text}", "{label}"
TOGETHER = 128
"""Items that the model is given at once."""


@dataclass(frozen=True, slots=True, eq=False)
class ClozeAnswers:
    """What the model puts in place of each item's label."""

    correct: NDArray[np.bool_]
    """Whether the item's own label is more probable than every other label, shape [items]."""
    first: NDArray[np.bool_]
    """Whether it is the most probable of all tokens, shape [items]."""


def ask_labels(
    model: LanguageModel, items: Sequence[Labelled], labels: Sequence[str], template: str, limit: int
) -> ClozeAnswers:
    """Mask the label of every item and compare the probabilities of all labels at its place.

    Args:
        model: A masked model.
        items: Texts with their labels.
        labels: All labels; each must be one token of the model where the template puts it.
        template: How text and label stood in the training text, with ``{text}`` and ``{label}``.
        limit: Tokens of a filled template that are read; more are cut off on the side away from the label.

    Raises:
        InputError: A label is not one token.
    """
    log_probs = np.empty((len(items), len(labels)))
    ranks = np.empty(log_probs.shape, np.int64)
    for first in range(0, len(items), TOGETHER):
        rows = slice(first, first + TOGETHER)
        scores = model.score([w for item in items[rows] for w in _windows(model, item, labels, template, limit)])
        starts = scores.offsets[:-1]  # a suffix begins with the label
        log_probs[rows] = scores.log_prob[starts].reshape(-1, len(labels))
        ranks[rows] = scores.rank[starts].reshape(-1, len(labels))
    places = np.array([labels.index(item.label) for item in items])
    own = np.take_along_axis(log_probs, places[:, None], axis=1)
    # A tie is no answer: it would favour whichever label comes first.
    correct = (log_probs >= own).sum(axis=1) == 1
    return ClozeAnswers(correct, np.take_along_axis(ranks, places[:, None], axis=1)[:, 0] == 0)


def filled(template: str, text: str, label: str) -> str:
    """Return the template with its two places filled."""
    return template.replace(LABEL, label).replace(TEXT, text)


def check_template(template: str) -> None:
    """Raise InputError unless the template has one place for the text and one for the label."""
    for place in (TEXT, LABEL):
        if template.count(place) != 1:
            raise InputError(
                f"--template needs {place} once, not {template.count(place)} times", f"as '{TEXT} {LABEL}'"
            )


def _windows(
    model: LanguageModel, item: Labelled, labels: Sequence[str], template: str, limit: int
) -> Iterator[Window]:
    """Yield a window for every label, whose suffix begins with it."""
    texts = [filled(template, item.text, label) for label in labels]
    rows = [encoding.ids for encoding in model.tokenizer.encode_batch(texts)]
    place = _place(rows, labels, item.source)
    start = min(max(0, len(rows[0]) - limit), place)
    for row in rows:
        yield Window(row[start:place], row[place : start + limit], source=item.source)


def _place(rows: Sequence[TokenIds], labels: Sequence[str], source: str) -> int:
    """Return the one place at which the rows differ, each from all others."""
    shown = ", ".join(label[:20] for label in labels[:8])
    hint = "write the labels as words, or digits, that are one token each"
    if len({len(row) for row in rows}) > 1:
        raise InputError(f"{source}: the labels {shown} are of unequal numbers of tokens", hint)
    table = np.stack(rows)
    places = np.flatnonzero((table != table[0]).any(axis=0))
    if len(places) != 1:
        raise InputError(f"{source}: the labels {shown} differ in {len(places)} tokens, not in one", hint)
    if len(set(table[:, places[0]].tolist())) < len(rows):
        raise InputError(f"{source}: two of the labels {shown} are the same token", hint)
    return int(places[0])
