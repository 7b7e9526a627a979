"""The type of a model's weights: named, or that of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memaudit.errors import ModelError
from memaudit.models.loading.precision import stored_dtype, wanted_dtype
from memaudit.models.loading.weights import Declared


def tensors(*kinds: tuple[str, int]) -> dict[str, Declared]:
    return {str(number): Declared(Path("x"), kind, (size,)) for number, (kind, size) in enumerate(kinds)}


MIXED = tensors(("F32", 10), ("BF16", 50), ("F16", 20), ("F32", 15), ("I64", 500))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, "bfloat16"),
        ({"dtype": "float16"}, "float16"),
        ({"torch_dtype": "torch.float32"}, "float32"),
        ({"text_config": {"dtype": "float16"}}, "float16"),
        ({"dtype": "float32", "text_config": {"dtype": "float16"}}, "float32"),
        ({"dtype": "int8"}, "bfloat16"),
        ({"dtype": ["float16"], "torch_dtype": 7, "text_config": "x"}, "bfloat16"),
        ({"dtype": "float4_e2m1fn_x2; import os"}, "bfloat16"),
    ],
)
def test_auto_is_what_the_configuration_names_or_most_numbers_have(raw: dict[str, Any], expected: str) -> None:
    assert stored_dtype(raw, MIXED) == wanted_dtype("auto", raw, MIXED) == expected
    assert wanted_dtype("float64", raw, MIXED) == "float64"


def test_files_without_floating_point_numbers_are_float32() -> None:
    assert stored_dtype({}, tensors(("I8", 5), ("F8_E4M3", 5))) == "float32"


def test_other_names_are_refused() -> None:
    with pytest.raises(ModelError, match=r"unknown dtype int8 \(one of float32, float64, bfloat16, float16, auto\)"):
        wanted_dtype("int8", {}, MIXED)
