"""Looking on while a `Trainer` trains, without a trace: same losses, same gradients, same random numbers.

A `Watcher` is told when to look and gets a model, its tokenizer and the step; what it sees it may log, to the history
of the trainer and to whoever listens to its log. It knows nothing of audits.
"""

from __future__ import annotations

import dataclasses
import inspect
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset
from transformers import TrainerCallback

from memaudit.errors import InputError
from memaudit.records import TokenIds
from memaudit.training.untouched import untouched

IGNORED = -100
"""Label of a token that the loss does not count."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in a training at which is looked."""

    model: Any
    tokenizer: Any
    step: int
    epoch: float | None
    last: bool
    """Whether training ends here."""
    data: Any = None
    """The loader of training batches, at the beginning alone."""
    folder: str = ""
    """Where the trainer writes."""
    loaded: int | None = None
    """Step of the best checkpoint, where that was loaded when training ended."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a training batch, as the model is given it."""

    ids: TokenIds
    counted: NDArray[np.bool_] | None
    """Which tokens have a label of their own; None where the batch has no labels."""


class Watcher(TrainerCallback, ABC):
    """A callback of a `Trainer` that looks at its model every so many steps, or after every epoch, and at the end.

    Only the first process looks, where there are several.

    Args:
        every: Steps of the optimizer, or ``"epoch"``.
    """

    def __init__(self, every: int | Literal["epoch"]) -> None:
        if every != "epoch" and (type(every) is not int or every < 1):
            raise InputError(f'every must be a number of steps or "epoch", not {every!r}')
        self.every = every
        self._seen: int | None = None
        self._ended = False

    @abstractmethod
    def begin(self, moment: Moment) -> Mapping[str, float]:
        """Look before the first step; what goes wrong here ends the training. Return what is to be logged."""

    @abstractmethod
    def look(self, moment: Moment) -> Mapping[str, float]:
        """Look at a model; return what is to be logged."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        """Look for the first time."""
        if state.is_world_process_zero:
            self._seen, self._ended = state.global_step, False
            with undisturbed():
                seen = self.begin(_moment(args, state, about, data=about.get("train_dataloader")))
            _log(seen, args, state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        """Look after every so many steps, and after the last one."""
        due = self.every != "epoch" and state.global_step % self.every == 0
        last = bool(control.should_training_stop) or 0 < state.max_steps <= state.global_step
        if due or last:
            self._look(args, state, control, about, last=last)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        """Look after an epoch, if so asked."""
        if self.every == "epoch":
            self._look(args, state, control, about, last=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **about: Any) -> None:
        """Look at the end, unless that was done; a best checkpoint may have been loaded since.

        A training that was stopped early did not know at its last step that it was the last.
        """
        if args.load_best_model_at_end or not self._ended:
            self._seen = None
        loaded = getattr(state, "best_global_step", None) if args.load_best_model_at_end else None
        self._look(args, state, control, about, last=True, loaded=loaded)

    def _look(
        self, args: Any, state: Any, control: Any, about: Mapping[str, Any], *, last: bool, loaded: int | None = None
    ) -> None:
        if state.is_world_process_zero and self._seen != state.global_step:
            self._seen, self._ended = state.global_step, last
            with undisturbed():
                seen = self.look(dataclasses.replace(_moment(args, state, about, last=last), loaded=loaded))
            _log(seen, args, state, control)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Give the random numbers of Python, numpy and torch back as they were, on every device."""
    ours, theirs, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 (of others)
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(ours)
        np.random.set_state(theirs)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if devices:
            torch.cuda.set_rng_state_all(devices)


def rows_of(loader: Any, most: int) -> Iterator[Row] | None:
    """Return the first rows of a training set as its loader would collate them, each by itself; None of a stream.

    The loader is not asked for a batch: its rows stay in its order for the training. Random generators and counters of
    the data set and of what collates it are as before, once the rows were read.

    Args:
        loader: A `torch.utils.data.DataLoader`.
        most: Rows.
    """
    data: Any = getattr(loader, "dataset", None)
    collate: Any = getattr(loader, "collate_fn", None)
    stream = isinstance(data, IterableDataset)  # which may have a length
    if stream or collate is None or not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        return None
    return _first_rows(data, collate, most)


def _first_rows(data: Any, collate: Any, most: int) -> Iterator[Row]:
    with untouched(data, collate):
        for place in range(min(most, len(data))):
            yield from _rows(collate([data[place]]))


def _rows(batch: Any) -> Iterator[Row]:
    """Yield the rows of a batch: a token that was replaced to be predicted (masked models) is the one in the labels."""
    ids = batch.get("input_ids") if hasattr(batch, "get") else None
    if ids is None:
        return
    labels, mask = batch.get("labels"), batch.get("attention_mask")
    for row in range(len(ids)):
        kept = torch.ones_like(ids[row], dtype=torch.bool)
        if mask is not None and mask.shape == ids.shape:
            kept = mask[row].bool()
        read, counted = ids[row], None
        if labels is not None and labels.shape == ids.shape:
            known = labels[row] != IGNORED
            read, counted = torch.where(known, labels[row], read), known[kept].cpu().numpy()
        yield Row(read[kept].cpu().numpy().astype(np.int32), counted)


def _moment(args: Any, state: Any, about: Mapping[str, Any], *, last: bool = False, data: Any = None) -> Moment:
    tokenizer = about.get("processing_class")
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # of a processor
    return Moment(about["model"], tokenizer, state.global_step, state.epoch, last, data, str(args.output_dir))


def _log(values: Mapping[str, float], args: Any, state: Any, control: Any) -> None:
    """Add values to the history of a trainer and tell its other callbacks, as its own ``log`` does.

    That one is not called: it is given to more than logging by trainers that derive from it, and the mean of the losses
    would be taken over other steps.
    """
    if not values:
        return
    logs = {**values, **({} if state.epoch is None else {"epoch": state.epoch})}
    state.log_history.append({**logs, "step": state.global_step})
    handler = _handler()
    if handler is not None:
        asked = control.should_log
        handler.on_log(args, state, control, logs)
        control.should_log = asked


def _handler() -> Any:
    """Return what calls the callbacks of a trainer, which no event of it names; None outside of a trainer."""
    from transformers.trainer_callback import CallbackHandler

    frame = inspect.currentframe()
    while frame is not None:
        if isinstance(caller := frame.f_locals.get("self"), CallbackHandler):
            return caller
        frame = frame.f_back
    return None
