"""How a server answered that was asked in place of a model, in words: facts, checks, and what none of it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memaudit.records import Capability
from memaudit.runs import parts
from memaudit.stats.rounding import NONE

TITLE = "How the server answers"
VERBATIM = "Verbatim answers in a chat"
"""What the primary metric is called of a model that was asked by messages: no k tokens of a text stand before it."""
VERBATIM_DEFINITION = (
    "Given the prefix as a message, the model answers with the whole true suffix, token for token. A template stands"
    " around the prefix, so this is the rate of one way of asking, not of continuing a text."
)
_WAYS = {"completions": "to continue texts", "chat": "by messages, as in a chat"}
_OUTCOMES = {True: "passed", False: "failed", None: "could not be run"}


def endpoint_of(model: Mapping[str, Any]) -> parts.EndpointDescription | None:
    """Return what a plan or report says of the server behind a model; None of one that was loaded here."""
    found: parts.EndpointDescription | None = model.get("endpoint")
    return found


def in_chat(model: Mapping[str, Any]) -> bool:
    """Whether a model was asked by messages."""
    server = endpoint_of(model)
    return server is not None and server["api"] == "chat"


def in_short(model: Mapping[str, Any]) -> str:
    """Return by what a model was asked: ``llama.cpp, to continue texts``; empty of one that was loaded here."""
    server = endpoint_of(model)
    return "" if server is None else f"{server['dialect']}, asked {_WAYS[server['api']]}"


def name_of(model: Mapping[str, Any]) -> str:
    """Return what to call a model behind an address: ``NAME at HOST:PORT``; empty of one that was loaded here."""
    server = endpoint_of(model)
    if server is None:
        return ""
    return f"{server['served'].rstrip('/').rpartition('/')[2]} at {server['url'].partition('//')[2].partition('/')[0]}"


def facts(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what there is to know of a server, a name and a value each; empty where there is none."""
    server = endpoint_of(model)
    if server is None:
        return []
    template = server["template_sha256"]
    return [
        ("Address", server["url"]),
        ("Served as", server["served"]),
        ("Asked", _WAYS[server["api"]]),
        ("Dialect", server["dialect"]),
        ("A prompt is sent as", server["sends"]),
        ("It gives", ", ".join(server["gives"]) or "nothing"),
        ("Not measured, for it does not give them", ", ".join(model.get("lacks", ())) or "nothing"),
        ("Ranks", _ranks(server, model)),
        ("Before every text", server["start"]),
        ("At the end token", server["end"]),
        ("Fingerprint", server["fingerprint"] or "it tells none"),
        *([("Chat template", f"sha256 {template}" if template else "not shown by it")] if in_chat(model) else []),
        *([("Said before a text", server["instruction"])] if server.get("instruction") else []),
    ]


def checks(model: Mapping[str, Any], controls: Sequence[parts.Control]) -> list[tuple[str, str, str]]:
    """Return name, outcome and detail of what was checked of a server, of all controls of its run."""
    server = endpoint_of(model)
    names = () if server is None else server.get("checks", ())
    return [(c["name"], _OUTCOMES[c["passed"]], c["detail"]) for c in controls if c["name"] in names]


def summary(model: Mapping[str, Any]) -> str:
    """Return in a sentence what a server was found to give."""
    server = endpoint_of(model)
    if server is None:
        return ""
    lacking = ", ".join(model.get("lacks", ()))
    missing = f"; not measured: {lacking}" if lacking else ""
    told = server["fingerprint"] or NONE
    return f"The server at {server['url']} serves {server['served']} ({in_short(model)}; fingerprint {told}){missing}."


def limit(model: Mapping[str, Any]) -> str:
    """Return in a sentence what asking a server does not show; empty where none was asked."""
    server = endpoint_of(model)
    if server is None:
        return ""
    listed = server["listed"]
    ranks = "" if listed is None else f" Ranks are looked up among its {listed:,} likeliest tokens."
    chat = " It was asked by messages, around which a template stands: no text was continued." if in_chat(model) else ""
    return (
        f"The model was asked over HTTP ({server['dialect']}): which weights answer, in which precision and behind"
        f" which filters, is what its server says.{ranks}{chat}"
    )


def lines(model: Mapping[str, Any], controls: Sequence[parts.Control]) -> list[str]:
    """Return facts and checks as lines of text."""
    told = [f"{name}: {value}" for name, value in facts(model)]
    return [*told, *(f"{name}: {outcome}; {detail}" for name, outcome, detail in checks(model, controls))]


def _ranks(server: parts.EndpointDescription, model: Mapping[str, Any]) -> str:
    if Capability.LOG_PROBS in model.get("lacks", ()):
        return "none"
    listed = server["listed"]
    return "in the whole vocabulary" if listed is None else f"among the {listed:,} likeliest; others are beyond that"
