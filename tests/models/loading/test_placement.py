"""A model in parts, in memory and on the disk, gives what it gives whole; where the parts go is told and planned."""

from __future__ import annotations

import gc
import re
import shutil
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM as Auto
from transformers import GPT2Config, LlamaConfig, MambaConfig, MixtralConfig

from memaudit.audits.model_description import describe_model
from memaudit.errors import ModelError
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading import placement, stored
from memaudit.models.loading.build import check_same
from memaudit.models.loading.load import load_model
from memaudit.models.loading.placement import DISK, Placement, placed, plan, sizes_of
from memaudit.models.loading.stored import stored_tensors
from memaudit.models.loading.weights import read_headers
from memaudit.models.masked import new_bert
from memaudit.models.parts import in_parts
from memaudit.records import Window
from memaudit.runs.directory import identity
from memaudit.text.tokenize import train_tokenizer
from tests.models.zoo import new_module

BYTES = train_tokenizer("byte", [])
COMMON = {"vocab_size": BYTES.vocab_size, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
WIDE = COMMON | {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 6, "num_attention_heads": 2,
                 "num_key_value_heads": 1, "max_position_embeddings": 64}  # fmt: skip
CONFIGS: dict[str, Any] = {
    "untied": LlamaConfig(**WIDE),
    "tied": GPT2Config(**COMMON, n_embd=64, n_layer=6, n_head=2, n_positions=64),
    "experts": MixtralConfig(**WIDE, num_local_experts=2, num_experts_per_tok=1),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, config in CONFIGS.items():
        torch.manual_seed(0)
        made[name] = tmp_path_factory.mktemp(name)
        with quiet_transformers():
            Auto.from_config(config).save_pretrained(made[name], max_shard_size="100KB")
        BYTES.save(made[name])
    return made


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary folders that a test can count."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def little_memory(monkeypatch: pytest.MonkeyPatch, folder: Path, share: float) -> None:
    """Let there be memory for a share of the weights."""
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    monkeypatch.setattr(placement, "free_memory", lambda: {"cpu": int(share * size)})


def windows(model: Any) -> list[Window]:
    draw = np.random.default_rng(0).integers(3, 250, (4, 2, 12)).astype(np.int32)
    written = model.continuations([prefix for prefix, _ in draw], 12)
    return [Window(a, own if i % 2 else b) for i, ((a, b), own) in enumerate(zip(draw, written, strict=True))]


@pytest.mark.parametrize(("name", "dtype"), [("untied", "float32"), ("tied", "bfloat16"), ("experts", "float32")])
def test_what_is_measured_is_bit_for_bit_what_it_is_on_one_device(
    name: str, dtype: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    folder = folders[name]
    whole: Any = load_model(str(folder), dtype=dtype)
    little_memory(monkeypatch, folder, 0.6 if dtype == "float32" else 0.35)
    parted: Any = load_model(str(folder), dtype=dtype, device="auto")
    assert whole.placement == ""
    assert re.fullmatch(r"0\.\d GB on cpu, 0\.\d GB on disk \(a temporary folder in .*\)", parted.placement)
    assert {parameter.device.type for parameter in parted.module.parameters()} == {"cpu", "meta"}
    assert (parted.device, parted.dtype, parted.sha256) == ("cpu", dtype, whole.sha256)
    assert parted._is_split
    asked = windows(whole)
    ours, theirs = parted.score(asked), whole.score(asked)
    assert np.array_equal(ours.log_prob, theirs.log_prob)
    assert np.array_equal(ours.rank, theirs.rank)
    assert parted.screen(asked).tolist() == whole.screen(asked).tolist() == [0, 12] * 2
    prompts = [window.prefix for window in asked]
    for one, other in (
        (parted.continuations(prompts, 12), whole.continuations(prompts, 12)),
        (parted.greedy_continuations(asked), whole.greedy_continuations(asked)),
    ):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert (parted._slots is None) == (whole._slots is None)
    assert [each.name for each in here.iterdir()] == [next(here.glob("memaudit-*")).name]
    del parted
    gc.collect()
    assert list(here.iterdir()) == []


def test_the_plan_of_a_run_is_the_same_wherever_parts_lie(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = describe_model(load_model(str(folders["untied"])), "m")
    little_memory(monkeypatch, folders["untied"], 0.6)
    parted = describe_model(load_model(str(folders["untied"]), device="auto"), "m")
    assert "disk" in parted["placement"]
    assert identity({"model": whole}) == identity({"model": parted})
    assert identity({"model": whole}) != identity({"model": whole | {"device": "cuda"}})


def test_with_memory_enough_auto_is_the_first_device(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    model = load_model(str(folders["tied"]), device="auto")
    assert (model.device, model.placement, list(here.iterdir())) == ("cpu", "", [])


def test_without_accelerate_one_line_says_how_to_get_it(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    little_memory(monkeypatch, folders["tied"], 0.6)
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ModelError, match=r"several need accelerate \(pip install 'memaudit\[large\]'\)"):
        load_model(str(folders["tied"]), device="auto")


def test_too_little_memory_for_one_layer_and_too_small_a_disk_are_refused(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    little_memory(monkeypatch, folders["untied"], 0.1)
    with pytest.raises(ModelError, match=r"are free, too little for its largest layer \(--dtype bfloat16, which needs"):
        load_model(str(folders["untied"]), device="auto")
    little_memory(monkeypatch, folders["untied"], 0.6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ModelError, match=r"0\.0 GB are free in .* for the layers that memory has no room for"):
        load_model(str(folders["untied"]), device="auto")
    assert list(here.iterdir()) == []


def test_a_model_that_is_refused_leaves_no_folder(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, here: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folders["untied"], copy)
    for file in copy.glob("*.safetensors"):
        tensors = load_file(file)
        if (last := "model.layers.5.mlp.down_proj.weight") in tensors:
            tensors[last][0, 0] = float("nan")
            save_file(tensors, file, {"format": "pt"})
    little_memory(monkeypatch, copy, 0.6)
    with pytest.raises(ModelError, match=rf"tensor {last} has 1 non-finite value"):
        load_model(str(copy), device="auto")
    assert list(here.iterdir()) == []


def test_what_lies_on_the_disk_is_compared_too(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    folder = folders["untied"]
    little_memory(monkeypatch, folder, 0.6)
    model: Any = load_model(str(folder), device="auto")
    weights = stored_tensors(read_headers(folder), torch.float32)
    check_same(folder, model.module, weights)
    name = "model.layers.5.mlp.down_proj.weight"
    [file] = here.glob(f"memaudit-*/{name}.safetensors")
    save_file({name: load_file(file)[name] + 1}, file)
    with pytest.raises(ModelError, match=f"tensor {name} differs from the file after loading"):
        check_same(folder, model.module, weights)


def test_a_masked_model_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_bert(BYTES, width=64, layers=6, heads=2, context_length=64).save(tmp_path)
    whole = load_model(str(tmp_path))
    little_memory(monkeypatch, tmp_path, 0.6)
    parted = load_model(str(tmp_path), device="auto")
    assert parted.placement
    ids = np.arange(3, 23, dtype=np.int32)
    asked = [Window(ids[:10], ids[10:])]
    np.testing.assert_allclose(parted.score(asked).log_prob, whole.score(asked).log_prob, atol=1e-5)


def test_a_family_whose_parts_read_each_other_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    with quiet_transformers():
        Auto.from_config(MambaConfig(**COMMON, hidden_size=64, num_hidden_layers=6)).save_pretrained(tmp_path)
    BYTES.save(tmp_path)
    little_memory(monkeypatch, tmp_path, 0.6)
    try:
        assert load_model(str(tmp_path), device="auto").placement
    except ModelError as error:
        assert re.search(r"Mamba\w+ does not compute in parts: .* \(name one device\)", str(error))
        assert list(here.iterdir()) == []


def wrapper(family: str, folder: Path) -> Any:
    """Save a tiny model that sees beside reading, whose language model stands for itself; return it as it is loaded."""
    with quiet_transformers():
        new_module(family).save_pretrained(folder)
    BYTES.save(folder)
    return load_model(str(folder))


def test_of_what_sees_the_language_model_lies_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    whole = wrapper("llama4", tmp_path / "model")
    size = sum(parameter.nbytes for parameter in whole.module.parameters())
    monkeypatch.setattr(placement, "free_memory", lambda: {"cpu": int(0.9 * size)})
    parted: Any = load_model(str(tmp_path / "model"), device="auto")
    gc.collect()
    assert "disk" in parted.placement
    assert in_parts(parted.module)
    asked = windows(whole)
    assert np.array_equal(parted.score(asked).log_prob, whole.score(asked).log_prob)
    prompts = [window.prefix for window in asked]
    both = zip(parted.continuations(prompts, 12), whole.continuations(prompts, 12), strict=True)
    assert all(np.array_equal(a, b) for a, b in both)
    del parted
    gc.collect()
    assert list(here.iterdir()) == []


def test_a_tied_head_that_is_not_on_the_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    whole = wrapper("blip-2", tmp_path / "model")
    size = sum(parameter.nbytes for parameter in whole.module.parameters())
    monkeypatch.setattr(placement, "free_memory", lambda: {"cpu": int(0.6 * size)})
    with pytest.raises(ModelError, match=r"does not compute in parts: tensor .*lm_head.weight .* \(name one device\)"):
        load_model(str(tmp_path / "model"), device="auto")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("device", ["meta", "nowhere", "cuda:99"])
def test_a_device_that_is_not_there_is_named_before_anything_is_read(
    device: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored.StoredTensor, "_fill", lambda *_: pytest.fail("a tensor was read"))
    with pytest.raises(ModelError, match=f"^--device {device}: "):
        load_model(str(folders["tied"]), device=device)


def test_tensors_go_to_an_accelerator_when_they_are_read(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor takes the part of the accelerator."""
    told: list[Any] = []

    def build(places: Any) -> Any:
        told.append(places)
        return SimpleNamespace(get_decoder=lambda: None, to=lambda device: device)

    monkeypatch.setattr(placement, "CPU", "somewhere else")
    asked = Placement("cpu")
    placed(folders["tied"], asked, build)
    monkeypatch.setattr(placement.util, "find_spec", lambda _: None)
    assert placed(folders["tied"], asked, build) == "cpu"
    assert told == [{"device_map": torch.device("cpu")}, {}]


def described(config: Any) -> Any:
    with torch.device("meta"):
        return Auto.from_config(config)


def test_parts_fill_the_devices_in_order_and_what_has_no_room_goes_to_the_disk() -> None:
    module = described(CONFIGS["untied"])
    layer = sum(p.numel() * 2 for p in module.model.layers[0].parameters())
    free = {0: 4 * layer, 1: 3 * layer, "cpu": 5 * layer // 2}  # of the first and the last, a layer's room is left
    parts = plan(module, torch.bfloat16, free)
    sizes = sizes_of(module, parts)
    assert set(sizes) == {0, 1, "cpu", DISK}
    assert all(sizes[place] <= size for place, size in free.items())
    assert sizes.total() == sum(p.numel() * 2 for p in module.parameters())
    order = [0, 1, "cpu", DISK]
    places = [order.index(parts[f"model.layers.{number}"]) for number in range(6)]  # each of them whole
    assert places == sorted(places)
    assert plan(module, torch.bfloat16, {0: 100 * layer, "cpu": 0}) == {"": 0}
    everything = plan(module, torch.bfloat16, {"cpu": 0})
    assert set(everything.values()) == {DISK}


def test_tied_weights_stay_together() -> None:
    module = described(CONFIGS["tied"])
    total = sum(p.numel() * 4 for p in module.parameters())
    for share in (0.3, 0.5, 0.7):
        parts = plan(module, torch.float32, {0: int(share * total), "cpu": total})
        ends = {
            parts[part] for part in parts for end in ("transformer.wte", "lm_head") if f"{end}.".startswith(f"{part}.")
        }
        assert len(ends) == 1
