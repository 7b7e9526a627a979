"""Settings of quantisation: each key and value that is not known is refused by name, before anything is read."""

from __future__ import annotations

from pathlib import Path
from time import process_time
from typing import Any

import pytest

from memaudit.errors import ModelError
from memaudit.models.loading.quantised import quantisation_of

FILE = Path("config.json")
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "checkpoint_format": "gptq"}
WEIGHTS = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}
GROUPS = {"group_0": {"targets": ["Linear"], "weights": WEIGHTS}}
COMPRESSED = {
    "quant_method": "compressed-tensors", "config_groups": GROUPS, "format": "pack-quantized",
    "quantization_status": "compressed", "ignore": ["lm_head"],
}  # fmt: skip


def read(settings: Any) -> Any:
    return quantisation_of(FILE, {"quantization_config": settings})


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bitsandbytes, 4 bit, nf4"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes, 8 bit"),
        (GPTQ, "GPTQ, 4 bit, groups of 128"),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "version": "GEMM"}, "AWQ, 4 bit, groups of 64"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128], "fmt": "e4m3"}, "fp8, blocks of 128 by 128"),
        ({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}, "mxfp4, 4 bit, blocks of 32"),
        (COMPRESSED, "compressed-tensors, int4 in groups of 128"),
        (
            {**COMPRESSED, "ignore": ["re:.*lm_head", r"re:model\.layers.*(q|k)_proj$"]},
            "compressed-tensors, int4 in groups of 128",
        ),
    ],
)
def test_methods_that_are_read(settings: dict[str, Any], label: str) -> None:
    assert read(settings).label == label


def test_of_plain_weights_nothing_is_said() -> None:
    assert quantisation_of(FILE, {"model_type": "llama"}) is None


@pytest.mark.parametrize(
    "method",
    [
        "quark",
        "torchao",
        "fbgemm_fp8",
        "hqq",
        "aqlm",
        "vptq",
        "eetq",
        "higgs",
        "quanto",
        "sinq",
        "own",
        "",
        7,
        [1],
    ],
)
def test_methods_that_are_not_known_are_refused(method: Any) -> None:
    with pytest.raises(
        ModelError, match=r"which is not read \(bitsandbytes, gptq, awq, compressed-tensors, fp8, mxfp4 are"
    ):
        read({"quant_method": method, "load_in_4bit": None} if method == "" else {"quant_method": method})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({**GPTQ, "kernel": "somebody/kernel"}, "the key 'kernel'"),
        ({**GPTQ, "auto_map": {"a": "evil.Payload"}}, "the key 'auto_map'"),
        ({**GPTQ, "bits": 3}, "bits is 3"),
        ({**GPTQ, "bits": True}, "bits is True"),
        ({**GPTQ, "group_size": 0}, "group_size is 0"),
        ({**GPTQ, "group_size": 10**9}, "group_size is 1000000000"),
        ({**GPTQ, "checkpoint_format": "marlin"}, "checkpoint_format is 'marlin'"),
        ({**GPTQ, "dynamic": {"+:(a+)+$": {"bits": 8}}}, "dynamic is"),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, "version is 'gemv'"),
        ({"quant_method": "awq", "bits": 4, "zero_point": False}, "zero_point is False"),
        ({"quant_method": "fp8", "weight_block_size": [0, 128]}, "weight_block_size"),
        ({"quant_method": "fp8", "scale_fmt": "own"}, "scale_fmt"),
        ({"load_in_8bit": True, "llm_int8_skip_modules": ["(a|a)*$"]}, "llm_int8_skip_modules"),
        ({"load_in_8bit": True, "llm_int8_threshold": float("nan")}, "llm_int8_threshold"),
        ({"load_in_8bit": True, "llm_int8_has_fp16_weight": True}, "llm_int8_has_fp16_weight"),
        ({"load_in_4bit": True, "bnb_4bit_compute_dtype": "load"}, "bnb_4bit_compute_dtype"),
        ({**COMPRESSED, "format": "nvfp4-pack-quantized"}, "format is"),
        ({**COMPRESSED, "quantization_status": "frozen"}, "quantization_status"),
        ({**COMPRESSED, "kv_cache_scheme": {"num_bits": 8}}, "kv_cache_scheme"),
        ({**COMPRESSED, "sparsity_config": {"format": "sparse-24-bitmask"}}, "sparsity_config"),
        ({**COMPRESSED, "use_optimized_inference": True}, "use_optimized_inference"),
        ({**COMPRESSED, "ignore": ["re:(a+)+$"]}, "ignore is"),
        ({**COMPRESSED, "ignore": ["re:" + ".*a" * 9]}, "ignore is"),
        ({**COMPRESSED, "ignore": ["re:("]}, "ignore is"),
        ({**COMPRESSED, "config_groups": {"W4A16": ["Linear"]}}, "config_groups"),
        ({**COMPRESSED, "config_groups": {"g": {"weights": {"observer_kwargs": {"a": 1}}}}}, "config_groups"),
        ("gptq", "no object"),
        ({"bits": 4}, "names no quant_method"),
    ],
)  # fmt: skip
def test_keys_and_values_that_are_not_known_are_refused(settings: Any, says: str) -> None:
    with pytest.raises(ModelError) as caught:
        read(settings)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 250


def test_settings_of_a_part_are_refused() -> None:
    """A library would follow them wherever they lie."""
    for raw in ({"text_config": {"quantization_config": GPTQ}}, {"a": [{"quantization_config": {}}]}):
        with pytest.raises(ModelError, match="of a part"):
            quantisation_of(FILE, raw)
    with pytest.raises(ModelError, match="old release"):
        quantisation_of(FILE, {"compression_config": {}})


def test_patterns_are_quickly_searched() -> None:
    import re

    pattern = "re:.*a.*a.*b"
    assert read({**COMPRESSED, "ignore": [pattern]})
    start = process_time()
    assert not re.match(pattern[3:], "a" * 200)
    assert process_time() - start < 5
