"""Causal transformers: any `transformers` module, read with our own scoring and decoding.

`score` runs the body once per window and the head at the asked positions only; nothing here ever calls
``generate``, so no setting in a model's folder can change what is measured.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memaudit.errors import InputError
from memaudit.models.base import Branch
from memaudit.models.bfloat import ENOUGH, FirstLook, can_look
from memaudit.models.caches import Stepping, cache_of, can_gather, gathered, read_step, reading_on, way_of_stepping
from memaudit.models.decoding import Settled, Step, continue_prompts, generators_for
from memaudit.models.drafting import Drafter, no_draft
from memaudit.models.masked import MaskedTransformer, new_bert
from memaudit.models.parts import device_of
from memaudit.models.products import inference
from memaudit.models.screening import Reader, matched_lengths
from memaudit.models.slots import SlotShape, slot_shape
from memaudit.models.torch_scores import score_hidden, step_log_probs
from memaudit.models.transformer_base import (
    DECODE_ROWS,
    SCORE_ROWS,
    TransformerModel,
    chunks,
    common_config,
    equal_lengths,
    in_first_order,
    initialised,
    window_name,
)
from memaudit.records import GREEDY, Decoding, FloatArray, TokenIds, TokenScores, Window
from memaudit.text.tokenize import Tokenizer

__all__ = ["CausalTransformer", "MaskedTransformer", "new_bert", "new_gpt"]


class CausalTransformer(TransformerModel):
    """A next-token transformer over a ``transformers`` module (``.module``)."""

    objective = "next-token"
    _gathers: bool | None = None
    """Whether its cache can be gathered; None before that was tried."""
    _tried_look = False
    _look: FirstLook | None = None
    """What screens first in bf16; None where it was not tried, or does not pay."""
    _stepping: Stepping | None = None
    """How its cache is read on token by token; None before that was tried."""
    _tried_slots = False
    _slots: SlotShape | None = None
    """What a slot of its cache holds; None where it was not tried or cannot be read by slots."""

    @inference()
    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score every suffix token with one teacher-forced pass over each window.

        Windows are read in batches of `SCORE_ROWS` in order of length, padded on the right where lengths
        differ, so a row never depends on its neighbours (but for rounding).

        Raises:
            InputError: A window is longer than the model's context, or nothing precedes its suffix.
            ModelError: A logit is NaN or infinite.
        """
        self.module.eval()
        texts = self._texts(windows)
        order = sorted(range(len(windows)), key=lambda i: len(texts[i]))
        scores = TokenScores.of_lengths([len(windows[i].suffix) for i in order])
        for batch in chunks(range(len(order)), SCORE_ROWS if self._is_split else 1):
            suffixes = [windows[order[place]].suffix for place in batch]
            rows = slice(int(scores.offsets[batch[0]]), int(scores.offsets[batch[-1] + 1]))
            if rows.start == rows.stop:
                continue
            hidden = self._read([texts[order[place]] for place in batch], [len(s) for s in suffixes])
            score_hidden(hidden, self._head, self._tensor(np.concatenate(suffixes)), decoding, scores, rows)
        return in_first_order(scores, order)

    @inference()
    def screen(self, windows: Sequence[Window]) -> NDArray[np.int32]:
        """Return how many suffix tokens greedy decoding gives before its first difference, shape [windows].

        The same as from `score` (but for ties that rounding makes), read only as far as needed: see `matched_lengths`;
        with a first look in bf16 where that is measured to pay: see `FirstLook`.

        Raises:
            InputError: A window is longer than the model's context, or nothing precedes its suffix.
            ModelError: A logit that was looked at is NaN or infinite.
        """
        self.module.eval()
        prefixes, reader = self.prefixes(windows), self.reader()
        if reader is None:
            return super().screen(windows)
        suffixes = [window.suffix for window in windows]
        look = self._first_look(reader, prefixes, suffixes)
        return matched_lengths(reader, prefixes, suffixes) if look is None else look.matched(prefixes, suffixes)

    def _first_look(
        self, reader: Reader, prefixes: Sequence[TokenIds], suffixes: Sequence[TokenIds]
    ) -> FirstLook | None:
        """Return the first look in bf16 where it pays; it is tried at the first call with enough windows."""
        asked = [i for i, suffix in enumerate(suffixes) if len(suffix)]
        if not self._tried_look and len(asked) >= ENOUGH:
            self._tried_look = True
            if can_look(self.module):
                self._look = FirstLook(self.module, reader, [prefixes[i] for i in asked], [suffixes[i] for i in asked])
        if self._look is not None and not self._look.pays:
            self._look = None  # its copy of the weights goes
        return self._look

    def prefixes(self, windows: Sequence[Window]) -> list[TokenIds]:
        """Return the prefix of every window as it is read, start token included; errors as in `screen`."""
        self._texts(windows)
        return [self._with_bos(window.prefix) for window in windows]

    @inference()
    def reader(self) -> Reader | None:
        """Return what a screen reads with; None where the family does not come apart or has no plain cache."""
        device = device_of(self.module)
        if self._gathers is None:
            gathers = self._is_split and can_gather(self._body, self._vocabulary, device)
            self._gathers = gathers and self._way() == "cache"
        return Reader(self._body, self._head, device) if self._gathers else None

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
        drafter = self._drafter() if decoding.greedy else None
        if drafter is not None:
            return drafter.continued([self._with_bos(prompt) for prompt in prompts], [no_draft(length)] * len(prompts))
        streams = [] if decoding.greedy else generators_for(prompts, decoding.seed)
        results: dict[int, TokenIds] = {}
        for batch in equal_lengths(prompts, DECODE_ROWS):
            rows = [prompts[i] for i in batch]
            generators = [streams[i] for i in batch] if streams else []
            results |= zip(
                batch,
                continue_prompts(self._stepper(decoding), rows, length, decoding, generators),
                strict=True,
            )
        return [results[i] for i in range(len(prompts))]

    @inference()
    def greedy_continuations(self, windows: Sequence[Window], settled: Settled | None = None) -> list[TokenIds]:
        """Return the greedy continuation of every prefix until it is settled, with the suffix as a draft.

        The same as from `continuations` (but for ties that rounding makes): see `Drafter`. A family whose cache cannot
        be read by slots writes all to the end.

        Raises:
            InputError: A window is longer than the model's context, or nothing precedes its suffix.
            ModelError: A logit is NaN or infinite.
        """
        self.module.eval()
        prefixes, drafter = self.prefixes(windows), self._drafter(settled)
        if drafter is None:
            return super().greedy_continuations(windows)
        return drafter.continued(prefixes, [window.suffix for window in windows])

    @inference()
    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        """Return log p(next token | prefix) in float64, shape [prefixes, vocabulary], `SCORE_ROWS` texts a pass.

        Raises:
            InputError: A prefix is longer than the model's context, or is empty and there is no start token.
            ModelError: A logit is NaN or infinite.
        """
        self.module.eval()
        texts = [self._with_bos(prefix) for prefix in prefixes]
        for text in texts:
            self._check(text, len(text), "a prefix")
            if not len(text):
                raise InputError("nothing is known of the first token of a text", "this model has no start token")
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        log_probs = np.full((len(texts), self._vocabulary), -np.inf)  # some embed an id that their head never names
        for batch in chunks(order, SCORE_ROWS if self._is_split else 1):
            hidden = self._read([texts[i] for i in batch], [1] * len(batch))
            found = step_log_probs(self._head(hidden), Decoding(1.0))
            log_probs[batch, : found.shape[1]] = found
        return log_probs

    def _drafter(self, settled: Settled | None = None) -> Drafter | None:
        """Return what continues greedily by slots; None for families that cannot be read so."""
        if not self._tried_slots:
            device = device_of(self.module)
            self._slots, self._tried_slots = slot_shape(self._body, self._vocabulary, device), True
        if self._slots is None:
            return None
        return Drafter(self._body, self._head, self._slots, self.context_length, settled)

    def _texts(self, windows: Sequence[Window]) -> list[TokenIds]:
        """Return what is read of every window, start token included and the last token left out, once checked."""
        texts = [self._with_bos(w.prefix, w.suffix[:-1]) for w in windows]
        for text, window in zip(texts, windows, strict=True):
            self._check(np.append(text, window.suffix[-1:]), len(text), window_name(window))
            if len(text) < len(window.suffix):
                raise InputError(f"{window_name(window)}: nothing precedes the suffix", "use a longer prefix")
        return texts

    def brancher(self) -> Branch:
        """Return a step with a cache of its own, where there is a plain one and the texts are equally long."""
        if self.reader() is None:
            return super().brancher()
        cache: Any = None

        @inference()
        def branch(texts: Sequence[TokenIds], parents: NDArray[np.int64] | None) -> FloatArray:
            nonlocal cache
            if len({len(text) for text in texts}) != 1:
                return self.next_log_probs(texts)
            whole = [self._with_bos(text) for text in texts]
            for text in whole:
                self._check(text, len(text), "a text with its continuation")
            if parents is None or cache is None:
                ids, past = np.stack(whole), {}
            else:
                ids = np.array([text[-1:] for text in whole])
                past = reading_on(self._body, gathered(cache, self._tensor(parents)))
            output = self._body(input_ids=self._tensor(ids), **past, use_cache=True)
            cache = cache_of(output)
            return step_log_probs(self._head(output.last_hidden_state[:, -1]), Decoding(1.0))

        return branch

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
        way = self._way()
        cache: Any = None

        def step(texts: list[TokenIds], new: TokenIds | None) -> FloatArray:
            nonlocal cache
            if new is None or cache is None:
                ids, start = self._tensor(np.stack([self._with_bos(text) for text in texts])), 0
            else:
                ids, start = self._tensor(new[:, None]), len(self._with_bos(texts[0])) - 1
            output = read_step(self._body, ids, cache, start if way == "cache and places" else None)
            cache = None if way == "whole" else cache_of(output)
            return step_log_probs(self._head(output.last_hidden_state[:, -1]), decoding)

        return step

    def _way(self) -> Stepping:
        """Return how the family is read on token by token; tried once."""
        if self._stepping is None:
            device = next(self.module.parameters()).device
            self._stepping = way_of_stepping(self._body, self._vocabulary, device)
        return self._stepping

    def _caching(self, use: bool) -> dict[str, bool]:
        return {"use_cache": use} if "use_cache" in inspect.signature(self._body.forward).parameters else {}


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

    common = common_config(tokenizer, width, heads)
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
    return CausalTransformer(initialised(AutoModelForCausalLM, config, seed), tokenizer, family="gpt")
