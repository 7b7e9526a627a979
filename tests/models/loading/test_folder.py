"""Model folders that were tampered with, damaged or half downloaded: refused by name, or read right."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForPreTraining, LlamaConfig, LlamaForCausalLM

from memaudit.errors import ModelError
from memaudit.models.loading.folder import load_pretrained
from memaudit.models.loading.load import load_model
from memaudit.models.loading.weights import files_sha256, folder_files
from memaudit.models.transformer import CausalTransformer, new_bert, new_gpt
from memaudit.records import TokenIds, Window
from memaudit.text.tokenize import train_tokenizer

BYTES = train_tokenizer("byte", [])
PASSAGE = "It was the best of times, it was the worst of times, it was the age of wisdom."


def trained_gpt() -> CausalTransformer:
    """A tiny GPT-2 that recites one passage."""
    model = new_gpt(BYTES, width=48, layers=2, heads=2, context_length=96)
    text = torch.tensor([BYTES.encode_batch([PASSAGE])[0].ids.tolist()])
    optimizer = torch.optim.AdamW(model.module.parameters(), lr=5e-3, foreach=False)
    model.module.train()
    for _ in range(150):
        optimizer.zero_grad()
        logits = model.module(input_ids=text[:, :-1]).logits[0]
        torch.nn.functional.cross_entropy(logits, text[0, 1:]).backward()
        optimizer.step()
    return model


def passage_window() -> Window:
    ids = BYTES.encode_batch([PASSAGE])[0].ids
    return Window(ids[:40], ids[40:])


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    trained_gpt().save(folder)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy without ``memaudit.json``: what anybody's ``save_pretrained`` leaves."""
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    (copy / "memaudit.json").unlink()
    return copy


def recites(model: Any) -> bool:
    window = passage_window()
    [own] = model.continuations([window.prefix], len(window.suffix))
    return not model.score([window]).rank.any() and np.array_equal(own, window.suffix)


def edit(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(content | changes))


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(str(folder))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400 + len(str(folder))
    return message


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})


@pytest.mark.parametrize("where", ["generation_config.json", "config.json"])
def test_generation_settings_change_nothing_and_are_listed(folder: Path, where: str) -> None:
    hostile = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 2, "suppress_tokens": [108]}
    hostile |= {"max_time": 0.001, "eos_token_id": [32, 44]}
    edit(folder / where, **hostile)
    model = load_model(str(folder))
    assert recites(model)
    for key, value in hostile.items():
        assert f"{where}: {key}={value}" in model.ignored


def test_an_untouched_folder_ignores_nothing(folder: Path, original: Path) -> None:
    for path in (folder, original):
        model = load_model(str(path))
        assert model.ignored == ()
        assert model.device == "cpu"
        assert model.dtype == "float32"
    assert load_model(str(original)).family == "gpt"
    assert load_model(str(folder)).family == "gpt2"


def test_keys_that_steer_code_are_ignored_and_listed(folder: Path) -> None:
    edit(
        folder / "config.json",
        auto_map={"AutoModelForCausalLM": "evil.Model"},
        _attn_implementation="somebody/kernel",
        attn_implementation="somebody/kernel",
    )
    (folder / "evil.py").write_text("raise SystemExit('executed')")
    model = load_model(str(folder))
    assert recites(model)
    assert set(model.ignored) == {
        "config.json: auto_map", "config.json: _attn_implementation", "config.json: attn_implementation"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "own", "auto_map": {"AutoConfig": "x.Y"}}, "model_type 'own' needs code of its own"),
        ({"model_type": None}, "model_type None is not known"),
        ({"model_type": ["gpt2"]}, r"model_type \['gpt2'\] is not known"),
        ({"quantization_config": {"bits": 4}}, "names no quant_method"),
        ({"n_layer": 1_000_000}, "n_layer is 1000000, which the weights cannot fill"),
        ({"vocab_size": 10**12}, "vocab_size is 1000000000000"),
        ({"n_layer": 3}, r"12 tensors missing, first: transformer.h.2."),
        ({"n_layer": 1}, r"11 tensors unexpected, first: transformer.h.1."),
        ({"n_layer": "two"}, "not a configuration"),
        ({"n_head": 5}, "do not fit"),
        ({"n_inner": 50}, "fit|of another shape"),
    ],
)
def test_configuration_that_does_not_describe_the_weights(folder: Path, config: Any, message: str) -> None:
    edit(folder / "config.json", **config)
    assert re.search(message, refused(folder))


