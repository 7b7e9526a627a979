"""Tokenizers: byte, character, word, BPE trained on the training text alone, and any Hugging Face tokenizer.

All of ours are ``tokenizers`` pipelines, so every one gives character offsets and is written as a
``tokenizer.json`` that ``AutoTokenizer`` reads. Text of a corpus never turns into a special token: a
literal ``<eos>`` in a document is encoded as the five characters it is.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models, pre_tokenizers, trainers

from memaudit.errors import InputError
from memaudit.records import TokenIds

Unit = Literal["byte", "char", "word", "bpe"]

EOS, UNKNOWN, MASK = "<eos>", "<unk>", "<mask>"
SPECIAL_TOKENS = (EOS, UNKNOWN, MASK)
"""Ids 0, 1, 2 of every tokenizer trained here; ``<eos>`` stands between documents and pads batches."""

WORD_PATTERN = r"\s+|\w+|[^\w\s]"
CHARACTER_PATTERN = r"[\s\S]"


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """Token ids of a text with the characters each covers: ``text[starts[i]:ends[i]]``."""

    ids: TokenIds
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


class Tokenizer(Protocol):
    """What memaudit needs of a tokenizer; ids of special tokens are None where there is no such token."""

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""

    @property
    def bos_id(self) -> int | None:
        """The token that stands before a text in training, prepended by the model when it scores."""

    @property
    def eos_id(self) -> int | None:
        """The token that stands after a text in training."""

    @property
    def mask_id(self) -> int | None:
        """The token that hides another (masked objectives only)."""

    @property
    def unknown_id(self) -> int | None:
        """The token that stands for all text outside the vocabulary; None where every text can be read."""

    @property
    def sha256(self) -> str:
        """Identity of the tokenizer: changes whenever any text may be encoded otherwise."""

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode texts as plain text, without adding special tokens and without ever producing one."""

    def decode(self, ids: TokenIds | Sequence[int]) -> str:
        """Return the text of the ids, special tokens shown by name."""

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` (and what ``AutoTokenizer`` needs beside it)."""


class TrainedTokenizer:
    """A tokenizer of ours: a ``tokenizers`` pipeline whose ids 0, 1, 2 are ``<eos>``, ``<unk>``, ``<mask>``."""

    def __init__(self, pipeline: tokenizers.Tokenizer) -> None:
        pipeline.encode_special_tokens = True
        pipeline.no_truncation()
        pipeline.no_padding()
        self.dropout = _without_dropout(pipeline)
        """Share of merges that the file asks to leave out at random, which is not followed."""
        self.pipeline = pipeline
        self.vocab_size: int = pipeline.get_vocab_size()
        self.eos_id: int | None = pipeline.token_to_id(EOS)
        self.bos_id = self.eos_id
        self.mask_id: int | None = pipeline.token_to_id(MASK)
        unknown = getattr(pipeline.model, "unk_token", None)
        self.unknown_id: int | None = None if unknown is None else pipeline.token_to_id(unknown)
        description = pipeline.to_str()
        self.sha256 = hashlib.sha256(description.encode()).hexdigest()
        self._ids_of_characters = _ids_of_characters(description)

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode texts in parallel, special tokens split into plain characters."""
        if self._ids_of_characters is not None:
            return [_encode_characters(text, self._ids_of_characters) for text in texts]
        encoded = self.pipeline.encode_batch(list(texts), add_special_tokens=False)
        return [as_encoding(e.ids, e.offsets) for e in encoded]

    def decode(self, ids: TokenIds | Sequence[int]) -> str:
        """Return the text of the ids, special tokens shown by name."""
        text: str = self.pipeline.decode([int(i) for i in ids], skip_special_tokens=False)
        return text

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and a ``tokenizer_config.json`` that ``AutoTokenizer`` understands."""
        folder.mkdir(parents=True, exist_ok=True)
        # Through Python's file, whose errors say what failed: tokenizers raises bare Exception.
        (folder / "tokenizer.json").write_text(self.pipeline.to_str(pretty=True), encoding="utf-8")
        names = {"eos_token": EOS, "bos_token": EOS, "pad_token": EOS, "unk_token": UNKNOWN, "mask_token": MASK}
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings | names, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TrainedTokenizer:
        """Read the ``tokenizer.json`` of a model folder written here."""
        file = folder / "tokenizer.json"
        try:
            return cls(tokenizers.Tokenizer.from_file(str(file)))
        except Exception as error:  # tokenizers raises bare Exception
            raise InputError(f"{file}: not a tokenizer: {error}") from error


class HuggingFaceTokenizer:
    """Any tokenizer of ``transformers``, with special tokens in text always split."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.dropout = _without_dropout(tokenizer.backend_tokenizer) if tokenizer.is_fast else None
        """Share of merges that the file asks to leave out at random, which is not followed."""
        self.vocab_size: int = len(tokenizer)
        self.bos_id: int | None = _prepended_id(tokenizer)
        self.eos_id: int | None = tokenizer.eos_token_id
        self.mask_id: int | None = tokenizer.mask_token_id
        self.unknown_id: int | None = tokenizer.unk_token_id
        self.sha256 = hashlib.sha256(_serialised(tokenizer)).hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode texts without adding special tokens and without ever producing one from text."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=self.tokenizer.is_fast,
            return_attention_mask=False,
            truncation=False,
            verbose=False,
        )
        if not self.tokenizer.is_fast:
            return [as_encoding(ids, _decoded_offsets(self, ids)) for ids in encoded["input_ids"]]
        return [
            as_encoding(ids, offsets)
            for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        ]

    def decode(self, ids: TokenIds | Sequence[int]) -> str:
        """Return the text of the ids, special tokens shown by name."""
        text: str = self.tokenizer.decode(
            [int(i) for i in ids], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def save(self, folder: Path) -> None:
        """Write the tokenizer as ``transformers`` does."""
        self.tokenizer.save_pretrained(str(folder))


def train_tokenizer(unit: Unit, texts: Iterable[str], vocab_size: int | None = None) -> TrainedTokenizer:
    """Build a tokenizer from training text alone.

    Args:
        unit: ``byte`` (256 ids, reads any text), ``char`` and ``word`` (ids in order of frequency, the
            rest is ``<unk>``), or ``bpe`` (byte-level, so it reads any text too).
        texts: The training texts; read once.
        vocab_size: Largest number of ids, special tokens included; by default 4096 for ``bpe`` and
            50,000 for ``word``; no limit for ``char``; ``byte`` always has 259.
    """
    if unit == "byte":
        return TrainedTokenizer(_byte_level(models.BPE(_byte_vocabulary(), [])))
    if unit == "bpe":
        size = vocab_size or 4096
        if size < len(_byte_vocabulary()):
            raise InputError(f"a BPE vocabulary of {size} is too small", "256 bytes and 3 special tokens: at least 259")
        pipeline = _byte_level(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        pipeline.train_from_iterator(texts, trainer)
        return TrainedTokenizer(pipeline)
    if unit == "char":
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        by_frequency = sorted(counts, key=lambda character: (-counts[character], character))
        vocabulary = [*SPECIAL_TOKENS, *by_frequency][:vocab_size]
        pipeline = _split_by(CHARACTER_PATTERN, {entry: index for index, entry in enumerate(vocabulary)})
        pipeline.add_special_tokens(list(SPECIAL_TOKENS))
        return TrainedTokenizer(pipeline)
    pipeline = _split_by(WORD_PATTERN, {})
    word_trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size or 50_000, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    pipeline.train_from_iterator(texts, word_trainer)
    return TrainedTokenizer(pipeline)


def character_tokenizer(vocabulary: Mapping[str, int], unknown: str | None = None) -> TrainedTokenizer:
    """Return the tokenizer of an existing character vocabulary (a model trained elsewhere).

    Args:
        vocabulary: Character to id; entries longer than one character are special tokens.
        unknown: The entry that stands for unknown characters; ``<unk>`` with a new id by default.
    """
    ids = dict(vocabulary)
    if unknown is None:
        unknown = UNKNOWN
        ids.setdefault(unknown, max(ids.values(), default=-1) + 1)
    pipeline = _split_by(CHARACTER_PATTERN, ids, unknown)
    pipeline.add_special_tokens([entry for entry in ids if len(entry) > 1])
    return TrainedTokenizer(pipeline)


def unknown_parts(text: str, encoding: Encoding, unknown: int | None) -> list[str]:
    """Return the parts of a text that the vocabulary lacks, each once, in the order of the text."""
    if unknown is None:
        return []
    places = np.flatnonzero(encoding.ids == unknown)
    return list(dict.fromkeys(text[encoding.starts[i] : encoding.ends[i]] for i in places))


def special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Return the tokens that no text is encoded as, of the tokenizers that are known here; none of others."""
    if isinstance(tokenizer, TrainedTokenizer):
        added, named = tokenizer.pipeline.get_added_tokens_decoder(), []
    elif isinstance(tokenizer, HuggingFaceTokenizer):
        added, named = tokenizer.tokenizer.added_tokens_decoder, tokenizer.tokenizer.all_special_ids
    else:
        return frozenset()
    return frozenset(named) | {index for index, token in added.items() if token.special}


def as_encoding(ids: Sequence[int], offsets: Sequence[tuple[int, int]]) -> Encoding:
    """Pack lists of ids and (start, end) character offsets into arrays."""
    spans = np.asarray(offsets, dtype=np.int32).reshape(-1, 2)
    return Encoding(np.asarray(ids, dtype=np.int32), spans[:, 0], spans[:, 1])


def _without_dropout(pipeline: Any) -> float | None:
    """Let a pipeline encode a text the same way every time; return the share of merges it was to leave out."""
    share: float | None = getattr(pipeline.model, "dropout", None)
    if share is not None:
        pipeline.model.dropout = None
    return share


def _ids_of_characters(description: str) -> TokenIds | None:
    """Return the id of every code point for a pipeline that splits text into characters, else None.

    ``tokenizers`` takes a microsecond or two for each character; a table takes a few nanoseconds. The last
    entry stands for all code points beyond the vocabulary.
    """
    pipeline = json.loads(description)
    splitter = pipeline["pre_tokenizer"] or {}
    if pipeline["normalizer"] or splitter.get("pattern") != {"Regex": CHARACTER_PATTERN}:
        return None
    vocabulary: dict[str, int] = pipeline["model"]["vocab"]
    characters = {ord(entry): index for entry, index in vocabulary.items() if len(entry) == 1}
    table = np.full(max(characters, default=0) + 2, vocabulary[pipeline["model"]["unk_token"]], np.int32)
    table[list(characters)] = list(characters.values())
    return table


def _encode_characters(text: str, ids_of_characters: TokenIds) -> Encoding:
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    places = np.arange(len(codes) + 1, dtype=np.int32)
    return Encoding(ids_of_characters[np.minimum(codes, len(ids_of_characters) - 1)], places[:-1], places[1:])


def _byte_vocabulary() -> dict[str, int]:
    symbols = [*SPECIAL_TOKENS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    return {symbol: index for index, symbol in enumerate(symbols)}


def _byte_level(model: Any) -> tokenizers.Tokenizer:
    pipeline = tokenizers.Tokenizer(model)
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    pipeline.add_special_tokens(list(SPECIAL_TOKENS))
    return pipeline


def _split_by(pattern: str, vocabulary: dict[str, int], unknown: str = UNKNOWN) -> tokenizers.Tokenizer:
    pipeline = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    pipeline.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated")
    pipeline.decoder = decoders.Fuse()
    return pipeline


def _prepended_id(tokenizer: Any) -> int | None:
    """Return the id that the tokenizer itself puts before a text, which is what its model was trained on."""
    added = tokenizer.encode("a", add_special_tokens=True)
    plain = tokenizer.encode("a", add_special_tokens=False)
    if len(added) > len(plain) and added[0] in tokenizer.all_special_ids:
        return int(added[0])
    return None


def _serialised(tokenizer: Any) -> bytes:
    if tokenizer.is_fast:
        text: str = tokenizer.backend_tokenizer.to_str()
        return text.encode()
    return repr(sorted(tokenizer.get_vocab().items())).encode()


def _decoded_offsets(tokenizer: HuggingFaceTokenizer, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Offsets of a tokenizer that reports none: by the length of the growing decoded text."""
    ends = [len(tokenizer.decode(ids[: i + 1])) for i in range(len(ids))]
    return list(zip([0, *ends[:-1]], ends, strict=True))
