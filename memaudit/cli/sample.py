"""``memaudit sample``: what models write."""

from __future__ import annotations

from typing import Annotated

import typer

from memaudit.cli.options import MODEL_FORMS, LoadingFlags, Seed, TopK, TopP
from memaudit.cli.output import log


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
    """
    from memaudit.models.sampling import continue_text, not_in_vocabulary
    from memaudit.records import Decoding
    from memaudit.report.terminal import console, print_continuations
    from memaudit.report.wording import counted

    decoding = Decoding(temperature, top_k, top_p, seed)
    loaded = [loading.load(model, base=loading.base) for model in models]
    texts, ended = zip(*(continue_text(model, prompt, length, decoding) for model in loaded), strict=True)
    for name, model, tokens in zip(models, loaded, ended, strict=True):
        if tokens is not None:
            log(f"{name}: ended the text after {counted(tokens, 'token', 'tokens')}")
        if lacking := not_in_vocabulary(model, prompt):
            log(f"{name}: its vocabulary lacks {', '.join(map(repr, lacking))}, which it reads as an unknown token")
    print_continuations(prompt, list(zip(models, texts, strict=True)), console())
