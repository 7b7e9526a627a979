"""What a user names as a corpus: files, globs, ``json:`` and ``hf:`` specs, parts of a mixture."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path

from memaudit.config import did_you_mean
from memaudit.errors import InputError
from memaudit.text.containers import ARCHIVES, COMPRESSED
from memaudit.text.formats import Format

_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """One file of a corpus."""

    name: str
    """Path as the user gave it, or as the glob found it."""
    format: Format

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class HubDataset:
    """One split of a data set of the Hugging Face hub."""

    name: str
    config: str
    split: str

    def __str__(self) -> str:
        return f"hf:{self.name}:{self.config}:{self.split}"


Source = CorpusFile | HubDataset


@dataclass(frozen=True, slots=True)
class Part:
    """What one spec stands for."""

    spec: str
    domain: str | None
    sources: tuple[Source, ...]


def parse_spec(spec: str) -> Part:
    """Find what a spec stands for; what exists as a file under the whole spec wins over its other meanings.

    Args:
        spec: ``PATH``, ``GLOB``, ``json:PATH``, ``hf:NAME:CONFIG:SPLIT`` (CONFIG may be empty), or any
            of these as a part of a mixture, ``DOMAIN=SPEC``.

    Raises:
        InputError: Nothing is there, or it is a folder, an archive, or no regular file.
    """
    named = re.match(r"([\w.-]+)=(.+)", spec)
    if named and not _find(spec):
        return Part(spec, named[1], _sources(named[2]))
    return Part(spec, None, _sources(spec))


def _sources(spec: str) -> tuple[Source, ...]:
    if not _find(spec):
        if spec.startswith("hf:"):
            return (_hub_dataset(spec),)
        if spec.startswith("json:"):
            return tuple(_corpus_file(name, "json") for name in _existing(spec.removeprefix("json:")))
    return tuple(_corpus_file(name) for name in _existing(spec))


def _find(pattern: str) -> list[str]:
    """Return the path itself if it exists, else what the glob matches, sorted.

    All of it, so that what cannot be read is refused and not passed over; only ``**`` passes over folders: it enters
    them.
    """
    try:
        if Path(pattern).exists():
            return [pattern]
        matches = glob.glob(pattern, recursive=True)  # noqa: PTH207 (Path.glob takes no absolute pattern)
        return sorted(name for name in matches if not ("**" in pattern and Path(name).is_dir()))
    except OSError as error:
        raise InputError(f"{pattern}: {error.strerror}") from error


def _existing(pattern: str) -> list[str]:
    if not pattern:
        raise InputError("an empty name stands for no file")
    found = _find(pattern)
    if found:
        return found
    if glob.has_magic(pattern):
        raise InputError(f"{pattern}: no file matches")
    if Path(pattern).is_symlink():
        return [pattern]
    folder = Path(pattern).parent
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    raise InputError(f"{pattern}: no such file", did_you_mean(Path(pattern).name, names))


def _ending(path: Path) -> tuple[str, bool]:
    """Return the ending of a name that says what the file holds, and whether it is compressed."""
    suffixes = [suffix.lower() for suffix in path.suffixes] or [""]
    compressed = suffixes[-1] in COMPRESSED
    return (["", *suffixes])[-2] if compressed else suffixes[-1], compressed


def _corpus_file(name: str, file_format: Format | None = None) -> CorpusFile:
    path = Path(name)
    if path.is_dir():
        raise InputError(f"{name}: is a folder", f"name its files, for example '{name.rstrip('/')}/*.txt'")
    if path.is_symlink() and not path.exists():
        raise InputError(f"{name}: is a link to nothing", "fetch the file that it stands for, or leave it out")
    if not path.is_file():
        raise InputError(f"{name}: is no regular file", "a corpus is read more than once: save it to a file")
    ending, compressed = _ending(path)
    if ending in ARCHIVES:
        raise InputError(f"{name}: {ending} files are not read", "unpack it and name the files in it")
    file_format = file_format or _FORMATS.get(ending, "text")
    if file_format == "parquet" and compressed:
        raise InputError(f"{name}: a compressed Parquet file is not read", "decompress it")
    return CorpusFile(name, file_format)


def _hub_dataset(spec: str) -> HubDataset:
    parts = re.split(r":(?![^\[]*\])", spec.removeprefix("hf:"))  # not at the colon of train[:1%]
    if len(parts) != 3 or not parts[0] or not parts[2]:
        raise InputError(f"{spec}: incomplete", "write hf:NAME:CONFIG:SPLIT, where CONFIG may be empty")
    return HubDataset(*parts)
