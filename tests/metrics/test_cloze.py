"""Name cloze: which passages are asked, and what counts as an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.metrics.cloze import begins_with_name, cloze_accuracy, name_passages, same_name

FILLER = "and there was nothing else to be seen in the whole of the long and empty street that led down to the river"


def asked(text: str) -> list[str]:
    return [passage.name for passage in name_passages(text)]


def test_the_one_name_of_a_passage_is_found_where_it_stands():
    text = f"Then he went out with Charley, {FILLER}. It rained."
    (passage,) = name_passages(text)
    assert passage.name == "Charley"
    assert passage.text[: passage.start].endswith("went out with ")
    assert text.startswith(passage.text[:40])


@pytest.mark.parametrize(
    "text",
    [
        f"Charley went out, {FILLER}.",  # a first word is capitalised whatever it is
        f"Then he met Charley and Esther, {FILLER}.",
        f"Then he met Charley, {FILLER}. And Charley was glad.",
        f"Then he met Charley, {FILLER}. Charley was glad.",  # given away at the beginning of a sentence
        f"Then he saw Charley's hat on old Charley, {FILLER}.",  # given away by its genitive
        f"Then he met Sherlock Holmes, {FILLER}.",  # two words
        f"Then on the next Monday I went out, {FILLER}.",
        f"Then he read the Rose, {FILLER}, and a rose was there.",  # written small elsewhere
        f"He said: NEVER go with them, {FILLER}.",
        "He met Charley there.",  # too short to tell anything
        "",
        "\n \n",
    ],
)
def test_other_passages_are_not_asked(text):
    assert asked(text) == []


def test_a_title_is_no_part_of_a_name_and_ends_no_sentence():
    assert asked(f"Then they called upon Mr. Knightley, {FILLER}.") == ["Knightley"]
    assert asked(f"Then they called upon Mrs Weston, {FILLER}.") == ["Weston"]


def test_a_name_that_begins_sentences_elsewhere_is_still_one_name():
    text = (
        f"So it was that old Esther came, {FILLER}, {FILLER}.\n\nEsther and the good Richard sat, {FILLER}, {FILLER}."
    )
    assert asked(text) == ["Esther"]  # the second passage holds two


@given(st.text(max_size=300))
def test_any_text_gives_passages_that_hold_their_name_once(text):
    for passage in name_passages(text):
        assert passage.text.count(passage.name) >= 1
        assert passage.text in text
        assert passage.name[0].isupper()


@given(
    st.lists(
        st.sampled_from(["Alice", "went", "Mr.", "out", "to", "Bob's", ".", "the", "Sea", ",", '"', "\n\n"]),
        max_size=120,
    )
)
def test_passages_are_pieces_of_the_text_in_order(words):
    text = " ".join(words)
    at = 0
    for passage in name_passages(text):
        start = text.find(passage.text, at)
        assert start >= at, "no piece of what is left of the text"
        at = start + len(passage.text)


def test_answers_are_compared_whatever_their_case():
    assert same_name(" UHURA\n", "Uhura")
    assert not same_name("Uhur", "Uhura")
    assert cloze_accuracy(["Emma", "emma", "Jane", ""], ["Emma"] * 4) == 0.5
    assert cloze_accuracy([], []) is None
    with pytest.raises(ValueError):
        cloze_accuracy(["Emma"], [])


@pytest.mark.parametrize(
    ("continuation", "right"),
    [
        (" Ann said", True),
        ("Ann", True),
        ("Ann's hat", True),
        ("Anna", False),
        ("ann said", False),
        ("", False),
        ("An", False),
    ],
)
def test_a_continuation_must_end_the_name_where_a_word_ends(continuation, right):
    assert begins_with_name(continuation, "Ann") is right
