"""The flags of `memaudit contamination --model`, and what is done with them: the model is asked, no corpus is read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from memaudit.cli.command import invocation_of
from memaudit.cli.output import tell_verdict

if TYPE_CHECKING:
    from memaudit.audits.comparison.options import MembershipOptions

PANEL = "Asking a model"

Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Ask this model instead of searching text: a folder, a Hugging Face id, or python:module:factory.",
        rich_help_panel=PANEL,
    ),
]
Heldout = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SPEC",
        help="Items of the same kind that the model cannot have seen; repeat to add up.",
        rich_help_panel=PANEL,
    ),
]
Reference = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODEL|train",
        help="A model that never saw the items, or 'train' for one that is trained here; repeat.",
        rich_help_panel=PANEL,
    ),
]
ReferenceCorpus = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SPEC",
        help="Text to train references on; by default half of the held-out items, which are then not compared.",
        rich_help_panel=PANEL,
    ),
]
Detectors = Annotated[
    list[str] | None,
    typer.Option(
        "--detector",
        metavar="NAME",
        help="membership, order, overlap, guided; repeat. By default all that fit.",
        rich_help_panel=PANEL,
    ),
]
Randomised = Annotated[
    bool,
    typer.Option(
        "--randomised", help="A coin decided which items are suspects: tests are exact.", rich_help_panel=PANEL
    ),
]
Paired = Annotated[
    bool,
    typer.Option(
        "--paired",
        help="An item and the held-out one of the same id are a pair, as text and twin.",
        rich_help_panel=PANEL,
    ),
]
Guided = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Name of the data set, for models that follow instructions: does naming it help?",
        rich_help_panel=PANEL,
    ),
]
GuidedSplit = Annotated[str, typer.Option(help="Its split, as the instruction names it.", rich_help_panel=PANEL)]
Tokens = Annotated[int, typer.Option(min=2, help="Tokens of an item that are scored.", rich_help_panel=PANEL)]
Masks = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Masked models: the mean of so many random maskings, an approximation (10 or more).",
        rich_help_panel=PANEL,
    ),
]
Alpha = Annotated[float, typer.Option(help="Family-wise level of all detectors.", rich_help_panel=PANEL)]
Detectable = Annotated[
    float, typer.Option(help='AUC that must be detectable before "no evidence" is said.', rich_help_panel=PANEL)
]
OrderPermutations = Annotated[
    int, typer.Option(min=1, help="Random orders of the whole file (n-grams).", rich_help_panel=PANEL)
]
OrderTokens = Annotated[
    int, typer.Option(min=2, help="Tokens of an item that the order test reads (networks).", rich_help_panel=PANEL)
]
OverlapPrefix = Annotated[
    float, typer.Option(help="Share of an item that is given before it must be continued.", rich_help_panel=PANEL)
]
AskedSeed = Annotated[int, typer.Option("--seed", min=0, help="Fixes every random choice.", rich_help_panel=PANEL)]
Device = Annotated[str, typer.Option(help="Where a torch model computes: cpu, cuda, ...", rich_help_panel=PANEL)]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"],
    typer.Option(help="Precision of a torch model; float32 is exact.", rich_help_panel=PANEL),
]
Download = Annotated[
    bool,
    typer.Option("--allow-download", help="Let a Hugging Face id be downloaded.", rich_help_panel=PANEL),
]

FLAGS = {
    "heldout": "--heldout",
    "reference": "--reference",
    "reference_corpus": "--reference-corpus",
    "detector": "--detector",
    "randomised": "--randomised",
    "paired": "--paired",
    "guided": "--guided",
    "guided_split": "--guided-split",
    "tokens": "--tokens",
    "masks": "--masks",
    "alpha": "--alpha",
    "detectable": "--detectable",
    "order_permutations": "--order-permutations",
    "order_tokens": "--order-tokens",
    "overlap_prefix": "--overlap-prefix",
    "seed": "--seed",
    "device": "--device",
    "dtype": "--dtype",
    "allow_download": "--allow-download",
}
"""Parameters that concern a model, and nothing else."""
_NOT_OPTIONS = ("heldout", "reference", "reference_corpus", "detector", "device", "dtype", "allow_download")
SEARCH_FLAGS = {
    "corpus": "--corpus",
    "index": "--index",
    "max_items": "--max-items",
    "max_rate": "--max-rate",
    "baseline": "--baseline",
    "clean_split": "--clean-split",
    "scores": "--scores",
    "shard": "--shard",
    "processes": "--processes",
}
"""Parameters that concern a search of text."""
_OPTIONS = (
    *(name for name in FLAGS if name not in _NOT_OPTIONS),
    "id_field",
    "skip_bad",
    "text_field",
    "split",
    "max_expand",
)
"""Parameters that go by the same name to `memaudit.audits.comparison.options.MembershipOptions`."""


def refuse_mixture(call: typer.Context) -> None:
    """Refuse flags of the other way to ask: a model is asked, or text is searched.

    Raises:
        InputError: A flag was given that would not be followed.
    """
    from memaudit.errors import InputError

    asked = call.params["model"] is not None
    for name, flag in (SEARCH_FLAGS if asked else FLAGS).items():
        source = call.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            if asked:
                raise InputError(f"{flag} is about a search of text, and --model asks a model", f"leave out {flag}")
            raise InputError(f"{flag} is about a model, and none was named", "name one with --model")


def asked_membership(params: Mapping[str, Any]) -> MembershipOptions | None:
    """Return how an audit compares scores of whole documents, or None where it is not to do so.

    Raises:
        InputError: Text for references, and none to be trained.
    """
    from memaudit.audits.comparison.options import TRAIN, MembershipOptions
    from memaudit.errors import InputError

    references, corpus = params["reference"] or (), params["reference_corpus"] or ()
    if (references or corpus) and not params["membership"]:
        raise InputError("a reference is a model to compare documents by", "ask for the comparison with --membership")
    if corpus and TRAIN not in references:
        raise InputError("--reference-corpus is text to train a reference on", "ask for one with --reference train")
    if not params["membership"]:
        return None
    told = {name: params[name] for name in ("text_field", "split", "seed")}
    return MembershipOptions(references=tuple(references), reference_corpus=tuple(corpus), **told)


def ask_model(call: typer.Context) -> None:
    """Ask the model, print the outcome, and end with the exit code of the verdict."""
    from memaudit.audits.membership.run import membership
    from memaudit.models.load import load_model
    from memaudit.report.terminal import announce_compilation, progress_bar

    announce_compilation()
    params = call.params
    load = partial(load_model, **{name: params[name] for name in ("device", "dtype", "allow_download")})
    with progress_bar("pieces of text") as progress:
        done = membership(
            params["benchmark"],
            params["model"],
            heldout=params["heldout"] or (),
            references=tuple(params["reference"] or ()),
            reference_corpus=tuple(params["reference_corpus"] or ()),
            detectors=tuple(params["detector"] or ()),
            fields=tuple(params["field"] or ()),
            **{name: params[name] for name in _OPTIONS},
            out=params["out"],
            formats=params["formats"],
            invocation=invocation_of(call),
            progress=progress,
            load=load,
        )
    tell_verdict(done)
