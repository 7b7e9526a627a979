"""A `transformers` module seen as two halves: the body that reads a text, and the head that names tokens."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from memaudit.models.caches import cache_of
from memaudit.models.parts import device_of
from memaudit.models.torch_scores import Head

OFFSET_POSITIONS = ("roberta", "camembert", "longformer", "mpnet", "esm", "data2vec-text", "luke", "mega")
"""Families whose position table has ``pad_token_id + 1`` rows that no token ever uses."""


def split_head(module: Any) -> tuple[Any, Head, bool]:
    """Return the body, the head, and whether they are true halves of ``module``.

    The head is the module itself with its body replaced by one that hands back given hidden states, so
    scaling, soft caps, and extra layers between body and logits stay as the family has them. The halves
    are compared with the whole on a short input; a family that does not come apart is read whole, its
    logits standing in for hidden states.
    """
    outer = module.base_model
    given = _Given()
    rest = copy.copy(module)
    vars(rest).pop("forward", None)  # of hooks, which holds on to the module
    rest._modules = {name: given if part is outer else part for name, part in module._modules.items()}

    def head(hidden: Tensor) -> Tensor:
        given.hidden = hidden[None]
        start = torch.zeros((1, 1), dtype=torch.long, device=hidden.device)
        logits: Tensor = rest(input_ids=start).logits[0]
        return logits.to(hidden.device)

    if given in rest._modules.values():
        for body in _bodies(module):
            if _halves_fit(module, body, head):
                return body, head, True
    return _Whole(module), lambda logits: logits, False


def _bodies(module: Any) -> Iterator[Any]:
    """Yield what may be the body: of a model that reads images or sound too its decoder first, which has no state."""
    if module.config.get_text_config() is not module.config:
        yield module.get_decoder()
    yield module.base_model


def context_length(config: Any) -> int | None:
    """Return the longest sequence that a model of this configuration reads, or None if it names no limit."""
    config = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "seq_length"):
        length = getattr(config, name, None)
        if isinstance(length, int) and length > 0:
            offset = any(family in config.model_type for family in OFFSET_POSITIONS)
            return length - (config.pad_token_id or 0) - 1 if offset else length
    return None


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence the progress bars and remarks of ``transformers``: what matters is checked and raised by us."""
    from transformers import utils

    logging: Any = utils.logging
    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


class _Given(nn.Module):
    """Stands where the body was and returns the hidden states that it was given."""

    hidden: Tensor

    @property
    def decoder(self) -> _Given:
        """OPT's head asks its body's decoder directly."""
        return self

    def forward(self, *_: Any, **__: Any) -> _Output:
        return _Output([self.hidden])


class _Output(tuple[Tensor, ...]):
    """The output of any body: hidden states first, and nothing else."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Tensor | None:
        return self[0] if name == "last_hidden_state" else None


class _Whole:
    """A module that could not be cut: its logits are passed on as if they were hidden states."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.forward = module.forward

    def __call__(self, **inputs: Any) -> Any:
        output = self.module(**inputs)
        return SimpleNamespace(last_hidden_state=output.logits, cache=cache_of(output))


@torch.no_grad()
def _halves_fit(module: Any, body: Any, head: Head) -> bool:
    rows = module.get_input_embeddings().weight.shape[0]
    device = device_of(module)
    ids = torch.randint(rows, (1, 8), generator=torch.Generator().manual_seed(0)).to(device)
    try:
        halves = head(body(input_ids=ids).last_hidden_state[0])
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError):
        return False
    whole = module(input_ids=ids).logits[0]
    if not bool(torch.isfinite(whole).all()):
        return False  # whoever reads the model says so
    tolerance = 1e-5 if whole.dtype in (torch.float32, torch.float64) else 1e-2
    scale = float(whole.abs().max())
    return halves.shape == whole.shape and torch.allclose(halves, whole, rtol=0, atol=tolerance * max(scale, 1.0))
