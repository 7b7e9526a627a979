"""From an address to a model: reach the server, probe it, and say what it was found to be."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable

from memaudit.errors import InputError
from memaudit.models.remote.address import Endpoint, address_of
from memaudit.models.remote.model import RemoteModel
from memaudit.models.remote.naming import named_tokenizer
from memaudit.models.remote.probe import probe
from memaudit.models.remote.transport import Transport


def reach(
    spec: str,
    endpoint: Endpoint | None = None,
    *,
    allow_download: bool = False,
    tell: Callable[[str], None] | None = None,
) -> RemoteModel:
    """Return the model behind an address, once its server was found to answer what it is asked.

    Args:
        spec: ``http(s)://HOST[:PORT]/v1``.
        endpoint: How it is reached.
        allow_download: Whether the tokenizer may be fetched by its Hugging Face id.
        tell: Takes a line for the user; by default it goes to standard error.

    Raises:
        ModelError: It cannot be reached, or answers something else than it is asked.
        InputError: An option is missing or cannot be used.
    """
    url, endpoint = address_of(spec), endpoint or Endpoint()
    if not endpoint.tokenizer:
        raise InputError(f"{url}: no tokenizer named", "give --tokenizer: the model's folder or Hugging Face id")
    named = named_tokenizer(endpoint.tokenizer, allow_download=allow_download)
    transport = Transport(url, endpoint, tell or _on_standard_error)
    probed = probe(transport, endpoint, named.tokenizer, template=named.template)
    about = {"url": url, "served": probed.served, "api": endpoint.api, **probed.facts}
    told = json.dumps([about, named.tokenizer.sha256, probed.behaviour], sort_keys=True)
    model = RemoteModel(transport, probed, named.tokenizer, about, hashlib.sha256(told.encode()).hexdigest())
    if model.context_length is None:
        model.context_length = named.context_length
    return model


def _on_standard_error(line: str) -> None:
    sys.stderr.write(f"memaudit: {line}\n")
