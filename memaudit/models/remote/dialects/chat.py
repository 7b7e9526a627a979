"""Servers that are asked by messages: ``/chat/completions``.

The text of a window is sent as a message of the user, behind an instruction to continue it; conversations as the
messages that they are. A template stands around all of them, so what comes back continues no text: it is an answer.
Only its beginning is compared, since nothing tells where an answer that begins otherwise would quote. White space
before it is not compared: answers begin without the space that a text goes on with.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from memaudit.models.remote.dialects.answers import only_choice
from memaudit.models.remote.dialects.text import Sent, Text, has_ended, used
from memaudit.models.remote.results import Written
from memaudit.models.remote.transport import BadAnswerError
from memaudit.records import GREEDY, Decoding, TokenIds, Turn, Window

SLACK = 2
"""Tokens of a message that the template's may join."""
THOUGHTS = ("reasoning_content", "reasoning")
"""Names that servers have for what a model writes before its answer."""
THINKS = "<think>"
AROUND = 1024
"""Tokens that a template may put around messages, for the budget; the server counts what it took."""


class Chat(Text):
    """Asks for the answer to messages."""

    name: ClassVar[str] = "chat"
    label: ClassVar[str] = "answers to messages"
    path: ClassVar[str] = "/chat/completions"
    joins: ClassVar[bool] = False
    instruction: ClassVar[str] = (
        "Below is the beginning of a text. Go on with it exactly as the original does, word for word, from where it "
        "breaks off. Write the continuation alone: no remark, no quotation marks, nothing of what is given."
    )
    limit = "max_tokens"
    """Name of the field that limits an answer."""

    def recognise(self, prompt: TokenIds, suffix: TokenIds) -> bool:
        """Ask for an answer, and find out whether samples are drawn and by what name answers are limited.

        Raises:
            ModelError: The model writes thoughts first, which take up the tokens of its answers.
        """
        for limit in ("max_tokens", "max_completion_tokens"):
            self.limit = limit
            if super().recognise(prompt, suffix):
                self.puts_start = False  # whatever stands there is the template's
                return True
        return False

    def continue_window(
        self, window: Window, prompt: TokenIds, length: int, *, attempt: int = 0, kept: bool = True
    ) -> Written:
        """Ask for the reply to what was said before, or for the continuation of a text."""
        if window.turns is None:
            sent = self._to_continue(self._text_of(prompt)[1])
        else:
            sent = self._messages(self._fitting(window))
        return self._written(sent, length, GREEDY, attempt=attempt, kept=kept)

    def go_on(
        self, text: str, length: int, decoding: Decoding, *, starts: bool, seed: int = 0, attempt: int = 0
    ) -> Written:
        """Ask for the continuation of a text."""
        del starts
        return self._written(self._to_continue(text), length, decoding, seed=seed, attempt=attempt)

    def _to_continue(self, text: str) -> Sent:
        return self._messages([Turn("user", f"{self.instruction}\n\n{text}")])

    def _fitting(self, window: Window) -> Sequence[Turn]:
        """Return what was said before a reply, without the first turns where the prefix was cut."""
        turns = window.turns or ()
        if not window.cut:
            return turns
        head = [turn for turn in turns[:1] if turn.role in ("system", "developer")]
        rest = list(turns[len(head) :])
        while len(rest) > 1 and self._messages([*head, *rest]).tokens - AROUND > len(window.prefix):
            del rest[0]
        return [*head, *rest]

    def _sent(self, prompt: TokenIds, *, start: bool) -> Sent:
        del start
        return self._messages([Turn("user", self._text_of(prompt)[1])])

    def _messages(self, turns: Sequence[Turn]) -> Sent:
        counted = self.tokenizer.encode_batch([turn.content for turn in turns])
        least = sum(max(0, len(encoding) - SLACK) for encoding in counted)
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        return Sent({"messages": messages}, sum(map(len, counted)) + AROUND, (least,))

    def _limit(self, length: int) -> Mapping[str, int]:
        return {self.limit: length}

    def _read(self, answer: Any, length: int, counts: Collection[int]) -> dict[str, Any]:
        choice = only_choice(answer)
        message, read = choice.get("message"), used(answer, "prompt_tokens")
        if not isinstance(message, Mapping):
            raise BadAnswerError("an answer without a message")
        text, refusal = message.get("content"), message.get("refusal")
        thought = any(isinstance(message.get(name), str) and message[name].strip() for name in THOUGHTS)
        if thought or (isinstance(text, str) and text.lstrip().startswith(THINKS)):
            raise BadAnswerError("the model writes thoughts before its answer, which take up its tokens")
        if text is None and isinstance(refusal, str):
            text = refusal
        if not isinstance(text, str):
            raise BadAnswerError("an answer without text")
        if counts and read is not None and read < min(counts):
            raise BadAnswerError(f"{read:,} tokens of prompt were read, {min(counts):,} at least were sent")
        return {"text": text, "ended": has_ended(choice, used(answer, "completion_tokens"), length), "read": read}
