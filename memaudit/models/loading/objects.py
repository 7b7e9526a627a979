"""Models that are in memory already: a `transformers` module with its tokenizer, or one with adapters of `peft`.

What a folder is checked for is checked of the object too, as far as it can be. The object itself is only read: see
`memaudit.models.loading.twin`.
"""

from __future__ import annotations

import copy
import hashlib
import re
import secrets
import sys
from typing import Any

import orjson
import torch
from torch import Tensor

from memaudit.errors import ModelError, one_line
from memaudit.models.base import LanguageModel
from memaudit.models.loading.adapter_layers import adapter_note, adapter_state, switch_off, why_no_base
from memaudit.models.loading.classes import wrappers
from memaudit.models.loading.folder import About, assembled, reading_text
from memaudit.models.loading.quantised_layers import describe, without_packing
from memaudit.models.loading.settings import decoding_settings
from memaudit.models.loading.stored import check_values
from memaudit.models.loading.tokenizer import closing_id
from memaudit.models.loading.twin import runs_original, strange_hooks, twin_of
from memaudit.models.loading.wrappers import speaking
from memaudit.models.transformer import CausalTransformer, MaskedTransformer
from memaudit.records import Objective
from memaudit.text.tokenize import HuggingFaceTokenizer, Tokenizer, TrainedTokenizer

TAKEN = "a model folder, a Hugging Face id, python:module:factory, a transformers or peft model with tokenizer=, or a"
TAKEN += " memaudit model"
NOT_IDENTITY = {"transformers_version", "use_cache", "architectures"}
"""Keys of a configuration that may differ where the model is the same; those that begin with ``_`` too."""
NEED_MORE = {"XLORA", "POLY"}
"""Adapters that choose by the text, outside of the module."""


def from_transformers(
    model: Any, tokenizer: Any, *, base_control: bool = True
) -> CausalTransformer | MaskedTransformer:
    """Return a `transformers` model in memory as a model that can be audited.

    It shares the weights of ``model``, which is left as it is: mode, device, type, hooks and gradients. Its identity is
    that of the weights now; after a step of training, ask again.

    Args:
        model: A causal or masked language model, one that reads images or sound beside text, a ``PeftModel``, or one
            that ``torch.compile``, ``DataParallel`` or ``DistributedDataParallel`` wraps; in any mode, on any device.
        tokenizer: A tokenizer of ``transformers``.
        base_control: Whether a ``PeftModel`` brings its base model as a control.

    Raises:
        ModelError: No such model or tokenizer, weights that are not finite or not in memory whole, a tokenizer with
            more tokens than the embedding, or a family that predicts no text.
    """
    found = _unwrapped(model)
    adapted = is_peft(found)
    if adapted:
        _check_adapter(found)
    inner = _inner(found)
    objective = _objective(inner)
    _check_memory(inner)
    ours, closing = _tokenizer(tokenizer)
    twin = _twin(found)
    about = _about(inner, objective)
    read = _read(_inner(twin), about, ours, closing)
    note, computed = describe(inner)
    read.notes = (note,) if note else ()
    read.dtype = computed or read.dtype
    if adapted:
        _check_whole(twin)
    if hooks := strange_hooks(inner):
        read.notes += (f"hooks in the model in memory are part of it: {one_line(', '.join(hooks), 100)}",)
    if note := adapter_note(inner):
        read.notes += (note,)
        if base_control:
            _with_base(read, inner, about, closing)
    return read


def as_model(model: object, tokenizer: Any = None, *, base_control: bool = True) -> LanguageModel:
    """Return an object that somebody wants audited as a model of ours.

    Raises:
        ModelError: It is none; one line names what is taken.
    """
    if isinstance(model, LanguageModel):
        if tokenizer is not None:
            raise ModelError("a memaudit model has its tokenizer", "leave out tokenizer=")
        return model
    if isinstance(model, torch.nn.Module):
        return from_transformers(model, tokenizer, base_control=base_control)
    raise ModelError(f"{_kind(model)} is no model", f"taken are {TAKEN}")


