"""The control that reads texts and asks no model: it must see what differs, and nothing where nothing does."""

from __future__ import annotations

import gzip
import inspect
import json
import random
import textwrap
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from memaudit.audits.comparison.blind_baseline import FOLDS, LONGEST_WORD, BlindBaseline, blind_baseline
from memaudit.audits.comparison.detection import blind_control
from memaudit.audits.comparison.nulls import CONFOUNDED
from memaudit.text.words.words import words_of

NAMES = ["words", "length", "digits and dates", "characters", "together"]
VOCABULARY = [f"{first}{middle}{last}" for first in "bdfgklmnpr" for middle in "aeiou" for last in "bdgklmnrst"]
WEIGHTS = [1 / (place + 2) for place in range(len(VOCABULARY))]


def texts(seed: int | str, count: int, words: int = 40) -> list[str]:
    """Sentences of words drawn by Zipf's law, some of them years and numbers."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        drawn = rng.choices(VOCABULARY, WEIGHTS, k=rng.randint(words // 2, words))
        drawn += [str(rng.choice([1987, 2003, 2019, 12, 7])) for _ in range(rng.randint(0, 2))]
        made.append(f"{' '.join(drawn).capitalize()}.")
    return made


def areas(found: BlindBaseline) -> dict[str, float]:
    return {kind.name: kind.auc.estimate for kind in found.features}


def above(found: BlindBaseline) -> set[str]:
    return {kind.name for kind in found.features if kind.auc.low > CONFOUNDED}


def pieces(texts: Sequence[str], words: int = 64) -> list[str]:
    split = [text.split(" ") for text in texts]
    return [" ".join(own[i : i + words]) for own in split for i in range(0, len(own) - words + 1, words)]


@pytest.mark.parametrize("seed", range(20))
def test_texts_of_one_source_are_not_confounded(seed: int) -> None:
    found = blind_baseline(texts(f"a{seed}", 100), texts(f"b{seed}", 100), seed)
    assert list(areas(found)) == NAMES
    assert not found.confounded
    assert above(found) == set()


@pytest.mark.parametrize("seed", range(20))
def test_prose_against_code_is_confounded(seed: int) -> None:
    prose = pieces([textwrap.dedent(topics[name]) for name in sorted(topics)])
    code = pieces([inspect.getsource(module) for module in (inspect, random, textwrap, json, gzip)])
    rng = random.Random(seed)
    found = blind_baseline(rng.sample(prose, 100), rng.sample(code, 100), seed)
    assert found.confounded
    assert {"words", "together"} <= above(found)


@pytest.mark.parametrize("seed", range(20))
def test_another_decade_is_confounded(seed: int) -> None:
    rng = random.Random(seed)
    old, new = ([f"{text} In {rng.randint(*years)}." for text in texts(f"{years}{seed}", 100)] for years in DECADES)
    found = blind_baseline(old, new, seed)
    assert found.confounded
    assert {"digits and dates", "together"} <= above(found)
    assert "length" not in above(found)


DECADES = [(1950, 1989), (1990, 2024)]


def test_real_speeches_of_other_decades_are_confounded_and_halves_of_one_are_not(shared_data: Path) -> None:
    with gzip.open(shared_data / "corpora" / "dated-us-speeches" / "state_union.jsonl.gz", "rt") as stream:
        rows = [json.loads(line) for line in stream]
    old, new = (pieces([r["text"] for r in rows if first <= r["year"] < first + 20]) for first in (1945, 1985))
    for seed in range(20):
        rng = random.Random(seed)
        assert blind_baseline(rng.sample(old, 200), rng.sample(new, 200), seed).confounded
        shuffled = rng.sample(old + new, 400)
        assert not blind_baseline(shuffled[:200], shuffled[200:], seed).confounded


def test_limits_hold_where_there_is_nothing_to_find() -> None:
    """One in forty AUCs may have its lower limit above .5; with DeLong's variance alone it would be three."""
    pool, trials = texts("pool", 2000), 200
    lows, estimates, confounded = [], [], 0
    for seed in range(trials):
        chosen = random.Random(seed).sample(pool, 60)
        found = blind_baseline(chosen[:30], chosen[30:], seed)
        lows.append([kind.auc.low > 0.5 for kind in found.features])
        estimates.append(list(areas(found).values()))
        confounded += found.confounded
    assert np.mean(lows) <= 0.04
    assert np.mean(lows, axis=0).max() <= 0.06
    assert np.mean(estimates, axis=0) == pytest.approx(0.5, abs=0.03)
    assert confounded <= 0.03 * trials


