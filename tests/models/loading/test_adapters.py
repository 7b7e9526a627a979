"""Adapters: merged as `peft` saves a merge, over a base model that stays what it was, or refused by name."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from memaudit.errors import ModelError
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.adapter_settings import KINDS, read_settings
from memaudit.models.loading.adapters import base_folder
from memaudit.models.loading.hub import hub_id
from memaudit.models.loading.load import load_model
from memaudit.models.loading.objects import from_transformers
from memaudit.models.loading.weights import read_headers
from memaudit.models.masked import new_bert
from memaudit.models.transformer import new_gpt
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer
from tests.models.zoo import new_module

peft = pytest.importorskip("peft")

BYTES = train_tokenizer("byte", [])
WINDOWS = [Window(np.arange(5, 15, dtype=np.int32), np.arange(20, 30, dtype=np.int32))]
LAYERS = {"llama": ["q_proj", "down_proj"], "gpt2": ["c_attn", "mlp.c_proj"], "bert": ["query", "value"]}
SAVED = {"llama": ["embed_tokens", "lm_head"], "gpt2": ["wte"], "bert": ["transform"]}

Make = Callable[[str], Any]


def lora(**settings: Any) -> Make:
    return lambda style: peft.LoraConfig(r=4, target_modules=LAYERS[style], init_lora_weights=False, **settings)


MAKES: dict[str, Make] = {
    "lora": lora(),
    "dora": lora(use_dora=True),
    "ranks": lora(use_rslora=True, rank_pattern={"q_proj": 2, "c_attn": 2}, alpha_pattern={"q_proj": 32}),
    "saved": lambda style: lora(modules_to_save=SAVED[style])(style),
    "biases": lora(bias="all"),
    "ia3": lambda style: peft.IA3Config(
        target_modules=LAYERS[style], feedforward_modules=LAYERS[style][1:], init_ia3_weights=False
    ),
    "loha": lambda style: peft.LoHaConfig(r=4, target_modules=LAYERS[style], init_weights=False),
    "lokr": lambda style: peft.LoKrConfig(r=4, target_modules=LAYERS[style], init_weights=False),
}
MADE = [
    (style, kind) for style in LAYERS for kind in MAKES if (style, kind[:2]) not in {("gpt2", "lo")} or "lora" in kind
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    size: dict[str, Any] = {"width": 32, "layers": 2, "heads": 2, "context_length": 64}
    made = {
        "llama": new_gpt(BYTES, style="llama", **size),
        "gpt2": new_gpt(BYTES, **size),
        "bert": new_bert(BYTES, **size),
    }
    for name, model in made.items():
        model.save(root / name)
        (root / name / "memaudit.json").unlink()
    return root


def base_of(models: Path, style: str) -> Any:
    kind = AutoModelForMaskedLM if style == "bert" else AutoModelForCausalLM
    return kind.from_pretrained(models / style)


def written(models: Path, style: str, kind: str, folder: Path) -> Any:
    """Write an adapter whose every tensor differs from where it began; return the model that it is of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(base_of(models, style), MAKES[kind](style))
        lot = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape, generator=lot) * 0.05)
        model.save_pretrained(folder)
    return model


@pytest.fixture
def adapter(models: Path, tmp_path: Path) -> Path:
    written(models, "llama", "lora", tmp_path / "adapter")
    return tmp_path / "adapter"


def logs(model: Any) -> Any:
    return model.score(WINDOWS).log_prob


