"""Questions to a tiny model behind a real server, and what is kept of the answers.

Run as a program it asks them in processes that may be killed: ``python asking.py ADDRESS FOLDER COUNT``; for each line
that it reads it starts one, says by which id, and in the end how it ended.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.transport import BadAnswerError, Transport

LENGTH = 16
PATH = "/completions"
_FOLDER = tempfile.TemporaryDirectory(prefix="tiny-")


@cache
def tiny() -> Path:
    """Return the GGUF file of an untrained model of 300 tokens, the same within a process."""
    from memaudit.models.transformer import new_gpt
    from memaudit.text.tokenize import train_tokenizer
    from tests.gguf_files import write_gguf

    folder = Path(_FOLDER.name)
    tokenizer = train_tokenizer("bpe", ["one two three four five"] * 3, 300)
    model = new_gpt(tokenizer, style="llama", width=32, layers=1, heads=2, context_length=64, seed=1)
    model.save(folder / "model")
    write_gguf(folder / "model", folder / "model.gguf")
    return folder / "model.gguf"


@contextmanager
def transport(url: str, tell: Callable[[str], None] = lambda _: None, **how: Any) -> Iterator[Transport]:
    """Yield what asks a server, two requests together unless told otherwise."""
    made = Transport(url, Endpoint(**{"connections": 2, "timeout": 20.0, **how}), tell)
    try:
        yield made
    finally:
        made.close()


def body(which: int, length: int = LENGTH) -> dict[str, Any]:
    """Return a request; each number makes another one."""
    prompt = [0, 10 + which % 50, 60 + which // 50, 20]
    more = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "cache_prompt": False, "seed": 1, "temperature": 0.0}
    return {"model": "tiny", "prompt": prompt, "max_tokens": length, "logprobs": 1, **more}


def read(answer: Any) -> list[list[Any]]:
    """Return ids and log-probabilities; each must be that of the likeliest token."""
    content = (((answer.get("choices") or [{}])[0].get("logprobs")) or {}).get("content")
    if not content:
        raise BadAnswerError("no log-probabilities")
    for one in content:
        if [one["top_logprobs"][0]["id"], one["top_logprobs"][0]["logprob"]] != [one["id"], one["logprob"]]:
            raise BadAnswerError("log-probabilities of other tokens")
    return [[one["id"], one["logprob"]] for one in content]


def job(asker: Transport, which: int, **how: Any) -> Callable[[], Any]:
    """Return what asks one question."""
    return partial(asker.ask, PATH, body(which), read, **{"tokens": 4 + LENGTH, **how})


def ask_all(asker: Transport, count: int, **how: Any) -> list[Any]:
    """Return the answers to so many questions."""
    return asker.each([job(asker, which, **how) for which in range(count)])


def _serve(url: str, folder: Path, count: int) -> None:
    import httpx2  # noqa: F401 (read once, not by every process)

    for _ in sys.stdin:
        child = os.fork()
        if not child:
            with transport(url) as asker:
                asker.keep_in(folder)
                ask_all(asker, count)
            os._exit(0)
        print(child, flush=True)  # noqa: T201
        print(os.waitpid(child, 0)[1], flush=True)  # noqa: T201


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
