"""Altered copies of quantised folders, each with what must come of it: settings steer nothing, scales are seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.faults.tampering import CANARY, Case

LAYER = "transformer.h.1.mlp.c_fc"
STATE = f"{LAYER}.weight.quant_state.bitsandbytes__nf4"
RUNAWAY = "(a|a|(a+)+)+$"
"""A pattern that a search with would not end."""


def quantised_cases() -> list[tuple[str, Case]]:
    """Return all of them, each with the kind of folder that it alters: ``nf4`` of bitsandbytes, or ``fp8``."""
    cases = [("nf4", case) for case in (*_steering(), *_descriptions(), *_scales_of_4_bits())]
    return cases + [("fp8", case) for case in _eights()]


def _steering() -> list[Case]:
    return [
        Case("another method", "refused", _settings(quant_method="quark"), "quantised by 'quark'"),
        Case("a key that names code", "refused", _then(_settings(auto_map={"a": "evil.Payload"}), _evil), "'auto_map'"),
        Case("a key that names a kernel", "refused", _settings(kernel="somebody/kernel"), "'kernel'"),
        Case("a type that is a function", "refused", _settings(bnb_4bit_compute_dtype="load"), "compute_dtype"),
        Case("a pattern of layers", "refused", _settings(llm_int8_skip_modules=[RUNAWAY]), "llm_int8_skip_modules"),
        Case("a million layers", "refused", _settings(llm_int8_skip_modules=["a"] * 10**6), "llm_int8_skip_modules"),
        Case("skips a layer", "refused", _settings(llm_int8_skip_modules=["c_fc"]), "c_fc"),
        Case("skips all layers", "refused", _settings(llm_int8_skip_modules=["transformer"]), "transformer.h"),
        Case("another type of 4 bits", "refused", _settings(bnb_4bit_quant_type="fp4"), "is not bitsandbytes"),
        Case("computes in float16", "found", _settings(bnb_4bit_compute_dtype="float16")),
        Case("8 bits", "refused", _settings(load_in_8bit=True, load_in_4bit=False), "and no tensor is"),
        Case("both", "refused", _settings(load_in_8bit=True), "and no tensor is"),
        Case("settings of a part", "refused", _part, "of a part"),
        Case("claims to be plain", "refused", _plain, "holds U8"),
        Case("another method's name", "refused", _method({"quant_method": "gptq", "bits": 4}), "and no tensor is"),
        Case("fp8 by name", "refused", _method({"quant_method": "fp8"}), "and no tensor is"),
    ]  # fmt: skip


def _descriptions() -> list[Case]:
    return [
        Case("description: shape", "refused", _state(shape=[2**40, 2**40]), "does not describe"),
        Case("description: negative", "refused", _state(shape=[-256, -64]), "does not describe"),
        Case("description: turned round", "refused", _state(shape=[64, 256]), "another shape"),
        Case("description: block", "refused", _state(blocksize=1), "does not describe"),
        Case("description: type", "refused", _state(dtype="load"), "does not describe"),
        Case("description: offset", "refused", _state(nested_offset=float("nan")), "does not describe"),
        Case("description: nested deep", "refused", _tensors({STATE: _bytes(b"[" * 2000)}), "does not describe"),
        Case("description: long", "refused", _tensors({STATE: torch.zeros(10**7, dtype=torch.uint8)}), "not describe"),
        Case("description: twice", "refused", _tensors({STATE.replace("nf4", "fp4"): _bytes(b"{}")}), "is not"),
    ]


def _scales_of_4_bits() -> list[Case]:
    def absmax(value: float) -> Callable[[dict[str, torch.Tensor]], Any]:
        return lambda tensors: tensors[f"{LAYER}.weight.nested_absmax"].fill_(value)

    def offset(tensors: dict[str, torch.Tensor]) -> None:
        tensors[f"{LAYER}.weight.nested_quant_map"][:] = 0

    return [
        Case("scales: NaN", "refused", _changed(absmax(float("nan"))), "non-finite"),
        Case("scales: infinite", "refused", _changed(absmax(float("inf"))), "non-finite"),
        Case("scales: huge", "told", _changed(absmax(1e38))),
        Case("scales: all the same", "told", _changed(offset)),
        Case("scales: missing", "refused", _changed(lambda t: t.pop(f"{LAYER}.weight.absmax")), "does not describe"),
        Case("codes: others", "refused", _changed(lambda t: t[f"{LAYER}.weight.quant_map"].neg_()), "for its codes"),
        Case("codes: swapped", "told", _changed(lambda t: t[f"{LAYER}.weight"].bitwise_not_())),
        Case("weights: cut", "refused", _changed(_cut), "does not describe"),
        Case("weights: floats", "refused", _changed(_floats), "does not describe"),
        Case("weights: of no layer", "refused", _tensors({"more.weight": torch.zeros(4)}), "unexpected"),
    ]  # fmt: skip


def _eights() -> list[Case]:
    scale = f"{LAYER}.weight_scale_inv"
    return [
        Case("fp8: scales NaN", "refused", _changed(lambda t: t[scale].fill_(float("nan"))), "non-finite"),
        Case("fp8: scales zero", "refused", _changed(lambda t: t[scale].zero_()), "zeros only"),
        Case("fp8: scales tiny", "told", _changed(lambda t: t[scale].fill_(1e-38))),
        Case("fp8: scales missing", "refused", _changed(lambda t: t.pop(scale)), "comes without"),
        Case("fp8: scales of another", "refused", _tensors({scale: torch.ones(1, 1)}), "do not fit"),
        Case("fp8: values NaN", "refused", _changed(_not_numbers), "finite"),
        Case("fp8: blocks of 0", "refused", _settings(weight_block_size=[0, 16]), "weight_block_size"),
        Case("fp8: huge blocks", "refused", _settings(weight_block_size=[1 << 40, 16]), "weight_block_size"),
        Case("fp8: other blocks", "refused", _settings(weight_block_size=[8, 16]), "do not fit"),
        Case("fp8: claims to be plain", "refused", _plain, "holds F8_E4M3"),
        Case("fp8: as GPTQ", "refused", _method({"quant_method": "gptq", "bits": 4}), "and no tensor is"),
    ]  # fmt: skip


def _then(*changes: Callable[[Path], Any]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def _config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        content = json.loads((folder / "config.json").read_text())
        change(content)
        (folder / "config.json").write_text(json.dumps(content))

    return changed


def _settings(**changes: Any) -> Callable[[Path], None]:
    return _config(lambda content: content["quantization_config"].update(changes))


def _method(settings: Mapping[str, Any]) -> Callable[[Path], None]:
    return _config(lambda content: content.update(quantization_config=settings))


_plain = _config(lambda content: content.pop("quantization_config"))
_part = _config(lambda content: content.update(text_config={"quantization_config": {"quant_method": "bitsandbytes"}}))


def _evil(folder: Path) -> None:
    (folder / "evil.py").write_text(f"open({CANARY!r}, 'w')\n")


def _changed(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return changed


def _tensors(more: Mapping[str, torch.Tensor]) -> Callable[[Path], None]:
    return _changed(lambda tensors: tensors.update(more))


def _state(**changes: Any) -> Callable[[Path], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        told = json.loads(bytes(tensors[STATE].tolist())) | changes
        tensors[STATE] = _bytes(json.dumps(told).encode())

    return _changed(change)


def _cut(tensors: dict[str, torch.Tensor]) -> None:
    tensors[f"{LAYER}.weight"] = tensors[f"{LAYER}.weight"][:-1]


def _floats(tensors: dict[str, torch.Tensor]) -> None:
    tensors[f"{LAYER}.weight"] = tensors[f"{LAYER}.weight"].float()


def _not_numbers(tensors: dict[str, torch.Tensor]) -> None:
    tensors[f"{LAYER}.weight"].view(torch.uint8).fill_(0x7F)


def _bytes(content: bytes) -> torch.Tensor:
    return torch.tensor(list(content), dtype=torch.uint8)