@pytest.mark.parametrize(("style", "kind"), MADE)
def test_a_merge_is_the_one_that_peft_saves(models: Path, tmp_path: Path, style: str, kind: str) -> None:
    model = written(models, style, kind, tmp_path / "adapter")
    drawn = torch.get_rng_state()
    ours = load_model(str(tmp_path / "adapter"), base_control=True)
    assert torch.equal(torch.get_rng_state(), drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(models / style).save_pretrained(tmp_path / "merged")
    assert np.array_equal(logs(ours), logs(load_model(str(tmp_path / "merged"))))
    base = load_model(str(models / style))
    assert ours.base is not None
    assert np.array_equal(logs(ours.base), logs(base)), "the base model beside it is what it was"
    assert not np.allclose(logs(ours), logs(base), rtol=0, atol=1e-4)
    assert ours.base.sha256 == base.sha256
    assert ours.objective == base.objective
    module: Any = ours.module  # type: ignore[attr-defined]
    assert all(parameter.requires_grad for parameter in module.parameters()), "classifiers are trained from it"


EMBEDDINGS = {"llama": ["embed_tokens", "lm_head"], "gpt2": ["wte", "lm_head"]}


@pytest.mark.parametrize("style", EMBEDDINGS)
@pytest.mark.parametrize("layers", [[0], [1], [0, 1]])
@pytest.mark.parametrize("more", [{}, {"use_dora": True}, {"ensure_weight_tying": True}], ids=str)
@pytest.mark.filterwarnings("ignore")
def test_a_merge_into_tied_weights_computes_what_was_trained(
    models: Path, tmp_path: Path, style: str, layers: list[int], more: dict[str, Any]
) -> None:
    targets = [EMBEDDINGS[style][layer] for layer in layers]
    config = peft.LoraConfig(r=4, target_modules=[*targets, *LAYERS[style]], init_lora_weights=False, **more)
    model = peft.get_peft_model(base_of(models, style), config)
    model.save_pretrained(tmp_path / "adapter")
    ours = load_model(str(tmp_path / "adapter"), base_control=True)
    whole = from_transformers(model, AutoTokenizer.from_pretrained(models / style))
    assert np.allclose(logs(ours), logs(whole), rtol=1e-5, atol=1e-3)
    assert np.array_equal(logs(ours.base), logs(load_model(str(models / style))))


def test_a_base_that_may_be_another_is_told(models: Path, adapter: Path, tmp_path: Path) -> None:
    """Checkpoints of one architecture fit any adapter of it: what is named must be what is used, or a note says so."""
    assert len(load_model(str(adapter)).notes) == 1
    cached = tmp_path / "hub" / "models--org--base-instruct" / "snapshots" / "0123"
    for other in (cached, tmp_path / "run-2" / "llama"):
        shutil.copytree(models / "llama", other)
    for named, base, told in (
        (None, cached, "names another base model"),
        (None, tmp_path / "run-2" / "llama", "names its base model in another place, whose weights may be others"),
        ("org/base-instruct", cached, ""),
        ("org/base", cached, "names another base model: org/base"),
        ("other/base-instruct", cached, "names another base model: other/base-instruct"),
        ("org/llama", models / "llama", ""),
    ):
        file = adapter / "adapter_config.json"
        if named:
            file.write_text(json.dumps({**json.loads(file.read_bytes()), "base_model_name_or_path": named}))
        notes = load_model(str(adapter), base=str(base)).notes
        assert told in notes[-1]
        assert len(notes) == 1 + bool(told)
        assert hub_id(base) == ("org/base-instruct" if base == cached else "")
        assert notes[0].endswith("merged in memory into " + (hub_id(base) or base.name))


def test_both_folders_are_the_identity(models: Path, adapter: Path) -> None:
    ours = load_model(str(adapter))
    assert ours.base is None, "only where it is asked for"
    assert {"adapter_model.safetensors", "adapter_config.json"} <= {file["path"] for file in ours.files}
    assert "base/model.safetensors" in {file["path"] for file in ours.files}
    assert "LORA" in ours.notes[0]
    other = adapter.parent / "other"
    shutil.copytree(models / "llama", other)
    named = load_model(str(adapter), base=str(other))
    assert "names another base model" in named.notes[1]
    assert named.sha256 == ours.sha256, "the same files"
    tensors = load_file(other / "model.safetensors")
    tensors["model.norm.weight"] += 0.5
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    assert load_model(str(adapter), base=str(other)).sha256 != ours.sha256


def test_weights_that_are_not_changed_lie_in_memory_once(adapter: Path) -> None:
    model: Any = load_model(str(adapter), base_control=True)
    tuned, base = (dict(one.module.named_parameters()) for one in (model, model.base))
    changed = {name for name in base if tuned[name].data_ptr() != base[name].data_ptr()}
    assert {name.split(".")[-2] for name in changed} == {"q_proj", "down_proj"}


@pytest.mark.parametrize("saved", [["embed_tokens", "lm_head"], [], None])
def test_a_larger_vocabulary_comes_with_the_adapter(models: Path, tmp_path: Path, saved: list[str] | None) -> None:
    words, base = AutoTokenizer.from_pretrained(models / "llama"), base_of(models, "llama")
    words.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    words.chat_template = "{{ messages }}"
    base.resize_token_embeddings(len(words), mean_resizing=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = lora(modules_to_save=saved or None)("llama")
        config.target_modules |= set() if saved is not None else {"embed_tokens"}
        model = peft.get_peft_model(base, config)
        with torch.no_grad():
            model.get_input_embeddings().weight.add_(0.05)
        model.save_pretrained(tmp_path / "adapter", save_embedding_layers=True)
        words.save_pretrained(tmp_path / "adapter")
        ours: Any = load_model(str(tmp_path / "adapter"), base_control=True)
        whole = from_transformers(model, words)
    new = [Window(np.array([5, 259, 7], np.int32), np.array([260, 9], np.int32))]
    assert ours.tokenizer.vocab_size == 261
    assert ours.tokenizer.tokenizer.chat_template == "{{ messages }}"
    assert np.allclose(ours.score(new).log_prob, whole.score(new).log_prob, rtol=1e-5, atol=1e-4)
    rows = ours.base.module.get_input_embeddings().weight
    assert torch.allclose(rows[259:], rows[:259].mean(dim=0), atol=1e-6), "the base model never saw these tokens"
    assert np.allclose(logs(ours.base), logs(load_model(str(models / "llama"))), atol=0.1)


def refused(folder: Path, **settings: Any) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(str(folder), **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(folder: Path, **changes: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})


def test_a_base_model_of_another_kind_or_size_is_refused(models: Path, adapter: Path, tmp_path: Path) -> None:
    assert "changes model.layers.0.mlp.down_proj, which GPT2LMHeadModel lacks" in refused(
        adapter, base=str(models / "gpt2")
    )
    new_gpt(BYTES, style="llama", width=64, layers=2, heads=2, context_length=64).save(tmp_path / "wide")
    told = refused(adapter, base=str(tmp_path / "wide"))
    assert "lora_A.weight is of another shape: [4, " in told
    assert "the base model has room for [4, " in told


def test_a_base_model_is_found_by_its_path_or_named(
    models: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = logs(load_model(str(adapter)))
    shutil.copytree(models / "llama", adapter / "beside")
    edit(adapter, base_model_name_or_path="beside")
    assert base_folder(adapter) == adapter / "beside"
    monkeypatch.chdir(models)
    edit(adapter, base_model_name_or_path="llama")
    assert base_folder(adapter) == Path("llama")
    assert np.array_equal(logs(load_model(str(adapter))), expected)
    edit(adapter, base_model_name_or_path="nobody/nothing")
    assert "names as base model" in refused(adapter)
    assert "--base" in refused(adapter)
    edit(adapter, base_model_name_or_path=None)
    assert "names no base model" in refused(adapter)
    assert np.array_equal(logs(load_model(str(adapter), base=str(models / "llama"))), expected)
    assert "a whole model" in refused(models / "llama", base=str(models / "llama"))
    assert "a file; the base model" in refused(adapter, base=str(models / "llama" / "config.json"))


def test_tensors_missing_or_left_over_are_refused(adapter: Path) -> None:
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
    edit_tensors(adapter, lambda tensors: tensors.pop(name))
    assert f"1 tensors missing, first: {name}" in refused(adapter)
    edit_tensors(
        adapter, lambda tensors: tensors.update({name: torch.zeros(32, 4), f"{name[:-7]}.more": torch.ones(1)})
    )
    assert "lacks" in refused(adapter)
    edit_tensors(adapter, lambda tensors: (tensors.pop(f"{name[:-7]}.more"), tensors.update(other=torch.ones(1))))
    assert "tensor other is of no adapter" in refused(adapter)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "peft_type 'PREFIX_TUNING' is not known"),
        ({"layer_replication": [[0, 2]]}, "layer_replication is set, which is not known here"),
        ({"init_lora_weights": "pissa"}, "changes the base model's weights too"),
        ({"r": 10**9}, "r is 1000000000, which its weights cannot fill"),
        ({"r": True}, "r is True"),
        ({"lora_alpha": "8"}, "lora_alpha is '8'"),
        ({"bias": "some"}, "bias is 'some'"),
        ({"alpha_pattern": {"(a+)+$": 3}}, "alpha_pattern holds"),
        ({"rank_pattern": {"q_proj": 10**9}}, "rank_pattern holds"),
        ({"modules_to_save": "lm_head"}, "modules_to_save is 'lm_head'"),
        ({"modules_to_save": ["norm"]}, "missing"),
        ({"target_modules": ["q_proj", "k_proj"]}, "no tensors for 'k_proj' of target_modules"),
        ({"r": 8}, "is of another shape"),
    ],
)
def test_a_configuration_that_says_something_else_is_refused(adapter: Path, changes: dict[str, Any], says: str) -> None:
    edit(adapter, **changes)
    assert says in refused(adapter)


