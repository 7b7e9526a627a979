"""Tensors in files: read one by one, exactly, each into memory of its own, and refused where a value is not finite."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from memaudit.errors import ModelError
from memaudit.models.loading import stored
from memaudit.models.loading.stored import (
    StoredTensor,
    bytes_of,
    check_finite_values,
    is_finite,
    pieces_of,
    stored_tensors,
)
from memaudit.models.loading.weights import Declared, read_headers

KINDS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int8,
         torch.uint8, torch.bool, torch.float8_e4m3fn]  # fmt: skip


def saved(folder: Path, tensors: dict[str, Tensor], wanted: torch.dtype = torch.float16) -> dict[str, StoredTensor]:
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return stored_tensors(read_headers(folder), wanted)


def test_every_kind_and_shape_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "PIECE", 7)
    numbers = torch.randn(5, 3, 2, generator=torch.Generator().manual_seed(0)) * 100
    tensors = {str(kind): numbers.to(kind) for kind in KINDS}
    tensors |= {"a number": torch.tensor(3.5), "none": torch.zeros(0, 4), "odd": torch.arange(3, dtype=torch.uint8)}
    for name, each in saved(tmp_path, tensors, torch.float8_e4m3fn).items():  # nothing is widened
        whole = tensors[name]
        assert (each.dtype, each.get_shape()) == (whole.dtype, list(whole.shape))
        assert each[...].view(torch.uint8).equal(whole.view(torch.uint8)) if whole.dim() else each[...] == whole
        assert each[...].data_ptr() % 16 == 0
        pieces = list(each.pieces())
        assert [len(piece) for piece in pieces[:-1]] == [7] * (len(pieces) - 1)
        if whole.numel():
            assert torch.cat([piece.double() for piece in pieces]).equal(whole.double().reshape(-1))


def test_numbers_are_widened_as_they_are_read_and_never_narrowed(tmp_path: Path) -> None:
    tensors = {"half": torch.randn(9, 9).bfloat16(), "whole": torch.arange(4)}
    for wanted in (torch.float64, torch.float32, torch.float16):
        found = saved(tmp_path, tensors, wanted)
        assert found["half"][...].dtype == (wanted if wanted != torch.float16 else torch.bfloat16)
        assert found["half"][...].double().equal(tensors["half"].double())
        assert found["half"][1:3].equal(found["half"][...][1:3])
        assert found["whole"][...].equal(tensors["whole"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("wanted", [torch.float16, torch.float64])
def test_values_that_are_not_finite_are_counted_when_they_are_read(
    tmp_path: Path, bad: float, wanted: torch.dtype
) -> None:
    tensor = torch.zeros(3, 50)
    tensor[1, 4] = tensor[2, 7] = bad
    found = saved(tmp_path, {"good": torch.ones(3), "bad": tensor}, wanted)
    assert found["good"][...].sum() == 3
    with pytest.raises(ModelError, match="tensor bad has 2 non-finite values"):
        found["bad"][...]
    with pytest.raises(ModelError, match="has 2 non-finite values"):
        check_finite_values("bad", tensor.half())
    assert not is_finite(tensor)
    assert is_finite(torch.tensor([3e38, -3e38]))
    assert is_finite(torch.arange(3))
    assert not is_finite(torch.tensor([1.0, float("nan")]).to(torch.float8_e4m3fn))


def test_a_file_that_shrank_and_a_kind_that_torch_lacks_are_named(tmp_path: Path) -> None:
    found = saved(tmp_path, {"first": torch.ones(4), "last": torch.ones(400)})
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors: ends within tensor last"):
        found["last"][...]
    header = json.dumps({"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(2))
    with pytest.raises(ModelError, match="tensor a holds F4, which is not read"):
        stored_tensors(read_headers(tmp_path), torch.float32)["a"][...]


def test_bytes_in_memory_are_those_of_the_wanted_type_for_floating_numbers_alone() -> None:
    shape, file = (3, 5), Path("x")
    assert bytes_of(Declared(file, "BF16", shape), torch.float32) == 60
    assert bytes_of(Declared(file, "F32", shape), torch.bfloat16) == 30
    assert bytes_of(Declared(file, "I64", shape), torch.bfloat16) == 120
    assert bytes_of(Declared(file, "F4", shape), torch.bfloat16) == 8


def test_pieces_of_a_tensor_in_memory_are_views_of_it() -> None:
    tensor = torch.zeros(2, 3)
    for piece in pieces_of(tensor):
        piece += 1
    assert tensor.sum() == 6
