"""Every flag that several commands share, once: single ones as types, those that go together as groups."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from memaudit.cli.groups import Panel
from memaudit.families import suite_families
from memaudit.models.remote.address import Api, Endpoint, is_address
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
REACHED = "A model behind an address"
"""Heading of flags that say how a server is reached and asked."""


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


def _variable_name(value: str) -> str:
    """Return the name of a variable; what is none may be a key, and is said nowhere."""
    if value and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value):
        from memaudit.errors import InputError

        raise InputError("--api-key-env: it was given no name of a variable", "name one that holds the key")
    return value


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
    "A folder of a model, of an adapter or of a checkpoint, a GGUF file, a Hugging Face id (ID@REVISION),"
    " python:module:factory, or the address of a server (http://HOST:PORT/v1)."
)
"""What may stand for a MODEL, in the words of the help."""
Models = Annotated[
    tuple[str, ...],
    typer.Argument(
        metavar="MODEL...",
        help=f"{MODEL_FORMS} Several are compared.",
    ),
]
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
class ReachingFlags:
    """How a model behind an address is reached, and how it is asked; budgets of tokens are flags of their own."""

    served_model_name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the model at its server; by default the only one served there.")
    ] = ""
    tokenizer: Annotated[
        str, typer.Option(metavar="FOLDER|ID", help="The model's tokenizer: its folder, or a Hugging Face id.")
    ] = ""
    api: Annotated[
        Api, typer.Option(help="Texts are continued, or answered by chat messages: another question, and other hits.")
    ] = "completions"
    connections: Annotated[int, typer.Option(min=1, help="Requests under way together.")] = 4
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds that one request may take.")] = 120.0
    max_requests: Annotated[
        int | None,
        typer.Option(min=1, help="Budget: requests of the run, repetitions included; never exceeded."),
    ] = None
    api_key_env: Annotated[
        str, typer.Option(metavar="VARIABLE", help="Environment variable that holds the key.", callback=_variable_name)
    ] = ""

    def reached(self, max_tokens: int | None) -> Endpoint:
        """Return how addresses are reached, with a budget of tokens."""
        return Endpoint(
            served_name=self.served_model_name,
            tokenizer=self.tokenizer,
            api=self.api,
            connections=self.connections,
            timeout=self.timeout,
            max_requests=self.max_requests,
            max_tokens=max_tokens,
            api_key_env=self.api_key_env,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensFlags:
    """How many tokens asking a server may take."""

    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Budget: tokens of the run, read and written together; never exceeded.")
    ] = None


OF_THIS_CALL = frozenset(("connections", "timeout", "max_requests", "max_tokens", "max_total_tokens"))
"""Flags under `REACHED` that change no result: neither the report names them, nor the command that repeats it."""
LOADED_HERE = frozenset(("base", "device", "dtype", "allow_pickle"))
"""Names of the flags that concern a model that is loaded here."""


def beside_the_point(params: Mapping[str, Any], known: Collection[str]) -> Collection[str]:
    """Return the names of flags that no model of a call has a use for: about addresses, or about loading.

    Args:
        params: Of the command, by name.
        known: Names of the flags that stand under `REACHED`.
    """
    named = [params.get(name) for name in ("model", "models", "reference")]
    several = [[each] if isinstance(each, str) else each for each in named if isinstance(each, str | list | tuple)]
    specs = [spec for each in several for spec in each if spec != "train"]
    addresses = [spec for spec in specs if is_address(spec)]
    if not known or not specs or params.get("answers") or (addresses and len(addresses) < len(specs)):
        return frozenset()
    return LOADED_HERE if addresses else frozenset(known)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachableFlags:
    """How a model is loaded or reached, but for budgets of tokens."""

    base: BaseModel = ""
    device: Device = "cpu"
    dtype: Dtype = "float32"
    allow_download: Download = False
    allow_pickle: Pickle = False
    start_token: StartToken = "as-trained"
    reaching: Annotated[ReachingFlags, Panel(REACHED)]

    @property
    def endpoint(self) -> Endpoint:
        """How addresses are reached."""
        return self.reaching.reached(None)

    def endpoint_of(self, *models: str) -> Endpoint | None:
        """Return how those of the models are reached that are addresses; None where none is."""
        return self.endpoint if any(map(is_address, models)) else None

    def base_of(self, model: str) -> str:
        """Return the base model that was named for an adapter; an address has none."""
        return "" if is_address(model) else self.base

    def load(self, model: str, *, base: str = "", base_control: bool = False) -> LanguageModel:
        """Return the model that was named, an adapter's base model beside it if that is a control."""
        from memaudit.models.loading.load import load_model

        if is_address(model):  # the flags of models that are loaded here are about others
            return load_model(model, allow_download=self.allow_download, endpoint=self.endpoint_of(model))
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
        if lacking := notice_of(loaded.lacks, recites=bool(loaded.recital)):
            log(f"{model}: {lacking}")
        return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingFlags(ReachableFlags):
    """How a model is loaded or reached."""

    tokens_of_server: Annotated[TokensFlags, Panel(REACHED)]

    @property
    def endpoint(self) -> Endpoint:
        """How addresses are reached."""
        return self.reaching.reached(self.tokens_of_server.max_tokens)


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
