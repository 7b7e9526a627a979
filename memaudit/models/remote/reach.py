"""From an address to a model: reach the server, probe it, and say what it was found to be."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable

from memaudit.models.remote.address import Endpoint, address_of
from memaudit.models.remote.model import RemoteModel, room_in
from memaudit.models.remote.probe import probe
from memaudit.models.remote.resumed import resumed_folder
from memaudit.models.remote.transport import Transport
from memaudit.text.tokenize import Tokenizer


def reach(
    spec: str,
    endpoint: Endpoint,
    tokenizer: Tokenizer,
    *,
    template: str | None = None,
    context_length: int | None = None,
    tell: Callable[[str], None] | None = None,
) -> RemoteModel:
    """Return the model behind an address, once its server was found to answer what it is asked.

    Args:
        spec: ``http(s)://HOST[:PORT]/v1``.
        endpoint: How it is reached.
        tokenizer: Of the model.
        template: Its chat template, where it has one.
        context_length: Tokens that it reads as far as is known here, for a server that does not say it.
        tell: Takes a line for the user; by default it goes to standard error.

    Raises:
        ModelError: It cannot be reached, or answers something else than it is asked.
        InputError: The address or the key cannot be used.
    """
    url = address_of(spec)
    transport = Transport(url, endpoint, tell or _on_standard_error)
    if (folder := resumed_folder()) is not None:
        transport.count(folder)
    probed = probe(transport, endpoint, tokenizer, template=template)
    about = {"url": url, "served": probed.served, "api": endpoint.api, **probed.facts}
    if probed.dialect.instruction:
        about["instruction"] = probed.dialect.instruction
    told = json.dumps([about, tokenizer.sha256, probed.behaviour], sort_keys=True)
    model = RemoteModel(transport, probed, tokenizer, about, hashlib.sha256(told.encode()).hexdigest())
    if model.context_length is None:
        model.context_length = room_in(probed.dialect, context_length)
    return model


def _on_standard_error(line: str) -> None:
    sys.stderr.write(f"memaudit: {line}\n")
