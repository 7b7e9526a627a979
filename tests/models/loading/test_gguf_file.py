"""The header of a GGUF file, byte by byte: what does not lie inside of the file is never asked for."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memaudit.errors import ModelError
from memaudit.models.loading.gguf_file import MOST_VALUES, GgufFile, is_gguf, read_gguf

SIZES = {"F32": (1, 4), "F16": (1, 2), "Q8_0": (32, 34)}
KINDS = {0: "F32", 1: "F16", 8: "Q8_0"}


def text(content: str | bytes) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return struct.pack("<Q", len(content)) + content


def setting(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str = "a", shape: tuple[int, ...] = (4, 2), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def whole(
    settings: list[bytes], tensors: list[bytes], body: bytes = bytes(64), *, version: int = 3, counts: Any = None
) -> bytes:
    numbers = counts or (len(tensors), len(settings))
    head = b"GGUF" + struct.pack("<IQQ", version, *numbers) + b"".join(settings) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + body


ARCH = setting("general.architecture", 8, text("llama"))


def read(file: Path, content: bytes) -> GgufFile:
    file.write_bytes(content)
    return read_gguf(file, SIZES, KINDS)


def test_what_a_file_says(tmp_path: Path) -> None:
    settings = [
        ARCH, setting("a.list", 9, struct.pack("<IQ3i", 5, 3, -1, 2, 3)), setting("a.flag", 7, b"\x01"),
        setting("a.names", 9, struct.pack("<IQ", 8, 2) + text("x") + text("ü")),
        setting("a.float", 6, struct.pack("<f", 0.5)),
    ]  # fmt: skip
    tensors = [tensor("one", (4, 2)), tensor("two", (32, 3), 8, 32)]
    found = read(tmp_path / "m.gguf", whole(settings, tensors, bytes(32 + 3 * 34)))
    assert found.architecture == "llama"
    assert dict(found.settings) == {
        "general.architecture": "llama", "a.list": [-1, 2, 3], "a.flag": True, "a.names": ["x", "ü"], "a.float": 0.5
    }  # fmt: skip
    assert [(one.name, one.shape, one.kind, one.size) for one in found.tensors] == [
        ("one", (2, 4), "F32", 32), ("two", (3, 32), "Q8_0", 102)
    ]  # fmt: skip
    assert found.tensors[1].start - found.tensors[0].start == 32
    assert found.kinds() == "F32 (1 tensors), Q8_0 (1)"
    assert found.declared()["two"].shape == (3, 32)


HOSTILE = {
    "empty": (b"", "too short"),
    "other": (b"PK\3\4" + bytes(60), "it begins otherwise"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git-LFS pointer"),
    "version 1": (whole([ARCH], [], version=1), "GGUF version 1"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0) + bytes(32), "GGUF version 50331648"),
    "counts": (whole([ARCH], [], counts=(2**63, 1)), "tensors and 1 settings"),
    "settings": (whole([ARCH], [], counts=(0, 2**60)), "0 tensors and"),
    "a key of 2^60": (whole([struct.pack("<Q", 2**60)], []), "a string of 1,152,921,504,606,846,976 bytes"),
    "a string of 2^60": (whole([text("a") + struct.pack("<IQ", 8, 2**60)], []), "a string of 1,152,921"),
    "a string beyond": (whole([text("a") + struct.pack("<IQ", 8, 1000)], []), "a string of 1,000 bytes"),
    "a list of 2^60": (whole([text("a") + struct.pack("<IIQ", 9, 4, 2**60)], []), "a list of 1,152,921"),
    "a list beyond": (whole([text("a") + struct.pack("<IIQ", 9, 12, MOST_VALUES - 1)], []), "a list of 3,999,999"),
    "strings of nothing": (whole([text("a") + struct.pack("<IIQ", 9, 8, MOST_VALUES)], []), "not a GGUF file"),
    "a list in a list": (whole([text("a") + struct.pack("<IIQ", 9, 9, 1)], []), "a list of 1 values of type 9"),
    "an unknown type": (whole([setting("a", 13, b"")], []), "a setting of type 13"),
    "no UTF-8": (whole([setting("a", 8, text(b"\xff\xfe"))], []), "not a GGUF file"),
    "a key twice": (whole([ARCH, ARCH], []), "general.architecture twice"),
    "alignment 0": (whole([ARCH, setting("general.alignment", 4, bytes(4))], []), "alignment 0"),
    "alignment a text": (whole([setting("general.alignment", 8, text("8"))], []), "alignment '8'"),
    "a tensor of a type": (whole([ARCH], [tensor(kind=99)]), "is of type 99"),
    "too many sides": (whole([ARCH], [text("a") + struct.pack("<I", 2**31)]), "has 2,147,483,648 dimensions"),
    "a side of 0": (whole([ARCH], [tensor(shape=(0, 4))]), "does not lie inside"),
    "sides of 2^40": (whole([ARCH], [tensor(shape=(2**40, 2**40))]), "does not lie inside"),
    "offset beyond": (whole([ARCH], [tensor(offset=2**62)]), "does not lie inside"),
    "offset askew": (whole([ARCH], [tensor(offset=1)]), "does not lie inside"),
    "half a block": (whole([ARCH], [tensor(shape=(31, 1), kind=8)]), "does not lie inside"),
    "overlap": (whole([ARCH], [tensor("a", (4, 4)), tensor("b", (4, 2), offset=32)]), "b overlaps another"),
    "a name twice": (whole([ARCH], [tensor("a"), tensor("a", offset=32)]), "two tensors of one name"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, says = HOSTILE[name]
    with pytest.raises(ModelError) as caught:
        read(tmp_path / "m.gguf", content)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200 + len(str(tmp_path))


def test_any_byte_may_be_another(tmp_path: Path) -> None:
    """Whatever stands in a header, it is read or refused, and nothing else is raised."""
    content = whole(
        [ARCH, setting("a.names", 9, struct.pack("<IQ", 8, 1) + text("x"))], [tensor(), tensor("b", offset=32)]
    )
    lot, refused = np.random.default_rng(0), 0
    for place in range(len(content) - 64):
        changed = bytearray(content)
        changed[place] = int(lot.integers(256))
        for altered in (bytes(changed), content[:place]):
            try:
                read(tmp_path / "m.gguf", altered)
            except ModelError:
                refused += 1
    assert refused > len(content) - 64


def test_what_is_taken_for_such_a_file(tmp_path: Path) -> None:
    (tmp_path / "named").write_bytes(b"GGUF")
    (tmp_path / "text").write_bytes(b"text")
    assert is_gguf(tmp_path / "named")
    assert is_gguf(tmp_path / "x.gguf")
    assert not is_gguf(tmp_path / "text")
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(ModelError, match="not a regular file"):
        read_gguf(tmp_path / "pipe.gguf", SIZES, KINDS)
