"""Files of weights that nobody vetted: safetensors, pickles where they are allowed; every fault named with its file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import orjson

from memaudit.errors import ModelError
from memaudit.models.loading.archives import archived_tensors
from memaudit.models.loading.checkpoints import STATE, TRAINER_STATE, borrowed_files
from memaudit.models.loading.header import read_header
from memaudit.models.loading.pickled import INDEX, PLAIN, SINGLE, beside_safetensors, read_pickles
from memaudit.models.loading.reasons import other_weights
from memaudit.runs.inputs import digest_of

UNSAFE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
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
    start: int = 0
    """Place of its first byte in the file."""
    strides: tuple[int, ...] = ()
    """Values between neighbours of each dimension; empty where they lie in their order without gaps."""

    @property
    def values(self) -> int:
        """How many it holds."""
        return prod(self.shape)


def check_files(folder: Path) -> None:
    """Refuse what cannot be a file of a model, before a reader waits for a pipe or swallows gigabytes.

    Raises:
        ModelError: A file of settings, of a tokenizer or of weights is no regular file, or is far too large for one.
    """
    pickles = {".bin"} if read_pickles(folder) else set()
    for file in (*sorted(folder.iterdir()), *borrowed_files(folder)):
        weights = file.suffix in pickles and not STATE.fullmatch(file.name)
        if not (weights or _decides(file)):
            continue
        if not file.is_file():
            raise ModelError(f"{file}: not a regular file", "is it a broken link? download it again")
        if not weights and file.suffix != ".safetensors" and file.stat().st_size > LARGEST_SETTINGS:
            raise ModelError(f"{file}: {file.stat().st_size:,} bytes are too many for a file of settings")


def read_headers(folder: Path, stem: str = "model") -> dict[str, Declared]:
    """Read what the weight files declare: the name, type and shape of every tensor.

    Args:
        folder: Of the model.
        stem: How the files are called: ``model``, or ``adapter_model``.

    Raises:
        ModelError: No file of weights that may be read, a shard that is missing, a damaged file, or a git-LFS pointer.
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


def folder_files(folder: Path) -> list[dict[str, Any]]:
    """Return the name, SHA-256 and size of every file of a model folder that decides what the model is."""
    files = identity_files(folder)
    return [
        {"path": file_name(file, folder), "sha256": digest_of(file), "bytes": file.stat().st_size} for file in files
    ]


def file_name(file: Path, folder: Path) -> str:
    """Return how a file that decides what a model is stands in its identity; one may lie in the folder above."""
    return file.name if file.parent == folder else f"../{file.name}"


def identity_files(folder: Path) -> list[Path]:
    """Return the files of a model folder that decide what the model is, in the order of their names."""
    pickles = set(_weight_files(folder, "model")) if read_pickles(folder) else set()
    own = [file for file in sorted(folder.iterdir()) if file.is_file() and (_decides(file) or file in pickles)]
    return [*own, *borrowed_files(folder)]


def files_sha256(files: Iterable[Mapping[str, Any]]) -> str:
    """Return the identity of a model folder: names and contents of its settings, tokenizer and weights."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file['path']}\0{file['sha256']}\n".encode())
    return digest.hexdigest()


def one_name(name: str) -> str:
    """Return a tensor name short enough for a one-line message."""
    return name if len(name) <= 80 else name[:79] + "…"


def _decides(file: Path) -> bool:
    """Return whether a file is of settings, of a tokenizer or of safetensors weights; the log of a training is not."""
    return file.suffix in IDENTITY_SUFFIXES and file.name != TRAINER_STATE and not file.is_dir()


def _weight_files(folder: Path, stem: str) -> list[Path]:
    single = folder / f"{stem}.safetensors"
    if single.is_file():
        return [single]
    if beside_safetensors(folder, stem):
        return _shards(folder / f"{stem}.safetensors.index.json", _SAFETENSORS)
    if stem == "model" and read_pickles(folder):
        return [folder / SINGLE] if (folder / SINGLE).is_file() else _shards(folder / INDEX, PLAIN)
    if files := sorted(file.name for file in folder.glob("*.gguf")):
        raise ModelError(f"{folder}: no {single.name}, but {one_name(files[0])}", "name the GGUF file itself")
    if stem == "model" and (library := other_weights(folder)):
        raise ModelError(f"{folder}: only weights for {library}", "convert it with transformers' save_pretrained")
    unsafe = sorted(file.name for file in folder.iterdir() if file.suffix in UNSAFE_SUFFIXES)
    unsafe = [name for name in unsafe if not STATE.fullmatch(name)]
    if stem == "model" and (SINGLE in unsafe or (folder / INDEX).is_file()):
        raise ModelError(
            f"{folder}: {SINGLE} is a pickle, which may run code when it is read",
            "--allow-pickle reads its tensors and no more; or convert it with save_pretrained where you trust it",
        )
    if unsafe:
        raise ModelError(
            f"{folder}: {unsafe[0]} may run code when it is read; safetensors only",
            "convert it with transformers' save_pretrained where you trust it",
        )
    raise ModelError(f"{folder}: no {single.name}", "is this a model folder?")


_SAFETENSORS = re.compile(r"[\w.-]+\.safetensors")


def _shards(index: Path, plain: re.Pattern[str]) -> list[Path]:
    """Return the files that an index names, all of them in its own folder."""
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(n, str) and plain.fullmatch(n) for n in named.values()):
        raise ModelError(f"{index}: no weight_map of file names in this folder")
    shards = [index.parent / name for name in sorted(set(named.values()))]
    for shard in shards:
        if not shard.is_file():
            raise ModelError(f"{index}: names {shard.name}, which is absent", "download the folder again")
    return shards


def _header(file: Path) -> dict[str, Declared]:
    if file.suffix == ".bin":
        archived = archived_tensors(file)
        return {name: Declared(file, t.kind, t.shape, t.start, t.strides) for name, t in archived.items()}
    entries = read_header(file)
    return {name: Declared(file, entry.kind, entry.shape, entry.start) for name, entry in entries.items()}
