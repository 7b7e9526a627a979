"""Causal and masked transformers: any `transformers` module, read with our own scoring and decoding.

`score` runs the body once per window and the head at the asked positions only; nothing here ever calls
``generate``, so no setting in a model's folder can change what is measured.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import orjson
import torch
from torch import Tensor

from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.models.body_head import context_length, quiet_transformers, split_head
from memaudit.models.decoding import Step, continue_prompts, generators_for
from memaudit.models.products import inference
from memaudit.models.torch_scores import score_hidden, step_log_probs
from memaudit.records import GREEDY, Decoding, FloatArray, TokenIds, TokenScores, Window
from memaudit.text.tokenize import Tokenizer

T = TypeVar("T")

SCORE_ROWS = 8
"""Windows read together: more would leave the processor's cache (measured, up to 45% slower at 128)."""
DECODE_ROWS = 64
"""Prompts continued together; bounds the memory of their key-value caches."""


class _Transformer(LanguageModel):
    """What causal and masked transformers share: the module cut in two halves, and ids to tensors."""

    def __init__(self, module: Any, tokenizer: Tokenizer, *, family: str = "", ignored: Sequence[str] = ()) -> None:
        self.module = module.eval()
        self.tokenizer = tokenizer
        self.family = family or str(module.config.model_type)
        self.ignored = tuple(ignored)
        self.training: dict[str, Any] = {}
        self.context_length = context_length(module.config)
        self.parameters = sum(p.numel() for p in module.parameters())
        self._vocabulary = module.get_input_embeddings().weight.shape[0]
        self._body, self._head, self._is_split = split_head(module)

    def save(self, folder: Path) -> None:
        """Write a plain ``save_pretrained`` folder, and ``memaudit.json`` for models trained here."""
        with quiet_transformers():
            self.module.save_pretrained(str(folder))
        self.tokenizer.save(folder)
        if self.family in ("gpt", "bert"):
            description = {
                "format": 1,
                "family": self.family,
                "objective": self.objective,
                "config": {"architecture": type(self.module).__name__},
                "training": self.training,
            }
            (folder / "memaudit.json").write_bytes(orjson.dumps(description, option=orjson.OPT_INDENT_2))

    def _with_bos(self, *parts: TokenIds) -> TokenIds:
        bos = self.tokenizer.bos_id
        return np.concatenate([np.array([] if bos is None else [bos], np.int32), *parts]).astype(np.int32)

    def _check(self, ids: TokenIds, length: int, what: str) -> None:
        if self.context_length is not None and length > self.context_length:
            raise InputError(
                f"{what} needs {length} positions, but the model reads at most {self.context_length}",
                "ask for fewer tokens",
            )
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self._vocabulary:
            raise InputError(
                f"{what} holds the token id {int(ids.max())}, but the model knows {self._vocabulary} tokens",
                "is this the tokenizer of this model?",
            )

    def _tensor(self, rows: Any) -> Tensor:
        device = next(self.module.parameters()).device
        return torch.as_tensor(np.asarray(rows), dtype=torch.long, device=device)


