"""Whether a server answers what it is asked: before anything else, and again whenever a run is resumed.

Servers ignore fields that they do not know and answer with 200. So nothing is believed for its name: each thing that
an audit rests on is asked for and looked at, and a server that does otherwise is refused by the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memaudit.findings import Control
from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.dialects.base import Dialect
from memaudit.models.remote.transport import Transport
from memaudit.text.tokenize import Tokenizer


@dataclass(frozen=True, slots=True)
class Probed:
    """A server that was found to answer what it is asked."""

    dialect: Dialect
    """With what it gives, and whether it puts the start token by itself."""
    served: str
    context_length: int | None
    """Tokens of prompt and continuation together, as the server says; None where it does not."""
    controls: tuple[Control, ...]
    """What was checked; ``passed`` is None where the server gives nothing to check by."""
    behaviour: tuple[float | str | None, ...]
    """What the model is recognised by: log-probabilities of probes to one decimal, or digests of continuations."""
    facts: Mapping[str, Any]
    """Of `memaudit.runs.parts.EndpointDescription`, but for the address."""


def probe(transport: Transport, endpoint: Endpoint, tokenizer: Tokenizer, *, template: str | None = None) -> Probed:
    """Find out how a server can be asked, and check that it answers what it is asked.

    Args:
        transport: To the server.
        endpoint: How it is reached.
        tokenizer: Of the model.
        template: Chat template of the tokenizer, where it has one.

    Raises:
        ModelError: It answers something else than it is asked; the message says what, and how to go on.
    """
    raise NotImplementedError
