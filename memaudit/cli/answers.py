"""``memaudit audit --answers``: outputs that somebody else produced, in place of a model."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from memaudit.cli.command import Command, invocation_of
from memaudit.cli.groups import names_in
from memaudit.cli.output import exit_with_verdict

if TYPE_CHECKING:
    from memaudit.audits.extraction.options import AuditOptions
    from memaudit.records import Shown

Files = Annotated[
    tuple[str, ...],
    typer.Option(metavar="FILE", help="Prompts, true texts and outputs of somebody else's; no MODEL is asked."),
]


def _field(help_text: str) -> Any:
    return typer.Option(metavar="NAME", help=help_text)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersFlags:
    """Answers in place of a model, and which fields of their records are read."""

    answers: Files = ()
    heldout_answers: Annotated[
        tuple[str, ...], typer.Option(metavar="FILE", help="Answers to prompts of text that the model never saw.")
    ] = ()
    prompt_field: Annotated[str, _field("Field of the prompt.")] = ""
    target_field: Annotated[str, _field("Field of the true text.")] = ""
    output_field: Annotated[str, _field("Field of the output, or of a list of attempts.")] = ""
    id_field: Annotated[str, _field("Field that attempts at one prompt share.")] = ""
    document_field: Annotated[str, _field("Field of the document that several prompts belong to.")] = ""
    domain_field: Annotated[str, _field("Field of what rates are shown apart by: a book, a task.")] = ""
    member_field: Annotated[str, _field("Field that is true where the model was trained on it.")] = ""


ABOUT_ANSWERS = names_in(AnswersFlags)
SHARED = frozenset(
    (
        *("call", "train", "index", "copies", "max_rate", "limit", "seed", "out", "formats", "redact"),
        *("show_personal", "tokenizer", "text_field", "split", "max_expand", "allow_overlap", "skip_bad"),
    )
)
"""Options of an audit that answers have a use for; the others say how a model is asked."""


class AuditCommand(Command):
    """An audit: of a model, or of answers."""

    def unused(self, ctx: Any) -> Collection[str]:
        """Return what this call has no use for: how a model is asked, or how answers are read."""
        if ctx.params["answers"]:
            return {p.name for p in self.params if p.name} - SHARED - ABOUT_ANSWERS
        return {*ABOUT_ANSWERS, *super().unused(ctx)}


def refuse_mixture(call: typer.Context) -> None:
    """Refuse what was typed and would not be followed.

    Raises:
        InputError: A flag about a model beside answers, one about answers without them, or neither of the two.
    """
    from memaudit.errors import InputError

    answered, unused = bool(call.params["answers"]), AuditCommand.unused(call.command, call)  # type: ignore[arg-type]
    for param in call.command.params:
        source = call.get_parameter_source(param.name or "")
        if param.name not in unused or source is None or source.name != "COMMANDLINE":
            continue
        if param.name == "model" and not call.params["model"]:  # an argument of any number is always given
            continue
        flag = "MODEL" if param.name == "model" else param.opts[0]
        if answered:
            raise InputError(f"{flag} is about a model, and --answers are given in place of one", f"leave out {flag}")
        raise InputError(f"{flag} is about answers, and none were given", "give --answers FILE")
    if not (answered or call.params["model"]):
        raise InputError("no MODEL", "name one, or give --answers FILE")


def audit_given(
    call: typer.Context,
    given: AnswersFlags,
    train: tuple[str, ...],
    index: Path | None,
    tokenizer: str,
    *,
    out: Path | None,
    options: AuditOptions,
    formats: tuple[str, ...],
    shown: Shown,
) -> NoReturn:
    """Audit answers, print the outcome, and end with the exit code of the verdict."""
    import dataclasses

    from memaudit.audits.answers.run import ALL, audit_answers
    from memaudit.report.terminal import announce_compilation, progress_bar

    announce_compilation()
    source = call.get_parameter_source("limit")
    if source is not None and source.name == "DEFAULT":
        options = dataclasses.replace(options, limit=ALL)
    fields = {name: getattr(given, name) for name in ABOUT_ANSWERS if name.endswith("_field")}
    with progress_bar("prompts") as progress:
        result = audit_answers(
            given.answers,
            given.heldout_answers,
            train=train,
            index=index,
            tokenizer=tokenizer or None,
            out=out,
            options=options,
            formats=formats,
            shown=shown,
            invocation=invocation_of(call),
            progress=progress,
            **fields,
        )
    exit_with_verdict(result)
