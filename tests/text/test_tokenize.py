"""Tokenizers: round trips, offsets, special tokens as plain text, the same through ``AutoTokenizer``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.text.tokenize import (
    EOS,
    MASK,
    SPECIAL_TOKENS,
    HuggingFaceTokenizer,
    TrainedTokenizer,
    character_tokenizer,
    train_tokenizer,
)

SCRIPTS = {
    "latin": "The quick brown fox, über naïve façades; 3 times!",
    "cjk": "我们在这里测试一种语言模型。日本語のテキスト。",
    "thai": "ภาษาไทยไม่มีช่องว่างระหว่างคำ",
    "arabic": "اللغة العربية تكتب من اليمين إلى اليسار",
    "emoji": "👩‍👩‍👧 is one family 🇫🇷 🙂🙃",
    "code": "def f(x):\n\treturn {'a': x[0]}  # <eos>\r\n",
}
TEXTS = [*SCRIPTS.values(), "and a last one\n\n  with spaces  "]
UNITS = ("byte", "char", "word", "bpe")


@pytest.fixture(scope="module", params=UNITS)
def tokenizer(request: pytest.FixtureRequest) -> TrainedTokenizer:
    return train_tokenizer(request.param, TEXTS, 400 if request.param == "bpe" else None)


@pytest.mark.parametrize("script", SCRIPTS)
def test_known_text_comes_back(tokenizer: TrainedTokenizer, script: str) -> None:
    [encoding] = tokenizer.encode_batch([SCRIPTS[script]])
    assert tokenizer.decode(encoding.ids) == SCRIPTS[script]


@pytest.mark.parametrize("script", SCRIPTS)
def test_offsets_cover_the_text_in_order(tokenizer: TrainedTokenizer, script: str) -> None:
    text = SCRIPTS[script]
    [encoding] = tokenizer.encode_batch([text])
    assert encoding.starts[0] == 0
    assert encoding.ends[-1] == len(text)
    assert (np.diff(encoding.starts) >= 0).all()
    covered = {i for s, e in zip(encoding.starts, encoding.ends, strict=True) for i in range(s, e)}
    assert covered == set(range(len(text)))


def test_offsets_of_single_character_tokens_name_the_character() -> None:
    text = "añ🙂b"
    [encoding] = train_tokenizer("char", [text]).encode_batch([text])
    assert [text[s:e] for s, e in zip(encoding.starts, encoding.ends, strict=True)] == list(text)


def test_special_tokens_in_text_are_plain_text(tokenizer: TrainedTokenizer) -> None:
    known = "".join(SPECIAL_TOKENS)
    trained = train_tokenizer("char", [known])
    [encoding] = trained.encode_batch([known])
    assert encoding.ids.min() >= len(SPECIAL_TOKENS)
    assert trained.decode(encoding.ids) == known
    [encoding] = tokenizer.encode_batch([f"a{EOS}b{MASK}"])
    assert tokenizer.eos_id not in encoding.ids
    assert tokenizer.mask_id not in encoding.ids


def test_special_ids(tokenizer: TrainedTokenizer) -> None:
    assert (tokenizer.eos_id, tokenizer.bos_id, tokenizer.mask_id) == (0, 0, 2)


def test_saved_and_loaded(tokenizer: TrainedTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    loaded = TrainedTokenizer.load(tmp_path)
    assert loaded.sha256 == tokenizer.sha256
    for ours, theirs in zip(tokenizer.encode_batch(TEXTS), loaded.encode_batch(TEXTS), strict=True):
        assert np.array_equal(ours.ids, theirs.ids)


def test_auto_tokenizer_reads_what_we_write(tokenizer: TrainedTokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path)
    theirs = HuggingFaceTokenizer(AutoTokenizer.from_pretrained(tmp_path))
    for text in [*TEXTS, f"literal {EOS} and {MASK}"]:
        [a], [b] = tokenizer.encode_batch([text]), theirs.encode_batch([text])
        assert np.array_equal(a.ids, b.ids)
        assert np.array_equal(a.starts, b.starts)
        assert theirs.decode(b.ids) == tokenizer.decode(a.ids)
    assert theirs.mask_id == tokenizer.mask_id
    assert theirs.vocab_size == tokenizer.vocab_size


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_byte_and_bpe_read_any_text(text: str) -> None:
    for unit in ("byte", "bpe"):
        tokenizer = train_tokenizer(unit, ["some training text"], 300)
        [encoding] = tokenizer.encode_batch([text])
        assert tokenizer.decode(encoding.ids) == text
        if unit == "byte":
            assert len(encoding) == len(text.encode())


def test_unseen_characters_are_unknown() -> None:
    tokenizer = train_tokenizer("char", ["abc"])
    [encoding] = tokenizer.encode_batch(["aXb"])
    assert encoding.ids.tolist()[1] == 1
    assert tokenizer.decode(encoding.ids) == "a<unk>b"


def test_bpe_smaller_than_its_alphabet_is_refused() -> None:
    with pytest.raises(InputError, match="at least 259"):
        train_tokenizer("bpe", ["text"], 100)


def test_training_is_reproducible() -> None:
    words = [f"word{i % 97} and{i % 31}" for i in range(2000)]
    assert train_tokenizer("bpe", words, 500).sha256 == train_tokenizer("bpe", words, 500).sha256


def test_character_tokenizer_keeps_foreign_ids() -> None:
    tokenizer = character_tokenizer({"a": 5, "b": 2, "<s>": 1})
    [encoding] = tokenizer.encode_batch(["ab<s>z"])
    assert encoding.ids.tolist() == [5, 2, 6, 6, 6, 6]
    assert tokenizer.decode([5, 1]) == "a<s>"


def test_empty_batch_and_empty_text(tokenizer: TrainedTokenizer) -> None:
    assert tokenizer.encode_batch([]) == []
    [encoding] = tokenizer.encode_batch([""])
    assert len(encoding) == 0
