"""Loss on held-out documents."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from memaudit.records import TokenIds
from memaudit.training.batches import IGNORED, Batch, RowBatches
from memaudit.training.objectives import TrainingObjective

BATCH_SIZE = 16
SEED = 0
"""Fixes which tokens are hidden, so that losses of one masked model are compared on the same ones."""


@torch.no_grad()
def heldout_loss(
    model: Any,
    objective: TrainingObjective,
    documents: Sequence[TokenIds],
    text_bytes: int | None,
    context_length: int,
) -> tuple[float, str]:
    """Return the loss on held-out documents and the name of what it measures.

    Next-token: the code length of every token of every document given all that stands before it in the
    document (transformers: in its row of ``context_length``), over the bytes of the texts. The end of a
    document is not counted. Masked: the mean loss of hidden tokens under the corruption of training with
    a fixed seed, times the tokens, over the bytes; not a code length of the text, and not comparable.

    Args:
        model: A `memaudit.training.loop.TrainableModel`.
        objective: Its training objective; what it carries is left as it was.
        documents: Not empty, each with at least one token.
        text_bytes: UTF-8 bytes of the texts; None measures bits per token.
        context_length: Longest row of a transformer; tokens read at a time by a recurrent network.
    """
    eos, masked = model.tokenizer.eos_id, objective.masked
    limit = min(context_length, model.context_length or context_length)
    length = None if model.recurrent else limit
    rows = RowBatches(documents, eos, BATCH_SIZE, length, masked=masked, shuffle=False)
    carried, objective.carried = objective.carried, ()
    model.module.eval()
    nats, counted = 0.0, 0
    for index in range(len(rows)):
        for number, batch in enumerate(_chunks(_without(rows.batch(0, index), eos), limit)):
            total, tokens = objective.loss(batch, np.random.default_rng([SEED, index, number]))
            nats, counted = nats + total.item(), counted + tokens
    objective.carried = carried
    every = sum(len(document) for document in documents)
    bits = nats / counted / math.log(2)
    unit = "bits per token" if text_bytes is None else "bits per byte"
    name = f"{unit} (hidden tokens, training corruption with a fixed seed)" if masked else unit
    return bits if text_bytes is None else bits * every / text_bytes, name


def _chunks(batch: Batch, length: int) -> Iterator[Batch]:
    for first in range(0, batch.inputs.shape[1], length):
        part = slice(first, first + length)
        yield Batch(batch.inputs[:, part], batch.targets[:, part], continues=first > 0)


def _without(batch: Batch, eos: int) -> Batch:
    """Return the batch without the targets that end a document."""
    return Batch(batch.inputs, np.where(batch.targets == eos, IGNORED, batch.targets))
