"""Hugging Face folders and ids, trusted in nothing: what is read is checked, what is not followed is listed.

The folder is opened by us: its configuration is filtered before a module is built from it, its weights are read from
their places in the files and handed over as tensors, and no generation setting, code or adapter in it is used.
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
from memaudit.models.loading.build import Blank, build_module
from memaudit.models.loading.checkpoints import tokenizer_folder
from memaudit.models.loading.classes import module_class_of
from memaudit.models.loading.description import check_depth, check_sizes, check_tensors, described
from memaudit.models.loading.kept import build_kept, kept_shapes, needed
from memaudit.models.loading.packed import dequantised, plain_shapes, without_empty_biases
from memaudit.models.loading.placement import place, placed
from memaudit.models.loading.precision import DTYPES, stored_dtype, wanted_dtype
from memaudit.models.loading.quantised import KEY, Quantisation, quantisation_of
from memaudit.models.loading.quantised_layers import parameters_of
from memaudit.models.loading.reasons import check_is_model
from memaudit.models.loading.settings import (
    configuration,
    decoding_settings,
    generation_of,
    named_ends,
    read_settings,
    refuse_code,
)
from memaudit.models.loading.stored import stored_tensors
from memaudit.models.loading.tokenizer import check_fit, load_tokenizer
from memaudit.models.loading.weights import Declared, read_headers
from memaudit.models.loading.wrappers import WHOLE, Within, text_part, thinker_of, with_text_settings, within
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
    unread = _unread(folder, dtype)
    dtypes = unread.dtype, unread.stored
    where = place(folder, unread.unfilled, unread.declared, dtypes, device, whole=whole or unread.kept)
    module = placed(folder, where, lambda places: unread.build(places, where.device))
    choose_products(module)
    quantisation, ignored = unread.quantisation, tuple(unread.ignored)
    notes, activations = (
        ((), "") if quantisation is None else ((quantisation.note(dtypes[0]),), quantisation.activations)
    )
    return module, About(
        str(folder), unread.objective, family or str(unread.blank.config.model_type), unread.settings, ignored,
        dtypes[0], where.device, where.told, notes, activations, within(unread.unfilled),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Unread:
    """A folder of which all was read and checked but the weights."""

    blank: Blank
    objective: Objective
    settings: tuple[Mapping[str, Any], Mapping[str, Any]]
    """Its configuration, and that of ``generate``."""
    quantisation: Quantisation | None
    held: Mapping[str, Declared]
    """All tensors of its files."""
    declared: Mapping[str, Declared]
    """Those that are read, as they will be: dequantised, unless a library keeps them as they are."""
    unfilled: Any
    """The module without memory."""
    dtype: str
    stored: str
    """Type that the files have."""
    ignored: list[str]

    @property
    def kept(self) -> bool:
        """Whether a library keeps the weights as they lie in the files."""
        return self.quantisation is not None and bool(self.quantisation.library)

    def build(self, places: Mapping[str, Any], device: str) -> Any:
        """Return the module with its weights; errors as those of `load_pretrained`."""
        kind = DTYPES[self.dtype]
        if self.quantisation is None:
            return build_module(self.blank, stored_tensors(self.declared, kind), kind, self.ignored, places)
        if self.kept:
            return build_kept(self.blank, self.quantisation, self.declared, kind, device)
        weights = dequantised(self.blank.folder, self.quantisation, self.held, kind)
        read = without_empty_biases({name: weights[name] for name in self.declared}, self.unfilled)
        return build_module(self.blank, read, kind, self.ignored, places)


def _unread(folder: Path, dtype: str) -> _Unread:
    """Read the settings of a folder and the headers of its weights, and compare them."""
    for part in sorted(folder.glob("adapter_*")):
        raise ModelError(
            f"{part}: part of an adapter, without it the base model would be audited",
            "name a folder with adapter_config.json, or merge the adapter into the model and save that",
        )
    check_is_model(folder)
    file, ignored = folder / "config.json", list[str]()
    raw = read_settings(file)
    refuse_code(file, raw)
    quantisation, held = quantisation_of(file, raw), read_headers(folder)
    dtype, stored = wanted_dtype(dtype, raw, held), stored_dtype(raw, held)
    check_depth(file, raw, held)
    plain = {key: value for key, value in raw.items() if key != KEY}
    config = thinker_of(configuration(file, plain, ignored))
    raw, generation = with_text_settings(raw), generation_of(folder)
    ignored += decoding_settings(raw, generation)
    objective, module_class = module_class_of(folder, config, raw)
    shapes = _shapes(folder, quantisation, held)
    check_sizes(file, config, shapes)
    whole = described(folder, module_class, config, shapes)
    tensors = held if quantisation is not None and quantisation.library else shapes
    text_class, names = text_part(module_class, whole, tensors, ignored)
    check_tensors(folder, whole, shapes, shapes.keys() & set(names))
    unfilled = whole if text_class is module_class else described(folder, text_class, config, shapes)
    return _Unread(
        Blank(folder, text_class, config), objective, (raw, generation), quantisation, held,
        {name: tensors[name] for name in names}, unfilled, dtype, stored, ignored,
    )  # fmt: skip


def _shapes(folder: Path, quantisation: Quantisation | None, held: Mapping[str, Declared]) -> Mapping[str, Declared]:
    """Return the tensors that a configuration should describe, from those that a folder holds."""
    if quantisation is None:
        return held
    if not quantisation.library:
        return plain_shapes(folder, quantisation, held)
    needed(folder, quantisation)
    return kept_shapes(folder, quantisation, held)


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
    within: Within = WHOLE
    """What it is of the model that the folder holds."""

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
    with reading_text(about.name, module):
        return _assembled(about, module, tokenizer, closing_id)


@contextmanager
def reading_text(name: str, module: Any) -> Iterator[None]:
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
def _check_reads(module: Any) -> None:
    """Ask for one prediction, which a family may refuse."""
    with quiet_transformers():
        check_finite(module(input_ids=torch.zeros((1, 2), dtype=torch.long, device=module.device)).logits)


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
