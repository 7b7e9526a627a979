"""Strings in compressed frames: each comes back as it was, and damage is noticed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.text.index.store import CACHED_FRAMES, FRAME, LARGEST_CACHED, Strings, StringWriter


def stored(texts: list[str]) -> Strings:
    file = io.BytesIO()
    writer = StringWriter(file)
    for text in texts:
        writer.add(text)
    frames = writer.finish()
    return Strings(np.frombuffer(file.getvalue(), np.uint8), frames, "texts.zst")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(st.characters(codec=None), max_size=40), max_size=30))
def test_every_string_comes_back(texts: list[str]) -> None:
    strings = stored([*texts, "\ud800 alone", ""])
    assert [strings[i] for i in range(len(strings))] == [*texts, "\ud800 alone", ""]


def test_many_frames_in_any_order() -> None:
    texts = [f"{i} " * (FRAME // 2) for i in range(3 * CACHED_FRAMES)] + ["é" * LARGEST_CACHED]
    strings = stored(texts)
    assert len(strings.frames) > 2 * CACHED_FRAMES
    for i in np.random.default_rng(0).permutation(len(texts)):
        assert strings[int(i)] == texts[i]


def test_no_string_beyond_the_last() -> None:
    strings = stored(["one"])
    for index in (-1, 1):
        with pytest.raises(IndexError):
            strings[index]


@pytest.mark.parametrize("place", [0, 5, -6, -1])
def test_damage_is_noticed(place: int) -> None:
    whole = stored(["some text that stands there", "and more of it"])
    data = whole.data.copy()
    data[place] ^= 0xFF
    with pytest.raises(InputError, match=r"texts\.zst: damaged at byte 0"):
        Strings(data, whole.frames, "texts.zst")[0]
