"""Data that were asked before a training give it the same rows as if they had not been."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from memaudit.training.untouched import untouched


class Drawing:
    """Draws from generators of its own, one of them made when it is first asked, and counts how often that was."""

    def __init__(self) -> None:
        self.generators = 0
        self.ours, self.old, self.random = np.random.default_rng(1), np.random.RandomState(1), random.Random(1)
        self.torch = torch.Generator().manual_seed(1)
        self.lazy: Any = None

    def __call__(self, *_: Any) -> list[float]:
        if self.lazy is None:
            self.lazy = np.random.default_rng(2)
            self.made = True
        self.generators += 1
        drawn = [self.ours.random(), self.old.rand(), self.random.random(), float(torch.rand(1, generator=self.torch))]
        return [*drawn, self.lazy.random(), self.generators]


class Wrapper:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self) -> Any:
        return self.inner()


def counting(inner: Callable[[], Any]) -> Callable[[], Any]:
    count = 0

    def call() -> list[Any]:
        nonlocal count
        count += 1
        return [count, inner()]

    return call


WRAPPED: dict[str, Callable[[Any], Callable[[], Any]]] = {
    "itself": lambda one: one,
    "an attribute": lambda one: Wrapper(Wrapper(one)),
    "a bound method": lambda one: one.__call__,
    "partial": lambda one: functools.partial(Wrapper.__call__, Wrapper(one)),
    "a closure": counting,
}


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("before", [0, 2])
def test_what_is_drawn_next_is_what_would_have_been(name: str, before: int) -> None:
    asked, other = WRAPPED[name](Drawing()), WRAPPED[name](Drawing())
    for _ in range(before):
        assert asked() == other()
    with untouched(asked):
        first = [asked() for _ in range(3)]
    with pytest.raises(KeyError), untouched(asked):
        asked()
        raise KeyError
    assert [asked() for _ in range(3)] == [other() for _ in range(3)] == first


def test_attributes_that_were_made_meanwhile_go() -> None:
    drawing = Drawing()
    with untouched(drawing):
        drawing()
    assert not hasattr(drawing, "made")
    assert drawing.lazy is None


def test_circles_and_names_that_are_bound_later_end() -> None:
    one, two = Wrapper(None), Wrapper(None)
    one.inner, two.inner = two, one

    def early() -> Any:
        return late

    with untouched(one, early, None, 3, print):
        one.inner = None
    assert one.inner is two
    late = 1
    assert early() == late
