"""The process that renders a chat template: a batch of conversations a line on standard input, answers on output.

A chat template comes with a model's folder and is code. It is run here in a sandbox of Jinja's that changes and calls
nothing of Python's, in a process that may take so much time and memory a conversation and no more, and that holds
nothing worth having. What it may use is what transformers gives a template, but for the clock: the same run gives the
same text.
"""

from __future__ import annotations

import datetime
import json
import resource
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS = 3
"""Of the processor, a conversation."""
BYTES = 1 << 30
"""Of memory."""
FREE = 1 << 20
RATIO = 20
"""Characters that a rendered conversation may have: `FREE`, and so many times those that were said in it."""
TODAY = datetime.datetime(2024, 7, 26, tzinfo=datetime.UTC)
"""The day that a template is told it is: the one that Llama 3's templates take where they are told none."""


class TooLongError(Exception):
    """A template writes without end."""


class Refusal(jinja2.TemplateError):
    """What a template says of a conversation that it is not made for."""


class Generation(Extension):
    """``{% generation %}`` marks for a trainer what the assistant says; what is in it is rendered as if it were not."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> nodes.Node:
        """Return a block of what is between both tags."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class Dated:
    """The clock of a template, which stands still; whether it was looked at."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, form: str) -> str:
        """Return the day as ``strftime`` writes it."""
        self.asked = True
        return TODAY.strftime(form)


class _Dict:
    """What makes dictionaries, and has nothing else of the type's."""

    def __call__(self, *values: Any, **named: Any) -> dict[Any, Any]:
        return dict(*values, **named)

    def fromkeys(self, *values: Any) -> dict[Any, Any]:
        """Return a dictionary of keys with one value."""
        return dict.fromkeys(*values)


class _Variables(jinja2.utils.Namespace):
    """Variables that a template may change; none that Python keeps things in.

    What is looked up in one is looked up among its variables: a method of its own would not be found.
    """

    def __init__(self, /, *values: Any, **named: Any) -> None:
        for name in dict(*values, **named):
            _check_variable(name)
        super().__init__(*values, **named)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_variable(name)
        super().__setitem__(name, value)


def _check_variable(name: object) -> None:
    if str(name).startswith("_"):
        raise SecurityError(f"the variable {name}")


def compiled(source: str, clock: Dated) -> jinja2.Template:
    """Return a template in its sandbox."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _refuse, "strftime_now": clock, "dict": _Dict(), "namespace": _Variables}
    return environment.from_string(source)


def rendered(template: jinja2.Template, messages: list[dict[str, str]], values: Mapping[str, str], ask: bool) -> str:
    """Return a conversation as the template writes it.

    Args:
        template: From `compiled`.
        messages: Of roles and contents.
        values: What else it is given: its special tokens.
        ask: Whether the beginning of an answer follows.

    Raises:
        TooLongError: It is out of proportion to what was said.
    """
    limit = FREE + RATIO * sum(len(message["content"]) for message in messages)
    pieces, size = [], 0
    given = {**values, "messages": messages, "tools": None, "documents": None, "add_generation_prompt": ask}
    for piece in template.generate(given):
        size += len(piece)
        if size > limit:
            raise TooLongError(f"{limit:,}")
        pieces.append(piece)
    return "".join(pieces)


def answer(template: jinja2.Template, messages: list[dict[str, str]], marks: str, values: Mapping[str, str]) -> Any:
    """Return a conversation with both marks around every reply; where the template moves them, what it makes of it.

    Returns:
        ``text`` with marks; or ``plain`` without, and ``prompts``: what stands before each reply, None where the
        template gives none.
    """
    marked = rendered(template, messages, values, ask=False)
    bare = dict.fromkeys(map(ord, marks))
    plain_messages = [{**m, "content": m["content"].translate(bare)} for m in messages]
    plain = rendered(template, plain_messages, values, ask=False)
    replies = [place for place, message in enumerate(messages) if marks[0] in message["content"]]
    found = "".join(character for character in marked if character in marks)
    if marked.translate(bare) == plain and found == marks * len(replies):
        return {"text": marked}
    prompts: list[str | None] = []
    for place in replies:
        try:
            prompts.append(rendered(template, plain_messages[:place], values, ask=True))
        except jinja2.TemplateError:
            prompts.append(None)
    return {"plain": plain, "prompts": prompts}


def serve() -> None:
    """Compile the template of the first line; answer the others until there are no more."""
    told = json.loads(sys.stdin.readline())
    clock = Dated()
    _limit(resource.RLIMIT_AS, BYTES)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _more_time()
    try:
        template = compiled(told["template"], clock)
    except Exception as error:
        _say({"fatal": _reason(error)})
        return
    _say({})
    for line in sys.stdin:
        for messages in json.loads(line):
            _more_time()
            _say(_answered(template, messages, told["marks"], told["values"]) | {"dated": clock.asked})


def _answered(template: jinja2.Template, messages: Any, marks: str, values: Mapping[str, str]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = answer(template, messages, marks, values)
    except TooLongError as error:
        return {"fatal": f"writes more than {error} characters for one conversation"}
    except MemoryError:
        return {"fatal": "takes too much memory"}
    except RecursionError:
        return {"fatal": "calls itself without end"}
    except SecurityError as error:
        return {"fatal": f"uses what its sandbox forbids: {error}"}
    except Exception as error:  # whatever its code runs into
        return {"refused": _reason(error)}
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if isinstance(error, MemoryError):
        return "takes too much memory"
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"line {error.lineno}: {error.message}"
    said = str(error)[:300]
    return said if isinstance(error, Refusal) else f"{type(error).__name__}: {said}"


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Write JSON without escaping what HTML would have escaped."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: object) -> NoReturn:
    raise Refusal(str(message))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard == resource.RLIM_INFINITY or value < hard:
        resource.setrlimit(kind, (value, value))


def _more_time() -> None:
    """Let the next conversation have its time; over it, the process is ended by the system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    until, hard = int(usage.ru_utime + usage.ru_stime) + 1 + SECONDS, resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (until if hard == resource.RLIM_INFINITY else min(until, hard), hard))


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
