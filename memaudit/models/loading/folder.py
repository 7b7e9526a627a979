"""Hugging Face folders and ids, trusted in nothing: what is read is checked, what is not followed is listed.

The folder is opened by us: its configuration is filtered before a module is built from it, its weights are
read as safetensors and handed over as tensors, and no generation setting, code or adapter in it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from memaudit.errors import ModelError
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.build import Blank, build_module
from memaudit.models.loading.checkpoints import tokenizer_folder
from memaudit.models.loading.classes import module_class_of
from memaudit.models.loading.description import check_depth, check_sizes, check_tensors
from memaudit.models.loading.kept import build_kept
from memaudit.models.loading.packed import dequantised, without_empty_biases
from memaudit.models.loading.placement import place, placed
from memaudit.models.loading.precision import DTYPES, stored_dtype, wanted_dtype
from memaudit.models.loading.quantised import KEY, quantisation_of
from memaudit.models.loading.quantised_build import described
from memaudit.models.loading.quantised_layers import parameters_of
from memaudit.models.loading.settings import configuration, decoding_settings, generation_of, named_ends, refuse_code
from memaudit.models.loading.stored import stored_tensors
from memaudit.models.loading.tokenizer import check_fit, load_tokenizer
from memaudit.models.loading.weights import read_headers, read_json
from memaudit.models.parts import device_of
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
        device: Where the model computes; auto for what devices there are, and the disk where memory lacks.
        dtype: Type of the weights in memory: float32, float64, bfloat16, float16, or auto for that of the files.
        family: ``gpt`` or ``bert`` for models trained here; by default the architecture's name.

    Raises:
        ModelError: There is no memory for it; weights are missing, left over, of another shape, not finite or not
            safetensors; the folder needs code or an adapter, or is quantised by a method that is not known; or
            tokenizer and model do not fit.
    """
    module, about = read_module(folder, device=device, dtype=dtype, family=family)
    model = assembled(about, module, *load_tokenizer(tokenizer_folder(folder), module.config))
    model.device, model.dtype, model.placement = about.device, about.computes_in, about.placement
    return model


def read_module(folder: Path, *, device: str, dtype: str, family: str = "", whole: bool = False) -> tuple[Any, About]:
    """Return the module of a folder, each of its weights checked, and what else is known of it; errors as above.

    ``whole`` says that it must lie on one device, whatever ``device`` is.
    """
    for file in sorted(folder.glob("adapter_*")):
        raise ModelError(
            f"{file}: part of an adapter, without it the base model would be audited",
            "name a folder with adapter_config.json, or merge the adapter into the model and save that",
        )
    raw = read_json(folder / "config.json")
    ignored: list[str] = []
    refuse_code(folder / "config.json", raw)
    quantisation = quantisation_of(folder / "config.json", raw)
    held = read_headers(folder)
    dtype = wanted_dtype(dtype, raw, held)
    check_depth(folder / "config.json", raw, held)
    config = configuration(folder / "config.json", {key: raw[key] for key in raw if key != KEY}, ignored)
    generation = generation_of(folder)
    ignored += decoding_settings(raw, generation)
    objective, module_class = module_class_of(folder, config, raw)
    declared = held if quantisation is None else described(folder, quantisation, held)
    check_sizes(folder / "config.json", config, declared)
    unfilled = check_tensors(folder, module_class, config, declared)
    kept = quantisation is not None and bool(quantisation.library)
    dtypes = dtype, stored_dtype(raw, held)
    where = place(folder, unfilled, held if kept else declared, dtypes, device, whole=whole or kept)
    blank, kind = Blank(folder, module_class, config), DTYPES[dtype]

    def build(places: Mapping[str, Any]) -> Any:
        if quantisation is None:
            return build_module(blank, stored_tensors(held, kind), kind, ignored, places)
        if kept:
            return build_kept(blank, quantisation, held, kind, where.device)
        weights = dequantised(folder, quantisation, held, kind)
        return build_module(blank, without_empty_biases(weights, unfilled), kind, ignored, places)

    module = placed(folder, where, build)
    choose_products(module)
    notes, activations = ((), "") if quantisation is None else ((quantisation.note(dtype),), quantisation.activations)
    return module, About(
        str(folder), objective, family or str(config.model_type), (raw, generation), tuple(ignored), dtype,
        where.device, where.told, notes, activations,
    )  # fmt: skip


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
    dtype: str = ""
    """Type of its weights in memory."""
    device: str = "cpu"
    placement: str = ""
    """Where its parts lie, where they lie in several places."""
    notes: tuple[str, ...] = ()
    """What a reader of a report should know of its weights."""
    activations: str = ""
    """Type to which what its layers are given is rounded; empty where it is not."""

    @property
    def computes_in(self) -> str:
        """What a report says of the type that is computed in."""
        return f"{self.activations} activations" if self.activations else self.dtype


def assembled(
    about: About, module: Any, tokenizer: Tokenizer, closing_id: int | None
) -> CausalTransformer | MaskedTransformer:
    """Return a module and its tokenizer as a model, once they are seen to belong together.

    Raises:
        ModelError: The tokenizer has more tokens than the embedding, or the model reads what it is to predict.
    """
    check_fit(about.name, module, tokenizer)
    dropout = getattr(tokenizer, "dropout", None)
    ignored = (*about.ignored, f"tokenizer.json: dropout={dropout}") if dropout else about.ignored
    model: CausalTransformer | MaskedTransformer
    if about.objective == "next-token":
        model = CausalTransformer(module, tokenizer, family=about.family, ignored=ignored)
        _check_causal(about.name, module)
    else:
        model = MaskedTransformer(module, tokenizer, family=about.family, ignored=ignored, closing_id=closing_id)
    model.named_ends = named_ends(about.settings, tokenizer)
    model.notes, model.parameters = about.notes, parameters_of(module)
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
def _check_causal(name: str, module: Any) -> None:
    """Refuse a model whose prediction reads the tokens that it is to predict."""
    ids = torch.tensor([[0, 1, 0, 1], [0, 1, 0, 0]], device=device_of(module))
    with quiet_transformers():  # one of these ids may be that of padding, which it would remark upon
        logits = module(input_ids=ids).logits
    check_finite(logits)
    first, second = logits[:, :3].float()
    tolerance = 1e-5 if module.dtype in (torch.float32, torch.float64) else 1e-2
    if not torch.allclose(first, second, rtol=0, atol=tolerance * max(1.0, float(first.abs().max()))):
        raise ModelError(f"{name}: predicts a token from the tokens after it", "is it a masked model?")
