from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from memaudit.errors import ModelError
from memaudit.models.loading.load import load_model
from memaudit.models.loading.old_masks import old_masks
from memaudit.models.transformer import new_gpt
from tests.faults.memorised import save_plain, tokenizer

MASK = torch.ones(1, 1, 8, 8, dtype=torch.uint8).tril()


@pytest.mark.parametrize(
    ("name", "tensor", "mask"),
    [
        ("transformer.h.0.attn.bias", MASK, True),
        ("h.0.attn.attention.bias", MASK.bool(), True),
        ("attention.bias", MASK.triu(-3).float(), True),
        ("h.0.attn.masked_bias", torch.tensor(-1e4), True),
        ("h.0.attn.masked_bias", torch.tensor([-1e9]), True),
        ("h.0.attn.bias", torch.ones(1, 1, 8, 8), False),
        ("h.0.attn.bias", MASK * 2, False),
        ("h.0.attn.bias", MASK * 0, False),
        ("h.0.attn.bias", MASK.float() * 0.5, False),
        ("h.0.attn.bias", MASK[0], False),
        ("h.0.attn.bias", torch.full((1, 1, 2, 2), float("nan")), False),
        ("h.0.attn.masked_bias", torch.tensor(0.5), False),
        ("h.0.attn.masked_bias", torch.full((3,), -1e4), False),
        ("h.0.mlp.bias", MASK, False),
    ],
)
def test_masks_are_told_by_their_values(name: str, tensor: torch.Tensor, mask: bool) -> None:
    assert old_masks([name, "absent.attn.bias"], {name: tensor}) == [name] * mask


def test_a_model_of_an_old_release_is_read_and_its_masks_are_listed(tmp_path: Path) -> None:
    save_plain(new_gpt(tokenizer(), width=32, layers=2, heads=2, context_length=64), tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file) | {f"transformer.h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(2)}
    save_file(tensors, file, {"format": "pt"})
    assert load_model(str(tmp_path)).ignored == (
        "weights: 2 masks of an old release, such as transformer.h.0.attn.masked_bias",
    )
    save_file(tensors | {"transformer.h.0.attn.masked_bias": torch.tensor(7.0)}, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"1 tensors unexpected, first: transformer\.h\.0\.attn\.masked_bias"):
        load_model(str(tmp_path))
