"""Which quantised weights are read: an allow-list of methods, every key of their settings known and checked.

``quantization_config`` chooses what multiplies a model's weights, so that nothing in it is passed on unread. GPTQ, AWQ,
fp8 and mxfp4 are dequantised here (`memaudit.models.loading.packed`); bitsandbytes and compressed-tensors are read by
their libraries (`memaudit.models.loading.kept`), which keep the weights as they lie in the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memaudit.errors import ModelError, one_line

KEY = "quantization_config"
LONGEST = 10_000
"""Names of layers that a list may hold."""
LARGEST_GROUP = 1 << 16
"""Values that may share a scale."""
REPEATS = 3
"""Repetitions in a pattern for names of layers: searching takes time to the power of their number."""
UNQUANTISED = "save the model unquantised, or load it through python:"

Check = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How the weights of a folder are quantised, as far as its configuration tells."""

    method: str
    """``bitsandbytes-4bit``, ``bitsandbytes-8bit``, ``compressed-tensors``, ``gptq``, ``awq``, ``fp8`` or ``mxfp4``."""
    label: str
    """As a reader of a report is told: ``GPTQ, 4 bit, groups of 128``."""
    settings: Mapping[str, Any]
    """The keys of the configuration that are followed."""
    library: str = ""
    """What reads it, empty where we do."""
    activations: str = ""
    """Type to which what a layer is given is rounded, ``int8`` or ``float8``; empty where it is not."""

    def note(self, dtype: str) -> str:
        """Return what a report says of weights that are computed with in a type."""
        if self.library:
            return note_of(self.label, self.library)
        return f"weights are quantised ({self.label}), and dequantised to {dtype}"


def note_of(label: str, library: str) -> str:
    """Return what a report says of weights that a library reads as they are."""
    from importlib import metadata

    return f"weights are quantised ({label}), and read as they are by {library} {metadata.version(library)}"


def quantisation_of(file: Path, raw: Mapping[str, Any]) -> Quantisation | None:
    """Return how the weights of a folder are quantised; None where its configuration does not say that they are.

    Args:
        file: The configuration.
        raw: What it holds.

    Raises:
        ModelError: A method that is not known, a key or a value of its settings that is not, or settings in the
            configuration of a part.
    """
    if _inside(raw, 0):
        raise ModelError(f"{file}: {KEY} of a part of the model", UNQUANTISED)
    if "compression_config" in raw:
        raise ModelError(f"{file}: compression_config is of an old release of compressed-tensors", UNQUANTISED)
    if KEY not in raw:
        return None
    found = raw[KEY]
    if not isinstance(found, dict):
        raise ModelError(f"{file}: {KEY} is no object", UNQUANTISED)
    named = found.get("quant_method", "bitsandbytes" if "load_in_4bit" in found or "load_in_8bit" in found else None)
    method = METHODS.get(named) if isinstance(named, str) else None
    if named is None:
        raise ModelError(f"{file}: {KEY} names no quant_method", UNQUANTISED)
    if method is None:
        known = ", ".join(METHODS)
        raise ModelError(
            f"{file}: quantised by {one_line(repr(named), 60)}, which is not read ({known} are)", UNQUANTISED
        )
    checks, read = method
    for key, value in found.items():
        if key not in checks:
            raise ModelError(f"{file}: {KEY} has the key {one_line(repr(key), 60)}, unknown for {named}", UNQUANTISED)
        if not checks[key](value):
            shown = one_line(repr(value), 60)
            raise ModelError(f"{file}: {KEY}: {key} is {shown}, which is not read for {named}", UNQUANTISED)
    return read(found)


def _inside(raw: Any, depth: int) -> bool:
    """Return whether settings of quantisation lie below the top of a configuration, where libraries look too."""
    if isinstance(raw, dict):
        if depth and KEY in raw:
            return True
        return any(_inside(value, depth + 1) for key, value in raw.items() if key != KEY)
    return isinstance(raw, list) and any(_inside(value, depth + 1) for value in raw)


def _one_of(*values: Any) -> Check:
    return lambda value: any(value == one and type(value) is type(one) for one in values)


def _flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _anything(_: Any) -> bool:
    """Of what is not followed: how somebody calibrated, which kernel is preferred."""
    return True


def _nothing(value: Any) -> bool:
    return value in (None, {}, [])


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value < 1e6


def _group(value: Any) -> bool:
    return type(value) is int and (value == -1 or 0 < value <= LARGEST_GROUP)


def _block(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and all(map(_group, value)) and min(value) > 0)


def _names(value: Any) -> bool:
    """Whether a value is a list of names of layers, which libraries search with as if they were patterns."""
    plain = re.compile(r"[\w.-]{1,200}")
    listed = isinstance(value, list) and len(value) <= LONGEST
    return value is None or (listed and all(isinstance(one, str) and plain.fullmatch(one) for one in value))


