from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from memaudit.errors import InputError
from memaudit.text.corpus.specs import CorpusFile
from memaudit.text.scan import stream
from memaudit.text.scan.patterns import Needle, Patterns, build_patterns
from memaudit.text.scan.result import Scan
from memaudit.text.scan.stream import scan_source, scan_texts, scan_words
from memaudit.text.scan.tally import KEPT
from memaudit.text.words.words import encode_texts, hash_words

NEEDLE = "Whether 'tis nobler in the mind to suffer the slings and arrows of outrageous fortune, or not"


@pytest.fixture(scope="module")
def patterns() -> Patterns:
    return build_patterns(
        [Needle(0, "question", NEEDLE), Needle(1, "question", "nothing of this is ever found at all")]
    )


def filler(rng: random.Random, count: int, letters: str = "bdfgk") -> str:
    return " ".join(f"{rng.choice(letters)}{rng.choice('aeiou')}{rng.randrange(100)}" for _ in range(count))


def write(path: Path, texts: list[str]) -> CorpusFile:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return CorpusFile(str(path), "jsonl")


def same(one: Scan, other: Scan) -> bool:
    skipped = {"files", "empty", "rejected", "first_rejected"}
    records = one.to_record(), other.to_record()
    return all(records[0][key] == records[1][key] for key in records[0] if key not in skipped)


def test_a_file_gives_what_its_texts_give(tmp_path: Path, patterns: Patterns) -> None:
    rng = random.Random(1)
    texts = [filler(rng, 50) + (f" {NEEDLE}. " if i % 7 == 3 else "") + filler(rng, 50) for i in range(60)]
    source = write(tmp_path / "corpus.jsonl", [*texts[:20], "", "  ", *texts[20:]])
    lines = [*range(1, 21), *range(23, 63)]
    scan = scan_source(source, patterns)
    assert same(scan, scan_texts(texts, patterns, [f"{source.name}:{line}" for line in lines]))
    assert (scan.documents, scan.empty, scan.rejected) == (60, 2, 0)
    assert scan.bytes_ == sum(len(text.encode()) for text in texts)
    assert [(file["path"], file["bytes"]) for file in scan.files] == [(source.name, Path(source.name).stat().st_size)]
    assert {m.candidate.source for m in scan.matches} == {f"{source.name}:{lines[i]}" for i in range(3, 60, 7)}


def test_bad_records_stop_a_scan_or_are_counted(tmp_path: Path, patterns: Patterns) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(f'{{"text": "{NEEDLE}"}}\n{{"text": 5}}\n', encoding="utf-8")
    source = CorpusFile(str(path), "jsonl")
    with pytest.raises(InputError, match=r"corpus.jsonl:2: "):
        scan_source(source, patterns)
    scan = scan_source(source, patterns, skip_bad=True)
    assert (scan.documents, scan.rejected) == (1, 1)
    assert scan.first_rejected[0].startswith(f"{path}:2: ")


@pytest.mark.parametrize("disguise", [str, str.upper, lambda text: text.replace(" ", "\u200b \n"), "𝓪 {} ½".format])
def test_an_excerpt_holds_the_passage_and_a_little_more(patterns: Patterns, disguise) -> None:
    rng = random.Random(2)
    before, after = filler(rng, 3000) + " é ", filler(rng, 3000)
    document = f"{before}{disguise(NEEDLE)} {after}"
    (match,) = scan_texts([document], patterns, ["d:1"]).matches
    candidate = match.candidate
    assert document[candidate.start :].startswith(candidate.text)
    assert disguise(NEEDLE).strip("½ ") in candidate.text
    assert len(candidate.text.split()) < 3 * len(NEEDLE.split())
    assert candidate.seeds == tuple(patterns.distinct_seeds(0).tolist())


def test_an_excerpt_of_a_huge_document_is_that_of_a_small_one(patterns: Patterns, monkeypatch) -> None:
    rng = random.Random(6)
    documents = []
    for _ in range(20):
        words = f"{filler(rng, 80)} {NEEDLE} {filler(rng, 80)}".split(" ")
        documents.append("".join(word + rng.choice([" ", "\n", "  \u200b", "\u200b ", "\u0301 "]) for word in words))
    names = [f"d:{i}" for i in range(20)]
    whole = scan_texts(documents, patterns, names)
    assert len(whole.matches) == KEPT
    for huge in (30, 100, 500):
        monkeypatch.setattr(stream, "HUGE", huge)
        assert scan_texts(documents, patterns, names).matches == whole.matches


def test_an_excerpt_is_taken_where_most_of_the_needle_lies(patterns: Patterns) -> None:
    rng = random.Random(3)
    words = NEEDLE.split()
    pieces = [" ".join(words[:6]), filler(rng, 500), " ".join([*words[:7], "so", *words[7:]]), filler(rng, 500)]
    document = "\n".join([*pieces, " ".join(words[-6:]), filler(rng, 9)])
    (match,) = scan_texts([document], patterns, ["d:1"]).matches
    candidate = match.candidate
    assert pieces[2] in candidate.text
    assert pieces[2][:40] not in document[: candidate.start]


def test_documents_of_an_index_are_scanned_as_those_of_its_files(patterns: Patterns) -> None:
    rng = random.Random(4)
    texts, names = [], []
    for name, count in [("z.jsonl", 25), ("a.jsonl", 1), ("m.txt", 1), ("b.jsonl", 30)]:
        texts += [f"{filler(rng, 20)} {NEEDLE} {filler(rng, 20)}" for _ in range(count)]
        names += [f"{name}:{line}" for line in range(1, count + 1)] if count > 1 else [name]
    hashes, offsets = hash_words(*encode_texts(texts))
    hashes.flags.writeable = False
    asked: list[int] = []

    def source_of(document: int) -> str:
        asked.append(document)
        return names[document]

    scan = scan_words(hashes, offsets, patterns, texts.__getitem__, source_of)
    assert same(scan, scan_texts(texts, patterns, names))
    assert len(scan.matches) == KEPT
    assert {m.candidate.source for m in scan.matches} == {
        "a.jsonl:1"[:7],
        *(f"b.jsonl:{line}" for line in range(1, 10)),
    }
    assert same(scan_words(np.zeros(0, np.uint64), np.zeros(1, np.int64), patterns, str, str), Scan.nothing(patterns))


def test_a_template_of_all_needles_in_half_of_the_documents_takes_no_long_time() -> None:
    """Counted in work, not in time: candidates and the memory of a scan stay bounded."""
    rng = random.Random(5)
    template = "Read the following passage with care and choose the best of the four answers below"
    needles = [Needle(i, "both", f"{template}: {filler(rng, 40, 'mnrst')}") for i in range(500)]
    patterns = build_patterns(needles)
    texts = [f"{filler(rng, 30)} {template if i % 2 else ''} {filler(rng, 30)}" for i in range(2000)]
    scan = scan_texts(texts, patterns, [f"d:{i}" for i in range(2000)])
    shared = patterns.seed_ids(0)[:11]
    assert scan.seed_documents[shared].tolist() == [1000] * 11
    assert scan.matches == []  # what all share is no evidence for any
    assert scan.covered.sum() == 500 * 15
    assert set(scan.longest.tolist()) == {15}


def test_text_that_repeats_one_word_without_end() -> None:
    patterns = build_patterns([Needle(i, "both", "zero " * (6 + i)) for i in range(20)])
    scan = scan_texts(["zero " * 20_000], patterns, ["d"])
    assert scan.longest.tolist() == list(range(6, 26))
    assert scan.seed_documents.tolist() == [1]
    assert len(scan.matches) == 20
    assert not any(match.found for match in scan.matches)
