"""Reading what stands in an answer: every place is looked at before it is believed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from memaudit.models.remote.transport import BadAnswerError

LEAST = -1e30
"""Whatever is less likely is as likely: single precision holds it."""
ROUNDING = 1e-3
"""Nats by which a log-probability may exceed 0."""


def only_choice(answer: Any) -> Mapping[str, Any]:
    """Return the one choice of an answer in the form of OpenAI's API."""
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], Mapping):
        raise BadAnswerError("an answer without its one choice")
    return choices[0]


def check_usage(answer: Any, prompt: int, most: int) -> None:
    """Refuse an answer that counts another prompt than was sent, or more tokens than were asked for.

    Args:
        answer: As `only_choice` takes it; one without counts passes.
        prompt: Tokens that were sent.
        most: Tokens that may be written.
    """
    usage = answer.get("usage") if isinstance(answer, Mapping) else None
    if not isinstance(usage, Mapping):
        return
    read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(read) is int and read != prompt:
        raise BadAnswerError(f"{read:,} tokens of prompt were read, {prompt:,} were sent")
    if type(written) is int and written > most:
        raise BadAnswerError(f"{written:,} tokens were written, {most:,} were asked for")


def stopped(choice: Mapping[str, Any]) -> bool:
    """Return whether a text was ended (``stop``) or cut off (``length``)."""
    reason = choice.get("finish_reason")
    if reason not in ("stop", "length"):
        raise BadAnswerError("neither ended nor cut off: its finish_reason says something else")
    return bool(reason == "stop")


def log_prob_of(value: Any) -> float:
    """Return a log-probability; that of an impossible token is a large negative number, since JSON has no infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or value > ROUNDING:
        raise BadAnswerError("a log-probability that is none")
    return max(float(value), LEAST)


def id_of(value: Any) -> int:
    """Return a token id."""
    if type(value) is not int or value < 0:
        raise BadAnswerError("a token without its id")
    return value