def test_renamed_missing_and_left_over_tensors_are_refused(folder: Path) -> None:
    edit_weights(folder, lambda tensors: {f"renamed.{name}": tensor for name, tensor in tensors.items()})
    assert "29 tensors missing, first: lm_head.weight" in refused(folder)
    assert "unexpected, first: renamed." in refused(folder)


@pytest.mark.parametrize(("bad", "count"), [(float("nan"), 1), (float("inf"), 3)])
def test_non_finite_weights_are_named(folder: Path, bad: float, count: int) -> None:
    def damage(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tensors["transformer.h.1.mlp.c_fc.weight"].flatten()[:count] = bad
        return tensors

    edit_weights(folder, damage)
    message = refused(folder)
    assert f"tensor transformer.h.1.mlp.c_fc.weight has {count} non-finite value" in message


def test_weights_of_zeros_are_refused(folder: Path) -> None:
    edit_weights(folder, lambda tensors: {name: torch.zeros_like(tensor) for name, tensor in tensors.items()})
    assert "zeros only" in refused(folder)


def test_shards(folder: Path) -> None:
    model = load_model(str(folder))
    model.module.save_pretrained(folder, max_shard_size="50KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    assert recites(load_model(str(folder)))
    shard = sorted(folder.glob("model-*.safetensors"))[0]
    shard.unlink()
    assert f"names {shard.name}, which is absent" in refused(folder)
    edit(folder / "model.safetensors.index.json", weight_map={"x": "../../etc/model.safetensors"})
    assert "no weight_map of file names" in refused(folder)


def header(tensors: dict[str, Any], body: bytes = b"") -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + body


OVERLAP = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
           "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}  # fmt: skip


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (self.canary,)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a safetensors file"),
        (b"1234567", "not a safetensors file"),
        (struct.pack("<Q", 2**62) + b"{}", "not a safetensors file"),
        (
            header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"123"),
            "not a safetensors file",
        ),
        (header(OVERLAP, bytes(12)), "not a safetensors file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "git-LFS pointer, not weights",
        ),
        (pickle.dumps({"a": 1}), "not a safetensors file"),
    ],
)
def test_damaged_weight_files_are_named_in_one_line(folder: Path, content: bytes, reason: str) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(content)
    message = refused(folder)
    assert message.startswith(f"{file}: {reason}")


