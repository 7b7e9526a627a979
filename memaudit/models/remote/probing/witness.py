"""A transport that remembers what went over it: how many tokens a server counted, and what it added to an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from memaudit.errors import ModelError
from memaudit.models.remote.transport import Answer, BadAnswerError, Read, Transport

SAME, MOST = 4, 12
"""Bad answers to one request, equal ones and all, after which it is not asked again: a fault passes, a habit stays."""


class Place(NamedTuple):
    """What is said of a token, and of it and its neighbours in the list of the likeliest tokens; None: not in it."""

    value: float
    own: float | None
    before: float | None
    """Of the token before it, in the list of this place."""
    behind: float | None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what matters of its answer; None where it does not stand there."""

    path: str
    sent: tuple[int, ...] | str | None
    """The prompt: token ids, or text; None of messages."""
    counted: int | None
    """Tokens of the prompt, as the server counts them."""
    written: int | None
    """Tokens of the continuation, as the server counts them."""
    finish: str | None
    model: str | None
    wants_prompt: bool
    """Whether log-probabilities of the prompt were asked for."""
    of_generated: bool
    """Whether there are log-probabilities of generated tokens."""
    listed: bool
    """Whether they stand where OpenAI's API has them."""
    of_prompt: bool | None
    """Whether there are log-probabilities of the prompt; None where a field for them is there and empty."""
    places: tuple[Place, ...]
    """What is said of every token of which something is said."""
    of_sent: tuple[float, ...]
    """Log-probabilities of the tokens that were sent, but for the first, where they stand by id; else none."""


