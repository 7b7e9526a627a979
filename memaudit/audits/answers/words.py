"""Words as tokens, for answers that come without a tokenizer: nothing of a text is lost, and nothing is learned.

White space belongs to the word behind it, as in most vocabularies of language models. As tokens of its own it would be
half of every text, and any two texts would be alike by half. Scripts that put no spaces between words have none to cut
at: there every character is a token, or an output that goes on behind the true text would end in another token.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from memaudit.errors import InputError
from memaudit.records import TokenIds
from memaudit.text.tokenize import Encoding, as_encoding

WORDS = (
    "words and single marks (in scripts without spaces between words, single characters), each with the white space"
    " before it"
)
_SPACELESS = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff"  # Thai, Lao, Tibetan, Myanmar, Khmer
    "\u2e80-\u2fff\u3001-\u30ff\u3190-\u31ff\u3400-\u9fff\uf900-\ufaff"  # ideographs, kana
    "\ua9e0-\ua9ff\uaa60-\uaa7f\uff66-\uff9f\U0001aff0-\U0001b16f\U00016fe0-\U00016fff"
    "\U0001d372-\U0001d376\U00020000-\U0003ffff"
)
"""Characters of the scripts that `memaudit.metrics.fuzzy.words` takes one by one too."""
_TOKEN = re.compile(rf"\s*(?:[^\W{_SPACELESS}]+|[{_SPACELESS}]|[^\w\s])|\s+")
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
