"""Windows: cut on ids of the whole document, drawn alike from both sides, every document accounted for."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from memaudit.text.windows.windows import NO_COUNTERPART, WindowOptions, WindowSet, cut_document, draw_windows

OPTIONS = WindowOptions(prefix=5, suffix=5, limit=1000)


def texts(count: int, seed: int, length: tuple[int, int] = (10, 60)) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(f"w{random.integers(10**6)}" for _ in range(random.integers(*length))) for _ in range(count)]


def documents(name: str, count: int, seed: int, domains: tuple[str | None, ...] = (None,)) -> list[Document]:
    return [
        Document(f"{name}{i}", text, f"{name}.jsonl:{i + 1}", domains[i % len(domains)])
        for i, text in enumerate(texts(count, seed))
    ]


@pytest.fixture(scope="module")
def tokenizer() -> TrainedTokenizer:
    known = texts(200, 1) + texts(200, 2) + texts(60, 2, (500, 600)) + texts(4, 1, (400, 401)) + texts(4, 2, (400, 401))
    return train_tokenizer("word", known + [text.upper() for text in known], 10**6)


def account(drawn: WindowSet, side: str) -> int:
    """Documents of a side that gave windows or were set aside."""
    member = side == "train"
    used = len({w.document for w in drawn.windows if w.member == member})
    return used + sum(entry.count for entry in drawn.set_aside if entry.side == side)


def test_windows_are_the_ids_of_the_whole_document(tokenizer: TrainedTokenizer) -> None:
    train, heldout = documents("t", 60, 1), documents("h", 60, 2)
    drawn = draw_windows(train, heldout, tokenizer, OPTIONS)
    by_id = {d.id: d for d in train + heldout}
    assert len(drawn.windows) > 60
    for window in drawn.windows:
        text = by_id[window.document].text
        [whole] = tokenizer.encode_batch([text])
        part = whole.ids[window.start : window.start + 10]
        assert np.array_equal(np.concatenate([window.prefix, window.suffix]), part)
        assert window.prefix_text + window.suffix_text in text
        assert len(window.prefix) == len(window.suffix) == 5


def test_seam_text_follows_the_tokens() -> None:
    text = "memorise 🙂 this exactly, please: it is a secret text of some length!" * 2
    tokenizer = train_tokenizer("bpe", [text], 300)
    [encoding] = tokenizer.encode_batch([text])
    windows = cut_document(Document("d", text, "d"), encoding, OPTIONS, 50, member=True)
    whole = [w for w in windows if "\ufffd" not in tokenizer.decode(w.prefix) + tokenizer.decode(w.suffix)]
    assert len(whole) > 3
    for window in whole:
        assert tokenizer.decode(window.prefix) == window.prefix_text
        assert tokenizer.decode(window.suffix) == window.suffix_text


def test_every_document_is_used_or_counted(tokenizer: TrainedTokenizer) -> None:
    train, heldout = documents("t", 150, 1), documents("h", 90, 2)
    train.append(Document("short", "w1 w2", "t.jsonl:999"))
    drawn = draw_windows(train, heldout, tokenizer, OPTIONS)
    assert account(drawn, "train") == len(train)
    assert account(drawn, "heldout") == len(heldout)
    assert ("train", "shorter than 10 tokens", 1) in [dataclasses.astuple(s) for s in drawn.set_aside]


def test_sides_are_matched_by_domain_and_length(tokenizer: TrainedTokenizer) -> None:
    train = documents("t", 200, 1, ("web", "code"))
    heldout = documents("h", 120, 2, ("code", "web", "web"))
    drawn = draw_windows(train, heldout, tokenizer, OPTIONS)
    shares = []
    for member in (True, False):
        used = {w.document: w.domain for w in drawn.windows if w.member == member}
        counts = Counter(used.values())
        shares.append(counts["web"] / sum(counts.values()))
    assert drawn.matched
    assert drawn.matching == "matched by domain and length"
    assert abs(shares[0] - shares[1]) < 0.06


def test_domains_of_one_side_only_are_ignored(tokenizer: TrainedTokenizer) -> None:
    drawn = draw_windows(documents("t", 60, 1, ("web",)), documents("h", 60, 2), tokenizer, OPTIONS)
    assert drawn.matched
    assert "one side names no domains" in drawn.matching


def test_unlike_sides_are_called_not_matched(tokenizer: TrainedTokenizer) -> None:
    train = documents("t", 60, 1)
    long = [Document(f"h{i}", t, f"h:{i}") for i, t in enumerate(texts(60, 2, (500, 600)))]
    drawn = draw_windows(train, long, tokenizer, OPTIONS)
    assert not drawn.matched
    assert drawn.matching.startswith("not matched")


def test_order_of_the_files_does_not_matter(tokenizer: TrainedTokenizer) -> None:
    train, heldout = documents("t", 80, 1), documents("h", 80, 2)
    options = dataclasses.replace(OPTIONS, limit=20)
    one = draw_windows(train, heldout, tokenizer, options).windows
    two = draw_windows(train[::-1], heldout[::-1], tokenizer, options).windows
    assert [(w.document, w.start) for w in one] == [(w.document, w.start) for w in two]
    other = draw_windows(train, heldout, tokenizer, dataclasses.replace(options, seed=1)).windows
    assert [(w.document, w.start) for w in one] != [(w.document, w.start) for w in other]


def test_limit_and_several_windows_of_few_documents(tokenizer: TrainedTokenizer) -> None:
    few = [Document(f"t{i}", t, f"t:{i}") for i, t in enumerate(texts(4, 1, (400, 401)))]
    drawn = draw_windows(few, few_heldout(), tokenizer, dataclasses.replace(OPTIONS, limit=40))
    members = [w for w in drawn.windows if w.member]
    assert len(members) == 40
    for name in {w.document for w in members}:
        starts = sorted(w.start for w in members if w.document == name)
        assert min(np.diff(starts)) >= 10
    drawn = draw_windows(
        documents("t", 150, 1), documents("h", 150, 2), tokenizer, dataclasses.replace(OPTIONS, limit=25)
    )
    assert 15 <= sum(w.member for w in drawn.windows) <= 25


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_a_small_limit_is_met_over_many_strata(tokenizer: TrainedTokenizer, limit: int) -> None:
    domains = tuple("abcdefgh")
    train, heldout = documents("t", 160, 1, domains), documents("h", 160, 2, domains)
    drawn = draw_windows(train, heldout, tokenizer, dataclasses.replace(OPTIONS, limit=limit))
    assert [sum(w.member == side for w in drawn.windows) for side in (True, False)] == [limit, limit]


def few_heldout() -> list[Document]:
    return [Document(f"h{i}", t, f"h:{i}") for i, t in enumerate(texts(4, 2, (400, 401)))]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(0, 6), st.integers(1, 90), st.integers(1, 9), st.integers(0, 5))
def test_cuts_do_not_overlap_and_stay_inside(suffix: int, prefix: int, length: int, most: int, seed: int) -> None:
    tokenizer = train_tokenizer("char", ["abc"])
    text = "abc" * length
    [encoding] = tokenizer.encode_batch([text])
    options = WindowOptions(prefix, suffix, seed=seed)
    cuts = cut_document(Document("d", text, "d"), encoding, options, most, member=True)
    assert len(cuts) == min(most, len(text) // options.length)
    starts = [w.start for w in cuts]
    assert all(b - a >= options.length for a, b in itertools.pairwise(starts))
    assert all(0 <= s <= len(text) - options.length for s in starts)
    assert all(text[w.start :].startswith(w.prefix_text + w.suffix_text) for w in cuts)


def test_no_document_long_enough(tokenizer: TrainedTokenizer) -> None:
    short = [Document("a", "w1 w2", "a:1")]
    with pytest.raises(InputError, match=r"no train document gives a window of 5\+5 tokens: 1 shorter than 10"):
        draw_windows(short, documents("h", 5, 2), tokenizer, OPTIONS)


@pytest.mark.parametrize("limit", [5, 20, 1000])
def test_documents_without_a_counterpart_are_named(tokenizer: TrainedTokenizer, limit: int) -> None:
    train = documents("t", 40, 1, ("a", "a", "a", "b"))
    heldout = documents("h", 30, 2, ("a", "b", "b"))
    drawn = draw_windows(train, heldout, tokenizer, dataclasses.replace(OPTIONS, limit=limit))
    for side, member in (("train", True), ("heldout", False)):
        used = {window.document for window in drawn.windows if window.member == member}
        counted = sum(s.count for s in drawn.set_aside if s.side == side and s.reason == NO_COUNTERPART)
        assert len(drawn.unmatched[side]) == len(set(drawn.unmatched[side])) == counted
        assert not used & set(drawn.unmatched[side])
        assert len(used) + counted <= limit
    assert drawn.unmatched["train"] or limit < 1000


def test_overlap_is_refused_or_set_aside(tokenizer: TrainedTokenizer) -> None:
    train, heldout = documents("t", 60, 1), documents("h", 60, 2)
    heldout[3] = dataclasses.replace(heldout[3], text=train[7].text.upper())
    with pytest.raises(InputError, match=r"1 of 60 held-out documents .*first: h.jsonl:4 with t.jsonl:8"):
        draw_windows(train, heldout, tokenizer, OPTIONS)
    drawn = draw_windows(train, heldout, tokenizer, dataclasses.replace(OPTIONS, allow_overlap=True))
    assert [o.heldout for o in drawn.overlaps] == ["h.jsonl:4"]
    assert "h3" not in {w.document for w in drawn.windows}
    assert account(drawn, "heldout") == len(heldout)


def test_bad_options_are_refused() -> None:
    with pytest.raises(InputError, match="--suffix must be at least 1"):
        WindowOptions(suffix=0)
