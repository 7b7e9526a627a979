"""One tree of errors; each carries what happened, what to do about it, and the exit code it earns.

The command line prints ``memaudit: error: <message> (<hint>)`` on one line and exits with
``exit_code``; nothing else in the package decides exit codes of failures.
"""

from __future__ import annotations


class MemauditError(Exception):
    """Anything that stops a command for a reason the user can act on.

    Args:
        message: What is wrong and where (``file:line`` whenever a file is at fault).
        hint: What to do about it; shown in parentheses after the message.
    """

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InputError(MemauditError):
    """Text, option or file that cannot be used as given."""


class ModelError(MemauditError):
    """A model that is refused: unreadable, incomplete, non-finite, or not what it claims to be."""


class EndpointError(MemauditError):
    """A server that cannot be asked any more: it is gone, refuses the key, says something else, or costs too much.

    It ends a run, which can be resumed; unlike a model that merely cannot do something.
    """


class RunError(MemauditError):
    """A run directory that is busy, damaged, or belongs to another plan."""


class ExitWithVerdict(SystemExit):
    """Ends a command with the exit code of a verdict: 0 clean, 1 found, 3 inconclusive."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


OUT_OF_MEMORY = (
    "out of memory", "can't allocate memory", "not enough memory", "alloc_failed", "cannot allocate memory",
    "failed to map segment", "can't start new thread", "bad_alloc",
)  # fmt: skip
"""What allocators, loaders and threads say, in lower case; only some of them raise an error of a type of its own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on the machine or on an accelerator."""
    said = isinstance(error, RuntimeError | ImportError | OSError)
    told = said and any(words in str(error).lower() for words in OUT_OF_MEMORY)
    return told or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def one_line(text: str, limit: int = 300) -> str:
    r"""Return ``text`` as one harmless terminal line: control characters as ``\x1b``, at most ``limit`` long.

    Bidirectional controls and line separators are escaped too: an error message quotes file names
    and records that nobody vetted.
    """
    escaped = _escaped(text)
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"


def one_line_of_both_ends(text: str, limit: int = 300) -> str:
    """Return one harmless terminal line as `one_line` does, cut in its middle: a long path has its reason behind it."""
    escaped = _escaped(text)
    behind = limit * 2 // 3
    return escaped if len(escaped) <= limit else f"{escaped[: limit - behind - 1]}…{escaped[-behind:]}"


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
