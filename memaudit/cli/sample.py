"""``memaudit sample``: what models write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from memaudit.cli.options import MODEL_FORMS, LoadingFlags, Seed, TopK, TopP
from memaudit.cli.output import log

if TYPE_CHECKING:
    from memaudit.models.base import LanguageModel


def sample(
    models: Annotated[
        tuple[str, ...], typer.Argument(metavar="MODEL...", help=f"{MODEL_FORMS} Several stand side by side.")
    ],
    *,
    prompt: Annotated[str, typer.Option(help="Text to continue; empty starts a new document.")] = "",
    length: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 100,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy decoding.")] = 1.0,
    top_k: TopK = None,
    top_p: TopP = None,
    seed: Seed = 0,
    loading: LoadingFlags,
) -> None:
    """Continue a prompt; with several models, print their continuations side by side.

    \b
    Examples:
      memaudit sample models/shannon --length 200
      memaudit sample models/shannon models/lstm models/gpt --prompt "The history of"
      memaudit sample models/gpt --prompt "def main(" --temperature 0
      memaudit sample models/gpt --prompt "in the middle of" --length 2000 --start-token none

    A text may be longer than the model can read at once: its context then slides along. Without a start token no text
    can begin: give a prompt.
    """
    from memaudit.models.sampling import continue_text, not_in_vocabulary
    from memaudit.records import Decoding
    from memaudit.report.terminal import console, print_continuations
    from memaudit.report.wording import counted

    decoding = Decoding(temperature, top_k, top_p, seed)
    asked = [(label, each) for name in models for label, each in _ways(name, loading)]
    texts = []
    for name, model in asked:
        continued = continue_text(model, prompt, length, decoding)
        texts.append((name, continued.text))
        if continued.ended is not None:
            log(f"{name}: ended the text after {counted(continued.ended, 'token', 'tokens')}")
        if continued.slid:
            log(f"{name}: reads {model.context_length} tokens at once, so the end was written without the beginning")
        if lacking := not_in_vocabulary(model, prompt):
            log(f"{name}: its vocabulary lacks {', '.join(map(repr, lacking))}, which it reads as an unknown token")
    for line in dict.fromkeys(f"{name}: {model.spent}" for name, model in asked if model.spent):
        log(line)
    print_continuations(prompt, texts, console())


def _ways(name: str, loading: LoadingFlags) -> Iterator[tuple[str, LanguageModel]]:
    """Yield a model as it is to be asked: with its start token, without, or both."""
    from memaudit.models.start import with_start_token

    model = loading.load(name, base=loading.base_of(name))
    if loading.start_token != "none":
        yield name, model
    if loading.start_token != "as-trained":
        yield f"{name} without a start token", with_start_token(model, "none")
