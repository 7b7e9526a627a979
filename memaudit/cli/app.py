"""The command line: parse, call, print, exit. No logic, and nothing heavy is imported before it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from memaudit.cli.asking import Reference, ReferenceCorpus, asked_membership
from memaudit.cli.command import CONFIG, App, Formats, TextFields, as_listed, invocation_of
from memaudit.cli.compare import compare
from memaudit.cli.contamination import GateCommand, baseline, contamination, merge
from memaudit.cli.exploitation import exploitation
from memaudit.cli.gap import gap
from memaudit.cli.index import index_app, trace
from memaudit.cli.laws import counterfactual, laws
from memaudit.cli.output import Redact, ShowPersonal, say, shown_texts, tell, tell_verdict
from memaudit.cli.plant import plant
from memaudit.cli.schema import schema
from memaudit.cli.train import MaxExpand, Seed, Split, train_app

if TYPE_CHECKING:
    from memaudit.audits.extraction.options import AuditOptions

app = App(
    name="memaudit",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"auto_envvar_prefix": "MEMAUDIT", "help_option_names": ["-h", "--help"]},
)
app.add_typer(train_app, name="train")
app.add_typer(index_app, name="index")

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model folder, a Hugging Face id, or python:module:factory.")
]
Device = Annotated[str, typer.Option(help="Where a torch model computes: cpu, cuda, ...")]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"], typer.Option(help="Precision of a torch model; float32 is exact.")
]
Download = Annotated[
    bool, typer.Option("--allow-download", help="Let a Hugging Face id be downloaded; nothing else is ever fetched.")
]
AuditOut = Annotated[Path | None, typer.Option(metavar="RUN", help="Run directory; by default runs/FAMILY-IDENTITY.")]
Prefix = Annotated[int, typer.Option(min=0, help="Tokens of a document that the model is given.")]
Suffix = Annotated[int, typer.Option(min=1, help="Tokens that it must then reproduce.")]
MaxRate = Annotated[
    float, typer.Option(min=0, max=1, help="Policy: share of training documents that may be extractable.")
]
AuditIndex = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Index of all training text, for copies; by default of --train.")
]
AuditCorpus = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SPEC", help="A path, a glob, json:PATH, hf:NAME:CONFIG:SPLIT, or DOMAIN=SPEC; repeat to add up."
    ),
]
TokenWindows = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="PREFIX.npy SUFFIX.npy", help="Windows as token ids of this model, instead of text."),
]
Measures = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LIST",
        help="Measure more: surface, coverage, probability, ...; several with commas, or repeat.",
        callback=as_listed,
    ),
]
Membership = Annotated[
    bool,
    typer.Option("--membership", help="Compare scores of whole documents too: does the model know the training text?"),
]
TopK = Annotated[int | None, typer.Option(min=1, help="Sample from the k most probable tokens.")]
TopP = Annotated[float | None, typer.Option(min=0, max=1, help="Sample from the nucleus of mass p.")]
AllowOverlap = Annotated[
    bool, typer.Option("--allow-overlap", help="Set held-out documents aside that overlap with train.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Count and list bad records, and go on.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error came from.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from memaudit.runs.provenance import version

        tell(f"memaudit {version()}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    debug: Debug = False,
    version: Annotated[
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


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for models, runs and the report.")] = Path(
        "memaudit-demo"
    ),
    seed: Seed = 0,
) -> None:
    """Train four families on text with planted passages, audit all four, write one report.

    Needs no file and no download: the text is what every Python installation carries.

    \b
    Examples:
      memaudit demo
      memaudit demo --out /tmp/demo --seed 7
    """
    from memaudit.demo import run_demo
    from memaudit.report.terminal import console, print_demo

    result = run_demo(out, seed=seed, say=console().print)
    print_demo(result.reports, console())
    tell(f"report: {result.html}")


@app.command()
def sample(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="One model, or several side by side.")],
    prompt: Annotated[str, typer.Option(help="Text to continue; empty starts a new document.")] = "",
    length: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 100,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy decoding.")] = 1.0,
    top_k: TopK = None,
    top_p: TopP = None,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    allow_download: Download = False,
) -> None:
    """Continue a prompt; with several models, print their continuations side by side.

    \b
    Examples:
      memaudit sample models/shannon --length 200
      memaudit sample models/shannon models/lstm models/gpt --prompt "The history of"
      memaudit sample models/gpt --prompt "def main(" --temperature 0
    """
    from memaudit.models.load import load_model
    from memaudit.models.sampling import continue_text, not_in_vocabulary
    from memaudit.records import Decoding
    from memaudit.report.terminal import console, print_continuations
    from memaudit.report.wording import counted

    decoding = Decoding(temperature, top_k, top_p, seed)
    loaded = [load_model(m, device=device, dtype=dtype, allow_download=allow_download) for m in models]
    texts, ended = zip(*(continue_text(model, prompt, length, decoding) for model in loaded), strict=True)
    for name, model, tokens in zip(models, loaded, ended, strict=True):
        if tokens is not None:
            say(f"{name}: ended the text after {counted(tokens, 'token', 'tokens')}")
        if lacking := not_in_vocabulary(model, prompt):
            say(f"{name}: its vocabulary lacks {', '.join(map(repr, lacking))}, which it reads as an unknown token")
    print_continuations(prompt, list(zip(models, texts, strict=True)), console())


@app.command()
def audit(
    call: typer.Context,
    model: Model,
    train: AuditCorpus = None,
    heldout: AuditCorpus = None,
    windows: TokenWindows = None,
    heldout_windows: TokenWindows = None,
    out: AuditOut = None,
    prefix: Prefix = 50,
    suffix: Suffix = 50,
    limit: Annotated[int, typer.Option(min=1, help="Most windows a side.")] = 1000,
    max_rate: MaxRate = 0.01,
    fuzzy: Annotated[bool, typer.Option(help="Continue windows that are not verbatim, for fuzzy metrics.")] = True,
    index: AuditIndex = None,
    copies: Annotated[bool, typer.Option(help="Count what is found, and what is said instead, in training.")] = True,
    measure: Measures = None,
    membership: Membership = False,
    reference: Reference = None,
    reference_corpus: ReferenceCorpus = None,
    temperature: Annotated[float, typer.Option(help="For measures that sample; the verdict is greedy.")] = 1.0,
    top_k: TopK = None,
    top_p: TopP = None,
    allow_overlap: AllowOverlap = False,
    skip_bad: SkipBad = False,
    formats: Formats = None,
    redact: Redact = None,
    show_personal: ShowPersonal = False,
    text_field: TextFields = None,
    split: Split = "auto",
    max_expand: MaxExpand = None,
    seed: Seed = 0,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    allow_download: Download = False,
) -> None:
    """Audit a model: does it continue its training text verbatim, more than text it never saw?

    The same command resumes an interrupted run.

    \b
    Examples:
      memaudit audit models/gpt --train train.jsonl --heldout test.jsonl
      memaudit audit gpt2 --train hf:wikitext:wikitext-2-raw-v1:train[:1%] --heldout essays.txt --limit 300
      memaudit audit python:adapters:my_model --train 'books/*.txt' --heldout new.txt --max-rate 0.001
      memaudit audit models/gpt --train train.jsonl --heldout test.jsonl --measure surface,probability
      memaudit audit models/gpt --train train.jsonl --heldout test.jsonl --membership --reference train
      memaudit audit EleutherAI/gpt-neo-1.3B --windows val_prefix.npy val_suffix.npy --measure protocol
    """
    from memaudit.audits.extraction.run import audit
    from memaudit.models.load import load_model
    from memaudit.report.terminal import announce_compilation, progress_bar

    announce_compilation()
    options = _audit_options(call.params)
    loaded = load_model(model, device=device, dtype=dtype, allow_download=allow_download)
    with progress_bar("windows") as progress:
        result = audit(
            loaded,
            train or (),
            heldout or (),
            windows=windows,
            heldout_windows=heldout_windows,
            index=index,
            out=out,
            options=options,
            name=model,
            invocation=invocation_of(call),
            formats=call.params["formats"],
            shown=shown_texts(redact, show_personal),
            progress=progress,
        )
    tell_verdict(result)


def _audit_options(params: Mapping[str, Any]) -> AuditOptions:
    from dataclasses import fields

    from memaudit.audits.extraction.options import AuditOptions

    chosen = {field.name: params[field.name] for field in fields(AuditOptions) if field.name in params}
    chosen["membership"] = asked_membership(params)
    return AuditOptions(**chosen, measures=tuple(params["measure"]))


app.command(cls=GateCommand)(contamination)
for command in (merge, baseline, compare, trace, plant, laws, counterfactual, exploitation, gap, schema):
    app.command()(command)


@app.command()
def report(
    call: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    formats: Formats = None,
    redact: Redact = None,
    show_personal: ShowPersonal = False,
) -> None:
    """Write the report of a run again and print its verdict; needs neither the model nor the corpora.

    \b
    Examples:
      memaudit report runs/gpt-0a1b2c3d4e5f
      memaudit report runs/gpt-0a1b2c3d4e5f --format html,junit
      memaudit report runs/gpt-0a1b2c3d4e5f --format md --redact
    """
    from memaudit.report.disclosure import disclosed
    from memaudit.report.formats import print_report, writers
    from memaudit.report.terminal import console
    from memaudit.runs.directory import read_finished

    shown = shown_texts(redact, show_personal)
    pages = [write(run) for write in writers(call.params["formats"], shown=shown)]
    print_report(disclosed(read_finished(run), shown).report, console())
    for page in pages:
        tell(f"report: {page}")
