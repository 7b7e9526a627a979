"""A transport that remembers what went over it: how many tokens a server counted, and what it added to an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memaudit.errors import ModelError
from memaudit.models.remote.transport import Answer, BadAnswerError, Read, Transport

SAME, MOST = 4, 12
"""Bad answers to one request, equal ones and all, after which it is not asked again: a fault passes, a habit stays."""


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
    of_prompt: bool | None
    """Whether there are log-probabilities of the prompt; None where a field for them is there and empty."""
    own: tuple[tuple[float, float], ...]
    """Of every token that stands in its own list of likeliest ones: what is said of it, and what the list says."""


class Witness(Transport):
    """Passes everything on to another transport, and nothing that goes over it is kept in a journal."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.url, self.endpoint, self.tell = inner.url, inner.endpoint, inner.tell
        self.seen: list[Exchange] = []

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
                [(reason, _)] = faults.most_common(1)
                raise ModelError(f"{self.url}: {reason}", "another server, or another version of it, may answer this")

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
    return Exchange(
        path=path,
        sent=_sent(prompt),
        counted=_count(usage.get("prompt_tokens", meta.get("prompt_tokens", answer.get("tokens_evaluated")))),
        written=_count(usage.get("completion_tokens", meta.get("completion_tokens"))),
        finish=finish if isinstance(finish, str) else None,
        model=answer.get("model") if isinstance(answer.get("model"), str) else None,
        wants_prompt=wants_prompt,
        of_generated=bool(told.get("content") or told.get("token_logprobs") or meta.get("output_token_logprobs")),
        of_prompt=bool(meta.get("input_token_logprobs")) or _of_prompt(choice),
        own=tuple(_own(told)),
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


def _of_prompt(choice: dict[str, Any]) -> bool | None:
    listed = choice.get("prompt_logprobs")
    if isinstance(listed, list) and listed:
        return True
    return None if "prompt_logprobs" in choice else False


def _own(told: dict[str, Any]) -> list[tuple[float, float]]:
    """Return what is said of each token and what its own list of likeliest ones says, in both forms in use."""
    pairs: list[tuple[float, float]] = []
    for entry in told.get("content") or ():
        lists = entry.get("top_logprobs") if isinstance(entry, dict) else None
        key = "id" if isinstance(entry, dict) and "id" in entry else "token"
        same = [e.get("logprob") for e in lists or () if isinstance(e, dict) and e.get(key) == entry.get(key)]
        if len(same) == 1:
            pairs += _numbers(entry.get("logprob"), same[0])
    tokens, values, tops = (told.get(name) or [] for name in ("tokens", "token_logprobs", "top_logprobs"))
    for token, value, top in zip(tokens, values, tops, strict=False):
        listed = top.get(token) if isinstance(top, dict) and "\ufffd" not in str(token) else None
        pairs += _numbers(value, listed)
    return pairs


def _numbers(one: Any, other: Any) -> list[tuple[float, float]]:
    return [(float(one), float(other))] if isinstance(one, int | float) and isinstance(other, int | float) else []