def test_patterns_are_not_searched_with_and_code_is_not_loaded(adapter: Path) -> None:
    expected = logs(load_model(str(adapter)))
    edit(adapter, target_modules="(a+)+$", layers_pattern="(a+)+$", layers_to_transform=[0])
    edit(adapter, auto_mapping={"base_model_class": "x", "parent_library": "antigravity"})
    ours = load_model(str(adapter))
    assert np.array_equal(logs(ours), expected)
    assert "adapter_config.json: auto_mapping" in ours.ignored
    assert "antigravity" not in sys.modules


def test_without_peft_one_line_says_what_to_install(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    assert refused(adapter).endswith("an adapter needs peft (pip install 'memaudit[adapters]')")


def test_settings_name_layers_by_their_tensors(adapter: Path) -> None:
    settings = read_settings(adapter, read_headers(adapter, "adapter_model"))
    assert settings.kind is KINDS["LORA"]
    assert settings.layers[0] == "model.layers.0.mlp.down_proj"
    assert len(settings.layers) == 4
    assert settings.saved == ()
    assert settings.describe().startswith("LORA, ")


def adapted_wrapper(family: str, targets: Any, where: Path) -> Any:
    """Save a tiny model that sees beside reading, and an adapter of layers of it; return both as `peft` has them."""
    module = new_module(family)
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a release will leave out
        module.save_pretrained(where / "base")
        BYTES.save(where / "base")
        torch.manual_seed(0)
        config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False)
        adapted: Any = peft.get_peft_model(module, config)
        adapted.peft_config["default"].base_model_name_or_path = str(where / "base")
        adapted.save_pretrained(where / "adapter")
    return adapted


