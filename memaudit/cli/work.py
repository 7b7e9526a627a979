"""``memaudit work``: how much of a whole work can be had back, where, and at what cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memaudit.cli.command import invocation_of
from memaudit.cli.options import Formats, LoadingFlags, Models, Seed, ShownFlags, TopK, TopP
from memaudit.cli.output import Spending, exit_with_verdict
from memaudit.cli.several import run_each

if TYPE_CHECKING:
    from memaudit.audits.work.run import WorkRun


@dataclass(frozen=True, slots=True, kw_only=True)
class WorksFlags:
    """Which works are asked about, and which they are compared with."""

    text: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="FILE", help="A work in question, read whole; every record of a .jsonl file is one. Repeat."
        ),
    ]
    heldout: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="FILE",
            help="A control work: of the same kind, author and time, and not in the training text. Repeat.",
        ),
    ] = ()
    parts: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX|N",
            help="What headings of parts look like, or tokens a part; by default headings are looked for.",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFlags:
    """The windows, and how they are read."""

    prefix: Annotated[int, typer.Option(min=1, help="Tokens that the model is given.")] = 50
    suffix: Annotated[int, typer.Option(min=1, help="Tokens that it must give back.")] = 50
    stride: Annotated[int, typer.Option(min=1, help="Tokens between windows; 1 for every place.")] = 10
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Read every window by itself, also those that one longer pass puts below every threshold."
        ),
    ] = False
    near_verbatim: Annotated[
        int, typer.Option(min=0, metavar="N", help="Windows of each work that are measured within a few edits too.")
    ] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFlags:
    """What the verdict rests on."""

    threshold: Annotated[
        float, typer.Option(help="p_z from which a window counts for the verdict: 0.001, 0.01, 0.1, 0.5 or 0.75.")
    ] = 0.001
    max_rate: Annotated[float, typer.Option(min=0, max=1, help="Policy: share of windows that may reach it.")] = 0.01
    alpha: Annotated[float, typer.Option(help="Level of the test, in (0, 1).")] = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingFlags:
    """How samples are drawn."""

    temperature: Annotated[float, typer.Option(help="Of samples; greedy decoding stands beside.")] = 1.0
    top_k: TopK = None
    top_p: TopP = None


def work(
    call: typer.Context,
    model: Models,
    *,
    works: WorksFlags,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Run directory; by default runs/work-IDENTITY. Of several models, a folder with a run of each.",
        ),
    ] = None,
    windows: WindowFlags,
    policy: PolicyFlags,
    drawing: DrawingFlags,
    formats: Formats = ("html",),
    shown: ShownFlags,
    seed: Seed = 0,
    loading: LoadingFlags,
) -> None:
    """How much of a whole work can be had back from a model: where in it, and at what cost?

    Every token of the work is counted. Without a control work nothing is tested, and the page is a picture. The same
    command resumes an interrupted run. Several models are asked one after the other, each in a run directory of its
    own, and compare.html shows where in a work one has what another lacks. Exit code 1: more than control works
    explain. 0: within what is tolerated. 3: inconclusive.

    \b
    Examples:
      memaudit work models/gpt --text alice.txt --heldout looking-glass.txt
      memaudit work EleutherAI/pythia-70m --text novel.txt.gz --heldout other.txt --stride 1
      memaudit work models/gpt --text a.txt --text b.txt --heldout c.txt --parts 'CHAPTER [IVX]+'
      memaudit work models/small models/large --text alice.txt --heldout looking-glass.txt --out runs/alice
    """
    from memaudit.audits.work.options import WorkOptions
    from memaudit.audits.work.run import work
    from memaudit.report.terminal import progress_bar

    options = WorkOptions(
        prefix=windows.prefix,
        suffix=windows.suffix,
        stride=windows.stride,
        exact=windows.exact,
        temperature=drawing.temperature,
        top_k=drawing.top_k,
        top_p=drawing.top_p,
        parts=works.parts,
        threshold=policy.threshold,
        max_rate=policy.max_rate,
        alpha=policy.alpha,
        near_verbatim=windows.near_verbatim,
        start_token=loading.start_token,
        seed=seed,
    )

    def one(name: str, run: Path | None) -> WorkRun:
        spending = Spending()
        with progress_bar("windows", spending) as progress:
            return work(
                name,
                works.text,
                works.heldout,
                out=run,
                options=options,
                name=name,
                invocation=invocation_of(call, model=(name,)),
                formats=formats,
                shown=shown.shown,
                progress=progress,
                load=spending.of(loading.load_audited),
                base=loading.base_of(name),
            )

    if len(model) > 1:
        run_each(model, out, invocation_of(call).command, shown.shown, one, lambda done: done.works)
    exit_with_verdict(one(model[0], out))
