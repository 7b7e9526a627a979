"""A shard: what goes in comes out, in memory and from files; what does not belong together is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.records import Document
from memaudit.text.index.shard import END, PIECE, Shard, ShardBuilder, _Numbers, file_digests, open_shard

KEYS = np.array([7, 2**64 - 1, 3, 2**63, 11, 5, 2**40], np.uint64)
"""Hashes of a small vocabulary."""


def built(sequences: list[list[int]], folder: Path | None = None) -> Shard:
    builder = ShardBuilder(folder, by_vocabulary=True)
    for i, sequence in enumerate(sequences):
        builder.add(Document(f"id{i}", f"text {i}", f"file:{i}"), KEYS[np.array(sequence, np.int64)], i % 3 - 1)
    return builder.finish()


sequences = st.lists(st.lists(st.integers(0, len(KEYS) - 1), max_size=12), max_size=8)


@settings(deadline=None, max_examples=50)
@given(sequences)
def test_documents_and_their_symbols(sequences: list[list[int]]) -> None:
    shard = built(sequences)
    assert len(shard) == len(sequences)
    assert shard.size == sum(map(len, sequences))
    assert shard.vocabulary.tolist() == sorted({int(KEYS[i]) for sequence in sequences for i in sequence})
    for i, sequence in enumerate(sequences):
        symbols = shard.document_symbols(i)
        assert shard.keys_of(symbols).tolist() == KEYS[np.array(sequence, np.int64)].tolist()
        assert shard.symbols_of(shard.keys_of(symbols)).tolist() == symbols.tolist()
        assert shard.symbols[shard.documents[i + 1] - 1] == END
        assert shard.document_at(np.arange(shard.documents[i], shard.documents[i + 1])).tolist() == [i] * (
            len(sequence) + 1
        )
        assert (shard.texts[i], shard.source(i), shard.domains[i]) == (f"text {i}", (f"file:{i}", f"id{i}"), i % 3 - 1)


@settings(deadline=None, max_examples=50)
@given(sequences)
def test_suffixes_are_in_order(sequences: list[list[int]]) -> None:
    shard = built(sequences)
    text = shard.symbols.tolist()
    assert shard.suffixes.tolist() == sorted(range(len(text)), key=lambda i: text[i:])
    for symbol in range(len(shard.buckets) - 1):
        places = shard.suffixes[shard.buckets[symbol] : shard.buckets[symbol + 1]]
        assert sorted(places.tolist()) == [i for i, other in enumerate(text) if other == symbol]


def test_keys_that_are_not_there() -> None:
    shard = built([[0, 1, 1]])
    assert shard.symbols_of(np.array([2**64 - 1, 8, 1, 2**50], np.uint64)).tolist() == [2, -1, -1, -1]
    assert built([[]]).symbols_of(KEYS).tolist() == [-1] * len(KEYS)
    assert shard.keys_of(np.array([END, 1], np.int32)).tolist() == [0, 7]


def test_keys_that_are_symbols() -> None:
    builder = ShardBuilder(None, by_vocabulary=False)
    builder.add(Document("a", "ab", "f"), np.array([98, 99], np.uint64), -1)
    shard = builder.finish()
    assert shard.symbols.tolist() == [98, 99, END]
    assert shard.symbols_of(np.array([98, 97, 99, 100, 2**40], np.uint64)).tolist() == [98, 97, 99, -1, -1]
    assert shard.keys_of(np.array([98, END], np.int32)).tolist() == [98, 0]


def test_a_large_vocabulary() -> None:
    keys = np.random.default_rng(0).integers(1, 2**63, 200_000, dtype=np.uint64)
    builder = ShardBuilder(None, by_vocabulary=True)
    for part in np.array_split(keys, 7):
        builder.add(Document("a", "", "f"), part, -1)
    shard = builder.finish()
    assert (np.sort(shard.symbols[shard.symbols != END]) == np.arange(1, len(np.unique(keys)) + 1)).all()
    assert (shard.keys_of(shard.symbols[shard.symbols != END]) == keys).all()


def test_repeated_keys_take_no_room() -> None:
    numbers = _Numbers()
    found = [numbers.of(np.tile(np.arange(1, 1001, dtype=np.uint64), 500)) for _ in range(2)]
    assert (found[0] == found[1]).all()
    assert found[0][:1001].tolist() == [*range(1, 1001), 1]
    assert len(numbers.ranked()[0]) == 1000
    assert len(numbers._keys) == 4 * PIECE


def test_files_hold_the_same(tmp_path: Path) -> None:
    for number, documents in enumerate(([[0, 1, 2], [], [1, 2, 3, 1]], [], [[]])):
        folder = tmp_path / str(number)
        written, kept, found = built(documents, folder), built(documents), open_shard(folder)
        for name in ("symbols", "suffixes", "buckets", "documents", "domains", "vocabulary"):
            assert getattr(found, name).tolist() == getattr(kept, name).tolist() == getattr(written, name).tolist()
            assert not getattr(found, name).flags.writeable
        assert [found.texts[i] for i in range(len(found))] == [kept.texts[i] for i in range(len(kept))]


def test_same_documents_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        built([[0, 1, 2], [4, 4]], tmp_path / name)
    assert file_digests(tmp_path / "one") == file_digests(tmp_path / "two")


@pytest.mark.parametrize("name", ["symbols", "suffixes", "buckets", "documents", "domains"])
def test_files_that_do_not_belong_together(tmp_path: Path, name: str) -> None:
    built([[0, 1, 2], [4, 4]], tmp_path / "one")
    built([[0, 1], [4, 4, 4, 4], [2]], tmp_path / "two")
    (tmp_path / "two" / f"{name}.npy").replace(tmp_path / "one" / f"{name}.npy")
    with pytest.raises(InputError, match="do not belong together"):
        open_shard(tmp_path / "one")


def test_files_of_another_kind(tmp_path: Path) -> None:
    built([[0, 1, 2]], tmp_path / "one")
    path = tmp_path / "one" / "symbols.npy"
    np.save(path, np.zeros(4, np.int64))
    with pytest.raises(InputError, match=r"symbols\.npy: holds int64 \(1-dimensional\), expected int32"):
        open_shard(tmp_path / "one")
    path.write_bytes(b"no array")
    with pytest.raises(InputError, match=r"symbols\.npy: cannot be read"):
        open_shard(tmp_path / "one")
