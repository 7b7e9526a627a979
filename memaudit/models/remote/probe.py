"""Whether a server answers what it is asked: before anything else, and again whenever a run is resumed.

Servers ignore fields that they do not know and answer with 200. So nothing is believed for its name: each thing that
an audit rests on is asked for and looked at, and a server that does otherwise is refused by the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from memaudit.errors import ModelError
from memaudit.findings import Control
from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.dialects.base import Dialect
from memaudit.models.remote.dialects.table import dialects_of
from memaudit.models.remote.probing.agreement import (
    check_agreement,
    check_far,
    check_noise,
    check_spaces,
    check_start,
    refuse_shifted_lists,
    refuse_shifted_prompts,
)
from memaudit.models.remote.probing.counting import START, WHOLE, Counter, Reading, check_beyond
from memaudit.models.remote.probing.ending import END, NOT_SEEN, check_end
from memaudit.models.remote.probing.serving import check_model, find_served
from memaudit.models.remote.probing.texts import PLAIN, long_ids, prompt_of
from memaudit.models.remote.probing.trials import (
    TRUE,
    Passage,
    Trial,
    ask_marks,
    behaviour_of,
    marks_of,
    noise_between,
    try_alone,
    try_in_company,
)
from memaudit.models.remote.probing.witness import Witness
from memaudit.models.remote.transport import Transport
from memaudit.records import Capability, TokenIds
from memaudit.text.tokenize import Tokenizer

QUIET = 1e-4
"""Nats by which answers may move for a model to be recognised by tenths of a nat."""
FAR = 120
"""Tokens of prompts that differ in one place alone."""
PLACES = 4
"""Places in which they do: the first is the beginning, the others lie evenly behind it."""
TRIES = 4
"""Times that a dialect is looked for in answers before the server is believed not to speak it."""


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
    marks: list[list[float | str | None]]
    """What it said of the passages of the probe; see `memaudit.models.remote.probing.trials.are_of_one_model`."""
    noise: float
    """Nats by which the same answer moves."""
    again: Callable[[], list[list[float | str | None]]]
    """Asks these passages again, and returns what is said of them now."""


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
    witness = Witness(transport)
    served, context, names = find_served(witness, endpoint)
    counter = Counter(witness, served, tokenizer, context)
    if endpoint.api == "chat":
        reading = Reading(False, False, "what the chat template puts there", ())
        counter.room //= 2  # the template takes some of it
    else:
        reading = counter.read()
    passages = _passages(counter)
    dialect = recognised(witness, endpoint, served, tokenizer, reading, passages[0])
    if endpoint.api != "chat":
        dialect.puts_start = reading.puts_start
    try:
        controls, behaviour, alone, noise = _tried(witness, dialect, counter, passages, reading)
    except ModelError:
        refuse_shifted_lists(witness.url, witness.seen)  # the reason of what else is wrong then
        refuse_shifted_prompts(witness.url, witness.seen)
        raise
    refuse_shifted_lists(witness.url, witness.seen)
    check_model(transport, served, names, {e.model for e in witness.seen if e.model})
    template_control, template_sha256 = _template(witness, endpoint, template)
    end = next((control.detail for control in controls if control.name == END), NOT_SEEN)
    dialect.transport = transport
    return Probed(
        dialect=dialect,
        served=served,
        context_length=context,
        controls=(*controls, *template_control, *_fingerprint(witness)),
        behaviour=behaviour,
        facts={
            "dialect": dialect.label,
            "gives": [str(c) for c in Capability if c in dialect.gives],
            "sends": "messages" if endpoint.api == "chat" else "token ids" if dialect.takes_ids else "text",
            "listed": dialect.listed,
            "start": reading.start,
            "end": end,
            "fingerprint": witness.fingerprint,
            "template_sha256": template_sha256,
        },
        marks=marks_of(alone),
        noise=noise,
        again=partial(ask_marks, dialect, alone),
    )


def recognised(
    witness: Witness, endpoint: Endpoint, served: str, tokenizer: Tokenizer, reading: Reading, passage: Passage
) -> Dialect:
    """Return the dialect that gives most of those that the server was found to speak.

    Raises:
        ModelError: None, or one of less than it says that it gives.
    """
    doubts: list[ModelError] = []
    for kind in dialects_of(endpoint.api):
        if kind.takes_ids and not reading.takes_ids:
            continue
        dialect = _speaking(kind, witness, served, tokenizer, passage, doubts)
        if dialect is not None:
            if Capability.LOG_PROBS not in dialect.gives and endpoint.api != "chat":
                _refuse_half(witness, endpoint, doubts)
            return dialect
    _refuse_half(witness, endpoint, doubts)
    raise ModelError(f"{witness.url}: answers in no way that is known here", "see docs/endpoints.md for servers")


def _speaking(
    kind: type[Dialect], witness: Witness, served: str, tokenizer: Tokenizer, passage: Passage, doubts: list[ModelError]
) -> Dialect | None:
    """Return a dialect if the server speaks it; asked again where it answered, for one bad answer tells nothing."""
    for _ in range(TRIES):
        dialect, answered, bad = kind(witness, served, tokenizer), len(witness.seen), witness.given_up
        try:
            known = dialect.recognise(passage.prompt, passage.suffix)
        except ModelError as error:
            doubts.append(error)
            return None
        refuse_shifted_lists(witness.url, witness.seen)
        if known:
            return dialect
        if len(witness.seen) == answered or witness.given_up > bad:
            return None
    return None


def _refuse_half(witness: Witness, endpoint: Endpoint, doubts: Sequence[ModelError]) -> None:
    """Refuse a server that gives a part of what it was asked for: the rest was ignored with HTTP 200.

    Whoever names a text for the recital control knows that text alone is asked for.
    """
    refuse_shifted_lists(witness.url, witness.seen)
    if doubts:
        raise doubts[0]
    if endpoint.recital:
        return
    hint = "start a server that gives them, or name --recital FILE to audit its text alone"
    asked = [exchange for exchange in witness.seen if exchange.wants_prompt and not exchange.of_prompt]
    empty = any(exchange.of_prompt is None for exchange in asked)
    if empty or any(exchange.of_generated for exchange in asked):
        raise ModelError(
            f"{witness.url}: drops echo: log-probabilities of the prompt were asked for, and "
            f"{'an empty field' if empty else 'those of the continuation'} came with HTTP 200",
            hint,
        )


def _passages(counter: Counter) -> list[Passage]:
    """Return beginnings of three passages, of different lengths, and what follows them there."""
    lengths = [min(length, counter.room - TRUE) for length in (8, 24, 48)]
    found = []
    for text, length in zip(PLAIN, lengths, strict=False):
        whole = prompt_of(counter.tokenizer, text, length + TRUE)
        if whole is not None and len(whole) > TRUE:
            found.append(Passage(counter.begun(whole[:-TRUE]), whole[-TRUE:]))
    if not found or counter.room < 2 * TRUE:
        raise ModelError(f"{counter.url}: its context is too short for a probe", f"at least {2 * TRUE + 8} tokens")
    return found


def _tried(
    witness: Witness, dialect: Dialect, counter: Counter, passages: Sequence[Passage], reading: Reading
) -> tuple[tuple[Control, ...], tuple[float | str | None, ...], Sequence[Trial], float]:
    """Ask alone, in company and in pieces.

    Returns:
        Controls, what the model is recognised by, what was asked alone, and how far the same answer moves.
    """
    url, ids = witness.url, dialect.takes_ids
    alone = try_alone(dialect, passages)
    noise = noise_between(alone, try_in_company(witness, dialect, alone))
    start = check_start(url, dialect, alone[0], noise)
    far = check_far(url, dialect, _far(counter), passages[0].suffix, noise)
    agreement = check_agreement(url, dialect, alone, noise)
    prompt = passages[0].prompt if ids else passages[0].prompt[:0]
    end = counter.tokenizer.eos_id
    name = "" if end is None else counter.tokenizer.decode([end])
    controls = (
        *(_with(control, start, shown=any(e.of_prompt for e in witness.seen)) for control in reading.controls),
        far,
        *agreement,
        check_spaces(dialect, alone),
        check_noise(noise, witness.endpoint.connections),
        check_end(witness, dialect.served, prompt, end, name, alone),
        check_beyond(counter, takes_ids=ids) if witness.endpoint.api != "chat" else None,
    )
    return (
        tuple(filter(None, controls)),
        behaviour_of(alone, quiet=noise.difference <= QUIET and not noise.other),
        alone,
        noise.difference,
    )


def _with(control: Control, start: str, *, shown: bool) -> Control:
    """Return a control with what log-probabilities say besides, and entries of the prompt, which dialects compare."""
    if control.name not in (START, WHOLE) or not (control.passed or shown):
        return control
    told = [control.detail] if control.passed else ["the tokens of the prompt that come back are those that were sent"]
    told += [start] if start and control.name == START else []
    return Control(control.name, True, "; ".join(told))


def _far(counter: Counter) -> list[TokenIds]:
    """Return a prompt, as long as there is room for, and others: of each, two tokens in one place are other ones.

    The first of them differs behind the start token. A gateway may keep that and leave out the middle.
    """
    ids = long_ids(counter.tokenizer, min(FAR, counter.room - TRUE))
    prompts = [ids]
    for at in range(0, len(ids) - 1, -(-len(ids) // PLACES)):
        for by in (2, 4):
            other = ids.copy()
            other[at : at + 2] = np.roll(ids, -by)[at : at + 2]
            if not np.array_equal(other, ids):
                prompts.append(other)
                break
    return [counter.begun(prompt) for prompt in prompts]


def _template(witness: Witness, endpoint: Endpoint, template: str | None) -> tuple[tuple[Control, ...], str | None]:
    """Compare the chat template that a server shows with that of the tokenizer, where it is asked by messages."""
    if endpoint.api != "chat":
        return (), None
    told = witness.get("^/props")
    shown = told.get("chat_template") if isinstance(told, Mapping) else None
    if not isinstance(shown, str) or not shown:
        return (), None
    sha256 = hashlib.sha256(shown.encode()).hexdigest()
    if template is None:
        return (), sha256
    same = shown.strip() == template.strip()
    detail = f"{'it is' if same else 'it is another one'}; the server's has sha256 {sha256[:12]}"
    return (Control("the chat template is that of --tokenizer", same, detail),), sha256


def _fingerprint(witness: Witness) -> tuple[Control, ...]:
    told = witness.fingerprint
    return (Control("the server's fingerprint", True, f"{told}; another one ends the run"),) if told else ()
