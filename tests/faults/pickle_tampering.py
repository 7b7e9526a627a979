"""Altered copies of a folder with ``pytorch_model.bin``: each is refused in one line where reading is allowed."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from memaudit.models.loading.load import load_model
from tests.faults.isolation import isolated
from tests.faults.tampering import CANARY, SECONDS, Case, Payload, faults_of

BIN = "pytorch_model.bin"
STORE, PACK = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
START = b"\x80\x02"


def pickled(folder: Path) -> None:
    """Let the weights of a folder be a pickle."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / BIN)


def audited_pickle(case: Case, victim: Path, where: Path) -> list[str]:
    """Load an altered copy in a child, pickles allowed; return what was wrong with how it was received."""
    copy = where / "copy"
    shutil.copytree(victim, copy)
    case.change(copy)

    def work() -> Any:
        os.chdir(where)
        load_model(str(copy), allow_pickle=True)
        return {"verdict": "clean"}  # what is altered so is never to be loaded

    return faults_of(case, isolated(work, 3 * SECONDS), copy)


def pickle_cases() -> list[Case]:
    """Return all of them."""
    return [*_code(), *_archives(), *_tensors(), *_contents(), *_bombs()]


def _code() -> Iterator[Case]:
    payload = pickle.dumps(Payload(), protocol=2)
    yield _case("one pickle", _bytes(payload), "not the zip format")
    yield _case("a payload in the archive", _archive(payload), "which no state dict has")
    command = f"touch {CANARY}"
    for name, call in {
        "os.system": b"cposix\nsystem\n", "eval": b"c__builtin__\neval\n", "a loader": b"ctorch\nload\n",
        "getattr": b"c__builtin__\ngetattr\n", "import": b"c__builtin__\n__import__\n",
    }.items():  # fmt: skip
        data = START + call + b"X" + struct.pack("<I", len(command)) + command.encode() + b"\x85R."
        yield _case(f"calls {name}", _archive(data), "which no state dict has")
    yield _case("an object", _archive(START + b"ctorch._utils\n_rebuild_parameter\n)\x81."), "NEWOBJ")
    attributes = START + b"ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00aK\x01sb."
    yield _case("sets attributes", _archive(attributes), "sets attributes")
    called = START + b"ccollections\nOrderedDict\n]\x85R."
    yield _case("fills by a list", _archive(called), "EMPTY_LIST")
    yield _case("a later protocol", _archive(pickle.dumps({}, protocol=4)), "MEMOIZE")


