"""A model through the ``python:`` door: whatever it does wrong is said in one line with its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from memaudit.errors import ModelError
from memaudit.models.base import LanguageModel, NextTokenModel
from memaudit.models.external import ExternalModel
from memaudit.records import TokenScores, Window
from memaudit.text.tokenize import character_tokenizer

VOCABULARY = {"a": 0, "b": 1, "c": 2}
WINDOWS = [Window(np.array([0, 1], np.int32), np.array([2, 0, 1], np.int32)) for _ in range(2)]


class Fair(NextTokenModel):
    """Thinks every known character equally likely."""

    family = "fair"

    def __init__(self) -> None:
        self.tokenizer = character_tokenizer(VOCABULARY)

    def next_log_probs(self, prefixes: Any) -> Any:
        return np.full((len(prefixes), len(VOCABULARY)), -np.log(len(VOCABULARY)))


def stranger(**members: Any) -> ExternalModel:
    model = Fair()
    for name, value in members.items():
        setattr(model, name, value)
    return ExternalModel("python:it:model", model, "0" * 64)


def test_a_fair_model_answers_as_it_would_alone() -> None:
    ours, alone = stranger(), Fair()
    assert (ours.family, ours.objective, ours.sha256) == ("fair", "next-token", "0" * 64)
    for name in ("log_prob", "rank", "mean", "std"):
        assert np.array_equal(getattr(ours.score(WINDOWS), name), getattr(alone.score(WINDOWS), name))
    assert ours.score(WINDOWS).log_prob == pytest.approx(-np.log(3))
    assert [list(row) for row in ours.continuations([w.prefix for w in WINDOWS], 2)] == [[0, 0], [0, 0]]


def test_its_next_token_distributions_are_checked() -> None:
    prefixes = [window.prefix for window in WINDOWS]
    assert stranger().next_log_probs(prefixes) == pytest.approx(np.full((2, 4), [-np.log(3)] * 3 + [-np.inf]))
    wrong = np.zeros((2, 3))
    with pytest.raises(ModelError, match="sums to 3 in probability"):
        stranger(next_log_probs=lambda _: wrong).next_log_probs(prefixes)
    with pytest.raises(ModelError, match="next_log_probs failed: ValueError: boom"):
        stranger(next_log_probs=fail).next_log_probs(prefixes)


def leave(*_: Any) -> Any:
    raise SystemExit(0)


def fail(*_: Any) -> Any:
    raise ValueError("boom")


def scores_of(lengths: list[int], value: float = -1.0) -> Callable[..., TokenScores]:
    def score(*_: Any) -> TokenScores:
        scores = TokenScores.of_lengths(lengths)
        scores.log_prob[:] = value
        return scores

    return score


def without_moments(*_: Any) -> TokenScores:
    scores = scores_of([3, 3])()
    scores.mean[:], scores.std[:] = np.nan, np.nan
    return scores


WRONG_ANSWERS = {
    "has no moments": ({"score": without_moments}, "means or deviations that are not a number .leave 'moments"),
    "leaves while scoring": ({"next_log_probs": leave}, "score failed: SystemExit"),
    "fails while scoring": ({"next_log_probs": fail}, "score failed: ValueError: boom"),
    "scores nothing": ({"score": lambda *_: None}, "gave no TokenScores of 2 windows"),
    "scores other windows": ({"score": scores_of([3])}, "gave no TokenScores of 2 windows"),
    "scores NaN": ({"score": scores_of([3, 3], np.nan)}, "not a number"),
    "continues nothing": ({"continuations": lambda *_: []}, "did not give 3 ids"),
    "continues too far": ({"continuations": lambda *_: [np.zeros(4, np.int32)] * 2}, "did not give 3 ids"),
    "continues in words": ({"continuations": lambda *_: ["abc"] * 2}, "continuations failed: ValueError"),
    "continues beyond": ({"continuations": lambda *_: [np.full(3, 10**6)] * 2}, "beyond the vocabulary"),
    "reads too little": ({"context_length": 4}, "5 tokens, the model reads 4"),
}


@pytest.mark.parametrize("fault", WRONG_ANSWERS)
def test_wrong_answers_are_refused(fault: str) -> None:
    members, message = WRONG_ANSWERS[fault]
    model = stranger(**members)
    with pytest.raises(ModelError, match=message) as caught:
        model.score(WINDOWS)
        model.continuations([w.prefix for w in WINDOWS], 3)
    assert "python:it:model" in str(caught.value)


WRONG_FACTS = {"family": 5, "parameters": "x", "context_length": "a", "ignored": 3, "sha256": b"x", "objective": "both"}


@pytest.mark.parametrize("name", WRONG_FACTS)
def test_wrong_facts_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match=name):
        stranger(**{name: WRONG_FACTS[name]})


def test_missing_members_are_named() -> None:
    class Nothing:
        objective = "next-token"

    with pytest.raises(ModelError, match="Nothing lacks tokenizer, continuations"):
        ExternalModel("python:it:model", Nothing(), "")
    scores = type("Scores", (), {"score": None, "tokenizer": None, "continuations": None})()
    with pytest.raises(ModelError, match="Scores lacks objective"):
        ExternalModel("python:it:model", scores, "")
    tokenizer = type("Odd", (), {"vocab_size": 3})()
    with pytest.raises(ModelError, match=r"lacks tokenizer.bos_id, .*tokenizer.unknown_id"):
        stranger(tokenizer=tokenizer)


def test_every_fact_of_the_interface_is_taken_over() -> None:
    facts = {name for name in LanguageModel.__annotations__ if name != "tokenizer"}
    assert all(hasattr(stranger(), name) for name in facts)
