"""Quantised copies of a plain model folder, as the tools that people use write them; of most, the plain model too.

GPTQ, AWQ, fp8 and mxfp4 are written by hand, word by word, so that no code is tested against itself.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.kept import without_kernels

GROUP = 16
WEIGHTS = "model.safetensors"
COMPRESSED: Mapping[str, dict[str, Any]] = {
    "int8": {"weights": {"num_bits": 8, "type": "int", "strategy": "channel"}},
    "int4": {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP}},
    "w8a8": {
        "weights": {"num_bits": 8, "type": "int", "strategy": "channel"},
        "input_activations": {"num_bits": 8, "type": "int", "strategy": "token", "dynamic": True},
    },
    "float8": {
        "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
        "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True},
    },
}
FORMATS = {"int8": "pack-quantized", "int4": "pack-quantized", "w8a8": "int-quantized", "float8": "float-quantized"}


def is_layer(name: str) -> bool:
    """Whether a tensor is what these methods quantise in a Llama or a GPT-2."""
    return name.endswith(("_proj.weight", "c_fc.weight", "c_attn.weight"))


def write(source: Path, folder: Path, settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Copy a folder with other weights, and settings of quantisation where there are any."""
    shutil.copytree(source, folder)
    (folder / "memaudit.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, **({"quantization_config": settings} if settings else {})})
    )
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS, {"format": "pt"})


def quiet() -> contextlib.ExitStack:
    """Silence what the libraries say while they load and save."""
    stack = contextlib.ExitStack()
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    stack.enter_context(quiet_transformers())
    stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
    stack.enter_context(without_kernels())
    return stack


def bitsandbytes(source: Path, folder: Path, **settings: Any) -> None:
    """Write what `transformers` saves of a model that it quantised with bitsandbytes."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    shutil.copytree(source, folder)
    (folder / "memaudit.json").unlink(missing_ok=True)
    with quiet():
        config = BitsAndBytesConfig(**settings)
        model = AutoModelForCausalLM.from_pretrained(source, quantization_config=config, dtype=torch.float32)
        model.save_pretrained(folder)


def compressed(source: Path, folder: Path, kind: str) -> None:
    """Write what compressed-tensors makes of a model's linear layers, but for the head."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
    from transformers import AutoModelForCausalLM

    group = {"targets": ["Linear"], **COMPRESSED[kind]}
    with quiet():
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
        config = QuantizationConfig(
            config_groups={"group_0": group}, format=FORMATS[kind], quantization_status="frozen", ignore=["lm_head"]
        )
        apply_quantization_config(model, config)
        for layer in model.modules():
            if hasattr(layer, "weight_scale"):
                largest = {"int4": 7, "float8": 448}.get(kind, 127)
                grouped = layer.weight.data.reshape(len(layer.weight), layer.weight_scale.shape[-1], -1)
                layer.weight_scale.data = grouped.abs().amax(-1) / largest
        compressor = ModelCompressor.from_pretrained_model(model)
        compressor.compress_model(model)
        shutil.copytree(source, folder)
        (folder / "memaudit.json").unlink(missing_ok=True)
        model.save_pretrained(folder)
        compressor.update_config(str(folder))


