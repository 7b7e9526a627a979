"""``memaudit index``: an index of a corpus is built, and what occurs in the corpus is counted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from memaudit.cli.command import App
from memaudit.cli.options import ScreenFormat, SkipBad, TextFlags
from memaudit.cli.output import echo, log

index_app = App(
    no_args_is_help=True,
    help="""Index a corpus: suffix arrays that count, find and compare text.

    \b
    Examples:
      memaudit index build train.jsonl --out train.index
      memaudit index stats train.index
    """,
)


@index_app.command("build")
def build(
    corpus: Annotated[
        tuple[str, ...],
        typer.Argument(metavar="SPEC...", help="A path, a glob, json:PATH, hf:NAME:CONFIG:SPLIT, or DOMAIN=SPEC."),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the index.")],
    unit: Annotated[
        Literal["word", "token", "byte"], typer.Option(help="What is compared: normalised words, tokens, or bytes.")
    ] = "word",
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Model or tokenizer whose tokens are indexed.")
    ] = None,
    text: TextFlags,
    skip_bad: SkipBad = False,
) -> None:
    """Index a corpus; the same command again finds the finished index.

    \b
    Examples:
      memaudit index build train.jsonl --out train.index
      memaudit index build web='web/*.jsonl.zst' code='src/*.py' --out mixture.index
      memaudit index build book.txt --unit token --tokenizer models/gpt --out book.index
    """
    from memaudit.report.terminal import announce_compilation
    from memaudit.text.index.corpus_index import build_index
    from memaudit.text.index.manifest import load_tokenizer

    announce_compilation()
    index = build_index(
        corpus,
        out,
        unit=unit,
        tokenizer=None if tokenizer is None else load_tokenizer(tokenizer),
        text_field=text.field,
        split=text.split,
        max_expand=text.max_expand,
        skip_bad=skip_bad,
        log=log,
    )
    rejected = index.manifest["corpus"].get("rejected", 0)
    skipped = f"; {rejected:,} records skipped" if rejected else ""
    echo(f"{out}: {index.symbols:,} {unit}s of {index.documents:,} documents{skipped}")


@index_app.command("stats")
def stats(
    index: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an index.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write index.html and statistics.json there.")
    ] = None,
    shown: ScreenFormat = "text",
) -> None:
    """Show what a corpus is made of: mixture, duplicates, repeated spans, boilerplate.

    \b
    Examples:
      memaudit index stats train.index
      memaudit index stats train.index --out reports/train
    """
    from memaudit.report.index_page import write_index_page
    from memaudit.report.index_terminal import print_statistics
    from memaudit.report.terminal import announce_compilation, console, reader_may_leave
    from memaudit.runs.files import strict_json
    from memaudit.text.index.corpus_index import CorpusIndex
    from memaudit.text.index.statistics import index_statistics

    announce_compilation()
    found = index_statistics(CorpusIndex.open(index))
    with reader_may_leave():
        if shown == "json":
            sys.stdout.write(strict_json(found).decode("ascii"))
        else:
            print_statistics(found, console())
    if out is not None:
        for file in write_index_page(found, out):
            echo(f"report: {file}", err=shown == "json")
