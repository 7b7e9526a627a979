"""Servers that give text alone: ``transformers serve``, TGI, Ollama, hosted ``/completions``.

Prompts are sent as text. A server may read a text as other tokens than those it was decoded from, where these are cut
as no text is (`memaudit.models.remote.seams.moved` counts them); it was asked for what follows the text all the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from functools import cached_property, partial
from typing import Any, ClassVar, NamedTuple

from memaudit.errors import ModelError
from memaudit.models.remote.dialects.answers import only_choice
from memaudit.models.remote.dialects.base import Dialect
from memaudit.models.remote.results import Written
from memaudit.models.remote.seams import as_text
from memaudit.models.remote.transport import BadAnswerError, RefusedRequestError, Transport
from memaudit.records import GREEDY, Decoding, TokenIds
from memaudit.text.tokenize import Tokenizer, special_ids

TRIES = 4
"""Samples by which a server is recognised that answers greedily whatever temperature it is asked for."""
TRIED = 16
"""Tokens of each."""
HOTTEST = Decoding(2.0)
"""Of the temperatures that every service takes."""
GIVEN_UP = frozenset(("abort", "aborted", "cancelled", "error"))
"""``finish_reason`` of a text that a server did not write to its end, and does another time."""
CUT_OFF = ("length", "max_tokens")
"""``finish_reason`` of a text that was as long as it might be; whatever else a server says, it stopped by itself."""


class Sent(NamedTuple):
    """What is asked for one continuation."""

    body: Mapping[str, Any]
    """The prompt, as it stands in a request."""
    tokens: int
    """Of the prompt, at most."""
    counts: Collection[int]
    """Tokens of the prompt that a server may count; any number where there are none."""


class Text(Dialect):
    """Asks for text behind text."""

    name: ClassVar[str] = "text"
    label: ClassVar[str] = "text alone"
    takes_ids: ClassVar[bool] = False
    path: ClassVar[str] = "/completions"

    def __init__(self, transport: Transport, served: str, tokenizer: Tokenizer) -> None:
        super().__init__(transport, served, tokenizer)
        self.samples: Mapping[str, Any] | None = {}
        """What a request for a sample must hold besides its temperature; None where no sample is drawn at all."""

    def recognise(self, prompt: TokenIds, suffix: TokenIds) -> bool:
        """Ask for text, and find out who puts the start token and whether samples are drawn.

        A server that counts one token more than a text has puts a start token by itself.
        """
        sent = self._sent(prompt, start=False)
        try:
            greedy = self._ask(sent._replace(counts=()), len(suffix), GREEDY, kept=False)
        except RefusedRequestError:
            return False
        self.puts_start = self.tokenizer.bos_id is not None and greedy["read"] in {each + 1 for each in sent.counts}
        self.samples = self._how_to_sample(sent, greedy["text"])
        return True

    def write(
        self, prompt: TokenIds, length: int, decoding: Decoding, *, seed: int = 0, attempt: int = 0, kept: bool = True
    ) -> Written:
        """Return the text behind that of a prompt.

        Raises:
            ModelError: A sample is asked for, and the server answers every time as it does greedily.
        """
        sent = self._sent(prompt, start=not self.puts_start)
        if self.puts_start and self.tokenizer.bos_id is not None:
            sent = sent._replace(tokens=sent.tokens + 1, counts={count + 1 for count in sent.counts})
        return self._written(sent, length, decoding, seed=seed, attempt=attempt, kept=kept)

    def go_on(
        self, text: str, length: int, decoding: Decoding, *, starts: bool, seed: int = 0, attempt: int = 0
    ) -> Written:
        """Return what follows a text that was never cut into tokens.

        Args:
            text: The text.
            length: Most tokens.
            decoding: As of `write`.
            starts: Whether a start token stands before it.
            seed: As of `write`.
            attempt: As of `write`.
        """
        first = self.tokenizer.bos_id if starts else None
        name = "" if first is None else self.tokenizer.decode([first])
        counts = {count + bool(name) for count in self._counted(text)}
        sent = Sent({"prompt": text if self.puts_start else name + text}, max(counts), counts)
        return self._written(sent, length, decoding, seed=seed, attempt=attempt)

    def _written(
        self, sent: Sent, length: int, decoding: Decoding, *, seed: int = 0, attempt: int = 0, kept: bool = True
    ) -> Written:
        if not decoding.greedy and self.samples is None:
            raise ModelError(
                f"{self.transport.url}: answers the same whatever temperature it is asked for, so no samples are drawn",
                "ask for greedy text alone",
            )
        drawn = drawn_by(seed, attempt)
        answer = self._ask(sent, length, decoding, kept=kept, attempt=attempt, seed=drawn)
        return Written(answer["text"], None, answer["ended"])

    def _ask(
        self, sent: Sent, length: int, decoding: Decoding, *, kept: bool, attempt: int = 0, seed: int = 0
    ) -> dict[str, Any]:
        """Return what is kept of an answer."""
        # A frequency penalty of 0 lifts the repetition penalty that a model's folder may set (transformers serve).
        # What is not asked for is not sent: some refuse a top-p of 1, others take a presence penalty of 0 for one of 2.
        body = {"model": self.served, **sent.body, **self._limit(length), "frequency_penalty": 0}
        body |= sampled(decoding, seed) | ({} if decoding.greedy else dict(self.samples or {}))
        read = partial(self._read, length=length, counts=sent.counts)
        answer: dict[str, Any] = self.transport.ask(
            self.path, body, read, tokens=sent.tokens + length, attempt=attempt, kept=kept
        )
        return answer

    def _limit(self, length: int) -> Mapping[str, int]:
        return {"max_tokens": length}

    def _read(self, answer: Any, length: int, counts: Collection[int]) -> dict[str, Any]:
        """Return text, whether it ended, and the tokens of the prompt that were counted."""
        choice = only_choice(answer)
        text, prompt = choice.get("text"), used(answer, "prompt_tokens")
        if not isinstance(text, str):
            raise BadAnswerError("an answer without text")
        if counts and prompt is not None and prompt not in counts:
            raise BadAnswerError(f"{prompt:,} tokens of prompt were read, {min(counts):,} were sent")
        return {"text": text, "ended": has_ended(choice, used(answer, "completion_tokens"), length), "read": prompt}

    def _how_to_sample(self, sent: Sent, greedy: str) -> Mapping[str, Any] | None:
        """Return what a request must hold for another text than the greedy one to come in a few tries."""
        for more in ({}, self._own_sampling):
            self.samples = more
            for seed in range(1, TRIES + 1):
                try:
                    text = self._ask(sent._replace(counts=()), TRIED, HOTTEST, kept=False, seed=seed)["text"]
                except RefusedRequestError:
                    break
                if not (text.startswith(greedy) or greedy.startswith(text)):
                    return more
        return None

    @property
    def _own_sampling(self) -> Mapping[str, Any]:
        """What ``transformers serve`` takes a whole configuration in; the folder's has sampling switched off as a rule.

        The temperature of the request goes over the one in it.
        """
        end = self.tokenizer.eos_id
        ends = {} if end is None else {"eos_token_id": end, "pad_token_id": end}
        return {"generation_config": json.dumps({"do_sample": True, "top_k": 0, "top_p": 1.0, **ends})}

    def _sent(self, prompt: TokenIds, *, start: bool) -> Sent:
        """Return the text of a prompt, as it is asked.

        Args:
            prompt: Token ids; a start token that it begins with is written by name or left out.
            start: Whether to write it.
        """
        begun, text = self._text_of(prompt)
        counts = self._counted(text)
        if begun and start:
            text, counts = begun + text, {count + 1 for count in counts}
        return Sent({"prompt": text}, max(counts), counts)

    def _text_of(self, prompt: TokenIds) -> tuple[str, str]:
        """Return the start token by name, if a prompt begins with it, and the text of the rest."""
        first = self.tokenizer.bos_id
        if first is None or not len(prompt) or int(prompt[0]) != first:
            return "", as_text(self.tokenizer, prompt).text
        return self.tokenizer.decode([first]), as_text(self.tokenizer, prompt[1:]).text

    def _counted(self, text: str) -> set[int]:
        """Return how many tokens a text has; a server may read names of special tokens in it as these."""
        parts = self._special.split(text)
        whole, *apart = self.tokenizer.encode_batch([text, *parts])
        return {len(whole), sum(map(len, apart)) + len(parts) - 1}

    @cached_property
    def _special(self) -> re.Pattern[str]:
        names = {self.tokenizer.decode([index]) for index in special_ids(self.tokenizer)} - {""}
        return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or r"(?!)")


def sampled(decoding: Decoding, seed: int) -> dict[str, Any]:
    """Return the fields of a request that say how tokens are chosen."""
    if decoding.greedy:
        return {"temperature": 0}
    cuts = {"top_p": decoding.top_p, "top_k": decoding.top_k}
    told = {"temperature": decoding.temperature, "seed": seed}
    return told | {name: cut for name, cut in cuts.items() if cut is not None}


def drawn_by(seed: int, attempt: int) -> int:
    """Return the seed of an attempt: servers give the same text for the same seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{attempt}".encode()).digest()[:4], "big") >> 1


def used(answer: Any, name: str) -> int | None:
    """Return ``prompt_tokens`` or ``completion_tokens`` of an answer; None where it does not say."""
    usage = answer.get("usage")
    count = usage.get(name) if isinstance(usage, Mapping) else None
    return count if type(count) is int else None


def has_ended(choice: Mapping[str, Any], written: int | None, length: int) -> bool:
    """Return whether a model stopped by itself, or a service stopped it: no more of the text can be had.

    Args:
        choice: Of the answer.
        written: Tokens that the server counts; None where it does not say.
        length: Tokens that were asked for.

    Raises:
        BadAnswerError: The answer says that it is as long as it might be, and is not; or it does not say at all.
    """
    reason = choice.get("finish_reason")
    if reason in GIVEN_UP:
        raise BadAnswerError(f"given up: its finish_reason is {reason}")
    if written is not None and written > length:
        raise BadAnswerError(f"{written:,} tokens were written, {length:,} were asked for")
    if reason in CUT_OFF:
        if written is not None and written < length:
            raise BadAnswerError(f"{written:,} tokens of {length:,} were written, and it says that it was cut off")
        return False
    if reason is None:
        if written is None:
            raise BadAnswerError("neither ended nor cut off: it has no finish_reason")
        return written < length
    return True
