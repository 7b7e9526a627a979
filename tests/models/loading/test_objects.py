"""Models in memory: measured as their folder is, and given back as they were."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

import memaudit
from memaudit.errors import ModelError
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.load import GivenModel, load_model
from memaudit.models.loading.objects import from_transformers, tensors_sha256
from memaudit.models.masked import new_bert
from memaudit.models.transformer import new_gpt
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer
from tests.faults.memorised import OPTIONS, tokenizer, victim, write_corpora
from tests.models.zoo import new_module

peft = pytest.importorskip("peft")

BYTES = train_tokenizer("byte", [])
WINDOWS = [Window(np.arange(5, 15, dtype=np.int32), np.arange(20, 30, dtype=np.int32))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    gpt = new_gpt(BYTES, width=32, layers=2, heads=2, context_length=64)
    llama = new_gpt(BYTES, style="llama", width=32, layers=2, heads=2, context_length=64)
    bert = new_bert(BYTES, width=32, layers=2, heads=2, context_length=64)
    for name, model in (("gpt", gpt), ("llama", llama), ("bert", bert)):
        model.save(root / name)
        (root / name / "memaudit.json").unlink()
    return {name: root / name for name in ("gpt", "llama", "bert")}


def loaded(folder: Path) -> tuple[Any, Any]:
    kind = AutoModelForMaskedLM if folder.name == "bert" else AutoModelForCausalLM
    return kind.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def state(module: Any) -> dict[str, Any]:
    """Everything of a module that somebody could notice."""
    found: dict[str, Any] = {"config": module.config.to_dict(), "attention": module.config._attn_implementation}
    for name, one in module.named_modules():
        found[f"{name}: mode"] = (type(one), one.training, sorted(vars(one)), list(one._modules))
        hooks = (one._forward_hooks, one._forward_pre_hooks, one._backward_hooks, one._state_dict_hooks)
        found[f"{name}: hooks"] = [list(held.items()) for held in hooks]
    for name, parameter in [*module.named_parameters(), *module.named_buffers()]:
        grad = None if parameter.grad is None else parameter.grad.sum().item()
        place = (id(parameter), parameter.data_ptr(), parameter.stride(), parameter.dtype, parameter.device)
        found[f"{name}: tensor"] = (*place, parameter.requires_grad, grad, parameter._version)
        found[f"{name}: bytes"] = parameter.detach().reshape(-1).view(torch.uint8).numpy().tobytes()
    return found


def lots() -> list[Any]:
    name, *rest = np.random.get_state()  # noqa: NPY002 (it is the caller's that must stay)
    return [random.getstate(), (name, [np.asarray(one).tolist() for one in rest]), torch.get_rng_state().tolist()]


@pytest.mark.parametrize("name", ["gpt", "llama", "bert"])
def test_scores_are_those_of_the_folder(folders: dict[str, Path], name: str) -> None:
    ours, theirs = from_transformers(*loaded(folders[name])), load_model(str(folders[name]))
    assert ours.objective == theirs.objective
    assert ours.family == theirs.family
    assert ours.ignored == theirs.ignored
    assert ours.frame == theirs.frame
    assert ours.end_ids == theirs.end_ids
    assert ours.context_length == theirs.context_length
    assert ours.parameters == theirs.parameters
    assert ours.tokenizer.sha256 == theirs.tokenizer.sha256
    assert np.allclose(ours.score(WINDOWS).log_prob, theirs.score(WINDOWS).log_prob, rtol=0, atol=1e-5)
    assert np.array_equal(ours.score(WINDOWS).rank, theirs.score(WINDOWS).rank)


def test_an_audit_gives_the_verdict_and_the_records_of_the_folder(tmp_path: Path) -> None:
    write_corpora(tmp_path)
    victim().save(tmp_path / "model")
    (tmp_path / "model" / "memaudit.json").unlink()
    module, words = loaded(tmp_path / "model")
    module.train()
    before, drawn = state(module), lots()
    texts = str(tmp_path / "train.jsonl"), str(tmp_path / "heldout.jsonl")
    ours = memaudit.audit(module, *texts, tokenizer=words, options=OPTIONS, out=tmp_path / "a")
    assert state(module) == before
    assert lots() == drawn
    theirs = memaudit.audit(str(tmp_path / "model"), *texts, options=OPTIONS, out=tmp_path / "b")
    assert ours.verdict == theirs.verdict == "found"
    told = ("index", "extractable", "matching_tokens", "suffix_ids", "continuation_ids", "document")
    facts = [
        [{name: row.get(name) for name in told} for row in (r.row() for r in one.records)] for one in (ours, theirs)
    ]
    assert facts[0] == facts[1]
    command = json.loads((tmp_path / "a" / "plan.json").read_text())["command"]
    assert command.startswith("memaudit.audit(model, ")
    assert "tokenizer=tokenizer" in command
    again = memaudit.audit(module, *texts, tokenizer=words, options=OPTIONS, out=tmp_path / "a")
    assert again.report == ours.report, "another model would be refused: the run belongs to another plan"


@pytest.mark.parametrize("name", ["gpt", "llama", "bert"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_is_given_back_as_it_was(folders: dict[str, Path], name: str, dtype: torch.dtype) -> None:
    module, words = loaded(folders[name])
    module.to(dtype).train()
    list(module.modules())[3].eval()
    next(module.parameters()).requires_grad_(False)
    module(input_ids=torch.tensor([[5, 6, 7]])).logits.float().sum().backward()
    module.register_forward_hook(lambda *_: None)
    pipeline = words.backend_tokenizer.to_str()
    before, drawn = state(module), lots()
    model = from_transformers(module, words)
    model.score(WINDOWS)
    model.screen(WINDOWS * 40)
    model.continuations([WINDOWS[0].prefix], 5)
    assert state(module) == before
    assert lots() == drawn
    assert words.backend_tokenizer.to_str() == pipeline
    assert model.dtype == str(dtype).removeprefix("torch.")


def test_identity_is_that_of_tensors_and_configuration(folders: dict[str, Path]) -> None:
    module, words = loaded(folders["gpt"])
    first = from_transformers(module, words).sha256
    assert first == tensors_sha256(loaded(folders["gpt"])[0]) == from_transformers(module.train(), words).sha256
    with torch.no_grad():
        module.transformer.h[0].mlp.c_fc.bias[3] += 1e-3
    assert from_transformers(module, words).sha256 != first


@pytest.mark.parametrize("family", ["llava", "blip-2"])
def test_of_what_sees_the_text_model_is_read_as_from_its_folder(family: str, tmp_path: Path) -> None:
    module = new_module(family)
    with quiet_transformers():
        module.save_pretrained(tmp_path)
    BYTES.save(tmp_path)
    folder = load_model(str(tmp_path))
    before = state(module)
    model = from_transformers(module, folder.tokenizer)
    assert state(module) == before
    assert np.array_equal(model.score(WINDOWS).log_prob, folder.score(WINDOWS).log_prob)


def test_what_does_not_read_without_images_says_so() -> None:
    with pytest.raises(ModelError, match=r"^InstructBlipForConditionalGeneration: .* does not read text alone: "):
        from_transformers(new_module("instructblip"), BYTES)


def test_wrappers_are_taken_off(folders: dict[str, Path]) -> None:
    module, words = loaded(folders["llama"])
    expected = from_transformers(module, words)
    for wrapped in (nn.DataParallel(module), torch.compile(module), nn.DataParallel(torch.compile(module))):
        ours = from_transformers(wrapped, words)
        assert ours.sha256 == expected.sha256
        assert np.array_equal(ours.score(WINDOWS).log_prob, expected.score(WINDOWS).log_prob)


def test_several_processes_and_quantised_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    module, words = loaded(folders["gpt"])
    expected = from_transformers(module, words)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        wrapped = from_transformers(nn.parallel.DistributedDataParallel(module), words)
    finally:
        torch.distributed.destroy_process_group()
    assert wrapped.sha256 == expected.sha256
    assert wrapped.notes == ()
    module.config.quantization_config = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    assert from_transformers(module, words).notes == ("weights are quantised (bitsandbytes), and read as they are",)


def test_membership_takes_a_model_in_memory(folders: dict[str, Path], tmp_path: Path) -> None:
    write_corpora(tmp_path)
    module, words = loaded(folders["gpt"])
    module.train()
    before, texts = state(module), (str(tmp_path / "train.jsonl"), str(tmp_path / "heldout.jsonl"))
    ours = memaudit.membership(texts[0], module, heldout=texts[1], tokenizer=words, out=tmp_path / "a", formats=())
    assert state(module) == before
    theirs = memaudit.membership(texts[0], str(folders["gpt"]), heldout=texts[1], out=tmp_path / "b", formats=())
    assert ours.verdict == theirs.verdict
    assert [found["p_value"] for found in ours.report["detections"]] == [
        found["p_value"] for found in theirs.report["detections"]
    ]


def test_what_cannot_be_audited_is_refused_in_one_line(folders: dict[str, Path]) -> None:
    module, words = loaded(folders["gpt"])

    def refused(model: object, tokenizer: object = words) -> str:
        with pytest.raises(ModelError) as caught:
            GivenModel(model, tokenizer=tokenizer).loaded()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "comes without its tokenizer" in refused(module, None)
    assert "is no tokenizer of transformers" in refused(module, "gpt2")
    assert "builtins's int is no model (taken are a model folder" in refused(3)
    assert "builtins's dict is no model" in refused({})
    assert "is no model of transformers" in refused(nn.Linear(2, 2))
    assert "is no language model for text" in refused(module.transformer)
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=300, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    assert "has an encoder and a decoder" in refused(t5)
    assert "has its tokenizer" in refused(from_transformers(module, words))
    assert "comes with its tokenizer" in refused(str(folders["gpt"]))
    with torch.device("meta"):
        assert "is not in memory" in refused(AutoModelForCausalLM.from_config(module.config))
    words.add_tokens(["more"])
    assert "its tokenizer has 260 tokens, its embedding only 259" in refused(module)
    with torch.no_grad():
        module.transformer.h[1].attn.c_attn.weight[2, 3] = float("nan")
    assert "tensor transformer.h.1.attn.c_attn.weight has 1 non-finite value" in refused(module)


def adapted(folder: Path, **settings: Any) -> tuple[Any, Any]:
    module, words = loaded(folder)
    targets = ["c_attn"] if folder.name == "gpt" else ["q_proj", "v_proj"]
    model = peft.get_peft_model(
        module, peft.LoraConfig(r=4, target_modules=targets, init_lora_weights=False, **settings)
    )
    return model, words


@pytest.mark.parametrize("name", ["gpt", "llama"])
@pytest.mark.filterwarnings("ignore")
def test_a_model_with_adapters_is_read_with_its_base_beside(folders: dict[str, Path], name: str) -> None:
    model, words = adapted(folders[name], modules_to_save=["lm_head"], lora_dropout=0.5)
    with torch.no_grad():
        model.get_output_embeddings().weight.add_(0.1)
    model.train()
    before, drawn = state(model), lots()
    ours = from_transformers(model, words)
    merged, base = ours.score(WINDOWS), ours.base and ours.base.score(WINDOWS)
    assert state(model) == before
    assert lots() == drawn
    own = load_model(str(folders[name])).score(WINDOWS)
    assert base is not None
    assert np.allclose(base.log_prob, own.log_prob, rtol=0, atol=1e-5)
    expected = from_transformers(model.merge_and_unload(), words).score(WINDOWS)
    assert np.allclose(merged.log_prob, expected.log_prob, rtol=0, atol=1e-4)
    assert not np.allclose(merged.log_prob, own.log_prob, rtol=0, atol=1e-2)
    assert "default (LORA)" in ours.notes[0]


@pytest.mark.filterwarnings("ignore")
def test_a_base_that_is_no_longer_there_is_no_control(folders: dict[str, Path]) -> None:
    model, words = adapted(folders["gpt"])
    assert from_transformers(model, words, base_control=False).base is None
    model.merge_adapter()
    assert from_transformers(model, words).base is None
    assert "no control by the base model" in from_transformers(model, words).notes[-1]
    biased, words = adapted(folders["gpt"], bias="all")
    assert from_transformers(biased, words).base is None


@pytest.mark.filterwarnings("ignore")
def test_a_learnt_prompt_is_no_change_of_weights(folders: dict[str, Path]) -> None:
    module, words = loaded(folders["gpt"])
    prompt = peft.get_peft_model(module, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    with pytest.raises(ModelError, match="PROMPT_TUNING is no change of weights"):
        from_transformers(prompt, words)


def test_a_model_of_ours_in_memory_is_taken_as_it_is() -> None:
    model = victim()
    assert GivenModel(model).loaded() is model
    assert (
        from_transformers(model.module, tokenizer()).score(WINDOWS).rank.tolist() == model.score(WINDOWS).rank.tolist()
    )