def gptq(source: Path, folder: Path, plain: Path, *, bits: int = 4, group: int = GROUP, shuffled: bool = False) -> None:
    """Write a model in the format of GPTQ, and the plain model of the same weights."""
    lot, held, values = np.random.default_rng(0), {}, {}
    for name, tensor in load_file(source / WEIGHTS).items():
        if not is_layer(name):
            held[name] = values[name] = tensor
            continue
        outputs, inputs = tensor.shape
        size = inputs if group == -1 else group
        order = lot.permutation(inputs) if shuffled else np.arange(inputs)
        index = np.empty(inputs, np.int32)
        index[order] = np.arange(inputs) // size
        codes, zeros, scales = _quantised(tensor.numpy(), index, bits)
        stem, packed = name.removesuffix(".weight"), 32 // bits
        words = np.zeros((inputs // packed, outputs), np.uint32)
        for row in range(inputs):
            words[row // packed] |= codes[:, row].astype(np.uint32) << np.uint32(bits * (row % packed))
        stored = np.zeros((len(scales), outputs // packed), np.uint32)
        for column in range(outputs):
            less_one = (zeros[:, column] - 1).astype(np.uint32)
            stored[:, column // packed] |= less_one << np.uint32(bits * (column % packed))
        held |= {
            f"{stem}.qweight": _words(words), f"{stem}.qzeros": _words(stored),
            f"{stem}.scales": torch.from_numpy(scales), f"{stem}.g_idx": torch.from_numpy(index),
        }  # fmt: skip
        values[name] = _value(codes, zeros, scales, index)
    settings = {"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": shuffled, "sym": False}
    write(source, folder, {**settings, "checkpoint_format": "gptq", "meta": {"quantizer": "by hand"}}, held)
    write(source, plain, {}, values)


def awq(source: Path, folder: Path, plain: Path) -> None:
    """Write a model in the format of AWQ, and the plain model of the same weights."""
    held, values, places = {}, {}, (0, 2, 4, 6, 1, 3, 5, 7)
    for name, tensor in load_file(source / WEIGHTS).items():
        if not is_layer(name):
            held[name] = values[name] = tensor
            continue
        outputs, inputs = tensor.shape
        index = (np.arange(inputs) // GROUP).astype(np.int32)
        codes, zeros, scales = _quantised(tensor.numpy(), index, 4)
        words = {
            "qweight": np.zeros((inputs, outputs // 8), np.uint32),
            "qzeros": np.zeros((len(scales), outputs // 8), np.uint32),
        }
        for key, what in (("qweight", codes.T), ("qzeros", zeros)):
            for column in range(outputs // 8):
                for place, which in enumerate(places):
                    words[key][:, column] |= what[:, 8 * column + which].astype(np.uint32) << np.uint32(4 * place)
        stem = name.removesuffix(".weight")
        held |= {f"{stem}.{key}": _words(what) for key, what in words.items()}
        held[f"{stem}.scales"] = torch.from_numpy(scales)
        values[name] = _value(codes, zeros, scales, index)
    settings = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}
    write(source, folder, {**settings, "modules_to_not_convert": None}, held)
    write(source, plain, {}, values)


def fp8(source: Path, folder: Path, plain: Path, block: tuple[int, int] | None = (16, 16)) -> None:
    """Write a model in the fp8 of DeepSeek and Qwen3, and the plain model of the same weights."""
    held, values = {}, {}
    for name, tensor in load_file(source / WEIGHTS).items():
        if not is_layer(name):
            held[name] = values[name] = tensor
            continue
        rows, columns = block or tuple(tensor.shape)
        scales = torch.zeros(-(-tensor.shape[0] // rows), -(-tensor.shape[1] // columns))
        whole, value = torch.zeros_like(tensor, dtype=torch.float8_e4m3fn), torch.zeros_like(tensor)
        for i in range(len(scales)):
            for j in range(scales.shape[1]):
                at = (slice(i * rows, (i + 1) * rows), slice(j * columns, (j + 1) * columns))
                scales[i, j] = tensor[at].abs().max() / 448
                whole[at] = (tensor[at] / scales[i, j]).to(torch.float8_e4m3fn)
                value[at] = whole[at].float() * scales[i, j]
        held |= {name: whole, f"{name}_scale_inv": scales if block else scales.reshape(())}
        values[name] = value
    settings = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3"}
    write(source, folder, {**settings, "weight_block_size": block and list(block)}, held)
    write(source, plain, {}, values)


def experts_in_mxfp4(source: Path, folder: Path) -> None:
    """Write a gpt-oss model whose experts are in mxfp4, with random weights."""
    lot, held = torch.Generator().manual_seed(0), {}
    for name, tensor in load_file(source / WEIGHTS).items():
        if not name.endswith(("gate_up_proj", "down_proj")):
            held[name] = tensor
            continue
        experts, inputs, outputs = tensor.shape
        shape = (experts, outputs, inputs // 32)
        held[f"{name}_blocks"] = torch.randint(256, (*shape, 16), generator=lot, dtype=torch.uint8)
        held[f"{name}_scales"] = torch.randint(119, 123, shape, generator=lot, dtype=torch.uint8)
    settings = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}
    write(source, folder, settings, held)


Arrays = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def _quantised(weight: np.ndarray[Any, Any], index: np.ndarray[Any, Any], bits: int) -> Arrays:
    """Return codes [outputs, inputs], zeros and scales [groups, outputs], of which no zero is 0."""
    groups, most = index.max() + 1, 2**bits - 1
    zeros, scales = np.ones((groups, len(weight)), np.int64), np.ones((groups, len(weight)), np.float16)
    codes = np.zeros(weight.shape, np.int64)
    for group in range(groups):
        some = weight[:, index == group]
        low, high = some.min(1), some.max(1)
        scales[group] = (high - low) / (most - 1)
        zeros[group] = np.clip(np.round(-low / scales[group]), 1, most)
        codes[:, index == group] = np.clip(np.round(some / scales[group][:, None]) + zeros[group][:, None], 0, most)
    return codes, zeros, scales


def _value(codes: np.ndarray[Any, Any], zeros: Any, scales: Any, index: np.ndarray[Any, Any]) -> Tensor:
    value = (codes - zeros[index].T).astype(np.float32) * scales[index].T.astype(np.float32)
    return torch.from_numpy(value)


def _words(words: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(words.view(np.int32))


Made = Callable[[Path, Path], None]
KEPT: Mapping[str, Made] = {
    "nf4": lambda source, folder: bitsandbytes(
        source, folder, load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    ),
    "fp4": lambda source, folder: bitsandbytes(source, folder, load_in_4bit=True, bnb_4bit_quant_type="fp4"),
    "llm.int8": lambda source, folder: bitsandbytes(source, folder, load_in_8bit=True),
    "int8": lambda source, folder: compressed(source, folder, "int8"),
    "int4": lambda source, folder: compressed(source, folder, "int4"),
    "w8a8": lambda source, folder: compressed(source, folder, "w8a8"),
    "float8": lambda source, folder: compressed(source, folder, "float8"),
}
"""What the libraries write that read it, by the name of its test."""
