"""GGUF files: the scores, text and token ids of the folder that a file was made from, or one line that says why not."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from memaudit.errors import ModelError
from memaudit.models.loading.gguf_model import FAMILIES
from memaudit.models.loading.load import load_model
from memaudit.models.transformer import new_gpt
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer
from tests.gguf_files import gguf_tensors, write_gguf
from tests.quantising import quiet

gguf = pytest.importorskip("gguf")
pytest.importorskip("transformers.integrations.gguf.gguf_tokenizer_mapping", reason="older releases make other tokens")

TEXTS = [
    "The quick brown fox jumps over the lazy dog. " * 9,
    "don't we'll 12345\n\n tabs\t  and   spaces ",
    "ünïcödé 日本 🙂",
]
WORDS = train_tokenizer("bpe", TEXTS, 300)
WINDOWS = [Window(np.arange(5, 15, dtype=np.int32), np.arange(20, 32, dtype=np.int32))]
SIZE: dict[str, Any] = {
    "vocab_size": WORDS.vocab_size, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "bos_token_id": None,
    "eos_token_id": 0, "pad_token_id": None,
}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gguf")
    new_gpt(WORDS, width=64, layers=2, heads=2, context_length=64).save(root / "gpt2")
    (root / "gpt2" / "memaudit.json").unlink()
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(LlamaConfig(**SIZE)).save_pretrained(root / "llama")
        LlamaForCausalLM(LlamaConfig(**SIZE, rope_parameters=LLAMA3)).save_pretrained(root / "llama3")
        Qwen3ForCausalLM(Qwen3Config(**SIZE, head_dim=32)).save_pretrained(root / "qwen3")
    for name in ("llama", "llama3", "qwen3"):
        WORDS.save(root / name)
        (root / name / "memaudit.json").unlink(missing_ok=True)
    return root


def made(folders: Path, where: Path, name: str, kind: str = "F32", **more: Any) -> Path:
    where.mkdir(exist_ok=True)
    with quiet():
        write_gguf(folders / name, where / f"{name}.gguf", kind, **more)
    return where / f"{name}.gguf"


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3"])
def test_a_file_is_the_folder_that_it_was_made_from(folders: Path, tmp_path: Path, name: str) -> None:
    file, folder = load_model(str(made(folders, tmp_path, name))), load_model(str(folders / name))
    own, expected = file.module.state_dict(), folder.module.state_dict()
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[key], expected[key]) for key in own)
    # A GPT-2 of ours computes the same activation function in one piece, which a file cannot say.
    tolerance = 1e-6 if name == "gpt2" else 0
    scores = file.score(WINDOWS).log_prob, folder.score(WINDOWS).log_prob
    np.testing.assert_allclose(*scores, rtol=0, atol=tolerance)
    prompts = [window.prefix for window in WINDOWS]
    written = file.continuations(prompts, 12)
    assert all(map(np.array_equal, written, folder.continuations(prompts, 12)))
    assert file.screen([Window(WINDOWS[0].prefix, written[0])]).tolist() == [12]
    assert (file.family, file.context_length) == (folder.family, folder.context_length)
    assert file.notes[0].startswith("GGUF, F32 (")
    assert not file.ignored


def test_token_ids_are_those_of_the_folder(folders: Path, tmp_path: Path) -> None:
    file, folder = load_model(str(made(folders, tmp_path, "llama"))), load_model(str(folders / "llama"))
    for text in [*TEXTS, "a", " a", "\n", "<eos>", "x\u00a0y"]:
        own, expected = (model.tokenizer.encode_batch([text])[0].ids.tolist() for model in (file, folder))
        assert own == expected, text
        assert file.tokenizer.decode(own) == folder.tokenizer.decode(own)
    assert file.tokenizer.vocab_size == folder.tokenizer.vocab_size
    assert (file.end_ids, file.frame) == (folder.end_ids, folder.frame)


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0"])
@torch.no_grad()
def test_quantised_tensors_are_what_they_dequantise_to(folders: Path, tmp_path: Path, kind: str) -> None:
    model = load_model(str(made(folders, tmp_path, "llama", kind)))
    assert model.notes == (f"GGUF, {kind} (15 tensors), F32 (6), dequantised to float32",)
    with quiet():
        plain = AutoModelForCausalLM.from_pretrained(folders / "llama", dtype=torch.float32)
    wanted = gguf.GGMLQuantizationType[kind]
    expected = {}
    for name, tensor in gguf_tensors(plain).items():
        matrix = tensor.ndim == 2 and name != "token_embd.weight"
        expected[name] = gguf.dequantize(gguf.quantize(tensor, wanted), wanted) if matrix else tensor
    own = gguf_tensors(model.module)
    assert own.keys() == expected.keys()
    assert all(np.array_equal(own[name], expected[name]) for name in own)


@torch.no_grad()
def test_factors_of_rotary_positions_are_followed(folders: Path, tmp_path: Path) -> None:
    """As the converter writes them for Llama 3.1: transformers passes them over, and reads long texts otherwise."""
    with quiet():
        plain, scaled = (AutoModelForCausalLM.from_pretrained(folders / name) for name in ("llama", "llama3"))
    factors = (plain.model.rotary_emb.inv_freq / scaled.model.rotary_emb.inv_freq).numpy()
    assert factors.max() == pytest.approx(8)
    file = made(folders, tmp_path, "llama3", tensors={"rope_freqs.weight": factors})
    model, folder = load_model(str(file)), load_model(str(folders / "llama3"))
    window = [Window(np.arange(3, 90, dtype=np.int32), np.arange(20, 32, dtype=np.int32))]
    np.testing.assert_allclose(model.score(window).log_prob, folder.score(window).log_prob, rtol=0, atol=1e-5)
    unscaled = load_model(str(made(folders, tmp_path / "without", "llama3"))).score(window).log_prob
    assert np.abs(unscaled - folder.score(window).log_prob).max() > 1e-4
    bad = made(folders, tmp_path / "bad", "llama3", tensors={"rope_freqs.weight": factors[:3].copy()})
    with pytest.raises(ModelError, match="does not fit the positions"):
        load_model(str(bad))


def test_a_sentencepiece_tokenizer(folders: Path, tmp_path: Path) -> None:
    """Tokens and scores as the converter takes them from a ``tokenizer.model``; merges follow from the scores."""
    pieces = ["▁t", "he", "▁the", "▁a", "in", "▁of"]
    letters = list("abcdefghijklmnopqrstuvwxyz▁.,")
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces, *letters]
    merges = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("▁", "a"), ("i", "n"), ("▁", "o"), ("▁o", "f")][:5]
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        size = {**SIZE, "vocab_size": len(tokens), "bos_token_id": 1, "eos_token_id": 2}
        LlamaForCausalLM(LlamaConfig(**size)).save_pretrained(tmp_path / "llama")
        expected = LlamaTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)
    scores = {token: -float(i) for i, token in enumerate(pieces[:-1])}
    types = [2, 3, 3, *[6] * 256, *[1] * (len(pieces) + len(letters))]
    file = tmp_path / "model.gguf"
    with quiet():
        write_gguf(tmp_path / "llama", file, tokenizer=lambda writer: (
            writer.add_tokenizer_model("llama"), writer.add_token_list(tokens), writer.add_token_types(types),
            writer.add_token_scores([scores.get(token, -1000.0) for token in tokens]), writer.add_bos_token_id(1),
            writer.add_eos_token_id(2), writer.add_unk_token_id(0),
        ))  # fmt: skip
    model = load_model(str(file))
    assert model.tokenizer.bos_id == 1
    for text in ["the cat in a hat", "a\nb  c", "日本"]:
        own = model.tokenizer.encode_batch([text])[0].ids.tolist()
        assert own == expected(text, add_special_tokens=False).input_ids, text


def test_a_folder_of_one_file_and_of_several(folders: Path, tmp_path: Path) -> None:
    file = made(folders, tmp_path, "llama")
    alone = load_model(str(tmp_path))
    assert alone.files == load_model(str(file)).files
    assert [one["path"] for one in alone.files] == ["llama.gguf"]
    shutil.copy(file, tmp_path / "another.gguf")
    with pytest.raises(ModelError, match=r"2 GGUF files \(name one of them, another.gguf say\)"):
        load_model(str(tmp_path))
    shutil.copy(folders / "llama" / "config.json", tmp_path)
    with pytest.raises(ModelError, match=r"no model.safetensors, but another.gguf \(name the GGUF file itself\)"):
        load_model(str(tmp_path))


def test_a_tokenizer_beside_the_file_goes_before_that_in_it(folders: Path, tmp_path: Path) -> None:
    file = made(folders, tmp_path, "llama", tokenizer=lambda writer: writer.add_tokenizer_model("bert"))
    with pytest.raises(ModelError, match=r"kind 'bert', which transformers does not follow \(put the tokenizer.json"):
        load_model(str(file))
    before = folders / "llama" / "tokenizer.json"
    shutil.copy(before, tmp_path)
    model = load_model(str(file))
    assert model.notes[1] == "its tokenizer is the tokenizer.json beside the file"
    assert [one["path"] for one in model.files] == ["llama.gguf", "tokenizer.json"]
    sha256 = model.sha256
    (tmp_path / "tokenizer.json").write_bytes(before.read_bytes() + b"\n")
    assert load_model(str(file)).sha256 != sha256


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"ARCH__rope__scaling__type": "linear", "ARCH__rope__scaling__factor": 4.0}, "rope.scaling"),
        ({"ARCH__rope__scaling__type": "yarn"}, "llama.rope.scaling.type is 'yarn'"),
        ({"ARCH__attention__sliding_window": 16}, "llama.attention.sliding_window is 16"),
        ({"ARCH__logit_scale": 0.25}, "llama.logit_scale is 0.25, which transformers does not follow"),
        ({"ARCH__expert_count": 8}, "llama.expert_count is 8"),
        ({"ARCH__attention__key_length": 99}, "llama.attention.key_length is 99"),
        ({"split__count": 3}, "one of 3 parts of a model (join them"),
        ({"general__type": "adapter"}, "holds no model, but 'adapter'"),
        ({"tensors": {"blk.0.attn_q.bias": np.zeros(64, np.float32)}}, "1 tensors of no place in the model"),
        ({"tensors": {"blk.7.attn_q.weight": np.zeros((64, 64), np.float32)}}, "1 tensors of no place in the model"),
    ],
)  # fmt: skip
def test_what_would_be_passed_over_is_refused(folders: Path, tmp_path: Path, more: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(str(made(folders, tmp_path, "llama", **more)))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_that_change_nothing_are_read_over(folders: Path, tmp_path: Path) -> None:
    more = {"ARCH__rope__scaling__type": "none", "ARCH__attention__key_length": 16, "ARCH__expert_count": 0}
    assert load_model(str(made(folders, tmp_path, "llama", **more))).family == "llama"


@pytest.mark.parametrize("change", ["gemma", "bloom", "other", "'\\n{}"])
def test_other_architectures_are_refused(folders: Path, tmp_path: Path, change: str) -> None:
    file = made(folders, tmp_path, "llama")
    file.write_bytes(file.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0" + change.encode(), 1))
    with pytest.raises(ModelError, match=r"architecture .* is not read \(llama, qwen2"):
        load_model(str(file))


def test_every_family_is_one_of_transformers() -> None:
    from transformers.integrations import GGUF_CONFIG_MAPPING

    assert set(FAMILIES.values()) <= set(GGUF_CONFIG_MAPPING)


def test_what_is_missing_is_named(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = made(folders, tmp_path, "llama")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ModelError, match=r"a GGUF file needs gguf \(pip install 'memaudit\[gguf\]'\)"):
        load_model(str(file))
    (tmp_path / "notes.txt").write_text("a file")
    with pytest.raises(ModelError, match="a file; a model is a folder, or a GGUF file"):
        load_model(str(tmp_path / "notes.txt"))
    with pytest.raises(ModelError, match="a whole model"):
        load_model(str(file), base="elsewhere")
