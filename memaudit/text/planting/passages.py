"""Passages to plant: pieces of equal length that share no run of characters, from any corpus or from none.

The text that every Python installation carries serves where no corpus is given: its language reference and
docstrings (prose) and the sources of its standard library (code).
"""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from memaudit.records import Document
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer

SHARED = 30
"""Passages that share so many characters in a row with an earlier one, white space and case apart, are left out:
twins must be unseen."""

Text = tuple[str, str]
"""Name and content."""


def library_passages(tokens: int, vocabulary: int) -> list[Document]:
    """Cut the standard library's prose and code into passages that share no run of words, domains in turn.

    Args:
        tokens: Length of a passage, in tokens of a BPE tokenizer trained on all of this text.
        vocabulary: Size of that tokenizer's vocabulary.
    """
    texts = {"prose": _prose(), "code": _code()}
    # Measures lengths only; the models' own tokenizer is trained on the training text alone.
    ruler = train_tokenizer("bpe", [text for side in texts.values() for _, text in side], vocabulary)
    seen: set[int] = set()
    domains = [list(_passages(domain, side, ruler, tokens, seen)) for domain, side in texts.items()]
    return [passage for pair in zip(*domains, strict=False) for passage in pair]


def corpus_passages(corpus: Iterable[Document], tokens: int, vocabulary: int) -> list[Document]:
    """Cut the documents of a corpus into passages as `library_passages` does; what is shorter gives none.

    Domains are not kept: what is planted is drawn from all passages alike.
    """
    texts = [(document.id, document.text) for document in corpus]
    ruler = train_tokenizer("bpe", [text for _, text in texts], vocabulary)
    return list(_passages(None, texts, ruler, tokens, set()))


def _passages(
    domain: str | None, texts: Sequence[Text], ruler: TrainedTokenizer, tokens: int, seen: set[int]
) -> Iterator[Document]:
    for (name, text), encoding in zip(texts, ruler.encode_batch([text for _, text in texts]), strict=True):
        for number, first in enumerate(range(0, len(encoding) - tokens, tokens)):
            last = first + tokens - 1
            passage = text[encoding.starts[first] : encoding.ends[last]]
            squeezed = "".join(passage.casefold().split())
            spans = {hash(squeezed[i : i + SHARED]) for i in range(max(1, len(squeezed) - SHARED + 1))}
            if seen.isdisjoint(spans):
                seen |= spans
                yield Document(f"{name}#{number}", passage, name, domain)


def _prose() -> list[Text]:
    from pydoc_data.topics import topics

    reference = [(f"topics:{name}", text) for name, text in sorted(topics.items())]
    docstrings = [
        (f"docstrings:{path.name}", "\n\n".join(text for node in _definitions(path) if (text := _docstring(node))))
        for path in _modules()[::2]
    ]
    return reference + docstrings


def _code() -> list[Text]:
    """Sources of the modules whose docstrings are not prose already, their own docstrings taken out."""
    return [(path.name, _without_docstrings(path)) for path in _modules()[1::2]]


def _modules() -> list[Path]:
    return sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-z]*.py"))


def _definitions(path: Path) -> list[ast.AST]:
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    return [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, kinds)]


def _docstring(node: Any) -> str | None:
    return ast.get_docstring(node)


def _without_docstrings(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    for node in _definitions(path):
        if _docstring(node):
            literal = node.body[0]  # type: ignore[attr-defined]
            lines[literal.lineno - 1 : literal.end_lineno] = [""] * (literal.end_lineno - literal.lineno + 1)
    return "\n".join(line for line in lines if line.strip())
