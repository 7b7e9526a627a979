"""From ``http(s)://HOST[:PORT]/v1`` to how a model behind it is reached."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from memaudit.errors import InputError, one_line

Api = Literal["completions", "chat"]
SCHEMES = ("http://", "https://")
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")


def _of_this_call(default: Any) -> Any:
    """Return a field that changes no result: what repeats a run leaves it out."""
    return field(default=default, metadata={"repeated": False})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """How a model behind an address is reached. What it costs and how long it takes changes no result."""

    served_name: str = ""
    """Name by which the server knows the model; empty: the only one that it serves."""
    tokenizer: str = ""
    """Folder or Hugging Face id of the model's tokenizer."""
    api: Api = "completions"
    connections: int = _of_this_call(4)
    """Requests that are under way together."""
    timeout: float = _of_this_call(120.0)
    """Seconds that one request may take, its whole answer included."""
    max_requests: int | None = _of_this_call(None)
    """Requests of a run, those that are asked again included; None: no limit."""
    max_tokens: int | None = _of_this_call(None)
    """Tokens of a run, read and written together; None: no limit."""
    api_key_env: str = ""
    """Environment variable that holds the key; empty: no key is sent."""
    recital: str = ""
    """File of text that the model is known to recite: the control of a server that gives text only."""


def is_address(spec: str) -> bool:
    """Whether a MODEL is an address."""
    return spec.lower().startswith(SCHEMES)


def address_of(spec: str) -> str:
    """Return an address as it is asked and shown: without a slash at its end.

    Raises:
        InputError: It has no host, or holds a name and password, a query or a fragment, which would be shown.
    """
    try:
        parts = urlsplit(spec)
        port = parts.port
    except ValueError as error:
        raise InputError(f"{one_line(spec.rpartition('@')[2], 80)}: no address: {error}") from None
    shown = f"{parts.scheme.lower()}://{parts.hostname or ''}{'' if port is None else f':{port}'}{parts.path}"
    if not parts.hostname:
        raise InputError(f"{one_line(shown, 80)}: an address without a host", "http://HOST:PORT/v1")
    if "@" in parts.netloc:
        raise InputError(f"{one_line(shown, 80)}: an address with a name or password", "name --api-key-env instead")
    if parts.query or parts.fragment:
        raise InputError(f"{one_line(shown, 80)}: an address with more behind its path", "leave out '?' and '#'")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme.lower()}://{host}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


def key_of(endpoint: Endpoint) -> str:
    """Return the key that is sent, from the environment variable that is named; empty where none is.

    Raises:
        InputError: The variable is not set, or holds what no header can.
    """
    if not endpoint.api_key_env:
        return ""
    if not _VARIABLE.fullmatch(endpoint.api_key_env):  # the key itself, perhaps: it is not repeated
        raise InputError("--api-key-env: it was given no name of a variable", "name one that holds the key")
    key = os.environ.get(endpoint.api_key_env, "").strip()
    if not key:
        name = endpoint.api_key_env  # of small letters, it may be the key itself, which is not repeated
        shown = name if name.isupper() else "with this name"
        raise InputError(f"--api-key-env: no variable {shown} is set, or it is empty")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"--api-key-env {endpoint.api_key_env}: what it holds cannot be sent in a header")
    return key


def refuse_unused(endpoint: Endpoint | None, specs: Iterable[object]) -> None:
    """Refuse to say how a model behind an address is reached where there is none.

    Args:
        endpoint: What was said; None: nothing.
        specs: Models, as they were named, or as they are.

    Raises:
        InputError: None of them is an address.
    """
    if endpoint not in (None, Endpoint()) and not any(isinstance(spec, str) and is_address(spec) for spec in specs):
        raise InputError("endpoint= is about a model behind an address, and no model is one", "leave out endpoint=")
