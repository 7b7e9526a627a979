"""Masked transformers: pseudo-log-likelihood, continuation and filling of given texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memaudit.errors import InputError
from memaudit.models.decoding import Settled, Step, continue_prompts, continue_until_settled, generators_for
from memaudit.models.masked_rows import masked_rows
from memaudit.models.products import inference
from memaudit.models.torch_scores import HEAD_ROWS, best_tokens, score_hidden, step_log_probs
from memaudit.models.transformer_base import (
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

FillOrder = Literal["left-to-right", "confident", "one-shot"]
FILL_ORDERS: tuple[FillOrder, ...] = get_args(FillOrder)

MAX_ROWS = 64
MAX_TOKENS = 4096
"""Rows with a mask read together, and their tokens: small models gain up to here, BERT-base loses 3%."""


class MaskedTransformer(TransformerModel):
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
        self._rows = masked_rows(self._body, module.config, self._mask_id)

    @property
    def frame(self) -> tuple[list[int], list[int]]:
        """Tokens that the model is given before and behind every text."""
        return self._with_bos().tolist(), self._closing.tolist()

    def without_frame(self) -> Self:
        """Return the model without the tokens around a text, the closing one too."""
        bare = super().without_frame()
        bare._closing = self._closing[:0]
        return bare

    def framed(self, ids: TokenIds) -> TokenIds:
        """Return a text as the model reads it: between the tokens that its tokenizer puts around one."""
        return self._with_bos(ids, self._closing)

    @inference()
    def score(self, windows: Sequence[Window], decoding: Decoding = GREEDY) -> TokenScores:
        """Score every suffix token by its pseudo-log-likelihood: one row per token, that token alone masked.

        Salazar et al. 2020. Rows of equal length are read together, at most `MAX_ROWS` and `MAX_TOKENS`, and
        the head sees the masked position only, so memory does not grow with the windows.

        Raises:
            InputError: A window is longer than the model's context.
            ModelError: A logit is NaN or infinite.
        """
        self.module.eval()
        texts = [self._with_bos(w.prefix, w.suffix, self._closing) for w in windows]
        for text, window in zip(texts, windows, strict=True):
            self._check(text, len(text), window_name(window))
        order = sorted(range(len(windows)), key=lambda i: len(texts[i]))
        scores = TokenScores.of_lengths([len(windows[i].suffix) for i in order])
        first = 0
        for length, group in groupby(order, key=lambda i: len(texts[i])):
            end = length - len(self._closing)
            masked = ((i, place) for i in group for place in range(end - len(windows[i].suffix), end))
            for piece in chunks(masked, HEAD_ROWS):
                # One call of the head for several of the body: for few rows it would only read its weights.
                read = [self._read(texts, batch) for batch in chunks(piece, _row_limit(length))]
                hidden, targets = (torch.cat(parts) for parts in zip(*read, strict=True))
                rows = slice(first, first + len(piece))
                score_hidden(hidden, self._head, targets, decoding, scores, rows)
                first = rows.stop
        return in_first_order(scores, order)

    @inference()
    def score_together(self, texts: Sequence[TokenIds], masked_positions: Sequence[NDArray[np.intp]]) -> TokenScores:
        """Score several tokens of a text by one pass in which all of them are masked.

        Args:
            texts: Token ids, without the tokens that the tokenizer puts around a text.
            masked_positions: For each text the indices of the tokens to be masked, in ascending order.

        Returns:
            One row per masked token, text by text.

        Raises:
            InputError: A position lies outside its text, or a text is longer than the model's context.
            ModelError: A logit is NaN or infinite.
        """
        self.module.eval()
        rows, start = [self.framed(text) for text in texts], len(self._with_bos())
        for row, text, places in zip(rows, texts, masked_positions, strict=True):
            self._check(row, len(row), "a text with masks")
            if len(places) and not 0 <= places.min() <= places.max() < len(text):
                raise InputError(f"position {places.max()} of a text of {len(text)} tokens cannot be masked")
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        scores = TokenScores.of_lengths([len(masked_positions[i]) for i in order])
        first = 0
        for length, group in groupby(order, key=lambda i: len(rows[i])):
            for batch in chunks(group, _row_limit(length)):
                ids = self._tensor(np.stack([rows[i] for i in batch]))
                which = np.repeat(np.arange(len(batch)), [len(masked_positions[i]) for i in batch])
                places = np.concatenate([masked_positions[i] for i in batch]) + start
                at = self._tensor(which), self._tensor(places)
                true = ids[at]
                ids[at] = self._mask_id
                hidden = self._body(input_ids=ids).last_hidden_state[at]
                score_hidden(hidden, self._head, true, GREEDY, scores, slice(first, first + len(places)))
                first += len(places)
        return in_first_order(scores, order)

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
        for batch in equal_lengths(prompts, SCORE_ROWS):
            rows = [prompts[i] for i in batch]
            generators = [streams[i] for i in batch] if streams else []
            step = self._filler(len(rows[0]) + length, decoding)
            results |= zip(batch, continue_prompts(step, rows, length, decoding, generators), strict=True)
        return [results[i] for i in range(len(prompts))]

    @inference()
    def greedy_continuations(self, windows: Sequence[Window], settled: Settled | None = None) -> list[TokenIds]:
        """Fill suffixes from left to right, as `continuations` does; one that is settled is left as it is.

        Raises:
            InputError: A window is longer than the model's context.
            ModelError: A logit is NaN or infinite.
        """
        if settled is None:
            return super().greedy_continuations(windows)
        self.module.eval()
        for window in windows:
            text = self._with_bos(window.prefix, window.suffix, self._closing)
            self._check(text, len(text), window_name(window))
        shapes = [(len(window.prefix), len(window.suffix)) for window in windows]
        written: dict[int, TokenIds] = {}
        for (prefix, suffix), group in groupby(sorted(range(len(windows)), key=shapes.__getitem__), shapes.__getitem__):
            read = partial(_read_whole, self._filler(prefix + suffix, GREEDY))
            for batch in chunks(group, SCORE_ROWS):
                found = continue_until_settled(read, [windows[i] for i in batch], settled)
                written |= zip(batch, found, strict=True)
        return [written[i] for i in range(len(windows))]

    @inference()
    def fill(
        self, texts: Sequence[TokenIds], masked_positions: Sequence[NDArray[np.intp]], order: FillOrder
    ) -> list[TokenIds]:
        """Mask positions of texts and fill them with the most probable tokens.

        The distribution is the model's own: special tokens, the mask among them, may be chosen too. Of equally
        probable tokens the smallest id is taken, of equally confident positions the leftmost.

        Args:
            texts: Token ids, without the tokens that the tokenizer puts around a text.
            masked_positions: For each text the indices of the tokens to be masked.
            order: ``one-shot`` fills all positions of a text from one pass; the others take as many passes as
                there are masks and read what was filled before: ``left-to-right``, or ``confident``, at each
                pass the position whose best token has the highest probability (Ghazvininejad et al. 2019, with
                one position a pass and none filled again).

        Returns:
            The texts with those positions filled.

        Raises:
            InputError: A position lies outside its text, a text is longer than the model's context, or there is
                no such order.
            ModelError: A logit is NaN or infinite.
        """
        if order not in FILL_ORDERS:
            raise InputError(f"no order of filling is called {order}", f"one of {', '.join(FILL_ORDERS)}")
        self.module.eval()
        rows = [self._with_bos(text, self._closing) for text in texts]
        start = len(self._with_bos())
        masks = [np.unique(np.asarray(positions, np.intp)) for positions in masked_positions]
        for row, text, places in zip(rows, texts, masks, strict=True):
            self._check(row, len(row), "a text to be filled in")
            if len(places) and not 0 <= places[0] <= places[-1] < len(text):
                raise InputError(f"position {places[-1]} of a text of {len(text)} tokens cannot be masked")
        filled = [row[start : start + len(text)] for row, text in zip(rows, texts, strict=True)]
        similar = sorted(range(len(rows)), key=lambda i: (len(rows[i]), len(masks[i])))
        for length, group in groupby(similar, key=lambda i: len(rows[i])):
            for batch in chunks(group, _row_limit(length)):
                ids = np.stack([rows[i] for i in batch])
                open_places = np.zeros(ids.shape, np.bool_)
                for opened, i in zip(open_places, batch, strict=True):
                    opened[start + masks[i]] = True
                self._fill_batch(ids, open_places, order)
                for i, row in zip(batch, ids, strict=True):
                    filled[i] = row[start : start + len(texts[i])]
        return filled

    def _fill_batch(self, ids: TokenIds, open_places: NDArray[np.bool_], order: FillOrder) -> None:
        """Fill the open places of rows of ids, both of shape [rows, length], in place."""
        ids[open_places] = self._mask_id
        while open_places.any():
            active = np.flatnonzero(open_places.any(axis=1))
            asked = open_places[active]
            if order == "left-to-right":
                asked = _only(asked, asked.argmax(axis=1))
            hidden = self._body(input_ids=self._tensor(ids[active])).last_hidden_state
            tokens, log_probs = best_tokens(hidden[torch.from_numpy(asked).to(hidden.device)], self._head)
            best = np.zeros(asked.shape, np.int32)
            best[asked] = tokens
            if order == "confident":
                confidence = np.full(asked.shape, -np.inf)
                confidence[asked] = log_probs
                asked = _only(asked, confidence.argmax(axis=1))
            rows, places = np.nonzero(asked)
            ids[active[rows], places] = best[rows, places]
            open_places[active[rows], places] = False

    def _read(self, texts: list[TokenIds], batch: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """Return hidden states [n, d] and true ids [n] at masks, each (index of a text, position); equal lengths."""
        numbers, which = np.unique([i for i, _ in batch], return_inverse=True)
        together = self._tensor(np.stack([texts[i] for i in numbers]))
        at = self._tensor(which), self._tensor([place for _, place in batch])
        return self._rows(together, *at), together[at]

    def _filler(self, total: int, decoding: Decoding) -> Step:
        def step(texts: list[TokenIds], _new: TokenIds | None) -> FloatArray:
            masks = np.full(total - len(texts[0]), self._mask_id, np.int32)
            ids = np.stack([self._with_bos(text, masks, self._closing) for text in texts])
            first_mask = ids.shape[1] - len(self._closing) - len(masks)
            hidden = self._body(input_ids=self._tensor(ids)).last_hidden_state
            return step_log_probs(self._head(hidden[:, first_mask]), decoding)

        return step


def _read_whole(step: Step, texts: list[TokenIds]) -> FloatArray:
    return step(texts, None)


def _row_limit(length: int) -> int:
    return max(1, min(MAX_ROWS, MAX_TOKENS // length))


def _only(asked: NDArray[np.bool_], places: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return a mask like ``asked`` with one place a row."""
    chosen = np.zeros_like(asked)
    chosen[np.arange(len(asked)), places] = True
    return chosen


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

    common = common_config(tokenizer, width, heads) | {
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
    return MaskedTransformer(initialised(AutoModelForMaskedLM, config, seed), tokenizer, family="bert")
