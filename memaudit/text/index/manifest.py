"""The folder of an index: what its manifest says, and that it is written last, by one process, or not at all.

``manifest.json`` holds the format, the rule of the symbols, the options, the corpus files, and size and SHA-256
of every file and of itself; ``shard-00000`` and so on are the shards; ``tokenizer`` is there in an index of tokens.
``build.lock`` is there until the manifest is: it marks a folder that an interrupted build left.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memaudit.errors import InputError
from memaudit.runs.files import compact_json, strict_json, sync_folder
from memaudit.runs.inputs import Stamp, current, read_file
from memaudit.text.index.shard import AGAIN, FILES, check_files, file_digests
from memaudit.text.index.units import TokenUnit, Unit
from memaudit.text.tokenize import HuggingFaceTokenizer, Tokenizer, TrainedTokenizer

FORMAT = 1
MANIFEST, TOKENIZER, LOCK = "manifest.json", "tokenizer", "build.lock"
_OURS = re.compile(rf"\.?{re.escape(MANIFEST)}(\.tmp)?|{TOKENIZER}|{re.escape(LOCK)}|shard-\d{{5,}}")


def shard_name(number: int) -> str:
    """Return the folder of a shard."""
    return f"shard-{number:05}"


def read(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Return the manifest of a finished index, and its bytes.

    Raises:
        InputError: There is none, or it is damaged or of another version.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}", "memaudit index build writes an index")
    if not path.is_file():
        if (folder / LOCK).is_file():
            raise InputError(f"{folder}: the build of this index was interrupted", "run memaudit index build again")
        raise InputError(f"{folder}: not an index: no {MANIFEST}", "memaudit index build writes an index")
    data, _ = read_file(path)
    try:
        found = json.loads(data)
        digest = _digest(found) if isinstance(found, dict) else None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged: {error}", AGAIN) from error
    if digest is None or "format" not in found:
        raise InputError(f"{path}: not the manifest of an index", "memaudit index build writes an index")
    if found["format"] != FORMAT:
        raise InputError(f"{path}: format {found['format']}, this version reads {FORMAT}", AGAIN)
    if found.get("sha256") != digest:
        raise InputError(f"{path}: damaged: not what was written", AGAIN)
    return found, data


def write(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest in one step: from now on the index is there, for all who may read its shards."""
    temporary = folder / f".{MANIFEST}.tmp"
    with temporary.open("wb") as file:
        file.write(strict_json({**manifest, "sha256": _digest(manifest)}))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / MANIFEST)
    sync_folder(folder)


def _digest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest without this entry: what was edited by hand is not trusted."""
    body = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(compact_json(body)).hexdigest()


def refuse_other_rule(folder: Path, manifest: Mapping[str, Any], unit: Unit) -> None:
    """Refuse an index whose symbols were made by another rule than ours: its answers would be wrong."""
    if manifest["rule"] != unit.version:
        problem = f"{folder / MANIFEST}: symbols made by '{manifest['rule']}', this version has '{unit.version}'"
        raise InputError(problem, AGAIN)


def check_sizes(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse an index with a file missing or cut off."""
    for number, stated in enumerate(manifest["shards"]):
        check_files(folder / shard_name(number), stated["files"])


def check_digests(folder: Path, manifest: Mapping[str, Any], number: int) -> None:
    """Refuse a shard with a file that is not what was written."""
    place = folder / shard_name(number)
    for name, digest in file_digests(place).items():
        if manifest["shards"][number]["files"].get(name) != digest:
            raise InputError(f"{place / name}: not the bytes that were written", AGAIN)


def note_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Add the files of all shards to the inputs of the run: they are mapped, so it reads them until it ends."""
    for number, stated in enumerate(manifest["shards"]):
        for name in FILES:
            path = folder / shard_name(number) / name
            current().add(path, stated["files"][name]["sha256"], Stamp.of(path), live=True)


def store_tokenizer(folder: Path, unit: Unit) -> str | None:
    """Write the tokenizer of an index of tokens, and return its kind."""
    if not isinstance(unit, TokenUnit):
        return None
    try:
        unit.tokenizer.save(folder / TOKENIZER)
    except Exception as error:  # tokenizers raises bare Exception, also for a full disk
        raise InputError(
            f"{folder / TOKENIZER}: cannot be written: {error}", "then run the same command again"
        ) from error
    return "trained" if isinstance(unit.tokenizer, TrainedTokenizer) else "transformers"


def stored_tokenizer(folder: Path, manifest: Mapping[str, Any]) -> Tokenizer | None:
    """Return the tokenizer of an index of tokens."""
    kind = manifest["tokenizer"]
    return None if kind is None else load_tokenizer(folder / TOKENIZER, trained=kind == "trained")


def load_tokenizer(folder: Path, *, trained: bool | None = None) -> Tokenizer:
    """Read a tokenizer from the folder of a model.

    Args:
        folder: With a ``tokenizer.json``, or what else ``AutoTokenizer`` reads; nothing is fetched.
        trained: Whether memaudit wrote it; None: see for yourself.

    Raises:
        InputError: There is none that can be used.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", "name the folder of a model or tokenizer")
    if (folder / "memaudit.json").is_file() if trained is None else trained:
        return TrainedTokenizer.load(folder)
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # tokenizers and its many readers raise bare Exception
        raise InputError(f"{folder}: no usable tokenizer: {error}", "is tokenizer.json missing?") from error
    if len(found) <= len(found.all_special_ids):
        raise InputError(f"{folder}: no usable tokenizer: it has no vocabulary", "is tokenizer.json missing?")
    return HuggingFaceTokenizer(found)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Create the folder, and keep other builders out of it.

    Raises:
        InputError: If another process builds there, or if the folder holds what no build of ours left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in folder.iterdir())
    ours = MANIFEST in names or LOCK in names  # without either, even a shard is somebody else's: clear removes it
    foreign = next((name for name in names if not (ours and _OURS.fullmatch(name))), None)
    if foreign is not None:
        raise InputError(f"{folder}: holds other files, as {foreign}", "choose another --out")
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{folder}: another process builds an index there", "wait for it") from error
        yield
        (folder / LOCK).unlink(missing_ok=True)  # another may have found the finished index in between
    finally:
        os.close(lock)


def clear(folder: Path) -> None:
    """Remove what an interrupted build left."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
