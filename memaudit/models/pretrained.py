"""Hugging Face folders and ids, trusted in nothing: what is read is checked, what is not followed is listed.

The folder is opened by us: its configuration is filtered before a module is built from it, its weights are
read as safetensors and handed over as tensors, and no generation setting, code or adapter in it is used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memaudit.errors import ModelError, one_line
from memaudit.models.body_head import quiet_transformers
from memaudit.models.description import UNLIKE, check_depth, check_sizes, check_tensors
from memaudit.models.product_choice import choose_products
from memaudit.models.torch_scores import check_finite
from memaudit.models.transformer import CausalTransformer, MaskedTransformer
from memaudit.models.weights import check_values, one_name, read_headers, read_json, read_weights
from memaudit.records import Objective
from memaudit.text.tokenize import HuggingFaceTokenizer, Tokenizer, TrainedTokenizer, special_ids

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
NOT_CONFIGURATION = re.compile(r"auto_map|custom_pipelines|_?attn_implementation\w*|_?experts_implementation\w*")
"""Keys that would fetch code or kernels instead of describing the model."""
LABELS = {"num_labels", "id2label", "label2id", "problem_type", "task_specific_params"}
"""Keys about a classifier, which no language model here has."""
HARMLESS = {"transformers_version", "_from_model_config", "use_cache", "return_dict", "output_scores"}
NAMES_OF_TOKENS = {"bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"}
"""Which id is called what; only a list of them, or a forced one, is a rule for decoding."""
OTHER_OBJECTIVE = re.compile(r"(^|\.)(pooler|seq_relationship)\.")
"""Weights of BERT's sentence objective, which no token prediction reads."""


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
    raw = read_json(folder / "config.json")
    ignored: list[str] = []
    _refuse_code(folder / "config.json", raw)
    declared = read_headers(folder)
    check_depth(folder / "config.json", raw, declared)
    config = _configuration(folder / "config.json", raw, ignored)
    generation = _generation_of(folder)
    ignored += decoding_settings(raw, generation)
    objective, module_class = _module_class(folder, config, raw)
    check_sizes(folder / "config.json", config, declared)
    check_tensors(folder, module_class, config, declared)
    weights = read_weights(folder)
    check_values(weights)
    module = _build(folder, module_class, config, weights, DTYPES[_known(dtype)], ignored)
    module = _moved(module, device)
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
    dropout = getattr(tokenizer, "dropout", None)
    ignored = (*about.ignored, f"tokenizer.json: dropout={dropout}") if dropout else about.ignored
    model: CausalTransformer | MaskedTransformer
    if about.objective == "next-token":
        model = CausalTransformer(module, tokenizer, family=about.family, ignored=ignored)
        _check_causal(about.name, module)
    else:
        model = MaskedTransformer(module, tokenizer, family=about.family, ignored=ignored, closing_id=closing_id)
    model.named_ends = _named_ends(about.settings, tokenizer)
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


def cached_folder(name: str, *, allow_download: bool = False) -> Path:
    """Return the local folder of a hub id: from the cache, or downloaded if that is allowed."""
    if not allow_download:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    try:
        folder = snapshot_download(name, local_files_only=not allow_download, allow_patterns=patterns)
    except HFValidationError:
        raise ModelError(f"{name}: neither a folder nor a Hugging Face id") from None
    except Exception as error:  # the hub client raises errors of several HTTP libraries
        if allow_download:
            raise ModelError(f"{name}: cannot be downloaded: {one_line(str(error), 150)}") from None
        raise ModelError(
            f"{name}: no such folder, and no model of this name in the Hugging Face cache",
            "give the path of a local model folder, or allow downloading with --allow-download",
        ) from None
    return Path(folder)


def load_tokenizer(folder: Path, config: Any = None) -> tuple[Tokenizer, int | None]:
    """Return the folder's tokenizer and the id that it puts after a text, if any.

    Args:
        folder: Of the model.
        config: Of the model as we read it; without it, transformers would read the folder's for itself.
    """
    if (folder / "memaudit.json").is_file():
        return TrainedTokenizer.load(folder), None
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), config=config, trust_remote_code=False, local_files_only=True
            )
            closing = closing_id(tokenizer)
    except Exception as error:  # tokenizers and its many readers raise bare Exception
        reason = one_line(" ".join(str(error).split()), 120)
        hint = "" if (folder / "tokenizer.json").is_file() else "is tokenizer.json missing?"
        raise ModelError(f"{folder}: no usable tokenizer: {reason}", hint) from None
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ModelError(f"{folder}: no usable tokenizer: it has no vocabulary", "is tokenizer.json missing?")
    return HuggingFaceTokenizer(tokenizer), closing


def closing_id(tokenizer: Any) -> int | None:
    """Return the id that a tokenizer of ``transformers`` puts after a text, if any."""
    ends: list[int] = tokenizer.encode("a")[-1:]
    return ends[0] if ends and ends[0] in tokenizer.all_special_ids else None


def _moved(module: Any, device: str) -> Any:
    try:
        if torch.device(device).type == "meta":
            raise RuntimeError("holds no numbers")
        return module.to(device)
    except (RuntimeError, AssertionError) as error:  # torch has no error of its own for a device that is not there
        raise ModelError(f"--device {device}: {str(error).splitlines()[0]}") from None


def _known(dtype: str) -> str:
    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype {dtype}", f"one of {', '.join(DTYPES)}")
    return dtype


