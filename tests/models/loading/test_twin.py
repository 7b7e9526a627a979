"""A twin reads the same weights, and the original never notices."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from memaudit.errors import ModelError
from memaudit.models.loading.twin import runs_original, strange_hooks, twin_of
from memaudit.models.transformer import new_gpt
from memaudit.text.tokenize import train_tokenizer

BYTES = train_tokenizer("byte", [])


class Doubling(nn.Module):
    """Holds a bound method of itself, as wrappers for mixed precision leave one behind, and a tied weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.tensor(2.0))
        self.kept = [self.first]
        self.method = self.double

    def double(self, rows: torch.Tensor) -> torch.Tensor:
        return self.first(rows) * self.scale

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.method(rows)


def test_a_twin_shares_memory_and_no_object() -> None:
    module = Doubling().train()
    twin = twin_of(module)
    assert twin.first.weight.data_ptr() == module.first.weight.data_ptr()
    assert twin.scale.data_ptr() == module.scale.data_ptr()
    assert twin.first.weight is not module.first.weight
    assert twin.second.weight is twin.first.weight, "tied weights stay tied"
    assert twin.kept[0] is twin.first
    assert twin.method.__self__ is twin, "a bound method is the twin's own"
    assert module.training
    assert not any(one.training for one in twin.modules())


def test_a_step_of_training_is_seen_by_the_twin() -> None:
    module = Doubling()
    twin, rows = twin_of(module), torch.ones(1, 3)
    with torch.no_grad():
        module.first.weight += 1
        assert torch.equal(twin(rows), module(rows))


def test_hooks_that_compute_stay_and_the_original_keeps_its_own() -> None:
    module, calls = Doubling(), []
    module.first.register_forward_hook(lambda *_: torch.zeros(1, 3))
    module.first.register_full_backward_hook(lambda *_: calls.append(1))
    twin = twin_of(module)
    assert not twin(torch.ones(1, 3)).any()
    assert len(module.first._forward_hooks) == 1
    assert len(module.first._backward_hooks) == 1
    twin.first._forward_hooks.clear()
    assert len(module.first._forward_hooks) == 1
    assert not twin.first._backward_hooks


def test_what_a_trainer_puts_in_the_place_of_forward_is_left_out() -> None:
    module = new_gpt(BYTES, width=16, layers=1, heads=2, context_length=16).module
    ids = torch.tensor([[1, 2, 3]])
    expected = module(input_ids=ids).logits
    module.forward = lambda **_: None
    assert torch.equal(twin_of(module)(input_ids=ids).logits, expected)
    assert module(input_ids=ids) is None


def gpt() -> Any:
    return new_gpt(BYTES, width=16, layers=1, heads=2, context_length=16).module


@pytest.mark.parametrize("held", [lambda one: one, lambda one: [one], lambda one: {"losses": (one,)}])
def test_tensors_that_were_computed_are_copied_too(held: Callable[[Any], Any]) -> None:
    module = Doubling()
    module.aux = held(module(torch.ones(1, 3)))
    twin, rows = twin_of(module), torch.ones(1, 3)
    assert torch.equal(twin(rows), module(rows))
    assert twin.aux is not module.aux


def test_what_cannot_be_copied_is_refused_in_one_line() -> None:
    module = Doubling()
    module.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(ModelError, match=r"Doubling holds what cannot be copied: TypeError"):
        twin_of(module)


def test_parts_that_were_compiled_are_read_as_they_were() -> None:
    module, ids = gpt(), torch.tensor([[1, 2, 3]])
    expected, names = module(input_ids=ids).logits, list(module.state_dict())
    module.transformer.h[0] = torch.compile(module.transformer.h[0], backend="eager")
    twin = twin_of(module)
    assert torch.equal(twin(input_ids=ids).logits, expected)
    assert list(twin.state_dict()) == names
    assert hasattr(module.transformer.h[0], "_orig_mod")


def closure(held: nn.Module) -> Callable[..., Any]:
    return lambda _module, _rows, out: out + 0 * held(out)


def bound(held: nn.Module) -> Callable[..., Any]:
    return functools.partial(lambda kept, _module, _rows, out: out + 0 * kept(out), held)


@pytest.mark.parametrize("hook", [closure, bound])
def test_a_hook_that_runs_the_original_is_seen(hook: Callable[[nn.Module], Callable[..., Any]]) -> None:
    module, ids = gpt(), torch.tensor([[1, 2, 3]])
    block = module.transformer.h[0].mlp
    block.register_forward_hook(lambda _module, _rows, out: out * 2)
    assert runs_original(module, twin_of(module), ids) == ""
    block.register_forward_hook(hook(module.transformer.h[0].ln_2))
    assert runs_original(module, twin_of(module), ids) == "LayerNorm"
    assert len(strange_hooks(module)) == 2


def test_hooks_of_the_libraries_are_no_strangers() -> None:
    module = gpt()
    module.enable_input_require_grads()
    assert strange_hooks(module) == []
    module.register_forward_pre_hook(print)
    module.register_forward_hook(functools.partial(closure, module))
    assert strange_hooks(module) == ["closure", "print"]
