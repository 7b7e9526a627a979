"""The commands of the contamination gate: search, merge shares, accept findings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperOption

import memaudit.cli.asking as asking
from memaudit.cli.command import Command, Formats, TextFields, invocation_of
from memaudit.cli.output import Redact, ShowPersonal, shown_texts, tell, tell_verdict
from memaudit.cli.train import MaxExpand, Split

Out = Annotated[Path | None, typer.Option(metavar="RUN", help="Run directory; by default runs/contamination-IDENTITY.")]


Benchmarks = Annotated[
    list[str], typer.Argument(metavar="BENCHMARK...", help="Files of items: JSON, CSV, Parquet; - is stdin")
]
Corpora = Annotated[
    list[str] | None,
    typer.Option(metavar="SPEC", help="Text to search: a path, a quoted glob, hf:NAME:CONFIG:SPLIT; repeat to add up."),
]
Index = Annotated[
    list[Path] | None, typer.Option(metavar="DIR", help="An index of the text, instead of --corpus; repeat to add up.")
]
Fields = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Field of an item to check; repeat. Well-known layouts need none."),
]
IdField = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Field that names the items, a.b inside an object; by default id and such."),
]
MaxItems = Annotated[
    int | None, typer.Option(min=0, help="Policy: contaminated items that are tolerated; by default none.")
]
MaxRate = Annotated[
    float | None, typer.Option(min=0, max=1, help="Policy: share of the items that may be contaminated.")
]
Baseline = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Accepted findings, as `memaudit baseline` wrote them.")
]
CleanSplit = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the clean and the contaminated items as two files.")
]
Scores = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Item id and correct or not: compare both kinds of items; repeat for models."),
]
Shard = Annotated[str, typer.Option(metavar="I/N", help="Do every N-th file from the I-th; `merge` joins.")]
Processes = Annotated[int, typer.Option(min=1, help="Files searched at the same time.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Count and list bad records, and go on.")]


class GateCommand(Command):
    """The search: it does not take the files of a corpus for benchmarks because a shell expanded their pattern."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line, unless names follow --corpus that it may have been meant to take."""
        valued = {name for p in self.params if isinstance(p, TyperOption) and not p.is_flag for name in p.opts}
        _refuse_expanded(args, valued)
        return super().parse_args(ctx, args)

    def unused(self, ctx: Any) -> Collection[str]:
        """Return what a search has no use for, or else what asking a model has none for."""
        return asking.FLAGS if ctx.params["model"] is None else asking.SEARCH_FLAGS


def contamination(
    call: typer.Context,
    benchmark: Benchmarks,
    corpus: Corpora = None,
    index: Index = None,
    field: Fields = None,
    id_field: IdField = None,
    out: Out = None,
    max_items: MaxItems = None,
    max_rate: MaxRate = None,
    baseline: Baseline = None,
    clean_split: CleanSplit = None,
    scores: Scores = None,
    shard: Shard = "1/1",
    processes: Processes = 1,
    redact: Redact = None,
    show_personal: ShowPersonal = False,
    skip_bad: SkipBad = False,
    formats: Formats = None,
    text_field: TextFields = None,
    split: Split = "auto",
    max_expand: MaxExpand = None,
    model: asking.Model = None,
    heldout: asking.Heldout = None,
    reference: asking.Reference = None,
    reference_corpus: asking.ReferenceCorpus = None,
    detector: asking.Detectors = None,
    randomised: asking.Randomised = False,
    paired: asking.Paired = False,
    guided: asking.Guided = "",
    guided_split: asking.GuidedSplit = "test",
    tokens: asking.Tokens = 512,
    masks: asking.Masks = None,
    alpha: asking.Alpha = 0.05,
    detectable: asking.Detectable = 0.6,
    order_permutations: asking.OrderPermutations = 999,
    order_tokens: asking.OrderTokens = 64,
    overlap_prefix: asking.OverlapPrefix = 0.5,
    seed: asking.AskedSeed = 0,
    device: asking.Device = "cpu",
    dtype: asking.Dtype = "float32",
    allow_download: asking.Download = False,
) -> None:
    """Has it seen the test? Search a corpus for the items of a benchmark, or ask a model.

    Items are found verbatim, after changes of case, spacing, typography and disguise, and with some words
    edited. The same command resumes an interrupted run.

    Quote the patterns of --corpus. Benchmarks stand before the first --corpus; after it there may be one,
    if none stands before, or any number after a bare --.

    Where the corpus cannot be read, the model is asked: does it treat the items, or their order, as what it was
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
    asking.refuse_mixture(call)
    if model is not None:
        asking.ask_model(call)
    _search(call)


def merge(
    call: typer.Context,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories, each a share of one plan.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run directory for the whole.")],
    formats: Formats = None,
) -> None:
    """Join contamination runs that each did a share of the files; the result is that of one run over all.

    \b
    Examples:
      memaudit merge runs/share-* --out runs/all
      memaudit merge runs/share-1 runs/share-2 --out runs/all --format html,junit,sarif
    """
    from memaudit.audits.contamination.run import merge

    tell_verdict(merge(runs, out, call.params["formats"]))


def baseline(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished contamination run.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File of accepted findings; commit it.")],
) -> None:
    """Accept the findings of a run: with --baseline FILE only new ones fail. The file holds hashes, no text.

    \b
    Examples:
      memaudit baseline runs/contamination-0a1b2c3d4e5f --out accepted.json
    """
    from memaudit.audits.contamination.baseline import write_baseline
    from memaudit.report.wording import counted
    from memaudit.runs.directory import read_finished

    count = write_baseline(read_finished(run).report, out)
    tell(f"{out}: {counted(count, 'accepted finding')}")


def _search(call: typer.Context) -> None:
    """Search the corpus, print the outcome, and end with the exit code of the verdict."""
    from memaudit.audits.contamination.conclude import Judgement
    from memaudit.audits.contamination.run import ContaminationOptions, contamination
    from memaudit.report.terminal import announce_compilation, progress_bar

    announce_compilation()
    params = call.params
    shown = shown_texts(params["redact"], params["show_personal"])
    told = {name: params[name] for name in ("text_field", "id_field", "split", "skip_bad", "max_expand")}
    unlimited = params["max_items"] is None and params["max_rate"] is None
    judgement = Judgement(
        max_items=0 if unlimited else params["max_items"],
        max_rate=params["max_rate"],
        baseline=str(params["baseline"]) if params["baseline"] else None,
        scores=tuple(map(str, params["scores"] or ())),
        redact=not shown.text,
    )
    with progress_bar("files") as progress:
        result = contamination(
            params["benchmark"],
            params["corpus"] or (),
            options=ContaminationOptions(fields=tuple(params["field"] or ()), **told),
            judgement=judgement,
            shard=_share(params["shard"]),
            formats=params["formats"],
            invocation=invocation_of(call, corpus=sorted(params["corpus"] or ())),
            personal=shown.personal,
            progress=progress,
            **{name: params[name] for name in ("index", "out", "clean_split", "processes")},
        )
    tell_verdict(result)


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
        hint = "quote its pattern, e.g. --corpus 'data/*.jsonl'; benchmarks stand before it, or after --"
        raise InputError(f"after --corpus stand names that it does not take: {listed}", hint)


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
