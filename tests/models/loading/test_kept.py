"""bitsandbytes and compressed-tensors: a folder scores and decodes as `transformers` has it, or is refused by name."""

from __future__ import annotations

import json
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from memaudit.audits.self_tests import check_batches, check_precision
from memaudit.errors import ModelError
from memaudit.models.bfloat import can_look
from memaudit.models.loading.kept import without_kernels
from memaudit.models.loading.load import load_model
from memaudit.models.loading.quantised_layers import layers_of, without_packing
from memaudit.models.transformer import new_gpt
from memaudit.records import Window
from memaudit.text.tokenize import train_tokenizer
from tests.models.zoo import new_module
from tests.quantising import KEPT, WEIGHTS, quiet

for library in ("bitsandbytes", "compressed_tensors", "accelerate"):
    pytest.importorskip(library)

BYTES = train_tokenizer("byte", [])
LOT = np.random.default_rng(0)
WINDOWS = [
    Window(ids[:10].astype(np.int32), ids[10:].astype(np.int32))
    for ids in (LOT.integers(3, BYTES.vocab_size, 20 + i) for i in range(4))
]
ROUNDED = {"llm.int8": "int8", "w8a8": "int8", "float8": "float8"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama, a GPT-2, and copies of the Llama that every library has quantised."""
    root = tmp_path_factory.mktemp("quantised")
    for style in ("llama", "gpt2"):
        new_gpt(BYTES, style=style, width=48, layers=2, heads=2, context_length=64).save(root / style)
    for kind, make in KEPT.items():
        make(root / "llama", root / kind)
    KEPT["nf4"](root / "gpt2", root / "gpt2-nf4")
    KEPT["llm.int8"](root / "gpt2", root / "gpt2-llm.int8")
    return root


def theirs(folder: Path) -> Any:
    """The model as `transformers` loads it, without what bitsandbytes would round on some processors."""
    with quiet():
        module = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        without_packing(module)
        module(input_ids=torch.zeros((1, 1), dtype=torch.long))  # compressed-tensors decompresses now
    return module


@pytest.mark.parametrize("kind", [*KEPT, "gpt2-nf4", "gpt2-llm.int8"])
@torch.no_grad()
def test_a_folder_scores_and_decodes_as_transformers_has_it(folders: Path, kind: str) -> None:
    model, module = load_model(str(folders / kind)), theirs(folders / kind)
    assert model._is_split
    start = [] if model.tokenizer.bos_id is None else [model.tokenizer.bos_id]
    for window, scores in zip(WINDOWS, model.score(WINDOWS), strict=True):
        ids = torch.tensor([[*start, *window.prefix.tolist(), *window.suffix.tolist()]])
        log_probs = module(input_ids=ids).logits[0].double().log_softmax(-1)[-len(window.suffix) - 1 : -1]
        expected = log_probs.gather(1, torch.from_numpy(window.suffix).long()[:, None])[:, 0].numpy()
        np.testing.assert_allclose(scores.log_prob, expected, rtol=0, atol=1e-6)
    for window, written in zip(WINDOWS, model.continuations([w.prefix for w in WINDOWS], 12), strict=True):
        ids = [*start, *window.prefix.tolist()]
        for _ in range(12):
            ids.append(int(module(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        assert written.tolist() == ids[-12:]


@pytest.mark.parametrize("kind", KEPT)
def test_screens_drafts_and_scores_agree(folders: Path, kind: str) -> None:
    model = load_model(str(folders / kind))
    written = model.continuations([window.prefix for window in WINDOWS], 12)
    own = [Window(window.prefix, ids) for window, ids in zip(WINDOWS, written, strict=True)]
    assert model.screen(own).tolist() == [12] * len(own)
    assert not any(scores.rank.any() for scores in model.score(own))
    drafted = model.greedy_continuations(own)
    assert all(map(np.array_equal, drafted, written))
    assert model.screen(WINDOWS).tolist() == [int(np.argmax(scores.rank > 0)) for scores in model.score(WINDOWS)]


@pytest.mark.parametrize("kind", KEPT)
def test_what_is_rounded_is_never_taken_for_float32(folders: Path, kind: str) -> None:
    model = load_model(str(folders / kind))
    [note] = model.notes
    assert note.startswith("weights are quantised (")
    assert "read as they are by " in note
    assert not can_look(model.module)
    assert model.parameters == load_model(str(folders / "llama")).parameters
    assert check_batches(model, WINDOWS)[0].passed
    failed = check_precision(model, WINDOWS)
    if kind in ROUNDED:
        assert model.dtype == f"{ROUNDED[kind]} activations"
        assert failed[0].detail == f"{model.dtype}: 0 of 4 windows get other tokens in another batch"
    else:
        assert model.dtype == "float32"
        assert not failed


@torch.no_grad()
def test_outliers_make_8_bit_windows_depend_on_their_batch_and_the_control_says_so(
    folders: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "outliers"
    shutil.copytree(folders / "gpt2-llm.int8", folder)
    tensors = load_file(folder / WEIGHTS)
    for layer in range(2):
        tensors[f"transformer.h.{layer}.ln_1.weight"][:6] = 3.0
        tensors[f"transformer.h.{layer}.ln_2.weight"][:6] = 3.0
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    model = load_model(str(folder))
    together, alone = model.score(WINDOWS), [model.score([window]) for window in WINDOWS]
    assert any(not np.array_equal(a.log_prob, b.log_prob) for a, b in zip(alone, together, strict=True))
    [control] = check_precision(model, WINDOWS)
    assert not control.passed


def test_weights_of_4_bits_compute_as_the_weights_that_they_stand_for(folders: Path) -> None:
    """Whatever the processor, in float32: not with scales in bfloat16, as bitsandbytes would where AVX-512 has it."""
    from bitsandbytes import functional

    module = load_model(str(folders / "nf4")).module
    _, layer = next(layers_of(module))
    rows = torch.randn(5, layer.in_features, generator=torch.Generator().manual_seed(0))
    weight = functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    assert torch.allclose(layer(rows), rows @ weight.t(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["nf4", "llm.int8", "int4"])
def test_all_is_computed_in_the_type_that_is_asked_for(folders: Path, tmp_path: Path, kind: str) -> None:
    """Of a folder whose unquantised tensors are of another type, too."""
    shutil.copytree(folders / kind, tmp_path / "half")
    tensors = load_file(tmp_path / "half" / WEIGHTS)
    plain = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}
    half = {name: tensor.bfloat16() if name in plain else tensor for name, tensor in tensors.items()}
    save_file(half, tmp_path / "half" / WEIGHTS, {"format": "pt"})
    for dtype in ("float32", "bfloat16"):
        module = load_model(str(tmp_path / "half"), dtype=dtype).module
        assert module.get_input_embeddings().weight.dtype == module.model.norm.weight.dtype == getattr(torch, dtype)
        assert module.dtype == getattr(torch, dtype)
    if kind == "nf4":
        assert load_model(str(tmp_path / "half"), dtype="bfloat16").dtype == "bfloat16"
        with pytest.raises(ModelError, match="does not compute in float64"):
            load_model(str(tmp_path / "half"), dtype="float64")


def test_no_compiled_code_is_asked_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bitsandbytes asks for a kernel as soon as it is imported, where the package for that is installed."""
    there = types.ModuleType("kernels")
    monkeypatch.setitem(sys.modules, "kernels", there)
    with without_kernels(), pytest.raises(ImportError):
        import kernels  # noqa: F401
    assert sys.modules["kernels"] is there
    monkeypatch.delitem(sys.modules, "kernels")
    with without_kernels():
        assert sys.modules["kernels"] is None
    assert "kernels" not in sys.modules


@pytest.mark.parametrize(("family", "kind"), [("gemma3", "nf4"), ("gemma3", "w8a8"), ("mixtral", "llm.int8")])
@torch.no_grad()
def test_tensors_that_a_family_renames_or_merges_are_found(family: str, kind: str, tmp_path: Path) -> None:
    """The text model of what sees beside reading; experts, which no library here quantises."""
    with quiet():
        new_module(family).save_pretrained(tmp_path / "plain")
    BYTES.save(tmp_path / "plain")
    KEPT[kind](tmp_path / "plain", tmp_path / kind)
    model, module = load_model(str(tmp_path / kind)), theirs(tmp_path / kind)
    start = [] if model.tokenizer.bos_id is None else [model.tokenizer.bos_id]
    window = WINDOWS[0]
    ids = torch.tensor([[*start, *window.prefix.tolist(), *window.suffix.tolist()]])
    log_probs = module(input_ids=ids).logits[0, -len(window.suffix) - 1 : -1].double().log_softmax(-1)
    expected = log_probs.gather(1, torch.from_numpy(window.suffix).long()[:, None])[:, 0].numpy()
    np.testing.assert_allclose(model.score([window]).log_prob, expected, rtol=0, atol=2e-6)


def changed(folders: Path, where: Path, kind: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> str:
    shutil.copytree(folders / kind, where)
    tensors = load_file(where / WEIGHTS)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, where / WEIGHTS, {"format": "pt"})
    with pytest.raises(ModelError) as caught:
        load_model(str(where))
    assert "\n" not in str(caught.value)
    return str(caught.value)


LAYER = "model.layers.0.mlp.up_proj"
STATE = f"{LAYER}.weight.quant_state.bitsandbytes__nf4"


def state(**changes: Any) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        told = json.loads(bytes(tensors[STATE].tolist())) | changes
        tensors[STATE] = torch.tensor(list(json.dumps(told).encode()), dtype=torch.uint8)

    return change


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("nf4", state(shape=[2**40, 2**40]), "does not describe"),
        ("nf4", state(shape=[48, 128]), "is of another shape"),
        ("nf4", state(blocksize=2**62), "does not describe"),
        ("nf4", state(dtype="load"), "does not describe"),
        ("nf4", state(nested_offset=None), "does not describe"),
        ("nf4", state(more=1), "does not describe"),
        ("nf4", lambda t: t.update({STATE: torch.full((2000,), 91, dtype=torch.uint8)}), "does not describe"),
        ("nf4", lambda t: t.update({STATE: torch.zeros(10**6, dtype=torch.uint8)}), "does not describe"),
        ("nf4", lambda t: t[f"{LAYER}.weight.nested_absmax"].fill_(float("nan")), "non-finite"),
        ("nf4", lambda t: t[f"{LAYER}.weight.quant_map"].mul_(2), "values for its codes"),
        ("nf4", lambda t: t.pop(f"{LAYER}.weight.absmax"), "does not describe"),
        ("nf4", lambda t: t.pop(STATE), "unexpected|up_proj"),
        ("fp4", lambda t: t[f"{LAYER}.weight.absmax"].zero_(), "zeros only"),
        ("llm.int8", lambda t: t[f"{LAYER}.SCB"].fill_(float("inf")), "non-finite"),
        ("llm.int8", lambda t: t[f"{LAYER}.SCB"].zero_(), "zeros only"),
        ("llm.int8", lambda t: t.pop(f"{LAYER}.SCB"), "up_proj"),
        ("llm.int8", lambda t: t.update({f"{LAYER}.weight_format": torch.tensor(2, dtype=torch.uint8)}), "for a GPU"),
        ("int4", lambda t: t[f"{LAYER}.weight_shape"].fill_(2**40), "is not the shape"),
        ("int4", lambda t: t.pop(f"{LAYER}.weight_packed"), "without a weight"),
        ("int4", lambda t: t[f"{LAYER}.weight_scale"].fill_(float("nan")), "non-finite"),
        ("float8", lambda t: t[f"{LAYER}.weight"].view(torch.uint8).fill_(0x7F), "non-finite"),
        ("w8a8", lambda t: t.update({f"{LAYER}.weight": torch.zeros(4, 4, dtype=torch.int8)}), "another shape"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(
    folders: Path, tmp_path: Path, kind: str, change: Callable[[dict[str, torch.Tensor]], Any], says: str
) -> None:
    message = changed(folders, tmp_path / "copy", kind, change)
    assert any(one in message for one in says.split("|")), message


def test_a_plain_model_that_claims_to_be_quantised_is_refused(folders: Path, tmp_path: Path) -> None:
    for kind in ("nf4", "llm.int8", "int4"):
        shutil.copytree(folders / "llama", tmp_path / kind)
        for name in ("config.json",):
            shutil.copy(folders / kind / name, tmp_path / kind / name)
        with pytest.raises(ModelError, match="and no tensor is"):
            load_model(str(tmp_path / kind))


def test_a_quantised_model_that_claims_to_be_plain_is_refused(folders: Path, tmp_path: Path) -> None:
    for kind in KEPT:
        shutil.copytree(folders / kind, tmp_path / kind)
        shutil.copy(folders / "llama" / "config.json", tmp_path / kind / "config.json")
        with pytest.raises(ModelError, match=r"holds|missing|unexpected|another shape"):
            load_model(str(tmp_path / kind))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_there_is_named(folders: Path) -> None:
    with pytest.raises(ModelError, match="--device cuda"):
        load_model(str(folders / "nf4"), device="cuda")


def test_what_reads_it_is_named_where_it_is_missing(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match=r"needs bitsandbytes \(pip install 'memaudit\[quantised\]'\)"):
        load_model(str(folders / "nf4"))
    monkeypatch.setitem(sys.modules, "compressed_tensors", None)
    with pytest.raises(ModelError, match="needs compressed-tensors"):
        load_model(str(folders / "int4"))