class CausalTransformer(_Transformer):
    """A next-token transformer over a ``transformers`` module (``.module``)."""

    objective = "next-token"

    @inference()
    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score every suffix token with one teacher-forced pass over each window.

        Windows are read in batches of `SCORE_ROWS` in order of length, padded on the right where lengths
        differ, so a row never depends on its neighbours (but for rounding).

        Raises:
            InputError: A window is longer than the model's context, or nothing stands before its suffix.
            ModelError: A logit is NaN or infinite.
        """
        self.module.eval()
        texts = [self._with_bos(w.prefix, w.suffix[:-1]) for w in windows]
        for text, window in zip(texts, windows, strict=True):
            self._check(np.append(text, window.suffix[-1:]), len(text), _name(window))
            if len(text) < len(window.suffix):
                raise InputError(f"{_name(window)}: nothing stands before the suffix", "use a longer prefix")
        order = sorted(range(len(windows)), key=lambda i: len(texts[i]))
        scores = TokenScores.of_lengths([len(windows[i].suffix) for i in order])
        for batch in _chunks(range(len(order)), SCORE_ROWS if self._is_split else 1):
            suffixes = [windows[order[place]].suffix for place in batch]
            rows = slice(int(scores.offsets[batch[0]]), int(scores.offsets[batch[-1] + 1]))
            if rows.start == rows.stop:
                continue
            hidden = self._read([texts[order[place]] for place in batch], [len(s) for s in suffixes])
            score_hidden(hidden, self._head, self._tensor(np.concatenate(suffixes)), decoding, scores, rows)
        return _in_first_order(scores, order)

    @inference()
    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        """Continue every prompt with a key-value cache, prompts of equal length together.

        Raises:
            InputError: Prompt and continuation do not fit into the model's context, or nothing to continue.
            ModelError: A logit is NaN or infinite.
        """
        self.module.eval()
        for prompt in prompts:
            text = self._with_bos(prompt)
            self._check(text, len(text) + length - 1, "a prompt with its continuation")
            if not len(text):
                raise InputError("an empty prompt cannot be continued", "this model has no start token")
        streams = [] if decoding.greedy else generators_for(prompts, decoding.seed)
        results: dict[int, TokenIds] = {}
        for batch in _equal_lengths(prompts, DECODE_ROWS):
            rows = [prompts[i] for i in batch]
            generators = [streams[i] for i in batch] if streams else []
            results |= zip(
                batch,
                continue_prompts(self._stepper(decoding), rows, length, decoding, generators),
                strict=True,
            )
        return [results[i] for i in range(len(prompts))]

    def _read(self, texts: list[TokenIds], wanted: list[int]) -> Tensor:
        """Return the hidden states of the last ``wanted[i]`` positions of every text, shape [sum, d]."""
        longest = max(len(text) for text in texts)
        ids = np.zeros((len(texts), longest), np.int32)
        mask = np.zeros((len(texts), longest), np.int32)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        padding = {} if mask.all() else {"attention_mask": self._tensor(mask)}
        hidden = self._body(input_ids=self._tensor(ids), **padding, **self._caching(False)).last_hidden_state
        picked = [
            states[len(text) - count : len(text)] for states, text, count in zip(hidden, texts, wanted, strict=True)
        ]
        return torch.cat(picked)

    def _stepper(self, decoding: Decoding) -> Step:
        """Return a step function with a cache of its own; families without one read everything again."""
        cache: Any = None

        def step(texts: list[TokenIds], new: TokenIds | None) -> FloatArray:
            nonlocal cache
            if new is None or cache is None:
                ids, past = self._tensor(np.stack([self._with_bos(text) for text in texts])), {}
            else:
                ids, past = self._tensor(new[:, None]), {"past_key_values": cache}
            output = self._body(input_ids=ids, **past, **self._caching(True))
            cache = getattr(output, "past_key_values", None)
            return step_log_probs(self._head(output.last_hidden_state[:, -1]), decoding)

        return step

    def _caching(self, use: bool) -> dict[str, bool]:
        return {"use_cache": use} if "use_cache" in inspect.signature(self._body.forward).parameters else {}


class MaskedTransformer(_Transformer):
    """A masked transformer over a ``transformers`` module: pseudo-log-likelihood and mask filling.

    Args:
        closing_id: The token that the tokenizer puts after a text (BERT's ``[SEP]``), or None.
    """

    objective = "masked"

    def __init__(
        self,
        module: Any,
        tokenizer: Tokenizer,
        *,
        family: str = "",
        ignored: Sequence[str] = (),
        closing_id: int | None = None,
    ) -> None:
        super().__init__(module, tokenizer, family=family, ignored=ignored)
        if tokenizer.mask_id is None:
            raise InputError("a masked model needs a tokenizer with a mask token")
        self._mask_id = tokenizer.mask_id
        self._closing = np.array([] if closing_id is None else [closing_id], np.int32)

    @inference()
    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score every suffix token by its pseudo-log-likelihood: one row per token, that token alone masked.

        Salazar et al. 2020. Rows of equal length are read `SCORE_ROWS` at a time and the head sees the
        masked position only, so memory does not grow with the windows.

        Raises:
            InputError: A window is longer than the model's context.
            ModelError: A logit is NaN or infinite.
        """
        self.module.eval()
        texts = [self._with_bos(w.prefix, w.suffix, self._closing) for w in windows]
        for text, window in zip(texts, windows, strict=True):
            self._check(text, len(text), _name(window))
        order = sorted(range(len(windows)), key=lambda i: len(texts[i]))
        scores = TokenScores.of_lengths([len(windows[i].suffix) for i in order])
        first = 0
        masked = (
            (texts[i], len(texts[i]) - len(self._closing) - len(windows[i].suffix) + position)
            for i in order
            for position in range(len(windows[i].suffix))
        )
        for _, group in groupby(masked, key=lambda row: len(row[0])):
            for batch in _chunks(group, SCORE_ROWS):
                rows = slice(first, first + len(batch))
                self._score_masked(batch, decoding, scores, rows)
                first = rows.stop
        return _in_first_order(scores, order)

    @inference()
    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        """Append ``length`` masks and fill them from left to right, one position per pass.

        The distribution is the model's own: special tokens, the mask among them, may be chosen too.

        Raises:
            InputError: Prompt and continuation do not fit into the model's context.
            ModelError: A logit is NaN or infinite.
        """
        self.module.eval()
        for prompt in prompts:
            text = self._with_bos(prompt, self._closing)
            self._check(text, len(text) + length, "a prompt with its continuation")
        streams = [] if decoding.greedy else generators_for(prompts, decoding.seed)
        results: dict[int, TokenIds] = {}
        for batch in _equal_lengths(prompts, SCORE_ROWS):
            rows = [prompts[i] for i in batch]
            generators = [streams[i] for i in batch] if streams else []
            step = self._filler(len(rows[0]) + length, decoding)
            results |= zip(batch, continue_prompts(step, rows, length, decoding, generators), strict=True)
        return [results[i] for i in range(len(prompts))]

    def _score_masked(
        self, batch: list[tuple[TokenIds, int]], decoding: Decoding, scores: TokenScores, rows: slice
    ) -> None:
        ids = np.stack([text for text, _ in batch])
        at = np.arange(len(batch)), np.array([position for _, position in batch])
        targets = self._tensor(ids[at])
        ids[at] = self._mask_id
        hidden = self._body(input_ids=self._tensor(ids)).last_hidden_state[at]
        score_hidden(hidden, self._head, targets, decoding, scores, rows)

    def _filler(self, total: int, decoding: Decoding) -> Step:
        def step(texts: list[TokenIds], _new: TokenIds | None) -> FloatArray:
            masks = np.full(total - len(texts[0]), self._mask_id, np.int32)
            ids = np.stack([self._with_bos(text, masks, self._closing) for text in texts])
            first_mask = ids.shape[1] - len(self._closing) - len(masks)
            hidden = self._body(input_ids=self._tensor(ids)).last_hidden_state
            return step_log_probs(self._head(hidden[:, first_mask]), decoding)

        return step


def new_gpt(
    tokenizer: Tokenizer,
    *,
    style: Literal["gpt2", "llama"] = "gpt2",
    width: int = 128,
    layers: int = 2,
    heads: int = 4,
    context_length: int = 256,
    seed: int = 0,
) -> CausalTransformer:
    """Return an untrained causal transformer whose `save` folder ``AutoModelForCausalLM`` loads.

    Args:
        tokenizer: Its size is the model's vocabulary.
        style: ``gpt2`` (learned positions, GELU) or ``llama`` (rotary positions, RMSNorm, gated SiLU).
        width: Size of the hidden states, a multiple of ``heads``.
        layers: Number of blocks.
        heads: Attention heads per block.
        context_length: Longest sequence of ids, the start token included.
        seed: Fixes the initial weights; the global random state is left alone.
    """
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

    common = _common_config(tokenizer, width, heads)
    if style == "gpt2":
        config: Any = GPT2Config(
            n_embd=width, n_layer=layers, n_head=heads, n_positions=context_length,
            activation_function="gelu_pytorch_tanh",  # GPT-2's own function, fused
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **common,
        )  # fmt: skip
    else:
        config = LlamaConfig(
            hidden_size=width, intermediate_size=-(-8 * width // 24) * 8, num_hidden_layers=layers,
            num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=context_length,
            tie_word_embeddings=True, **common,
        )  # fmt: skip
    return CausalTransformer(_initialised(AutoModelForCausalLM, config, seed), tokenizer, family="gpt")


def new_bert(
    tokenizer: Tokenizer,
    *,
    style: Literal["bert", "modernbert"] = "bert",
    width: int = 128,
    layers: int = 2,
    heads: int = 4,
    context_length: int = 256,
    seed: int = 0,
) -> MaskedTransformer:
    """Return an untrained masked transformer whose `save` folder ``AutoModelForMaskedLM`` loads.

    Args:
        tokenizer: Its size is the model's vocabulary; it needs a mask token.
        style: ``bert`` (learned positions) or ``modernbert`` (rotary positions, gated units).
        width: Size of the hidden states, a multiple of ``heads``.
        layers: Number of blocks.
        heads: Attention heads per block.
        context_length: Longest sequence of ids, the start token included.
        seed: Fixes the initial weights; the global random state is left alone.
    """
    from transformers import AutoModelForMaskedLM, BertConfig, ModernBertConfig

    common = _common_config(tokenizer, width, heads) | {
        "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "max_position_embeddings": context_length,
    }  # fmt: skip
    if style == "bert":
        config: Any = BertConfig(
            intermediate_size=4 * width, type_vocab_size=1,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **common,
        )  # fmt: skip
    else:
        eos = tokenizer.eos_id
        config = ModernBertConfig(intermediate_size=2 * width, cls_token_id=eos, sep_token_id=eos, **common)
    return MaskedTransformer(_initialised(AutoModelForMaskedLM, config, seed), tokenizer, family="bert")


def _common_config(tokenizer: Tokenizer, width: int, heads: int) -> dict[str, Any]:
    if width % heads:
        raise InputError(f"a width of {width} cannot be shared by {heads} heads", "use a multiple of the heads")
    eos = tokenizer.eos_id
    # No padding id: transformers would freeze that token's embedding at zero, and ours is <eos>.
    return {
        "vocab_size": tokenizer.vocab_size, "bos_token_id": eos, "eos_token_id": eos, "pad_token_id": None
    }  # fmt: skip


def _initialised(auto_class: Any, config: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        return auto_class.from_config(config, attn_implementation="sdpa")


def _name(window: Window) -> str:
    return f"{window.source or 'a window'}: prefix and suffix"


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _equal_lengths(prompts: Sequence[TokenIds], size: int) -> Iterator[list[int]]:
    """Yield batches of the indices of prompts that have the same length, at most ``size`` each."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for _, group in groupby(order, key=lambda i: len(prompts[i])):
        yield from _chunks(group, size)


def _in_first_order(scores: TokenScores, order: list[int]) -> TokenScores:
    """Return scores of windows that were sorted as ``order`` in the order in which they came."""
    if order == sorted(order):
        return scores
    places = np.argsort(order)
    starts, ends = scores.offsets[places], scores.offsets[places + 1]
    rows = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
    offsets = np.concatenate([[0], np.cumsum(ends - starts)])
    return TokenScores(offsets, scores.log_prob[rows], scores.rank[rows], scores.mean[rows], scores.std[rows])
