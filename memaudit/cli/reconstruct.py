"""``memaudit reconstruct``: how much of a work a model writes by itself, from its first words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memaudit.cli.command import invocation_of
from memaudit.cli.groups import Panel
from memaudit.cli.options import (
    MODEL_FORMS,
    REACHED,
    Formats,
    ReachableFlags,
    Seed,
    ShownFlags,
    TextFields,
    TopK,
    TopP,
    text_field_of,
)
from memaudit.cli.output import Spending, exit_with_verdict

if TYPE_CHECKING:
    from memaudit.audits.reconstruction.options import ReconstructionOptions
    from memaudit.models.remote.address import Endpoint
    from memaudit.records import StartToken
    from memaudit.text.corpus.fields import TextField


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFlags:
    """The works, and those that stand beside them."""

    text: Annotated[tuple[str, ...], typer.Option(metavar="FILE", help="The work, one a file; repeat for several.")]
    heldout: Annotated[
        tuple[str, ...],
        typer.Option(metavar="FILE", help="A work of its kind that the model cannot have seen: a control; repeat."),
    ] = ()
    text_field: TextFields = ("text",)


@dataclass(frozen=True, slots=True, kw_only=True)
class WritingFlags:
    """What the model is given, how it writes, and when it has written enough."""

    seed_tokens: Annotated[
        int, typer.Option(min=1, help="First tokens of the work that are given, and at each new beginning.")
    ] = 50
    reseeds: Annotated[
        int, typer.Option(min=0, help="How often the next tokens may be given where it leaves the work: help.")
    ] = 0
    patience: Annotated[
        int, typer.Option(min=1, help="Tokens without new words of the work, after which writing stops.")
    ] = 500
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most tokens that it writes; by default as many as the work has, and more to begin anew."
        ),
    ] = None
    attempts: Annotated[
        int, typer.Option(min=1, help="At what follows given tokens; the best is gone on with, all are counted.")
    ] = 1
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy decoding.")] = 0.0
    top_k: TopK = None
    top_p: TopP = None
    context: Annotated[
        int | None, typer.Option(min=2, help="Positions of the model that are used; by default all it has.")
    ] = None

    def options(self, seed: int, text_field: TextField, start_token: StartToken) -> ReconstructionOptions:
        """Return how to ask."""
        from memaudit.audits.reconstruction.options import ReconstructionOptions

        return ReconstructionOptions(
            seed_tokens=self.seed_tokens,
            reseeds=self.reseeds,
            patience=self.patience,
            max_tokens=self.max_tokens,
            attempts=self.attempts,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            context=self.context,
            start_token=start_token,
            seed=seed,
            text_field=text_field,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalFlags:
    """How many tokens asking a server may take, where --max-tokens is what the model writes."""

    max_total_tokens: Annotated[
        int | None, typer.Option(min=1, help="Budget: tokens of the run, read and written together; never exceeded.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterFlags(ReachableFlags):
    """How a model that writes is loaded or reached."""

    total: Annotated[TotalFlags, Panel(REACHED)]

    @property
    def endpoint(self) -> Endpoint:
        """How addresses are reached."""
        return self.reaching.reached(self.total.max_total_tokens)


def reconstruct(
    call: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_FORMS)],
    *,
    works: WorkFlags,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Run directory; by default runs/reconstruction-IDENTITY.")
    ] = None,
    writing: WritingFlags,
    shown: ShownFlags,
    loading: WriterFlags,
    formats: Formats = ("html",),
    seed: Seed = 0,
) -> None:
    """Let a model write a work on from its first words: how much of it comes back, in passages of 100 words?

    The page sets the work and the output side by side. What the model was given is never counted as had back. The same
    command continues what the folder holds.

    \b
    Examples:
      memaudit reconstruct models/gpt --text alice.txt --heldout emma.txt
      memaudit reconstruct models/gpt --text alice.txt --heldout emma.txt --reseeds 10
      memaudit reconstruct models/gpt --text alice.txt --temperature 1 --top-k 40 --attempts 20 --max-tokens 5000

    Exit codes: 1 a passage of 100 words or more was written, and none of a control work; 3 inconclusive; 2 bad input.
    """
    from memaudit.audits.reconstruction.run import reconstruct
    from memaudit.report.terminal import announce_compilation, progress_bar

    announce_compilation()
    spending = Spending()
    with progress_bar("tokens", spending) as progress:
        done = reconstruct(
            model,
            works.text,
            works.heldout,
            out=out,
            options=writing.options(seed, text_field_of(works.text_field), loading.start_token),
            invocation=invocation_of(call),
            formats=formats,
            shown=shown.shown,
            progress=progress,
            load=spending.of(loading.load_audited),
            base=loading.base_of(model),
        )
    exit_with_verdict(done)
