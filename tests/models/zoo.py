"""Language models of every family that transformers can build by its configuration alone: tiny, random, saved, loaded.

What `memaudit` reads of a folder is compared with what transformers computes from the module that was saved there.
"""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from memaudit.errors import ModelError
from memaudit.models.body_head import quiet_transformers
from memaudit.models.loading.load import load_model
from memaudit.records import Decoding, TokenIds, Window
from memaudit.text.tokenize import train_tokenizer

BYTES = train_tokenizer("byte", [])
TEXT, PREFIX, NEW = 20, 6, 12
"""Tokens of the text that is scored, those before what is scored, and those that are decoded."""
TIE = 1e-4
"""Nats between two tokens, either of which greedy decoding may choose."""
PLACES = set(range(292, 300))
"""Tokens in whose place a wrapper puts an image or a sound."""

SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "embed_dim", "dim", "out_hidden_size", "codebook_dim"), 32),
    **dict.fromkeys(("embedding_size", "word_embed_proj_dim", "vision_hidden_size", "lru_width",
                     "input_embedding_size", "output_embedding_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "depth"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "num_heads", "n_head", "n_heads", "attention_heads"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads", "rotary_dim"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "dff", "n_inner"), 48),
    **dict.fromkeys(("d_inner", "hidden_dim", "intermediate_size_mlp"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "head_dim"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "context_length"), 128),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), 300),
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id", "num_kv_shared_layers"), 0),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 2),
    **dict.fromkeys(("image_token_id", "image_token_index"), 299),
    "num_key_value_heads": 1, "num_experts_per_tok": 1, "sliding_window": 8, "hidden_size_per_layer_input": 8,
    "image_size": 28, "patch_size": 14, "video_token_id": 298, "audio_token_id": 297, "audio_token_index": 297,
    "boi_token_index": 296, "eoi_token_index": 295, "video_token_index": 298,
}  # fmt: skip
DROPPED = {"layer_types", "mlp_layer_types", "per_layer_config", "architectures", "transformers_version"}
"""Lists of one entry a layer, which a configuration makes anew."""
WHOLE = {"id2label", "label2id", "rope_scaling"}

T = "text_config."
MIXED = {"layer_types": ["linear_attention", "full_attention"]}
STATES = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 1, "mamba_expand": 2}

LATENT = {"num_key_value_heads": 2, "qk_head_dim": 16, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8,
          "head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16, "first_k_dense_replace": 1, "n_group": 1,
          "topk_group": 1, "num_experts_per_tok": 1}  # fmt: skip


def _inner(changes: dict[str, Any]) -> dict[str, Any]:
    return {T + key: value for key, value in changes.items()}


