"""The dose kit: doses are what stands in the training text, fuzzy copies differ where they say, twins are unseen."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.text.planting.canaries import FIXED_WORDS, Canary, draw_canaries, find_canary
from memaudit.text.planting.dose_kit import plant_corpus
from memaudit.text.planting.planting import PlantOptions, about_planted, change_words, plant_doses

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("", "n", "r", "st")]


def prose(seed: int, count: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, count)) + "."


BACKGROUND = [Document(f"d{i}", prose(i, 130), f"d:{i}", ("web", "code")[i % 2]) for i in range(120)]
OPTIONS = PlantOptions(doses=(1, 4), per_dose=6, canaries=5, words=30, changed=3, digits=4, seed=2)
KIT = plant_doses(BACKGROUND, OPTIONS)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def copies_of(document: Document) -> list[str]:
    return [d.text for d in KIT.training if d.id == document.id]


def test_every_passage_stands_as_often_as_it_says() -> None:
    for document in KIT.planted:
        found = copies_of(document)
        assert len(found) == document.copies
        if ":exact:" in document.id:
            assert set(found) == {document.text}
    per_group = Counter((*(about_planted(d.id) or ()), d.copies) for d in KIT.planted)
    kinds = {("passage", 6), ("canary", 5)}
    assert per_group == {
        (kind, variant, dose): n for kind, n in kinds for variant in ("exact", "fuzzy") for dose in (1, 4)
    }


def test_fuzzy_copies_differ_in_as_many_words_and_from_each_other() -> None:
    fuzzy = [document for document in KIT.planted if ":fuzzy:" in document.id]
    assert len(fuzzy) == 22
    for document in fuzzy:
        for copy in copies_of(document):
            assert len(words(copy)) == len(words(document.text))
            differing = [a != b for a, b in zip(words(document.text), words(copy), strict=True)]
            assert sum(differing) == 3
            canary, changed = find_canary(document.text), find_canary(copy)
            if canary is not None and changed is not None:
                assert canary.secret == changed.secret
                assert copy.startswith("the code of ")
            else:
                assert canary is changed is None
        if document.copies == 4:
            assert len(set(copies_of(document))) == 4
    changed_places = Counter(
        place
        for document in fuzzy
        if ":fuzzy:" in document.id and "passage" in document.id
        for copy in copies_of(document)
        for place, (a, b) in enumerate(zip(words(document.text), words(copy), strict=True))
        if a != b
    )
    assert len(changed_places) >= 25, "any word of a passage may change"


def test_the_rest_of_a_text_is_kept_as_it_was() -> None:
    text = "  One -- (two), three;\n\tfour 'five'  "
    changed = change_words(text, ["new"], 2, np.random.default_rng(0))
    assert re.sub(r"\w+", "_", changed) == re.sub(r"\w+", "_", text)
    assert words(changed).count("new") == 2
    assert len(change_words("一二三四五六", ["七", "八"], 2, np.random.default_rng(0))) == 6


def test_twins_and_held_back_passages_stand_nowhere_else() -> None:
    trained = [" ".join(words(d.text)) for d in KIT.training if d.id not in {p.id for p in KIT.planted}]
    assert len(KIT.twins) == len(KIT.planted)
    for twin in [*KIT.twins, *KIT.planted]:
        own = words(twin.text)
        spans = [" ".join(own[i : i + 13]) for i in range(len(own) - 12)]
        assert not any(span in text for text in trained for span in spans)
    assert {d.copies for d in KIT.twins} == {0}
    assert len(trained) == len(BACKGROUND) - KIT.held_back


def test_domains_are_balanced_in_every_group() -> None:
    passages = [d for d in [*KIT.planted, *KIT.twins] if d.domain != "canary"]
    found = Counter((about_planted(d.id), d.copies, d.domain) for d in passages)
    assert set(found.values()) == {3, 12}


def test_text_that_stands_twice_is_neither_passage_nor_twin() -> None:
    boilerplate = prose(999, 130)
    copied = [Document(f"x{i}", boilerplate, f"x:{i}") for i in range(40)]
    unique = [Document(d.id, d.text, d.source) for d in BACKGROUND]
    kit = plant_doses([*copied, *unique], OPTIONS)
    assert not any(d.text in boilerplate for d in [*kit.planted, *kit.twins] if d.domain != "canary")
    assert kit.not_unique > 0


def test_tables_and_rules_are_neither_passage_nor_twin() -> None:
    """Their lines of marks are long spans that texts share without sharing words."""
    rules = ["-" * 40, "+-----" * 8, "| = | = | = | = | = | = | = |", "_" * 30]
    lined = [
        Document(f"r{i}", f"{prose(500 + i, 15)}\n{rules[i % 4]}\n{prose(600 + i, 15)}", f"r:{i}") for i in range(40)
    ]
    plain = [Document(d.id, d.text.replace(" ", " -- (", 3), d.source) for d in BACKGROUND]
    kit = plant_doses([*lined, *plain], OPTIONS)
    assert not any(rule in d.text for d in [*kit.planted, *kit.twins] for rule in rules)
    assert kit.not_unique > 0
    assert any("-- (" in d.text for d in [*kit.planted, *kit.twins]), "a few marks do not matter"


def test_passages_of_another_corpus_leave_the_background_whole() -> None:
    others = [Document(f"o{i}", prose(10_000 + i, 130), f"o:{i}") for i in range(20)]
    kit = plant_doses(BACKGROUND, OPTIONS, [*others, Document("o", BACKGROUND[0].text, "o")])
    trained = Counter(d.id for d in kit.training)
    assert all(trained[d.id] == 1 for d in BACKGROUND)
    assert kit.held_back == 0
    cut = [d for d in [*kit.planted, *kit.twins] if d.domain != "canary"]
    assert all(any(d.text in other.text for other in others) for d in cut), "not one that the background holds too"


def test_assignment_is_a_lot_of_the_seed() -> None:
    again, other = plant_doses(BACKGROUND, OPTIONS), plant_doses(BACKGROUND, PlantOptions(**{**vars_of(), "seed": 3}))
    assert again == KIT
    assert [d.text for d in other.planted] != [d.text for d in KIT.planted]


def vars_of() -> dict[str, object]:
    return {name: getattr(OPTIONS, name) for name in OPTIONS.__slots__}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"doses": ()}, "different whole numbers"),
        ({"doses": (1, 1)}, "different whole numbers"),
        ({"doses": (0, 1)}, "different whole numbers"),
        ({"per_dose": 0, "canaries": 0}, "nothing to plant"),
        ({"words": 13}, "give at least 14"),
        ({"digits": 19}, "at most 18"),
        ({"doses": (1, 999_999_999)}, "at most 1,000,000 are planted"),
        ({"changed": -1}, "--changed must be at least 0"),
        ({"per_dose": 100}, r"planting needs 1,800 passages of 30 words .*; the domain 'code' has 240"),
    ],
)
def test_impossible_plantings_are_refused(fields: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why):
        plant_doses(BACKGROUND, PlantOptions(**{"words": 30, **fields}))


def test_a_background_without_words_or_nothing_left_is_refused() -> None:
    with pytest.raises(InputError, match="has 1 different words, 50 are needed"):
        plant_doses([Document("a", "one " * 1000, "a")], OPTIONS)
    few = [Document("a", prose(1, 30 * 48), "a")]
    with pytest.raises(InputError, match="all 1 documents would be held back"):
        plant_doses(few, OPTIONS)


def test_a_canary_is_found_again_and_nothing_else_is() -> None:
    canaries = draw_canaries(200, WORDS, 7, 3, np.random.default_rng(0))
    for canary in canaries:
        assert find_canary(canary.text()) == canary
        assert len(canary.text().split()) == FIXED_WORDS + 7 + 3
    assert len({c.carrier for c in canaries}) == 200
    assert 100 < np.mean([c.secret for c in canaries]) < 900
    for text in ("the code of a is", "the code of is 1", "The code of a is 1", "the code of a is 12", "a is 1 2", ""):
        assert find_canary(text) is None
    assert find_canary("the code of a is " + " ".join("1" * 19)) is None


@pytest.mark.parametrize(("digits", "count", "expected"), [(1, 50, 9), (2, 99, 99), (2, 50, 50), (18, 40, 40)])
def test_other_secrets_are_others_of_the_space(digits: int, count: int, expected: int) -> None:
    canary = Canary("the code of a is ", 7, digits)
    others = canary.others(count, np.random.default_rng(1))
    assert len(set(others)) == len(others) == expected
    assert 7 not in others
    assert all(0 <= secret < canary.space for secret in others)
    assert find_canary(canary.text(others[0])) == Canary(canary.carrier, others[0], digits)


def test_other_secrets_are_equally_likely() -> None:
    canary = Canary("the code of a is ", 3, 1)
    drawn = Counter(s for seed in range(2000) for s in canary.others(4, np.random.default_rng(seed)))
    assert set(drawn) == {0, 1, 2, 4, 5, 6, 7, 8, 9}
    assert max(drawn.values()) < 1.2 * min(drawn.values())


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("passage:fuzzy:3", ("passage", "fuzzy")),
        ("dose/planted.jsonl#canary:exact:12", ("canary", "exact")),
        ("17:passage:exact:3", None),
        ("passage:other:3", None),
        ("essay", None),
    ],
)
def test_ids_tell_the_variant(name: str, about: tuple[str, str] | None) -> None:
    assert about_planted(name) == about


def written(folder: Path, **fields: object) -> Path:
    source = folder / "background.jsonl"
    rows = [{"id": d.id, "domain": d.domain, "text": d.text, "date": "2020-01-02"} for d in BACKGROUND]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return plant_corpus([str(source)], folder / "kit", options=PlantOptions(**{**vars_of(), **fields})).folder


def test_files_hold_the_kit_and_their_digests(tmp_path: Path) -> None:
    folder = written(tmp_path)
    rows = {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        for name in ("training", "planted", "twins")
    }
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len({row["id"] for row in rows["training"]}) == len(rows["training"]) == len(KIT.training)
    assert {(r["kind"], r["variant"]) for r in rows["planted"]} == {
        (kind, variant) for kind in ("passage", "canary") for variant in ("exact", "fuzzy")
    }
    assert {r["copies"] for r in rows["twins"]} == {0}
    for row in [*rows["planted"], *rows["twins"]]:
        assigned = manifest["assignment"][row["id"]]
        assert assigned["copies"] == row["copies"]
        assert assigned["text_sha256"] == hashlib.sha256(row["text"].encode()).hexdigest()
    for name, entry in manifest["outputs"].items():
        assert entry["sha256"] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert manifest["canary"] | {"words": 0} == {
        "format": "the code of {words} is {digits}",
        "words": 0,
        "digits": 4,
        "space": 10_000,
    }
    background = [row for row in rows["training"] if ":passage:" not in row["id"] and ":canary:" not in row["id"]]
    assert {row["date"] for row in background} == {"2020-01-02"}


def test_the_same_command_writes_the_same_bytes_and_another_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "twins.jsonl").unlink()
    written(tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(InputError, match=r"holds another planting \(seed 2, not 9\)"):
        written(tmp_path, seed=9)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"training.jsonl: is there already, and no manifest.json"):
        written(tmp_path)
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match="not the manifest of a planting"):
        written(tmp_path)


def test_other_text_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    folder = written(tmp_path)
    source = tmp_path / "background.jsonl"
    rows = source.read_text().splitlines(keepends=True)
    source.write_text("".join(rows[:-1]))
    with pytest.raises(InputError, match=r"holds another planting \(other .*\)"):
        plant_corpus([str(source)], folder, options=OPTIONS)
