from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from memaudit.errors import InputError, ModelError, RunError
from memaudit.models.rnn import RnnModel, new_rnn
from memaudit.models.transformer import new_bert, new_gpt
from memaudit.records import TokenIds, Window
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from memaudit.training.checkpoint import checkpoint_file
from memaudit.training.loop import fit
from memaudit.training.options import TrainingOptions
from memaudit.training.progress import SilentProgress, Status

FAMILIES = ["lstm", "mrnn", "gpt2", "bert"]
SMALL = TrainingOptions(epochs=3, batch_size=4, context_length=16, learning_rate=1e-2, threads=1, checkpoint_seconds=0)


@pytest.fixture(scope="module")
def tokenizer() -> TrainedTokenizer:
    return train_tokenizer("char", ["abcdefghijklmnopqrstuvwxyz ."])


@pytest.fixture(scope="module")
def documents(tokenizer: TrainedTokenizer) -> list[TokenIds]:
    random = np.random.default_rng(0)
    return [random.integers(3, tokenizer.vocab_size, n).astype(np.int32) for n in random.integers(1, 60, 14)]


def new_model(family: str, tokenizer: TrainedTokenizer, seed: int = 0) -> Any:
    if family in ("lstm", "mrnn"):
        return new_rnn(tokenizer, cell=family, width=16, layers=2, seed=seed)
    make = new_gpt if family == "gpt2" else new_bert
    return make(tokenizer, width=16, layers=2, heads=2, context_length=64, seed=seed)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def assert_bit_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


class Watch(SilentProgress):
    """Keeps what it is told and calls back after every step."""

    def __init__(self, after: Callable[[Status], None] = lambda status: None) -> None:
        self.after = after
        self.seen: list[Status] = []
        self.notes: list[str] = []

    def update(self, status: Status) -> None:
        self.seen.append(status)
        self.after(status)

    def note(self, message: str) -> None:
        self.notes.append(message)


class PowerCut(Exception):
    pass


