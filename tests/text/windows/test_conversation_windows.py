"""Windows of replies: each with all that stands before it, as far as the model reads; replies alone are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.records import Document, Turn, Window
from memaudit.text.chat.replies import ChatReader, template_of
from memaudit.text.tokenize import HuggingFaceTokenizer
from memaudit.text.windows.conversation_windows import (
    GIVEN,
    LEAST,
    NONE_LEFT,
    SHARED,
    SHORT,
    TOO_LONG,
    UNASKED,
    Context,
    ReplySet,
    ReplyWindows,
    _drawn_of,
    draw_replies,
)
from memaudit.text.windows.windows import WindowOptions
from tests.text.chat.chat_data import conversation, new_tokenizer
from tests.text.chat.chat_models import TEMPLATES

TOKENIZERS = {name: HuggingFaceTokenizer(new_tokenizer(source)) for name, source in TEMPLATES.items()}


def documents(name: str, records: Sequence[dict[str, Any]]) -> list[Document]:
    found = []
    for place, record in enumerate(records, 1):
        turns = tuple(Turn(**message) for message in record["messages"])
        text = "\n".join(turn.content for turn in turns)
        found.append(Document(f"{name}:{place}", text, f"{name}:{place}", turns=turns))
    return found


def drawn(
    train: Sequence[dict[str, Any]],
    heldout: Sequence[dict[str, Any]],
    *,
    context: Context = Context(None, 0),  # noqa: B008
    template: str = "ChatML",
    before: Sequence[int] = (),
    **options: Any,
) -> ReplySet:
    tokenizer = TOKENIZERS[template]
    chosen = template_of(tokenizer)
    assert chosen is not None
    sides = documents("train", train), documents("heldout", heldout)
    with ChatReader(chosen, tokenizer, before, "m") as reader:
        return draw_replies(*sides, reader, tokenizer, WindowOptions(**options), context)


def side(first: int, count: int = 24, **options: Any) -> list[dict[str, Any]]:
    return [conversation(number, **options) for number in range(first, first + count)]


def left_out(found: ReplySet) -> dict[tuple[str, str], int]:
    return {(entry.side, entry.reason): entry.count for entry in found.left_out}


def test_windows_are_replies_with_all_that_stands_before() -> None:
    tokenizer = TOKENIZERS["ChatML"]
    found = drawn(side(0, turns=2), side(100, turns=2), suffix=10).drawn
    by_id = {d.id: d for d in documents("train", side(0, turns=2)) + documents("heldout", side(100, turns=2))}
    assert len(found.windows) == 96
    for window in found.windows:
        turns = by_id[window.document].turns or ()
        before = [turn._asdict() for turn in turns[: len(window.turns or ())]]
        asked = tokenizer.tokenizer.apply_chat_template(before, add_generation_prompt=True, return_dict=False)
        assert window.prefix.tolist() == asked
        assert len(window.suffix) == 10
        assert turns[len(before)].content.startswith(window.suffix_text)
        assert tokenizer.decode(window.suffix) == window.suffix_text
    assert found.matching == "matched by length"


def test_prompts_fit_into_what_the_model_reads() -> None:
    whole = drawn(side(0), side(100))
    longest = max(len(w.prefix) + len(w.suffix) for w in whole.drawn.windows)
    cut = drawn(side(0), side(100), context=Context(longest - 10, 1), before=[0])
    assert cut.cut > 0
    for window, other in zip(whole.drawn.windows, cut.drawn.windows, strict=True):
        assert 1 + len(other.prefix) + len(other.suffix) <= longest - 10
        assert window.prefix[-len(other.prefix) :].tolist() == other.prefix.tolist()
        assert window.suffix.tolist() == other.suffix.tolist()
        assert window.prefix_text.endswith(other.prefix_text)
    with pytest.raises(InputError, match=f"24 replies not tested: {TOO_LONG}"):
        drawn(side(0), side(100), context=Context(20, 0))


def test_replies_alone_are_compared() -> None:
    asked = side(0)
    others = [{"messages": [*a["messages"][:2], b["messages"][2]]} for a, b in zip(asked, side(100), strict=True)]
    assert drawn(asked, others).drawn.overlaps == []
    long, apart = side(0, words=40), side(100, words=40)
    apart[3]["messages"][2] = {"role": "assistant", "content": long[5]["messages"][2]["content"].upper()}
    with pytest.raises(InputError, match="share a span of 50 tokens"):
        drawn(long, apart)
    aside = drawn(long, apart, allow_overlap=True).drawn
    assert [(overlap.heldout, overlap.train, overlap.view) for overlap in aside.overlaps] == [
        ("heldout:4", "train:6", "after normalisation")
    ]
    assert "heldout:4" not in {window.document for window in aside.windows}


def test_short_replies_of_both_sides_are_asked_of_neither() -> None:
    thanks = [{"role": "user", "content": "Thanks!"}, {"role": "assistant", "content": "You are  welcome, any time."}]
    again = [thanks[0], {"role": "assistant", "content": "you are welcome, any  time."}]
    ours = [{"messages": record["messages"] + thanks} for record in side(0)]
    theirs = [{"messages": record["messages"] + again} for record in side(100)] + [{"messages": again}]
    found = drawn(ours, theirs)
    assert left_out(found) == {("train", SHARED): 24, ("heldout", SHARED): 25}
    assert [len(window.turns or ()) for window in found.drawn.windows] == [2] * 48
    assert {(entry.side, entry.reason, entry.count) for entry in found.drawn.set_aside} == {("heldout", NONE_LEFT, 1)}


STEMS = ["anchor", "basket", "bridge", "candle", "cloud", "copper", "dragon", "engine"]
replies = st.lists(st.sampled_from(STEMS[:2]), min_size=1, max_size=3).flatmap(
    lambda head: st.lists(st.sampled_from(STEMS), max_size=6).map(lambda tail: " ".join([*head, *tail]))
)


@settings(max_examples=40, deadline=None)
@given(st.lists(replies, min_size=3, max_size=8), st.lists(replies, min_size=3, max_size=8), st.integers(5, 60))
def test_nothing_that_is_asked_of_one_side_is_asked_of_the_other(ours: list[str], theirs: list[str], n: int) -> None:
    def talked(replies: list[str], styled: Any) -> list[dict[str, Any]]:
        own = side(0 if styled is str.capitalize else 100, len(replies), words=30)
        for record, said in zip(own, replies, strict=True):
            record["messages"] += [record["messages"][1], {"role": "assistant", "content": styled(said)}]
        return own

    found = drawn(talked(ours, str.capitalize), talked(theirs, str), suffix=n, allow_overlap=True).drawn
    asked = [{w.suffix_text.lower() for w in found.windows if w.member is member} for member in (True, False)]
    assert all(asked)
    assert not asked[0] & asked[1]


def test_replies_that_begin_alike_are_asked_of_neither_as_far_as_they_do() -> None:
    opening = "Window winter yellow zebra, stone summer temple thunder."
    ours, theirs = side(0), side(100)
    for record in (*ours[:3], *theirs[:3]):
        record["messages"][2]["content"] = f"{opening} {record['messages'][2]['content']}"
    assert left_out(drawn(ours, theirs, suffix=8)) == {("train", SHARED): 3, ("heldout", SHARED): 3}
    assert left_out(drawn(ours, theirs, suffix=50)) == {}


def test_replies_that_their_prompt_holds_are_not_asked_for() -> None:
    def quoted(records: list[dict[str, Any]], cut: int) -> list[dict[str, Any]]:
        for record in records:
            _, question, reply = record["messages"]
            question["content"] = f'Say: "{reply["content"][:cut]}" {question["content"]}'
        return records

    whole = drawn(side(0) + quoted(side(50, 5), 999), side(100))
    assert left_out(whole) == {("train", GIVEN): 5}
    assert not any(window.suffix_text in window.prefix_text for window in whole.drawn.windows)
    assert left_out(drawn(side(0) + quoted(side(50, 5), -3), side(100))) == {}
    assert left_out(drawn(side(0) + quoted(side(50, 5), -3), side(100), suffix=8)) == {("train", GIVEN): 5}
    again = side(0)
    for record in again:
        record["messages"] += record["messages"][1:]
    assert left_out(drawn(again, side(100))) == {("train", GIVEN): 24}


def test_short_replies_are_counted_by_themselves() -> None:
    ours = side(0)
    ours[0]["messages"] += [ours[0]["messages"][1], {"role": "assistant", "content": "Yes."}]
    found = drawn([*ours, {"messages": [{"role": "user", "content": "a"}]}], side(100))
    assert left_out(found) == {("train", SHORT): 1}
    assert [(entry.reason, entry.count) for entry in found.drawn.set_aside] == [(NONE_LEFT, 1)]
    assert {len(window.suffix) for window in drawn(side(0), side(100), suffix=3).drawn.windows} == {3}
    with pytest.raises(InputError, match=rf"gives a reply of at least {LEAST} tokens.*24 replies not tested: {SHORT}"):
        drawn(side(0, words=0), side(100))


def test_nothing_is_asked_without_a_prompt() -> None:
    alone = [{"messages": record["messages"][2:]} for record in side(0)]
    with pytest.raises(InputError, match=UNASKED):
        drawn(alone, side(100), template="an end after all")
    assert drawn(alone, side(100), template="an end after all", before=[0], context=Context(None, 1)).drawn.windows


def test_documents_are_matched_by_the_length_of_their_replies() -> None:
    ours = side(0, 30) + side(30, 30, words=3)
    theirs = side(100, 20) + side(130, 40, words=3)
    windows = drawn(ours, theirs).drawn.windows
    shares = [[w for w in windows if w.member is member and len(w.suffix) < 16] for member in (True, False)]
    assert len({len(share) for share in shares}) == 1


def test_a_document_without_turns_is_refused() -> None:
    tokenizer = TOKENIZERS["ChatML"]
    template = template_of(tokenizer)
    assert template is not None
    with ChatReader(template, tokenizer, [], "m") as reader, pytest.raises(InputError, match="a text among conv"):
        plain = [Document("a", "text", "a.jsonl:1")]
        draw_replies([], plain, reader, tokenizer, WindowOptions(), Context(None, 0))


@settings(max_examples=12, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 30), st.integers(20, 120))
def test_the_order_of_a_file_changes_nothing(order: list[int], suffix: int, context: int) -> None:
    ours, theirs = side(0, 12), side(100, 12)

    def asked(records: Sequence[int]) -> list[tuple[list[int], list[int]]]:
        named = documents("train", ours)
        tokenizer = TOKENIZERS["ChatML"]
        template = template_of(tokenizer)
        assert template is not None
        options, room = WindowOptions(suffix=suffix), Context(context, 0)
        with ChatReader(template, tokenizer, [], "m") as reader:
            sides = [named[i] for i in records], documents("heldout", theirs)
            windows = draw_replies(*sides, reader, tokenizer, options, room).drawn.windows
        return [(window.prefix.tolist(), window.suffix.tolist()) for window in windows]

    try:
        first = asked(range(12))
    except InputError as error:
        assert TOO_LONG in str(error) or SHORT in str(error)
        return
    assert asked(order) == first
    assert all(len(prefix) + len(ids) <= context and len(ids) <= suffix for prefix, ids in first)


def test_which_replies_of_a_long_conversation_are_asked_the_seed_decides() -> None:
    ids = np.zeros(0, np.int32)
    windows = [Window(ids, ids, start=place) for place in range(12)]
    candidate = ReplyWindows(Document("d", "", "a.jsonl:1"), windows, [""] * 12)
    drawn = [[window.start for window in _drawn_of(seed, candidate, 3, True)] for seed in range(30)]
    assert drawn[5] == [window.start for window in _drawn_of(5, candidate, 3, True)]
    assert all(len(set(starts)) == 3 and starts == sorted(starts) for starts in drawn)
    assert {start for starts in drawn for start in starts} == set(range(12))
