"""Text that comes back: a window is verbatim exactly where the text is the same, however tokens cut it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from memaudit.models.remote.seams import as_text, ids_behind, moved, spare
from memaudit.models.sampling import continuation_text
from memaudit.records import TokenIds
from memaudit.text.token_bytes import bytes_of
from memaudit.text.tokenize import HuggingFaceTokenizer, Tokenizer, train_tokenizer
from tests.strategies import SAMPLES, texts
from tests.text.chat.chat_models import KINDS, chat_tokenizer

SEEN = [*SAMPLES.values(), "the cat sat on the mat, the cat sat. Hello world"]


@cache
def tokenizer_of(name: str) -> Tokenizer:
    if name in KINDS:
        return HuggingFaceTokenizer(chat_tokenizer(name))
    return train_tokenizer("bpe", SEEN, 380) if name == "bpe" else train_tokenizer(name, SEEN)  # type: ignore[arg-type]


OURS, THEIRS = ("byte", "bpe", "char", "word"), tuple(KINDS)
WORDS = ["the", " ", "cat", "sat", ", ", "Hello", "world", "\n", "What is it? ", "A stone"]
SCRIPTS = st.one_of(
    *(texts(script, 24) for script in ("latin", "cjk", "thai", "arabic", "emoji", "code")),
    st.lists(st.sampled_from([*WORDS, "\ufffd"]), min_size=1, max_size=8).map("".join),
)
KNOWN_WORDS = st.lists(st.sampled_from(WORDS[:8]), min_size=1, max_size=10).map("".join)
DOCUMENTS = {
    "char": st.one_of(KNOWN_WORDS, *(st.text(st.sampled_from(each), max_size=24) for each in SAMPLES.values())),
    "word": KNOWN_WORDS,
    "metaspace": KNOWN_WORDS.filter(str.strip),
    "legacy": KNOWN_WORDS.filter(str.strip),
    "unigram": st.lists(st.sampled_from(["user", " ", "What is it?", "A stone", "Hello"]), min_size=1).map("".join),
}
"""Text that a tokenizer can read; of those that are not named, any."""


def documents(name: str) -> st.SearchStrategy[str]:
    return DOCUMENTS.get(name, SCRIPTS)


def ids_of(tokenizer: Tokenizer, text: str) -> TokenIds:
    return tokenizer.encode_batch([text])[0].ids


def said(tokenizer: Tokenizer, prompt: TokenIds, ids: TokenIds) -> str:
    """What an honest server shows of tokens that it wrote behind the text of a prompt."""
    pieces = bytes_of(tokenizer, ids)
    if pieces is None:
        return continuation_text(tokenizer, prompt, ids)
    return (as_text(tokenizer, prompt).begun + b"".join(pieces)).decode("utf-8", "replace")


def true_text(tokenizer: Tokenizer, prompt: TokenIds, true: TokenIds) -> bytes:
    pieces = bytes_of(tokenizer, true)
    if pieces is None:
        return continuation_text(tokenizer, prompt, true).encode()
    return as_text(tokenizer, prompt).begun + b"".join(pieces)


def cut(tokenizer: Tokenizer, text: str, place: float, last: float) -> tuple[TokenIds, TokenIds, TokenIds]:
    """Cut a document into prompt, true tokens and what follows these."""
    ids = ids_of(tokenizer, text)
    at = round(place * len(ids))
    stop = at + max(1, round(last * (len(ids) - at)))
    return ids[:at], ids[at:stop], ids[stop:]


@pytest.mark.parametrize("name", [*OURS, *THEIRS])
@settings(deadline=None, max_examples=40)
@given(st.data(), st.floats(0, 1), st.floats(0, 1))
def test_the_same_text_is_never_missed(name: str, data: st.DataObject, place: float, last: float) -> None:
    tokenizer, text = tokenizer_of(name), data.draw(documents(name))
    prompt, true, rest = cut(tokenizer, text, place, last)
    assume(len(true) and tokenizer.unknown_id not in true)
    shown = said(tokenizer, prompt, np.concatenate([true, rest]))
    found = ids_behind(tokenizer, prompt, shown, true)
    assert np.array_equal(found[: len(true)], true)


@pytest.mark.parametrize("name", [*OURS, *THEIRS])
@settings(deadline=None, max_examples=40)
@given(st.data(), st.floats(0, 1), st.floats(0, 1), st.integers(0, 12))
def test_another_text_is_never_verbatim(name: str, data: st.DataObject, place: float, last: float, shared: int) -> None:
    tokenizer, text, other = tokenizer_of(name), data.draw(documents(name)), data.draw(SCRIPTS)
    prompt, true, _ = cut(tokenizer, text, place, last)
    assume(len(true))
    whole = true_text(tokenizer, prompt, true)
    shown = whole[:shared].decode("utf-8", "ignore") + other
    found = ids_behind(tokenizer, prompt, shown, true)
    assert np.array_equal(found[: len(true)], true) == shown.encode().startswith(whole)
    matched = int(np.argmin(np.append(found[: len(true)] == true[: len(found)], False)))
    assert shown.encode().startswith(true_text(tokenizer, prompt, true[:matched])) or not matched


@pytest.mark.parametrize("name", OURS)
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_what_differs_is_shown_as_it_was_written(name: str, data: st.DataObject) -> None:
    tokenizer, text, other = tokenizer_of(name), data.draw(documents(name)), data.draw(documents(name))
    prompt, true, _ = cut(tokenizer, text, 0.5, 1.0)
    assume(len(true) and other and tokenizer.unknown_id not in ids_of(tokenizer, other))
    assume(not as_text(tokenizer, prompt).begun and not as_text(tokenizer, prompt).cut)
    found = ids_behind(tokenizer, prompt, other, true, ended=True)
    assert continuation_text(tokenizer, prompt, found) == other


@pytest.mark.parametrize("name", ["byte", "bpe", "byte level", "metaspace", "legacy"])
@settings(deadline=None, max_examples=40)
@given(SCRIPTS, st.floats(0, 1), st.floats(0, 1))
def test_a_prompt_is_sent_in_whole_characters(name: str, text: str, first: float, last: float) -> None:
    tokenizer = tokenizer_of(name)
    ids = ids_of(tokenizer, text)
    assume(tokenizer.unknown_id not in ids)
    some = ids[round(first * len(ids)) :][: round(last * len(ids))]
    sent = as_text(tokenizer, some)
    assert sent.text.strip(" ") in text and len(sent.begun) < 4
    assert sent.text.count("\ufffd") <= text.count("\ufffd")
    assert not sent.begun or sent.cut
    sizes = [len(sent.text.encode()), sum(map(len, bytes_of(tokenizer, some) or []))]
    assert sizes[1] - (6 if sent.cut else 1) <= sizes[0] <= sizes[1]


@pytest.mark.parametrize("name", ["byte", "bpe", "byte level", "metaspace", "legacy"])
@settings(deadline=None, max_examples=40)
@given(st.data())
def test_a_document_from_its_beginning_is_sent_as_it_is(name: str, data: st.DataObject) -> None:
    tokenizer, text = tokenizer_of(name), data.draw(documents(name))
    ids = ids_of(tokenizer, text)
    assume(tokenizer.unknown_id not in ids)
    assert np.array_equal(ids_of(tokenizer, as_text(tokenizer, ids).text), ids)


def test_characters_that_tokens_cut() -> None:
    tokenizer = tokenizer_of("byte")
    ids = ids_of(tokenizer, "ab€cd")
    assert as_text(tokenizer, ids[:3]) == as_text(tokenizer, ids[:3])
    sent = as_text(tokenizer, ids[:4])
    assert (sent.text, sent.begun, sent.cut) == ("ab", "€".encode()[:2], True)
    assert as_text(tokenizer, ids[3:]).text == "cd"
    assert spare(tokenizer, ids[:4], ids[4:]) == 2
    assert spare(tokenizer, ids[:2], ids[2:4]) == 3 and spare(tokenizer, ids[:2], ids[2:5]) == 0
    behind = ids_behind(tokenizer, ids[:4], "€cd", ids[4:])
    assert np.array_equal(behind, ids[4:])
    inside = ids_behind(tokenizer, ids[:2], "€", ids[2:4])
    assert np.array_equal(inside[:2], ids[2:4])
    unseen = ids_behind(tokenizer, ids[:2], "\ufffd", ids[2:4])
    assert not len(unseen)  # a part of a character that nothing shows
    other = ids_behind(tokenizer, ids[:2], "₭", ids[2:5])
    assert not np.array_equal(other[:3], ids[2:5])
    assert moved(tokenizer, [ids, ids[:4], ids[3:], ids[:2]]) == (2, 0)
    ended = np.concatenate([ids[:2], [0], ids[2:]]).astype(np.int32)
    assert moved(tokenizer, [ended, ids[:0]]) == (0, 0)
    words = tokenizer_of("bpe")
    halves = np.concatenate([ids_of(words, half) for half in ("th", "e cat")])
    assert words.decode(halves) == "the cat" and moved(words, [ids_of(words, "the cat"), halves]) == (0, 1)


def test_replacement_characters_of_a_text_are_characters() -> None:
    tokenizer = tokenizer_of("bpe")
    ids = ids_of(tokenizer, "odd \ufffd")
    assert as_text(tokenizer, ids).text == "odd \ufffd" and not as_text(tokenizer, ids).cut
    assert np.array_equal(ids_behind(tokenizer, ids[:0], "odd \ufffd", ids), ids)


def test_white_space_before_a_reply_is_not_compared() -> None:
    tokenizer = tokenizer_of("bpe")
    ids = ids_of(tokenizer, "the cat sat on")
    prompt, true = ids_of(tokenizer, "the"), ids_of(tokenizer, " cat sat")
    for shown in ("cat sat", " cat sat", "\n\ncat sat on"):
        found = ids_behind(tokenizer, prompt, shown, true, apart=True)
        assert np.array_equal(found[: len(true)], true)
    strict = ids_behind(tokenizer, prompt, "cat sat", true)
    assert not np.array_equal(strict[: len(true)], true)
    assert len(ids)


def test_without_true_tokens_the_text_is_encoded() -> None:
    for name in OURS:
        tokenizer = tokenizer_of(name)
        found = ids_behind(tokenizer, ids_of(tokenizer, "the"), " cat", None)
        assert tokenizer.decode(found) == " cat"
