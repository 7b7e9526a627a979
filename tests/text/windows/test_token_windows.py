"""Windows given as arrays of token ids: what is read, and what is refused by name and row."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memaudit.errors import InputError
from memaudit.text.tokenize import train_tokenizer
from memaudit.text.windows.token_windows import read_token_arrays, token_windows
from memaudit.text.windows.windows import WindowOptions

TEXT = "the quick brown fox jumps over the lazy dog; na\u00efve caf\u00e9 \u4e2d\u6587"
TOKENIZER = train_tokenizer("byte", [TEXT])


def saved(folder: Path, name: str, values: Any) -> Path:
    path = folder / f"{name}.npy"
    np.save(path, values, allow_pickle=isinstance(values, np.ndarray) and values.dtype == object)
    return path


def pair(folder: Path, rows: int = 6, seed: int = 0, dtype: Any = np.uint16) -> tuple[Path, Path]:
    ids = TOKENIZER.encode_batch([TEXT * 3])[0].ids
    starts = np.random.default_rng(seed).permutation(60)[:rows]
    return (
        saved(folder, f"prefix{seed}", np.stack([ids[s : s + 10] for s in starts]).astype(dtype)),
        saved(folder, f"suffix{seed}", np.stack([ids[s + 10 : s + 18] for s in starts]).astype(dtype)),
    )


def test_windows_hold_ids_and_their_text(tmp_path: Path) -> None:
    arrays = read_token_arrays(*pair(tmp_path), TOKENIZER.vocab_size)
    found = token_windows(arrays, None, TOKENIZER, WindowOptions(limit=100))
    assert arrays.lengths == (10, 8)
    assert len(found.windows) == 6
    for row, window in enumerate(found.windows):
        assert np.array_equal(window.prefix, arrays.prefixes[row])
        assert np.array_equal(window.suffix, arrays.suffixes[row])
        whole = TOKENIZER.decode(np.concatenate([window.prefix, window.suffix]))
        assert window.prefix_text + window.suffix_text == whole
        assert window.source == f"{tmp_path / 'prefix0.npy'}:{row + 1}"
        assert window.member
    assert not found.matched


def test_copies_and_rows_beyond_the_limit_are_counted(tmp_path: Path) -> None:
    prefix, suffix = pair(tmp_path)
    for path in (prefix, suffix):
        np.save(path, np.concatenate([np.load(path), np.load(path)[:2]]))
    arrays = read_token_arrays(prefix, suffix, TOKENIZER.vocab_size)
    others = dataclasses.replace(arrays, prefixes=arrays.prefixes[:, ::-1])
    found = token_windows(arrays, others, TOKENIZER, WindowOptions(limit=4, seed=3))
    assert len(found.windows) == 8
    assert found.matched
    counts = {(s.side, s.reason.split(":")[0]): s.count for s in found.set_aside}
    assert counts == {(side, reason): 2 for side in ("train", "heldout") for reason in
                      ("a copy of another window", "not drawn")}  # fmt: skip
    again = token_windows(arrays, others, TOKENIZER, WindowOptions(limit=4, seed=3))
    assert [w.source for w in again.windows] == [w.source for w in found.windows]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 3), np.float32), r"prefix\.npy: float32 of shape \(2, 3\)"),
        (np.zeros(6, np.int32), r"of shape \(6,\)"),
        (np.array([[1, 2], [3, 70000]]), r"prefix\.npy: row 2 holds the id 70000"),
        (np.array([[1, -1]]), r"row 1 holds the id -1"),
        (np.array([["a"]], dtype=object), r"prefix\.npy: not a \.npy array"),
        (np.zeros((3, 4), np.int32), r"has 3 rows, .*suffix\.npy 2"),
    ],
)
def test_what_is_no_array_of_ids_is_refused(tmp_path: Path, values: Any, message: str) -> None:
    suffix = saved(tmp_path, "suffix", np.zeros((2, 4), np.int32))
    with pytest.raises(InputError, match=message):
        read_token_arrays(saved(tmp_path, "prefix", values), suffix, TOKENIZER.vocab_size)


def test_files_that_are_not_there_or_no_arrays(tmp_path: Path) -> None:
    _, suffix = pair(tmp_path)
    text = tmp_path / "text.npy"
    text.write_text("not an array")
    for path, message in ((tmp_path / "none.npy", "no such file"), (text, "not a .npy array"), (tmp_path, "not a")):
        with pytest.raises(InputError, match=message):
            read_token_arrays(path, suffix, TOKENIZER.vocab_size)


def test_sides_of_different_lengths_are_refused(tmp_path: Path) -> None:
    one = read_token_arrays(*pair(tmp_path), TOKENIZER.vocab_size)
    rows = np.ones((2, 5), np.int32)
    other = read_token_arrays(saved(tmp_path, "p", rows), saved(tmp_path, "s", rows), TOKENIZER.vocab_size)
    with pytest.raises(InputError, match="cut both alike"):
        token_windows(one, other, TOKENIZER, WindowOptions())


def test_held_out_windows_that_are_training_windows_are_refused_or_set_aside(tmp_path: Path) -> None:
    train = read_token_arrays(*pair(tmp_path), TOKENIZER.vocab_size)
    others = train.prefixes[:, ::-1].copy()
    others[2] = train.prefixes[2]
    mixed = dataclasses.replace(train, prefixes=others)
    with pytest.raises(InputError, match=r"1 of 6 held-out windows share a span of 18 tokens .*prefix0\.npy:3 with"):
        token_windows(train, mixed, TOKENIZER, WindowOptions(limit=1))
    found = token_windows(train, mixed, TOKENIZER, WindowOptions(allow_overlap=True))
    assert [w.source[-1] for w in found.windows if not w.member] == ["1", "2", "4", "5", "6"]
    assert [(o.heldout[-1], o.train[-1], o.view) for o in found.overlaps] == [("3", "3", "exact")]
    assert [(s.side, s.count) for s in found.set_aside] == [("heldout", 1)]
    with pytest.raises(InputError, match="6 of 6 held-out windows"):
        token_windows(train, train, TOKENIZER, WindowOptions(allow_overlap=True))
