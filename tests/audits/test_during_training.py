"""Audits while real trainers train: losses are those without, the curve is right, text without loss is named."""

from __future__ import annotations

import json
import logging
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

import memaudit
from memaudit.audits.during_training.callback import MemorizationCallback
from memaudit.audits.during_training.curve import headline
from memaudit.audits.during_training.loss_check import check_loss
from memaudit.records import WindowRecord
from memaudit.text.planting.planting import PlantOptions
from memaudit.training.watching import Row
from tests.faults.memorised import DOCUMENTS, honest, passages, save_plain, write_corpora

peft = pytest.importorskip("peft")
trl = pytest.importorskip("trl")

pytestmark = pytest.mark.filterwarnings("ignore")
WINDOWS: dict[str, Any] = {"prefix": 24, "suffix": 24, "max_rate": 0.2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    write_corpora(folder)
    save_plain(honest(), folder / "base")
    return folder


@pytest.fixture(scope="module")
def records(place: Path, tmp_path_factory: pytest.TempPathFactory) -> list[WindowRecord]:
    """Windows of both sides, as an audit records them."""
    sides = str(place / "train.jsonl"), str(place / "heldout.jsonl")
    out = tmp_path_factory.mktemp("windows")
    return memaudit.audit(
        str(place / "base"), *sides, out=out, formats=(), fuzzy=False, copies=False, **WINDOWS
    ).records


class Grads(TrainerCallback):
    """Keeps the sum of every gradient of every step."""

    def __init__(self) -> None:
        self.sums: list[list[float]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.sums.append([p.grad.double().sum().item() for p in model.parameters() if p.grad is not None])


def model_of(place: Path, *, lora: bool) -> tuple[Any, Any]:
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    model, words = AutoModelForCausalLM.from_pretrained(place / "base"), AutoTokenizer.from_pretrained(place / "base")
    if not lora:
        return model, words
    layers = ["c_attn", "c_proj", "c_fc"]
    config = peft.LoraConfig(r=32, lora_alpha=64, target_modules=layers, fan_in_fan_out=True, lora_dropout=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.get_peft_model(model, config), words


def trainer_of(kind: str, place: Path, out: Path, callbacks: list[Any], *, lora: bool = False, **more: Any) -> Any:
    rows, evaluated = more.pop("rows", None), more.pop("eval_dataset", None)
    model, words = model_of(place, lora=lora)
    common: dict[str, Any] = {
        "output_dir": str(out), "max_steps": 4, "per_device_train_batch_size": 4, "learning_rate": 4e-3,
        "logging_steps": 1, "report_to": [], "seed": 3, "use_cpu": True, "save_strategy": "no", "disable_tqdm": True,
    } | more  # fmt: skip
    texts = passages()[:DOCUMENTS]
    if kind == "trl":
        data = rows or Dataset.from_list([{"text": text} for text in texts])
        config = trl.SFTConfig(**{"max_length": 64, **common})
        return trl.SFTTrainer(model, config, train_dataset=data, processing_class=words, callbacks=callbacks)
    data = rows or Dataset.from_list([dict(words(text)) for text in texts])
    collator = DataCollatorForLanguageModeling(words, mlm=False)
    return Trainer(
        model, TrainingArguments(**common), train_dataset=data, data_collator=collator, processing_class=words,
        callbacks=callbacks, eval_dataset=evaluated,
    )  # fmt: skip


def callback_of(place: Path, **settings: Any) -> MemorizationCallback:
    sides = str(place / "train.jsonl"), str(place / "heldout.jsonl")
    return memaudit.MemorizationCallback(*sides, **{"every": 2, "formats": (), **WINDOWS, **settings})


def history(trainer: Any) -> list[dict[str, Any]]:
    """What the trainer logged of itself, but for times."""
    timed = ("runtime", "per_second")
    return [
        {name: value for name, value in entry.items() if not name.endswith(timed)}
        for entry in trainer.state.log_history
        if "memorization_train" not in entry
    ]


def curve(trainer: Any) -> list[tuple[int, float]]:
    found = [entry for entry in trainer.state.log_history if "memorization_train" in entry]
    return [(entry["step"], entry["memorization_train"]) for entry in found]


def outcome(trainer: Any, grads: Grads) -> list[Any]:
    trainer.train()
    weights = [parameter.detach().numpy().tobytes() for parameter in trainer.model.parameters()]
    modes = [module.training for module in trainer.model.modules()]
    drawn = [random.random(), np.random.rand(), torch.rand(1).item()]  # noqa: NPY002
    return [history(trainer), grads.sums, weights, modes, drawn]


@pytest.mark.parametrize("kind", ["transformers", "trl"])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_losses_gradients_and_random_numbers_are_those_without_it(
    place: Path, tmp_path: Path, kind: str, lora: bool
) -> None:
    without, beside = Grads(), Grads()
    plain = outcome(trainer_of(kind, place, tmp_path / "out", [without], lora=lora), without)
    watch = callback_of(place, out=tmp_path / "run", every=100)
    trainer = trainer_of(kind, place, tmp_path / "out", [watch, beside], lora=lora)
    watched = outcome(trainer, beside)
    for name, ours, theirs in zip(("log", "gradients", "weights", "modes", "draws"), watched, plain, strict=True):
        assert ours == theirs, name
    assert [step for step, _ in curve(trainer)] == [0, 4]
    assert watch.check is not None
    assert watch.check["counted"] == 16, watch.check["sentence"]
    assert watch.notes == []


def test_a_model_that_learns_its_text_by_heart_is_seen_to(place: Path, tmp_path: Path) -> None:
    watch = callback_of(place, every=50, formats=("html",))
    fast: dict[str, Any] = {"learning_rate": 1e-2, "lr_scheduler_type": "constant", "per_device_train_batch_size": 16}
    trainer = trainer_of("transformers", place, tmp_path, [watch], lora=True, max_steps=100, **fast)
    trainer.train()
    assert curve(trainer)[0] == (0, 0.0)
    assert curve(trainer)[-1][0] == 100
    assert curve(trainer)[-1][1] > 0.6
    assert watch.folder == tmp_path / "memaudit"
    stored = json.loads((watch.folder / "curve.json").read_bytes())
    assert [point["step"] for point in stored["points"]] == [0, 50, 100]
    assert stored["points"][-1]["verdict"] == "found"
    assert "so fine-tuning added" in stored["points"][-1]["headline"], "the base model is a control of the last audit"
    assert "its base model" not in stored["points"][1]["headline"]
    assert stored["command"].startswith("memaudit.MemorizationCallback('")
    assert stored["check"]["passed"]
    page = (watch.folder / "report.html").read_text()
    assert headline(stored["points"]) in page
    assert "<svg" in page
    pages = [path.parent.name for path in sorted(watch.folder.glob("*/report.html"))]
    assert pages == ["step-000100"]
    again = callback_of(place, every=50)
    trainer_of("transformers", place, tmp_path, [again], max_steps=1).train()
    assert again.folder == tmp_path / "memaudit-2", "the run of another training is left alone"


def test_after_every_epoch(place: Path, tmp_path: Path) -> None:
    watch = callback_of(place, every="epoch", name="mine", limit=5)
    trainer = trainer_of("transformers", place, tmp_path, [watch], max_steps=-1, num_train_epochs=2)
    trainer.train()
    assert [step for step, _ in curve(trainer)] == [0, 4, 8]
    assert "mine at step 8" in watch.points[-1]["headline"]
    assert watch.points[-1]["train"]["n"] == 5


def test_a_training_that_is_resumed_goes_on_with_its_curve(place: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2}
    trainer_of("transformers", place, tmp_path, [callback_of(place)], **settings).train()
    watch = callback_of(place)
    trainer = trainer_of("transformers", place, tmp_path, [watch], max_steps=6, **settings)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert watch.folder == tmp_path / "memaudit"
    assert [point["step"] for point in watch.points] == [0, 2, 4, 6]


class Stops(TrainerCallback):
    """Ends a training after a step, as early stopping does: whoever was called before did not know."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = state.global_step == 2


def test_a_training_that_is_stopped_early_ends_with_the_base_and_the_page(place: Path, tmp_path: Path) -> None:
    watch = callback_of(place, formats=("html",), limit=4)
    trainer_of("transformers", place, tmp_path, [watch, Stops()], lora=True).train()
    assert [point["step"] for point in watch.points] == [0, 2]
    assert watch.folder is not None
    last = watch.folder / watch.points[-1]["run"]
    assert (last / "report.html").is_file()
    assert "base" in [section["name"] for section in json.loads((last / "report.json").read_bytes())["sections"]]
    assert not (watch.folder / watch.points[0]["run"] / "report.html").exists()


def test_the_best_checkpoint_is_not_called_the_last_step(place: Path, tmp_path: Path) -> None:
    watch = callback_of(place, limit=4)
    rows = Dataset.from_list([{"input_ids": [5, 6, 7]}])
    steps = {"eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 2, "save_steps": 2}
    settings: dict[str, Any] = {"load_best_model_at_end": True, "eval_dataset": rows, **steps}
    trainer = trainer_of("transformers", place, tmp_path, [watch], **settings)
    trainer.train()
    best = trainer.state.best_global_step
    assert [(point["step"], point["loaded"]) for point in watch.points] == [(0, None), (2, None), (4, None), (4, best)]
    assert headline(watch.points).startswith(f"the best checkpoint, of step {best}, loaded at the end, reproduces")
    assert watch.folder is not None
    assert f"the checkpoint of step {best} that was loaded" in (watch.folder / "report.html").read_text()


def test_rows_that_cannot_be_had_one_by_one_do_not_end_a_training(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch = callback_of(place, limit=4)
    trainer = trainer_of("transformers", place, tmp_path, [watch], max_steps=1, per_device_train_batch_size=2)
    collate = trainer.data_collator

    def pairs(rows: Any) -> Any:
        if len(rows) != 2:
            raise ValueError("two\nplease")
        return collate(rows)

    trainer.data_collator = pairs
    trainer.train()
    assert watch.check is None
    assert "cannot be seen: a row of the training data by itself fails: ValueError: two" in caplog.text
    assert [point["step"] for point in watch.points] == [0, 1]


def test_canaries_are_audited_beside_their_twins(place: Path, tmp_path: Path) -> None:
    options = PlantOptions(doses=(1, 2), per_dose=0, canaries=2, words=16, changed=0)
    planted = memaudit.plant([str(place / "train.jsonl")], tmp_path / "kit", options=options)
    watch = callback_of(place, every=100, canaries=planted.folder, prefix=8, suffix=8)
    texts = [json.loads(line)["text"] for line in (planted.folder / "training.jsonl").read_text().splitlines()]
    words = AutoTokenizer.from_pretrained(place / "base")
    trainer = trainer_of(
        "transformers",
        place,
        tmp_path,
        [watch],
        rows=Dataset.from_list([dict(words(text, truncation=True, max_length=64)) for text in texts]),
    )
    trainer.train()
    last = next(entry for entry in reversed(trainer.state.log_history) if "memorization_train" in entry)
    assert {"memorization_train", "memorization_heldout", "memorization_planted", "memorization_twins"} <= last.keys()
    assert watch.check is not None
    assert watch.check["windows"] > 16, "those of the canaries are looked for too"
    assert watch.check["counted"] > 16
    assert {point["text"] for point in watch.points} == {"text", "canaries"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row | {"labels": [-100] * 48}, "16 are masked (label -100 on every token)"),
        (lambda row: row | {"labels": [-100] * 30 + row["labels"][30:]}, "16 get loss on some of their tokens alone"),
        (lambda row: {name: value[:40] for name, value in row.items()}, "16 are cut off by the end of a row"),
        (lambda row: row | {"input_ids": row["input_ids"][::-1]}, "16 are not in them"),
        (
            lambda row: {name: value for name, value in row.items() if name != "labels"},
            "16 stand in rows without labels",
        ),
    ],
)
def test_text_that_gets_no_loss_is_named(
    place: Path, records: list[WindowRecord], change: Callable[[dict[str, Any]], dict[str, Any]], says: str
) -> None:  # fmt: skip
    words = AutoTokenizer.from_pretrained(place / "base")
    rows = [words(text)["input_ids"] for text in passages()[:DOCUMENTS]]
    data = [change({"input_ids": ids, "labels": list(ids), "attention_mask": [1] * len(ids)}) for ids in rows]
    found = check_loss(records, (row_of(row) for row in data), len(data))
    assert says in found.sentence()
    assert found.passed is (says.endswith("without labels"))


def row_of(row: dict[str, Any]) -> Row:
    labels = row.get("labels")
    return Row(np.array(row["input_ids"], np.int32), None if labels is None else np.array(labels) != -100)


def test_the_trainer_is_told_before_its_first_step(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = Dataset.from_list(
        [{"prompt": text[:40], "completion": text[40:]} for text in passages()[DOCUMENTS : 2 * DOCUMENTS]]
    )
    with caplog.at_level(logging.INFO, "memaudit"):
        trainer_of("trl", place, tmp_path, [callback_of(place)], rows=rows, max_steps=1).train()
    told = [record for record in caplog.records if record.name == "memaudit"]
    assert told[0].levelno == logging.WARNING
    assert "16 are not in them" in told[0].message


def test_packed_rows_hold_the_text_and_held_out_text_in_them_is_told(place: Path, records: list[WindowRecord]) -> None:
    words = AutoTokenizer.from_pretrained(place / "base")
    both = [words(text)["input_ids"] for text in passages()[: 2 * DOCUMENTS]]
    packed = np.array([token for ids in both for token in ids], np.int32)
    found = check_loss(records, [Row(packed, np.ones(len(packed), np.bool_))], 20)
    assert found.counted == 16
    assert not found.passed
    assert "in the first 1 of 20 rows of training data, 16 get loss; 16 of 16 held-out windows" in found.sentence()
    assert found.described()["sentence"] == found.sentence()


def test_bad_text_ends_it_before_the_first_step_and_a_failed_audit_later_does_not(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = memaudit.MemorizationCallback(str(place / "none.jsonl"), str(place / "heldout.jsonl"))
    with pytest.raises(memaudit.MemauditError, match=r"none\.jsonl"):
        trainer_of("transformers", place, tmp_path / "a", [wrong]).train()
    watch = callback_of(place)
    from memaudit.audits.during_training import callback

    true, calls = callback.audit, []

    def fails(*args: Any, **settings: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("no room")
        return true(*args, **settings)

    monkeypatch.setattr(callback, "audit", fails)
    trainer = trainer_of("transformers", place, tmp_path / "b", [watch])
    trainer.train()
    assert [step for step, _ in curve(trainer)] == [0, 4]
    assert watch.notes == ["No audit at step 2: no room."]
    assert watch.folder is not None
    assert "No audit at step 2" in (watch.folder / "report.html").read_text()


def test_records_of_no_window_are_no_news() -> None:
    found = check_loss([], [], 0)
    assert found.passed
    assert found.sentence() == "of 0 audited windows of training text, in 0 rows of training data, 0 get loss"
