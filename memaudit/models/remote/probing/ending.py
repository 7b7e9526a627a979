"""What a server does where a model ends its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from memaudit.errors import ModelError
from memaudit.findings import Control
from memaudit.models.remote.probing.trials import Trial, told_of
from memaudit.models.remote.probing.witness import Witness
from memaudit.models.remote.transport import BadAnswerError
from memaudit.records import TokenIds

END = "what the server does at the end token"
BIAS = 100
"""Added to the logit of the end token: as much as servers allow."""
ASKED = 4
"""Tokens that may be written."""
NOT_SEEN = "not seen: no text of the probe was ended"


def check_end(
    witness: Witness, served: str, prompt: TokenIds, end: int | None, name: str, trials: Sequence[Trial]
) -> Control | None:
    """Make the model end a text, or see whether it ended one of its own.

    Args:
        witness: To the server.
        served: Name of the model.
        prompt: Behind which it is to end; empty where ids are not taken.
        end: The end token.
        name: Its text.
        trials: What was written behind other prompts.

    Returns:
        None where no text came to an end.
    """
    if end is None:
        return None
    told = _forced(witness, served, prompt, end, name) if len(prompt) else None
    if told is not None:
        return Control(END, True, told)
    ended = [t for t in trials if t.written[0].ended and told_of(t.written[0]) == told_of(t.written[1])]
    if ended:
        return Control(END, True, "stops and says so")
    return None


def _forced(witness: Witness, served: str, prompt: TokenIds, end: int, name: str) -> str | None:
    """Return what happens where the end token is by far the likeliest, None where that cannot be brought about."""
    body = {
        "model": served, "prompt": prompt.tolist(), "max_tokens": ASKED, "temperature": 0.0,
        "logit_bias": {str(end): BIAS}, "logprobs": 1,
    }  # fmt: skip
    read = partial(_read, listed=any(exchange.listed for exchange in witness.seen))
    try:
        told: dict[str, Any] = witness.ask("/completions", body, read, tokens=len(prompt) + ASKED)
    except ModelError:
        return None
    if told["finish"] == "stop" and told["written"] in (None, 0, 1):
        if told["entries"] is None:
            return "stops and says so"
        return f"stops and says so, {'with' if told['entries'] else 'without'} an entry for the end token"
    if told["finish"] == "length" and told["tokens"] and set(told["tokens"]) <= {end, name}:
        return "goes past it"
    return None


def _read(answer: Any, *, listed: bool) -> dict[str, Any]:
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], Mapping):
        raise BadAnswerError("an answer to a completion without its choice")
    told, usage = choices[0].get("logprobs"), answer.get("usage")
    entries = told.get("content", told.get("tokens")) if isinstance(told, Mapping) else None
    if listed and not isinstance(entries, list):
        raise BadAnswerError("an answer without the log-probabilities that others have")
    return {
        "finish": choices[0].get("finish_reason"),
        "written": usage.get("completion_tokens") if isinstance(usage, Mapping) else None,
        "entries": len(entries) if isinstance(entries, list) else None,
        "tokens": [_token(one) for one in entries] if isinstance(entries, list) else [],
    }


def _token(entry: Any) -> int | str | None:
    if isinstance(entry, str):
        return entry
    token = entry.get("id", entry.get("token")) if isinstance(entry, Mapping) else None
    return token if isinstance(token, int | str) else None
