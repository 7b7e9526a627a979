"""The commands of the corpus index: build it, say what stands in it, look a text up."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from memaudit.cli.command import App, TextFields
from memaudit.cli.output import say, tell
from memaudit.cli.train import MaxExpand, Split

index_app = App(
    no_args_is_help=True,
    help="""Index a corpus: suffix arrays that count, find and compare text.

    \b
    Examples:
      memaudit index build train.jsonl --out train.index
      memaudit index stats train.index
    """,
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an index.")]
Shown = Annotated[Literal["text", "json"], typer.Option("--format", help="For people, or strict JSON.")]


@index_app.command("build")
def build(
    call: typer.Context,
    corpus: Annotated[
        list[str],
        typer.Argument(metavar="SPEC...", help="A path, a glob, json:PATH, hf:NAME:CONFIG:SPLIT, or DOMAIN=SPEC."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the index.")],
    unit: Annotated[
        Literal["word", "token", "byte"], typer.Option(help="What is compared: normalised words, tokens, or bytes.")
    ] = "word",
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Model or tokenizer whose tokens are indexed.")
    ] = None,
    text_field: TextFields = None,
    split: Split = "auto",
    max_expand: MaxExpand = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Count and list bad records, and go on.")] = False,
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
        text_field=call.params["text_field"],
        split=split,
        max_expand=max_expand,
        skip_bad=skip_bad,
        say=say,
    )
    rejected = index.manifest["corpus"].get("rejected", 0)
    skipped = f"; {rejected:,} records skipped" if rejected else ""
    tell(f"{out}: {index.symbols:,} {unit}s of {index.documents:,} documents{skipped}")


@index_app.command("stats")
def stats(
    index: Folder,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write index.html and statistics.json there.")
    ] = None,
    shown: Shown = "text",
) -> None:
    """Say what a corpus is made of: mixture, duplicates, repeated spans, boilerplate.

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
            tell(f"report: {file}", err=shown == "json")


def trace(
    text: Annotated[str, typer.Argument(metavar="TEXT_OR_FILE", help="A text, a file that holds it, or - for stdin.")],
    index: Annotated[list[Path], typer.Option(metavar="DIR", help="Index of the corpus; repeat to add up.")],
    min_words: Annotated[int, typer.Option(min=1, help="Fewest words of a span.")] = 8,
    limit: Annotated[int, typer.Option(min=1, help="Most spans to look up, the rarest first.")] = 50,
    shown: Shown = "text",
) -> None:
    """Find the longest spans of a text that stand in a corpus: how often, how rare, and where.

    \b
    Examples:
      memaudit trace "It was the best of times, it was the worst of times" --index books.index
      memaudit trace generated.txt --index train.index --min-words 12
      cat generated.txt | memaudit trace - --index train.index --format json
    """
    from memaudit.errors import one_line
    from memaudit.report.index_terminal import print_trace
    from memaudit.report.terminal import announce_compilation, console, reader_may_leave
    from memaudit.runs.files import strict_json
    from memaudit.text.index.corpus_index import CorpusIndex
    from memaudit.text.index.trace import trace

    announce_compilation()
    opened = [CorpusIndex.open(folder) for folder in dict.fromkeys(index)]
    wanted = _text(text)
    if wanted is text and not any(map(str.isspace, text)):
        say(f"no file is called {one_line(text, 80)}: it is read as a text")
    found = trace(opened, wanted, min_words=min_words, limit=limit)
    with reader_may_leave():
        if shown == "json":
            sys.stdout.write(strict_json(found).decode("ascii"))
        else:
            print_trace(found, console())


def _text(text_or_file: str) -> str:
    """Return the text of a file that exists, of standard input, or the argument itself."""
    from memaudit.errors import InputError

    path = Path(text_or_file)
    try:
        if text_or_file == "-":
            if sys.stdin is None:
                raise InputError("standard input is closed", "name a file, or quote a text")
            data = sys.stdin.buffer.read()
        elif not text_or_file or not path.exists():
            return text_or_file
        elif path.is_dir():
            raise InputError(f"{text_or_file}: is a folder", "name a file, or quote a text")
        else:
            data = path.read_bytes()
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{text_or_file}: not UTF-8 at byte {error.start + 1}", "convert it to UTF-8") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return text_or_file
        raise
