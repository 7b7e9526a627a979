"""Rows of a text that differ in one masked token each, read without doing their common work again.

A pseudo-log-likelihood asks a masked model for every token of a text with that token alone masked (Salazar
et al. 2020). Of each row only the state at the mask is wanted. In BERT's architecture that leaves three things
to share or leave out, none of which changes a result but for rounding: before the first layer's attention the
rows differ at the mask only, so its projections are those of the text with one line replaced; the last layer
is needed at the mask only; and with one query a head, its keys and values need not be formed (see `_at_masks`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from memaudit.models.products import inference

Rows = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(texts [texts, length], which text [n], which position [n]) -> hidden state at the mask, shape [n, d].

Row i is text ``which[i]`` with the token at ``position[i]`` masked."""

FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")
"""Configurations whose modules are BERT's, full attention included."""
TRIAL_LENGTH = 16


def masked_rows(body: Any, config: Any, mask_id: int) -> Rows:
    """Return how rows are read by this body: the quick way where it gives what reading every row whole gives.

    The two are compared once, on a short input; another architecture, or any difference, and rows are read whole.
    """
    whole = WholeRows(body, mask_id)
    if config.model_type not in FAMILIES:
        return whole
    shared = SharedRows(body, config, whole)
    return shared if _agree(shared, whole, body, config) else whole


class WholeRows:
    """Reads every row from the first layer to the last: what any masked model can do."""

    def __init__(self, body: Any, mask_id: int) -> None:
        self.body, self.mask_id = body, mask_id

    def __call__(self, texts: Tensor, which: Tensor, position: Tensor) -> Tensor:
        """See `Rows`."""
        at = torch.arange(len(which), device=which.device), position
        ids = texts[which]
        ids[at] = self.mask_id
        hidden: Tensor = self.body(input_ids=ids).last_hidden_state[at]
        return hidden


class SharedRows:
    """Reads rows of BERT's architecture as the head of this file says."""

    def __init__(self, body: Any, config: Any, whole: WholeRows) -> None:
        self.body, self.whole = body, whole
        self.heads = config.num_attention_heads
        # RoBERTa and its kin number positions past padding: a masked padding token would move the others.
        self.pad_id = None if config.model_type == "bert" else config.pad_token_id

    def __call__(self, texts: Tensor, which: Tensor, position: Tensor) -> Tensor:
        """See `Rows`."""
        if self.pad_id is not None and bool((texts == self.pad_id).any()):
            return self.whole(texts, which, position)
        at = torch.arange(len(which), device=which.device), position
        text = self.body.embeddings(input_ids=texts)
        masks = self.body.embeddings(input_ids=torch.full_like(texts[:1], self.whole.mask_id))[0, position]

        def rows(project: Callable[[Tensor], Tensor]) -> Tensor:
            projected = project(text)[which]
            projected[at] = project(masks)
            return projected

        states = rows(lambda embedded: embedded)
        *layers, last = self.body.encoder.layer
        for number, layer in enumerate(layers):
            own = layer.attention.self
            projections = [rows(p) if number == 0 else p(states) for p in (own.query, own.key, own.value)]
            query, key, value = (self._by_head(projected).transpose(1, 2) for projected in projections)
            seen = scaled_dot_product_attention(query, key, value)
            states = _after_attention(layer, seen.transpose(1, 2).flatten(2), states)
        return self._at_masks(last, states, states[at])

    def _at_masks(self, layer: Any, states: Tensor, masks: Tensor) -> Tensor:
        """Return a layer's output at the masked positions alone, shape [n, d].

        With one query q a row and head, q . (W_k x + b_k) = (W_k' q) . x + c, and the softmax does not see c;
        and sum_j a_j (W_v x_j + b_v) = W_v (sum_j a_j x_j) + b_v, for the weights a sum to 1. So two products
        of the size of the heads take the place of two of the size of the model.
        """
        own = layer.attention.self
        query = self._by_head(own.query(masks))
        key, value = (p.weight.view(self.heads, -1, p.in_features) for p in (own.key, own.value))
        asked = torch.einsum("nhe,hed->nhd", query, key) * query.shape[-1] ** -0.5
        weights = torch.softmax(asked @ states.transpose(1, 2), dim=-1)
        seen = torch.einsum("nhd,hed->nhe", weights @ states, value).flatten(1) + own.value.bias
        return _after_attention(layer, seen, masks)

    def _by_head(self, projected: Tensor) -> Tensor:
        return projected.view(*projected.shape[:-1], self.heads, -1)


def _after_attention(layer: Any, seen: Tensor, states: Tensor) -> Tensor:
    output: Tensor = layer.feed_forward_chunk(layer.attention.output(seen, states))
    return output


@inference()
def _agree(shared: Rows, whole: Rows, body: Any, config: Any) -> bool:
    embedding = body.get_input_embeddings().weight
    length = min(TRIAL_LENGTH, config.max_position_embeddings // 2)
    random = torch.Generator().manual_seed(0)
    texts = torch.randint(len(embedding), (2, length), generator=random).to(embedding.device)
    which = torch.tensor([0, 0, 1, 1], device=embedding.device)
    position = torch.tensor([0, length // 2, length // 2, length - 1], device=embedding.device)
    try:
        ours = shared(texts, which, position)
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError):
        return False
    theirs = whole(texts, which, position)
    tolerance = 1e-5 if theirs.dtype in (torch.float32, torch.float64) else 1e-2
    scale = max(1.0, float(theirs.abs().max()))
    return ours.shape == theirs.shape and torch.allclose(ours, theirs, rtol=0, atol=tolerance * scale)
