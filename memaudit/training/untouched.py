"""What is asked of somebody's training data, before it is trained on, leaves them as they were.

A data set or a collator may draw at random from a generator of its own, make one when it is first asked, or count how
often that was: it would give the training other rows for having been looked at.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, MethodType
from typing import Any, cast

import numpy as np
import torch

DEPTH = 5
"""Objects within objects that are looked into: a data set of a data set, a collator of a collator."""
Restore = Callable[[], None]


@contextmanager
def untouched(*owners: Any) -> Iterator[None]:
    """Give objects their attributes, and the random generators among these their states, back as they were.

    Args:
        *owners: Data sets, collators, functions; what they hold is looked into, lists and the like are not.
    """
    undo: list[Restore] = []
    seen: set[int] = set()
    for owner in owners:
        _remember(owner, undo, seen, DEPTH)
    try:
        yield
    finally:
        for restore in undo:
            restore()


def _remember(one: Any, undo: list[Restore], seen: set[int], depth: int) -> None:
    if id(one) in seen or depth < 0 or isinstance(one, type | torch.nn.Module):
        return
    seen.add(id(one))
    if (restore := _generator(one)) is not None:
        undo.append(restore)
    for inner in _inside(one, undo):
        _remember(inner, undo, seen, depth - 1)


def _generator(one: Any) -> Restore | None:
    """Return what gives a random generator its state back; None of anything else."""
    if isinstance(one, random.Random):
        return functools.partial(one.setstate, one.getstate())
    if isinstance(one, np.random.RandomState):
        return functools.partial(one.set_state, one.get_state())
    if isinstance(one, np.random.Generator):
        return functools.partial(setattr, one.bit_generator, "state", one.bit_generator.state)
    if isinstance(one, torch.Generator):
        state = one.get_state().clone()
        return cast("Restore", functools.partial(one.set_state, state))
    return None


def _inside(one: Any, undo: list[Restore]) -> list[Any]:
    """Return what an object holds, and note how to give it back."""
    if isinstance(one, functools.partial):
        return [one.func, *one.args, *one.keywords.values()]
    if isinstance(one, MethodType):
        return [one.__self__, one.__func__]
    if isinstance(one, FunctionType):
        cells = [cell for cell in one.__closure__ or () if _holds(cell)]
        undo += [functools.partial(setattr, cell, "cell_contents", cell.cell_contents) for cell in cells]
        return [cell.cell_contents for cell in cells]
    held = getattr(one, "__dict__", None)
    if not isinstance(held, dict):
        return []
    undo.append(functools.partial(_give_back, held, dict(held)))
    return list(held.values())


def _give_back(held: dict[str, Any], before: dict[str, Any]) -> None:
    for name in held.keys() - before.keys():
        del held[name]
    held.update(before)


def _holds(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (a name that is bound later holds nothing)
    except ValueError:
        return False
    return True
