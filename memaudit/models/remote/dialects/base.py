"""What every dialect is asked, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from memaudit.errors import ModelError
from memaudit.models.remote.results import Scored, Written
from memaudit.models.remote.transport import Transport
from memaudit.records import GREEDY, Capabilities, Capability, Decoding, TokenIds, Window
from memaudit.text.tokenize import Tokenizer

WRITES: Capabilities = frozenset((Capability.CONTINUATIONS, Capability.WRITING))
SCORES: Capabilities = WRITES | {Capability.LOG_PROBS, Capability.LEFT_TO_RIGHT}
KNOWS_ALL: Capabilities = SCORES | {Capability.MOMENTS, Capability.DISTRIBUTIONS}
"""Of a server that lists every token of the vocabulary."""


class Dialect(ABC):
    """One way of asking a server. Every answer is checked here: other ids than were sent are a `BadAnswerError`.

    Args:
        transport: To the server.
        served: Name of the model there.
        tokenizer: Of the model.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    """In words, for reports: ``vLLM, prompt_logprobs``."""
    takes_ids: ClassVar[bool] = True
    """Whether prompts are sent as token ids; else as text, start token included."""
    joins: ClassVar[bool] = True
    """Whether what is written stands right behind the prompt; else it is an answer to it, which stands by itself."""
    instruction: ClassVar[str] = ""
    """What is said before a text that is to be continued, where a prompt is a message."""
    room: ClassVar[int] = 0
    """Tokens that must have room behind a text that is scored."""

    def __init__(self, transport: Transport, served: str, tokenizer: Tokenizer) -> None:
        self.transport, self.served, self.tokenizer = transport, served, tokenizer
        self.gives: Capabilities = WRITES
        """Settled by `recognise`."""
        self.listed: int | None = None
        """Likeliest tokens among which a rank is looked up; None: the whole vocabulary."""
        self.puts_start = False
        """Of one that takes text: whether the server puts the start token before it by itself."""

    @abstractmethod
    def recognise(self, prompt: TokenIds, suffix: TokenIds) -> bool:
        """Ask the least that tells whether the server speaks this dialect, and settle what it gives.

        A server that ignores a field answers with 200 all the same: what counts is what stands in the answer.
        Nothing is kept of what is asked here.
        """

    def score(
        self,
        prompt: TokenIds,  # noqa: ARG002
        suffix: TokenIds,  # noqa: ARG002
        *,
        kept: bool = True,  # noqa: ARG002
        attempt: int = 0,  # noqa: ARG002
    ) -> Scored:
        """Return what the server says of ``suffix`` behind ``prompt`` (start token included), a value a token.

        Raises:
            ModelError: It gives no log-probabilities of a given text, or there is nothing before the first token.
        """
        raise ModelError(
            f"{self.transport.url}: gives no log-probabilities of a given text ({self.label})",
            "leave out what is measured by them",
        )

    def next_log_probs(self, prompt: TokenIds, *, kept: bool = True) -> dict[int, float]:  # noqa: ARG002
        """Return log p of every token of the vocabulary by its id, behind a prompt.

        Raises:
            ModelError: The server does not list the whole vocabulary: it `KNOWS_ALL` or does not.
        """
        raise ModelError(
            f"{self.transport.url}: gives no next-token distribution ({self.label})", "leave this measure out"
        )

    @abstractmethod
    def write(
        self, prompt: TokenIds, length: int, decoding: Decoding, *, seed: int = 0, attempt: int = 0, kept: bool = True
    ) -> Written:
        """Return at most ``length`` tokens behind a prompt (start token included), fewer where the model ended.

        Args:
            prompt: Token ids.
            length: Most tokens.
            decoding: Greedy, or sampled with all that a server may add to it switched off.
            seed: Of sampling.
            attempt: Tells repetitions apart.
            kept: See `Transport.ask`.
        """

    def continue_window(
        self, window: Window, prompt: TokenIds, length: int, *, attempt: int = 0, kept: bool = True
    ) -> Written:
        """Return the greedy continuation of a window's prefix, as `write` does of any prompt.

        One that asks by messages says here what is to be done with the text; what `write` is given says so itself.

        Args:
            window: With what was said before, where it is of a conversation.
            prompt: Its prefix, start token included.
            length: Most tokens.
            attempt: As of `write`.
            kept: As of `write`.
        """
        del window
        return self.write(prompt, length, GREEDY, attempt=attempt, kept=kept)
