"""A model that does not fit is refused by what its files declare, before anything of it is read."""

from __future__ import annotations

import json
import os
import re
import resource
import struct
import sys
from pathlib import Path

import pytest
from transformers import LlamaConfig

from memaudit.errors import ModelError
from memaudit.models.loading import room, stored
from memaudit.models.loading.load import load_model
from memaudit.models.loading.room import check_room, need_of
from memaudit.models.loading.weights import Declared
from memaudit.models.transformer import new_gpt
from memaudit.text.tokenize import train_tokenizer
from tests.faults.isolation import isolated

BYTES = train_tokenizer("byte", [])
TENSORS = {"a": Declared(Path("x"), "BF16", (300, 10)), "b": Declared(Path("x"), "I64", (100,))}


def huge(folder: Path, width: int, layers: int) -> None:
    """A folder that declares a Llama in bf16 whose tensors are holes: no room on the disk."""
    config = LlamaConfig(
        vocab_size=BYTES.vocab_size, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=8, num_key_value_heads=8, dtype="bfloat16",
    )  # fmt: skip
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    BYTES.save(folder)
    shapes = {"model.embed_tokens.weight": (BYTES.vocab_size, width), "lm_head.weight": (BYTES.vocab_size, width),
              "model.norm.weight": (width,)}  # fmt: skip
    for layer in range(layers):
        shapes |= {f"model.layers.{layer}.self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
        shapes |= {f"model.layers.{layer}.mlp.{name}_proj.weight": (3 * width, width) for name in ("gate", "up")}
        shapes[f"model.layers.{layer}.mlp.down_proj.weight"] = (width, 3 * width)
        shapes |= {f"model.layers.{layer}.{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    file = folder / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(file, 8 + len(text) + end)


def test_need_is_of_the_wanted_type_with_room_for_the_largest() -> None:
    assert need_of(TENSORS, "bfloat16") == room.Need(6_800, 6_000)
    assert need_of(TENSORS, "float32") == room.Need(12_800, 12_000)
    assert need_of(TENSORS, "float32").total == 12_800 + 1_280 + 12_000
    assert need_of({}, "float32").total == 0


@pytest.mark.parametrize(
    ("dtype", "stored_as", "way"),
    [
        ("float32", "bfloat16", "--dtype auto, which needs 0.0 GB; another way; a larger machine"),
        ("float32", "float32", "--dtype bfloat16, which needs 0.0 GB; another way; a larger machine"),
        ("bfloat16", "bfloat16", "(another way; a larger machine)"),
    ],
)
def test_the_line_names_what_is_needed_what_there_is_and_ways_on(
    dtype: str, stored_as: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda _: need_of(TENSORS, dtype).total)
    check_room(Path("m"), TENSORS, (dtype, stored_as), "cpu", "another way")
    monkeypatch.setattr(room, "free_bytes", lambda _: need_of(TENSORS, dtype).total - 1)
    with pytest.raises(ModelError) as caught:
        check_room(Path("m"), TENSORS, (dtype, stored_as), "cpu", "another way")
    assert str(caught.value).startswith(f"m: needs 0.0 GB of memory as {dtype}, 0.0 GB are free on cpu (")
    assert way in str(caught.value)
    monkeypatch.setattr(room, "free_bytes", lambda _: 0)
    check_room(Path("m"), TENSORS, (dtype, stored_as), "cpu", "another way")  # nothing is known


def test_hundreds_of_gigabytes_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge(tmp_path, width=8192, layers=256)  # 256 layers of 0.8 billion parameters
    assert (tmp_path / "model.safetensors").stat().st_size > 300 << 30
    monkeypatch.setattr(stored.StoredTensor, "_fill", lambda *_: pytest.fail("a tensor was read"))
    with pytest.raises(ModelError) as caught:
        load_model(str(tmp_path))
    found = re.fullmatch(
        r".*: needs ([\d,.]+) GB of memory as float32, [\d.]+ GB are free on cpu \(--dtype auto, which needs "
        r"([\d,.]+) GB; --device auto, which leaves layers on the disk; a larger machine\)",
        str(caught.value),
    )
    assert found
    assert float(found[1].replace(",", "")) == pytest.approx(2 * float(found[2].replace(",", "")), rel=1e-3)
    with pytest.raises(ModelError, match="of memory as bfloat16"):
        load_model(str(tmp_path), dtype="auto")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses")
def test_a_process_with_little_memory_refuses_in_one_line(tmp_path: Path) -> None:
    """What memory there is decides, not that of the machine: 100 MB are left, 180 or 360 are needed."""
    huge(tmp_path, width=1024, layers=4)

    def refused(dtype: str) -> None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000,) * 2)
        load_model(str(tmp_path), dtype=dtype)

    for dtype, resolved in (("float32", "float32"), ("auto", "bfloat16")):
        outcome = isolated(lambda dtype=dtype: refused(dtype))
        assert outcome.exit_code == 2
        needed = rf"{tmp_path}: needs 0.\d GB of memory as {resolved}, 0.\d GB are free on cpu \("
        assert re.match(needed, outcome.message), outcome.message
        assert outcome.mebibytes < 100


def test_auto_is_resolved_and_recorded(tmp_path: Path) -> None:
    model = new_gpt(BYTES, width=32)
    model.module.bfloat16()
    model.save(tmp_path)
    assert load_model(str(tmp_path), dtype="auto").dtype == "bfloat16"
    assert load_model(str(tmp_path)).dtype == "float32"
    settings = json.loads((tmp_path / "config.json").read_text())
    for key in ("dtype", "torch_dtype"):
        settings.pop(key, None)
    (tmp_path / "config.json").write_text(json.dumps(settings))
    found = load_model(str(tmp_path), dtype="auto")
    assert found.dtype == "bfloat16"
    assert str(next(found.module.parameters()).dtype) == "torch.bfloat16"  # type: ignore[attr-defined]