def is_peft(model: object) -> bool:
    """Return whether a model is one of `peft`, which is not imported for it."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(model, peft.PeftModel)


def tensors_sha256(module: Any) -> str:
    """Return the identity of a module: names, types, shapes and bytes of its tensors, and its configuration.

    Of adapters in it, also which of them act and how strongly: their tensors do not tell. What hooks of somebody's own
    compute nothing tells: a model with these is like no other.
    """
    digest = hashlib.sha256()
    seen: dict[tuple[Any, ...], str] = {}
    for name, tensor in sorted(module.state_dict().items()):
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.device)
        first = seen.setdefault(place, name) if tensor.numel() else name
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0{first}\n".encode("utf-8", "surrogatepass"))
        if first == name:
            digest.update(_bytes(tensor))
    config = {key: value for key, value in module.config.to_dict().items() if _tells(key)}
    if state := adapter_state(module):
        digest.update(orjson.dumps(state, option=orjson.OPT_SORT_KEYS))
    if strange_hooks(module):
        digest.update(secrets.token_bytes(32))
    digest.update(orjson.dumps(config, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS))
    return digest.hexdigest()


def _tells(key: str) -> bool:
    return not (key.startswith("_") or key in NOT_IDENTITY)


def _bytes(tensor: Tensor) -> Any:
    flat = tensor.detach().contiguous().cpu().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def _unwrapped(model: Any) -> Any:
    """Return what wrappers for speed or for several devices hold, and of a model that speaks the part that writes."""
    from torch.nn.parallel import DataParallel, DistributedDataParallel

    while True:
        if isinstance(model, DataParallel | DistributedDataParallel):
            model = model.module
        elif "_orig_mod" in getattr(model, "_modules", {}):  # torch.compile
            model = model._orig_mod
        elif "thinker" in getattr(model, "_modules", {}):
            model = model.thinker
        else:
            return model


def _inner(model: Any) -> Any:
    """Return the `transformers` module, in which adapters may have replaced layers.

    Raises:
        ModelError: It is of another library.
    """
    from transformers import PreTrainedModel

    inner = model.get_base_model() if is_peft(model) else model
    if not isinstance(inner, PreTrainedModel):
        kind = _kind(inner)
        sharded = "FullyShardedDataParallel" in kind or "DeepSpeed" in kind
        hint = "gather its weights first" if sharded else f"taken are {TAKEN}"
        raise ModelError(f"{kind} {'holds parts of a model' if sharded else 'is no model of transformers'}", hint)
    return inner


def _twin(model: Any) -> Any:
    """Return the twin of a model, or of the language model in it, once it is seen to run by itself."""
    twin = twin_of(model)
    without_packing(twin)
    twin = twin if is_peft(twin) else speaking(twin)
    ids = torch.tensor([[0, 1, 0, 1]], device=next(model.parameters()).device)
    with reading_text(type(model).__name__, twin):
        name = runs_original(model, twin, ids)
    if name:
        raise ModelError(f"a hook in {_kind(model)} runs a {name} that it holds on to", "remove the hook")
    return twin


def _objective(module: Any) -> Objective:
    """Decide by the class: what it is in the mappings of `transformers`, masked first, as for a folder."""
    from transformers.models.auto import modeling_auto as auto

    kinds = set(type(module).__mro__)
    names = {kind.__name__ for kind in kinds}
    if getattr(module.config, "is_encoder_decoder", False):
        raise ModelError(f"{_kind(module)} has an encoder and a decoder", "causal and masked models can be audited")
    says_causal = re.search(r"ForCausalLM|LMHeadModel", type(module).__name__) is not None
    if not says_causal and names & set(auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values()):
        return "masked"
    if names & set(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()):
        return "next-token"
    kind = type(module.config)
    if any(kind in mapping and isinstance(module, mapping[kind]) for mapping in wrappers()):
        return "next-token"
    raise ModelError(f"{_kind(module)} is no language model for text", "causal and masked models can be audited")


def _check_memory(module: Any) -> None:
    """Refuse weights that are elsewhere, on several devices, or not finite."""
    tensors = module.state_dict()
    for name, tensor in tensors.items():
        if tensor.device.type == "meta":
            raise ModelError(f"tensor {name} is not in memory (device meta)", "load the model without offloading")
        if type(tensor).__name__ == "DTensor" or hasattr(tensor, "ds_id"):
            raise ModelError(f"tensor {name} is a shard", "gather the model's weights first")
    devices = sorted({str(parameter.device) for parameter in module.parameters()})
    if len(devices) > 1:
        raise ModelError(f"the model lies on {', '.join(devices)}", "move it to one device")
    check_values(tensors)
    if not bool(module.get_input_embeddings().weight.any()):
        raise ModelError("the token embedding holds zeros only", "the weights are damaged")


def _tokenizer(tokenizer: Any) -> tuple[Tokenizer, int | None]:
    """Return a tokenizer of our own: calls change the state of one of `transformers`, which is the caller's."""
    from transformers import PreTrainedTokenizerBase

    if isinstance(tokenizer, TrainedTokenizer | HuggingFaceTokenizer):
        return tokenizer, None
    if tokenizer is None:
        raise ModelError("a model in memory comes without its tokenizer", "give tokenizer=")
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        inner = " (give its .tokenizer)" if hasattr(tokenizer, "tokenizer") else ""
        raise ModelError(
            f"{_kind(tokenizer)} is no tokenizer of transformers{inner}", "give tokenizer=AutoTokenizer..."
        )
    ours = copy.deepcopy(tokenizer)
    return HuggingFaceTokenizer(ours), closing_id(ours)


