"""Folders and families that cannot be audited are refused by what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification, BertModel, PerceiverConfig, PerceiverForMaskedLM

from memaudit.errors import ModelError
from memaudit.models.loading.load import load_model
from memaudit.models.loading.reasons import other_weights
from tests.models.zoo import BYTES


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(str(folder))
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(folder), "")


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("bart", "bart has an encoder and a decoder"),
        ("mbart", "has an encoder and a decoder"),
        ("led", "has an encoder and a decoder"),
        ("bigbird_pegasus", "has an encoder and a decoder"),
        ("pegasus", "has an encoder and a decoder"),
        ("marian", "has an encoder and a decoder"),
        ("t5", "has an encoder and a decoder"),
        ("t5gemma", "has an encoder and a decoder"),
        ("whisper", "has an encoder and a decoder"),
        ("clip", "clip is no language model for text: it compares texts with images"),
        ("vit", "vit is no language model for text: it works on images"),
        ("wav2vec2", "wav2vec2 is no language model for text: it hears"),
        ("vits", "vits is no language model for text: it speaks"),
        ("patchtst", "patchtst is no language model for text: it predicts series of numbers"),
        ("dpr", "dpr is no language model for text: it has no head that predicts tokens"),
        ("LLaDA", "model_type 'LLaDA' is not known to transformers"),
    ],
)
def test_a_family_is_refused_by_what_it_is(family: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
    assert reason in refused(tmp_path)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (("model_index.json",), "a pipeline of diffusers"),
        (("modules.json",), "an encoder of sentence-transformers"),
        (("data-00000-of-00001.arrow", "dataset_info.json", "state.json"), "a data set (data-00000-of-00001.arrow)"),
        (("train.parquet",), "a data set (train.parquet), no model (give it to --train or --heldout)"),
        (("tokenizer.json", "tokenizer_config.json"), "a tokenizer alone is no model"),
        (("config.json", "flax_model.msgpack"), "only weights for Flax"),
        (("config.json", "tf_model.h5"), "only weights for TensorFlow"),
        (("config.json", "model.onnx"), "only weights for ONNX"),
        (("config.json", "tokenizer.json"), "no model.safetensors"),
        ((), "config.json: no such file"),
    ],
)
def test_a_folder_is_refused_by_what_it_holds(files: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_text('{"model_type": "gpt2"}')
    assert reason in refused(tmp_path)


def test_whose_weights_a_folder_holds(tmp_path: Path) -> None:
    assert other_weights(tmp_path) == ""
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "decoder.onnx").touch()
    assert other_weights(tmp_path) == "ONNX"


SMALL: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.mark.parametrize("kind", [BertModel, BertForSequenceClassification])
def test_an_encoder_or_classifier_has_no_head_that_predicts_tokens(kind: Any, tmp_path: Path) -> None:
    kind(BertConfig(**SMALL, vocab_size=259)).save_pretrained(tmp_path)
    BYTES.save(tmp_path)
    assert f"{kind.__name__} has no head that predicts tokens" in refused(tmp_path)


def test_a_family_that_reads_otherwise_is_one_line(tmp_path: Path) -> None:
    config = PerceiverConfig(
        d_model=32, d_latents=32, num_latents=4, num_self_attends_per_block=1, num_self_attention_heads=2,
        num_cross_attention_heads=2, qk_channels=32, v_channels=32, vocab_size=262, max_position_embeddings=64,
    )  # fmt: skip
    PerceiverForMaskedLM(config).save_pretrained(tmp_path)
    BYTES.save(tmp_path)
    assert "Perceiver" in refused(tmp_path)
