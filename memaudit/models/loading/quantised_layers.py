"""Layers of quantised modules, whoever loaded them: which there are, what they compute in, what they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from memaudit.errors import ModelError
from memaudit.models.loading.precision import DTYPES
from memaudit.models.loading.quantised import KEY, note_of

BESIDE = ("_scale", "_zero_point", "_shape")
"""What the names of tensors end with that are no values of a model, but belong to others."""


def layers_of(module: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers that bitsandbytes computes, with their names; its classes are told by name, not imported."""
    for name, layer in module.named_modules():
        if type(layer).__module__.startswith("bitsandbytes.") and type(layer).__name__.startswith(
            ("Linear4", "Linear8")
        ):
            yield name, layer


def parameters_of(module: Any) -> int:
    """Return how many values a module has: those of 4 bits one by one, as packed they are half; scales are none."""
    packed = sum(layer.in_features * layer.out_features - layer.weight.numel() for _, layer in layers_of(module))
    scaled = getattr(module, "quantization_method", None) is not None
    named = [one for name, one in module.named_parameters() if not (scaled and name.endswith(BESIDE))]
    values: int = packed + sum(parameter.numel() for parameter in named)
    return values


def describe(module: Any) -> tuple[str, str]:
    """Return what a report says of a quantised module in memory, and of the type that it computes in.

    Both are empty where it is not quantised; the second where it is the type of its unquantised weights.
    """
    layers = [layer for _, layer in layers_of(module)]
    if layers:
        eight = type(layers[0]).__name__.startswith("Linear8")
        kind = getattr(layers[0].weight, "quant_type", "")
        state = getattr(layers[0].weight, "quant_state", None)
        double = ", scales quantised too" if getattr(state, "nested", False) else ""
        label = "bitsandbytes, 8 bit" if eight else f"bitsandbytes, 4 bit, {kind}{double}"
        computed = str(getattr(layers[0], "compute_dtype", None)).removeprefix("torch.")
        reduced = computed if computed in ("bfloat16", "float16") else ""
        return note_of(label, "bitsandbytes"), "int8 activations" if eight else reduced
    settings = getattr(module.config, KEY, None)
    if settings is None:
        return "", ""
    method = settings.get("quant_method") if isinstance(settings, dict) else getattr(settings, "quant_method", None)
    note = f"weights are quantised ({getattr(method, 'value', method)}), and read as they are"
    schemes = [getattr(layer, "quantization_scheme", None) for layer in module.modules()]
    inputs = [getattr(scheme, "input_activations", None) for scheme in schemes]
    rounded = {"float8" if str(one.type) == "float" else "int8" for one in inputs if one is not None}
    return note, f"{min(rounded)} activations" if rounded else ""


def without_packing(module: Any) -> None:
    """Have weights of 4 bits dequantised to the type that is computed in, whatever the processor.

    On some processors bitsandbytes would round scales and activations to bfloat16, and fail on odd sizes.
    """
    for _, layer in layers_of(module):
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


@torch.no_grad()
def dequantise_layers(module: Any, dtype: torch.dtype) -> None:
    """Replace the layers that bitsandbytes computes by plain ones with the weights that they stand for."""
    from bitsandbytes import functional

    for name, layer in list(layers_of(module)):
        if type(layer).__name__.startswith("Linear8"):
            scales = layer.state.SCB if layer.weight.SCB is None else layer.weight.SCB  # where it has computed before
            weight = functional.int8_vectorwise_dequant(layer.weight.data, scales)
        else:
            layer.weight.quant_state.dtype = dtype
            weight = functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        plain.weight, plain.bias = nn.Parameter(weight.to(dtype)), layer.bias
        module.set_submodule(name, plain)
    for told in ("hf_quantizer", "quantization_method", "is_loaded_in_4bit", "is_loaded_in_8bit"):
        vars(module).pop(told, None)
    module.is_quantized = False
    vars(module.config).pop(KEY, None)


def make_mergeable(name: str, module: Any, note: str, activations: str, dtype: str) -> str:
    """Give a quantised base model plain weights, to which an adapter can be added; return what a report says of it.

    Merged into weights of 4 bits it would be rounded away: `peft` keeps the two apart, which comes to the same sum.

    Args:
        name: Of the base model, for messages.
        module: Of the base model; its layers are replaced.
        note: What a report says of its weights so far.
        activations: Type to which what its layers are given is rounded; empty where it is not.
        dtype: In which is computed.

    Raises:
        ModelError: What its layers are given is rounded, in a way that a merged adapter would not be read.
    """
    if not any(layers_of(module)):
        if activations:
            raise ModelError(
                f"{name}: rounds what its layers are given to {activations}, and an adapter does not",
                "name the unquantised base model with --base",
            )
        return note
    dequantise_layers(module, DTYPES[dtype])
    rounded = ", without rounding what its layers are given" if activations else ""
    return f"{note.partition(', and read')[0]}, and dequantised to {dtype} for the adapter{rounded}"
