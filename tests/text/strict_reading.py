"""What the plain reader makes of a file: what quicker ways of reading it are compared with."""

from __future__ import annotations

from typing import Any

from memaudit.errors import InputError
from memaudit.text.corpus.read import read_corpus


def strictly(path: str, **options: Any) -> Any:
    """Texts, places, counts and digest as `read_corpus` has them, or its error."""
    corpus = read_corpus([path], **options)
    try:
        documents = [(document.source, document.text) for document in corpus]
    except InputError as error:
        return str(error)
    found = corpus.summary()
    return documents, found["empty"], found.get("rejected", 0), found.get("first_rejected", []), found["files"]
