"""Planting passages at known doses, with twins that are never inserted; canaries, whose secret is one of many.

Which passage gets which dose, and which becomes a twin, is drawn by the seed within each domain. So
members and twins differ in nothing but the insertion, and the comparison is a randomised experiment.

A canary is a sequence of random words that ends in a random number: all numbers of as many digits were equally
likely, so that the rank of the planted one among them tells what the model kept of it (Carlini et al. 2019).
"""

from __future__ import annotations

import dataclasses
import re
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
    """One entry a passage, with its ``copies`` in ``training``."""
    twins: list[Document]
    """As many passages again that do not occur in ``training``; ``copies`` is 0."""
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
    drawn = balanced(passages, 2 * needed, generator)
    planted = [
        dataclasses.replace(document, copies=doses[position // per_dose])
        for position, document in enumerate(drawn[:needed])
    ]
    twins = [dataclasses.replace(document, copies=0) for document in drawn[needed:]]
    training = [*background, *(d for d in planted for _ in range(d.copies or 0))]
    order = generator.permutation(len(training))
    return Planting(planted, twins, [training[i] for i in order])


def balanced(passages: Sequence[Document], count: int, generator: np.random.Generator) -> list[Document]:
    """Draw ``count`` passages, domains taking turns, each domain in random order.

    Raises:
        InputError: A domain has fewer than its share.
    """
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


CANARY = "the code of {words} is {digits}"
"""What a canary says: words and digits stand apart, so that all tokenizers cut all secrets alike."""
FIXED_WORDS = 4
"""Words of the format itself."""
MAX_DIGITS = 18
_CANARY = re.compile(r"the code of \S+(?: \S+)* is (?P<digits>\d(?: \d)*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Canary:
    """A canary taken apart."""

    carrier: str
    """All that stands before the secret."""
    secret: int
    digits: int

    @property
    def space(self) -> int:
        """How many secrets there are, all equally likely."""
        return int(10**self.digits)

    def text(self, secret: int | None = None) -> str:
        """Return the canary, with another secret if one is given."""
        return self.carrier + " ".join(f"{self.secret if secret is None else secret:0{self.digits}d}")

    def others(self, count: int, generator: np.random.Generator) -> list[int]:
        """Return ``count`` other secrets, drawn without replacement; all of them where there are no more."""
        most = self.space - 1
        drawn = range(most) if count >= most else generator.choice(most, count, replace=False)
        return [int(value) + (int(value) >= self.secret) for value in drawn]


def find_canary(text: str) -> Canary | None:
    """Return the canary that a text is, or None if it is none."""
    match = _CANARY.fullmatch(text)
    if match is None:
        return None
    digits = match["digits"].replace(" ", "")
    return Canary(text[: match.start("digits")], int(digits), len(digits)) if len(digits) <= MAX_DIGITS else None


def draw_canaries(
    count: int, vocabulary: Sequence[str], words: int, digits: int, generator: np.random.Generator
) -> list[Canary]:
    """Draw canaries, each with words and a secret of its own.

    Args:
        count: Number of canaries.
        vocabulary: Words to draw from, each equally likely.
        words: Random words of each canary, beside those of the format and the digits.
        digits: Digits of the secret, 1 to 18; the space of secrets holds 10^digits.
        generator: Source of all choices.
    """
    secrets = generator.integers(0, 10**digits, count)
    keys = generator.integers(0, len(vocabulary), (count, words))
    carriers = [CANARY.format(words=" ".join(vocabulary[k] for k in row), digits="") for row in keys]
    return [Canary(carrier, int(secret), digits) for carrier, secret in zip(carriers, secrets, strict=True)]
