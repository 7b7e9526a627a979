"""A watcher looks when it was asked to and leaves no trace; rows are collated without being consumed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset
from transformers import (
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import CallbackHandler, DefaultFlowCallback

from memaudit.errors import InputError
from memaudit.models.masked import new_bert
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.watching import Moment, Watcher, rows_of, undisturbed


@pytest.fixture(scope="module")
def folder_of_words(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("words")
    new_bert(train_tokenizer("byte", []), width=16, layers=1, heads=2, context_length=32).save(folder)
    return AutoTokenizer.from_pretrained(folder)


class Looks(Watcher):
    """Notes when it looked, and logs how often."""

    def __init__(self, every: Any) -> None:
        super().__init__(every)
        self.looked: list[tuple[int, bool]] = []

    def begin(self, moment: Moment) -> Mapping[str, float]:
        random.random()
        torch.rand(1)
        self.looked.append((moment.step, moment.last))
        return {"looked": 1.0}

    def look(self, moment: Moment) -> Mapping[str, float]:
        return self.begin(moment)


class Listens(TrainerCallback):
    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self.heard.append(dict(logs))


def trained(
    every: Any, tmp_path: Path, *, steps: int = 7, epoch: int = 3, best: bool = False, stop: int = 0
) -> tuple[Any, Any, Any]:
    """Go through the events of a training without one."""
    looks, listens = Looks(every), Listens()
    strategy = {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps"} if best else {}
    args = TrainingArguments(output_dir=str(tmp_path), max_steps=steps, logging_steps=2, report_to=[], **strategy)
    state, control = TrainerState(), TrainerControl()
    state.max_steps, state.logging_steps, state.epoch = steps, 2, 0.0
    model = SimpleNamespace(config=SimpleNamespace(model_type="none"))
    handler = CallbackHandler([DefaultFlowCallback(), listens, looks], model, None, None, None)
    asked = []
    control = handler.on_train_begin(args, state, control)
    for step in range(1, steps + 1):
        state.global_step = step
        control = handler.on_step_end(args, state, control)
        asked.append(control.should_log)
        control.should_log = False
        if step % epoch == 0 or step in (steps, stop):
            control = handler.on_epoch_end(args, state, control)
        if step == stop:  # a callback that comes later said so
            break
    handler.on_train_end(args, state, control)
    return looks, listens, (state, asked)


def test_it_looks_every_so_many_steps_and_at_the_end_once(tmp_path: Path) -> None:
    assert trained(2, tmp_path)[0].looked == [(0, False), (2, False), (4, False), (6, False), (7, True)]
    assert trained(7, tmp_path)[0].looked == [(0, False), (7, True)]
    assert trained(100, tmp_path)[0].looked == [(0, False), (7, True)]
    assert trained("epoch", tmp_path)[0].looked == [(0, False), (3, False), (6, False), (7, True)]
    best = trained(100, tmp_path, best=True)[0]
    assert best.looked == [(0, False), (7, True), (7, True)], "the best checkpoint is loaded at the end"


@pytest.mark.parametrize("every", [1, 2, 4, "epoch"])
def test_a_training_that_is_stopped_early_is_looked_at_as_the_last(every: Any, tmp_path: Path) -> None:
    looked = trained(every, tmp_path, stop=4)[0].looked
    assert looked[-1] == (4, True)
    assert [last for _, last in looked].count(True) == 1
    assert trained(every, tmp_path, steps=0)[0].looked == [(0, False), (0, True)]


def test_what_it_logs_is_heard_and_no_log_of_the_trainer_is_lost(tmp_path: Path) -> None:
    looks, listens, (state, asked) = trained(2, tmp_path)
    assert listens.heard == [{"looked": 1.0, "epoch": 0.0}] * len(looks.looked)
    assert [entry["step"] for entry in state.log_history] == [0, 2, 4, 6, 7]
    assert asked == [step % 2 == 0 for step in range(1, 8)]


def test_only_the_first_process_looks(tmp_path: Path) -> None:
    looks, state = Looks(1), TrainerState(is_world_process_zero=False)
    looks.on_train_begin(SimpleNamespace(output_dir="x"), state, TrainerControl(), model=None)
    assert looks.looked == []


@pytest.mark.parametrize("every", [0, -3, 1.5, True, "steps", None])
def test_when_to_look_is_steps_or_epoch(every: Any) -> None:
    with pytest.raises(InputError, match="number of steps"):
        Looks(every)


def test_random_numbers_are_given_back() -> None:
    def drawn() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(1))]  # noqa: NPY002

    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)
    with undisturbed():
        first = drawn()
    with pytest.raises(KeyError), undisturbed():
        drawn()
        raise KeyError
    assert drawn() == first


def collate(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    torch.rand(1)
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": ids.masked_fill(ids % 2 == 0, -100)}


def test_rows_are_those_of_the_collator_and_the_loader_is_not_spent() -> None:
    data = [[1, 2, 3], [4], [5, 6]]
    loader = DataLoader(data, batch_size=2, collate_fn=collate)  # type: ignore[arg-type]
    rows = rows_of(loader, 2)
    assert rows is not None
    first, second = rows
    assert (first.ids.tolist(), second.ids.tolist()) == ([1, 2, 3], [4])
    assert first.counted is not None
    assert first.counted.tolist() == [True, False, True]
    assert [batch["input_ids"].tolist() for batch in loader] == [[[1, 2, 3], [0, 0, 4]], [[5, 6]]]


class Shortens(Dataset[dict[str, Any]]):
    """Cuts every row at a place that it draws."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(0)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, place: int) -> Any:
        return {"input_ids": list(range(10, 20 + int(self.generator.integers(5))))}


def test_rows_that_are_drawn_are_drawn_again(folder_of_words: Any) -> None:
    seeded = DataCollatorForLanguageModeling(folder_of_words, mlm=True, seed=4, mask_replace_prob=0)
    plain = DataCollatorForLanguageModeling(folder_of_words, mlm=False)
    for collate in (seeded, plain):
        data = Shortens()
        rows = rows_of(DataLoader(data, collate_fn=collate), 4)
        assert rows is not None
        first = [row.ids.tolist() for row in rows]
        again = rows_of(DataLoader(data, collate_fn=collate), 4)
        assert [row.ids.tolist() for row in again or ()] == first
        assert all(ids == list(range(10, 10 + len(ids))) for ids in first), "what was replaced is read from the labels"


class Stream(IterableDataset[Any]):
    """Streams may say how long they are, and have the method of a table, which raises."""

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Any:
        return iter([{"input_ids": [1]}] * 3)


def test_a_stream_has_no_first_rows() -> None:
    assert rows_of(DataLoader(Stream()), 5) is None
    assert rows_of(DataLoader(iter([])), 5) is None  # type: ignore[arg-type]
    assert rows_of(None, 5) is None
    rows = rows_of(DataLoader([{"a": 1}]), 5)  # type: ignore[arg-type]
    assert rows is not None
    assert list(rows) == []