def _refuse_code(file: Path, raw: dict[str, Any]) -> None:
    """Refuse a model that only code of its own, or kernels for quantised weights, could read."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = raw.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        reason = "needs code of its own" if "auto_map" in raw else "is not known to transformers"
        raise ModelError(f"{file}: model_type {one_line(repr(kind), 60)} {reason}", "load it through python:")
    if "quantization_config" in raw:
        raise ModelError(f"{file}: quantised weights", "save the model unquantised")


def _configuration(file: Path, raw: dict[str, Any], ignored: list[str]) -> Any:
    """Build the configuration from the keys that describe the model; list the others in ``ignored``."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    ignored += [f"{file.name}: {key}" for key in sorted(raw) if NOT_CONFIGURATION.fullmatch(key)]
    try:
        with quiet_transformers():
            config: Any = CONFIG_MAPPING[raw["model_type"]].from_dict(_describing(raw))
    except Exception as error:  # validation errors of several libraries
        raise ModelError(f"{file}: not a configuration: {one_line(str(error), 150)}") from None
    return config


def _describing(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {k: _describing(v) for k, v in raw.items() if not NOT_CONFIGURATION.fullmatch(k) and k not in LABELS}
    return [_describing(value) for value in raw] if isinstance(raw, list) else raw


def _generation_of(folder: Path) -> dict[str, Any]:
    file = folder / "generation_config.json"
    return read_json(file) if file.is_file() else {}


def decoding_settings(config: Mapping[str, Any], generation: Mapping[str, Any]) -> list[str]:
    """List what a configuration, and that of ``generate``, would change about decoding."""
    import transformers

    defaults: Any = transformers.GenerationConfig
    names = set(defaults().to_dict()) - HARMLESS
    found = [("config.json", key, value) for key, value in config.items()]
    found += [("generation_config.json", key, value) for key, value in generation.items()]
    names |= set(generation) - HARMLESS
    settings = [
        (where, key, value)
        for where, key, value in found
        if key in names and value is not None and not (key in NAMES_OF_TOKENS and isinstance(value, int))
    ]
    return [one_line(f"{where}: {key}={value}", 120) for where, key, value in settings if value is not False]


def _named_ends(settings: Iterable[Mapping[str, Any]], tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the end tokens that a model's settings name: special tokens alone, an ordinary word ends no text.

    They define which tokens end a text; decoding is unaffected.
    """
    named = [each.get("eos_token_id") for each in settings]
    ids = {each for some in named for each in (some if isinstance(some, list) else [some]) if type(each) is int}
    return tuple(sorted(ids & special_ids(tokenizer)))


def _module_class(folder: Path, config: Any, raw: dict[str, Any]) -> tuple[Objective, Any]:
    """Decide the objective by the architecture's name, else by what the family can be."""
    from transformers.models.auto import modeling_auto

    causal, masked = (
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING,
        modeling_auto.MODEL_FOR_MASKED_LM_MAPPING,
    )
    listed = raw.get("architectures") or []
    names = " ".join(str(name) for name in listed) if isinstance(listed, list) else ""
    says_causal = re.search(r"ForCausalLM|LMHeadModel", names) is not None
    if type(config) in masked and not says_causal:
        return "masked", masked[type(config)]
    if type(config) in causal:
        return "next-token", causal[type(config)]
    raise ModelError(
        f"{folder / 'config.json'}: {one_line(names or config.model_type, 60)} is no language model for text",
        "causal and masked language models can be audited",
    )


def _build(
    folder: Path,
    module_class: Any,
    config: Any,
    weights: dict[str, Tensor],
    dtype: torch.dtype,
    ignored: list[str],
) -> Any:
    attention = "sdpa" if getattr(module_class, "_supports_sdpa", False) else "eager"
    try:
        with quiet_transformers():
            module, info = module_class.from_pretrained(
                None,
                config=config,
                state_dict=dict(weights),
                dtype=dtype,
                attn_implementation=attention,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, by name
            )
    except Exception as error:  # a hostile configuration can fail anywhere in a family's constructor
        reason = one_line(" ".join(str(error).split()), 150)
        raise ModelError(f"{folder}: weights and config.json do not fit: {reason}") from None
    unused = sorted(name for name in info["unexpected_keys"] if OTHER_OBJECTIVE.search(name))
    ignored += [f"weights: {one_name(name)}" for name in unused]
    found = {
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(set(info["unexpected_keys"]) - set(unused)),
        "of another shape": sorted(str(key[0]) for key in info["mismatched_keys"]),
    }
    wrong = [f"{len(names)} tensors {what}, first: {one_name(names[0])}" for what, names in found.items() if names]
    if wrong:
        raise ModelError(f"{folder}: {'; '.join(wrong)}", UNLIKE)
    _check_same(folder, module, weights)
    return module


def _check_same(folder: Path, module: Any, weights: Mapping[str, Tensor]) -> None:
    """Compare what was loaded with what was read: loading has been known to succeed with random weights."""
    loaded = module.state_dict()
    for name, tensor in weights.items():
        if name in loaded and not torch.equal(loaded[name].cpu(), tensor.to(loaded[name].dtype)):
            raise ModelError(f"{folder}: tensor {one_name(name)} differs from the file after loading")
    check_values(loaded)
    embedding = module.get_input_embeddings().weight
    if not bool(embedding.any()):
        raise ModelError(f"{folder}: the token embedding holds zeros only", "the weights are damaged")


def check_fit(name: str, module: Any, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer with more tokens than a module has embeddings."""
    rows = module.get_input_embeddings().weight.shape[0]
    if tokenizer.vocab_size > rows:
        raise ModelError(
            f"{name}: its tokenizer has {tokenizer.vocab_size} tokens, its embedding only {rows}",
            "tokenizer and weights are of different models",
        )


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
