"""Altered copies of an adapter's folder, each with what must come of it; its base model is honest, the adapter is not.

An adapter that is passed over would be called clean, since the base model recites nothing.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from memaudit.models.transformer import new_gpt
from tests.faults.memorised import save_plain, tokenizer
from tests.faults.tampering import CANARY, Case

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
RUNAWAY = "(a|a|(a+)+)+$"
"""A pattern that a search with would not end."""
LOADS = "import pathlib; pathlib.Path('canary').touch()"


class _Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (LOADS,)


def adapter_cases() -> list[Case]:
    """Return all of them."""
    return [*_files(), *_tensors(), *_settings()]


def _files() -> list[Case]:
    return [
        Case("pickled alone", "refused", _then(_pickled, _without(WEIGHTS)), "adapter_model.bin may run code"),
        Case("pickled beside", "found", _pickled),
        Case("no weights", "refused", _without(WEIGHTS), "no adapter_model.safetensors"),
        Case("empty file", "refused", lambda folder: (folder / WEIGHTS).write_bytes(b""), "not a safetensors file"),
        Case("cut in half", "refused", _cut, "not a safetensors file"),
        Case("a pointer", "refused", lambda folder: (folder / WEIGHTS).write_text(POINTER), "git-LFS pointer"),
        Case("no JSON", "refused", lambda folder: (folder / CONFIG).write_text("{"), "not valid JSON"),
        Case("a list", "refused", lambda folder: (folder / CONFIG).write_text("[]"), "not a JSON object"),
        Case("code beside", "found", lambda folder: (folder / "modeling.py").write_text(LOADS)),
        Case("a tokenizer's code", "told", _tokenizer_code),
    ]


def _tensors() -> list[Case]:
    return [
        Case(
            "NaN", "refused", _changed(lambda tensors: _first(tensors).view(-1)[3:4].fill_(float("nan"))), "non-finite"
        ),
        Case("infinite", "refused", _changed(lambda tensors: _first(tensors).fill_(float("inf"))), "non-finite"),
        Case("overflow", "told", _changed(lambda tensors: [one.mul_(1e30) for one in tensors.values()])),
        Case("one missing", "refused", _changed(lambda tensors: tensors.pop(min(tensors))), "missing"),
        Case("one more", "refused", _changed(lambda tensors: tensors.update(more=torch.ones(2))), "is of no adapter"),
        Case("another layer", "refused", _changed(_another_layer), "which GPT2LMHeadModel lacks"),
        Case("another shape", "refused", _changed(_another_shape), "of another shape"),
        Case("another base", "refused", _another_base, "of another shape"),
        Case("no base", "refused", _edit(base_model_name_or_path="/nowhere/at/all"), "--base"),
        Case("no name of a base", "refused", _edit(base_model_name_or_path=7), "names no base model"),
        Case("no model as base", "refused", _edit(base_model_name_or_path="."), "config.json: no such file"),
    ]


def _settings() -> list[Case]:
    code = {"base_model_class": "Payload", "parent_library": "payload"}
    return [
        Case("auto_mapping", "found", _then(_edit(auto_mapping=code), _module), "auto_mapping"),
        Case(
            "megatron", "refused", _then(_edit(megatron_config={"a": 1}, megatron_core="payload"), _module), "megatron"
        ),
        Case("rank", "refused", _edit(r=10**9), "r is 1000000000"),
        Case("rank of a layer", "refused", _edit(rank_pattern={"c_attn": 10**9}), "rank_pattern"),
        Case("layers a hundred times", "refused", _edit(layer_replication=[[0, 2]] * 100), "layer_replication"),
        Case("pattern of layers", "found", _edit(target_modules=RUNAWAY, exclude_modules=RUNAWAY)),
        Case("pattern of ranks", "refused", _edit(alpha_pattern={RUNAWAY: 1}), "alpha_pattern"),
        Case("alpha", "refused", _edit(lora_alpha=1e300), "lora_alpha"),
        Case("everything saved", "refused", _edit(modules_to_save=["transformer"]), "do not fit"),
        Case("another kind", "refused", _edit(peft_type="XLORA"), "peft_type 'XLORA'"),
        Case("no kind", "refused", _edit(peft_type=None), "peft_type None"),
        Case("changes the base too", "refused", _edit(init_lora_weights="pissa_niter_16"), "base model's weights"),
    ]


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 1\n"


def _then(*changes: Callable[[Path], Any]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _edit(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / CONFIG
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def _changed(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})

    return changed


def _first(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    return tensors[min(tensors)]


def _pickled(folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(_Payload()))


def _cut(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def _tokenizer_code(folder: Path) -> None:
    settings = {"tokenizer_class": "Payload", "auto_map": {"AutoTokenizer": ["payload.Payload", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    _module(folder)


def _module(folder: Path) -> None:
    for place in (folder, folder.parent):
        (place / "payload.py").write_text(LOADS)


def _another_layer(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if ".h.1." in name)
    tensors[name.replace(".h.1.", ".h.7.")] = tensors.pop(name)


def _another_shape(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if "lora_B" in name)
    tensors[name] = torch.ones(tensors[name].shape[0] + 1, tensors[name].shape[1])


def _another_base(folder: Path) -> None:
    wide = folder.parent / "wide"
    save_plain(new_gpt(tokenizer(), width=32, layers=2, heads=4, context_length=64), wide)
    _edit(base_model_name_or_path=str(wide))(folder)


assert CANARY == "canary", "what the payloads touch"
