"""``memaudit contamination``: text is searched for the items of a benchmark, or a model is queried about them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperOption

from memaudit.cli.command import Command, invocation_of
from memaudit.cli.groups import Panel, names_in
from memaudit.cli.options import (
    ASKING,
    MODEL_FORMS,
    Formats,
    LoadingFlags,
    ReferenceFlags,
    Seed,
    ShownFlags,
    SkipBad,
    TextFlags,
)
from memaudit.cli.output import Spending, exit_with_verdict

if TYPE_CHECKING:
    from memaudit.audits.comparison.options import MembershipOptions
    from memaudit.audits.contamination.conclude import Judgement
    from memaudit.audits.contamination.run import ContaminationOptions

Benchmark = Annotated[
    tuple[str, ...], typer.Argument(metavar="BENCHMARK...", help="Files of items: JSON, CSV, Parquet; - is stdin")
]
Out = Annotated[Path | None, typer.Option(metavar="RUN", help="Run directory; by default runs/contamination-IDENTITY.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFlags:
    """The text that is searched."""

    corpus: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="SPEC", help="Text to search: a path, a quoted glob, hf:NAME:CONFIG:SPLIT; repeat to add up."
        ),
    ] = ()
    index: Annotated[
        tuple[Path, ...],
        typer.Option(metavar="DIR", help="An index of the text, instead of --corpus; repeat to add up."),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFlags:
    """What an item of the benchmark is."""

    field: Annotated[
        tuple[str, ...],
        typer.Option(metavar="NAME", help="Field of an item to check; repeat. Well-known layouts need none."),
    ] = ()
    id_field: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Field that names the items, a.b inside an object; by default id and such."),
    ] = None

    def options(self, text: TextFlags, skip_bad: bool) -> ContaminationOptions:
        """Return what is searched for, and how the text is read."""
        from memaudit.audits.contamination.run import ContaminationOptions

        return ContaminationOptions(
            text_field=text.field,
            split=text.split,
            skip_bad=skip_bad,
            max_expand=text.max_expand,
            fields=self.field,
            id_field=self.id_field,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFlags:
    """How text is searched, and the policy that findings are held against."""

    max_items: Annotated[
        int | None, typer.Option(min=0, help="Policy: contaminated items that are tolerated; by default none.")
    ] = None
    max_rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="Policy: share of the items that may be contaminated.")
    ] = None
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Accepted findings, as `memaudit baseline` wrote them.")
    ] = None
    clean_split: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the clean and the contaminated items as two files.")
    ] = None
    scores: Annotated[
        tuple[Path, ...],
        typer.Option(
            metavar="FILE", help="Item id and correct or not: compare both kinds of items; repeat for models."
        ),
    ] = ()
    shard: Annotated[str, typer.Option(metavar="I/N", help="Do every N-th file from the I-th; `merge` joins.")] = "1/1"
    processes: Annotated[int, typer.Option(min=1, help="Files searched at the same time.")] = 1

    def judgement(self, redact: bool) -> Judgement:
        """Return what findings are judged by; without a policy none is tolerated."""
        from memaudit.audits.contamination.conclude import Judgement

        unlimited = self.max_items is None and self.max_rate is None
        return Judgement(
            max_items=0 if unlimited else self.max_items,
            max_rate=self.max_rate,
            baseline=str(self.baseline) if self.baseline else None,
            scores=tuple(map(str, self.scores)),
            redact=redact,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AskingFlags:
    """Which model is queried, against what, and by which detectors."""

    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help=f"Query this model instead of searching text. {MODEL_FORMS}",
        ),
    ] = None
    heldout: Annotated[
        tuple[str, ...],
        typer.Option(metavar="SPEC", help="Items of the same kind that the model cannot have seen; repeat to add up."),
    ] = ()
    references: ReferenceFlags
    detector: Annotated[
        tuple[str, ...],
        typer.Option(metavar="NAME", help="{detectors}; repeat. By default all that fit."),
    ] = ()
    randomised: Annotated[
        bool, typer.Option("--randomised", help="A coin decided which items are suspects: tests are exact.")
    ] = False
    paired: Annotated[
        bool, typer.Option("--paired", help="An item and the held-out one of the same id are a pair, as text and twin.")
    ] = False
    guided: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Name of the data set, for models that follow instructions: does naming it help?"
        ),
    ] = ""
    guided_split: Annotated[str, typer.Option(help="Its split, as the instruction names it.")] = "test"
    tokens: Annotated[int, typer.Option(min=2, help="Tokens of an item that are scored.")] = 512
    masks: Annotated[
        int | None,
        typer.Option(min=1, help="Masked models: the mean of so many random maskings, an approximation (10 or more)."),
    ] = None
    alpha: Annotated[float, typer.Option(help="Family-wise level of all detectors.")] = 0.05
    detectable: Annotated[
        float, typer.Option(help='AUC that must be detectable before "no evidence" is concluded.')
    ] = 0.6
    order_permutations: Annotated[int, typer.Option(min=1, help="Random orders of the whole file (n-grams).")] = 999
    order_tokens: Annotated[
        int, typer.Option(min=2, help="Tokens of an item that the order test reads (networks).")
    ] = 64
    overlap_prefix: Annotated[
        float, typer.Option(help="Share of an item that is given before it must be continued.")
    ] = 0.5
    seed: Seed = 0
    loading: LoadingFlags

    def options(self, items: ItemFlags, text: TextFlags, skip_bad: bool) -> MembershipOptions:
        """Return what the detectors measure, and what is concluded from it."""
        from memaudit.audits.comparison.options import MembershipOptions

        return MembershipOptions(
            alpha=self.alpha,
            detectable=self.detectable,
            tokens=self.tokens,
            masks=self.masks,
            randomised=self.randomised,
            paired=self.paired,
            references=self.references.reference,
            reference_corpus=self.references.reference_corpus,
            order_permutations=self.order_permutations,
            order_tokens=self.order_tokens,
            overlap_prefix=self.overlap_prefix,
            guided=self.guided,
            guided_split=self.guided_split,
            fields=items.field,
            id_field=items.id_field,
            skip_bad=skip_bad,
            max_expand=text.max_expand,
            text_field=text.field,
            split=text.split,
            start_token=self.loading.start_token,
            detectors=self.detector,
            seed=self.seed,
        )


SEARCHING = names_in(SourceFlags, SearchFlags)
"""Names of the flags that concern a search of text, and nothing else."""
OF_MODEL = names_in(AskingFlags) - {"model"}
"""Names of the flags that concern a model, and nothing else."""


class GateCommand(Command):
    """The search: it does not take the files of a corpus for benchmarks because a shell expanded their pattern."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line, unless names follow --corpus that it may have been meant to take."""
        valued = {name for p in self.params if isinstance(p, TyperOption) and not p.is_flag for name in p.opts}
        _refuse_expanded(args, valued)
        return super().parse_args(ctx, args)

    def unused(self, ctx: Any) -> Collection[str]:
        """Return what a search has no use for, or else what asking a model has none for."""
        return OF_MODEL if ctx.params["model"] is None else {*SEARCHING, *super().unused(ctx)}


