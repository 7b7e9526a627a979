"""``memaudit audit``: does a model repeat its training text?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memaudit.cli.answers import AnswersFlags, audit_given, refuse_mixture
from memaudit.cli.command import invocation_of
from memaudit.cli.groups import Panel
from memaudit.cli.options import (
    ASKING,
    REACHED,
    Corpus,
    Formats,
    LoadingFlags,
    Models,
    ReachingFlags,
    ReferenceFlags,
    Seed,
    ShownFlags,
    SkipBad,
    TextFlags,
    TopK,
    TopP,
    distinct,
    listed,
    text_field_of,
)
from memaudit.cli.output import Spending, exit_with_verdict
from memaudit.cli.several import run_each

if TYPE_CHECKING:
    from memaudit.audits.comparison.options import MembershipOptions
    from memaudit.audits.extraction.options import AuditOptions
    from memaudit.audits.extraction.result import Audit
    from memaudit.models.remote.address import Endpoint
    from memaudit.records import StartToken

TokenWindows = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="PREFIX.npy SUFFIX.npy", help="Windows as token ids of this model, instead of text."),
]
SideField = Annotated[
    tuple[str, ...],
    typer.Option(metavar="NAME", help="As --text-field, of this side alone.", show_default=False, callback=distinct),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN",
        help="Run directory; by default runs/FAMILY-IDENTITY. Of several models, a folder with a run of each.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFlags:
    """The two sides: what the model was trained on, and what it never saw."""

    train: Corpus = ()
    heldout: Corpus = ()
    windows: TokenWindows = None
    heldout_windows: TokenWindows = None
    train_field: SideField = ()
    heldout_field: SideField = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredFlags:
    """What is measured, and the policy it is held against."""

    prefix: Annotated[int, typer.Option(min=0, help="Tokens of a document that the model is given.")] = 50
    suffix: Annotated[int, typer.Option(min=1, help="Tokens that it must then reproduce.")] = 50
    limit: Annotated[int, typer.Option(min=1, help="Most windows a side.")] = 1000
    chat_template: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Chat template of conversations, instead of the model's; 'none' joins prompt and answer.",
        ),
    ] = None
    max_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Policy: share of training documents that may be extractable.")
    ] = 0.01
    fuzzy: Annotated[bool, typer.Option(help="Continue windows that are not verbatim, for fuzzy metrics.")] = True
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Score and continue every window whole, not a random sample alone.")
    ] = False
    index: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Index of all training text, for copies; by default of --train.")
    ] = None
    base_control: Annotated[
        bool, typer.Option(help="Give an adapter's base model the same windows: what did fine-tuning add?")
    ] = True
    copies: Annotated[bool, typer.Option(help="Count true and other continuations in the training text.")] = True
    unprompted: Annotated[
        bool, typer.Option(help="Sample what the model writes by itself and look it up in the training text.")
    ] = True
    measure: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="LIST",
            help="Measure more: {measures}; several with commas, or repeat.",
            callback=listed,
        ),
    ] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipFlags:
    """Whether scores of whole documents are compared too, and with whose."""

    membership: Annotated[
        bool,
        typer.Option(
            "--membership", help="Compare scores of whole documents too: does the model know the training text?"
        ),
    ] = False
    references: Annotated[ReferenceFlags, Panel(ASKING)]

    def options(self, text: TextFlags, seed: int) -> MembershipOptions | None:
        """Return how documents are compared, or None where they are not to be.

        Raises:
            InputError: Text for references, and none to be trained.
        """
        from memaudit.audits.comparison.options import TRAIN, MembershipOptions
        from memaudit.errors import InputError

        references, corpus = self.references.reference, self.references.reference_corpus
        if (references or corpus) and not self.membership:
            raise InputError(
                "a reference is a model to compare documents by", "ask for the comparison with --membership"
            )
        if corpus and TRAIN not in references:
            raise InputError("--reference-corpus is text to train a reference on", "ask for one with --reference train")
        if not self.membership:
            return None
        return MembershipOptions(
            references=references, reference_corpus=corpus, text_field=text.field, split=text.split, seed=seed
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingFlags:
    """How measures that sample do so."""

    temperature: Annotated[float, typer.Option(help="For measures that sample; the verdict is greedy.")] = 1.0
    top_k: TopK = None
    top_p: TopP = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAsideFlags:
    """What may be set aside instead of refused."""

    allow_overlap: Annotated[
        bool, typer.Option("--allow-overlap", help="Set held-out documents aside that overlap with train.")
    ] = False
    skip_bad: SkipBad = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReachingFlags(ReachingFlags):
    """How a model behind an address is reached, and how it is known that its server cuts and wraps nothing."""

    tokenizer: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|ID",
            help="The model's tokenizer: its folder, or a Hugging Face id. Of --answers: a model folder whose tokens"
            " they are compared in, not words.",
        ),
    ] = ""
    recital: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Text that the model is known to recite: the control of a server that gives text alone.",
        ),
    ] = ""

    def reached(self, max_tokens: int | None) -> Endpoint:
        """Return how addresses are reached, with a budget of tokens."""
        return replace(ReachingFlags.reached(self, max_tokens), recital=self.recital)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLoadingFlags(LoadingFlags):
    """How a model is loaded or reached."""

    reaching: Annotated[AuditReachingFlags, Panel(REACHED)]


def audit(
    call: typer.Context,
    model: Models = (),
    *,
    sides: SideFlags,
    answered: Annotated[AnswersFlags, Panel("Answers in place of a model")],
    out: Out = None,
    measured: MeasuredFlags,
    membership: MembershipFlags,
    sampling: SamplingFlags,
    set_aside: SetAsideFlags,
    formats: Formats = ("html",),
    shown: ShownFlags,
    text: TextFlags,
    seed: Seed = 0,
    loading: AuditLoadingFlags,
) -> None:
    """Audit a model: does it continue its training text verbatim, more than text it never saw?

    The same command resumes an interrupted run. Several models, as checkpoints of a training, are audited one after
    the other on the same windows; compare.html shows them side by side, over their steps where their names say these
    (checkpoint-500, step1000), and the exit code is that of the worst: found before inconclusive before clean.

    \b
    Examples:
      memaudit audit models/gpt --train train.jsonl --heldout test.jsonl
      memaudit audit run/checkpoint-* --train train.jsonl --heldout test.jsonl --out curve
      memaudit audit EleutherAI/pythia-70m@step1000 --train pile.jsonl --heldout new.jsonl
      memaudit audit gpt2 --train hf:wikitext:wikitext-2-raw-v1:train[:1%] --heldout essays.txt --limit 300
      memaudit audit python:adapters:my_model --train 'books/*.txt' --heldout new.txt --max-rate 0.001
      memaudit audit models/chat --train conversations.jsonl --heldout others.jsonl
      memaudit audit models/gpt --train train.jsonl --heldout test.jsonl --measure surface,probability
      memaudit audit models/gpt --train train.jsonl --heldout test.jsonl --membership --reference train
      memaudit audit adapters/lora --base models/llama --train train.jsonl --heldout test.jsonl
      memaudit audit EleutherAI/gpt-neo-1.3B --windows val_prefix.npy val_suffix.npy --measure protocol
      memaudit audit http://localhost:8000/v1 --tokenizer models/gpt --train train.jsonl --heldout test.jsonl
      memaudit audit --answers api_train.jsonl --heldout-answers api_new.jsonl --train train.jsonl
    """
    from memaudit.audits.extraction.run import audit
    from memaudit.report.terminal import announce_compilation, progress_bar

    refuse_mixture(call)
    options = _options(sides, measured, membership, sampling, set_aside, text, seed, loading.start_token)
    if answered.answers:
        where = sides.train, measured.index, loading.reaching.tokenizer
        audit_given(call, answered, *where, out=out, options=options, formats=formats, shown=shown.shown)
    announce_compilation()

    def one(name: str, run: Path | None) -> Audit:
        spending = Spending()
        with progress_bar("windows", spending) as progress:
            return audit(
                name,
                sides.train,
                sides.heldout,
                windows=sides.windows,
                heldout_windows=sides.heldout_windows,
                index=measured.index,
                out=run,
                options=options,
                name=name,
                invocation=invocation_of(call, model=(name,)),
                formats=formats,
                shown=shown.shown,
                progress=progress,
                load=spending.of(partial(loading.load_audited, base_control=measured.base_control)),
                base=loading.base_of(name),
                endpoint=loading.endpoint_of(name, *membership.references.reference),
                base_control=measured.base_control,
            )

    if len(model) > 1:
        command = invocation_of(call).command
        run_each(model, out, command, shown.shown, one, lambda done: done.report["windows"]["sha256"])
    exit_with_verdict(one(model[0], out))


def _options(
    sides: SideFlags,
    measured: MeasuredFlags,
    membership: MembershipFlags,
    sampling: SamplingFlags,
    set_aside: SetAsideFlags,
    text: TextFlags,
    seed: int,
    start_token: StartToken,
) -> AuditOptions:
    from memaudit.audits.extraction.options import AuditOptions

    return AuditOptions(
        prefix=measured.prefix,
        suffix=measured.suffix,
        limit=measured.limit,
        seed=seed,
        allow_overlap=set_aside.allow_overlap,
        max_rate=measured.max_rate,
        fuzzy=measured.fuzzy,
        exhaustive=measured.exhaustive,
        copies=measured.copies,
        unprompted=measured.unprompted,
        measures=measured.measure,
        membership=membership.options(text, seed),
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        text_field=text.field,
        train_field=text_field_of(sides.train_field) or None,
        heldout_field=text_field_of(sides.heldout_field) or None,
        start_token=start_token,
        chat_template=measured.chat_template,
        split=text.split,
        skip_bad=set_aside.skip_bad,
        max_expand=text.max_expand,
    )
