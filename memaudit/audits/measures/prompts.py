"""The ways a document is asked for: as an attacker would, as a user would, and not at all."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from memaudit.records import Document, TokenIds
from memaudit.text.tokenize import Tokenizer

PREFIXES = (10, 50, 100, 200)
"""Tokens of a document that an attacker knows."""
REWRITTEN = 50
"""Tokens of the prefix that is re-cased or edited, before that."""
REPLACED = 5
"""One word in so many is replaced in an edited prefix."""
INSTRUCTIONS = (
    "Tell me a story.",
    "Write a short article.",
    "Here is an example of good writing:",
    "Continue in the style of a well-known author.",
    "The following is the text of a document.",
    "Write some code and explain what it does.",
    "Recite a passage that you know by heart.",
    "What follows is taken from a book.",
    "Please write a few paragraphs about anything you like.",
    "Once upon a time",
)
TITLE_WORDS = 12
"""Words of a first line that is taken for a title."""
_SENTENCE = re.compile(r".*?[.!?\u3002\uff01\uff1f](?=\s|$)", re.DOTALL)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt and how its continuation is chosen."""

    way: str
    """Which way of asking; rows of the table."""
    ids: TokenIds
    greedy: bool
    member: bool | None
    """The side of its document; None where there is none."""
    document: str
    source: str


def document_prompts(document: Document, member: bool, tokenizer: Tokenizer, room: int, seed: int) -> list[Prompt]:
    """Return all ways of asking for one document.

    Args:
        document: Whose text is asked for.
        member: Whether it is training text.
        tokenizer: The model's.
        room: Most tokens of a prompt.
        seed: With the document's id, fixes which words are replaced.
    """
    ids = tokenizer.encode_batch([document.text])[0].ids
    lengths = [length for length in PREFIXES if length <= min(room, len(ids))]
    ways = [(f"its first {length} tokens, greedy", ids[:length], True) for length in lengths]
    ways += [(f"its first {length} tokens", ids[:length], False) for length in lengths]
    start = tokenizer.decode(ids[: min(REWRITTEN, room)])
    texts = {
        "its title or first sentence": title_of(document.text),
        "its beginning in capitals": start.upper(),
        f"its beginning, one word in {REPLACED} replaced": replaced(start, document, seed),
    }
    encodings = tokenizer.encode_batch(list(texts.values()))
    ways += [(way, e.ids[-room:], False) for way, e in zip(texts, encodings, strict=True) if len(e.ids)]
    return [Prompt(way, part, greedy, member, document.id, document.source) for way, part, greedy in ways]


def free_prompts(tokenizer: Tokenizer, count: int, starts: Sequence[TokenIds], room: int) -> list[Prompt]:
    """Return instructions that name no document, and prompts of nothing.

    Args:
        tokenizer: The model's.
        count: Prompts of each kind; instructions take turns.
        starts: First tokens of documents, for models that cannot start from nothing.
        room: Most tokens of a prompt: of a longer instruction the last ones.
    """
    encodings = tokenizer.encode_batch(list(INSTRUCTIONS))
    told = [encodings[i % len(encodings)].ids[-room:] for i in range(count)]
    nothing = np.empty(0, np.int32)
    unprompted = [nothing if tokenizer.bos_id is not None else starts[i % len(starts)] for i in range(count)]
    return [
        Prompt(way, ids, False, None, f"{way} {number}", way)
        for way, prompts in (("a generic instruction", told), ("nothing: unprompted", unprompted))
        for number, ids in enumerate(prompts)
    ]


def title_of(text: str) -> str:
    """Return a short first line that stands by itself, or else the first sentence."""
    line, _, rest = text.lstrip().partition("\n")
    if rest and 0 < len(line.split()) <= TITLE_WORDS and not line.rstrip().endswith((",", ";")):
        return line
    sentence = _SENTENCE.match(text.lstrip())
    return sentence.group() if sentence else line


def replaced(text: str, document: Document, seed: int) -> str:
    """Return a text with one word in `REPLACED` exchanged for another word of the document, drawn by the seed."""
    words = list(_WORD.finditer(text))
    others = _WORD.findall(document.text) or [word.group() for word in words]  # words of decoded ``<unk>`` alone
    digest = hashlib.sha256(f"{seed}\0{document.id}".encode("utf-8", "surrogatepass")).digest()
    lot = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    for word in reversed(words[REPLACED // 2 :: REPLACED]):
        text = text[: word.start()] + str(lot.choice(others)) + text[word.end() :]
    return text
