"""Servers that give text alone: ``transformers serve``, TGI, Ollama, hosted ``/completions``.

Prompts are sent as text. A server may read a text as other tokens than those it was decoded from, where these are cut
as no text is (`memaudit.models.remote.seams.moved` counts them); it was asked for what follows the text all the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any, ClassVar

from memaudit.models.remote.dialects.base import Dialect, Written
from memaudit.models.remote.seams import as_text
from memaudit.models.remote.transport import BadAnswerError, RefusedRequestError
from memaudit.records import GREEDY, Decoding, TokenIds
from memaudit.text.tokenize import special_ids

PATH = "/completions"
TRIES = 4
"""Samples at the highest temperature that every service takes: one that samples gives another text than its greedy
one in any of them."""
HOTTEST = Decoding(2.0)
CUT_OFF = ("length", "max_tokens")
"""``finish_reason`` of a text that was as long as it might be; whatever else a server says, it stopped by itself."""


class TextDialect(Dialect):
    """Asks for text behind text."""

    name: ClassVar[str] = "text"
    label: ClassVar[str] = "text alone"
    takes_ids: ClassVar[bool] = False

    samples: bool | None = None
    """Whether it draws samples where it is asked to; None: not known yet."""

    def recognise(self, prompt: TokenIds, suffix: TokenIds) -> bool:
        """Ask for text, and find out who puts the start token and whether samples are drawn.

        A server that counts one token more than the text has puts a start token by itself.
        """
        read = partial(_read, length=len(suffix), counts=None)
        text, count = self._sent(prompt, start=False)
        body = self._body(text, len(suffix), GREEDY)
        try:
            answer = self.transport.ask(PATH, body, read, tokens=max(count) + len(suffix), kept=False)
        except RefusedRequestError:
            return False
        self.puts_start = self.tokenizer.bos_id is not None and answer["read"] in {each + 1 for each in count}
        return True

    def write(
        self, prompt: TokenIds, length: int, decoding: Decoding, *, seed: int = 0, attempt: int = 0, kept: bool = True
    ) -> Written:
        """Return the text behind that of a prompt; its tokens where the server tells them."""
        text, counts = self._sent(prompt, start=not self.puts_start)
        if self.puts_start and self.tokenizer.bos_id is not None:
            counts = {count + 1 for count in counts}
        body = self._body(text, length, decoding, drawn_by(seed, attempt))
        read = partial(_read, length=length, counts=counts)
        answer = self.transport.ask(PATH, body, read, tokens=max(counts) + length, attempt=attempt, kept=kept)
        return Written(answer["text"], None, answer["ended"])

    def _body(self, text: str, length: int, decoding: Decoding, seed: int = 0) -> dict[str, Any]:
        # A frequency penalty of 0 lifts the repetition penalty that a model's folder may set (transformers serve).
        # What is not asked for is not sent: some refuse a top-p of 1, others take a presence penalty of 0 for one of 2.
        body = {"model": self.served, "prompt": text, "max_tokens": length, "frequency_penalty": 0}
        return body | sampled(decoding, seed)

    def _sent(self, prompt: TokenIds, *, start: bool) -> tuple[str, set[int]]:
        """Return the text of a prompt, and how many tokens a server may count in it.

        Args:
            prompt: Token ids; a start token that it begins with is written by name or left out.
            start: Whether to write it.
        """
        first = self.tokenizer.bos_id
        begins = first is not None and len(prompt) > 0 and int(prompt[0]) == first
        text = as_text(self.tokenizer, prompt[1:] if begins else prompt).text
        counts = self.counted(text)
        if begins and start and first is not None:
            return self.tokenizer.decode([first]) + text, {count + 1 for count in counts}
        return text, counts

    def counted(self, text: str) -> set[int]:
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
    return {
        "temperature": decoding.temperature,
        "seed": seed,
        **{name: cut for name, cut in cuts.items() if cut is not None},
    }


def drawn_by(seed: int, attempt: int) -> int:
    """Return the seed of an attempt: servers give the same text for the same seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{attempt}".encode()).digest()[:4], "big") >> 1


def only_choice(answer: Any) -> Mapping[str, Any]:
    """Return the one choice of an answer.

    Raises:
        BadAnswerError: There is none, or several.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise BadAnswerError("no choice in it")
    return choices[0]


def used(answer: Mapping[str, Any], name: str) -> int | None:
    """Return ``prompt_tokens`` or ``completion_tokens`` of an answer; None where it does not say."""
    usage = answer.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if type(count) is int else None


def has_ended(choice: Mapping[str, Any], written: int | None, length: int) -> bool:
    """Return whether a model stopped by itself.

    Args:
        choice: Of the answer.
        written: Tokens that the server counts; None where it does not say.
        length: Tokens that were asked for.

    Raises:
        BadAnswerError: The answer says that it is as long as it might be, and is not; or it does not say at all.
    """
    if written is not None and written > length:
        raise BadAnswerError(f"{written:,} tokens where {length:,} were asked for")
    reason = choice.get("finish_reason")
    if reason in CUT_OFF:
        if written is not None and written < length:
            raise BadAnswerError(f"{written:,} tokens of {length:,}, and it says that it wrote all")
        return False
    if reason is None and written is None:
        raise BadAnswerError("it does not say why the text ends: no finish_reason")
    return written is None or written < length or reason is not None


def _read(answer: Any, length: int, counts: set[int] | None) -> dict[str, Any]:
    choice = only_choice(answer)
    text, prompt = choice.get("text"), used(answer, "prompt_tokens")
    if not isinstance(text, str):
        raise BadAnswerError("no text in it")
    if counts is not None and prompt is not None and prompt not in counts:
        raise BadAnswerError(f"it read {prompt:,} tokens of a text that has {min(counts):,}")
    written = used(answer, "completion_tokens")
    return {"text": text, "ended": has_ended(choice, written, length), "read": prompt}
