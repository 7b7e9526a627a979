"""How a training shows its progress: a bar on a terminal, a line every 10% elsewhere, or nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TextIO

from memaudit.stats.rounding import count, loss


@dataclass(frozen=True, slots=True)
class Status:
    """How far a training is."""

    step: int
    steps: int
    loss: float
    """Running training loss in bits per token."""
    tokens_per_second: float
    seconds_left: float

    def __str__(self) -> str:
        left = round(self.seconds_left)
        return (
            f"step {self.step}/{self.steps}  loss {loss(self.loss)} bits/token  "
            f"{count(self.tokens_per_second)} tokens/s  {left // 60}:{left % 60:02d} left"
        )


class Progress(Protocol):
    """What the training loop reports to."""

    def update(self, status: Status) -> None:
        """Take notice of a finished step."""

    def note(self, message: str) -> None:
        """Say something once: a validation loss, a resumed run."""

    def close(self) -> None:
        """End the report, whether the training is complete or not."""


class SilentProgress:
    """Says nothing."""

    def update(self, status: Status) -> None:
        """Do nothing."""

    def note(self, message: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class LineProgress:
    """Writes a plain line whenever another tenth of the steps is done."""

    def __init__(self, stream: TextIO, label: str) -> None:
        self.stream, self.label = stream, label

    def update(self, status: Status) -> None:
        """Write a line at every tenth."""
        if 10 * status.step // status.steps > 10 * (status.step - 1) // status.steps:
            self.note(f"{100 * status.step // status.steps}%  {status}")

    def note(self, message: str) -> None:
        """Write a line."""
        with suppress(OSError):  # progress is a courtesy
            print(f"{self.label}: {message}", file=self.stream, flush=True)

    def close(self) -> None:
        """Do nothing: every line is written."""


class BarProgress:
    """Draws a bar on a terminal."""

    def __init__(self, stream: TextIO, label: str) -> None:
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        name, status = TextColumn("{task.description}"), TextColumn("{task.fields[status]}")
        self.bar = Bar(name, BarColumn(bar_width=24), status, console=Console(file=stream))
        self.label = label
        self.task = self.bar.add_task(escape(label), total=None, status="")
        self.bar.start()

    def update(self, status: Status) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=status.step, total=status.steps, status=str(status))

    def note(self, message: str) -> None:
        """Print a line above the bar."""
        self.bar.console.print(f"{self.label}: {message}", markup=False, highlight=False)

    def close(self) -> None:
        """Leave the bar as it is and give the line back."""
        self.bar.stop()


def progress_on(stream: TextIO, label: str, *, quiet: bool = False) -> Progress:
    """Return the progress report that suits ``stream``: a bar for a terminal, plain lines for others."""
    if quiet:
        return SilentProgress()
    return BarProgress(stream, label) if stream.isatty() else LineProgress(stream, label)
