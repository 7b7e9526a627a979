"""How a classifier is fine-tuned: apart from the classifier, so that bad values are refused before torch is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from memaudit.errors import InputError

Pooling = Literal["mean", "first"]


@dataclass(frozen=True, slots=True)
class ClassifierOptions:
    """How a classifier is fine-tuned.

    Raises:
        InputError: A value lies outside its range.
    """

    epochs: float = 3.0
    batch_size: int = 16
    learning_rate: float | None = None
    """Peak of AdamW's, linear up and down; by default 5e-5 for BERT-base's width, more for narrower models in
    inverse proportion."""
    pooling: Pooling = "mean"
    """What the labels are read off: the mean of all hidden states, or the first one (``[CLS]``)."""
    weight_decay: float = 0.01
    warmup: float = 0.1
    """Share of the steps."""
    clip: float = 1.0
    """Largest norm of the gradient."""

    def __post_init__(self) -> None:
        for name in ("epochs", "clip", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"--{name.replace('_', '-')} must be above 0, not {value}")
        if self.batch_size < 1:
            raise InputError(f"--batch-size must be at least 1, not {self.batch_size}")
        if self.pooling not in ("mean", "first"):
            raise InputError(f"--pooling must be mean or first, not {self.pooling!r}")
