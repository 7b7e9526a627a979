"""Planting: the doses are what they say, twins are never inserted, domains are balanced."""

from __future__ import annotations

from collections import Counter

import pytest

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.text.planting.canaries import plant

PASSAGES = [Document(f"p{i}", f"text {i}", f"p:{i}", ("prose", "code")[i % 2]) for i in range(200)]
BACKGROUND = [Document(f"b{i}", f"background {i}", f"b:{i}") for i in range(50)]


def test_doses_are_what_the_training_text_holds() -> None:
    planting = plant(PASSAGES, BACKGROUND, doses=(1, 2, 8), per_dose=10, seed=3)
    copies = Counter(document.id for document in planting.training)
    assert all(copies[document.id] == document.copies for document in planting.planted)
    assert Counter(document.copies for document in planting.planted) == {1: 10, 2: 10, 8: 10}
    assert all(copies[document.id] == 1 for document in BACKGROUND)
    assert len(planting.training) == 50 + 10 * 11


def test_twins_are_never_inserted() -> None:
    planting = plant(PASSAGES, BACKGROUND, doses=(1, 2), per_dose=10, seed=3)
    trained = {document.text for document in planting.training}
    assert len(planting.twins) == len(planting.planted)
    assert not trained & {document.text for document in planting.twins}
    assert {document.copies for document in planting.twins} == {0}


def test_domains_are_balanced_in_every_dose() -> None:
    planting = plant(PASSAGES, [], doses=(1, 2, 4, 8), per_dose=12, seed=0)
    assert set(Counter((d.copies, d.domain) for d in planting.planted).values()) == {6}
    assert set(Counter(d.domain for d in planting.twins).values()) == {24}


def test_the_seed_draws_the_lot() -> None:
    one, two, other = (plant(PASSAGES, BACKGROUND, per_dose=2, seed=s) for s in (1, 1, 2))
    assert [d.id for d in one.training] == [d.id for d in two.training]
    assert [d.id for d in one.planted] != [d.id for d in other.planted]


def test_too_few_passages_are_refused() -> None:
    with pytest.raises(InputError, match="planting needs"):
        plant(PASSAGES[:20], BACKGROUND, per_dose=32)
