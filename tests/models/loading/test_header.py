"""Headers of safetensors files: what is accepted is what safetensors accepts, and nothing is mapped for it."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from memaudit.errors import ModelError
from memaudit.models.loading.header import read_header
from tests.faults.tampering import DAMAGED


def with_header(file: Path, tensors: Any, body: bytes) -> Path:
    text = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return file


def tensor(kind: Any, shape: Any, *places: Any) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": list(places)}


def test_what_it_says_is_what_safetensors_says(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    tensors = {
        "b": torch.ones(2, 3),
        "a": torch.ones(5, dtype=torch.int8),
        "none": torch.zeros(0, 2),
        "one": torch.tensor(1),
    }
    save_file(tensors, file, {"format": "pt"})
    found = read_header(file)
    assert found.keys() == tensors.keys()
    data = file.read_bytes()
    for name, entry in found.items():
        assert entry.shape == tuple(tensors[name].shape)
        assert data[entry.start :][: entry.bytes] == tensors[name].numpy().tobytes()


BAD = {
    "a gap": {"a": tensor("U8", [2], 1, 3)},
    "no end": {"a": tensor("U8", [2], 0)},
    "backwards": {"a": tensor("U8", [2], 3, 1)},
    "a sign": {"a": tensor("U8", [-1, -3], 0, 3)},
    "a fraction": {"a": tensor("U8", [3.0], 0, 3)},
    "true": {"a": tensor("U8", [True, 3], 0, 3)},
    "a word": {"a": tensor("U8", "3", 0, 3)},
    "a type of its own": {"a": tensor(["U8"], [3], 0, 3)},
    "half a byte": {"a": tensor("F4", [5], 0, 3)},
    "too few": {"a": tensor("U8", [2], 0, 2)},
    "more than there is": {"a": tensor("U8", [4], 0, 4)},
    "a number": {"a": 3},
    "two over one place": {"a": tensor("U8", [3], 0, 3), "b": tensor("U8", [3], 0, 3)},
    "a list": [tensor("U8", [3], 0, 3)],
    "a product beyond all": {"a": tensor("U8", [2**61, 2**61], 0, 3)},
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_refused_by_both(name: str, tmp_path: Path) -> None:
    file = with_header(tmp_path / "x.safetensors", BAD[name], b"123")
    with pytest.raises((SafetensorError, OverflowError)), safe_open(file, framework="pt"):
        pass
    with pytest.raises(ModelError, match=r"x\.safetensors: not a safetensors file: ") as caught:
        read_header(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DAMAGED[name])
    with pytest.raises(ModelError):
        read_header(tmp_path / "x")


def test_nesting_without_end_is_one_line(tmp_path: Path) -> None:
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(ModelError, match="not a safetensors file"):
        read_header(with_header(tmp_path / "x", deep, b""))


def test_a_file_larger_than_any_memory_is_no_matter(tmp_path: Path) -> None:
    size = 4 << 40
    file = with_header(tmp_path / "x", {"a": tensor("BF16", [size // 2], 0, size)}, b"")
    os.truncate(file, file.stat().st_size + size)
    assert read_header(file)["a"].bytes == size


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_changed_byte_is_refused_where_safetensors_refuses_it(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("changed") / "x"
    with_header(file, {"a": tensor("U8", [3], 0, 3), "b": tensor("F16", [2, 1], 3, 7)}, b"1234567")
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 8))] = data.draw(st.integers(32, 126))
    file.write_bytes(content)
    try:
        with safe_open(file, framework="pt") as opened:
            theirs = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except Exception:  # whatever it raises, it refuses
        with pytest.raises(ModelError):
            read_header(file)
    else:
        assert {name: entry.shape for name, entry in read_header(file).items()} == theirs
