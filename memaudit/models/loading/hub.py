"""Hugging Face ids, with or without a revision: the folder of the local cache that one names, or the id of a folder.

A cache holds ``refs/NAME`` (the commit of a branch or tag) and ``snapshots/COMMIT`` (links to ``blobs``). It is read
here, so that what is missing can be named; only with a download allowed is the client of the hub asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from memaudit.errors import ModelError, one_line
from memaudit.models.loading.weights import LARGEST_SETTINGS

MAIN = "main"
COMMIT = re.compile("[0-9a-f]{40}")
_ABBREVIATED = re.compile("[0-9a-f]{7,39}")
_REVISION = re.compile(r"[A-Za-z0-9_+=]([\w+=.-]*[\w+=-])?(/[A-Za-z0-9_+=]([\w+=.-]*[\w+=-])?)*", re.ASCII)
"""Names of branches, tags and commits: no part begins with a dot or a dash, or ends with a dot."""
_ID = re.compile(r"\w([\w.-]*\w)?(/\w([\w.-]*\w)?)?", re.ASCII)
LONGEST_ID = 96
LONGEST = 200
"""Characters of a revision."""
PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
"""What is downloaded of a model."""
_SETTINGS = ("config.json", "adapter_config.json", "memaudit.json")
_FEW = 6
"""Revisions that a message names."""


@dataclass(frozen=True, slots=True)
class HubCommit:
    """A commit of a repository of the hub."""

    id: str
    """``org/name``."""
    commit: str
    """40 hexadecimal digits."""

    def __str__(self) -> str:
        return f"{self.id} at commit {self.commit}"


def cached_folder(spec: str, *, allow_download: bool = False, pickles: bool = False) -> Path:
    """Return the local folder of a hub id: from the cache, or downloaded if that is allowed.

    Args:
        spec: ``ID`` or ``ID@REVISION``: a branch, a tag, or a commit by seven digits or more; by default ``main``.
        allow_download: Whether what the cache lacks may be fetched.
        pickles: Whether pickled weights are fetched where there are no others.

    Raises:
        ModelError: It is neither an id nor a revision, or the cache does not hold it, or not all of it.
    """
    if not allow_download:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    name, at, revision = spec.partition("@")
    _check_id(spec, name)
    if at:
        _check_revision(name, revision)
    found = _downloaded(spec, name, revision, pickles) if allow_download else _cached(spec, name, revision)
    if lacking := list(_lacking(found)):
        more = f" and {len(lacking) - 3} files more" if len(lacking) > 3 else ""
        raise ModelError(
            f"{spec}: its snapshot in the Hugging Face cache lacks {', '.join(lacking[:3])}{more}",
            "it may have been downloaded in part: fetch the rest with --allow-download",
        )
    return found


def hub_id(folder: Path) -> str:
    """Return the Hugging Face id that a folder of a cache belongs to, ``org/name``; empty of any other folder."""
    kept = folder.parent.parent.name if folder.parent.name == "snapshots" else ""
    return kept.removeprefix("models--").replace("--", "/") if kept.startswith("models--") else ""


def hub_commit(folder: Path) -> HubCommit | None:
    """Return which commit a folder of a cache is; None of any other folder."""
    name = hub_id(folder)
    return HubCommit(name, folder.name) if name and COMMIT.fullmatch(folder.name) else None


def _check_id(spec: str, name: str) -> None:
    if len(name) > LONGEST_ID or "--" in name or ".." in name or not _ID.fullmatch(name):
        hint = "nothing matches the pattern" if "*" in name else ""
        raise ModelError(f"{one_line(spec, 200)}: neither a folder nor a Hugging Face id", hint)


def _check_revision(name: str, revision: str) -> None:
    if len(revision) > LONGEST or ".." in revision or not _REVISION.fullmatch(revision):
        raise ModelError(
            f"{name}@: {one_line(repr(revision), 80)} is no revision",
            "name a branch, a tag, or a commit by seven digits or more",
        )


def _downloaded(spec: str, name: str, revision: str, pickles: bool) -> Path:
    from huggingface_hub import snapshot_download

    def fetched(*patterns: str) -> Path:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(patterns)))

    try:
        folder = fetched(*PATTERNS)
        if pickles and not any(folder.glob("*.safetensors")):
            folder = fetched(*PATTERNS, "pytorch_model*.bin")
    except Exception as error:  # the hub client raises errors of several HTTP libraries
        raise ModelError(f"{spec}: cannot be downloaded: {one_line(str(error), 150)}") from None
    return folder


def _cached(spec: str, name: str, revision: str) -> Path:
    """Return the snapshot of a revision, or say which there are."""
    from huggingface_hub import constants

    kept = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"
    commits = sorted(path.name for path in _listed(kept / "snapshots") if COMMIT.fullmatch(path.name))
    if not commits:
        raise ModelError(
            f"{spec}: no such folder, and no model of this name in the Hugging Face cache",
            "give the path of a local model folder, or allow downloading with --allow-download",
        )
    refs = dict(_refs(kept / "refs"))
    wanted = revision or MAIN
    if wanted in commits:
        return kept / "snapshots" / wanted
    if wanted in refs:
        if refs[wanted] not in commits:
            gone = f"{wanted} is commit {refs[wanted][:12]}, of which the Hugging Face cache has no snapshot"
            raise ModelError(f"{spec}: {gone}", f"it has {_known(refs, commits)}; --allow-download fetches others")
        return kept / "snapshots" / refs[wanted]
    begun = [commit for commit in commits if commit.startswith(wanted)] if _ABBREVIATED.fullmatch(wanted) else []
    if len(begun) > 1:
        raise ModelError(f"{spec}: {len(begun)} commits begin so: {', '.join(begun[:_FEW])}", "give more digits")
    if not begun:
        raise ModelError(
            f"{spec}: the Hugging Face cache has no revision {wanted} of it; it has {_known(refs, commits)}",
            "name one of these as ID@REVISION, or allow downloading with --allow-download",
        )
    return kept / "snapshots" / begun[0]


def _known(refs: dict[str, str], commits: list[str]) -> str:
    """Return the revisions of a cache in words: names, and commits that have none."""
    nameless = [commit[:12] for commit in commits if commit not in refs.values()]
    known = [name for name, commit in sorted(refs.items()) if commit in commits] + nameless
    more = f" and {len(known) - _FEW} more" if len(known) > _FEW else ""
    return one_line(", ".join(known[:_FEW]), 200) + more


def _refs(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the names of a cache and their commits."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.stat().st_size <= LONGEST:
            commit = file.read_bytes().decode("ascii", "replace").strip()
            if COMMIT.fullmatch(commit):
                yield file.relative_to(folder).as_posix(), commit


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir()]
    except OSError:
        return []


def _lacking(folder: Path) -> Iterator[str]:
    """Yield the files that a snapshot should have and has not: downloads are interrupted."""
    names = {file.name for file in folder.iterdir()}
    if not names.intersection(_SETTINGS):
        yield "config.json"
    yield from sorted(name for name in names if name.endswith(_ENDS) and not (folder / name).exists())
    if not any(name.endswith(".safetensors") for name in names):
        yield from sorted(name for name in names if name.endswith(".bin") and not (folder / name).exists())
    for index in sorted(name for name in names if name.endswith(".index.json")):
        yield from sorted(_shards(folder / index) - names)
    if not any(name.endswith(_WEIGHTS) for name in names) and "memaudit.json" not in names:
        yield "its weights"


_ENDS = tuple(pattern.removeprefix("*") for pattern in PATTERNS)
_WEIGHTS = (".safetensors", ".index.json", ".bin", ".h5", ".msgpack", ".pt", ".pth", ".ckpt", ".gguf")


def _shards(index: Path) -> set[str]:
    """Return the plain names of files that an index of shards names; what is wrong with it is told when it is read."""
    whole = index.name.endswith(".safetensors.index.json") and index.is_file()
    try:
        if not whole or index.stat().st_size > LARGEST_SETTINGS:
            return set()
        named = orjson.loads(index.read_bytes())["weight_map"].values()
        return {name for name in named if isinstance(name, str) and Path(name).name == name}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()
