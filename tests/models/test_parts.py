"""Modules whose parts lie in several places: what is asked of them from outside."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from memaudit.models.parts import device_of, in_parts


def test_a_device_is_that_of_the_parameters_or_what_hooks_say() -> None:
    module = nn.Linear(2, 2)
    assert device_of(module) == torch.device("cpu")
    with torch.device("meta"):
        elsewhere = nn.Linear(2, 2)
    assert device_of(elsewhere) == torch.device("meta")
    elsewhere._hf_hook = SimpleNamespace(execution_device="cpu")  # type: ignore[assignment]
    assert device_of(elsewhere) == torch.device("cpu")
    elsewhere._hf_hook = SimpleNamespace(execution_device=torch.device("cuda", 1))  # type: ignore[assignment]
    assert device_of(elsewhere) == torch.device("cuda", 1)


def test_a_module_is_in_parts_where_it_has_several() -> None:
    module = nn.Linear(2, 2)
    assert not in_parts(module)
    module.hf_device_map = {"": "cpu"}  # type: ignore[assignment]
    assert not in_parts(module)
    module.hf_device_map = {"a": "cpu", "b": "disk"}  # type: ignore[assignment]
    assert in_parts(module)
