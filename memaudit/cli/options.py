"""Every flag that several commands share, once: single ones as types, those that go together as groups."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from memaudit.families import suite_families
from memaudit.report.formats.names import OF_ANY_RUN

if TYPE_CHECKING:
    from memaudit.models.base import LanguageModel
    from memaudit.records import Shown
    from memaudit.text.corpus.fields import TextField

IN_CI = "memaudit.ci"
"""Where the context of a command keeps that a continuous integration runs it, if that decided anything."""
SUITE_FAMILIES = "|".join(suite_families())
"""What `laws` and `counterfactual` train of ours; families that other packages declare are taken too."""
ASKING = "Querying a model"
"""Heading of flags that concern the comparison of a model with others, or with itself on other text."""


def in_ci() -> bool:
    """Return whether a continuous integration runs the command, whose artefacts many can read."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def _in_ci_by_default(context: typer.Context, value: bool | None) -> bool | None:
    """Return a value that is true where a continuous integration runs the command, unless somebody said otherwise."""
    if value is not None or not in_ci():
        return value
    said = f"from the environment: CI={os.environ['CI']}"
    context.meta[IN_CI] = f"{said}, so that texts are withheld (--show-text shows them)"
    return True


def listed(values: list[str] | None) -> list[str]:
    """Return the names in values that may each hold several, with commas between them."""
    return list(dict.fromkeys(name.strip() for value in values or () for name in value.split(",")))


def distinct(values: list[str] | None) -> list[str]:
    """Return values, each once."""
    return list(dict.fromkeys(values or ()))


Corpus = Annotated[
    tuple[str, ...],
    typer.Option(
        metavar="SPEC", help="A path, a glob, json:PATH, hf:NAME:CONFIG:SPLIT, or DOMAIN=SPEC; repeat to add up."
    ),
]
TextFields = Annotated[
    tuple[str, ...],
    typer.Option(
        metavar="NAME",
        help="Field that holds the text of a record, a.b inside an object; repeat: the texts of all are one.",
        show_default="text",
        callback=distinct,
    ),
]
Split = Annotated[
    Literal["auto", "file", "paragraph", "block", "line"],
    typer.Option(help="What one document of a text file is; auto: blocks of paragraphs unless there are many files."),
]
MaxExpand = Annotated[int | None, typer.Option(min=1, help="Bytes that a compressed file may expand to.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Count and list bad records, and continue.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Fixes every random choice.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")]
VocabSize = Annotated[int | None, typer.Option(min=2, help="Largest vocabulary, for words and BPE.")]
TopK = Annotated[int | None, typer.Option(min=1, help="Sample from the k most probable tokens.")]
TopP = Annotated[float | None, typer.Option(min=0, max=1, help="Sample from the nucleus of mass p.")]
Device = Annotated[
    str, typer.Option(help="Where a torch model computes: cpu, cuda, ...; auto uses all devices, and the disk.")
]
MODEL_FORMS = (
    "A folder of a model, of an adapter or of a checkpoint, a GGUF file, a Hugging Face id (ID@REVISION), or"
    " python:module:factory."
)
"""What may stand for a MODEL, in the words of the help."""
BaseModel = Annotated[
    str,
    typer.Option(
        "--base",
        metavar="MODEL",
        help="Base model of an adapter, a folder or a Hugging Face id; by default the one that the adapter names.",
        show_default=False,
    ),
]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float16", "auto"],
    typer.Option(help="Precision of a torch model; float32 is exact, auto is that of its files."),
]
StartToken = Annotated[
    Literal["as-trained", "none", "both"],
    typer.Option(
        help="The token that the tokenizer puts before a text: before every window, before none, or none beside it.",
    ),
]
Download = Annotated[
    bool,
    typer.Option(
        "--allow-download",
        help="Let a Hugging Face id be downloaded; nothing else is ever fetched.",
        show_envvar=False,  # it has to be typed
    ),
]
Pickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle",
        help="Read pytorch_model.bin where there are no safetensors; tensors alone, no code is run.",
        show_envvar=False,  # it has to be typed
    ),
]
Formats = Annotated[
    tuple[str, ...],
    typer.Option(
        "--format",
        metavar="LIST",
        help="{formats}; several with commas, or repeat.",
        show_default="html",
        callback=listed,
    ),
]
SectionFormats = Annotated[
    tuple[str, ...],
    typer.Option(
        "--format",
        metavar="LIST",
        help=f"{', '.join(OF_ANY_RUN)}; several with commas, or repeat.",
        show_default="html",
        callback=listed,
    ),
]
ScreenFormat = Annotated[Literal["text", "json"], typer.Option("--format", help="For people, or strict JSON.")]
Redact = Annotated[
    bool | None,
    typer.Option(
        "--redact/--show-text",
        help="Hashes and lengths instead of text in every output; by default where CI is set.",
        show_default=False,
        callback=_in_ci_by_default,
    ),
]
ShowPersonal = Annotated[
    bool, typer.Option("--show-personal", help="Leave addresses, telephone numbers and keys in excerpts legible.")
]
ModelsOut = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Run directory, models in it; by default a new one in runs/.")
]


def text_field_of(names: tuple[str, ...]) -> TextField:
    """Return the field of the text, or fields, as the readers take them."""
    return names[0] if len(names) == 1 else names


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFlags:
    """How the records of a corpus become documents."""

    text_field: TextFields = ("text",)
    split: Split = "auto"
    max_expand: MaxExpand = None

    @property
    def field(self) -> TextField:
        """The field of the text, or fields, as the readers take them."""
        return text_field_of(self.text_field)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingFlags:
    """How a model is loaded."""

    base: BaseModel = ""
    device: Device = "cpu"
    dtype: Dtype = "float32"
    allow_download: Download = False
    allow_pickle: Pickle = False
    start_token: StartToken = "as-trained"

    def load(self, model: str, *, base: str = "", base_control: bool = False) -> LanguageModel:
        """Return the model that was named, an adapter's base model beside it if that is a control."""
        from memaudit.models.loading.load import load_model

        return load_model(
            model,
            base=base,
            device=self.device,
            dtype=self.dtype,
            allow_download=self.allow_download,
            allow_pickle=self.allow_pickle,
            base_control=base_control,
        )

    def load_audited(self, model: str, *, base: str = "", base_control: bool = False) -> LanguageModel:
        """Return the model that was named, and say on standard error what cannot be measured of it."""
        from memaudit.audits.needs import notice_of
        from memaudit.cli.output import log

        loaded = self.load(model, base=base, base_control=base_control)
        if lacking := notice_of(loaded.lacks):
            log(f"{model}: {lacking}")
        return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFlags:
    """What may be shown of texts."""

    redact: Redact = None
    show_personal: ShowPersonal = False

    @property
    def shown(self) -> Shown:
        """What may be shown; where nobody said so, texts are withheld where a continuous integration runs."""
        from memaudit.records import Shown

        redact = in_ci() if self.redact is None else self.redact
        return Shown(text=not redact, personal=self.show_personal)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceFlags:
    """Models that others are compared with."""

    reference: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="MODEL|train",
            help="A model that never saw the items, or 'train' for one that is trained here; repeat.",
        ),
    ] = ()
    reference_corpus: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="SPEC",
            help="Text to train references on; by default half of the held-out items, which are then not compared.",
        ),
    ] = ()