@pytest.mark.parametrize(
    ("family", "targets", "unread"), [("gemma3", ["q_proj", "fc1"], 10), ("llama4", r".*language_model.*\.q_proj", 0)]
)
@torch.no_grad()
def test_of_a_model_that_sees_the_layers_of_its_text_model_are_changed(
    family: str, targets: Any, unread: int, tmp_path: Path
) -> None:
    """The adapter of Gemma 3 changes the tower too; the text model of Llama 4 is a model of its own within."""
    adapted = adapted_wrapper(family, targets, tmp_path)
    model, base = load_model(str(tmp_path / "adapter")), load_model(str(tmp_path / "base"))
    [window] = WINDOWS
    ids = torch.tensor([[*model.frame[0], *window.prefix.tolist(), *window.suffix.tolist()]])
    inner = adapted.get_base_model().eval()
    logits = (inner.language_model if family == "llama4" else inner)(input_ids=ids).logits
    log_probs = logits[0, -11:-1].double().log_softmax(-1)
    expected = log_probs.gather(1, torch.from_numpy(window.suffix).long()[:, None])[:, 0].numpy()
    np.testing.assert_allclose(model.score([window]).log_prob, expected, rtol=0, atol=2e-6)
    assert np.abs(base.score([window]).log_prob - expected).max() > 1e-3
    told = [line for line in model.ignored if line.startswith("weights of the adapter: ")]
    assert told == ([f"weights of the adapter: model.vision_tower ({unread} tensors), not read"] if unread else [])


def test_an_adapter_of_a_tower_alone_is_refused(tmp_path: Path) -> None:
    adapted_wrapper("gemma3", ["fc1"], tmp_path)
    with pytest.raises(ModelError, match="changes no layer that text is read with"):
        load_model(str(tmp_path / "adapter"))
