"""How the plan of a run differs from the one that its folder holds, in words; and whether other models are asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from memaudit.errors import one_line

_OF_SERVER = ("model.endpoint", "model.self_test", "model.sha256", "model.lacks", "model.context_length")
"""What of a plan is found out by asking a server."""
_SHOWN = 60
"""Characters of a value that are shown."""


def differing(
    one: Mapping[str, Any], other: Mapping[str, Any], aside: Collection[str], inside: str = ""
) -> Iterator[str]:
    """Yield the dotted names of the values in which two plans differ.

    Args:
        one: A plan.
        other: Another.
        aside: Keys of a plan that may differ.
        inside: What stands before the names.
    """
    for key in {*one, *other}:
        left, right = one.get(key), other.get(key)
        if left == right or (not inside and key in aside):
            continue
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            yield from differing(left, right, aside, f"{inside}{key}.")
        else:
            yield f"{inside}{key}"


def same_models(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two plans ask the same models, so that what these answered holds for both."""
    return _models_in(one) == _models_in(other)


def another_server(stored: Mapping[str, Any], wanted: Mapping[str, Any], aside: Collection[str]) -> str:
    """Return how a server answers otherwise than when its run began; empty where that is not all that differs.

    Args:
        stored: The plan as the run began.
        wanted: The same, as the server answers now.
        aside: As of `differing`.
    """
    models = [plan.get("model") or {} for plan in (stored, wanted)]
    before, now = (model.get("endpoint") for model in models)
    others = any(not name.startswith(_OF_SERVER) for name in differing(stored, wanted, aside))
    if others or not (before and now) or before["url"] != now["url"]:
        return ""
    told = [
        f"{name} was {_short(before.get(name))} and is {_short(now.get(name))}"
        for name in now
        if before.get(name) != now.get(name)
    ]
    if models[0].get("self_test") != models[1].get("self_test"):
        told.append("it answers the same questions otherwise")
    return f"{now['url']}: another model answers than when the run began: {'; '.join(told) or 'its identity differs'}"


def _models_in(plan: Mapping[str, Any]) -> tuple[Any, Any]:
    return (plan.get("model") or {}).get("sha256"), (plan.get("membership") or {}).get("references")


def _short(value: Any) -> str:
    return "none" if value is None else one_line(", ".join(value) if isinstance(value, list) else str(value), _SHOWN)