def _about(module: Any, objective: Objective) -> About:
    config = {**module.config.to_dict(), **module.config.get_text_config().to_dict()}
    generation = getattr(module, "generation_config", None)
    settings = {} if generation is None else generation.to_diff_dict()
    return About(
        type(module).__name__, objective, str(module.config.model_type), (config, settings),
        tuple(decoding_settings(config, settings)),
    )  # fmt: skip


def _read(
    module: Any, about: About, tokenizer: Tokenizer, closing: int | None
) -> CausalTransformer | MaskedTransformer:
    model = assembled(about, module, tokenizer, closing)
    model.device = str(next(module.parameters()).device)
    model.dtype = str(module.dtype).removeprefix("torch.")
    model.sha256 = tensors_sha256(module)
    return model


def _check_adapter(model: Any) -> None:
    for config in (model.peft_config[name] for name in model.active_adapters):
        kind = str(getattr(config.peft_type, "value", config.peft_type))
        more = kind in NEED_MORE or getattr(config, "alora_invocation_tokens", None) is not None
        if config.is_prompt_learning or more:
            raise ModelError(f"an adapter of type {kind} is no change of weights", "LoRA and its kin can be audited")


@torch.no_grad()
def _check_whole(model: Any) -> None:
    """Refuse an adapter that does more than the module within it does."""
    ids = torch.tensor([[0, 1, 0, 1]], device=next(model.parameters()).device)
    whole, inner = (one(input_ids=ids).logits.float() for one in (model, model.get_base_model()))
    if not torch.allclose(whole, inner, rtol=0, atol=1e-3 * max(1.0, float(whole.abs().max()))):
        raise ModelError(f"{_kind(model)} computes more than its module", "merge the adapter: model.merge_and_unload()")


def _with_base(read: LanguageModel, inner: Any, about: About, closing: int | None) -> None:
    """Give a model its base model, which is the same weights with the adapters switched off, as a control."""
    if reason := why_no_base(inner):
        read.notes += (f"no control by the base model: {reason}",)
        return
    base = twin_of(inner)
    switch_off(base)
    read.base = _read(base, about, read.tokenizer, closing)


def _kind(model: object) -> str:
    return f"{type(model).__module__.partition('.')[0]}'s {type(model).__name__}"