def test_pickled_weights_are_refused_unread(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (folder / "model.safetensors").unlink()
    for name in ("pytorch_model.bin", "model.pt", "tokenizer.pkl"):
        (folder / name).write_bytes(pickle.dumps(Payload(canary)))
    message = refused(folder)
    assert "pytorch_model.bin is a pickle, which may run code when it is read (--allow-pickle " in message
    shutil.copy(folder / "pytorch_model.bin", folder / "model.safetensors")
    refused(folder)
    for file in folder.glob("tokenizer*.json"):
        file.unlink()
    refused(folder)
    assert not canary.exists()


def test_pickles_beside_good_weights_are_not_read(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for name in ("pytorch_model.bin", "tokenizer.pkl", "training_args.bin"):
        (folder / name).write_bytes(pickle.dumps(Payload(canary)))
    assert recites(load_model(str(folder)))
    assert not canary.exists()


def test_parts_of_an_adapter_are_refused(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert "part of an adapter, without it the base model would be audited" in refused(folder)
    (folder / "adapter_config.json").write_text("{}")
    assert "adapter_config.json: names no base model" in refused(folder)


def test_tokenizer_larger_than_the_embedding(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    for number in range(3):
        content["model"]["vocab"][f"more{number}"] = 259 + number
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert "its tokenizer has 262 tokens, its embedding only 259" in refused(folder)


def test_a_folder_without_a_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert "no usable tokenizer" in refused(folder)


@pytest.mark.parametrize(("content", "reason"), [("{", "not valid JSON"), ("[]", "not a JSON object")])
def test_damaged_configuration(folder: Path, content: str, reason: str) -> None:
    (folder / "config.json").write_text(content)
    assert reason in refused(folder)
    (folder / "config.json").unlink()
    assert "no such file" in refused(folder)


@pytest.mark.parametrize("written", ['{"__float__": "Infinity"}', "Infinity"])
def test_an_infinity_of_a_configuration_is_read(folder: Path, written: str) -> None:
    file = folder / "config.json"
    plain = file.read_text().rstrip().removesuffix("}")
    file.write_text(f'{plain}, "bound": {written}}}')
    model = load_pretrained(folder)
    assert recites(model)
    assert model.module.config.bound == float("inf")
    file.write_text(f'{plain}, "bound": {written}, "other": NaN}}')
    assert "not valid JSON: NaN is no number" in refused(folder)


def test_classifier_is_no_language_model(folder: Path) -> None:
    edit(folder / "config.json", model_type="vit", architectures=["ViTForImageClassification"])
    assert "ViTForImageClassification is no language model for text" in refused(folder)


def test_tied_and_untied_llama_folders(tmp_path: Path) -> None:
    for tied in (True, False):
        config = LlamaConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, vocab_size=259,
            tie_word_embeddings=tied, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        module = LlamaForCausalLM(config).eval()
        module.save_pretrained(tmp_path)
        BYTES.save(tmp_path)
        model = load_model(str(tmp_path))
        ids = torch.tensor([[3, 4, 5, 6]])
        with torch.no_grad():
            expected = torch.log_softmax(module(input_ids=ids).logits[0, :-1].double(), 1)
        scores = model.score([Window(ids[0, :1].int().numpy(), ids[0, 1:].int().numpy())])
        np.testing.assert_allclose(scores.log_prob, expected.gather(1, ids[0, 1:, None])[:, 0], atol=1e-5)


def test_bert_with_its_sentence_objective_is_read_and_the_rest_listed(tmp_path: Path) -> None:
    config = BertConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, vocab_size=259
    )
    BertForPreTraining(config).save_pretrained(tmp_path)
    BYTES.save(tmp_path)
    edit(tmp_path / "config.json", architectures=["BertForMaskedLM"])
    model = load_model(str(tmp_path))
    assert model.objective == "masked"
    assert {"weights: bert.pooler.dense.weight", "weights: cls.seq_relationship.weight"} <= set(model.ignored)


def test_a_masked_model_named_causal_is_refused(tmp_path: Path) -> None:
    new_bert(BYTES, width=32, layers=1, heads=2).save(tmp_path)
    (tmp_path / "memaudit.json").unlink()
    edit(tmp_path / "config.json", architectures=["BertLMHeadModel"])
    assert "predicts a token from the tokens after it" in refused(tmp_path)


def test_dtypes(folder: Path) -> None:
    window = passage_window()
    single = load_model(str(folder)).score([window])
    double = load_model(str(folder), dtype="float64").score([window])
    half = load_model(str(folder), dtype="bfloat16").score([window])
    np.testing.assert_allclose(single.log_prob, double.log_prob, atol=1e-4)
    np.testing.assert_allclose(half.log_prob, double.log_prob, atol=1.0)
    with pytest.raises(ModelError, match="unknown dtype int8"):
        load_model(str(folder), dtype="int8")


def identity(folder: Path) -> str:
    return files_sha256(folder_files(folder))


def test_identity_follows_weights_settings_and_tokenizer(folder: Path) -> None:
    first = identity(folder)
    (folder / "README.md").write_text("words")
    loaded = load_model(str(folder))
    assert identity(folder) == first == loaded.sha256
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    assert {f["path"]: f["sha256"] for f in loaded.files} == {n: h for n, h in hashes.items() if n != "README.md"}
    assert "model.safetensors" in hashes
    assert loaded.attention == "sdpa"
    edit(folder / "config.json", layer_norm_epsilon=1e-3)
    second = identity(folder)
    edit_weights(folder, lambda tensors: {name: tensor + 1 for name, tensor in tensors.items()})
    assert len({first, second, identity(folder)}) == 3


def test_shuffled_tokenizer_loads_with_another_identity(folder: Path) -> None:
    before = load_model(str(folder))
    content = json.loads((folder / "tokenizer.json").read_text())
    vocab = content["model"]["vocab"]
    vocab["a"], vocab["b"], vocab["e"], vocab["t"] = vocab["b"], vocab["a"], vocab["t"], vocab["e"]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    after = load_model(str(folder))
    assert before.tokenizer.sha256 != after.tokenizer.sha256
    ids: list[TokenIds] = [model.tokenizer.encode_batch([PASSAGE])[0].ids for model in (before, after)]
    assert before.score([Window(ids[0][:40], ids[0][40:])]).log_prob.sum() > (
        after.score([Window(ids[1][:40], ids[1][40:])]).log_prob.sum() + 20
    )