class Witness(Transport):
    """Passes everything on to another transport, and nothing that goes over it is kept in a journal."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.url, self.endpoint, self.tell = inner.url, inner.endpoint, inner.tell
        self.seen: list[Exchange] = []
        self.given_up = 0
        """Requests whose answers were bad for good."""

    @property
    def fingerprint(self) -> str | None:
        """That of the transport behind it."""
        return self.inner.fingerprint

    def get(self, path: str) -> Any | None:
        """As the transport behind it."""
        return self.inner.get(path)

    def ask(
        self, path: str, body: Mapping[str, Any], read: Read, *, tokens: int, attempt: int = 0, kept: bool = False
    ) -> Any:
        """Ask anew, whatever ``kept`` says, and remember the answer, one that cannot be read too.

        What a probe asks of servers that may not know it is answered badly as a rule, so there is no waiting between
        bad answers.
        """
        del kept
        faults: Counter[str] = Counter()

        def looked_at(answer: Any) -> list[Any]:
            self.seen.append(exchange_of(path, body, answer))
            try:
                return [read(answer)]
            except (BadAnswerError, LookupError, TypeError, ValueError, AttributeError) as error:
                faults[str(error)] += 1
                return []

        while True:
            answered: list[Any] = self.inner.ask(path, body, looked_at, tokens=tokens, attempt=attempt, kept=False)
            if answered:
                return answered[0]
            if faults.total() == MOST or max(faults.values()) == SAME:
                self.given_up += 1
                [(reason, _)] = faults.most_common(1)
                hint = "another server, or another version of it, may answer this"
                raise ModelError(f"{self.url}: {reason}", hint if urlsplit(self.url).path else f"is it {self.url}/v1?")

    def each(self, jobs: Sequence[Callable[[], Answer]]) -> list[Answer]:
        """As the transport behind it."""
        return self.inner.each(jobs)


def exchange_of(path: str, body: Mapping[str, Any], answer: Any) -> Exchange:
    """Return what matters of an answer, whatever form it has."""
    answer = answer[0] if isinstance(answer, list) and answer else answer
    answer = answer if isinstance(answer, dict) else {}
    usage, meta, choice = _part(answer, "usage"), _part(answer, "meta_info"), _first(answer.get("choices"))
    told = _part(choice, "logprobs")
    prompt = body.get("prompt", body.get("input_ids", body.get("text")))
    wants_prompt = bool(body.get("echo") or "prompt_logprobs" in body or body.get("logprob_start_len", -1) >= 0)
    finish = choice.get("finish_reason", _part(meta, "finish_reason").get("type"))
    answered = bool(choice or meta)
    listed = bool(told.get("content") or told.get("token_logprobs"))
    return Exchange(
        path=path,
        sent=_sent(prompt),
        counted=_count(usage.get("prompt_tokens", meta.get("prompt_tokens", answer.get("tokens_evaluated")))),
        written=_count(usage.get("completion_tokens", meta.get("completion_tokens"))),
        finish=finish if isinstance(finish, str) else None,
        model=answer.get("model") if isinstance(answer.get("model"), str) else None,
        wants_prompt=wants_prompt,
        of_generated=listed or bool(meta.get("output_token_logprobs")),
        listed=listed,
        of_prompt=_of_prompt(body, choice, told, meta) if answered else False,
        places=tuple(_places(told, meta)),
        of_sent=tuple(_of_sent(_sent(prompt), choice.get("prompt_logprobs"))),
    )


def _part(value: Any, name: str) -> dict[str, Any]:
    part = value.get(name) if isinstance(value, dict) else None
    return part if isinstance(part, dict) else {}


def _first(values: Any) -> dict[str, Any]:
    return values[0] if isinstance(values, list) and values and isinstance(values[0], dict) else {}


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _sent(prompt: Any) -> tuple[int, ...] | str | None:
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], list | str):
        [prompt] = prompt
    if isinstance(prompt, str):
        return prompt
    return tuple(prompt) if isinstance(prompt, list) and all(type(i) is int for i in prompt) else None


def _of_prompt(
    body: Mapping[str, Any], choice: dict[str, Any], told: dict[str, Any], meta: dict[str, Any]
) -> bool | None:
    if body.get("logprob_start_len", -1) >= 0:
        return True if meta.get("input_token_logprobs") else None
    if body.get("echo"):
        values = told.get("token_logprobs")
        return isinstance(values, list) and len(values) > 1 and values[0] is None
    listed = choice.get("prompt_logprobs")
    if isinstance(listed, list) and listed:
        return True
    return None if "prompt_logprobs" in choice and "prompt_logprobs" in body else False


def _places(told: dict[str, Any], meta: dict[str, Any]) -> list[Place]:
    """Return what an answer says of tokens, in whichever of the forms in use."""
    rows = [_row(entry) for entry in told.get("content") or () if isinstance(entry, dict)]
    columns = (told.get(name) or () for name in ("tokens", "token_logprobs", "top_logprobs"))
    rows += [(key, value, top if isinstance(top, dict) else {}) for key, value, top in zip(*columns, strict=False)]
    entries, lists = (meta.get(f"input_{name}_logprobs") or () for name in ("token", "top"))
    for entry, top in zip(entries, lists, strict=False):
        if isinstance(entry, list) and len(entry) > 1:
            rows.append((entry[1], entry[0], {one[1]: one[0] for one in top or () if isinstance(one, list)}))
    keys = [None, *(key for key, _, _ in rows), None]
    return [
        Place(float(value), *(_number(top.get(keys[i])) for i in (place + 1, place, place + 2)))
        for place, (_, value, top) in enumerate(rows)
        if isinstance(value, int | float)
    ]


def _of_sent(sent: tuple[int, ...] | str | None, rows: Any) -> list[float]:
    """Return what rows, one a token, say of the tokens that were sent; nothing where one of them is not told."""
    if not isinstance(sent, tuple) or not isinstance(rows, list) or len(rows) != len(sent):
        return []
    own = [_part(row, str(token)).get("logprob") for token, row in zip(sent[1:], rows[1:], strict=True)]
    values = [float(value) for value in own if isinstance(value, int | float)]
    return values if len(values) == len(own) else []


def _row(entry: dict[str, Any]) -> tuple[Any, Any, dict[Any, Any]]:
    name = "id" if "id" in entry else "token"
    tops = [one for one in entry.get("top_logprobs") or () if isinstance(one, dict)]
    return entry.get(name), entry.get("logprob"), {one.get(name): one.get("logprob") for one in tops}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
