"""Files of weights that nobody vetted: safetensors only, every fault named with its file in one line."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import orjson
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from memaudit.errors import ModelError, one_line
from memaudit.models.loading.reasons import other_weights
from memaudit.runs.inputs import digest_of

UNSAFE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".gguf")
IDENTITY_SUFFIXES = (".json", ".safetensors", ".model", ".txt", ".jinja")
LARGEST_SETTINGS = 128 << 20
"""Bytes of a file of settings or of a tokenizer: the largest tokenizers known have a quarter of that."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What the header of a weight file says of a tensor, before anything of it is read."""

    file: Path
    kind: str
    """Type of its values: ``F32``, ``BF16``, ``I8``, ..."""
    shape: tuple[int, ...]

    @property
    def values(self) -> int:
        """How many it holds."""
        return prod(self.shape)


def check_files(folder: Path) -> None:
    """Refuse what cannot be a file of a model, before a reader waits for a pipe or swallows gigabytes.

    Raises:
        ModelError: A file of settings, of a tokenizer or of weights is no regular file, or is far too large for one.
    """
    for file in sorted(folder.iterdir()):
        if file.suffix not in IDENTITY_SUFFIXES or file.is_dir():
            continue
        if not file.is_file():
            raise ModelError(f"{file}: not a regular file", "is it a broken link? download it again")
        if file.suffix != ".safetensors" and file.stat().st_size > LARGEST_SETTINGS:
            raise ModelError(f"{file}: {file.stat().st_size:,} bytes are too many for a file of settings")


def read_headers(folder: Path, stem: str = "model") -> dict[str, Declared]:
    """Read what the weight files declare: the name, type and shape of every tensor.

    Args:
        folder: Of the model.
        stem: How the files are called: ``model``, or ``adapter_model``.

    Raises:
        ModelError: As `read_weights`, and if the tensors are more than the machine has memory for.
    """
    declared: dict[str, Declared] = {}
    for file in _weight_files(folder, stem):
        for name, tensor in _header(file).items():
            if name in declared:
                raise ModelError(f"{file}: tensor {one_name(name)} is in another shard too")
            declared[name] = tensor
    if not declared:
        raise ModelError(f"{folder}: its weight files hold no tensors")
    return declared


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object, or raise ModelError that says what is wrong with the file."""
    try:
        if file.exists() and not file.is_file():
            raise ModelError(f"{file}: not a regular file")
        content = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{file}: no such file", "is this a model folder?") from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise ModelError(f"{file}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{file}: not a JSON object")
    return content


def read_weights(folder: Path, stem: str = "model", names: Collection[str] | None = None) -> dict[str, Tensor]:
    """Read the tensors of ``STEM.safetensors`` or of the shards that its index names.

    Args:
        folder: Of the model.
        stem: How the files are called.
        names: Which tensors are read; the others are left where they are. By default all.

    Raises:
        ModelError: No safetensors file, a shard that is missing, a damaged file, or a git-LFS pointer.
    """
    files = _weight_files(folder, stem)
    size = sum(file.stat().st_size for file in files)
    if size > (memory := os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")):
        raise ModelError(f"{folder}: weights of {size:,} bytes, this machine has {memory:,} bytes of memory")
    wanted = None if names is None else frozenset(names)
    return {name: tensor for file in files for name, tensor in _read_file(file, wanted).items()}


def check_values(tensors: Mapping[str, Tensor]) -> None:
    """Raise ModelError naming the first tensor with NaN or infinite values."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            values = "value" if bad == 1 else "values"
            raise ModelError(f"tensor {one_name(name)} has {bad} non-finite {values}", "the weights are damaged")


def folder_files(folder: Path) -> list[dict[str, Any]]:
    """Return the name, SHA-256 and size of every file of a model folder that decides what the model is."""
    files = identity_files(folder)
    return [{"path": file.name, "sha256": digest_of(file), "bytes": file.stat().st_size} for file in files]


def identity_files(folder: Path) -> list[Path]:
    """Return the files of a model folder that decide what the model is, in the order of their names."""
    return [file for file in sorted(folder.iterdir()) if file.is_file() and file.suffix in IDENTITY_SUFFIXES]


def files_sha256(files: Iterable[Mapping[str, Any]]) -> str:
    """Return the identity of a model folder: names and contents of its settings, tokenizer and weights."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file['path']}\0{file['sha256']}\n".encode())
    return digest.hexdigest()


def one_name(name: str) -> str:
    """Return a tensor name short enough for a one-line message."""
    return name if len(name) <= 80 else name[:79] + "…"


def _weight_files(folder: Path, stem: str) -> list[Path]:
    single = folder / f"{stem}.safetensors"
    index = folder / f"{stem}.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        shards = read_json(index).get("weight_map")
        if not isinstance(shards, dict) or not all(_plain_name(name) for name in shards.values()):
            raise ModelError(f"{index}: no weight_map of file names in this folder")
        missing = sorted({name for name in shards.values() if not (folder / name).is_file()})
        if missing:
            raise ModelError(f"{index}: names {missing[0]}, which is absent", "download the folder again")
        return [folder / name for name in sorted(set(shards.values()))]
    if stem == "model" and (library := other_weights(folder)):
        raise ModelError(f"{folder}: only weights for {library}", "convert it with transformers' save_pretrained")
    unsafe = sorted(file.name for file in folder.iterdir() if file.suffix in UNSAFE_SUFFIXES)
    if unsafe:
        raise ModelError(
            f"{folder}: {unsafe[0]} may run code when it is read; safetensors only",
            "convert it with transformers' save_pretrained where you trust it",
        )
    raise ModelError(f"{folder}: no {single.name}", "is this a model folder?")


def _plain_name(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(r"[\w.-]+\.safetensors", name) is not None


def _header(file: Path) -> dict[str, Declared]:
    with file.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise ModelError(f"{file}: git-LFS pointer, not weights", "fetch the file with git lfs pull")
    with _opened(file) as opened:
        slices = ((name, opened.get_slice(name)) for name in opened.keys())  # noqa: SIM118
        return {name: Declared(file, part.get_dtype(), tuple(part.get_shape())) for name, part in slices}


def _read_file(file: Path, wanted: Collection[str] | None) -> dict[str, Tensor]:
    with _opened(file) as opened:
        names = [name for name in opened.keys() if wanted is None or name in wanted]  # noqa: SIM118
        # Copies, because sums come out differently in memory that is not aligned, as a file's is not.
        return {name: opened.get_tensor(name).clone() for name in names}


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Open a safetensors file, which checks its header against its size; ModelError whatever is wrong with it."""
    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, KeyError, MemoryError) as error:
        reason = one_line(" ".join(str(error).split()), 150)
        raise ModelError(f"{file}: not a safetensors file: {reason}", "download it again") from None
