"""Key-value caches whose rows are texts: rows picked out of one, and several made into one.

Every function returns a new cache; the tensors of the given ones are only read.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

Stepping = Literal["cache", "cache and places", "whole"]
"""By a cache; by one of a body that has to be told where the next token stands; or by reading the text again."""
PROBE = 4
"""Tokens of either piece of the text on which a family's cache is tried."""


def cache_of(output: Any) -> Any:
    """Return the cache that a body hands back, or None; releases of `transformers` before 5.24 call it otherwise."""
    return output.cache if hasattr(output, "cache") else getattr(output, "past_key_values", None)


def reading_on(body: Any, cache: Any) -> dict[str, Any]:
    """Return the argument by which a body reads on from a cache, under the name that its release knows."""
    return {"cache" if "cache" in inspect.signature(body.forward).parameters else "past_key_values": cache}


def read_step(body: Any, ids: Tensor, cache: Any, start: int | None) -> Any:
    """Read ids [n, t] on from a cache, or from the beginning of a text where there is none; return what a body returns.

    Args:
        body: Called as any `transformers` body.
        ids: The next tokens.
        cache: Of what stands before them.
        start: Where they stand, to be told to a body that forgets it; None: not told.
    """
    known = inspect.signature(body.forward).parameters
    given: dict[str, Any] = {"use_cache": True} if "use_cache" in known else {}
    if cache is not None:
        given |= reading_on(body, cache)
        if start is not None and "position_ids" in known:
            given["position_ids"] = torch.arange(start, start + ids.shape[1], device=ids.device).expand(len(ids), -1)
    return body(input_ids=ids, **given)


@torch.no_grad()
def way_of_stepping(body: Any, rows: int, device: torch.device) -> Stepping:
    """Return how ``body`` is read on from its cache token by token, as a short text read both ways shows.

    Args:
        body: Called as any `transformers` body.
        rows: Size of its vocabulary.
        device: Where it computes.
    """
    ids = torch.randint(rows, (2, 2 * PROBE), generator=torch.Generator().manual_seed(0)).to(device)
    whole = body(input_ids=ids).last_hidden_state[:, PROBE:]
    tolerance = 1e-4 if whole.dtype in (torch.float32, torch.float64) else 5e-2
    ways: tuple[Stepping, ...] = ("cache", "cache and places")
    for way in ways:
        cache, states = None, []
        try:
            for start, end in [(0, PROBE), *((place, place + 1) for place in range(PROBE, 2 * PROBE))]:
                output = read_step(body, ids[:, start:end], cache, start if way == "cache and places" else None)
                cache = cache_of(output)
                states.append(output.last_hidden_state)
            found = torch.cat(states[1:], dim=1)
        except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError):
            continue
        if cache is not None and torch.allclose(
            found, whole, rtol=0, atol=tolerance * max(1.0, float(whole.abs().max()))
        ):
            return way
    return "whole"


def gathered(cache: Any, rows: Tensor) -> Any:
    """Return the cache of the texts ``rows`` (their places, shape [n]), in that order, repeats allowed."""
    return _joined([cache], lambda parts: parts[0].index_select(0, rows.to(parts[0].device)))


def merged(caches: Sequence[Any]) -> Any:
    """Return one cache of all texts of ``caches``, which must have been read equally far."""
    return copied(caches[0]) if len(caches) == 1 else _joined(caches, torch.cat)


def copied(cache: Any) -> Any:
    """Return the same cache again: what reads on from one leaves the other alone, and the tensors are shared."""
    return _joined([cache], lambda parts: parts[0])


def token_bytes(cache: Any) -> int:
    """Return the bytes that a cache holds for every token of every text (fewer where a layer looks back less far)."""
    shapes = [(t.shape[1] * t.shape[-1], t.element_size()) for layer in cache.layers for t in _tensors(layer)]
    return sum(numbers * size for numbers, size in shapes)


@torch.no_grad()
def can_gather(body: Any, rows: int, device: torch.device) -> bool:
    """Return whether ``body`` has a cache that can be gathered and read on, tried on a short text.

    Args:
        body: Called as any `transformers` body.
        rows: Size of its vocabulary.
        device: Where it computes.
    """
    ids = torch.randint(rows, (3, 2 * PROBE), generator=torch.Generator().manual_seed(0)).to(device)
    picked = torch.tensor([2, 0], device=device)
    try:
        whole = body(input_ids=ids, use_cache=False).last_hidden_state[picked, PROBE:]
        cache = cache_of(body(input_ids=ids[:, :PROBE], use_cache=True))
        if not is_plain(cache):
            return False
        halves = merged([gathered(cache, picked[:1]), gathered(cache, picked[1:])])
        rest = body(input_ids=ids[picked, PROBE:], **reading_on(body, halves), use_cache=True).last_hidden_state
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError):
        return False
    tolerance = 1e-4 if whole.dtype in (torch.float32, torch.float64) else 5e-2
    return torch.allclose(rest, whole, rtol=0, atol=tolerance * max(1.0, float(whole.abs().max())))


def is_plain(cache: Any) -> bool:
    """Return whether a cache holds keys and values and nothing else, whole or the last tokens of them."""
    from transformers import cache_utils

    plain = cache_utils.DynamicLayer, cache_utils.DynamicSlidingWindowLayer
    return type(cache) is cache_utils.DynamicCache and all(type(layer) in plain for layer in cache.layers)


def _joined(caches: Sequence[Any], join: Callable[[list[Tensor]], Tensor]) -> Any:
    result = copy.copy(caches[0])
    result.layers = []
    for same in zip(*(cache.layers for cache in caches), strict=True):
        layer = copy.copy(same[0])
        if _tensors(layer):
            layer.keys = join([other.keys for other in same])
            layer.values = join([other.values for other in same])
        result.layers.append(layer)
    return result


def _tensors(layer: Any) -> list[Tensor]:
    """Return keys and values of a layer, none where it uses those of another layer."""
    return [layer.keys, layer.values] if layer.is_initialized else []
