"""How whole works are read, cut into parts and judged."""

from __future__ import annotations

import re
from dataclasses import dataclass

from memaudit.errors import InputError
from memaudit.metrics.probability import THRESHOLDS
from memaudit.records import START_TOKENS, Decoding, StartToken


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """Everything that decides what is read of a work and what is concluded from it.

    Raises:
        InputError: A value is out of range.
    """

    prefix: int = 50
    """Tokens that the model is given, at least 1."""
    suffix: int = 50
    """Tokens that it must give back, at least 1."""
    stride: int = 10
    """Tokens between the starts of windows, from 1 to ``suffix``: else some tokens stand in no window."""
    exact: bool = False
    """Whether every window is read by itself."""
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    start_token: StartToken = "as-trained"
    """Whether the model is given its start token before a window; the verdict of ``both`` is that with it."""
    parts: str | None = None
    """What headings look like, a regular expression that matches in a line; or a number of tokens; None: looked for."""
    threshold: float = THRESHOLDS[0]
    """Of p_z, that the verdict rests on."""
    max_rate: float = 0.01
    """Share of a work's windows that may reach it, in [0, 1)."""
    alpha: float = 0.05
    near_verbatim: int = 0
    """Windows a work that are asked for within a few edits too."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("prefix", 1), ("suffix", 1), ("stride", 1), ("near_verbatim", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"--{_flag(name)} must be at least {least}, not {getattr(self, name)}")
        if self.start_token not in START_TOKENS:
            raise InputError(f"start_token is {self.start_token!r}", f"one of {', '.join(START_TOKENS)}")
        if self.stride > self.suffix:
            raise InputError(
                f"--stride {self.stride} passes over tokens of suffixes of {self.suffix}", "at most --suffix"
            )
        if self.threshold not in THRESHOLDS:
            known = ", ".join(f"{threshold:g}" for threshold in THRESHOLDS)
            raise InputError(f"--threshold must be one of {known}, not {self.threshold:g}")
        if not 0 <= self.max_rate < 1:
            raise InputError(f"--max-rate must lie in [0, 1), not {self.max_rate:g}")
        if not 0 < self.alpha < 1:
            raise InputError(f"--alpha must lie between 0 and 1, not {self.alpha:g}")
        if not self.temperature > 0:
            raise InputError("p_z is a probability of samples", "--temperature above 0; greedy stands beside")
        self._check_parts()
        _ = self.decoding

    @property
    def decoding(self) -> Decoding:
        """How samples are drawn."""
        return Decoding(self.temperature, self.top_k, self.top_p, self.seed)

    @property
    def window(self) -> int:
        """Tokens of prefix and suffix together."""
        return self.prefix + self.suffix

    def _check_parts(self) -> None:
        if self.parts is None:
            return
        if self.parts.isdecimal():
            if int(self.parts) < 1:
                raise InputError("--parts must be at least 1 token")
            return
        try:
            re.compile(self.parts)
        except re.error as error:
            raise InputError(f"--parts: no regular expression: {error}", "as 'CHAPTER [IVX]+'") from error


def _flag(name: str) -> str:
    return name.replace("_", "-")
