"""A tokenizer whose special tokens go by other names, which no text holds.

What a user typed must stay text, and what a template wrote must be a special token, though both read ``<|im_start|>``.
So what the template wrote is renamed, in its text and in a copy of the tokenizer: the text is then encoded whole, by
the tokenizer's own rules of what stands beside a special token, and gives the ids that transformers gives it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers

from memaudit.errors import ModelError
from memaudit.records import TokenIds
from memaudit.text.tokenize import Encoding, HuggingFaceTokenizer, Tokenizer, TrainedTokenizer, as_encoding

FIRST = 0x10600
"""Letters of Linear A, which nobody can read, stand for what must be told from text: no tokenizer has a rule of them,
and no normalisation changes them."""
COUNT = 256
MARKS = chr(FIRST) + chr(FIRST + 1)
"""What stands before and behind a reply while it is rendered."""
_DIGITS = 64
_RESERVED = re.compile(f"[{chr(FIRST)}-{chr(FIRST + COUNT - 1)}]")


def is_reserved(text: str) -> bool:
    """Whether a text holds a letter that would be taken for ours."""
    return _RESERVED.search(text) is not None


def _name(number: int, kind: int) -> str:
    """Return a name for a number, of three letters that no other name shares a beginning with."""
    first = FIRST + 16 + kind * 3 * _DIGITS // 2
    digits = [number // (32 * 32) % 32, number // 32 % 32, number % 32]
    return "".join(chr(first + 32 * place + digit) for place, digit in enumerate(digits))


class NamedTokenizer:
    """Special tokens of a tokenizer under other names.

    Args:
        tokenizer: That of the model.

    Raises:
        ModelError: It cannot be copied so: it is no pipeline of ``tokenizers``, or has its tokens elsewhere.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        pipeline = _pipeline_of(tokenizer)
        special = {
            token.content: index for index, token in pipeline.get_added_tokens_decoder().items() if token.special
        }
        names = sorted(special, key=lambda content: -len(content))
        self._wrote = {content: _name(i, 0) for i, content in enumerate(names)}
        self._typed = {content: _name(i, 1) for i, content in enumerate(names)}
        self._back = {typed: content for content, typed in self._typed.items()}
        self._real = {name: content for content, name in self._wrote.items()}
        self._special = _one_of(names)
        self.pipeline = _renamed(pipeline, self._wrote)
        for content, index in special.items():
            if self.pipeline.token_to_id(self._wrote[content]) != index:
                raise ModelError(
                    "its tokenizer cannot be used for conversations", f"{content!r} is not the token that it says"
                )

    def hidden(self, text: str) -> str:
        """Return what a user typed with the names of special tokens hidden, so that they can be told apart later."""
        return self._special.sub(lambda found: self._typed[found[0]], text)

    def named(self, text: str) -> str:
        """Return what a template wrote with special tokens renamed, and what was hidden as it was typed."""
        renamed = self._special.sub(lambda found: self._wrote[found[0]], text)
        return _restored(renamed, self._back)

    def readable(self, text: str) -> str:
        """Return a text from `named` with special tokens by their own names."""
        return _restored(text, self._real)

    def decode(self, ids: Sequence[int] | TokenIds) -> str:
        """Return the text of ids, special tokens by their own names."""
        return self.readable(self.pipeline.decode([int(i) for i in ids], skip_special_tokens=False))

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode texts from `named`; characters are counted in them."""
        return [
            as_encoding(e.ids, e.offsets) for e in self.pipeline.encode_batch(list(texts), add_special_tokens=False)
        ]


def special_names(tokenizer: Tokenizer) -> Mapping[str, str]:
    """Return what a template calls the special tokens of a tokenizer: ``bos_token``, ``eos_token`` and others."""
    if isinstance(tokenizer, HuggingFaceTokenizer):
        named = tokenizer.tokenizer.special_tokens_map
        return {name: str(token) for name, token in named.items() if isinstance(token, str)}
    ids = {"bos_token": tokenizer.bos_id, "eos_token": tokenizer.eos_id}
    return {name: tokenizer.decode([index]) for name, index in ids.items() if index is not None}


def _pipeline_of(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    if isinstance(tokenizer, TrainedTokenizer):
        return tokenizer.pipeline
    if isinstance(tokenizer, HuggingFaceTokenizer) and tokenizer.tokenizer.is_fast:
        pipeline: tokenizers.Tokenizer = tokenizer.tokenizer.backend_tokenizer
        return pipeline
    raise ModelError(
        "conversations need a tokenizer of the library tokenizers", "is there a tokenizer.json in the model's folder?"
    )


def _renamed(pipeline: tokenizers.Tokenizer, names: Mapping[str, str]) -> tokenizers.Tokenizer:
    described: dict[str, Any] = json.loads(pipeline.to_str())
    for token in described["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    model = described["model"]
    if isinstance(model.get("vocab"), dict):
        model["vocab"] = {names.get(entry, entry): index for entry, index in model["vocab"].items()}
    elif "vocab" in model:
        model["vocab"] = [[names.get(entry, entry), score] for entry, score in model["vocab"]]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    kept = described.get("post_processor") or {}
    described["post_processor"] = kept if kept.get("type") == "ByteLevel" else None
    described["truncation"] = described["padding"] = None
    renamed = tokenizers.Tokenizer.from_str(json.dumps(described))
    renamed.encode_special_tokens = False
    return renamed


def _one_of(names: Sequence[str]) -> re.Pattern[str]:
    """Return what finds the longest of some names; nothing where there are none."""
    return re.compile("|".join(map(re.escape, names)) or r"(?!)")


def _restored(text: str, back: Mapping[str, str]) -> str:
    return _RESERVED_NAME.sub(lambda found: back.get(found[0], found[0]), text)


_RESERVED_NAME = re.compile(f"[{chr(FIRST + 16)}-{chr(FIRST + COUNT - 1)}]{{3}}")