def test_auc_of_words_is_that_of_a_naive_cross_validation() -> None:
    members = texts("m", 60)
    heldout = [text.replace("bab", "bob") if i % 3 else text for i, text in enumerate(texts("h", 45))]
    labels = np.repeat([1, 0], [60, 45])
    rng = np.random.default_rng(5)
    folds = np.concatenate([rng.permutation(n) % FOLDS for n in (60, 45)])
    both = np.array([" ".join(words_of(text).texts) for text in [*members, *heldout]], dtype=object)
    scores = np.empty(105)
    for fold in range(FOLDS):
        bag = CountVectorizer(binary=True, min_df=2, token_pattern=r"\S+")
        classifier = LogisticRegression(tol=1e-8, max_iter=1000).fit(
            bag.fit_transform(both[folds != fold]), labels[folds != fold]
        )
        odds = classifier.decision_function(bag.transform(both[folds == fold]))
        scores[folds == fold] = (rankdata(odds) - 0.5) / len(odds)
    [words] = [kind for kind in blind_baseline(members, heldout, 5).features if kind.name == "words"]
    assert words.auc.estimate == pytest.approx(roc_auc_score(labels, scores), abs=0.001)


PLAIN = texts("plain", 160)


@pytest.mark.parametrize(
    ("other", "sees", "blind"),
    [
        ([text.upper() for text in PLAIN[80:]], "characters", {"words", "length", "digits and dates"}),
        ([text.replace(" ", "\r\n", 1) for text in PLAIN[80:]], "characters", {"words", "digits and dates"}),
        ([text.replace("bab", "bob") for text in PLAIN[80:]], "words", {"length", "digits and dates"}),
        ([text + " 1971" for text in PLAIN[80:]], "digits and dates", {"length"}),
        ([" ".join(text.split()[:18]) for text in PLAIN[80:]], "length", set()),
    ],
    ids=["case", "line ends", "a word", "a year", "length"],
)
def test_each_kind_of_features_sees_its_own_difference(other: list[str], sees: str, blind: set[str]) -> None:
    found = blind_baseline(PLAIN[:80], other, 0)
    assert found.confounded
    assert {sees, "together"} <= above(found)
    assert not above(found) & blind


def test_sides_that_differ_in_the_spread_of_their_length_alone() -> None:
    words = ["same"] * 200
    middle = [" ".join(words[: 100 + i % 7]) for i in range(60)]
    outer = [" ".join(words[: (60 if i % 2 else 160) + i % 7]) for i in range(60)]
    assert areas(blind_baseline(middle, outer, 0))["length"] > 0.95


def test_unique_documents_are_not_learnt_by_heart() -> None:
    """A classifier asked about what it was fitted on would tell all of them apart."""
    members, heldout = ([f"{side}{i}x common" for i in range(100)] for side in "mh")
    found = blind_baseline(members, heldout, 0)
    assert areas(found)["words"] == 0.5


def test_telling_words_come_first_and_are_short() -> None:
    giant = "x" * 5000
    members = [f"{text} zyzzyva {giant}" for text in texts("m", 50)]
    heldout = [f"{text} quokka" for text in texts("h", 50)]
    found = blind_baseline(members, heldout, 0)
    assert len(found.words) == 10
    assert {"zyzzyva", "quokka"} <= set(found.words[:3])
    assert max(map(len, found.words)) == LONGEST_WORD


def test_few_documents() -> None:
    few = blind_baseline(texts("m", 9), texts("h", 500), 0)
    assert few.as_record() == {
        "features": [],
        "confounded": False,
        "words": [],
        "left_out": {},
        "reason": "9 against 500 documents: comparing by text alone needs 10 a side",
    }
    assert blind_control(few.as_record()).passed is None
    some = blind_baseline(texts("m", 19), texts("h", 500), 0)
    assert list(areas(some)) == NAMES[1:4]
    assert set(some.left_out) == {"words", "together"}
    assert blind_control(some.as_record()).passed
    assert list(areas(blind_baseline(texts("m", 20), texts("h", 20), 0))) == NAMES


HOSTILE = [
    "",
    " ",
    "\0\x1b[31m",
    "\ud800",
    "٣٤ ১৯৯৯",
    "\u202e" * 50,
    "中文字",
    "1999" * 300,
    "<script>",
    "NaN inf",
    "é",
]


def test_hostile_texts_give_strict_json() -> None:
    for members, heldout in [
        (HOSTILE, HOSTILE),
        (HOSTILE * 3, [""] * 25),
        ([""] * 30, [""] * 30),
        (HOSTILE * 2, PLAIN),
    ]:
        record = blind_baseline(members, heldout, 0).as_record()
        json.dumps(record, allow_nan=False)
        assert all(0 <= kind["auc"]["low"] <= kind["auc"]["high"] <= 1 for kind in record["features"])
        assert blind_control(record).passed is not record["confounded"]
    assert set(areas(blind_baseline([""] * 30, [""] * 30, 0)).values()) == {0.5}


def test_sides_that_can_be_told_apart_by_ten_documents() -> None:
    found = blind_baseline(["a 1"] * 10, ["b c d"] * 10, 0)
    assert found.confounded
    assert areas(found)["length"] == 1


def test_the_seed_decides() -> None:
    members, heldout = texts("m", 40), texts("h", 40)
    assert blind_baseline(members, heldout, 3) == blind_baseline(members, heldout, 3)
    assert blind_baseline(members, heldout, 3) != blind_baseline(members, heldout, 4)
