"""The command line: the root and its commands. Nothing heavy is imported before it is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from memaudit.cli.answers import AuditCommand
from memaudit.cli.audit import audit
from memaudit.cli.baseline import baseline
from memaudit.cli.command import CONFIG, App
from memaudit.cli.compare import compare
from memaudit.cli.contamination import GateCommand, contamination
from memaudit.cli.counterfactual import counterfactual
from memaudit.cli.demo import demo
from memaudit.cli.exploitation import exploitation
from memaudit.cli.gap import gap
from memaudit.cli.index import index_app
from memaudit.cli.laws import laws
from memaudit.cli.merge import merge
from memaudit.cli.output import echo
from memaudit.cli.plant import plant
from memaudit.cli.reconstruct import reconstruct
from memaudit.cli.report import report
from memaudit.cli.sample import sample
from memaudit.cli.schema import schema
from memaudit.cli.trace import trace
from memaudit.cli.train import train_app
from memaudit.cli.work import work

app = App(
    name="memaudit",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "MEMAUDIT", "help_option_names": ["-h", "--help"]},
)
app.add_typer(train_app, name="train")
app.add_typer(index_app, name="index")

COMMANDS: list[Callable[..., None]] = [
    *(demo, sample, audit, work, reconstruct, contamination, merge, baseline, compare, trace),
    *(plant, laws, counterfactual, exploitation, gap, report, schema),
]
for command in COMMANDS:
    app.command(cls={contamination: GateCommand, audit: AuditCommand}.get(command))(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        from memaudit.runs.provenance import version

        echo(f"memaudit {version()}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    debug: Annotated[  # noqa: ARG001 (process.py looks for it wherever it stands)
        bool, typer.Option("--debug", help="Show where an error came from.")
    ] = False,
    version: Annotated[  # noqa: ARG001 (its callback acts on it)
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Does a language model repeat text it was trained on, and has it seen the test?

    \b
    Examples:
      memaudit demo
      memaudit train gpt --corpus train.jsonl --out models/gpt
      memaudit audit models/gpt --train train.jsonl --heldout test.jsonl

    Exit codes: 0 policy met, 1 memorization found, 2 bad input or refused, 3 inconclusive.
    """
    if context.invoked_subcommand:
        from memaudit.config import config_file, load_config

        file = config_file(Path.cwd())
        context.meta[CONFIG] = file.name if file else ""
        context.default_map = load_config(
            Path.cwd(),
            known=_options(context, lambda _: True),
            lists=_options(context, lambda option: getattr(option, "multiple", False)),
            flags=_options(context, lambda option: getattr(option, "is_flag", False)),
        )


def _options(context: typer.Context, chosen: Callable[[Any], bool]) -> dict[str, list[str]]:
    """Return the names of the chosen options of every command."""
    found: dict[str, Any] = {}
    for name, command in context.command.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name}.{child}": inner[child] for child in inner}
    return {name: [option.name for option in command.params if chosen(option)] for name, command in found.items()}