def _patterns(value: Any) -> bool:
    """Whether a value is a list of names of layers or of patterns (``re:.*mlp.*``) that are quickly searched."""
    listed = isinstance(value, list) and len(value) <= LONGEST
    return value is None or (listed and all(isinstance(one, str) and _quick(one) for one in value))


def _quick(pattern: str) -> bool:
    if not pattern.startswith("re:"):
        return _names([pattern])
    if not re.fullmatch(r"[\w.\-*+$^\\|()\[\]]{1,200}", pattern.removeprefix("re:")):
        return False
    nested = re.search(r"\)[*+]|\\\d", pattern)
    repeats = len(re.findall(r"[*+]", pattern))
    try:
        re.compile(pattern.removeprefix("re:"))
    except re.error:
        return False
    return nested is None and repeats <= REPEATS


DTYPES = _one_of("float32", "float16", "bfloat16", None)
BITSANDBYTES: Mapping[str, Check] = {
    "quant_method": _anything, "load_in_4bit": _flag, "load_in_8bit": _flag, "_load_in_4bit": _flag,
    "_load_in_8bit": _flag, "bnb_4bit_compute_dtype": DTYPES,
    "bnb_4bit_quant_storage": _one_of("uint8", None), "bnb_4bit_quant_type": _one_of("nf4", "fp4"),
    "bnb_4bit_use_double_quant": _flag, "llm_int8_enable_fp32_cpu_offload": _one_of(False, None),
    "llm_int8_has_fp16_weight": _one_of(False, None), "llm_int8_skip_modules": _names, "llm_int8_threshold": _number,
}  # fmt: skip
CALIBRATED: Mapping[str, Check] = dict.fromkeys(
    (
        "quant_method", "act_group_aware", "backend", "batch_size", "block_name_to_quantize", "cache_block_outputs",
        "damp_auto_increment", "damp_percent", "dataset", "disable_exllama", "do_fuse", "exllama_config",
        "fuse_max_seq_len", "max_input_length", "meta", "model_file_base_name", "model_name_or_path", "model_seqlen",
        "module_name_preceding_first_block", "modules_in_block_to_quantize", "modules_to_fuse",
        "modules_to_not_convert", "mse", "pad_token_id", "static_groups", "tokenizer", "true_sequential",
        "use_cuda_fp16", "use_exllama",
    ),
    _anything,
)  # fmt: skip
"""Keys of GPTQ and AWQ that say how the scales were found, or which kernel is preferred: no kernel is used here."""
GPTQ: Mapping[str, Check] = {
    **CALIBRATED, "bits": _one_of(2, 4, 8), "group_size": _group, "desc_act": _flag, "sym": _flag, "lm_head": _flag,
    "checkpoint_format": _one_of("gptq", "gptq_v2"), "format": _one_of("gptq", "gptq_v2"), "dynamic": _nothing,
    "pack_dtype": _one_of("int32"), "is_marlin_format": _one_of(False, None),
}  # fmt: skip
AWQ: Mapping[str, Check] = {
    **CALIBRATED, "bits": _one_of(4), "w_bit": _one_of(4), "group_size": _group, "q_group_size": _group,
    "zero_point": _one_of(True), "version": lambda value: str(value).lower() in ("gemm", "exllama"),
    "format": _one_of("gemm"), "backend": _one_of("autoawq", "auto", None), "desc_act": _one_of(False, None),
    "sym": _one_of(False, None), "lm_head": _flag, "pack_dtype": _one_of("int32"), "dynamic": _nothing,
}  # fmt: skip
FP8: Mapping[str, Check] = {
    "quant_method": _anything, "activation_scheme": _one_of("dynamic", "static"), "fmt": _one_of("e4m3"),
    "weight_block_size": _block, "modules_to_not_convert": _anything, "ignored_layers": _anything,
    "modules_to_convert": _nothing, "dequantize": _flag, "scale_fmt": _one_of("float", "ue8m0"),
    "expert_dtype": _one_of("fp8"),
}  # fmt: skip
MXFP4: Mapping[str, Check] = {
    "quant_method": _anything, "modules_to_not_convert": _anything, "dequantize": _flag
}  # fmt: skip
ARGUMENTS: Mapping[str, Check] = {
    "num_bits": _one_of(4, 8), "type": _one_of("int", "float"), "symmetric": _flag,
    "group_size": lambda value: value is None or _group(value), "block_structure": _block,
    "strategy": _one_of("tensor", "channel", "group", "block", "token", None), "dynamic": _flag,
    "actorder": _one_of("weight", "static", False, None), "observer": _anything, "observer_kwargs": _nothing,
    "scale_dtype": _nothing, "zp_dtype": lambda value: value is None or value in ("torch.int8", "int8"),
}  # fmt: skip
"""Of compressed-tensors: how one kind of tensor is quantised."""
FORMATS = ("pack-quantized", "int-quantized", "float-quantized", "naive-quantized")


