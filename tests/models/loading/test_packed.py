"""GPTQ, AWQ, fp8 and mxfp4: what was packed by hand is what is read, bit by bit, or is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GptOssConfig, GptOssForCausalLM

from memaudit.errors import ModelError
from memaudit.models.loading.load import load_model
from memaudit.models.loading.packed import dequantised
from memaudit.models.loading.quantised import quantisation_of
from memaudit.models.loading.weights import read_headers
from memaudit.models.transformer import new_gpt
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer
from tests.quantising import WEIGHTS, awq, experts_in_mxfp4, fp8, gptq, quiet

BYTES = train_tokenizer("byte", [])
LOT = np.random.default_rng(0)
WINDOWS = [
    Window(LOT.integers(3, 250, 10).astype(np.int32), LOT.integers(3, 250, 12).astype(np.int32)) for _ in range(3)
]
MAKES: dict[str, Callable[[Path, Path, Path], None]] = {
    "gptq": gptq,
    "gptq-8bit": lambda source, folder, plain: gptq(source, folder, plain, bits=8, group=-1),
    "gptq-2bit": lambda source, folder, plain: gptq(source, folder, plain, bits=2),
    "gptq-shuffled": lambda source, folder, plain: gptq(source, folder, plain, shuffled=True),
    "awq": awq,
    "fp8": fp8,
    "fp8-uneven": lambda source, folder, plain: fp8(source, folder, plain, (32, 20)),
    "fp8-tensor": lambda source, folder, plain: fp8(source, folder, plain, None),
}
LABELS = {
    "gptq": "GPTQ, 4 bit, groups of 16", "gptq-8bit": "GPTQ, 8 bit, one scale a column",
    "gptq-2bit": "GPTQ, 2 bit, groups of 16", "gptq-shuffled": "GPTQ, 4 bit, groups of 16",
    "awq": "AWQ, 4 bit, groups of 16", "fp8": "fp8, blocks of 16 by 16", "fp8-uneven": "fp8, blocks of 32 by 20",
    "fp8-tensor": "fp8, one scale a tensor",
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packed")
    new_gpt(BYTES, style="llama", width=48, layers=2, heads=2, context_length=64).save(root / "llama")
    for kind, make in MAKES.items():
        make(root / "llama", root / kind, root / f"{kind}-plain")
    config = GptOssConfig(
        vocab_size=BYTES.vocab_size, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=128,
        eos_token_id=0, pad_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    with quiet():
        GptOssForCausalLM(config).save_pretrained(root / "gpt-oss")
    BYTES.save(root / "gpt-oss")
    experts_in_mxfp4(root / "gpt-oss", root / "mxfp4")
    return root


@pytest.mark.parametrize("kind", MAKES)
def test_a_folder_is_the_plain_model_of_its_weights(folders: Path, kind: str) -> None:
    model, plain = load_model(str(folders / kind)), load_model(str(folders / f"{kind}-plain"))
    assert model.notes == (f"weights are quantised ({LABELS[kind]}), and dequantised to float32",)
    assert model.dtype == "float32"
    own, expected = model.module.state_dict(), plain.module.state_dict()
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[name], expected[name]) for name in own)
    assert model.sha256 != plain.sha256


@pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.24"), reason="older releases round to bfloat16, or need Triton"
)
@pytest.mark.parametrize("kind", ["fp8", "mxfp4"])
@torch.no_grad()
def test_scores_and_text_are_those_of_transformers(folders: Path, kind: str) -> None:
    model = load_model(str(folders / kind))
    with quiet():
        module = AutoModelForCausalLM.from_pretrained(folders / kind, dtype=torch.float32).eval()
    start = [] if model.tokenizer.bos_id is None else [model.tokenizer.bos_id]
    for window, scores in zip(WINDOWS, model.score(WINDOWS), strict=True):
        ids = torch.tensor([[*start, *window.prefix.tolist(), *window.suffix.tolist()]])
        log_probs = module(input_ids=ids).logits[0].double().log_softmax(-1)[-13:-1]
        expected = log_probs.gather(1, torch.from_numpy(window.suffix).long()[:, None])[:, 0].numpy()
        np.testing.assert_allclose(scores.log_prob, expected, rtol=0, atol=1e-6)
    for window, written in zip(WINDOWS, model.continuations([w.prefix for w in WINDOWS], 12), strict=True):
        ids = [*start, *window.prefix.tolist()]
        for _ in range(12):
            ids.append(int(module(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        assert written.tolist() == ids[-12:]
    own = [
        Window(w.prefix, ids)
        for w, ids in zip(WINDOWS, model.continuations([w.prefix for w in WINDOWS], 12), strict=True)
    ]
    assert model.screen(own).tolist() == [12] * len(own)


def test_the_type_that_is_asked_for_is_what_is_computed_in(folders: Path) -> None:
    model = load_model(str(folders / "fp8"), dtype="bfloat16")
    assert (model.dtype, model.module.dtype) == ("bfloat16", torch.bfloat16)
    assert model.notes[0].endswith("dequantised to bfloat16")


def test_biases_of_zeros_that_old_tools_wrote_are_left_out(folders: Path, tmp_path: Path) -> None:
    for value in (0.0, 0.5):
        copy = tmp_path / str(value)
        shutil.copytree(folders / "gptq", copy)
        tensors = load_file(copy / WEIGHTS)
        save_file({**tensors, f"{LAYER}.bias": torch.full((128,), value)}, copy / WEIGHTS, {"format": "pt"})
    assert load_model(str(tmp_path / "0.0")).notes
    with pytest.raises(ModelError, match="1 tensors unexpected"):
        load_model(str(tmp_path / "0.5"))


@pytest.mark.parametrize("kind", ["gptq", "mxfp4"])
def test_a_device_that_is_not_there_is_named(folders: Path, kind: str) -> None:
    with pytest.raises(ModelError, match="--device meta"):
        load_model(str(folders / kind), device="meta")


LAYER = "model.layers.0.mlp.up_proj"
EXPERTS = "model.layers.0.mlp.experts.down_proj"
Change = Callable[[dict[str, torch.Tensor]], Any]


def scaled(name: str, value: float) -> Change:
    return lambda tensors: tensors[name].fill_(value)


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("gptq", lambda t: t.pop(f"{LAYER}.scales"), "comes without"),
        ("gptq", lambda t: t.pop(f"{LAYER}.qweight"), "without the rest"),
        ("gptq", lambda t: t.update({f"{LAYER}.weight": torch.zeros(128, 48)}), "without the rest"),
        ("gptq", lambda t: t[f"{LAYER}.g_idx"].fill_(2**31 - 1), "a group that is not there"),
        ("gptq", lambda t: t[f"{LAYER}.g_idx"].fill_(-1), "a group that is not there"),
        ("gptq", scaled(f"{LAYER}.scales", float("nan")), "non-finite"),
        ("gptq", scaled(f"{LAYER}.scales", 0), "zeros only"),
        ("gptq", lambda t: t.update({f"{LAYER}.qweight": t[f"{LAYER}.qweight"].float()}), "do not fit"),
        ("gptq", lambda t: t.update({f"{LAYER}.qweight": t[f"{LAYER}.qweight"].t()}), "do not fit"),
        ("gptq", lambda t: t.update({f"{LAYER}.qzeros": t[f"{LAYER}.qzeros"][:1]}), "do not fit"),
        ("awq", scaled(f"{LAYER}.scales", float("inf")), "non-finite"),
        ("awq", lambda t: t.update({f"{LAYER}.qweight": t[f"{LAYER}.qweight"][:, :4]}), "do not fit"),
        ("awq", lambda t: t.update({f"{LAYER}.g_idx": torch.zeros(48, dtype=torch.int32)}), "unexpected"),
        ("fp8", scaled(f"{LAYER}.weight_scale_inv", float("nan")), "non-finite"),
        ("fp8", scaled(f"{LAYER}.weight_scale_inv", 0), "zeros only"),
        ("fp8", scaled(f"{LAYER}.weight_scale_inv", 1e38), "non-finite"),
        ("fp8", lambda t: t.pop(f"{LAYER}.weight_scale_inv"), "comes without"),
        ("fp8", lambda t: t.update({f"{LAYER}.weight_scale_inv": torch.ones(1, 1)}), "do not fit"),
        ("fp8", lambda t: t[f"{LAYER}.weight"].view(torch.uint8).fill_(0x7F), "non-finite"),
        ("mxfp4", lambda t: t[f"{EXPERTS}_scales"].fill_(255), "NaN for a scale"),
        ("mxfp4", lambda t: t.update({f"{EXPERTS}_blocks": t[f"{EXPERTS}_blocks"][:, :2]}), "do not fit"),
        ("mxfp4", lambda t: t.pop(f"{EXPERTS}_scales"), "comes without"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(folders: Path, tmp_path: Path, kind: str, change: Change, says: str) -> None:
    shutil.copytree(folders / kind, tmp_path / "copy")
    tensors = load_file(tmp_path / "copy" / WEIGHTS)
    change(tensors)
    save_file({name: t.contiguous() for name, t in tensors.items()}, tmp_path / "copy" / WEIGHTS, {"format": "pt"})
    with pytest.raises(ModelError) as caught:
        load_model(str(tmp_path / "copy"))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["gptq", "awq", "fp8", "mxfp4"])
def test_who_says_what_is_not_so_is_refused(folders: Path, tmp_path: Path, kind: str) -> None:
    plain = folders / ("gpt-oss" if kind == "mxfp4" else "llama")
    shutil.copytree(plain, tmp_path / "claims")
    (tmp_path / "claims" / "memaudit.json").unlink(missing_ok=True)
    shutil.copy(folders / kind / "config.json", tmp_path / "claims" / "config.json")
    with pytest.raises(ModelError, match="and no tensor is"):
        load_model(str(tmp_path / "claims"))
    shutil.copytree(folders / kind, tmp_path / "hides")
    shutil.copy(plain / "config.json", tmp_path / "hides" / "config.json")
    with pytest.raises(ModelError, match=r"holds|missing|unexpected"):
        load_model(str(tmp_path / "hides"))


@pytest.mark.parametrize("group", [1 << 16, 8, -1])
def test_another_size_of_groups_is_seen_in_the_scales(folders: Path, tmp_path: Path, group: int) -> None:
    shutil.copytree(folders / "gptq", tmp_path / "copy")
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    config["quantization_config"]["group_size"] = group
    (tmp_path / "copy" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="do not fit GPTQ"):
        load_model(str(tmp_path / "copy"))


@pytest.mark.parametrize("kind", ["gptq", "awq", "fp8"])
def test_weights_are_made_when_they_are_asked_for_and_again_to_compare(folders: Path, kind: str) -> None:
    folder = folders / kind
    quantisation = quantisation_of(folder / "config.json", json.loads((folder / "config.json").read_text()))
    assert quantisation is not None
    plain = load_file(folders / f"{kind}-plain" / "model.safetensors")
    found = dequantised(folder, quantisation, read_headers(folder), torch.bfloat16)
    assert found.keys() == plain.keys()
    for name, tensor in found.items():
        assert tensor.get_shape() == list(plain[name].shape)
        whole = tensor[...]
        assert tensor.get_dtype() == {torch.bfloat16: "BF16", torch.float32: "F32"}[whole.dtype]
        assert whole.equal(plain[name].to(whole.dtype))
        assert tensor[1:3].equal(whole[1:3])
        assert torch.cat(list(tensor.pieces())).equal(whole.reshape(-1))


def test_memory_is_counted_as_it_will_be_once_dequantised(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("memaudit.models.loading.placement.check_room", lambda *told: seen.append(told))
    for name in ("gptq-plain", "gptq", "awq", "fp8"):
        load_model(str(folders / name))
    needs = [sum(tensor.values for tensor in told[1].values()) for told in seen]
    assert len(set(needs)) == 1
