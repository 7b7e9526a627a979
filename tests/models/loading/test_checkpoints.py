"""Folders that a trainer wrote: ``run/checkpoint-500``, the state of the training beside the weights, its tokenizer."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from memaudit.errors import InputError, ModelError
from memaudit.models.loading.checkpoints import borrowed_files, logged_step, refuse_run, tokenizer_folder
from memaudit.models.loading.load import load_model
from memaudit.models.transformer import new_gpt
from tests.faults.memorised import save_plain, tokenizer

STATE = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "rng_state_3.pth", "training_args.bin")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    save_plain(new_gpt(tokenizer(), width=32, layers=2, heads=2, context_length=64), folder)
    return folder


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    """A run with two checkpoints, their tokenizer in the folder above, as a trainer leaves it."""
    for step in (500, 1000):
        folder = tmp_path / "run" / f"checkpoint-{step}"
        shutil.copytree(original, folder)
        for file in folder.glob("*token*"):
            shutil.move(file, tmp_path / "run" / file.name)
        for name in STATE:
            os.mkfifo(folder / name)  # whoever opens one of them waits for good
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": []}))
    return tmp_path / "run"


def test_a_checkpoint_is_a_model_whose_tokenizer_is_that_of_the_run(run: Path, original: Path) -> None:
    model = load_model(str(run / "checkpoint-500"))
    assert model.notes == ("the tokenizer of checkpoint-500 is that of the folder above it",)
    assert model.step == 500
    paths = [file["path"] for file in model.files]
    assert "../tokenizer.json" in paths
    assert not {"trainer_state.json", *STATE}.intersection(paths)
    assert model.tokenizer.sha256 == load_model(str(original)).tokenizer.sha256
    settings = run / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_bytes()), "model_max_length": 63}))
    assert load_model(str(run / "checkpoint-500")).sha256 != model.sha256
    assert model.inputs is not None
    with pytest.raises(InputError, match=r"tokenizer_config\.json: changed while this run read it"):
        model.inputs.check()


def test_a_tokenizer_of_its_own_goes_first_and_no_other_folder_borrows(run: Path, original: Path) -> None:
    other = run / "other"
    shutil.copytree(run / "checkpoint-500", other, ignore=shutil.ignore_patterns(*STATE))
    assert borrowed_files(other) == []
    with pytest.raises(ModelError, match="no usable tokenizer"):
        load_model(str(other))
    for file in original.glob("*token*"):
        shutil.copy(file, run / "checkpoint-500")
    assert tokenizer_folder(run / "checkpoint-500") == run / "checkpoint-500"
    assert load_model(str(run / "checkpoint-500")).notes == ()


def test_from_inside_the_folder_and_through_a_link(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run.parent / "latest").symlink_to(run / "checkpoint-1000")
    told = ("the tokenizer of checkpoint-1000 is that of the folder above it",)
    linked = load_model(str(run.parent / "latest"))
    assert (linked.notes, linked.step) == (told, 1000)
    monkeypatch.chdir(run / "checkpoint-1000")
    assert load_model(".").notes == told


def test_a_run_without_a_model_of_its_own_says_what_to_audit(run: Path, original: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(str(run))
    assert str(caught.value) == (
        f"{run}: holds no model of its own but 2 checkpoints: checkpoint-500, checkpoint-1000"
        f" (name one of them, {run}/checkpoint-1000, or audit all with {run}/checkpoint-*)"
    )
    for step in range(1500, 6000, 500):
        (run / f"checkpoint-{step}").mkdir()
    said = "11 checkpoints: checkpoint-500, checkpoint-1000, checkpoint-1500, ..., checkpoint-5000, checkpoint-5500 "
    with pytest.raises(ModelError, match=said):
        refuse_run(run)
    shutil.copytree(original, run, dirs_exist_ok=True)
    assert load_model(str(run)).notes == ()


def test_a_checkpoint_without_weights_is_not_refused_for_its_state(run: Path) -> None:
    (run / "checkpoint-500" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        load_model(str(run / "checkpoint-500"))


@pytest.mark.parametrize(
    ("content", "step"),
    [(b'{"global_step": 7}', 7), (b'{"global_step": "7"}', None), (b'{"global_step": -1}', None), (b"[7]", None),
     (b"{", None), (b"[" * 100_000, None), (b'{"global_step": true}', None), (b" " * (9 << 20), None)],
)  # fmt: skip
def test_the_step_that_a_trainer_noted(tmp_path: Path, content: bytes, step: int | None) -> None:
    (tmp_path / "trainer_state.json").write_bytes(content)
    assert logged_step(tmp_path) == step
    (tmp_path / "trainer_state.json").unlink()
    assert logged_step(tmp_path) is None
    os.mkfifo(tmp_path / "trainer_state.json")
    assert logged_step(tmp_path) is None


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_saved_as_a_checkpoint(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    adapter, base = tmp_path / "run" / "checkpoint-3", new_gpt(tokenizer(), width=32, layers=2, heads=2)
    save_plain(base, tmp_path / "base")
    config = peft.LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True)
    peft.get_peft_model(base.module, config).save_pretrained(adapter)
    settings = json.loads((adapter / "adapter_config.json").read_bytes())
    settings["base_model_name_or_path"] = str(tmp_path / "base")
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    for name in STATE:
        (adapter / name).write_bytes(b"never read")
    (adapter / "trainer_state.json").write_text('{"global_step": 3}')
    model = load_model(str(adapter))
    assert model.step == 3
    assert len(model.notes) == 1
    for file in (tmp_path / "base").glob("*token*"):
        shutil.copy(file, tmp_path / "run")
    assert load_model(str(adapter)).notes[1:] == ("the tokenizer of checkpoint-3 is that of the folder above it",)
