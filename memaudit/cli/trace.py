"""``memaudit trace``: where in a corpus a text occurs, and how often."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated

import typer

from memaudit.cli.options import ScreenFormat
from memaudit.cli.output import log


def trace(
    text: Annotated[str, typer.Argument(metavar="TEXT_OR_FILE", help="A text, a file that holds it, or - for stdin.")],
    index: Annotated[tuple[Path, ...], typer.Option(metavar="DIR", help="Index of the corpus; repeat to add up.")],
    min_words: Annotated[int, typer.Option(min=1, help="Fewest words of a span.")] = 8,
    limit: Annotated[int, typer.Option(min=1, help="Most spans to look up, the rarest first.")] = 50,
    shown: ScreenFormat = "text",
) -> None:
    """Find the longest spans of a text that occur in a corpus: how often, how rare, and where.

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
        log(f"no file is called {one_line(text, 80)}: it is read as a text")
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
