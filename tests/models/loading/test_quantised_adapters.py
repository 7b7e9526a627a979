"""Adapters over quantised base models: the scores are those of `peft` over the same base."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from memaudit.errors import ModelError
from memaudit.models.loading.load import load_model
from memaudit.models.loading.quantised_layers import layers_of, make_mergeable, without_packing
from memaudit.models.transformer import new_gpt
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer
from tests.quantising import KEPT, gptq, quiet

for library in ("peft", "bitsandbytes", "compressed_tensors"):
    pytest.importorskip(library)

BYTES = train_tokenizer("byte", [])
WINDOWS = [Window(np.arange(5, 15, dtype=np.int32), np.arange(20, 30, dtype=np.int32))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Quantised base models, and of each an adapter that was made over it."""
    root = tmp_path_factory.mktemp("adapted")
    new_gpt(BYTES, style="llama", width=48, layers=2, heads=2, context_length=64).save(root / "llama")
    for kind in ("nf4", "llm.int8", "w8a8"):
        KEPT[kind](root / "llama", root / kind)
        peft_over(root / kind, root / f"{kind}-adapter")
    gptq(root / "llama", root / "gptq", root / "gptq-plain")
    peft_over(root / "gptq-plain", root / "gptq-adapter")
    return root


def peft_over(base: Path, folder: Path) -> None:
    import peft

    with quiet():
        torch.manual_seed(0)
        module = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        config = peft.LoraConfig(r=4, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
        adapted = peft.get_peft_model(module, config)
        adapted.save_pretrained(folder)


@torch.no_grad()
def theirs(base: Path, adapter: Path) -> Any:
    import peft

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        without_packing(module)
        return peft.PeftModel.from_pretrained(module, adapter).eval()


@pytest.mark.parametrize(("kind", "base"), [("nf4", "nf4"), ("gptq", "gptq-plain")])
@torch.no_grad()
def test_scores_are_those_of_peft_over_the_quantised_base(folders: Path, kind: str, base: str) -> None:
    model = load_model(str(folders / f"{kind}-adapter"), base=str(folders / kind), base_control=True)
    module = theirs(folders / base, folders / f"{kind}-adapter")
    start = [] if model.tokenizer.bos_id is None else [model.tokenizer.bos_id]
    ids = torch.tensor([[*start, *WINDOWS[0].prefix.tolist(), *WINDOWS[0].suffix.tolist()]])
    log_probs = module(input_ids=ids).logits[0].double().log_softmax(-1)[-11:-1]
    expected = log_probs.gather(1, torch.from_numpy(WINDOWS[0].suffix).long()[:, None])[:, 0].numpy()
    np.testing.assert_allclose(model.score(WINDOWS).log_prob, expected, rtol=0, atol=2e-6)
    assert model.base is not None
    whole = load_model(str(folders / kind)).score(WINDOWS).log_prob
    np.testing.assert_allclose(model.base.score(WINDOWS).log_prob, whole, rtol=0, atol=2e-6)
    assert "dequantised to float32" in model.notes[0]
    assert model.dtype == "float32"


def test_what_is_not_the_same_over_an_adapter_is_told_or_refused(folders: Path) -> None:
    model = load_model(str(folders / "llm.int8-adapter"), base=str(folders / "llm.int8"))
    assert model.notes[0].endswith("for the adapter, without rounding what its layers are given")
    with pytest.raises(ModelError, match="rounds what its layers are given to int8"):
        load_model(str(folders / "w8a8-adapter"), base=str(folders / "w8a8"))


def test_plain_layers_take_the_place_of_quantised_ones(folders: Path) -> None:
    model = load_model(str(folders / "nf4"))
    before = model.score(WINDOWS).log_prob
    note = make_mergeable("base", model.module, model.notes[0], "", "float32")
    assert note.startswith("weights are quantised (bitsandbytes, 4 bit, nf4, scales quantised too), and deq")
    assert note.endswith("dequantised to float32 for the adapter")
    assert not list(layers_of(model.module))
    np.testing.assert_allclose(model.score(WINDOWS).log_prob, before, rtol=0, atol=1e-6)
