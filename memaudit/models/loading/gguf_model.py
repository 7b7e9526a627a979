"""GGUF files: a model of `transformers` with the weights of the file, dequantised, and the tokenizer of the file.

Names of tensors and the order of their rows are those of llama.cpp; `transformers` knows which weight each is. What it
would pass over is refused: a setting that it does not follow, a tensor that it gives no place, a way of splitting text
that it does not know.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from torch import Tensor

from memaudit.errors import ModelError, one_line
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.build import Blank, build_module
from memaudit.models.loading.classes import module_class_of
from memaudit.models.loading.description import check_depth, check_sizes, check_tensors, described
from memaudit.models.loading.folder import About, assembled
from memaudit.models.loading.gguf_file import GgufFile, GgufTensor, read_gguf
from memaudit.models.loading.placement import place, placed
from memaudit.models.loading.precision import DTYPES, stored_dtype, wanted_dtype
from memaudit.models.loading.settings import configuration
from memaudit.models.loading.stored import check_values
from memaudit.models.loading.tokenizer import closing_id, load_tokenizer
from memaudit.models.loading.weights import one_name
from memaudit.models.product_choice import choose_products
from memaudit.models.transformer import CausalTransformer, MaskedTransformer
from memaudit.text.tokenize import HuggingFaceTokenizer, Tokenizer

FAMILIES = {
    "llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gpt2": "gpt2", "phi3": "phi3", "starcoder2": "starcoder2",
    "stablelm": "stablelm", "nemotron": "nemotron", "falcon": "falcon", "mamba": "mamba",
}  # fmt: skip
"""What `transformers` calls the architectures of llama.cpp of which all that a file says is followed."""
UNNAMED = {"qwen3": {"attention.key_length": "head_dim"}, "gpt2": {"context_length": "n_positions"}}
"""Keys of a configuration that `transformers` does not take from a file."""
SPLITS = ("gpt-2", "gpt2", "phi-2", "mpt", "olmo", "jais")
"""Ways of splitting text, as llama.cpp calls them, that are GPT-2's."""
ROPE = "rope_freqs.weight"
"""By how much the frequencies of rotary positions are divided: how Llama 3 reads long texts."""
PLAIN = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}
"""Types of tensors that are numbers as they lie."""
TOKENIZER = "tokenizer.ggml."
BESIDE = "put the tokenizer.json of the model beside the file"
ORIGINAL = "audit the folder that it was made from"


def load_gguf(file: Path, *, device: str, dtype: str) -> CausalTransformer | MaskedTransformer:
    """Load the model of a GGUF file.

    Args:
        file: The whole model.
        device: Where the model computes.
        dtype: Type that the weights are dequantised to.

    Raises:
        ModelError: `gguf` is missing; the file is damaged, a part of a model, or of an architecture, a tokenizer or a
            setting that is not followed; its weights are missing, left over or not finite.
    """
    gguf = _gguf(file)
    found = read_gguf(file, _sizes(gguf), {int(kind): kind.name for kind in gguf.GGMLQuantizationType})
    _check_whole(found)
    ignored: list[str] = []
    raw = _configuration(found)
    declared = found.declared()
    check_depth(file, raw, declared)
    config = configuration(file, raw, ignored)
    _check_settings(found, config)
    objective, module_class = module_class_of(file, config, raw)
    check_sizes(file, config, declared)
    unfilled = described(file, module_class, config, declared)
    check_tensors(file, unfilled, declared, declared)
    dtypes = wanted_dtype(dtype, {}, declared), stored_dtype({}, declared)
    plain = {name: replace(tensor, kind="F32") for name, tensor in declared.items()}  # as they will be
    dtype, where = dtypes[0], place(file, unfilled, plain, dtypes, device, whole=True)
    kind = DTYPES[dtype]
    weights = _weights(found, module_class, config, raw, gguf, kind)
    factors = weights.pop(ROPE, None)
    blank = Blank(file, module_class, config)
    module = placed(file, where, lambda places: build_module(blank, weights, kind, ignored, places))
    _slow_down(file, module, factors)
    choose_products(module)
    tokenizer, closing, told = _tokenizer(found, config)
    notes = (f"GGUF, {found.kinds()}, dequantised to {dtype}", *told)
    about = About(
        str(file), objective, str(config.model_type), (raw, {}), tuple(ignored), dtype, where.device, notes=notes
    )
    model = assembled(about, module, tokenizer, closing)
    model.device, model.dtype = where.device, dtype
    return model


