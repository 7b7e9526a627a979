"""A sequence classifier on the body of a masked transformer, fine-tuned on labelled texts."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from memaudit.errors import InputError, ModelError
from memaudit.models.masked import MaskedTransformer
from memaudit.models.products import inference
from memaudit.records import TokenIds
from memaudit.training.classifier_options import ClassifierOptions, Pooling
from memaudit.training.loop import limited_threads
from memaudit.training.optim import build_optimizers, learning_rate_factor

BASE_RATE, BASE_WIDTH = 5e-5, 768
"""Learning rate that BERT-base is fine-tuned with (Devlin et al. 2019), and its width."""
PREDICTED_ROWS = 64
POOL_BATCHES = 16
"""Batches whose rows are sorted by length together, so that little is padded and order stays random."""
HEAD_STD = 0.02


class Classifier:
    """A fine-tuned copy of a masked transformer's body with a linear layer over its classes."""

    def __init__(self, model: MaskedTransformer, classes: int, pooling: Pooling, seed: int) -> None:
        self._model = model
        self._pooling = pooling
        # Any id will do behind the attention mask, but RoBERTa and its kin count positions by the padding id.
        self._padding = model.module.config.pad_token_id or 0
        self.module = _Network(copy.deepcopy(model.module.base_model), classes, seed)
        self.loss = math.nan
        """Mean cross-entropy of the last epoch, in nats."""

    def logits(self, texts: Sequence[TokenIds]) -> Tensor:
        """Return the classes' logits [texts, classes] of texts without the tokens that stand around them."""
        rows = [self._model.framed(ids) for ids in texts]
        width = max(len(row) for row in rows)
        ids = np.full((len(rows), width), self._padding, np.int64)
        shown = np.zeros((len(rows), width), np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)], shown[place, : len(row)] = row, 1
        device = next(self.module.parameters()).device
        read, attention = (torch.from_numpy(array).to(device) for array in (ids, shown))
        states = self.module.body(input_ids=read, attention_mask=attention).last_hidden_state
        if self._pooling == "first":
            pooled = states[:, 0]
        else:
            weight = attention[:, :, None].to(states.dtype)
            pooled = (states * weight).sum(1) / weight.sum(1)
        logits: Tensor = self.module.head(pooled)
        return logits

    @inference()
    def predict(self, texts: Sequence[TokenIds]) -> NDArray[np.int64]:
        """Return the most probable class of every text, shape [texts]; of equal ones the first."""
        self.module.eval()
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        classes = np.zeros(len(texts), np.int64)
        for first in range(0, len(order), PREDICTED_ROWS):
            rows = order[first : first + PREDICTED_ROWS]
            classes[rows] = self.logits([texts[i] for i in rows]).argmax(-1).cpu().numpy()
        return classes


class _Network(nn.Module):
    def __init__(self, body: Any, classes: int, seed: int) -> None:
        super().__init__()
        weights = next(body.parameters())
        width = body.config.get_text_config().hidden_size
        self.body = body
        self.head = nn.Linear(width, classes)
        drawn = torch.empty(classes, width).normal_(0, HEAD_STD, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            self.head.weight.copy_(drawn)
            self.head.bias.zero_()
        self.head.to(device=weights.device, dtype=weights.dtype)


def train_classifier(
    model: MaskedTransformer,
    texts: Sequence[TokenIds],
    labels: Sequence[int],
    classes: int,
    options: ClassifierOptions,
    *,
    seed: int,
    threads: int | None = None,
) -> Classifier:
    """Fine-tune a copy of a model's body; the model itself is left as it is.

    The same seed gives the same classifier, at an equal number of threads.

    Args:
        model: A masked transformer.
        texts: Token ids of each text, without the tokens that the tokenizer puts around it.
        labels: Class of each, in [0, classes).
        classes: Number of classes.
        options: How to train.
        seed: Fixes the new layer, the order of the texts and all noise.
        threads: Of torch.

    Raises:
        InputError: There is nothing to train on.
        ModelError: The loss is no longer finite.
    """
    if not len(texts):
        raise InputError("no labelled texts to train on")
    with limited_threads(threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Classifier(model, classes, options.pooling, seed)
        _train(classifier, texts, np.asarray(labels, np.int64), options, seed)
    classifier.module.eval()
    return classifier


def learning_rate_for(model: MaskedTransformer, options: ClassifierOptions) -> float:
    """Return the peak learning rate."""
    width = model.module.config.get_text_config().hidden_size
    return options.learning_rate or BASE_RATE * BASE_WIDTH / width


def _train(
    classifier: Classifier,
    texts: Sequence[TokenIds],
    labels: NDArray[np.int64],
    options: ClassifierOptions,
    seed: int,
) -> None:
    module = classifier.module
    rate = learning_rate_for(classifier._model, options)
    optimizers = build_optimizers(module, "adamw", rate, options.weight_decay)
    lengths = np.array([len(text) for text in texts])
    epoch_steps = math.ceil(len(texts) / options.batch_size)
    steps = max(1, round(options.epochs * epoch_steps))
    losses: list[float] = []
    module.train()
    for step in range(steps):
        epoch, place = divmod(step, epoch_steps)
        if place == 0:
            batches = _batches(lengths, options.batch_size, np.random.default_rng([seed, epoch]))
        rows = batches[place]
        logits = classifier.logits([texts[i] for i in rows]).float()
        loss = cross_entropy(logits, torch.from_numpy(labels[rows]).to(logits.device))
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise ModelError(f"the loss of fine-tuning is {losses[-1]} at step {step}", "try a lower --learning-rate")
        module.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), options.clip)
        factor = learning_rate_factor(step, steps, options.warmup)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
    classifier.loss = float(np.mean(losses[-epoch_steps:]))


def _batches(lengths: NDArray[np.int64], size: int, random: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return all texts once, in batches of about equal lengths and in random order."""
    order = random.permutation(len(lengths))
    pools = [order[i : i + POOL_BATCHES * size] for i in range(0, len(order), POOL_BATCHES * size)]
    near = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    batches = [pool[i : i + size] for pool in near for i in range(0, len(pool), size)]
    return [batches[i] for i in random.permutation(len(batches))]