def contamination(
    call: typer.Context,
    benchmark: Benchmark,
    *,
    source: SourceFlags,
    items: ItemFlags,
    out: Out = None,
    search: SearchFlags,
    shown: ShownFlags,
    skip_bad: SkipBad = False,
    formats: Formats = ("html",),
    text: TextFlags,
    asking: Annotated[AskingFlags, Panel(ASKING)],
) -> None:
    """Has it seen the test? Search a corpus for the items of a benchmark, or query a model.

    Items are found verbatim, after changes of case, spacing, typography and disguise, and with some words
    edited. The same command resumes an interrupted run.

    Quote the patterns of --corpus. Benchmarks go before the first --corpus; after it there may be one, if none is
    before, or any number after a bare --.

    Where the corpus cannot be read, the model is queried: does it treat the items, or their order, as what it was
    trained on, more than items that it cannot have seen?

    \b
    Examples:
      memaudit contamination test.jsonl --corpus 'data/*.jsonl.zst'
      memaudit contamination items.csv --corpus web.jsonl --field question --field answer --max-items 5
      memaudit contamination test.jsonl --index corpus.index --baseline accepted.json --format html,junit,sarif
      memaudit contamination test.jsonl --corpus 'data/*.jsonl' --shard 3/64 --out runs/share-3
      memaudit contamination test.jsonl --model models/gpt --heldout new-items.jsonl --reference train

    Exit codes: 0 policy met, or no evidence at a stated power; 1 contamination found; 2 bad input; 3 inconclusive,
    confounded, or a share only.
    """
    from memaudit.report.terminal import announce_compilation, progress_bar

    _refuse_mixture(call)
    announce_compilation()
    if asking.model is not None:
        _ask(call, benchmark, asking.model, asking, asking.options(items, text, skip_bad), out, formats)
    from memaudit.audits.contamination.run import contamination

    with progress_bar("files") as progress:
        result = contamination(
            benchmark,
            source.corpus,
            index=source.index,
            out=out,
            options=items.options(text, skip_bad),
            judgement=search.judgement(redact=not shown.shown.text),
            clean_split=search.clean_split,
            shard=_share(search.shard),
            processes=search.processes,
            formats=formats,
            personal=shown.shown.personal,
            progress=progress,
            invocation=invocation_of(call, corpus=sorted(source.corpus)),
        )
    exit_with_verdict(result)