def _arguments(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    return all(key in ARGUMENTS and ARGUMENTS[key](one) for key, one in value.items())


def _groups(value: Any) -> bool:
    scheme: Mapping[str, Check] = {
        "targets": _patterns, "weights": _arguments, "input_activations": _arguments, "output_activations": _nothing,
        "format": _one_of(*FORMATS, None),
    }  # fmt: skip
    listed = (
        isinstance(value, dict) and 0 < len(value) <= LONGEST and all(isinstance(one, dict) for one in value.values())
    )
    return listed and all(key in scheme and scheme[key](one) for group in value.values() for key, one in group.items())


COMPRESSED: Mapping[str, Check] = {
    "quant_method": _anything, "config_groups": _groups, "format": _one_of(*FORMATS), "ignore": _patterns,
    "quantization_status": _one_of("compressed"), "kv_cache_scheme": _nothing, "global_compression_ratio": _anything,
    "sparsity_config": lambda value: _nothing(value) or value.get("format") == "dense", "transform_config": _nothing,
    "moe_sparsity_config": _nothing, "version": _anything, "run_compressed": _flag,
    "dequantize": _flag, "use_optimized_inference": _one_of(False),
}  # fmt: skip


def _bitsandbytes(found: Mapping[str, Any]) -> Quantisation:
    eight = bool(found.get("load_in_8bit") or found.get("_load_in_8bit"))
    followed = ("bnb_4bit_quant_type", "bnb_4bit_use_double_quant", "llm_int8_skip_modules", "llm_int8_threshold")
    settings = {key: found[key] for key in followed if found.get(key) is not None}
    settings |= {"quant_method": "bitsandbytes", "load_in_8bit": eight, "load_in_4bit": not eight}
    settings["llm_int8_threshold"] = float(settings.get("llm_int8_threshold", 6.0))
    if eight:
        return Quantisation("bitsandbytes-8bit", "bitsandbytes, 8 bit", settings, "bitsandbytes", "int8")
    double = ", scales quantised too" if settings.get("bnb_4bit_use_double_quant") else ""
    label = f"bitsandbytes, 4 bit, {settings.get('bnb_4bit_quant_type', 'fp4')}{double}"
    return Quantisation("bitsandbytes-4bit", label, settings, "bitsandbytes")


def _gptq(found: Mapping[str, Any]) -> Quantisation:
    size, bits = found.get("group_size", 128), found.get("bits", 4)
    version = found.get("checkpoint_format") or found.get("format") or "gptq"
    label = f"GPTQ, {bits} bit, {_grouped(size)}"
    return Quantisation("gptq", label, {"bits": bits, "group_size": size, "format": version})


def _awq(found: Mapping[str, Any]) -> Quantisation:
    size = found.get("group_size", found.get("q_group_size", 128))
    return Quantisation("awq", f"AWQ, 4 bit, {_grouped(size)}", {"bits": 4, "group_size": size})


def _grouped(size: int) -> str:
    return "one scale a column" if size == -1 else f"groups of {size}"


def _fp8(found: Mapping[str, Any]) -> Quantisation:
    block = found.get("weight_block_size", [128, 128])
    told = "one scale a tensor" if block is None else f"blocks of {block[0]} by {block[1]}"
    return Quantisation("fp8", f"fp8, {told}", {"block": block})


def _mxfp4(_: Mapping[str, Any]) -> Quantisation:
    return Quantisation("mxfp4", "mxfp4, 4 bit, blocks of 32", {})


def _compressed(found: Mapping[str, Any]) -> Quantisation:
    groups = list(found.get("config_groups", {}).values())
    schemes = sorted({_scheme(group.get("weights") or {}) for group in groups})
    inputs = {one["type"] for group in groups if (one := group.get("input_activations")) and "type" in one}
    activations = "" if not any(group.get("input_activations") for group in groups) else "int8"
    activations = "float8" if activations and inputs == {"float"} else activations
    rounded = f", activations rounded to {activations}" if activations else ""
    settings = {key: value for key, value in found.items() if key not in ("run_compressed", "dequantize")}
    label = f"compressed-tensors, {' and '.join(schemes) or 'no weights'}{rounded}"
    return Quantisation("compressed-tensors", label, settings, "compressed-tensors", activations)


def _scheme(weights: Mapping[str, Any]) -> str:
    kind = "float" if weights.get("type") == "float" else "int"
    size = weights.get("group_size")
    return f"{kind}{weights.get('num_bits', 8)}" + (f" in groups of {size}" if size and size > 0 else "")


METHODS: Mapping[str, tuple[Mapping[str, Check], Callable[[Mapping[str, Any]], Quantisation]]] = {
    "bitsandbytes": (BITSANDBYTES, _bitsandbytes),
    "gptq": (GPTQ, _gptq),
    "awq": (AWQ, _awq),
    "compressed-tensors": (COMPRESSED, _compressed),
    "fp8": (FP8, _fp8),
    "mxfp4": (MXFP4, _mxfp4),
}
