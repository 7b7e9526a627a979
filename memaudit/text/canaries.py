"""Planting passages at known doses, with twins that are never inserted.

Which passage gets which dose, and which becomes a twin, is drawn by the seed within each domain. So
members and twins differ in nothing but the insertion, and the comparison is a randomised experiment.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memaudit.errors import InputError
from memaudit.records import Document

DOSES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Planting:
    """What was planted, what was held back, and the training text that results."""

    planted: list[Document]
    """One entry a passage, ``copies`` telling how often it stands in ``training``."""
    twins: list[Document]
    """As many passages again that stand nowhere in ``training``; ``copies`` is 0."""
    training: list[Document]
    """Background and all copies, in an order drawn by the seed."""


def plant(
    passages: Sequence[Document],
    background: Sequence[Document],
    *,
    doses: Sequence[int] = DOSES,
    per_dose: int = 32,
    seed: int = 0,
) -> Planting:
    """Assign passages to doses and twins at random, balanced over domains.

    Args:
        passages: Passages to draw from; ``2 * per_dose * len(doses)`` are needed, spread over the domains.
        background: Training text around the copies.
        doses: Numbers of copies.
        per_dose: Passages a dose.
        seed: Fixes the assignment and the order of the training text.

    Raises:
        InputError: Too few passages.
    """
    generator = np.random.default_rng(seed)
    needed = per_dose * len(doses)
    drawn = _balanced(passages, 2 * needed, generator)
    planted = [
        dataclasses.replace(document, copies=doses[position // per_dose])
        for position, document in enumerate(drawn[:needed])
    ]
    twins = [dataclasses.replace(document, copies=0) for document in drawn[needed:]]
    training = [*background, *(d for d in planted for _ in range(d.copies or 0))]
    order = generator.permutation(len(training))
    return Planting(planted, twins, [training[i] for i in order])


def _balanced(passages: Sequence[Document], count: int, generator: np.random.Generator) -> list[Document]:
    """Draw ``count`` passages, domains taking turns, each domain in random order."""
    by_domain: dict[str | None, list[Document]] = defaultdict(list)
    for passage in passages:
        by_domain[passage.domain].append(passage)
    share = -(-count // len(by_domain)) if by_domain else 0
    if any(len(group) < share for group in by_domain.values()) or not by_domain:
        raise InputError(
            f"planting needs {share} passages of every domain",
            "give more text, fewer doses, or fewer passages a dose",
        )
    queues = [
        [group[i] for i in generator.permutation(len(group))[:share]]
        for _, group in sorted(by_domain.items(), key=lambda item: item[0] or "")
    ]
    return [queue[turn] for turn in range(share) for queue in queues][:count]
