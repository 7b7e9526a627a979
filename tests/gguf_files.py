"""GGUF files of tiny models, written with llama.cpp's own package, as its converter writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

EPSILONS = ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps")


def write_gguf(
    folder: Path, file: Path, kind: str = "F32", *, tensors: Mapping[str, Any] | None = None,
    tokenizer: Callable[[Any], Any] | None = None, **more: Any,
) -> None:  # fmt: skip
    """Write the model of a folder, and its tokenizer of bytes with merges.

    Args:
        folder: Of a causal model of `transformers`.
        file: To write.
        kind: Type of the matrices; all else is float32.
        tensors: Beside those of the model.
        tokenizer: Writes another one than the folder's.
        more: Settings beside the usual, dots written as two underscores, the architecture as ``ARCH``.
    """
    import gguf

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config, arch = model.config, model.config.model_type
    writer = gguf.GGUFWriter(file, arch)
    _add_settings(writer, config, arch)
    if tokenizer is not None:
        tokenizer(writer)
    else:
        add_tokenizer(writer, folder)
    for key, value in more.items():
        add = {str: writer.add_string, bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
        add[type(value)](key.replace("__", ".").replace("ARCH", arch), value)
    wanted = gguf.GGMLQuantizationType[kind]
    for name, tensor in {**gguf_tensors(model), **(tensors or {})}.items():
        matrix = tensor.ndim == 2 and not name.startswith(("token_embd", "position_embd"))
        if kind == "F32" or not matrix:
            writer.add_tensor(name, tensor)
        else:
            writer.add_tensor(name, gguf.quantize(tensor, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_tensors(model: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Return the tensors of a model by llama.cpp's names, their rows in its order."""
    import gguf

    config, arch = model.config, model.config.model_type
    [number] = [number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == arch]
    names = gguf.get_tensor_name_map(number, config.num_hidden_layers)
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stem, dot, end = name.rpartition(".") if name.endswith((".weight", ".bias")) else (name, "", "")
        called = f"{names.get_name(stem)}{dot}{end}"
        tensors[called] = np.ascontiguousarray(_turned(called, tensor.numpy(), config, arch))
    return tensors


def _turned(name: str, tensor: np.ndarray[Any, Any], config: Any, arch: str) -> np.ndarray[Any, Any]:
    """Return a tensor as the converter lays it out: of a Llama, the halves of rotary positions interleaved."""
    if arch == "llama" and (".attn_q." in name or ".attn_k." in name):
        heads = config.num_attention_heads if ".attn_q." in name else config.num_key_value_heads
        halves = tensor.reshape(heads, 2, len(tensor) // heads // 2, *tensor.shape[1:])
        return halves.swapaxes(1, 2).reshape(tensor.shape)
    turned = ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")
    return tensor.T if arch == "gpt2" and name.endswith(turned) else tensor


def _add_settings(writer: Any, config: Any, arch: str) -> None:
    width, heads = config.hidden_size, config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(width)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", None) or 4 * width)
    writer.add_head_count(heads)
    epsilon = next(getattr(config, name) for name in EPSILONS if hasattr(config, name))
    if arch == "gpt2":
        writer.add_layer_norm_eps(epsilon)
        return
    head = getattr(config, "head_dim", None) or width // heads
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(epsilon)
    writer.add_vocab_size(config.vocab_size)
    if arch == "qwen3":
        writer.add_key_length(head)
        writer.add_value_length(head)


def add_tokenizer(writer: Any, folder: Path) -> None:
    """Write a tokenizer of bytes with merges, as GPT-2 has it."""
    content = json.loads((folder / "tokenizer.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    special = set(tokenizer.all_special_tokens)
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in content["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges(merges)
    if tokenizer.eos_token_id is not None:
        writer.add_eos_token_id(tokenizer.eos_token_id)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_add_bos_token(tokenizer("a").input_ids[0] == tokenizer.bos_token_id)