def _gguf(file: Path) -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ModelError(f"{file}: a GGUF file needs {error.name}", "pip install 'memaudit[gguf]'") from None
    return gguf


def _sizes(gguf: Any) -> dict[str, tuple[int, int]]:
    return {kind.name: size for kind, size in gguf.GGML_QUANT_SIZES.items()}


def _check_whole(found: GgufFile) -> None:
    settings = found.settings
    parts = settings.get("split.count", 0)
    if isinstance(parts, int) and parts > 1:
        raise ModelError(f"{found.path}: one of {parts} parts of a model", "join them: llama-gguf-split --merge")
    kind = settings.get("general.type", "model")
    if kind != "model":
        raise ModelError(f"{found.path}: holds no model, but {one_line(repr(kind), 40)}")
    if found.architecture not in FAMILIES:
        named = one_line(repr(found.architecture), 40)
        raise ModelError(f"{found.path}: architecture {named} is not read ({', '.join(FAMILIES)} are)", ORIGINAL)


def _configuration(found: GgufFile) -> dict[str, Any]:
    """Return what a ``config.json`` of the model would hold."""
    arch = found.architecture
    known = _known_keys(arch)
    raw: dict[str, Any] = {"model_type": FAMILIES[arch], "pad_token_id": None}
    for key, value in found.settings.items():
        name = known.get(key.removeprefix(f"{arch}."))
        if key.startswith(f"{arch}.") and name:
            raw[name] = value
    for name in ("bos", "eos", "padding"):
        token = found.settings.get(f"{TOKENIZER}{name}_token_id")
        raw["pad_token_id" if name == "padding" else f"{name}_token_id"] = token
    shapes = {tensor.name: tensor.shape for tensor in found.tensors}
    if "token_embd.weight" not in shapes:
        raise ModelError(f"{found.path}: has no tensor token_embd.weight")
    raw.setdefault("vocab_size", shapes["token_embd.weight"][0])
    raw["tie_word_embeddings"] = "output.weight" not in shapes
    if arch == "stablelm":
        raw["use_qkv_bias"] = "blk.0.attn_q.bias" in shapes
        raw["use_parallel_residual"] = "blk.0.ffn_norm.weight" not in shapes
    return raw


def _known_keys(arch: str) -> dict[str, str | None]:
    """Return what a configuration calls the settings of an architecture."""
    from transformers import integrations

    lazy: Any = integrations
    return {**lazy.GGUF_CONFIG_MAPPING[FAMILIES[arch]], **UNNAMED.get(arch, {})}


def _check_settings(found: GgufFile, config: Any) -> None:
    """Refuse settings of the architecture that say other than the configuration that was made of the rest."""
    arch = found.architecture
    known = _known_keys(arch)
    for key, value in found.settings.items():
        suffix = key.removeprefix(f"{arch}.")
        if suffix == key or known.get(suffix):
            continue
        check = AGREES.get(suffix)
        try:
            agrees = check is not None and check(value, config)
        except (TypeError, AttributeError, KeyError, ZeroDivisionError):
            agrees = False
        if not agrees:
            shown = f"{one_line(key, 60)} is {one_line(repr(value), 40)}"
            raise ModelError(f"{found.path}: {shown}, which transformers does not follow", ORIGINAL)


def _head(config: Any) -> int:
    found = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(found)


def _rotary(config: Any) -> dict[str, Any]:
    found: dict[str, Any] = config.rope_parameters
    return found


def _equal(*names: str) -> Callable[[Any, Any], bool]:
    return lambda value, config: any(
        abs(getattr(config, name) - value) <= 1e-6 * abs(value) for name in names if hasattr(config, name)
    )


