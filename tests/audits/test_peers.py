"""References and the null model: what they are trained on, and that no suspect is among it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.audits.comparison.nulls import NULL_NAME, SUSPECTS_NULL
from memaudit.audits.comparison.options import MembershipOptions
from memaudit.audits.comparison.reference_models import FOLDS, ReferenceModels
from memaudit.audits.comparison.suspects import Suspects, same_words
from memaudit.errors import InputError
from memaudit.models.base import LanguageModel
from memaudit.models.masked import new_bert
from memaudit.models.ngram import NgramModel
from memaudit.models.rnn import new_rnn
from memaudit.models.transformer import new_gpt
from memaudit.records import Document, Window
from memaudit.runs.files import strict_json
from memaudit.text.tokenize import train_tokenizer

DRAWN = random.Random(0)
WORDS = ["".join(DRAWN.choices("abcdefghijklmnop", k=DRAWN.randint(2, 7))) for _ in range(300)]


def made_up(count: int, seed: int, words: int = 12) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(WORDS, k=words)) for _ in range(count)]


def documents(texts: Sequence[str], name: str = "set.txt") -> list[Document]:
    return [Document(f"{name}:{i + 1}", text, f"{name}:{i + 1}") for i, text in enumerate(texts)]


TOKENIZER = train_tokenizer("bpe", made_up(50, 1), 400)
MEMBERS, HELDOUT = documents(made_up(20, 2)), documents(made_up(21, 3), "other.txt")
MODEL = NgramModel.train([e.ids for e in TOKENIZER.encode_batch(made_up(30, 4))], TOKENIZER, order=3)


def reference_models(
    model: LanguageModel = MODEL, heldout: Sequence[Document] = HELDOUT, **options: object
) -> ReferenceModels:
    return ReferenceModels(model, MEMBERS, heldout, MembershipOptions(**options))  # type: ignore[arg-type]


def log_prob(model: LanguageModel, text: str) -> float:
    [ids] = [encoding.ids for encoding in TOKENIZER.encode_batch([text])]
    return float(model.score([Window(ids[:0], ids)]).log_prob.sum())


def test_every_document_has_a_null_model_that_never_saw_it() -> None:
    asked = reference_models()
    sides = [(True, d) for d in MEMBERS] + [(False, d) for d in HELDOUT]
    models = {key: asked.null(key[0], key[1].id) for key in sides}
    assert len({id(model) for model in models.values()}) == FOLDS
    for key, model in models.items():
        others = [other for other in models.values() if other is not model]
        # A model that saw it gives it far more: an n-gram recites a text of one copy.
        mine, theirs = log_prob(model, key[1].text), log_prob(others[0], key[1].text)
        assert mine < theirs - 10
    for side in (True, False):
        sizes = [sum(models[k] is m for k in sides if k[0] is side) for m in set(models.values())]
        assert max(sizes) - min(sizes) <= 1


def test_one_null_model_reads_the_suspects_alone_unless_a_coin_chose_them() -> None:
    asked = reference_models()
    for side, compared in ((True, MEMBERS), (False, HELDOUT)):
        for document in compared:
            found = asked.nulls(side, document.id)
            assert list(found) == [NULL_NAME, SUSPECTS_NULL]
            gains = {
                name: [log_prob(found[SUSPECTS_NULL], d.text) - log_prob(found[NULL_NAME], d.text) for d in documents_]
                for name, documents_ in (("suspects", MEMBERS), ("held-out", HELDOUT))
            }
            # Both recite the suspects of the other folds; the held-out ones only one of the two has read.
            assert sum(gain < -10 for gain in gains["held-out"]) >= len(HELDOUT) - len(HELDOUT) // FOLDS - 1
            assert sum(gain > -10 for gain in gains["suspects"]) >= len(MEMBERS) - len(MEMBERS) // FOLDS - 2
    assert list(reference_models(randomised=True).nulls(True, MEMBERS[0].id)) == [NULL_NAME]


def test_equal_texts_are_unseen_together() -> None:
    twins = documents([MEMBERS[0].text.upper().replace(" ", "\n"), *made_up(9, 7)], "twins.txt")
    asked = reference_models(heldout=twins)
    assert asked.null(True, MEMBERS[0].id) is asked.null(False, twins[0].id)


def test_one_text_leaves_nothing_to_train_the_null_model_on() -> None:
    same = documents(["one and the same"] * 3)
    with pytest.raises(InputError, match="same text"):
        ReferenceModels(MODEL, same, same, MembershipOptions()).null(True, same[0].id)


def test_a_reference_reads_half_of_the_held_out_documents_which_are_not_compared() -> None:
    asked = reference_models(references=("train",))
    assert len(asked.heldout) == 11
    assert sorted(d.id for d in [*asked.heldout, *asked.set_apart]) == sorted(d.id for d in HELDOUT)
    [reference] = asked.references()
    assert reference.trained
    assert min(log_prob(reference.model, d.text) for d in asked.set_apart) > max(
        log_prob(reference.model, d.text) for d in [*MEMBERS, *asked.heldout]
    )
    told = asked.describe()
    assert (told["references"][0]["documents"], told["set_apart"], told["excluded"]) == (10, 10, 0)


def test_several_references_read_halves_of_their_own() -> None:
    asked = reference_models(references=("train",) * 4)
    told = asked.describe()["references"]
    assert [reference["documents"] for reference in told] == [5] * 4
    assert len({reference["sha256"] for reference in told}) == 4
    assert len({reference["name"] for reference in told}) == 4
    assert len(asked.references()) == 4


def test_a_reference_is_not_trained_on_documents_that_hold_a_compared_one(tmp_path: Path) -> None:
    clean = made_up(6, 9)
    spoiled = [
        MEMBERS[3].text,
        f"before {MEMBERS[4].text.upper()} after",
        MEMBERS[5].text.replace(" ", "  \n"),
        f"x {HELDOUT[2].text}",
    ]
    file = tmp_path / "corpus.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*spoiled, *clean]), encoding="utf-8")
    asked = reference_models(references=("train",), reference_corpus=(str(file),))
    told = asked.describe()
    assert told["excluded"] == 4
    assert told["references"][0]["documents"] == 6
    assert asked.heldout == HELDOUT
    [reference] = asked.references()
    for document in (*MEMBERS[3:6], HELDOUT[2]):
        assert log_prob(reference.model, document.text) < min(log_prob(reference.model, text) for text in clean) - 10


def test_text_that_holds_only_suspects_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "corpus.txt"
    file.write_text(MEMBERS[0].text, encoding="utf-8")
    with pytest.raises(InputError, match="no text to train a reference on: 1 of 1"):
        reference_models(references=("train",), reference_corpus=(str(file),)).describe()


def test_too_few_held_out_documents_to_train_on_are_refused() -> None:
    with pytest.raises(InputError, match="1 held-out documents leave none"):
        reference_models(heldout=HELDOUT[:1], references=("train",))


def test_given_references_are_named_by_their_spec_and_known_by_their_weights(tmp_path: Path) -> None:
    MODEL.save(tmp_path / "one")
    asked = reference_models(references=(str(tmp_path / "one"),))
    [told] = asked.describe()["references"]
    assert (told["name"], told["family"], told["trained"]) == (str(tmp_path / "one"), "ngram", False)
    assert len(told["sha256"]) == 64
    assert asked.heldout == HELDOUT
    assert asked.describe()["null"] == NULL_NAME
    strict_json(asked.describe())


def test_the_model_itself_is_no_reference(tmp_path: Path) -> None:
    from memaudit.models.loading.load import load_model

    MODEL.save(tmp_path / "one")
    with pytest.raises(InputError, match="is the audited model"):
        reference_models(load_model(str(tmp_path / "one")), references=(str(tmp_path / "one"),)).references()


@pytest.mark.parametrize(
    ("family", "model"),
    [
        ("rnn", new_rnn(TOKENIZER, width=16)),
        ("gpt", new_gpt(TOKENIZER, width=16, heads=2, layers=1)),
        ("bert", new_bert(TOKENIZER, width=16, heads=2, layers=1)),
    ],
)
def test_references_are_of_the_family_and_resume_from_their_folder(
    family: str, model: LanguageModel, tmp_path: Path
) -> None:
    found = []
    for _ in range(2):
        asked = reference_models(model, references=("train",))
        asked.prepare(tmp_path)
        [reference] = asked.references()
        assert reference.model.family == family
        assert reference.model.tokenizer is model.tokenizer
        assert (tmp_path / "references" / "1").is_dir()
        found.append(log_prob(reference.model, MEMBERS[0].text))
    assert found[0] == found[1]


SHORT = st.lists(st.sampled_from(["a", "b", "cc"]), min_size=1, max_size=4)


@settings(deadline=None, max_examples=200)
@given(st.lists(SHORT, min_size=1, max_size=4), st.lists(SHORT, max_size=5), st.integers(0, 8))
def test_suspects_are_found_as_a_plain_search_of_words_finds_them(
    suspects: list[list[str]], parts: list[list[str]], repeats: int
) -> None:
    text = [word for part in parts for word in part]
    long = [suspect * (1 + repeats) for suspect in suspects]  # beyond the words that are looked up first
    expected = any(text[i : i + len(s)] == s for s in long for i in range(len(text) - len(s) + 1))
    written = ", ".join(text).upper()
    assert Suspects([" ".join(suspect) for suspect in long]).stand_in([written]) == [expected]
    whole = [word for suspect in long for word in suspect]
    assert Suspects([" ".join(suspect) for suspect in long]).stand_in(["x; " + "\n".join(whole)]) == [True]


def test_text_without_words_is_found_alone() -> None:
    assert Suspects(["?!", ""]).stand_in([" ?! ", "a ?!", "a", ""]) == [True, False, False, True]
    assert Suspects([]).stand_in(["a", ""]) == [False, False]
    assert same_words(["A b", "a  B", "ab", "!", "?", "!"]) == [0, 0, 1, 2, 3, 2]


def test_null_models_read_no_more_than_is_scored() -> None:
    asked = reference_models(tokens=4)
    assert max(len(ids) for ids in asked._beginnings.values()) == 4
    assert np.isfinite(log_prob(asked.null(True, MEMBERS[0].id), "anything at all"))