CHANGES: dict[str, dict[str, Any]] = {
    "qwen3_5": _inner(MIXED), "qwen3_5_moe": _inner(MIXED), "qwen3_next": MIXED, "qwen3_5_text": MIXED,
    "qwen3_5_moe_text": MIXED, "lfm3_vl": {T + "layer_types": ["conv", "full_attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"]}, "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "minicpm_ocr": _inner(MIXED), "minicpmv4_6": _inner(MIXED), "minicpmv4_7": _inner(MIXED),
    "olmo_hybrid": MIXED,
    "llama4": {T + "layer_types": ["chunked_attention", "full_attention"], T + "no_rope_layers": [1, 0],
               T + "moe_layers": [1]},
    "llama4_text": {"layer_types": ["chunked_attention", "full_attention"], "no_rope_layers": [1, 0],
                    "moe_layers": [1]},
    "gemma4": {"vision_config": {"model_type": "gemma4_vision", "num_hidden_layers": 1, "hidden_size": 32,
                                 "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16,
                                 "intermediate_size": 48}},
    "glm4v_moe": {T + "rope_parameters.mrope_section": [1, 1, 2]},
    "mamba2": {"num_heads": 4, "head_dim": 16, "state_size": 16, "n_groups": 1, "expand": 2},
    "bamba": STATES | {"attn_layer_indices": [1]}, "falcon_h1": STATES | {"mamba_d_ssm": 64},
    "granitemoehybrid": STATES | {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 48},
    "nemotron_h": {"mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 16, "n_groups": 1,
                   "layers_block_type": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1,
              "use_mamba_kernels": False},
    "zamba": {"use_mamba_kernels": False}, "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "attention_layers": ["global", "local"],
                "window_size": 8},
    "codegen": {"n_head": 4}, "rwkv": {"attention_hidden_size": 32, "intermediate_size": 64}, "xlnet": {"d_head": 16},
    "nemotron": {"num_key_value_heads": 1}, "hunyuan_v1_dense": {"head_dim": 16}, "ministral": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16}, "zamba2": STATES | {"layers_block_type": ["mamba", "hybrid"]},
    "reformer": {"is_decoder": True}, "gemma3n_text": {"intermediate_size": [48, 48],
                                                       "activation_sparsity_pattern": [0.0, 0.0]},
    "bert-generation": {"is_decoder": True},
    "mpt": {"attn_config": {"alibi": True}},
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "deepseek_v32", "axk1", "axk2", "kimi_k2", "mistral4"), LATENT),
    "glm4_moe_lite": LATENT, "longcat_flash": LATENT, "youtu": LATENT, "minicpm3": LATENT,
    "ernie4_5_moe": {"moe_k": 1}, "diffllama": {"num_key_value_heads": 2}, "dots1": {"num_key_value_heads": 2},
    "dbrx": {"ffn_config.moe_num_experts": 2, "ffn_config.moe_top_k": 1, "ffn_config.ffn_hidden_size": 48,
             "attn_config.kv_n_heads": 1},
    "qwen2_5_omni_thinker": {"vision_start_token_id": 294, "vision_end_token_id": 293, "audio_start_token_id": 292},
    "qwen3_omni_moe_thinker": {"vision_start_token_id": 294, "vision_end_token_id": 293, "audio_start_token_id": 292},
    "big_bird": {"attention_type": "original_full"},
    "funnel": {"block_sizes": [1, 1]}, "convbert": {"head_ratio": 1},
}  # fmt: skip
"""What a family needs beside small sizes: a path of keys and a value."""


@dataclass(frozen=True)
class Found:
    """How a folder was read."""

    family: str
    class_name: str = ""
    difference: float = math.nan
    """Largest difference to transformers: of a log-probability, or of the mean or deviation of one."""
    ranks: bool = False
    """Whether all ranks agree, ties aside."""
    greedy: bool | None = None
    """Whether 12 tokens agree in every way of decoding, ties aside; None of a masked model."""
    unread: tuple[str, ...] = ()
    """What of the weights was not read."""
    refused: str = ""
    """Why it was not read at all."""

    @property
    def exact(self) -> bool:
        """Whether nothing differs."""
        return not self.refused and self.difference <= 1e-5 and self.ranks and self.greedy is not False


def tiny(family: str) -> Any:
    """Return a small configuration of a family."""
    kind = CONFIG_MAPPING[family]
    raw = _shrunk(kind().to_dict())
    for path, value in CHANGES.get(family, {}).items():
        inner = raw
        *outer, last = path.split(".")
        for key in outer:
            inner = inner[key]
        inner[last] = value
    return kind.from_dict(raw)


def _shrunk(raw: dict[str, Any]) -> dict[str, Any]:
    small: dict[str, Any] = {}
    for key, value in raw.items():
        if key in DROPPED:
            continue
        if key == "rope_parameters" and isinstance(value, dict) and "rope_theta" in value:
            small[key] = value | {"mrope_section": [2, 3, 3]}
        elif isinstance(value, dict) and key not in WHOLE:
            small[key] = _shrunk(value)
        else:
            small[key] = SIZES[key] if key in SIZES and value is not None and not isinstance(value, list) else value
    return small


