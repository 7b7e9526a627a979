"""The one training loop: batches in, trained model out, interrupted and resumed without a trace."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from memaudit.errors import InputError, ModelError
from memaudit.records import Objective, TokenIds
from memaudit.stats.rounding import loss
from memaudit.text.tokenize import Tokenizer
from memaudit.training.batches import Batches, RowBatches, StreamBatches
from memaudit.training.checkpoint import (
    Identity,
    checkpoint_file,
    read_progress,
    restore_checkpoint,
    save_checkpoint,
    sha256_of_documents,
    sha256_of_weights,
)
from memaudit.training.evaluation import heldout_loss
from memaudit.training.objectives import (
    CausalObjective,
    MaskedObjective,
    RecurrentObjective,
    TrainingObjective,
)
from memaudit.training.optim import build_optimizers, learning_rate_factor
from memaudit.training.options import TrainingOptions
from memaudit.training.progress import Progress, SilentProgress, Status
from memaudit.training.saving import save_model


class TrainableModel(Protocol):
    """What the loop needs of a model: a torch module, a tokenizer, and a place for the record."""

    training: dict[str, Any]

    @property
    def parameters(self) -> int:
        """Number of trained values."""

    @property
    def objective(self) -> Objective:
        """What it predicts."""

    @property
    def recurrent(self) -> bool:
        """Whether it carries a state from one part of a text to the next."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Fixes its vocabulary."""

    @property
    def context_length(self) -> int | None:
        """Longest row it reads."""

    @property
    def module(self) -> Any:
        """The network."""

    def save(self, folder: Path) -> None:
        """Write the model."""


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a training did."""

    steps: int
    tokens: int
    """Tokens learned from, each as often as it was a target."""
    loss: float
    """Training loss at the end in bits per token (running mean over about 100 steps)."""
    heldout: float | None
    """Loss on held-out documents at the end, or None where none were given."""
    heldout_measure: str | None
    """What ``heldout`` measures."""
    seconds: float
    """Wall time of this call (a resumed call does not count the one before it)."""
    resumed_at: int = 0
    """Step at which this call resumed; 0 for a fresh training."""


@dataclass(slots=True)
class _Position:
    """Where a training stands; together with the tensors of a checkpoint all that a resumed run needs."""

    step: int = 0
    tokens: int = 0
    loss: float = math.nan
    identity: Identity = field(default_factory=dict)


def fit(
    model: TrainableModel,
    documents: Sequence[TokenIds],
    options: TrainingOptions,
    *,
    out: Path | None = None,
    heldout: Sequence[TokenIds] | None = None,
    heldout_bytes: int | None = None,
    progress: Progress | None = None,
) -> TrainingReport:
    """Train a model in place.

    Args:
        model: Its module is trained; ``model.training`` becomes the record of how.
        documents: Token ids of each document, without ``<eos>``; empty ones teach nothing.
        options: How to train.
        out: Folder for checkpoints and the trained model. The same call on the same folder resumes where
            the last one ended, to bit-equal weights on the CPU at the same number of threads.
        heldout: Documents whose loss is measured after every epoch and at the end.
        heldout_bytes: UTF-8 bytes of the held-out texts; makes bits per byte of bits per token.
        progress: Called at every step; silent by default.

    Returns:
        Counts, losses, and time.

    Raises:
        InputError: There is nothing to train on, or the tokenizer lacks a token that the objective needs.
        ModelError: The loss is no longer finite.
        RunError: ``out`` holds another training (the message names what differs), or cannot be written.
    """
    documents = [document for document in documents if len(document)]
    heldout = [document for document in heldout or () if len(document)]
    if not documents:
        raise InputError("no documents to train on")
    progress = progress or SilentProgress()
    with limited_threads(options.threads), torch.random.fork_rng(devices=[]), _deferred_signals() as stop:
        training = _Training(model, documents, options, out, progress, stop)
        try:
            training.run(heldout, heldout_bytes)
        finally:
            model.module.eval()
            progress.close()
    if stop and training.position.step < training.steps:
        raise KeyboardInterrupt
    return training.report()


class _Training:
    """One call of `fit`."""

    def __init__(
        self,
        model: TrainableModel,
        documents: Sequence[TokenIds],
        options: TrainingOptions,
        out: Path | None,
        progress: Progress,
        stop: list[int],
    ) -> None:
        self.model, self.options, self.out, self.progress, self.stop = model, options, out, progress, stop
        self.module: nn.Module = model.module
        self.objective = objective_of(model, options)
        self.batches = batches_of(model, self.objective, documents, options)
        self.steps = max(1, round(options.epochs * len(self.batches)))
        self.optimizers = build_optimizers(self.module, options.optimizer, options.learning_rate, options.weight_decay)
        torch.manual_seed(options.seed)
        self.began = self.saved = time.monotonic()
        self.heldout: tuple[float, str] | None = None
        self.position = _Position()
        self.corpus = sha256_of_documents(documents)
        if out is not None:
            self._resume(checkpoint_file(out))
        self.first, self.first_tokens = self.position.step, self.position.tokens

    def run(self, heldout: Sequence[TokenIds], heldout_bytes: int | None) -> None:
        """Make all steps that are left, then save the model."""
        while self.position.step < self.steps:
            self._step()
            done = self.position.step == self.steps
            if heldout and (done or self.position.step % len(self.batches) == 0):
                self._measure(heldout, heldout_bytes)
            if self.stop and not done:
                self._checkpoint()
                return
            if self.out and not done and time.monotonic() - self.saved >= self.options.checkpoint_seconds:
                self._checkpoint()
        if heldout and self.heldout is None:
            self._measure(heldout, heldout_bytes)
        report = asdict(self.report())
        unsteady = ("seconds", "resumed_at")
        told = {k: v for k, v in report.items() if k not in unsteady}
        self.model.training = self.options.identity() | {"corpus": self.corpus} | told
        if self.out:
            save_model(self.model, self.out)
            self._checkpoint()

    def report(self) -> TrainingReport:
        """Return what was done so far."""
        position = self.position
        value, measure = self.heldout or (None, None)
        seconds = time.monotonic() - self.began
        return TrainingReport(position.step, position.tokens, position.loss, value, measure, seconds, self.first)

    def _step(self) -> None:
        options, step = self.options, self.position.step
        batch = self.batches.batch(*divmod(step, len(self.batches)))
        self.module.train()
        total, tokens = self.objective.loss(batch, np.random.default_rng([options.seed, 1, step]))
        loss = total.item() / max(tokens, 1) / math.log(2)
        if not math.isfinite(loss):
            raise ModelError(f"the training loss is {loss} at step {step}", "try a lower learning rate")
        self.module.zero_grad(set_to_none=True)
        (total / max(tokens, 1)).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.module.parameters(), options.clip)
        factor = learning_rate_factor(step, self.steps, options.warmup)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * factor
            optimizer.step()
        self._advance(loss, tokens)

    def _advance(self, loss: float, tokens: int) -> None:
        position = self.position
        position.step += 1
        position.tokens += tokens
        share = max(1 / position.step, 0.01)
        position.loss = loss if position.step == 1 else (1 - share) * position.loss + share * loss
        seconds = time.monotonic() - self.began
        made = position.step - self.first
        self.progress.update(
            Status(
                position.step,
                self.steps,
                position.loss,
                (position.tokens - self.first_tokens) / seconds,
                (self.steps - position.step) * seconds / made,
            )
        )

    def _measure(self, heldout: Sequence[TokenIds], heldout_bytes: int | None) -> None:
        self.heldout = heldout_loss(self.model, self.objective, heldout, heldout_bytes, self.options.context_length)
        value, measure = self.heldout
        self.progress.note(f"held-out {loss(value)} {measure} after {self.position.step} steps")

    def _resume(self, file: Path) -> None:
        identity: Identity = {
            "corpus": self.corpus,
            "tokenizer": self.model.tokenizer.sha256,
            "initial weights": sha256_of_weights(self.module),
            **self.options.identity(),
        }
        self.position.identity = identity
        before = read_progress(file, identity)
        if before is not None:
            self.position = _Position(**before)
            self.objective.carried = restore_checkpoint(file, self.module, self.optimizers)
            self.progress.note(f"resumed at step {self.position.step} of {self.steps}")

    def _checkpoint(self) -> None:
        if self.out:
            file = checkpoint_file(self.out)
            save_checkpoint(file, self.module, self.optimizers, self.objective.carried, asdict(self.position))
            self.saved = time.monotonic()


def batches_of(
    model: TrainableModel, objective: TrainingObjective, documents: Sequence[TokenIds], options: TrainingOptions
) -> Batches:
    """Return the batches that suit the model: streams for recurrent networks, rows for transformers."""
    eos = model.tokenizer.eos_id
    if eos is None:
        raise InputError("training needs a tokenizer with an end-of-text token")
    if model.recurrent:
        return StreamBatches(documents, eos, options.batch_size, options.context_length, options.seed)
    length = min(options.context_length, model.context_length or options.context_length)
    return RowBatches(documents, eos, options.batch_size, length, options.seed, masked=objective.masked)


def objective_of(model: TrainableModel, options: TrainingOptions) -> TrainingObjective:
    """Return the loss that suits the model."""
    if model.recurrent:
        return RecurrentObjective(model.module)
    return _OBJECTIVES[model.objective](model, options)


def _causal(model: TrainableModel, _options: TrainingOptions) -> TrainingObjective:
    return CausalObjective(model.module)


def _masked(model: TrainableModel, options: TrainingOptions) -> TrainingObjective:
    tokenizer = model.tokenizer
    if tokenizer.mask_id is None:
        raise InputError("a masked objective needs a tokenizer with a mask token")
    special = [i for i in (tokenizer.mask_id, tokenizer.bos_id, tokenizer.eos_id) if i is not None]
    ordinary = np.setdiff1d(np.arange(tokenizer.vocab_size), special)
    return MaskedObjective(model.module, tokenizer.mask_id, ordinary, options.mask_rate, options.mask_rule)


_OBJECTIVES: Mapping[Objective, Callable[[TrainableModel, TrainingOptions], TrainingObjective]] = {
    "next-token": _causal,
    "masked": _masked,
}


@contextmanager
def limited_threads(number: int | None) -> Iterator[None]:
    """Let torch use this many threads; None leaves their number as it is."""
    before = torch.get_num_threads()
    try:
        if number is not None:
            torch.set_num_threads(number)
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _deferred_signals() -> Iterator[list[int]]:
    """Collect interrupts, so that a step is always whole and saved, and deliver the first at the end."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, lambda number, _: received.append(number)) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
