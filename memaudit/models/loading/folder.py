"""Hugging Face folders and ids, trusted in nothing: what is read is checked, what is not followed is listed.

The folder is opened by us: its configuration is filtered before a module is built from it, its weights are
read as safetensors and handed over as tensors, and no generation setting, code or adapter in it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from memaudit.errors import MemauditError, ModelError, one_line
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.build import DTYPES, build_module, known_dtype, moved
from memaudit.models.loading.classes import module_class_of
from memaudit.models.loading.description import check_depth, check_sizes, check_tensors, described
from memaudit.models.loading.reasons import check_is_model
from memaudit.models.loading.settings import (
    configuration,
    decoding_settings,
    generation_of,
    named_ends,
    read_settings,
    refuse_code,
)
from memaudit.models.loading.tokenizer import check_fit, load_tokenizer
from memaudit.models.loading.weights import check_values, read_headers, read_weights
from memaudit.models.loading.wrappers import speaking, text_part, thinker_of, with_text_settings
from memaudit.models.product_choice import choose_products
from memaudit.models.torch_scores import check_finite
from memaudit.models.transformer import CausalTransformer, MaskedTransformer
from memaudit.records import Objective
from memaudit.text.tokenize import Tokenizer


def load_pretrained(
    folder: Path, *, device: str = "cpu", dtype: str = "float32", family: str = ""
) -> CausalTransformer | MaskedTransformer:
    """Load a causal or masked language model from a ``save_pretrained`` folder.

    Args:
        folder: Holds ``config.json``, safetensors weights and a tokenizer.
        device: Where the model computes.
        dtype: Type of the weights in memory: float32, float64, bfloat16 or float16.
        family: ``gpt`` or ``bert`` for models trained here; by default the architecture's name.

    Raises:
        ModelError: Weights are missing, left over, of another shape, not finite or not safetensors; the
            folder needs code, an adapter or quantised kernels; or tokenizer and model do not fit.
    """
    module, about = read_module(folder, device=device, dtype=dtype, family=family)
    model = assembled(about, module, *load_tokenizer(folder, module.config))
    model.device, model.dtype = device, dtype
    return model


def read_module(folder: Path, *, device: str, dtype: str, family: str = "") -> tuple[Any, About]:
    """Return the module of a folder, each of its weights checked, and what else is known of it; errors as above."""
    for file in sorted(folder.glob("adapter_*")):
        raise ModelError(
            f"{file}: part of an adapter, without it the base model would be audited",
            "name a folder with adapter_config.json, or merge the adapter into the model and save that",
        )
    check_is_model(folder)
    raw = read_settings(folder / "config.json")
    ignored: list[str] = []
    refuse_code(folder / "config.json", raw)
    declared = read_headers(folder)
    check_depth(folder / "config.json", raw, declared)
    config = thinker_of(configuration(folder / "config.json", raw, ignored))
    raw = with_text_settings(raw)
    generation = generation_of(folder)
    ignored += decoding_settings(raw, generation)
    objective, module_class = module_class_of(folder, config, raw)
    check_sizes(folder / "config.json", config, declared)
    plan = described(folder, module_class, config, declared)
    module_class, names = text_part(module_class, plan, declared, ignored)
    check_tensors(folder, plan, declared, names)
    weights = read_weights(folder, names=names)
    check_values(weights)
    module = build_module(folder, module_class, config, weights, DTYPES[known_dtype(dtype)], ignored)
    module = speaking(moved(module, device))
    choose_products(module)
    return module, About(str(folder), objective, family or str(config.model_type), (raw, generation), tuple(ignored))


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a module beside its weights."""

    name: str
    """For messages."""
    objective: Objective
    family: str
    settings: tuple[Mapping[str, Any], Mapping[str, Any]]
    """Its configuration, and that of ``generate``."""
    ignored: tuple[str, ...]
    """Settings that are not followed."""


def assembled(
    about: About, module: Any, tokenizer: Tokenizer, closing_id: int | None
) -> CausalTransformer | MaskedTransformer:
    """Return a module and its tokenizer as a model, once they are seen to belong together.

    Raises:
        ModelError: The tokenizer has more tokens than the embedding, or the model reads what it is to predict.
    """
    check_fit(about.name, module, tokenizer)
    with _reading_text(about.name, module):
        return _assembled(about, module, tokenizer, closing_id)


@contextmanager
def _reading_text(name: str, module: Any) -> Iterator[None]:
    """Turn whatever a family raises at text that comes without images or sound into a refusal."""
    try:
        yield
    except (MemauditError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # some four hundred families check their input in as many ways
        reason = one_line(" ".join(str(error).split()), 120)
        raise ModelError(f"{name}: {type(module).__name__} does not read text alone: {reason}") from None


def _assembled(
    about: About, module: Any, tokenizer: Tokenizer, closing_id: int | None
) -> CausalTransformer | MaskedTransformer:
    dropout = getattr(tokenizer, "dropout", None)
    ignored = (*about.ignored, f"tokenizer.json: dropout={dropout}") if dropout else about.ignored
    model: CausalTransformer | MaskedTransformer
    if about.objective == "next-token":
        model = CausalTransformer(module, tokenizer, family=about.family, ignored=ignored)
        _check_causal(about.name, module)
    else:
        model = MaskedTransformer(module, tokenizer, family=about.family, ignored=ignored, closing_id=closing_id)
        _check_reads(module)
    model.named_ends = named_ends(about.settings, tokenizer)
    start = about.settings[0].get("bos_token_id")
    if tokenizer.bos_id is None and type(start) is int:
        model.missing_start = start
    return model


def load_trained(
    folder: Path, about: Mapping[str, Any], device: str, dtype: str
) -> CausalTransformer | MaskedTransformer:
    """Load a folder as `load_pretrained` does, with what its ``memaudit.json`` says of family and training."""
    model = load_pretrained(folder, device=device, dtype=dtype, family=about.get("family", ""))
    model.training = about.get("training", {})
    return model


@torch.no_grad()
def _check_reads(module: Any) -> None:
    """Ask for one prediction, which a family may refuse."""
    with quiet_transformers():
        check_finite(module(input_ids=torch.zeros((1, 2), dtype=torch.long, device=module.device)).logits)


@torch.no_grad()
def _check_causal(name: str, module: Any) -> None:
    """Refuse a model whose prediction reads the tokens that it is to predict."""
    device = module.get_input_embeddings().weight.device
    ids = torch.tensor([[0, 1, 0, 1], [0, 1, 0, 0]], device=device)
    with quiet_transformers():  # one of these ids may be that of padding, which it would remark upon
        logits = module(input_ids=ids).logits
    check_finite(logits)
    first, second = logits[:, :3].float()
    tolerance = 1e-5 if module.dtype in (torch.float32, torch.float64) else 1e-2
    if not torch.allclose(first, second, rtol=0, atol=tolerance * max(1.0, float(first.abs().max()))):
        raise ModelError(f"{name}: predicts a token from the tokens after it", "is it a masked model?")
