"""What a reconstruction is asked with."""

from __future__ import annotations

from dataclasses import dataclass

from memaudit.errors import InputError
from memaudit.records import Decoding
from memaudit.text.corpus.fields import TextField


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructionOptions:
    """What a model is given, how it writes, and when it has written enough.

    Raises:
        InputError: A value makes no procedure.
    """

    seed_tokens: int = 50
    """First tokens of the work that are given, and tokens that are given again after a divergence."""
    reseeds: int = 0
    """How often the next tokens of the work may be given."""
    patience: int = 500
    """Tokens without new words of the work, after which no more are asked for."""
    max_tokens: int | None = None
    """That are written at most, those of attempts that were left alone not counted; None: as many as the work has."""
    attempts: int = 1
    """At what follows given tokens: the one that agrees best with the work is gone on with."""
    temperature: float = 0.0
    """0 is greedy decoding."""
    top_k: int | None = None
    top_p: float | None = None
    context: int | None = None
    """Positions of the model that are used at most."""
    seed: int = 0
    text_field: TextField = "text"

    def __post_init__(self) -> None:
        for name in ("seed_tokens", "patience", "attempts"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(self, name)}")
        if self.reseeds < 0:
            raise InputError(f"--reseeds must be at least 0, not {self.reseeds}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InputError(f"--max-tokens must be at least 1, not {self.max_tokens}")
        if self.attempts > 1 and self.decoding.greedy:
            raise InputError("greedy decoding writes the same at every attempt", "sample with --temperature 1")

    @property
    def decoding(self) -> Decoding:
        """How tokens are chosen."""
        return Decoding(self.temperature, self.top_k, self.top_p, self.seed)