def _whatever(_: Any, __: Any) -> bool:
    return True


AGREES: Mapping[str, Callable[[Any, Any], bool]] = {
    "attention.causal": lambda value, _: value is True,
    "attention.head_count": lambda value, config: value in (0, getattr(config, "num_attention_heads", 0)),
    "attention.head_count_kv": lambda value, config: value in (0, getattr(config, "num_attention_heads", 0)),
    "attention.key_length": lambda value, config: value == _head(config),
    "attention.layer_norm_epsilon": _equal("layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps"),
    "attention.layer_norm_rms_epsilon": _equal("rms_norm_eps", "layer_norm_epsilon"),
    "attention.sliding_window": lambda value, config: value in (0, config.max_position_embeddings),
    "attention.value_length": lambda value, config: value == _head(config),
    "expert_count": lambda value, _: value == 0,
    "expert_used_count": lambda value, _: value == 0,
    "feed_forward_length": lambda value, _: value == 0,
    "rope.dimension_count": lambda value, config: (
        value == int(_head(config) * _rotary(config).get("partial_rotary_factor", 1))
    ),
    "rope.freq_base": lambda value, config: abs(_rotary(config)["rope_theta"] - value) <= 1e-6 * value,
    "rope.scaling.factor": lambda value, _: value in (0, 1),
    "rope.scaling.finetuned": _whatever,
    "rope.scaling.original_context_length": _whatever,
    "rope.scaling.type": lambda value, _: value == "none",
    "ssm.dt_b_c_rms": lambda value, _: value is False,
    "tensor_data_layout": _whatever,
    "use_parallel_residual": _equal("use_parallel_residual"),
    "vocab_size": _equal("vocab_size"),
}
"""Of settings that make no part of a configuration: whether the model computes as they say."""


