"""Who answers at an address: the models that are served there, and how much one of them reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memaudit.errors import ModelError, one_line
from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.transport import Transport

LENGTHS = ("max_model_len", "context_length", "max_context_length", "context_window", "n_ctx", "max_total_tokens")
"""Names that servers have for the tokens that a model reads."""
PLACES = ("meta", "default_generation_settings")
LONGEST = 1024
"""Characters of a name of a model."""
NAMED = 8
"""Models that an error lists."""


def find_served(transport: Transport, endpoint: Endpoint) -> tuple[str, int | None, frozenset[str]]:
    """Return the name that a model is asked by, the tokens it reads as far as that is stated, and all names.

    Raises:
        ModelError: Which model is meant is not clear, or it is not served.
    """
    listed = transport.get("/models")
    entries = _entries(listed)
    names = {name: entry for entry in entries for name in _names(entry)}
    wanted = endpoint.served_name
    if not names:
        if not wanted:
            raise ModelError(
                f"{transport.url}: lists no models at /models",
                "is this the address, which ends in /v1 as a rule? Or name a model with --served-model-name",
            )
        return wanted, _stated(transport, {}), frozenset()
    if not wanted and len(entries) == 1:
        [wanted] = list(names)[:1]
    if wanted not in names:
        shown = ", ".join(one_line(name, 60) for name in list(names)[:NAMED])
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        said = f"does not serve {one_line(wanted, 60)}" if wanted else f"serves {len(entries)} models"
        raise ModelError(f"{transport.url}: {said}; it serves {shown}{more}", "name one with --served-model-name")
    return wanted, _stated(transport, names[wanted]), frozenset(names)


def check_model(transport: Transport, served: str, names: frozenset[str], answered: set[str]) -> None:
    """Refuse a server whose answers come from another one of the models that it lists."""
    others = sorted((answered & names) - {served})
    if others and served not in answered:
        raise ModelError(
            f"{transport.url}: was asked for {one_line(served, 60)} and answers as {one_line(others[0], 60)}",
            "name the model that answers with --served-model-name",
        )


def _entries(listed: Any) -> list[Mapping[str, Any]]:
    data = listed.get("data") if isinstance(listed, dict) else listed
    return [entry for entry in data if isinstance(entry, dict) and _names(entry)] if isinstance(data, list) else []


def _names(entry: Mapping[str, Any]) -> list[str]:
    aliases = entry.get("aliases")
    named = [entry.get("id"), *(aliases if isinstance(aliases, list) else ())]
    return list(dict.fromkeys(name for name in named if isinstance(name, str) and _is_name(name)))


def _is_name(name: str) -> bool:
    """Whether something can be a name of a model, which stands in reports and in every request."""
    return 0 < len(name) <= LONGEST and name.isprintable()


def _stated(transport: Transport, entry: Mapping[str, Any]) -> int | None:
    """Return the tokens that one request may have, from the list of models or from what some servers say besides."""
    told = _length(entry)
    if told is None:
        told = next(filter(None, (_length(transport.get(path)) for path in ("^/props", "^/info"))), None)
    return told


def _length(said: Any) -> int | None:
    if not isinstance(said, Mapping):
        return None
    parts = [said, *(said.get(place) for place in PLACES)]
    told = [part.get(name) for part in parts if isinstance(part, Mapping) for name in LENGTHS]
    return next((value for value in told if type(value) is int and value > 0), None)
