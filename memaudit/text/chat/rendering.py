"""Conversations through a chat template, in a process of its own: its costs are limited, and nothing stays behind."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, Self

from memaudit.errors import ModelError, one_line

SECONDS = 120
"""Without an answer, after which the process is ended: it is ended by the system much sooner, unless it sleeps."""
LONGEST = 1 << 30
"""Bytes of an answer."""
Messages = list[dict[str, str]]

_CHILD = Path(__file__).with_name("sandbox.py")
_HINT = "another template can be given: --chat-template FILE"


class Answer(NamedTuple):
    """What a template makes of a conversation."""

    text: str = ""
    """The conversation, with marks around every reply; without, where ``prompts`` are given."""
    prompts: Sequence[str | None] | None = None
    """What stands before each reply, where the template moves what is in it: as it would ask for it."""
    refused: str = ""
    """Why it makes nothing of it."""


class Renderer:
    """A chat template at work; a context, at whose end its process is gone.

    Args:
        name: How messages call it.
        template: Its source.
        values: Its special tokens, by the names that transformers gives them.
        marks: Two characters: what stands before and behind every reply.
    """

    def __init__(self, name: str, template: str, values: Mapping[str, str], marks: str) -> None:
        self.name = name
        self.dated = False
        """Whether it asked what day it is."""
        self._told = json.dumps({"template": template, "values": dict(values), "marks": marks})
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD)],  # nothing beside the file may stand in for an installed module
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is ours to answer
        )
        try:
            self._tell(self._told)
            self._heard()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with suppress(OSError):
                process.communicate()

    def render(self, conversations: Sequence[Messages]) -> list[Answer]:
        """Return what the template makes of each conversation, marks in the contents of its replies.

        Raises:
            ModelError: It runs away, or is no template.
        """
        if not conversations:
            return []
        self._tell(json.dumps(conversations))
        return [self._answer(self._heard()) for _ in conversations]

    def _answer(self, told: dict[str, Any]) -> Answer:
        self.dated |= bool(told.get("dated"))
        if "refused" in told:
            return Answer(refused=one_line(str(told["refused"]), 200))
        text = told.get("text", told.get("plain"))
        if not isinstance(text, str) or not _is_unicode(text):
            return Answer(refused="it writes half of a character")
        return Answer(text, told.get("prompts"))

    def _tell(self, line: str) -> None:
        assert self._process is not None and self._process.stdin is not None, "within the context"
        with suppress(OSError):  # nobody there: told when the answer is read
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def _heard(self) -> dict[str, Any]:
        """Return the next answer; ModelError if the process ended over it, takes too long or says too much."""
        try:
            told = json.loads(self._line())
        except ValueError:
            raise self._error("its process crashed") from None
        if not isinstance(told, dict):
            raise self._error("its process crashed")
        if "fatal" in told:
            raise self._error(one_line(str(told["fatal"]), 200))
        return told

    def _line(self) -> bytes:
        assert self._process is not None and self._process.stdout is not None, "within the context"
        until, output = monotonic() + SECONDS, self._process.stdout.fileno()
        while (end := self._buffer.find(b"\n")) < 0:
            if not select.select([output], [], [], max(0.0, until - monotonic()))[0]:
                raise self._error(f"no answer within {SECONDS} seconds")
            data = os.read(output, 1 << 20)
            if not data:
                raise self._error(self._ending())
            self._buffer += data
            if len(self._buffer) > LONGEST:
                raise self._error("it writes without end")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _ending(self) -> str:
        """Return how the process ended, in words."""
        import signal

        assert self._process is not None, "within the context"
        code = self._process.wait()
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            return "it takes too long"
        return "its process crashed"

    def _error(self, reason: str) -> ModelError:
        return ModelError(f"{self.name}: the chat template cannot be used: {reason}", _HINT)


def _environment() -> dict[str, str]:
    """Return what Python needs to start; what else stands there (keys, say) is none of a template's business."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PYTHONHOME", "PATH") if name in os.environ}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