def _weights(
    found: GgufFile, module_class: Any, config: Any, raw: dict[str, Any], gguf: Any, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Return the tensors of a file by the names of `transformers`, dequantised."""
    from transformers.modeling_gguf_pytorch_utils import (
        TENSOR_PROCESSORS,
        TensorProcessor,
        get_gguf_hf_weights_map,
    )

    with _told(found.path), quiet_transformers():
        kind: Any = TENSOR_PROCESSORS.get(found.architecture, TensorProcessor)
        processor = kind(config=raw)
        with torch.device("meta"):
            blank = module_class(copy.deepcopy(config))
        places = get_gguf_hf_weights_map(blank, processor)
    places["output.weight"] = places.get("output.weight", "lm_head.weight")
    if lost := sorted(tensor.name for tensor in found.tensors if tensor.name not in {*places, ROPE}):
        raise ModelError(f"{found.path}: {len(lost)} tensors of no place in the model, first: {one_name(lost[0])}")
    data = np.memmap(found.path, mode="r", dtype=np.uint8)
    weights: dict[str, Tensor] = {}
    for tensor in found.tensors:
        with _told(found.path):
            values = _values(gguf, data[tensor.start : tensor.start + tensor.size], tensor)
            if tensor.name not in (ROPE, "output.weight"):
                values = processor.process(values, tensor.name, tensor_key_mapping=places, parsed_parameters={}).weights
        value = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        check_values({tensor.name: value})
        weights[ROPE if tensor.name == ROPE else places[tensor.name]] = value.to(dtype, copy=True)
    return weights


def _values(gguf: Any, data: Any, tensor: GgufTensor) -> Any:
    """Return the values of a tensor in float32, from its bytes."""
    if tensor.kind in PLAIN:
        return data.view(PLAIN[tensor.kind]).astype(np.float32).reshape(tensor.shape)
    rows = data.reshape(*tensor.shape[:-1], -1)
    return gguf.dequantize(rows, gguf.GGMLQuantizationType[tensor.kind]).reshape(tensor.shape)


def _slow_down(file: Path, module: Any, factors: Tensor | None) -> None:
    """Divide the frequencies of rotary positions by the factors of a file, where it has some."""
    if factors is None:
        return
    rotary = getattr(getattr(module, "model", None), "rotary_emb", None)
    frequencies = getattr(rotary, "inv_freq", None)
    if rotary is None or not isinstance(frequencies, Tensor) or frequencies.shape != factors.shape:
        raise ModelError(f"{file}: {ROPE} does not fit the positions of the model", ORIGINAL)
    slowed = frequencies / factors.float().to(frequencies.device)
    check_values({ROPE: slowed})
    for name in ("inv_freq", "original_inv_freq"):
        if isinstance(getattr(rotary, name, None), Tensor):
            setattr(rotary, name, slowed.clone())


def _tokenizer(found: GgufFile, config: Any) -> tuple[Tokenizer, int | None, tuple[str, ...]]:
    """Return the tokenizer beside a file, or that in it, the id that it puts after a text, and what is told of it."""
    if (found.path.parent / "tokenizer.json").is_file():
        tokenizer, closing = load_tokenizer(found.path.parent, config)
        return tokenizer, closing, ("its tokenizer is the tokenizer.json beside the file",)
    _check_splitting(found)
    from transformers import PreTrainedTokenizerFast

    # In a folder of its own, so that no file beside it is read for settings.
    with tempfile.TemporaryDirectory() as place, _told(found.path, "no usable tokenizer", BESIDE), quiet_transformers():
        (Path(place) / "model.gguf").symlink_to(found.path.resolve())
        loaded: Any = PreTrainedTokenizerFast.from_pretrained(place, gguf_file="model.gguf", local_files_only=True)
        loaded = _without_additions(loaded, len(found.settings[f"{TOKENIZER}tokens"]))
        closing = closing_id(loaded)
    if len(loaded) <= len(loaded.all_special_ids):
        raise ModelError(f"{found.path}: no usable tokenizer: it has no vocabulary", BESIDE)
    return HuggingFaceTokenizer(loaded), closing, ()


def _without_additions(tokenizer: Any, count: int) -> Any:
    """Return a tokenizer without the tokens that its class adds to the ``count`` of a file (``<|endoftext|>``)."""
    from tokenizers import Tokenizer as Backend
    from transformers import PreTrainedTokenizerFast

    fast: Any = PreTrainedTokenizerFast
    content = orjson.loads(tokenizer.backend_tokenizer.to_str())
    kept = [token for token in content["added_tokens"] if token["id"] < count]
    if len(kept) == len(content["added_tokens"]):
        return tokenizer
    content["added_tokens"] = kept
    named = {name: getattr(tokenizer, name) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    return fast(
        tokenizer_object=Backend.from_str(orjson.dumps(content).decode()),
        chat_template=tokenizer.chat_template, **{name: token for name, token in named.items() if token is not None},
    )  # fmt: skip


def _check_splitting(found: GgufFile) -> None:
    """Refuse tokenizers that would be made otherwise than the file says."""
    kind, split = (found.settings.get(f"{TOKENIZER}{name}") for name in ("model", "pre"))
    try:
        from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS as OTHER_SPLITS
    except ImportError:  # what earlier releases make of a file has other tokens
        told = "its tokenizer is read with a later release of transformers alone"
        raise ModelError(f"{found.path}: {told}", BESIDE) from None
    wrong = ""
    if kind == "gpt2" and split not in (*SPLITS, *OTHER_SPLITS):
        wrong = f"splits text as {one_line(repr(split), 40)}"
    elif kind == "llama" and found.settings.get(f"{TOKENIZER}add_space_prefix", True) is not True:
        wrong = "puts no space before a text"
    elif kind not in ("gpt2", "llama"):
        wrong = f"is of kind {one_line(repr(kind), 40)}"
    if wrong:
        raise ModelError(f"{found.path}: its tokenizer {wrong}, which transformers does not follow", BESIDE)


@contextmanager
def _told(file: Path, what: str = "weights and settings do not fit", hint: str = "") -> Any:
    """Let whatever goes wrong in another library be one line that names the file."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # whatever a library says of settings that do not fit
        raise ModelError(f"{file}: {what}: {one_line(' '.join(str(error).split()), 120)}", hint) from None