def _ask(
    call: typer.Context,
    benchmark: tuple[str, ...],
    model: str,
    asking: AskingFlags,
    options: MembershipOptions,
    out: Path | None,
    formats: tuple[str, ...],
) -> NoReturn:
    """Query the model, print the outcome, and end with the exit code of the verdict; no corpus is read."""
    from memaudit.audits.membership.run import membership
    from memaudit.report.terminal import progress_bar

    spending = Spending()
    with progress_bar("pieces of text", spending) as progress:
        result = membership(
            benchmark,
            model,
            heldout=asking.heldout,
            out=out,
            options=options,
            formats=formats,
            progress=progress,
            load=spending.of(asking.loading.load_audited),
            base=asking.loading.base_of(model),
            invocation=invocation_of(call),
        )
    exit_with_verdict(result)


def _refuse_mixture(call: typer.Context) -> None:
    """Refuse flags of the other mode: a model is queried, or text is searched.

    Raises:
        InputError: A flag was given that would not be followed.
    """
    from memaudit.errors import InputError

    asked = call.params["model"] is not None
    for param in call.command.params:
        source = call.get_parameter_source(param.name or "")
        if param.name in (SEARCHING if asked else OF_MODEL) and source is not None and source.name == "COMMANDLINE":
            flag = param.opts[0]
            if asked:
                raise InputError(f"{flag} is about a search of text, and --model queries a model", f"leave out {flag}")
            raise InputError(f"{flag} is about a model, and none was named", "name one with --model")


def _refuse_expanded(arguments: Sequence[str], valued: Collection[str]) -> None:
    """Refuse what a shell makes of an unquoted pattern: its first file after --corpus, the others as benchmarks.

    Args:
        arguments: The command line.
        valued: Options that take the next argument as their value.
    """
    from memaudit.errors import InputError

    names = list(_positional(arguments, valued))
    after = [name for name, behind in names if behind]
    if after and len(names) > 1:
        listed = ", ".join(after[:2]) + (f" and {len(after) - 2:,} more" if len(after) > 2 else "")
        hint = "quote its pattern, e.g. --corpus 'data/*.jsonl'; benchmarks go before it, or after --"
        raise InputError(f"names after --corpus that it does not take: {listed}", hint)


def _positional(arguments: Sequence[str], valued: Collection[str]) -> Iterator[tuple[str, bool]]:
    """Yield the arguments before a bare ``--`` that are no options, and whether --corpus stands before them."""
    behind = False
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return
        if argument in valued:
            next(rest, None)
            behind |= argument == "--corpus"
        elif not argument.startswith("-"):
            yield argument, behind


def _share(given: str) -> tuple[int, int]:
    from memaudit.errors import InputError

    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", given)
    if match is None:
        raise InputError(f"--shard {given}: not of the form I/N", "for example 3/64")
    return int(match[1]), int(match[2])