def new_module(family: str, masked: bool = False) -> Any:
    """Return a module with random weights, the same every time.

    Raises:
        LookupError: transformers has no language model of this family.
    """
    config = tiny(family)
    if not masked and type(config) in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING and hasattr(config, "is_decoder"):
        config.is_decoder = not config.is_encoder_decoder  # else an encoder, which reads what it is to predict
    names = ["MASKED_LM"] if masked else ["IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "CAUSAL_LM"]
    mappings = [getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING", {}) for name in names]
    for mapping in mappings:
        if type(config) in mapping:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                module: Any = mapping[type(config)]._from_config(config)
            return _spread(module).eval()
    raise LookupError(family)


def _spread(module: Any) -> Any:
    """Give weights that lie far from those of a beginning, so that no two tokens are alike."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.1, generator=generator)
    return module


def read_back(family: str, folder: Path, masked: bool = False) -> Found:
    """Save a tiny model of a family, load it, and compare what both say of a text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a release warns of what it will change
        return _read_back(family, folder, masked)


def _read_back(family: str, folder: Path, masked: bool) -> Found:
    with quiet_transformers():
        module = new_module(family, masked)
        module.save_pretrained(folder)
    BYTES.save(folder)
    name = type(module).__name__
    try:
        model = load_model(str(folder))
    except ModelError as error:
        return Found(family, name, refused=str(error).replace(f"{folder}", "").lstrip("/: "))
    unread = tuple(line for line in model.ignored if line.endswith("not read"))
    module = reference_of(module)
    ids = torch.randint(3, 259, (2, TEXT), generator=torch.Generator().manual_seed(3))
    with torch.no_grad(), quiet_transformers():
        logits = _masked_logits(module, ids, model) if masked else _logits(module, ids)[:, PREFIX - 1 : -1]
        difference, ranks = _compared(logits, ids, model, masked)
        greedy = None if masked else _decodes_alike(module, model, ids)
    return Found(family, name, difference, ranks, greedy, unread)


def reference_of(module: Any) -> Any:
    """Return what of a module of transformers is asked: the whole, or the language model in it that stands alone."""
    if hasattr(module, "thinker"):
        return module.thinker
    ids = torch.zeros((1, 4), dtype=torch.long)
    try:
        with torch.no_grad():
            module(input_ids=ids).logits  # noqa: B018
    except Exception:  # of a wrapper that asks for images
        return module.get_decoder()
    return module


def _logits(module: Any, ids: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = module(input_ids=ids).logits
    return logits.double()


def _masked_logits(module: Any, ids: torch.Tensor, model: Any) -> torch.Tensor:
    """Return the logits of every token after the prefix, it alone masked."""
    start, end = model.frame
    rows = torch.tensor([[*start, *row, *end] for row in ids.tolist()])
    places = range(len(start) + PREFIX, len(start) + TEXT)
    found = []
    for place in places:
        masked = rows.clone()
        masked[:, place] = BYTES.mask_id
        found.append(_logits(module, masked)[:, place])
    return torch.stack(found, dim=1)


def _compared(logits: torch.Tensor, ids: torch.Tensor, model: Any, masked: bool) -> tuple[float, bool]:
    """Score texts alone and in a batch of unequal ones."""
    texts = ids.int().numpy()
    windows = [Window(texts[0, :PREFIX], texts[0, PREFIX:]), Window(texts[1, :PREFIX], texts[1, PREFIX:-3])]
    log_probs = torch.log_softmax(logits, -1)
    mean = (log_probs.exp() * log_probs).sum(-1)
    std = ((log_probs.exp() * log_probs**2).sum(-1) - mean**2).sqrt()
    worst, ranks = 0.0, True
    for row, window in enumerate(windows):
        count = len(window.suffix)
        own, true = log_probs[row, :count], torch.tensor(window.suffix).long()[:, None]
        if masked and row == 1:
            continue  # the shorter text is another one to a masked model
        for scores in (model.score([window]), *([] if masked else [list(model.score(windows))[row]])):
            target = own.gather(1, true)
            for given, wanted in ((scores.log_prob, target[:, 0]), (scores.mean, mean[row, :count]),
                                  (scores.std, std[row, :count])):  # fmt: skip
                worst = max(worst, float(np.abs(given - wanted.numpy()).max()))
            low, high = ((own > target + margin).sum(-1).numpy() for margin in (TIE, -TIE))
            ranks &= bool(((low <= scores.rank) & (scores.rank <= high)).all())
    return worst, ranks


def _decodes_alike(module: Any, model: Any, ids: torch.Tensor) -> bool:
    """Return whether every way of decoding gives the tokens of transformers."""
    prompts = [ids[0, :8], ids[1, :5]]
    wanted = [_generated(module, prompt) for prompt in prompts]
    rows = [prompt.int().numpy() for prompt in prompts]
    drafts = [Window(row, np.array(text, np.int32)) for row, text in zip(rows, wanted, strict=True)]
    ways = [list(model.continuations(rows, NEW)), list(model.greedy_continuations(drafts)), _cached(model, rows)]
    ways.append([_branched(model, row) for row in rows])
    alike = all(_same(module, prompt, way[i], text)
                for way in ways for i, (prompt, text) in enumerate(zip(prompts, wanted, strict=True)))  # fmt: skip
    lengths = model.screen(drafts)
    return alike and all(
        int(length) == NEW or _is_tie(module, prompt, text[: int(length)])
        for length, prompt, text in zip(lengths, prompts, wanted, strict=True)
    )


def _generated(module: Any, prompt: torch.Tensor) -> list[int]:
    """Return what ``generate`` continues a prompt with; what the forward pass does where these two do not agree.

    Some families generate images first, want them, or give positions to ``generate`` that their forward pass does not.
    """
    if hasattr(module, "generate"):
        module.generation_config.eos_token_id = None
        with suppress(Exception):
            made = module.generate(
                input_ids=prompt[None], attention_mask=torch.ones_like(prompt)[None], do_sample=False,
                max_new_tokens=NEW, pad_token_id=0,
            )[0]  # fmt: skip
            best = _logits(module, made[None])[0, len(prompt) - 1 : -1].argmax(-1)
            text = [int(token) for token in made[len(prompt) :]]
            if len(text) == NEW and _same(module, prompt, best.numpy(), text):
                return text
    text = []
    for _ in range(NEW):
        whole = torch.cat([prompt, torch.tensor(text, dtype=torch.long)])
        text.append(int(_logits(module, whole[None])[0, -1].argmax()))
    return text


def _cached(model: Any, rows: list[TokenIds]) -> list[TokenIds]:
    """Continue a token at a time, with the cache of the family as it is."""
    from memaudit.models.decoding import continue_prompts

    with torch.no_grad():
        return [continue_prompts(model._stepper(Decoding()), [row], NEW, Decoding())[0] for row in rows]


def _branched(model: Any, row: TokenIds) -> TokenIds:
    branch, text, parents = model.brancher(), row, None
    for _ in range(NEW):
        text = np.append(text, branch([text], parents)[0].argmax()).astype(np.int32)
        parents = np.array([0])
    return text[len(row) :]


def _same(module: Any, prompt: torch.Tensor, found: TokenIds, wanted: list[int]) -> bool:
    differs = np.flatnonzero(np.asarray(found) != np.asarray(wanted))
    return not len(differs) or _is_tie(module, prompt, wanted[: int(differs[0])])


def _is_tie(module: Any, prompt: torch.Tensor, text: list[int]) -> bool:
    """Return whether two tokens are as good after a text, or it has the place of an image, which is no text."""
    if set(text) & PLACES:
        return True
    logits = _logits(module, torch.cat([prompt, torch.tensor(text, dtype=torch.long)])[None])[0, -1]
    best = logits.topk(2).values
    return float(best[0] - best[1]) < TIE
