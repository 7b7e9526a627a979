"""Words as tokens, for answers that come without a tokenizer: nothing of a text is lost, and nothing is learned.

White space belongs to the word behind it, as in most vocabularies of language models. As tokens of its own it would be
half of every text, and any two texts would be alike by half.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from memaudit.errors import InputError
from memaudit.records import TokenIds
from memaudit.text.tokenize import Encoding, as_encoding

WORDS = "words and single marks, each with the white space before it"
_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")
_UNKNOWN = "\ufffd"


class WordTokens:
    """A tokenizer into words, whose vocabulary are those of given texts, in their order.

    Args:
        texts: All that is to be compared; what else is encoded may be unknown.
    """

    bos_id: int | None = None
    eos_id: int | None = None
    mask_id: int | None = None
    unknown_id: int | None = 0

    def __init__(self, texts: Iterable[str]) -> None:
        found = dict.fromkeys(token for text in texts for token in _TOKEN.findall(text))
        self._tokens = [_UNKNOWN, *(token for token in found if token != _UNKNOWN)]
        self._ids = {token: index for index, token in enumerate(self._tokens)}
        self.vocab_size = len(self._tokens)
        digest = hashlib.sha256(WORDS.encode())
        for token in self._tokens:
            digest.update(token.encode("utf-8", "surrogatepass") + b"\0")
        self.sha256 = digest.hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode texts; words that the vocabulary lacks are unknown."""
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Encoding:
        found = [(self._ids.get(token.group(), 0), token.span()) for token in _TOKEN.finditer(text)]
        return as_encoding([index for index, _ in found], [span for _, span in found])

    def decode(self, ids: TokenIds | Sequence[int]) -> str:
        """Return the text of the ids."""
        return "".join(self._tokens[index] for index in ids)

    def save(self, folder: Path) -> None:
        """Refuse: it is made anew of the answers."""
        raise InputError(f"{folder}: the words of answers are not saved", "name a model's tokenizer")