def _archives() -> Iterator[Case]:
    yield _case("empty", _bytes(b""), "it is empty (download it again)")
    yield _case(
        "a git-LFS pointer",
        _bytes(b"version https://git-lfs.github.com/spec/v1\noid 00\n"),
        "not weights (fetch the file with git lfs pull)",
    )
    yield _case("cut", _edited(lambda data: data[: len(data) // 2]), "end of the file")
    yield _case("bytes behind", _edited(lambda data: data + b"more"), "end of the file")
    yield _case("bytes before", _edited(lambda data: b"PK\x03\x04" + data), "end of the file")
    yield _case("a comment", _edited(lambda data: data[:-2] + b"\x04\x00abcd"), "end of the file")
    yield _case("a list elsewhere", _edited(_moved_directory), "list of records")
    yield _case("compressed", _repacked(kinds={"data.pkl": PACK}), "compressed")
    yield _case("compressed numbers", _repacked(kinds={"data/0": PACK}), "compressed")
    yield _case("a record of code", _repacked(more={"code/x.py": b"1"}), "which no state dict has")
    yield _case("a script of torch", _repacked(more={"constants.pkl": b"1"}), "which no state dict has")
    yield _case("a path upwards", _repacked(more={"data/../x": b"1"}), "which no state dict has")
    yield _case("two records of a name", _repacked(twice="data.pkl"), "two records")
    yield _case("another order of bytes", _repacked(changed={"byteorder": b"big"}), "order of bytes")
    yield _case("no pickle", _repacked(dropped="data.pkl"), "no data.pkl")
    yield _case("no numbers", _repacked(dropped="data/0"), "does not hold")
    yield _case("fewer numbers", _repacked(changed={"data/0": b"1234"}), "does not hold")
    yield _case("records overlap", _edited(_overlapping), "another name")
    yield _case("a record of 2^40 bytes", _edited(_claims_size), "")


def _tensors() -> Iterator[Case]:
    whole = {"size": (2,), "stride": (1,), "offset": 0, "numel": 4}
    for name, change, says in (
        ("a storage of 2^40 values", {"numel": 2**40}, "does not hold"),
        ("a storage of 2^80 values", {"numel": 2**80}, "no storage"),
        ("larger than its storage", {"size": (2**20, 2**20), "stride": (2**20, 1)}, "larger than its storage"),
        ("steps of 0", {"size": (2**20, 2**20), "stride": (0, 0)}, "larger than its storage"),
        ("beyond its storage", {"offset": 3}, "larger than its storage"),
        ("before its storage", {"offset": -1}, "no tensor"),
        ("steps backwards", {"stride": (-1,)}, "no tensor"),
        ("a hundred sides", {"size": (1,) * 100, "stride": (1,) * 100}, "no tensor"),
        ("sides and steps differ", {"size": (1, 1)}, "no tensor"),
        ("sides are numbers in words", {"size": ("2",)}, "no tensor"),
    ):
        yield _case(name, _archive(_one_tensor(**(whole | change)), {"data/0": bytes(16)}), says)  # type: ignore[arg-type]
    two = _Pickled(torch.FloatStorage, 4, "0"), _Pickled(torch.DoubleStorage, 2, "0")
    both = {"a": _Viewed(two[0], 0, (4,), (1,)), "b": _Viewed(two[1], 0, (2,), (1,))}
    yield _case("one storage of two types", _archive(_dumped(both), {"data/0": bytes(16)}), "two types")
    many = {f"a{i}": _Viewed(_Pickled(torch.FloatStorage, 2000, "0"), i, (1900,), (1,)) for i in range(100)}
    yield _case("many views", _archive(_dumped(many), {"data/0": bytes(8000)}), "views of one storage")


def _contents() -> Iterator[Case]:
    one = torch.ones(2, 2)
    for name, content, says in (
        ("a number beside tensors", {"step": 5}, "is no tensor"),
        ("a text beside tensors", {"step": "5"}, "is no tensor"),
        ("no dictionary", one, "no dictionary"),
        ("a list", [one], "EMPTY_LIST"),
        ("a dictionary in it", {"state_dict": {"a": one}}, "inside 'state_dict'"),
        ("names that are numbers", {7: one}, "no tensor"),
        ("a sparse tensor", {"a": one.to_sparse()}, "class of their own"),
        ("a tensor on no device", {"a": torch.ones(2, device="meta")}, "class of their own"),
        ("a tensor of its own class", {"a": one.as_subclass(_Own)}, "class of their own"),
        ("complex numbers", {"a": one.to(torch.complex64)}, "ComplexFloatStorage"),
        ("a type of eight bits", {"a": one.to(torch.float8_e4m3fn)}, ""),
        ("a module", {"a": torch.nn.Linear(1, 1)}, "which no state dict has"),
        ("a type", {"a": torch.float32}, "which no state dict has"),
        ("a long name", {"n" * 5000: one}, "no tensor"),
        ("a strange name", {"x\n\x1b[31m": 7}, "no tensor"),
        ("nothing", {}, "hold no tensors"),
    ):
        yield _case(name, _saved(content), says)


def _bombs() -> Iterator[Case]:
    deep = START + b"}X\x01\x00\x00\x00a" * 100_000 + b"}" + b"s" * 100_000 + b"."
    yield _case("a dictionary nested 100,000 deep", _archive(deep), "inside 'a'")
    yield _case("two million steps", _archive(START + b"}0" * 1_500_000 + b"}."), "POP")
    kept = START + b"".join(b"}r" + struct.pack("<I", number) for number in range(1_100_000)) + b"."
    yield _case("a million things kept", _archive(kept), "steps")
    doubled = START + b"K\x01" + b"2\x86" * 10 + b"."
    yield _case("doubled by the step DUP", _archive(doubled), "DUP")
    grown = b")" + b"".join(
        b"r" + struct.pack("<I", number) + b"j" + struct.pack("<I", number) + b"\x86" for number in range(100)
    )
    yield _case("tuples doubled a hundred times", _archive(START + b"}X\x01\x00\x00\x00a" + grown + b"s."), "no tensor")
    yield _case("a key that is such a tuple", _archive(START + b"}" + grown + b"K\x01s."), "no dictionary of names")
    yield _case("a pickle of a gigabyte", _hole("data.pkl", 1 << 30), "bytes, more than")
    yield _case("packed zeros", _repacked(changed={"data.pkl": bytes(1 << 26)}, kinds={"data.pkl": PACK}), "compr")
    yield _case("30 GiB of holes", _sparse(30 << 30), "end of the file")
    yield _case("a pipe", lambda folder: os.mkfifo(_gone(folder)), "")
    yield _case("/dev/zero", lambda folder: _gone(folder).symlink_to("/dev/zero"), "")
    yield _case("a list of records of 16 MiB", _bytes(_long_directory(16 << 20)), "list of records")


class _Own(torch.Tensor):
    pass


class _Pickled:
    """What stands for a storage in a pickle."""

    def __init__(self, kind: Any, values: int, key: str) -> None:
        self.id = ("storage", kind, key, "cpu", values)


class _Viewed:
    """A tensor over such a storage, as torch pickles one."""

    def __init__(self, storage: _Pickled, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.args = (storage, offset, size, stride, False, OrderedDict())

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, self.args  # type: ignore[attr-defined]


class _Pickler(pickle._Pickler):  # type: ignore[name-defined]
    def persistent_id(self, value: Any) -> Any:
        return value.id if isinstance(value, _Pickled) else None


def _dumped(content: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(content)
    return stream.getvalue()


def _one_tensor(size: tuple[int, ...], stride: tuple[int, ...], offset: int, numel: int) -> bytes:
    return _dumped({"a": _Viewed(_Pickled(torch.FloatStorage, numel, "0"), offset, size, stride)})


def _case(name: str, change: Callable[[Path], None], says: str) -> Case:
    return Case(name, "refused", change, says)


def _gone(folder: Path) -> Path:
    (folder / BIN).unlink()
    return folder / BIN


def _bytes(content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / BIN).write_bytes(content) and None


def _edited(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / BIN).write_bytes(change((folder / BIN).read_bytes())) and None


def _saved(content: Any) -> Callable[[Path], None]:
    return lambda folder: torch.save(content, folder / BIN)


def _archive(data: bytes, more: Mapping[str, bytes] = {}) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with zipfile.ZipFile(folder / BIN, "w") as written:
            for name, content in {"data.pkl": data, "byteorder": b"little", **more}.items():
                written.writestr(zipfile.ZipInfo(f"x/{name}"), content)

    return change


def _repacked(
    *,
    changed: Mapping[str, bytes] = {},
    kinds: Mapping[str, int] = {},
    more: Mapping[str, bytes] = {},
    dropped: str = "",
    twice: str = "",
) -> Callable[[Path], None]:
    """Write the archive of the folder anew, with other records."""

    def change(folder: Path) -> None:
        with zipfile.ZipFile(folder / BIN) as opened:
            records = {name.partition("/")[2]: opened.read(name) for name in opened.namelist()} | {**changed, **more}
        with zipfile.ZipFile(folder / BIN, "w") as written:
            for name, content in records.items():
                for _ in range(0 if name == dropped else 2 if name == twice else 1):
                    written.writestr(zipfile.ZipInfo(f"x/{name}"), content, kinds.get(name, STORE))

    return change


def _moved_directory(data: bytes) -> bytes:
    """Return the archive with bytes between the list of records and the end that names it."""
    return data[:-22] + b"between!" + data[-22:]


def _overlapping(data: bytes) -> bytes:
    """Return the archive with a second record in the list at the place of the first."""
    place = struct.unpack("<I", data[-6:-2])[0]
    name, extra, comment = struct.unpack("<HHH", data[place + 28 : place + 34])
    second = place + 46 + name + extra + comment
    return data[: second + 42] + data[place + 42 : place + 46] + data[second + 46 :]


def _claims_size(data: bytes) -> bytes:
    """Return the archive with a size of the first record that no file has."""
    place = struct.unpack("<I", data[-6:-2])[0]
    return data[: place + 20] + struct.pack("<II", 2**32 - 2, 2**32 - 2) + data[place + 28 :]


def _long_directory(size: int) -> bytes:
    return b"PK\x03\x04" + bytes(size) + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, size, 4, 0)


def _sparse(size: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / BIN).write_bytes(b"PK\x03\x04")
        os.truncate(folder / BIN, size)

    return change


def _hole(name: str, size: int) -> Callable[[Path], None]:
    """Write an archive of one record that is all holes."""

    def change(folder: Path) -> None:
        inside = f"x/{name}".encode()
        with (folder / BIN).open("wb") as file:
            file.write(struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0, 0, size, size, len(inside), 0) + inside)
            file.seek(size, os.SEEK_CUR)
            at = file.tell()
            entry = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 0, 0, 0, 0, size, size, len(inside),
                                0, 0, 0, 0, 0, 0) + inside  # fmt: skip
            file.write(entry + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(entry), at, 0))

    return change
