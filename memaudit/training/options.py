"""How a network is trained, and what is known to work for each family."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, get_args

from memaudit.errors import InputError
from memaudit.families import family_named
from memaudit.training.objectives import MaskRule
from memaudit.training.optim import OptimizerName


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """How a network is trained. `TrainingOptions.for_family` gives what was measured best.

    Raises:
        InputError: A value lies outside its range.
    """

    epochs: float = 1.0
    """Passes over the documents; a part of a pass is a part of its batches."""
    batch_size: int = 16
    """Rows of a batch: documents (transformers) or parallel streams (recurrent networks)."""
    context_length: int = 128
    """Longest row of a transformer; steps that back-propagation goes back in a recurrent network."""
    learning_rate: float = 1e-2
    """Peak; linear warm-up before it and linear decay to zero after it."""
    optimizer: OptimizerName = "muon"
    """``muon`` trains the hidden matrices by Muon and the rest by AdamW; ``adamw`` trains all by AdamW."""
    weight_decay: float = 0.0
    warmup: float = 0.05
    """Share of the steps, in [0, 1)."""
    clip: float = 1.0
    """Largest norm of the gradient of all parameters."""
    mask_rate: float = 0.15
    """Share of the tokens that is hidden (masked objective only)."""
    mask_rule: MaskRule = "80/10/10"
    seed: int = 0
    """Fixes the order of the data and all noise; initial weights have a seed of their own."""
    checkpoint_seconds: float = 30.0
    """Time between checkpoints; 0 writes one after every step."""
    threads: int | None = None
    """Threads of torch; as it is set by default. Weights are bit-equal only at an equal number."""

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "clip"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} must be above 0, not {getattr(self, name)}")
        for name, least in (("batch_size", 1), ("context_length", 2), ("threads", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise InputError(f"{name} must be a whole number of at least {least}, not {value}")
        for name, top in (("warmup", 1.0), ("weight_decay", 1.0), ("checkpoint_seconds", float("inf"))):
            if not 0 <= getattr(self, name) < top:
                raise InputError(f"{name} must lie in [0, {top:g}), not {getattr(self, name)}")
        if not 0 < self.mask_rate <= 1:
            raise InputError(f"mask_rate must lie in (0, 1], not {self.mask_rate}")
        for name, names in (("optimizer", get_args(OptimizerName)), ("mask_rule", get_args(MaskRule))):
            if getattr(self, name) not in names:
                raise InputError(f"{name} must be one of {', '.join(names)}, not {getattr(self, name)!r}")

    @classmethod
    def for_family(cls, family: str, **changes: Any) -> TrainingOptions:
        """Return the measured defaults of a family of networks, by its name, with ``changes`` over them."""
        return cls(**{**family_named(family).training, **changes})

    def identity(self) -> dict[str, Any]:
        """Return what makes two trainings different ones: all but the threads and the checkpoints' times."""
        kept = (field.name for field in fields(self) if field.name not in ("checkpoint_seconds", "threads"))
        return {name: getattr(self, name) for name in kept}
