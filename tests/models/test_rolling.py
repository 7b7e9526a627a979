from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from memaudit.errors import InputError
from memaudit.models.base import LanguageModel, NextTokenModel
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.rolling import GROWTH, Sliding, continue_rolling, sliding_of
from memaudit.models.transformer import new_gpt
from memaudit.records import GREEDY, Decoding, FloatArray, TokenIds
from memaudit.text.tokenize import train_tokenizer

BYTES = train_tokenizer("byte", [])
SAMPLED = Decoding(1.0, seed=3)


@pytest.fixture(scope="module")
def gpt() -> LanguageModel:
    return new_gpt(BYTES, width=32, layers=2, heads=2, context_length=24, seed=1)


class Counting:
    """Whatever a model is asked, written down."""

    def __init__(self, model: LanguageModel) -> None:
        self.model, self.asked = model, list[tuple[int, int]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def continuations(self, prompts: Sequence[TokenIds], length: int, decoding: Decoding = GREEDY) -> list[TokenIds]:
        self.asked.append((len(prompts[0]), length))
        return self.model.continuations(prompts, length, decoding)


def prompt_of(count: int, seed: int = 0) -> TokenIds:
    return np.random.default_rng(seed).integers(3, 259, count).astype(np.int32)


def whole(model: Any, prompt: TokenIds, length: int, decoding: Decoding = GREEDY, **more: Any) -> TokenIds:
    more.setdefault("sliding", sliding_of(model))
    return np.concatenate([new for [new] in continue_rolling(model, [prompt], length, decoding, **more)])


@pytest.mark.parametrize(("room", "share"), [(1, 0.5), (2, 0.5), (3, 0.5), (23, 0.5), (24, 0.25), (24, 0.9), (7, 0.99)])
def test_a_window_moves_only_when_it_is_full_and_holds_its_share_then(room: int, share: float) -> None:
    sliding, moved = Sliding(room, share), 0
    kept = min(max(int(room * share), 1), room - 1)
    for length in range(5 * room):
        start = sliding.start(length)
        assert 0 <= length - start < room  # there is a token's room
        if start != sliding.start(max(length - 1, 0)):
            assert length - sliding.start(length - 1) == room and length - start == kept
            moved += 1
    assert moved >= 3


def test_every_token_is_the_choice_given_the_window_before_it(gpt: LanguageModel) -> None:
    prompt, length = prompt_of(5), 70
    sliding = sliding_of(gpt)
    assert sliding is not None and sliding.room == 24 - len(gpt.frame[0])
    text = np.concatenate([prompt, whole(gpt, prompt, length)])
    for at in range(5, 75):
        start = sliding.start(at)
        assert at - start >= min(at, sliding.room // 2)
        assert text[at] == np.argmax(gpt.next_log_probs([text[start:at]])[0])


def test_what_fits_is_what_the_model_writes_anyway(gpt: LanguageModel) -> None:
    prompt = prompt_of(6)
    for decoding in (GREEDY, SAMPLED):
        [expected] = gpt.continuations([prompt], 17, decoding)
        assert whole(gpt, prompt, 17, decoding).tolist() == expected.tolist()


def test_a_text_of_n_windows_is_read_about_twice(gpt: LanguageModel) -> None:
    counting = Counting(gpt)
    whole(counting, prompt_of(5), 500)
    assert sum(length for _, length in counting.asked) == 500
    assert len(counting.asked) <= 2 * 500 / 23 + 2
    assert max(len(window) + length for window, length in [(range(w), n) for w, n in counting.asked]) <= 23


@pytest.mark.parametrize("at", [1, 8, 23, 40])
@pytest.mark.parametrize("piece", [None, 5])
def test_a_text_goes_on_from_any_token_as_if_it_never_stopped(gpt: LanguageModel, at: int, piece: int | None) -> None:
    prompt = prompt_of(5)
    text = np.concatenate([prompt, whole(gpt, prompt, 60, piece=piece)])
    rest = whole(gpt, text[: 5 + at], 60 - at)
    assert rest.tolist() == text[5 + at :].tolist()


def test_sampled_pieces_go_on_from_where_one_ended(gpt: LanguageModel) -> None:
    pieces = [new for [new] in continue_rolling(gpt, [prompt_of(5)], 90, SAMPLED, sliding=sliding_of(gpt), piece=7)]
    assert all(len(piece) <= 7 for piece in pieces)
    first = 8
    begun = np.concatenate([prompt_of(5), *pieces[:first]])
    left = 90 - sum(map(len, pieces[:first]))
    assert whole(gpt, begun, left, SAMPLED, piece=7).tolist() == np.concatenate(pieces[first:]).tolist()


def test_attempts_are_the_same_however_many_follow(gpt: LanguageModel) -> None:
    def attempts(count: int) -> list[list[int]]:
        rows = continue_rolling(gpt, [prompt_of(4)] * count, 60, SAMPLED, sliding=sliding_of(gpt))
        return [np.concatenate(row).tolist() for row in zip(*rows, strict=True)]

    four = attempts(4)
    assert len({tuple(row) for row in four}) == 4
    assert attempts(2) == four[:2] and attempts(1) == four[:1]


class Loop(NextTokenModel):
    """Writes the same letter with even chances of two, so that any window comes again."""

    family, tokenizer, context_length, parameters = "loop", BYTES, 4, 0

    def next_log_probs(self, prefixes: Sequence[TokenIds]) -> FloatArray:
        rows = np.full((len(prefixes), 259), -np.inf)
        rows[:, [70, 71]] = np.log(0.5)
        return rows


def test_a_window_that_comes_again_is_not_continued_by_the_same_chances() -> None:
    text = whole(Loop(), prompt_of(1), 600, SAMPLED)
    assert set(text.tolist()) == {70, 71}
    for period in range(1, 60):
        assert (text[300:-period] != text[300 + period :]).any()


def test_a_row_that_ended_has_empty_pieces_and_is_not_continued() -> None:
    pieces = list(continue_rolling(Loop(), [prompt_of(1)] * 6, 30, SAMPLED, sliding=Sliding(3), ends={71}))
    rows = [np.concatenate(row).tolist() for row in zip(*pieces, strict=True)]
    for row in rows:
        assert row.count(71) == 1 and row[-1] == 71
    assert len(pieces) < 30


def test_no_piece_is_made_before_it_is_asked_for(gpt: LanguageModel) -> None:
    counting: Any = Counting(gpt)
    pieces = continue_rolling(counting, [prompt_of(5)], 10**9, sliding=sliding_of(gpt))
    next(pieces), next(pieces)
    assert len(counting.asked) == 2


def test_a_prompt_longer_than_the_window_is_read_as_far_as_it_fits(gpt: LanguageModel) -> None:
    prompt = prompt_of(100)
    start = Sliding(23).start(100)
    [first, *_] = whole(gpt, prompt, 1)
    assert first == np.argmax(gpt.next_log_probs([prompt[start:]])[0])


def test_an_ngram_model_reads_no_more_than_it_looks_back() -> None:
    text = prompt_of(400, 5)
    model = NgramModel.train([text], BYTES, order=4)
    counting = Counting(model)
    [expected] = model.continuations([text[:20]], 100)
    assert whole(counting, text[:20], 100, piece=10).tolist() == expected.tolist()
    assert {window for window, _ in counting.asked} == {3} and len(counting.asked) == 10
    [expected] = model.continuations([text[:20]], 100, SAMPLED)
    assert whole(counting, text[:20], 100, SAMPLED).tolist() == expected.tolist()


def test_a_recurrent_model_remembers_all_and_reads_again_rarely() -> None:
    model = new_rnn(BYTES, width=16, seed=2)
    counting = Counting(model)
    [expected] = model.continuations([prompt_of(20)], 2000)
    assert whole(counting, prompt_of(20), 2000, piece=16).tolist() == expected.tolist()
    assert sum(window for window, _ in counting.asked) <= (GROWTH + 2) * 2020
    assert sliding_of(model) is None and sliding_of(model, 10) == Sliding(9)


def test_what_makes_no_window_is_refused(gpt: LanguageModel) -> None:
    with pytest.raises(InputError, match="no room"):
        sliding_of(gpt, 1)
    with pytest.raises(InputError, match="share"):
        sliding_of(gpt, share=1.0)
    with pytest.raises(InputError, match="equally long"):
        next(continue_rolling(gpt, [prompt_of(2), prompt_of(3)], 5))
    assert list(continue_rolling(gpt, [], 5)) == [] and list(continue_rolling(gpt, [prompt_of(2)], 0)) == []
