"""Altered copies of a GGUF file, each with what must come of it (headers: `tests/models/loading/test_gguf_file.py`)."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.tampering import CANARY, Case, Payload

FILE = "model.gguf"
TEMPLATE = "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}"


def gguf_cases() -> list[Case]:
    """Return all of them."""
    return [*_bytes(), *_settings(), *_tensors(), *_beside()]


def _bytes() -> list[Case]:
    return [
        Case("empty", "refused", _write(b""), "too short"),
        Case("a pickle", "refused", _write(pickle.dumps(Payload()) + bytes(64)), "not a GGUF file"),
        Case("cut", "refused", _changed(lambda data: data[: len(data) * 3 // 5]), "does not lie inside of it"),
        Case("counts", "refused", _put(8, struct.pack("<Q", 2**62)), "tensors"),
        Case("settings", "refused", _put(16, struct.pack("<Q", 2**62)), "settings"),
        Case("a key of 2^60", "refused", _put(24, struct.pack("<Q", 2**60)), "a string of"),
        Case("a pipe", "refused", _pipe, "not a regular file"),
        Case("20 GiB of nothing", "refused", _sparse, "not a GGUF file"),
    ]


def _settings() -> list[Case]:
    return [
        Case("another family", "refused", _text("gpt2", "blah"), "architecture 'blah' is not read"),
        Case("a million layers", "refused", _number("gpt2.block_count", 10**6), "10"),
        Case("two billion layers", "refused", _number("gpt2.block_count", 2**31), "n_layer is 2147483648"),
        Case("one layer", "refused", _number("gpt2.block_count", 1), "of no place in the model"),
        Case("huge", "refused", _number("gpt2.embedding_length", 2**31), "hidden_size is 2147483648"),
        Case("wide context", "refused", _number("gpt2.context_length", 2**31), "model.gguf: describes"),
        Case("heads", "refused", _number("gpt2.attention.head_count", 7), "fit"),
        Case("no heads", "refused", _number("gpt2.attention.head_count", 0), "fit"),
        Case("an end that is no token", "told", _number("tokenizer.ggml.eos_token_id", 2**31)),
        Case("another splitting", "refused", _text("gpt-2", "other"), "splits text as 'other'"),
    ]


def _tensors() -> list[Case]:
    return [
        Case("NaN", "refused", _values(float("nan")), "non-finite"),
        Case("infinite", "refused", _values(float("inf")), "non-finite"),
        Case("huge values", "told", _values(1e30)),
        Case("zeros", "told", _changed(lambda data: data[: len(data) // 4] + bytes(len(data) - len(data) // 4))),
        Case("another name", "refused", _text("blk.1.ffn_up.weight", "blk.7.ffn_up.weight"), "of no place"),
    ]


def _beside() -> list[Case]:
    evil = f"open({CANARY!r}, 'w')\n"

    def settings(folder: Path) -> None:
        (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["evil.Tokenizer", null]}}')
        (folder / "evil.py").write_text(evil)
        (folder / "config.py").write_text(evil)

    def configuration(folder: Path) -> None:
        (folder / "config.json").write_text('{"model_type": "gpt2", "auto_map": {"AutoConfig": "evil.Config"}}')

    def several(folder: Path) -> None:
        (folder / "another.gguf").write_bytes((folder / FILE).read_bytes())

    def tokenizer(folder: Path) -> None:
        (folder / "tokenizer.json").write_text("[" * 100_000)

    return [
        Case("code beside it", "found", settings),
        Case("a configuration beside it", "refused", configuration, "name the GGUF file itself"),
        Case("another beside it", "refused", several, "2 GGUF files"),
        Case("a hostile tokenizer beside it", "refused", tokenizer, "tokenizer"),
    ]


def _changed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / FILE).write_bytes(change((folder / FILE).read_bytes())) and None


def _write(content: bytes) -> Callable[[Path], None]:
    return _changed(lambda _: content)


def _put(place: int, content: bytes) -> Callable[[Path], None]:
    return _changed(lambda data: data[:place] + content + data[place + len(content) :])


def _text(old: str, new: str) -> Callable[[Path], None]:
    """Replace the first string of a file by one of the same length."""
    assert len(old) == len(new)
    place = struct.pack("<Q", len(old))
    return _changed(lambda data: data.replace(place + old.encode(), place + new.encode(), 1))


def _number(key: str, value: int) -> Callable[[Path], None]:
    """Replace a number of 32 bits."""

    def change(data: bytes) -> bytes:
        place = data.index(key.encode()) + len(key) + 4
        return data[:place] + struct.pack("<I", value) + data[place + 4 :]

    return _changed(change)


def _values(value: float) -> Callable[[Path], None]:
    """Put a number into the middle of the weights."""

    def change(data: bytes) -> bytes:
        numbers: np.ndarray[Any, Any] = np.frombuffer(data[-4096:], "<f4").copy()
        numbers[:8] = value
        return data[:-4096] + numbers.tobytes()

    return _changed(change)


def _pipe(folder: Path) -> None:
    (folder / FILE).unlink()
    os.mkfifo(folder / FILE)


def _sparse(folder: Path) -> None:
    (folder / FILE).write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 0))
    os.truncate(folder / FILE, 20 << 30)