def cut_at(step: int) -> Callable[[Status], None]:
    def after(status: Status) -> None:
        if status.step == step:
            raise PowerCut

    return after


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_training_cut_off_twice_ends_bit_equal(
    family: str, optimizer: str, tokenizer: TrainedTokenizer, documents: list[TokenIds], tmp_path: Path
) -> None:
    options = replace(SMALL, optimizer=optimizer)
    whole = new_model(family, tokenizer)
    expected = fit(whole, documents, options)
    for step in (expected.steps // 3, 2 * expected.steps // 3 + 1):
        with pytest.raises(PowerCut):
            fit(new_model(family, tokenizer), documents, options, out=tmp_path, progress=Watch(cut_at(step)))
    resumed = new_model(family, tokenizer)
    report = fit(resumed, documents, options, out=tmp_path)
    assert report.resumed_at == 2 * expected.steps // 3
    assert_bit_equal(weights(resumed), weights(whole))
    assert (report.loss, report.tokens, report.steps) == (expected.loss, expected.tokens, expected.steps)
    again = new_model(family, tokenizer)
    assert fit(again, documents, options, out=tmp_path).resumed_at == expected.steps
    assert_bit_equal(weights(again), weights(whole))


KILLED = """
import sys, numpy as np
from pathlib import Path
from memaudit.models.rnn import new_rnn
from memaudit.text.tokenize import train_tokenizer
from memaudit.training.loop import fit
from memaudit.training.options import TrainingOptions

class Ticks:
    def update(self, status): print(status.step, flush=True)
    def note(self, message): pass
    def close(self): pass

random = np.random.default_rng(0)
tokenizer = train_tokenizer("char", ["abcdefghijklmnopqrstuvwxyz ."])
documents = [random.integers(3, 29, 50).astype(np.int32) for _ in range(40)]
options = TrainingOptions(epochs=4, batch_size=2, context_length=10, threads=1, checkpoint_seconds=0)
out = Path(sys.argv[1]) if len(sys.argv) > 1 else None
report = fit(new_rnn(tokenizer, width=16), documents, options, out=out, progress=Ticks())
"""


def run_and_stop(out: Path, number: int, after: int) -> tuple[int, int]:
    """Start the training in a process, signal it after some steps; return its exit status and last step."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        last = 0
        for line in process.stdout:
            last = int(line)
            if last == after:
                process.send_signal(number)
        return process.wait(), last


def test_killed_interrupted_and_terminated_processes_resume_bit_equal(tmp_path: Path) -> None:
    status, last = run_and_stop(tmp_path / "killed", signal.SIGKILL, 23)
    assert (status, last < 400) == (-signal.SIGKILL, True)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    status, last = run_and_stop(tmp_path / "killed", signal.SIGTERM, 100)
    assert status == -signal.SIGTERM
    assert 100 <= last < 400
    with pytest.raises(PowerCut):
        _in_process(tmp_path / "killed", cut_at(last + 2))
    report, model = _in_process(tmp_path / "killed")
    fresh_report, fresh = _in_process(None)
    assert report.resumed_at >= last
    assert report.loss == fresh_report.loss
    assert_bit_equal(weights(model), weights(fresh))
    saved = load_file(tmp_path / "killed" / "model.safetensors")
    assert_bit_equal(saved, weights(fresh))


def _in_process(out: Path | None, after: Callable[[Status], None] = lambda status: None) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    tokenizer = train_tokenizer("char", ["abcdefghijklmnopqrstuvwxyz ."])
    texts = [random.integers(3, 29, 50).astype(np.int32) for _ in range(40)]
    options = TrainingOptions(epochs=4, batch_size=2, context_length=10, threads=1, checkpoint_seconds=0)
    model = new_rnn(tokenizer, width=16)
    return fit(model, texts, options, out=out, progress=Watch(after)), model


def test_an_interrupt_is_delivered_after_the_step_and_its_checkpoint(
    tokenizer: TrainedTokenizer, documents: list[TokenIds], tmp_path: Path
) -> None:
    options = replace(SMALL, checkpoint_seconds=1e6)

    def interrupt(status: Status) -> None:
        if status.step == 5:
            signal.raise_signal(signal.SIGINT)

    watch = Watch(interrupt)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(new_model("lstm", tokenizer), documents, options, out=tmp_path, progress=watch)
    assert watch.seen[-1].step == 5
    assert signal.getsignal(signal.SIGINT) is before
    resumed, whole = new_model("lstm", tokenizer), new_model("lstm", tokenizer)
    assert fit(resumed, documents, options, out=tmp_path).resumed_at == 5
    fit(whole, documents, options)
    assert_bit_equal(weights(resumed), weights(whole))


def test_another_training_in_the_folder_is_refused_by_name(
    tokenizer: TrainedTokenizer, documents: list[TokenIds], tmp_path: Path
) -> None:
    fit(new_model("lstm", tokenizer), documents, SMALL, out=tmp_path)
    before = checkpoint_file(tmp_path).read_bytes()
    cases = [
        (new_model("lstm", tokenizer), documents[1:], SMALL, "another corpus "),
        (new_model("lstm", tokenizer, seed=1), documents, SMALL, "another initial weights "),
        (
            new_model("lstm", tokenizer), documents, replace(SMALL, learning_rate=1.0, seed=4),
            "another learning_rate, seed ",
        ),
    ]  # fmt: skip
    for model, texts, options, message in cases:
        with pytest.raises(RunError, match=message):
            fit(model, texts, options, out=tmp_path)
    assert checkpoint_file(tmp_path).read_bytes() == before
    harmless = replace(SMALL, checkpoint_seconds=9.0)
    assert fit(new_model("lstm", tokenizer), documents, harmless, out=tmp_path).resumed_at > 0


def test_a_damaged_checkpoint_is_refused(
    tokenizer: TrainedTokenizer, documents: list[TokenIds], tmp_path: Path
) -> None:
    fit(new_model("lstm", tokenizer), documents, SMALL, out=tmp_path)
    file = checkpoint_file(tmp_path)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(RunError, match="not a checkpoint"):
        fit(new_model("lstm", tokenizer), documents, SMALL, out=tmp_path)


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    tokenizer: TrainedTokenizer, documents: list[TokenIds], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 8:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"No space left on device \(make room and run the same command"):
        fit(new_model("lstm", tokenizer), documents, SMALL, out=tmp_path)
    monkeypatch.undo()
    resumed, whole = new_model("lstm", tokenizer), new_model("lstm", tokenizer)
    assert fit(resumed, documents, SMALL, out=tmp_path).resumed_at == 4
    fit(whole, documents, SMALL)
    assert_bit_equal(weights(resumed), weights(whole))


PASSAGE = "it was on a dreary night of november that i beheld the accomplishment of my toils."


@pytest.mark.parametrize(
    ("family", "epochs", "rate"),
    [("lstm", 160, 1e-2), ("gru", 160, 1e-2), ("mrnn", 160, 5e-3), ("gpt2", 120, 1e-2), ("bert", 400, 1e-2)],
)
def test_an_overfit_passage_is_recited_and_fresh_weights_recite_nothing(family: str, epochs: int, rate: float) -> None:
    tokenizer = train_tokenizer("char", [PASSAGE])
    ids = tokenizer.encode_batch([PASSAGE])[0].ids
    window = Window(ids[:20], ids[20:])
    if family in ("lstm", "gru", "mrnn"):
        model: Any = new_rnn(tokenizer, cell=family, width=64)
    else:
        make = new_gpt if family == "gpt2" else new_bert
        model = make(tokenizer, width=64, layers=2, heads=2, context_length=96)
    fresh = model.score([window])
    options = TrainingOptions(
        epochs=epochs, batch_size=4, context_length=96, learning_rate=rate, mask_rate=0.4, threads=1
    )
    report = fit(model, [ids] * 4, options)
    scores = model.score([window])
    assert (fresh.rank == 0).mean() < 0.3
    assert (scores.rank == 0).mean() > 0.95
    assert scores.log_prob.sum() > 0.2 * fresh.log_prob.sum()
    assert report.loss < math.log2(tokenizer.vocab_size) / 4
    if model.objective == "next-token":
        np.testing.assert_array_equal(model.continuations([window.prefix], len(window.suffix))[0], window.suffix)


def test_record_progress_and_heldout_loss(
    tokenizer: TrainedTokenizer, documents: list[TokenIds], tmp_path: Path
) -> None:
    model = new_model("gpt2", tokenizer)
    watch = Watch()
    report = fit(model, documents, SMALL, out=tmp_path, heldout=documents[:3], heldout_bytes=100, progress=watch)
    assert [status.step for status in watch.seen] == list(range(1, report.steps + 1))
    assert {status.steps for status in watch.seen} == {report.steps}
    assert watch.seen[-1].seconds_left == 0
    assert report.tokens == 3 * sum(len(document) + 1 for document in documents)
    assert len([note for note in watch.notes if note.startswith("held-out")]) == 3
    assert report.heldout_measure == "bits per byte"
    assert model.training["loss"] == report.loss
    assert model.training["learning_rate"] == SMALL.learning_rate
    assert "seconds" not in model.training
    assert not model.module.training


def test_the_same_call_gives_the_same_bytes(documents: list[TokenIds], tmp_path: Path) -> None:
    tokenizer = train_tokenizer("char", ["abcdefghijklmnopqrstuvwxyz ."])
    for name in ("first", "second"):
        torch.manual_seed(len(name))
        fit(new_model("lstm", tokenizer), documents, SMALL, out=tmp_path / name)
    for file in ("model.safetensors", "memaudit.json", "tokenizer.json", "training/checkpoint.safetensors"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    assert RnnModel.load(tmp_path / "first").training["epochs"] == SMALL.epochs


def test_global_state_of_torch_is_left_alone(tokenizer: TrainedTokenizer, documents: list[TokenIds]) -> None:
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    fit(new_model("gpt2", tokenizer), documents, replace(SMALL, epochs=0.5, threads=threads + 1))
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads


def test_training_works_outside_the_main_thread(tokenizer: TrainedTokenizer, documents: list[TokenIds]) -> None:
    here, there = new_model("lstm", tokenizer), new_model("lstm", tokenizer)
    fit(here, documents, SMALL)
    worker = threading.Thread(target=fit, args=(there, documents, SMALL))
    worker.start()
    worker.join()
    assert_bit_equal(weights(here), weights(there))


def test_a_loss_that_is_not_finite_stops_the_training(tokenizer: TrainedTokenizer, documents: list[TokenIds]) -> None:
    model = new_model("lstm", tokenizer)
    with torch.no_grad():
        model.module.head.bias[3] = math.inf
    with pytest.raises(ModelError, match=r"loss is .* at step 0"):
        fit(model, documents, SMALL)


def test_nothing_to_train_on_is_refused(tokenizer: TrainedTokenizer) -> None:
    for documents in ([], [np.empty(0, np.int32)]):
        with pytest.raises(InputError, match="no documents"):
            fit(new_model("lstm", tokenizer), documents, SMALL)
