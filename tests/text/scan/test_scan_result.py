from __future__ import annotations

import json
import random
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import RunError
from memaudit.runs.parts import FileDigest
from memaudit.text.scan.matching import Match
from memaudit.text.scan.patterns import Needle, Patterns, build_patterns
from memaudit.text.scan.result import Scan, natural_key
from memaudit.text.scan.stream import scan_texts
from memaudit.text.scan.tally import KEPT

NEEDLES = [
    "amber basin cedar delta ember fjord grove haven inlet jetty knoll ledge marsh north",
    "fjord grove haven inlet jetty alpha beta gamma delta epsilon",
    "amber basin cedar delta ember",
    "too short",
]


@pytest.fixture(scope="module")
def patterns() -> Patterns:
    return build_patterns([Needle(i, "question", text) for i, text in enumerate(NEEDLES)])


def documents(seed: int, count: int) -> tuple[list[str], list[str]]:
    """Documents with pieces of the needles, so many of them that not all candidates are kept."""
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        words = rng.choice(NEEDLES).split()
        first = rng.randrange(len(words))
        texts.append(" ".join(["before", *words[first : first + rng.randrange(4, 13)], "after"]))
    names = [f"part-{line % 3}.jsonl:{line}" for line in range(1, count + 1)]
    return texts, names


def comparable(scan: Scan) -> dict[str, Any]:
    return scan.to_record()


def naive_kept(matches: list[Match]) -> list[Match]:
    """Of every needle the ten strongest documents that convict, the first of equals, or the strongest one."""
    kept = []
    for needle in sorted({match.candidate.needle for match in matches}):
        same = [match for match in matches if match.candidate.needle == needle]
        same.sort(key=lambda m: natural_key(m.candidate.source))
        same.sort(key=lambda m: m.strength, reverse=True)
        kept += [match for match in same if match.found][:KEPT] or same[:1]
    return kept


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 80), st.lists(st.integers(0, 4), min_size=80, max_size=80))
def test_any_split_and_order_of_merges_gives_the_same_bytes(seed: int, count: int, groups: list[int]) -> None:
    patterns = build_patterns([Needle(i, "question", text) for i, text in enumerate(NEEDLES)])
    texts, names = documents(seed, count)
    whole = comparable(scan_texts(texts, patterns, names))
    parts = []
    for group in sorted(set(groups[:count])):
        chosen = [i for i in range(count) if groups[i] == group]
        parts.append(scan_texts([texts[i] for i in chosen], patterns, [names[i] for i in chosen]))
    random.Random(seed).shuffle(parts)
    assert comparable(reduce(Scan.merge, parts)) == whole
    assert comparable(reduce(lambda right, left: left.merge(right), parts, Scan.nothing(patterns))) == whole
    stored = [Scan.from_record(json.loads(json.dumps(part.to_record(), allow_nan=False))) for part in parts]
    assert comparable(reduce(Scan.merge, stored)) == whole


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 120))
def test_kept_are_the_ten_strongest_that_convict_or_the_strongest(seed: int, count: int) -> None:
    patterns = build_patterns([Needle(i, "question", text) for i, text in enumerate(NEEDLES)])
    texts, names = documents(seed, count)
    alone = [scan_texts([text], patterns, [name]) for text, name in zip(texts, names, strict=True)]
    every = [match for scan in alone for match in scan.matches]
    assert scan_texts(texts, patterns, names).matches == naive_kept(every)


def test_matches_of_one_needle_do_not_add_up_without_end(patterns: Patterns) -> None:
    texts = [NEEDLES[0]] * (KEPT + 5)
    scan = scan_texts(texts, patterns, [f"c.jsonl:{line}" for line in range(len(texts))])
    kept = [m.candidate.source for m in scan.matches if m.candidate.needle == 0]
    assert kept == [f"c.jsonl:{line}" for line in range(KEPT)]


def test_records_are_strict_json_and_give_everything_back(patterns: Patterns) -> None:
    texts, names = documents(1, 30)
    scan = scan_texts([*texts, " \n"], patterns, [*names, "blank:1"])
    back = Scan.from_record(json.loads(json.dumps(scan.to_record(), allow_nan=False)))
    assert (back.documents, back.words, back.bytes_, back.empty) == (30, scan.words, scan.bytes_, 1)
    for name in ("seed_documents", "longest", "covered", "substrings", "scripts"):
        one, other = getattr(scan, name), getattr(back, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert back.gram_documents.keys() == scan.gram_documents.keys()
    assert back.matches == scan.matches
    assert scan.matches


def test_files_and_rejected_records_are_ordered_by_name_and_line(patterns: Patterns) -> None:
    def part(name: str, lines: range) -> Scan:
        scan = Scan.nothing(patterns)
        scan.files.append(FileDigest(path=name, sha256="0", bytes=1))
        scan.first_rejected.extend(f"{name}:{line}: bad" for line in lines)
        return scan

    one, other = part("b.jsonl", range(1, 15)), part("a.jsonl", range(2, 13))
    merged = one.merge(other)
    assert [file["path"] for file in merged.files] == ["a.jsonl", "b.jsonl"]
    assert merged.first_rejected[:11] == [f"a.jsonl:{line}: bad" for line in range(2, 13)]
    assert merged.first_rejected[11:] == [f"b.jsonl:{line}: bad" for line in range(1, 10)]
    assert merged.to_record() == other.merge(one).to_record()


def test_scans_that_do_not_belong_together_are_refused(patterns: Patterns) -> None:
    other = build_patterns([Needle(0, "question", "another benchmark")])
    with pytest.raises(RunError, match="different needles"):
        Scan.nothing(patterns).merge(Scan.nothing(other))
    scan = Scan.nothing(patterns)
    scan.files.append(FileDigest(path="a.jsonl", sha256="0", bytes=1))
    with pytest.raises(RunError, match=r"a\.jsonl: is in both"):
        scan.merge(scan)


def test_places_are_ordered_as_numbers() -> None:
    names = ["a:12:5", "a:9", "b:1", "a:12", "a", "a:100"]
    assert sorted(names, key=natural_key) == ["a", "a:9", "a:12", "a:12:5", "a:100", "b:1"]
